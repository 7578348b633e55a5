"""The quadrotor's constraint on actions is that of the safety filter, read from observations."""

import gymnasium as gym
import numpy as np
import pytest

from safe_envs.action_constraints import RepairedActions, VectorRepairedActions, repair_actions
from safe_envs.contract.vector_env import AutoresetMode
from safe_envs.quadrotor.geometric_controller import GeometricLaw
from safe_envs.quadrotor.obstacles import MovingSpheres
from safe_envs.safety_filters import SafetyFilter, SphereZCBF

needs_vectors = pytest.mark.skipif(
    AutoresetMode is None, reason="native vector environments need Gymnasium 1.1"
)


def swing(time):
    return np.array([[0.9 + 0.2 * np.sin(time), 0.4, 1.0]])


def assert_same_rows(rows, matrices, bounds, scale=3e-5):
    """A u >= b with u = (a + 1) / 2, up to the rounding of float32 observations."""
    size = np.abs(matrices).max() + np.abs(bounds).max()
    for action in np.random.default_rng(0).uniform(-1.0, 1.0, size=(8, 4)):
        expected = matrices @ (0.5 * (action + 1.0)) - bounds
        found = rows.linear[0] @ action - rows.lower[0]
        np.testing.assert_allclose(found, expected, rtol=0.0, atol=scale * size)
    assert (rows.upper == np.inf).all()


@pytest.mark.parametrize("kwargs", [{"scene": "spheres"}, {"scene": "column"},
                                    {"vehicle": "hummingbird"}])  # fmt: skip
def test_rows_are_those_of_the_filter(kwargs, make_env):
    env = make_env("Safe/Quadrotor-v0", **kwargs)
    flight, plant = env.unwrapped, env.unwrapped.filter_plant()
    constraint = flight.action_constraint()
    env.action_space.seed(1)
    observation, _ = env.reset(seed=1)
    for _ in range(15):
        action = env.action_space.sample().astype(np.float64)
        state, reference = plant.state(observation), plant.decoded(action)
        matrices, bounds = plant.barrier.rows_on(plant)()(state, reference)
        rows = constraint.rows_at(observation[None], action[None])
        assert_same_rows(rows, matrices, bounds)
        hover = np.array(flight.vehicle.hover_thrusts)
        matrices, bounds = plant.barrier.rows_on(plant)()(state, hover)
        assert_same_rows(constraint.rows(observation[None]), matrices, bounds)
        observation = env.step(action)[0]


def fly(env, steps):
    """Fly the reference; return the infos and the observations before the steps."""
    flight = env.unwrapped
    controller = GeometricLaw(flight.vehicle, flight.reference, flight.control_dt)
    seen, _ = env.reset(seed=5)
    found = []
    for _ in range(steps):
        action = flight.action_of(controller(flight.state, flight.time)).astype(np.float64)
        before = seen
        seen, _, terminated, _, info = env.step(action)
        found.append((before, action, info))
        assert not terminated
    return found


def test_repaired_actions_are_those_of_the_euclidean_filter(make_env):
    """Where one row decides; the filter gives way a little, by at most its slack."""
    filtered = SafetyFilter(make_env("Safe/Quadrotor-v0"), metric="euclidean")
    constraint = filtered.unwrapped.action_constraint()
    active = 0
    for seen, action, info in fly(filtered, 250):
        found = repair_actions(constraint, seen[None], action[None])
        if info["filter_slack"] > 1e-3 or not found.feasible[0]:
            continue
        np.testing.assert_allclose(found.actions[0], info["action_safe"], atol=2e-3)
        active += info["filter_active"]
    assert active > 20


def test_repaired_flights_touch_nothing(make_env):
    """The reference leads through the spheres; without repair its controller hits them."""
    plain = fly(make_env("Safe/Quadrotor-v0"), 300)
    repaired = fly(RepairedActions(make_env("Safe/Quadrotor-v0")), 300)
    assert plain[-1][2]["episode_cost"] > 50.0
    assert repaired[-1][2]["episode_cost"] == 0.0
    assert sum(bool(info["repair_active"]) for _, _, info in repaired) > 30


@needs_vectors
def test_repaired_flights_past_columns_touch_nothing():
    """42 spheres in stacks, so that two rows often decide."""
    env = VectorRepairedActions(gym.make_vec("Safe/QuadrotorColumn-v0", num_envs=8))
    flights = env.unwrapped
    law = GeometricLaw(flights.vehicle, flights.reference, flights.control_dt)
    env.reset(seed=0)
    active = 0
    for _ in range(200):
        actions = np.clip(2.0 * law.batch(flights.states, flights.times).T - 1.0, -1.0, 1.0)
        *_, infos = env.step(actions)
        assert infos["repair_feasible"].all()
        active += infos["repair_active"].sum()
    assert not infos["episode_cost"].any()
    assert active > 200
    env.close()


@needs_vectors
def test_both_forms_offer_it(make_env):
    env = make_env("Safe/Quadrotor-v0")
    venv = gym.make_vec("Safe/Quadrotor-v0", num_envs=5)
    seen, _ = venv.reset(seed=0)
    one, many = env.unwrapped.action_constraint(), venv.unwrapped.action_constraint()
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, size=(5, 4))
    together = many.rows_at(seen, actions)
    for i in range(5):
        alone = one.rows_at(seen[i : i + 1], actions[i : i + 1])
        np.testing.assert_array_equal(together.linear[i], alone.linear[0])
        np.testing.assert_array_equal(together.lower[i], alone.lower[0])
    assert many.rows(seen[:0]).linear.shape == (0, 4, 4)
    venv.close()


def test_a_barrier_of_ones_own(make_env):
    env = make_env("Safe/Quadrotor-v0")
    seen, _ = env.reset(seed=0)
    two = env.unwrapped.action_constraint(SphereZCBF(2, margin=0.1))
    assert two.meaning.startswith("barriers of order 2")
    ours, theirs = two.rows_at(seen[None], np.ones((1, 4))), two.rows(seen[None])
    np.testing.assert_array_equal(ours.linear, theirs.linear)  # of order 2 they are exact


def test_moving_spheres_need_an_assumption(make_env):
    env = make_env("Safe/Quadrotor-v0", obstacles=[MovingSpheres(swing)])
    told = r"spheres \[0\] move, and observations do not show their accelerations, .*; pass const"
    with pytest.raises(ValueError, match=told):
        env.unwrapped.action_constraint()
    with pytest.raises(ValueError, match="constant_velocities=True"):
        RepairedActions(env)
    constraint = env.unwrapped.action_constraint(constant_velocities=True)
    seen, _ = env.reset(seed=0)
    plant = env.unwrapped.filter_plant()
    action = np.zeros(4)
    around = plant.barrier.rows_on(plant)()
    still = around.motion.copy()
    still[1:] = 0.0  # without accelerations and jerks
    around.motion[...] = still
    matrices, bounds = around(plant.state(seen), plant.decoded(action))
    assert_same_rows(constraint.rows_at(seen[None], action[None]), matrices, bounds)


def test_refuses_other_observations(make_env):
    constraint = make_env("Safe/Quadrotor-v0").unwrapped.action_constraint()
    with pytest.raises(ValueError, match=r"observations have shape \(1, 34\); pass a batch of the "
                                         r"environment's own, of shape \(B, 35\)"):  # fmt: skip
        constraint.rows(np.zeros((1, 34)))
