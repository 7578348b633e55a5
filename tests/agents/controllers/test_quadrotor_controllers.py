"""Controllers of the quadrotor that see observations alone."""

import gymnasium as gym
import numpy as np
import pytest

from agents.controllers import GeometricController, MPCController
from safe_envs.quadrotor import geometric_controller
from safe_envs.quadrotor.env import QuadrotorEnv
from safe_envs.quadrotor.observation import observed_flight


@pytest.mark.parametrize("vehicle", ["crazyflie", "hummingbird"])
def test_states_and_times_are_read_from_observations(vehicle):
    env = QuadrotorEnv(vehicle=vehicle)
    rng = np.random.default_rng(0)
    period = env.reference.period
    for start in np.linspace(0.0, period, 9)[:-1] + 0.01:
        state = rng.normal(size=13)
        state[6:10] /= np.linalg.norm(state[6:10]) * np.sign(state[6])
        env.reset(options={"state": state, "time": start})
        observation, *_ = env.step(np.zeros(4, dtype=np.float32))
        states, times = observed_flight(env.reference, observation[None].astype(np.float64))
        sign = np.sign(env.state[6])
        expected = env.state * np.where(np.isin(np.arange(13), (6, 7, 8, 9)), sign, 1.0)
        assert states[0] == pytest.approx(expected, abs=2e-6)
        assert times[0] == pytest.approx(env.time % period, abs=2e-6)


def test_geometric_thrusts_are_those_of_the_law():
    env = gym.make("Safe/Quadrotor-v0")
    flight = env.unwrapped
    control = GeometricController(env)
    law = geometric_controller.GeometricLaw(flight.vehicle, flight.reference, flight.control_dt)
    point = flight.reference.at(1.0)
    state = np.concatenate((point.position, point.velocity, [1, 0, 0, 0, 0, 0, 0]))
    observation, _ = env.reset(options={"state": state, "time": 1.0})
    errors = []
    for _ in range(550):
        action, _ = control.predict(observation)
        expected = law(flight.state, flight.time)
        assert flight.thrusts_of(action) == pytest.approx(expected, abs=1e-4)
        observation, *_ = env.step(action)
        errors.append(flight.state[:3] - flight.reference.at(flight.time).position)
    squares = (np.array(errors[250:]) ** 2).sum(axis=1)
    assert np.sqrt(squares.mean()) < 0.003  # m


def test_plans_are_kept_per_row_and_dropped_at_episode_starts():
    batch = gym.make_vec("Safe/Quadrotor-v0", num_envs=3)
    observations, _ = batch.reset(seed=0)
    control = MPCController(batch, horizon=8)
    actions, memory = control.predict(observations, episode_start=np.ones(3, dtype=bool))
    observations, *_ = batch.step(actions)
    fresh, _ = control.predict(observations)
    warm, _ = control.predict(observations, state=memory)
    starts = np.array([False, True, False])
    mixed, kept = control.predict(observations, state=memory, episode_start=starts)
    assert np.array_equal(mixed[1], fresh[1])
    assert np.array_equal(mixed[[0, 2]], warm[[0, 2]])
    assert not np.array_equal(warm, fresh)
    assert warm == pytest.approx(fresh, abs=0.02)  # both are near the same optimum
    alone, own = control.predict(observations[2], state=tuple(part[2:] for part in memory))
    assert alone == pytest.approx(mixed[2], abs=1e-9)
    assert own[1][0] == pytest.approx(kept[1][2], abs=1e-9)
    same, _ = control.predict(observations, state=memory)
    assert np.array_equal(same, warm)  # predict itself remembers nothing


def test_predictions_fly_as_the_law_does_on_true_states():
    env = gym.make("Safe/Quadrotor-v0")
    flight = env.unwrapped
    control = MPCController(env)
    observation, _ = env.reset(seed=1)
    memory, start = None, True
    for _ in range(60):
        expected = control.law(flight.state, flight.time)
        action, memory = control.predict(observation, memory, np.array([start]))
        assert flight.thrusts_of(action) == pytest.approx(expected, abs=1e-4)
        observation, *_ = env.step(action)
        start = False


def test_foreign_memory_is_refused():
    control = MPCController("Safe/Quadrotor-v0", horizon=4)
    observations = np.zeros((2, 35))
    observations[:, 6] = 1.0
    _, memory = control.predict(observations)
    with pytest.raises(ValueError, match=r"state holds arrays of shapes \[\(2, 5, 13\), \(2, 4, 4\)"
                       r"\], but 1 observations need \[\(1, 5, 13\)"):  # fmt: skip
        control.predict(observations[0], state=memory)
