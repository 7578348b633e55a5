import numpy as np
import pytest
from scipy.stats import chisquare

from safe_envs.control.double_integrator import DoubleIntegratorEnv
from safe_envs.control.double_integrator_reference import (
    in_controllable_set,
    in_safe_set,
    is_safe_state,
    linear_quadratic_regulator,
    malicious_expert,
    next_states,
    reaches_target,
    safe_controller,
    safe_value,
)
from safe_envs.control.double_integrator_sampling import sample_safe_states


def grid(n):
    axis = np.linspace(-15.0, 15.0, n)
    return np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)


def test_regulator_satisfies_the_riccati_equation():
    regulator = linear_quadratic_regulator()
    a, b = np.array([[1.0, 0.1], [0.0, 1.0]]), np.array([[0.005], [0.1]])
    k, p = regulator.gain[None], regulator.value_matrix
    np.testing.assert_allclose(k[0], [0.91707456, 1.63559619], atol=1e-8)
    closed = a - b @ k
    np.testing.assert_allclose(p, np.eye(2) + k.T @ k + closed.T @ p @ closed, rtol=0, atol=1e-9)
    poles = np.sort_complex(np.linalg.eigvals(closed))
    np.testing.assert_allclose(poles, [0.91593 - 0.04585j, 0.91593 + 0.04585j], atol=1e-5)
    assert regulator.invariant_level == pytest.approx(6.674923, abs=1e-6)


@pytest.mark.parametrize(
    ("n", "safe", "controllable", "expert"),
    [(20, 132, 132, 120), (50, 836, 840, 768), (100, 3382, 3402, 3122)],
)
def test_set_sizes(n, safe, controllable, expert):
    states = grid(n)
    inside = in_safe_set(states)
    assert inside.sum() == safe
    assert in_controllable_set(states).sum() == controllable
    assert reaches_target(malicious_expert, states).sum() == expert
    np.testing.assert_array_equal(inside, reaches_target(safe_controller, states))
    np.testing.assert_array_equal(inside, np.isfinite(safe_value(states)))


def test_one_state_at_a_time_is_the_same_set():
    states = np.random.default_rng(0).uniform(-15, 15, size=(3000, 2))
    alone = [is_safe_state(*state) for state in states.tolist()]
    np.testing.assert_array_equal(alone, in_safe_set(states))


def test_value_is_quadratic_near_the_origin_and_satisfies_bellman_elsewhere():
    regulator = linear_quadratic_regulator()
    rng = np.random.default_rng(1)
    near = rng.uniform(-0.3, 0.3, size=(50, 2))
    quadratic = np.einsum("ni,ij,nj->n", near, regulator.value_matrix, near)
    near, quadratic = near[quadratic < 6.6], quadratic[quadratic < 6.6]
    np.testing.assert_allclose(safe_value(near), quadratic, rtol=1e-12)
    states = grid(50)[in_safe_set(grid(50))]
    actions = safe_controller(states)
    stage = (states**2).sum(axis=1) + actions**2
    residual = safe_value(states) - stage - safe_value(next_states(states, actions))
    assert np.abs(residual).max() < 1e-9


def test_return_of_the_safe_controller_is_minus_its_value():
    """2,000 steps of the environment against the Riccati solution, which needs no rollout."""
    env = DoubleIntegratorEnv()
    policy = env.backup_policy()
    observation, _ = env.reset(seed=0, options={"state": [0.25, -0.2]})
    total = 0.0
    for _ in range(2000):
        observation, reward, _, _, info = env.step(policy(observation))
        total += reward
    p = linear_quadratic_regulator().value_matrix
    start = np.array([0.25, -0.2])
    assert total == pytest.approx(-(start @ p @ start), rel=1e-6)  # actions are float64 here
    assert info["episode_cost"] == 0.0


def test_first_states_are_uniform_over_the_safe_set():
    """Counts in coarse cells against the share of a dense grid that lies in the safe set."""
    drawn = sample_safe_states(np.random.default_rng(5), 20_000)
    assert in_safe_set(drawn).all()
    dense = grid(601)
    reference = dense[in_safe_set(dense)]
    edges = np.linspace(-15, 15, 9)
    counts = np.histogram2d(*drawn.T, bins=[edges, edges])[0].ravel()
    expected = np.histogram2d(*reference.T, bins=[edges, edges])[0].ravel()
    kept = expected / expected.sum() * len(drawn) > 20
    expected = expected[kept] / expected[kept].sum() * counts[kept].sum()
    assert counts[~kept].sum() < 200
    assert chisquare(counts[kept], expected).pvalue > 0.001


def test_imitation_pays_for_copying_the_expert():
    """E[-(u - e)^2] over the noise, against quadrature of the clipped normal."""
    std = 0.4**0.5
    env = DoubleIntegratorEnv(reward="imitation", expert_noise_std=std)
    env.reset(seed=1)
    rewards = []
    for _ in range(20_000):
        env.reset(options={"state": [0.2, -0.1]})
        rewards.append(env.step([0.3])[1])
    noise = np.linspace(-8 * std, 8 * std, 200_001)
    density = np.exp(-0.5 * (noise / std) ** 2)
    expert = np.clip(-2 * 0.1 + noise, -1, 1)
    expected = -np.average((0.3 - expert) ** 2, weights=density)
    assert np.mean(rewards) == pytest.approx(expected, abs=4 * np.std(rewards) / 20_000**0.5)


def test_costs_and_margins_at_the_sides():
    env = DoubleIntegratorEnv(per_constraint=True)
    env.reset(seed=0, options={"state": [14.9, 14.95]})
    _, _, _, _, info = env.step([1.0])
    position, velocity = 14.9 + 1.495 + 0.005, 15.05
    np.testing.assert_allclose(
        info["constraint_values"],
        [position - 15, -position - 15, velocity - 15, -velocity - 15],
        atol=1e-12,
    )
    np.testing.assert_allclose(info["costs"], [0.5, 0.0, 0.5, 0.0])
    assert info["cost"] == 1.0
    _, _, _, _, info = env.step([-5.0])  # clipped to -1: velocity 14.95, position still outside
    np.testing.assert_allclose(info["costs"], [1.0, 0.0, 0.0, 0.0])
    assert info["episode_cost"] == 2.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reward": "dense"}, "reward is 'dense'; pass one of 'lqr', 'imitation'"),
        ({"expert_noise_std": -1.0}, "expert_noise_std is -1.0; pass a number >= 0"),
        ({"cost_limits": [0.0, 1.0]}, "pass 1 number$"),
        ({"cost_limits": 0.0, "per_constraint": True}, "'position_high'.* pass 4 numbers"),
    ],
)
def test_refuses_impossible_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        DoubleIntegratorEnv(**arguments)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ([np.nan], "contains NaN"),
        ([0.0, 0.0], r"shape \(2,\); pass an array of shape \(1,\)"),
        (0.5, r"shape \(\); pass an array of shape \(1,\)"),
        (["left"], "not numbers"),
    ],
)
def test_refuses_invalid_actions(action, message):
    env = DoubleIntegratorEnv()
    env.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.step(action)


@pytest.mark.parametrize("state", [[1.0], [np.inf, 0.0], [[0.0, 0.0]]])
def test_refuses_invalid_states(state):
    with pytest.raises(ValueError, match=r"state .* shape \(2,\): position and velocity"):
        DoubleIntegratorEnv().reset(options={"state": state})
