from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import linprog

from safe_envs.control.constrained_regression import ConstrainedRegressionEnv, optimal_loss, target


def normal_mean(function):
    """E[function(x)] for x ~ N(0, 1), by adaptive quadrature between the kinks at +-3."""

    def density(x):
        return function(x) * np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi)

    pieces = [-8.0, -3.0, 0.0, 3.0, 8.0]
    return sum(quad(density, a, b, limit=400)[0] for a, b in pairwise(pieces))


def test_losses_that_need_no_policy():
    assert normal_mean(lambda x: target(x) ** 2) == pytest.approx(1.56767, abs=1e-4)
    clipped = normal_mean(lambda x: max(abs(target(x)) - 1.4, 0.0) ** 2 * (abs(x) <= 3))
    assert clipped == pytest.approx(0.04545, abs=1e-4)
    assert optimal_loss() == pytest.approx(clipped, abs=1e-5)


def test_optimal_loss_with_a_limit_equals_a_linear_program():
    x = np.linspace(-6, 6, 24_001)
    mass = np.exp(-0.5 * x * x)
    mass /= mass.sum()
    gain = np.where(np.abs(x) <= 3, np.maximum(np.abs(target(x)) - 1.4, 0) ** 2, 0.0)
    for limit in (0.02, 0.05, 0.2):
        solution = linprog(-gain * mass, mass[None], [limit], bounds=(0, 1))
        assert optimal_loss(limit) == pytest.approx(gain @ mass + solution.fun, abs=1e-9)
    assert optimal_loss(1.0) == pytest.approx(0.0, abs=1e-12)


def test_mean_reward_of_the_zero_answer():
    env = ConstrainedRegressionEnv()
    answer = env.backup_policy()
    env.reset(seed=0)
    rewards = [env.step(answer(env.reset()[0]))[1] for _ in range(20_000)]
    assert np.mean(rewards) == pytest.approx(-1.56767, abs=4 * np.std(rewards) / 20_000**0.5)


@pytest.mark.parametrize(
    ("x", "y", "cost", "margin"),
    [
        (1.0, 1.5, 1.0, 0.1),
        (1.0, -1.5, 1.0, 0.1),
        (1.0, 1.4, 0.0, 0.0),
        (3.0, 2.0, 1.0, 0.6),
        (3.1, 2.0, 0.0, 0.0),
        (3.1, 0.5, 0.0, -0.9),
        (0.0, 9.0, 1.0, 2.6),  # clipped to 4
    ],
)
def test_costs_and_margins(x, y, cost, margin):
    env = ConstrainedRegressionEnv()
    observation, info = env.reset(seed=0, options={"state": [x]})
    assert (observation, info["cost"]) == (x, 0.0)
    _, reward, terminated, truncated, info = env.step([y])
    assert (terminated, truncated, info["cost"]) == (True, False, cost)
    assert info["constraint_values"] == pytest.approx([margin], abs=1e-12)
    clipped = min(max(y, -4), 4)
    assert reward == pytest.approx(-((np.sin(x) + np.sin(3 * x) + np.sin(7 * x) - clipped) ** 2))


def test_refusals():
    env = ConstrainedRegressionEnv()
    with pytest.raises(ValueError, match=r"state \[nan\] contains NaN .* shape \(1,\): x"):
        env.reset(options={"state": [np.nan]})
    env.reset(seed=0)
    with pytest.raises(ValueError, match="contains NaN"):
        env.step([np.nan])
    with pytest.raises(ValueError, match="cost_limit is -0.1; pass a number >= 0"):
        optimal_loss(-0.1)
