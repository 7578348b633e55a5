"""Regression as a one-step problem whose answer must stay in a band.

Source: SCPO (arXiv 2512.13788), section VI-A: learn f(x) = sin x + sin 3x + sin 7x for x ~ N(0, 1)
with |y| <= 1.4 on |x| <= 3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv

from safe_envs.contract.argument_checks import checked_array
from safe_envs.contract.argument_names import known_arguments
from safe_envs.contract.backup_policy import LinearFeedback
from safe_envs.contract.cost_signal import CostLimits, declare_constraints
from safe_envs.contract.dynamics import BatchStep, ScalarStart, ScalarStep
from safe_envs.contract.single_env import SingleEnv
from safe_envs.contract.vector_env import NativeVectorEnv
from safe_envs.control.plane_drawing import draw_regression

BOUND = 1.4  # of |y|
CONSTRAINED = 3.0  # the bound applies where |x| <= this
COST_LIMIT = 0.05
LARGEST_ACTION = 4.0


def target(x: np.ndarray) -> np.ndarray:
    """Return f(x) = sin x + sin 3x + sin 7x."""
    return np.sin(x) + np.sin(3.0 * x) + np.sin(7.0 * x)


def optimal_loss(cost_limit: float = 0.0) -> float:
    """Return the least E[(f(x) - y)^2] with E[cost] <= cost_limit.

    Leaving the band at x gains max(|f(x)| - 1.4, 0)^2 and costs the probability of x. So the best
    policy leaves it where the gain is largest until the limit is used up (a fractional knapsack).
    The loss at limit 0 is 0.04545. Computed by quadrature on 24,001 points of [-6, 6].

    Raises:
        ValueError: if cost_limit is negative.
    """
    if not cost_limit >= 0.0:
        raise ValueError(f"cost_limit is {cost_limit}; pass a number >= 0")
    x = np.linspace(-6.0, 6.0, 24_001)
    mass = np.exp(-0.5 * x * x)
    mass /= mass.sum()
    gain = np.where(np.abs(x) <= CONSTRAINED, np.maximum(np.abs(target(x)) - BOUND, 0.0) ** 2, 0.0)
    order = np.argsort(-gain)
    spent = np.cumsum(mass[order])
    kept = np.clip((spent - cost_limit) / mass[order], 0.0, 1.0)  # share that stays in the band
    return float((gain * mass)[order] @ kept)


class ConstrainedRegressionEnv(SingleEnv):
    """Regression with a bounded answer, as episodes of one step.

    ## Description
    The observation is x ~ N(0, 1), and the action y is a prediction of
    f(x) = sin x + sin 3x + sin 7x. Where |x| <= 3, the answer must stay within |y| <= 1.4, which f
    itself does not.

    ## Action Space
    `Box(-4, 4, (1,), float32)`: y; values outside are clipped.

    ## Observation Space
    `Box(-inf, inf, (1,), float64)`: x.

    ## Rewards
    -(f(x) - y)^2.

    ## Costs
    1 where |x| <= 3 and |y| > 1.4, else 0. The limit on its mean is 0.05, which a stochastic
    policy can meet. `info["constraint_values"]` holds the signed margin |y| - 1.4; where
    |x| > 3 nothing is constrained, and it is at most 0. After reset it is the margin of y = 0.

    ## Starting State
    x ~ N(0, 1); `reset(options={"state": x})` asks about x.

    ## Episode End
    Terminates after one step.

    ## Reference Optimum
    `optimal_loss(cost_limit)`: 0.04545 if the band is never left, less if the limit allows
    leaving it. The policy y = 0 has a loss of 1.56767.

    ## Arguments
    - `cost_limits` (None): another limit.

    ## Version History
    - v0: first version.
    """

    @known_arguments()
    def __init__(self, cost_limits: CostLimits = None, render_mode: str | None = None) -> None:
        dynamics = RegressionBatch(cost_limits)
        super().__init__(dynamics, render_mode, ScalarRegression())

    def backup_policy(self) -> LinearFeedback:
        """Return the safe policy y = 0."""
        return _backup_policy()


class ConstrainedRegressionVectorEnv(NativeVectorEnv, VectorEnv):
    """`ConstrainedRegressionEnv` as a native vector environment, with the same arguments."""

    @known_arguments(ConstrainedRegressionEnv)
    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        autoreset_mode: Any = "NextStep",
        render_mode: str | None = None,
        **arguments: Any,
    ) -> None:
        dynamics = ConstrainedRegressionEnv(**arguments).dynamics
        super().__init__(dynamics, num_envs, max_episode_steps, autoreset_mode, render_mode)

    def backup_policy(self) -> LinearFeedback:
        """Return the safe policy y = 0."""
        return _backup_policy()


class RegressionBatch:
    """The problem for many questions at a time; states x have shape (n,).

    Args:
        cost_limits: another limit.
    """

    def __init__(self, cost_limits: CostLimits = None) -> None:
        self.constraints = declare_constraints({"outside_band": COST_LIMIT}, 1.0, cost_limits)
        self.reward_discount = 1.0
        self.cost_high = np.ones(1)
        self.single_observation_space: gym.Space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float64)
        self.single_action_space: gym.Space = gym.spaces.Box(
            -LARGEST_ACTION, LARGEST_ACTION, (1,), np.float32
        )
        self.render_fps = 8

    def initial_states(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw x ~ N(0, 1)."""
        return rng.standard_normal(count)

    def checked_states(self, states: Any, count: int) -> np.ndarray:
        """Return `count` questions given by the user, of shape (count, 1)."""
        return checked_array("state", states, (count, 1), "x")[:, 0]

    def noise(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw nothing, (n, 0)."""
        return np.empty((count, 0))

    def step(self, states: np.ndarray, actions: np.ndarray, noise: np.ndarray) -> BatchStep:
        """Answer all questions."""
        answers = actions[:, 0]
        residual = target(states) - answers
        margins = np.abs(answers) - BOUND
        margins = np.where(np.abs(states) > CONSTRAINED, np.minimum(margins, 0.0), margins)
        costs = (margins > 0.0).astype(np.float64)[:, None]
        ended = np.ones(len(states), dtype=np.bool_)
        return BatchStep(states.copy(), -(residual * residual), costs, ended, margins[:, None])

    def observe(self, states: np.ndarray) -> np.ndarray:
        """Return x as (n, 1)."""
        return states[:, None].copy()

    def margins(self, states: np.ndarray) -> np.ndarray:
        """Return the margins of y = 0, (n, 1)."""
        return np.full((len(states), 1), -BOUND)

    def start_details(self, states: np.ndarray) -> None:
        """Return None: infos have no other entries."""

    def frame(self, state: np.ndarray) -> np.ndarray:
        """Return the curve, the band and one question."""
        return draw_regression(float(state), None, target, BOUND, CONSTRAINED)

    def close(self) -> None:
        """Do nothing: there is nothing to free."""


class ScalarRegression:
    """`RegressionBatch` for one question; the state is (x, answer), the answer None before one."""

    def start(self, rng: np.random.Generator, options: Mapping[str, Any]) -> ScalarStart:
        """Draw x, or take the one given, of shape (1,)."""
        if "state" in options:
            x = float(checked_array("state", options["state"], (1,), "x")[0])
        else:
            x = rng.standard_normal()
        return (x, None), np.array([x]), np.array([-BOUND]), None

    def step(
        self, state: tuple[float, float | None], action: np.ndarray, rng: np.random.Generator
    ) -> ScalarStep:
        """Answer the question and end the episode."""
        x = state[0]
        seen = np.array([x])
        answer = float(action[0])
        residual = float(target(seen)[0]) - answer
        margin = math.fabs(answer) - BOUND
        if abs(x) > CONSTRAINED:
            margin = min(margin, 0.0)
        cost = 1.0 if margin > 0.0 else 0.0
        margins = np.array([margin])
        return (x, answer), seen, -(residual * residual), cost, True, None, margins, None

    def frame(self, state: tuple[float, float | None]) -> np.ndarray:
        """Return the curve, the band, the question and the answer."""
        return draw_regression(*state, target, BOUND, CONSTRAINED)


def _backup_policy() -> LinearFeedback:
    return LinearFeedback(np.zeros((1, 1)), -LARGEST_ACTION, LARGEST_ACTION)
