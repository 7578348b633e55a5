"""The filter in the native vector form, and what it achieves in whole flights."""

import gymnasium as gym
import numpy as np
import pytest

from safe_envs.contract.vector_env import AutoresetMode
from safe_envs.quadrotor.filtered.fitted_q import fit_q
from safe_envs.quadrotor.filtered.transitions import collect_transitions
from safe_envs.quadrotor.filtered_env import make, make_vec
from safe_envs.quadrotor.geometric_controller import GeometricLaw
from safe_envs.quadrotor.vector_env import QuadrotorVectorEnv
from safe_envs.safety_filters import (
    CERTIFIED_SLACK,
    STATUSES,
    SphereZCBF,
    VectorSafetyFilter,
    filter_batch,
    hover_metric,
    weight_of,
)

pytestmark = pytest.mark.skipif(
    AutoresetMode is None, reason="native vector environments need Gymnasium 1.1"
)

HOVER = np.full(4, -0.111, dtype=np.float32)


def leaning(state, reference):
    """Return a metric that depends on the state and on the reference."""
    return np.eye(4) + 0.2 * np.outer(reference, reference) + np.diag(np.abs(state[3:7]))


@pytest.mark.parametrize(
    "metric", ["lqr", leaning, fit_q(collect_transitions(4, 60)).state_metric()]
)
def test_the_native_form_filters_as_single_environments_do(metric):
    vector = make_vec(num_envs=1, scene="column", metric=metric)
    single = make(scene="column", metric=metric)
    vector.reset(seed=5)
    single.reset(seed=5)
    flight = single.unwrapped
    controller = GeometricLaw(flight.vehicle, flight.reference, flight.control_dt)
    active = 0
    for _ in range(250):
        action = flight.action_of(controller(flight.state, flight.time))
        seen, reward, _, _, info = single.step(action)
        batch_seen, batch_reward, _, _, infos = vector.step(action[None])
        assert np.array_equal(batch_seen[0], seen)
        assert batch_reward[0] == reward
        for key in ("action_ref", "action_safe", "filter_active", "filter_slack", "filter_status"):
            assert np.array_equal(infos[key][0], info[key])
        active += info["filter_active"]
    assert active > 20


def test_the_native_form_masks_and_keeps_the_infos_of_ended_rows():
    for mode in ("NextStep", "SameStep"):
        vector = make_vec(num_envs=2, max_episode_steps=3, autoreset_mode=mode)
        vector.reset(seed=0)
        masks = []
        for _ in range(4):
            infos = vector.step(np.stack([HOVER, HOVER]))[4]
            masks.append(infos["_filter_active"].all())
            if "final_info" in infos:
                assert [STATUSES[i] for i in infos["final_info"]["filter_status"]] == [
                    "kept",
                    "kept",
                ]
        assert masks == [True, True, True, mode == "SameStep"]


def test_the_native_form_refuses_what_it_cannot_do():
    with pytest.raises(TypeError, match=r"needs a native vector form with .* filter_plant\(\)"):
        VectorSafetyFilter(gym.make_vec("Safe/CliffWorld-v0"), SphereZCBF())
    with pytest.raises(ValueError, match="SphereZCBF is for quadrotor environments"):
        VectorSafetyFilter(gym.make_vec("Safe/DoubleIntegrator-v0"), SphereZCBF())


def test_a_thousand_states_are_filtered_in_one_call():
    env = QuadrotorVectorEnv(1024)
    env.reset(seed=0)
    rows = SphereZCBF().around(env.vehicle, env.control_dt, env.centers, env.radii)
    references = np.random.default_rng(0).uniform(0.3, 0.6, (4, 1024))
    weight = weight_of(hover_metric(env.vehicle, env.control_dt))
    states = env.states
    states[3:6] *= 2.0  # some of them too fast for what is ahead
    found = filter_batch(rows, weight, states, references)
    assert 0 < found.active.sum() < 1024
    assert np.array_equal(found.action[:, ~found.active], references[:, ~found.active])
    assert ((found.action >= 0.0) & (found.action <= 1.0)).all()
    matrices, bounds = rows.batch(states, references)
    met = np.einsum("nkm,mn->nk", matrices, found.action) - bounds
    assert (met / np.linalg.norm(matrices, axis=2) >= -1.1 * found.slack[:, None] - 1e-9).all()


def fly(env, steps):
    """Follow the reference in all environments; return a dict of arrays (N,)."""
    flight = env.unwrapped
    env.reset(seed=0)
    controller = GeometricLaw(flight.vehicle, flight.reference, flight.control_dt)
    count = flight.num_envs
    totals = {"return": np.zeros(count), "violations": np.zeros(count), "slack": np.zeros(count)}
    clearance, squares = np.full(count, np.inf), np.zeros(count)
    for _ in range(steps):
        u = controller.batch(flight.states, flight.times)
        _, reward, terminated, _, infos = env.step(flight.actions_of(u))
        assert not terminated.any()
        totals["return"] += reward
        totals["violations"] += infos["cost"] > 0.0
        if "filter_slack" in infos:
            totals["slack"] += infos["filter_slack"] > CERTIFIED_SLACK
        clearance = np.minimum(clearance, -infos["constraint_values"].max(axis=1))
        error = flight.states[:3] - flight.reference.at(flight.times).position
        squares += (error * error).sum(axis=0)
    return totals | {"clearance": clearance, "rmse": np.sqrt(squares / steps)}


@pytest.fixture(scope="module")
def flights():
    """32 seeds once around the figure eight in the default barrier, by metric."""
    return {m: fly(make_vec(32, None, metric=m), 600) for m in ("euclidean", "lqr")}


def test_without_a_filter_every_flight_hits_spheres():
    assert (fly(QuadrotorVectorEnv(32, None), 600)["violations"] > 0).all()


@pytest.mark.parametrize("metric", ["euclidean", "lqr"])
def test_order_3_keeps_clear_of_all_spheres(flights, metric):
    flight = flights[metric]
    assert flight["violations"].sum() == 0
    assert flight["slack"].sum() == 0
    assert flight["clearance"].min() >= 0.01


def test_at_order_3_the_metric_of_the_value_costs_less_return(flights):
    gained = flights["lqr"]["return"] - flights["euclidean"]["return"]
    half_width = 2.04 * gained.std(ddof=1) / 32**0.5  # 95 %, Student's t with 31 degrees
    assert gained.mean() - half_width > 0.0
    assert flights["lqr"]["rmse"].mean() < flights["euclidean"]["rmse"].mean()


def test_columns_separate_the_orders():
    second = fly(make_vec(8, None, order=2, scene="column"), 600)
    assert second["violations"].mean() >= 0.1 * 600
    assert second["slack"].sum() > 0
    third = fly(make_vec(8, None, order=3, scene="column"), 600)
    assert third["violations"].sum() == 0
    assert third["slack"].sum() == 0
