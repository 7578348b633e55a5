"""The filter around environments: what it keeps safe, reports, refuses and survives."""

import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest

from safe_envs.quadrotor.env import QuadrotorEnv
from safe_envs.safety_filters import (
    CERTIFIED_SLACK,
    STATUSES,
    SafetyFilter,
    SphereZCBF,
    double_integrator_barrier,
)

BARRIER = double_integrator_barrier()


def double_integrator(metric="euclidean", barrier=BARRIER, **kwargs):
    return SafetyFilter(gym.make("Safe/DoubleIntegrator-v0"), barrier, metric, **kwargs)


def states_in_the_polytope(count, seed=0):
    rng = np.random.default_rng(seed)
    states = rng.uniform((-15.0, -5.0), (15.0, 5.0), size=(10 * count, 2))
    return states[(states @ BARRIER.normals.T <= BARRIER.offsets).all(axis=1)][:count]


def outward(state):
    return np.array([1.0 if state.sum() > 0.0 else -1.0])


def test_keeps_the_double_integrator_in_its_box_whatever_is_asked():
    filtered, bare = double_integrator(), gym.make("Safe/DoubleIntegrator-v0")
    costs = {filtered: 0.0, bare: 0.0}
    for state in states_in_the_polytope(20):
        for env in (filtered, bare):
            observation, info = env.reset(seed=0, options={"state": state})
            for _ in range(150):
                observation, _, _, _, info = env.step(outward(observation))
                if env is filtered:
                    assert info["filter_slack"] <= CERTIFIED_SLACK
            costs[env] += info["episode_cost"]
    assert costs[filtered] == 0.0
    assert costs[bare] > 100.0


def test_an_action_that_is_safe_passes_as_it_came():
    filtered, bare = double_integrator(), gym.make("Safe/DoubleIntegrator-v0")
    rng = np.random.default_rng(0)
    for env in (filtered, bare):
        env.reset(seed=1, options={"state": (0.0, 0.0)})
    for _ in range(20):
        action = rng.uniform(-1.0, 1.0, 1)
        seen, reward, _, _, info = filtered.step(action)
        expected = bare.step(action)
        assert np.array_equal(seen, expected[0])
        assert reward == expected[1]
        assert not info["filter_active"]
        assert info["filter_correction"] == info["filter_slack"] == 0.0
        assert STATUSES[info["filter_status"]] == "kept"
        assert np.array_equal(info["action_safe"], action)


def test_reports_what_it_did():
    env = double_integrator()
    env.reset(seed=0, options={"state": (14.9, 1.0)})
    info = env.step([1.7])[4]
    assert np.array_equal(info["action_ref"], [1.0])
    assert info["filter_active"]
    assert STATUSES[info["filter_status"]] == "solved"
    assert info["filter_correction"] == pytest.approx(1.0 - info["action_safe"][0])
    assert 0.0 < info["filter_time"] < 1.0
    assert info["cost"] == 0.0
    assert env.unwrapped.constraints[0].limit == 0.0


def test_more_slack_than_certified_marks_states_without_a_safe_action():
    env = double_integrator()
    env.reset(seed=0, options={"state": (14.9, 5.0)})
    info = env.step([1.0])[4]
    assert info["filter_slack"] > CERTIFIED_SLACK
    assert info["action_safe"] == pytest.approx([-1.0])


def test_rows_metric_and_gradient_may_be_functions_of_state_and_reference():
    seen = []

    def rows(state, reference):
        seen.append((state, reference))
        return BARRIER(state, reference)

    env = double_integrator(
        metric=lambda state, reference: np.array([[2.0 + state[0] ** 2]]),
        barrier=rows,
        gradient=lambda state, reference: 0.0 * reference,
    )
    expected = double_integrator(gradient=np.zeros(1))
    for each in (env, expected):
        each.reset(seed=0, options={"state": (14.9, 1.0)})
    given = [each.step([1.0])[4]["action_safe"] for each in (env, expected)]
    np.testing.assert_allclose(*given)
    np.testing.assert_allclose(seen[0][0], [14.9, 1.0])
    np.testing.assert_allclose(seen[0][1], [1.0])


@pytest.mark.parametrize("filtered_id", ["Safe/DoubleIntegrator-v0", "Safe/Quadrotor-v0"])
def test_is_rebuilt_from_its_spec_and_survives_copies(filtered_id):
    env = SafetyFilter(gym.make(filtered_id), metric="euclidean")
    env.reset(seed=3)
    action = np.full(env.action_space.shape, 0.9)
    for _ in range(5):
        env.step(action)
    twins = (env, copy.deepcopy(env), pickle.loads(pickle.dumps(env)))
    ours, *others = [[twin.step(action) for _ in range(3)] for twin in twins]
    for theirs in others:
        for step, same in zip(ours, theirs, strict=True):
            assert np.array_equal(step[0], same[0])
            assert np.array_equal(step[4]["action_safe"], same[4]["action_safe"])
    assert env.spec.additional_wrappers[-1].kwargs["metric"] == "euclidean"
    again = gym.make(env.spec)
    assert isinstance(again, SafetyFilter)
    assert again.unwrapped.spec.id == filtered_id


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"metric": "fqi"}, ValueError, "'fqi' is not known here; pass 'euclidean', 'lqr', a"),
        ({"barrier": SphereZCBF()}, ValueError, "SphereZCBF is for quadrotor environments"),
        ({"barrier": "box"}, TypeError, "barrier is 'box'; pass an AffineBarrier, a function"),
        ({"slack_weight": -1.0}, ValueError, "slack_weight is -1.0; pass a positive number"),
        ({"gradient": np.ones(2)}, ValueError, r"gradient has shape \(2,\)"),
    ],
)
def test_refuses_what_does_not_fit(arguments, error, message):
    with pytest.raises(error, match=message):
        double_integrator(**arguments)


def test_refuses_other_actions_and_rows_of_the_wrong_shape():
    with pytest.raises(TypeError, match="needs a Box action space with one axis"):
        SafetyFilter(gym.make("Safe/CliffWorld-v0"), BARRIER, "euclidean")
    shares = np.zeros(4, dtype=np.float32), np.ones(4, dtype=np.float32)
    rescaled = gym.wrappers.RescaleAction(QuadrotorEnv(), *shares)
    with pytest.raises(ValueError, match="a wrapper changes the environment's actions"):
        SafetyFilter(rescaled, SphereZCBF())
    env = double_integrator(barrier=lambda state, reference: (np.ones((1, 2)), np.ones(1)))
    with pytest.raises(gym.error.ResetNeeded):
        env.step([0.0])
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"rows have shape \(1, 2\) and bounds \(1,\); pass"):
        env.step([0.0])
    env = double_integrator(metric=lambda state, reference: np.ones((2, 2)))
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"metric function's result has shape \(2, 2\)"):
        env.step([0.0])
    with pytest.raises(ValueError, match="contains NaN"):
        env.step([np.nan])
