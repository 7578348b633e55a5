"""A small task in which things can be made to go wrong, one at a time.

Six numbers wander; the agent should answer with two that it can compute from them. Each step pays
1 - |a - f(s)|^2 and costs max(0, a_1), so that a limit on the cost forbids some right answers.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from safe_envs import ConstraintSpec

STEPS = 50
LIMIT = 5.0  # the best policy without a limit costs about 10
WANDERS = 0.8  # what is left of a number after a step
TARGETS = np.random.default_rng(0).normal(0.0, 0.4, (2, 6))


class AdjustableTask(gym.Env):
    """The task, with its faults.

    Args:
        length: steps of an episode.
        outliers: one number in a hundred is a million times as large.
        base_cost: of every step, whatever the agent does.
        reward_noise: deviation of a random part of the reward.
        constant_reward: every step pays 1.
        hidden: the observation says nothing.
        exit: a step with a_2 > 0.6 ends the episode.
    """

    observation_space = gym.spaces.Box(-np.inf, np.inf, (7,), np.float64)
    action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float64)
    constraints = (ConstraintSpec("effort", LIMIT),)
    metadata = {"render_modes": []}

    def __init__(
        self,
        length: int = STEPS,
        outliers: bool = False,
        base_cost: float = 0.0,
        reward_noise: float = 0.0,
        constant_reward: bool = False,
        hidden: bool = False,
        exit: bool = False,
    ) -> None:
        self.length, self.outliers, self.hidden, self.exit = length, outliers, hidden, exit
        self.base_cost, self.reward_noise = base_cost, reward_noise
        self.constant_reward = constant_reward
        self._numbers, self._time = np.zeros(6), 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Draw new numbers."""
        super().reset(seed=seed)
        self._numbers, self._time = self.np_random.normal(size=6), 0
        return self._seen(), {"cost": 0.0}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Pay for the answer and let the numbers wander."""
        answer = np.clip(np.asarray(action, dtype=np.float64), -1.0, 1.0)
        missed = answer - np.tanh(TARGETS @ self._numbers)
        reward = 1.0 if self.constant_reward else 1.0 - float(missed @ missed)
        if self.reward_noise:
            reward += self.reward_noise * float(self.np_random.normal())
        self._numbers = WANDERS * self._numbers + 0.6 * self.np_random.normal(size=6)
        self._time += 1
        cost = self.base_cost + max(0.0, float(answer[0]))
        leaves = self.exit and bool(answer[1] > 0.6)
        ended = self._time >= self.length
        return self._seen(), reward, leaves, ended and not leaves, {"cost": cost}

    def _seen(self) -> np.ndarray:
        if self.hidden:
            return np.zeros(7)
        seen = np.append(self._numbers, self._time / self.length)
        if self.outliers:
            return seen * np.where(self.np_random.random(7) < 0.01, 1e6, 1.0)
        return seen


def adjustable_task(**arguments: Any) -> gym.Env:
    """Return the task."""
    return AdjustableTask(**arguments)
