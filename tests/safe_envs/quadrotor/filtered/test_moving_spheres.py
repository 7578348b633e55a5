"""Rows around spheres that move: derivatives along true flights, batches, and filtered flights."""

import gymnasium as gym
import numpy as np
import pytest

from safe_envs.contract.vector_env import AutoresetMode
from safe_envs.quadrotor.dynamics import step
from safe_envs.quadrotor.filtered.backup import FilteredFlight
from safe_envs.quadrotor.geometric_controller import GeometricLaw
from safe_envs.quadrotor.obstacles import MovingSpheres
from safe_envs.quadrotor.vehicle import CRAZYFLIE
from safe_envs.safety_filters import SphereZCBF

native = pytest.mark.skipif(
    AutoresetMode is None, reason="native vector environments need Gymnasium 1.1"
)

LOADED = CRAZYFLIE.with_payload(0.004, (0.012, 0.008, -0.03))
RADII = np.array([0.3, 0.2])


def swing(time):
    return np.array(
        [
            [0.8 + 0.3 * np.sin(2.0 * time), 0.3, 1.0 + 0.1 * np.cos(3.0 * time)],
            [-0.8 + 0.2 * time, 0.4 * np.cos(time), 1.0],
        ]
    )


def swing_derivatives(time):
    s, c = np.sin, np.cos
    return np.array(
        [
            [[0.6 * c(2 * time), 0, -0.3 * s(3 * time)], [0.2, -0.4 * s(time), 0]],
            [[-1.2 * s(2 * time), 0, -0.9 * c(3 * time)], [0, -0.4 * c(time), 0]],
            [[-2.4 * c(2 * time), 0, 2.7 * s(3 * time)], [0, 0.4 * s(time), 0]],
        ]
    )


def random_state(rng):
    state = rng.normal(size=13)
    state[6:10] /= np.linalg.norm(state[6:10])
    return state


def barrier_along_the_flight(vehicle, state, u, start):
    """Return h, h', h'', h''' at a time by a polynomial through h of the flight and the path."""
    times = np.linspace(-4.0, 4.0, 9) * 2e-3
    values = []
    for time in times:
        reached = np.array(step(vehicle, state.tolist(), u.tolist(), float(time), 4))
        values.append(((reached[:3] - swing(start + time)) ** 2).sum(axis=1) - RADII**2)
    powers = np.polynomial.polynomial.polyfit(times, np.array(values), 8)
    return powers[:4] * np.array([1.0, 1.0, 2.0, 6.0])[:, None]


@pytest.mark.parametrize("vehicle", [CRAZYFLIE, LOADED])
def test_rows_are_the_sums_of_the_true_derivatives(vehicle):
    rng = np.random.default_rng(0)
    for _ in range(8):
        state, u, time = random_state(rng), rng.uniform(0.1, 0.9, 4), rng.uniform(0, 6)
        h, first, second, third = barrier_along_the_flight(vehicle, state, u, time)
        around = (swing(time), RADII, swing_derivatives(time))
        rows, bounds = SphereZCBF(2, (2.0, 5.0)).around(vehicle, 0.01, *around)(state, u)
        np.testing.assert_allclose(
            rows @ u - bounds, second + 7.0 * first + 10.0 * h, rtol=1e-6, atol=1e-5
        )
        rows, bounds = SphereZCBF(3, (1.0, 2.0, 4.0)).around(vehicle, 0.0, *around)(state, u)
        expected = third + 7.0 * second + 14.0 * first + 8.0 * h
        np.testing.assert_allclose(rows @ u - bounds, expected, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("order", [2, 3])
def test_rows_of_a_batch_are_those_of_single_states(order):
    rng = np.random.default_rng(1)
    states = np.stack([random_state(rng) for _ in range(9)], axis=1)
    references, times = rng.uniform(size=(4, 9)), rng.uniform(0, 6, 9)
    centers = np.stack([swing(time) for time in times], axis=-1)
    motion = np.stack([swing_derivatives(time) for time in times], axis=-1)
    barrier = SphereZCBF(order, margin=0.02)
    rows = barrier.around(LOADED, 0.01, centers, RADII, motion)
    matrices, bounds = rows.batch(states, references)
    for i, time in enumerate(times):
        alone = barrier.around(LOADED, 0.01, swing(time), RADII, swing_derivatives(time))
        for single in (alone, rows.of(i)):
            matrix, bound = single(states[:, i], references[:, i])
            np.testing.assert_array_equal(matrices[i], matrix)
            np.testing.assert_array_equal(bounds[i], bound)


def test_paths_are_differentiated():
    """Central differences of five points against the derivatives by hand."""
    path = MovingSpheres(swing)
    for time in np.linspace(0.0, 6.0, 7):
        velocity, acceleration, jerk = path.motion(time) - swing_derivatives(time)
        assert np.abs(velocity).max() < 1e-6
        assert np.abs(acceleration).max() < 1e-6
        assert np.abs(jerk).max() < 5e-3  # h^2 / 4 of the fifth derivative


def crossing(time):
    """Spheres that cross the figure eight, there and back."""
    return [
        [0.9, 0.5 * np.sin(1.5 * time), 1.0],
        [-0.9, 0.5 * np.cos(1.5 * time), 1.0 + 0.1 * np.sin(time)],
    ]


@native
def test_the_filter_keeps_clear_of_spheres_that_move_and_nothing_else_does():
    spheres = MovingSpheres(crossing, radii=0.2)
    arguments = {"num_envs": 4, "obstacles": spheres}
    costs = {}
    for env_id in ("Safe/Quadrotor-v0", "Safe/QuadrotorZCBF-v0"):
        env = gym.make_vec(env_id, **arguments)
        flight = env.unwrapped
        law = GeometricLaw(flight.vehicle, flight.reference, flight.control_dt)
        env.reset(seed=0)
        costs[env_id] = 0.0
        for _ in range(250):
            _, _, _, _, infos = env.step(flight.actions_of(law.batch(flight.states, flight.times)))
            costs[env_id] += infos["cost"].sum()
    assert costs["Safe/Quadrotor-v0"] > 50.0
    assert costs["Safe/QuadrotorZCBF-v0"] == 0.0


def test_the_backup_policy_sees_velocities():
    """With constant velocities it does what the filter with the true motion does."""

    def drifting(time):
        return [[0.95, 0.3 * time - 0.3, 1.0], [-0.9, 0.9 - 0.3 * time, 1.0]]

    env = gym.make("Safe/QuadrotorZCBF-v0", obstacles=[MovingSpheres(drifting), [(0.0, 2.0, 1.0)]])
    flight = env.unwrapped
    policy = flight.backup_policy()
    assert isinstance(policy, FilteredFlight)
    assert policy.moving == (0, 1)
    law = GeometricLaw(flight.vehicle, flight.reference, flight.control_dt)
    seen, _ = env.reset(seed=4, options={"time": 0.3})
    active = 0
    for _ in range(200):
        own = policy(seen)
        action = flight.action_of(law(flight.state, flight.time))
        seen, _, _, _, info = env.step(action)
        active += info["filter_active"]
        np.testing.assert_allclose(own, info["action_safe"], atol=2e-3)
    assert active > 20
