"""The regulators and the expert against closed forms."""

import gymnasium as gym
import numpy as np
import pytest
from scipy.linalg import solve_discrete_are

from agents.controllers import LQRController, MaliciousExpert
from agents.controllers.linear_quadratic import hover_gain
from safe_envs.quadrotor.dynamics import step
from safe_envs.quadrotor.env import QuadrotorEnv
from safe_envs.quadrotor.vehicle import CRAZYFLIE

INTEGRATOR = "Safe/DoubleIntegrator-v0"
PAPER_GAIN = (0.91707456, 1.63559619)


def test_actions_of_the_double_integrator_are_the_clipped_law():
    control = LQRController(INTEGRATOR)
    assert control.gain[0] == pytest.approx(PAPER_GAIN, abs=1e-8)
    states = np.random.default_rng(0).normal(size=(50, 2))
    expected = np.clip(-(states @ PAPER_GAIN), -1.0, 1.0)
    assert control.predict(states)[0][:, 0] == pytest.approx(expected, abs=1e-6)


def test_return_is_the_value_of_the_riccati_equation():
    env = gym.make(INTEGRATOR, max_episode_steps=400)
    control = LQRController(env)
    a, b = np.array([[1.0, 0.1], [0.0, 1.0]]), np.array([[0.005], [0.1]])
    value = solve_discrete_are(a, b, np.eye(2), np.eye(1))
    start = np.array([0.3, -0.2])
    observation, _ = env.reset(options={"state": start})
    total, truncated = 0.0, False
    while not truncated:
        observation, reward, _, truncated, _ = env.step(control.predict(observation)[0])
        total += float(reward)
    assert total == pytest.approx(-start @ value @ start, rel=1e-6)


def test_hover_gain_solves_the_riccati_equation_of_the_integrated_model():
    """A and B by differences of the environment's integrator, P by iteration to its fixed point."""
    dt, tiny, level = 0.01, 1e-5, [0.0] * 6 + [1.0] + [0.0] * 6
    hover = CRAZYFLIE.hover_thrust

    def reached(change):
        x = np.array(level)
        x[:6] += change[:6]
        x[7:10] += 0.5 * change[6:9]
        x[10:] += change[9:12]
        after = np.array(step(CRAZYFLIE, tuple(x), (hover + change[12:]).tolist(), dt))
        return np.concatenate((after[:6], 2.0 * after[7:10], after[10:]))

    columns = [(reached(tiny * e) - reached(-tiny * e)) / (2.0 * tiny) for e in np.eye(16)]
    joint = np.array(columns).T
    a, b = joint[:, :12], joint[:, 12:]
    weights = np.diag(np.repeat([10.0, 1.0, 0.5, 0.02], 3))
    value = weights
    for _ in range(4000):
        gain = np.linalg.solve(2.0 * np.eye(4) + b.T @ value @ b, b.T @ value @ a)
        value = weights + a.T @ value @ (a - b @ gain)
    assert hover_gain(CRAZYFLIE, dt) == pytest.approx(gain, abs=1e-5)


def test_hover_regulator_follows_the_figure_eight():
    env = QuadrotorEnv()
    control = LQRController(env)
    point = env.reference.at(1.0)
    state = np.concatenate((point.position, point.velocity, [1, 0, 0, 0, 0, 0, 0]))
    observation, _ = env.reset(seed=0, options={"state": state, "time": 1.0})
    errors = []
    for _ in range(500):
        observation, _, terminated, _, _ = env.step(control.predict(observation)[0])
        assert not terminated
        errors.append(env.state[:3] - env.reference.at(env.time).position)
    assert np.sqrt((np.array(errors) ** 2).sum(axis=1).mean()) < 0.012  # m


def test_the_expert_draws_noise_only_if_asked():
    states = np.full((5_000, 2), (0.1, -0.15))
    expert = MaliciousExpert(INTEGRATOR, noise_std=0.2, seed=0)
    plain, memory = expert.predict(states)
    assert plain == pytest.approx(np.full((5_000, 1), 0.1))
    assert memory is None
    noisy, _ = expert.predict(states, deterministic=False)
    assert noisy.mean() == pytest.approx(0.1, abs=0.015)
    assert noisy.std() == pytest.approx(0.2, abs=0.015)
    again = MaliciousExpert(INTEGRATOR, noise_std=0.2, seed=0).predict(states, deterministic=False)
    assert np.array_equal(noisy, again[0])
    with pytest.raises(ValueError, match="noise_std is -1; pass a number >= 0"):
        MaliciousExpert(INTEGRATOR, noise_std=-1)


def test_the_expert_earns_the_best_return_of_imitation():
    env = gym.make(INTEGRATOR, reward="imitation", expert_noise_std=0.0)
    observation, _ = env.reset(seed=0)
    expert = MaliciousExpert(env)
    for _ in range(50):
        observation, reward, _, _, _ = env.step(expert.predict(observation)[0])
        assert reward == pytest.approx(0.0, abs=1e-12)
