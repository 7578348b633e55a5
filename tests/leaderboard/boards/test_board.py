"""The fixed numbers of the boards are those of the environments."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest

from agents.tabular import linear_program
from baselines.names.environments import parse_environment_name, tabular_model_of
from leaderboard.boards.board import board_of, boards
from leaderboard.evaluation.episodes import BoardMismatchError, EpisodePlayer, check_board
from safe_envs import ConstraintSpec

TABULAR = ["Safe/CliffWorld-v0", "Safe/DeepSeaTreasure-v0"]


@pytest.mark.parametrize("env", boards())
def test_a_board_has_the_numbers_that_its_environment_declares(env):
    board = board_of(env)
    made = gym.make(env)
    check_board(board, made)
    assert made.spec.max_episode_steps in (board.longest_episode, None)
    assert all(
        scale == (constraint.limit or 1.0)
        for scale, constraint in zip(board.cost_scales, board.constraints, strict=True)
    )
    made.close()


@pytest.mark.parametrize("env", TABULAR)
def test_references_of_tabular_environments_are_exact(env):
    model = tabular_model_of(parse_environment_name(env))
    uniform = np.full((model.num_states, model.num_actions), 1.0 / model.num_actions)
    board = board_of(env)
    assert board.random_return == pytest.approx(model.evaluate(uniform).value, abs=1e-12)
    assert board.reference_return == pytest.approx(linear_program(model).value, abs=1e-12)
    assert board.normalized(linear_program(model).value) == pytest.approx(1.0, abs=1e-12)


def test_the_reference_of_the_regression_is_the_clipped_targets_loss():
    """Quadrature of (f - clip(f, -1.4, 1.4))^2 under the standard normal, inside |x| <= 3."""
    x = np.linspace(-8.0, 8.0, 400_001)
    f = np.sin(x) + np.sin(3 * x) + np.sin(7 * x)
    loss = np.where(np.abs(x) <= 3.0, (f - np.clip(f, -1.4, 1.4)) ** 2, 0.0)
    density = np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi)
    mean = float(np.trapezoid(loss * density, x))
    assert board_of("Safe/ConstrainedRegression-v0").reference_return == pytest.approx(
        -mean, abs=2e-5
    )


@pytest.mark.parametrize("env", ["Safe/ConstrainedRegression-v0", "SafetyHopperVelocity-v1"])
def test_random_returns_are_those_of_random_actions(env):
    """Within four standard errors of a fresh sample and the board's own error."""
    made = gym.make(env)
    made.action_space.seed(7)
    returns = []
    for seed in range(300):
        made.reset(seed=10_000 + seed)
        total, over = 0.0, False
        while not over:
            _, reward, terminated, truncated, _ = made.step(made.action_space.sample())
            total, over = total + reward, terminated or truncated
        returns.append(total)
    made.close()
    error = np.std(returns) / np.sqrt(len(returns)) * 2.0
    assert board_of(env).random_return == pytest.approx(np.mean(returns), abs=4 * error)


def test_an_unknown_board_lists_the_known_ones():
    with pytest.raises(ValueError, match="'Safe/None-v0' has no board; the boards are Safe/Cliff"):
        board_of("Safe/None-v0")


def test_an_environment_with_other_limits_is_not_evaluated():
    board = board_of("Safe/CliffWorld-v0")
    other = replace(board, constraints=(ConstraintSpec("chasm", 0.2, 0.9),))
    with pytest.raises(BoardMismatchError, match=r"declares constraints .* of its board has"):
        EpisodePlayer(other, 1)
    with pytest.raises(BoardMismatchError, match="declares reward_discount 0.9"):
        EpisodePlayer(replace(board, reward_discount=1.0), 1)
