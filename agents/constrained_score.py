"""A score of episodes that counts violated constraints, for tools that rank agents by reward.

RL Zoo's search and Stable-Baselines3's `EvalCallback` with its best model use the mean episode
reward that a Monitor records, so they prefer agents that ignore the constraints. Where you choose
the tool, `agents.evaluate` and `agents.ConstrainedEvalCallback` measure costs beside rewards.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from agents.training_env import undeclared_constraints
from safe_envs.contract.argument_checks import check_positive
from safe_envs.contract.cost_signal import (
    ConstraintSpec,
    CostLimits,
    CostSignalError,
    read_costs,
    with_limits,
)
from safe_envs.contract.episode_totals import Episode, EpisodeTotals


class ConstrainedScore(gym.Wrapper, gym.utils.RecordConstructorArgs):
    """Replaces the episode reward that an inner Monitor recorded with a score of the constraints.

    After k episodes of an evaluation, the mean of `info["episode"]["r"]` is

        mean value - penalty * sum_i [mean cost_i - limit_i]+

    for every k: each episode reports by how much it changed k times this number. So the constraints
    are on the mean cost, as declared, and one costly episode among cheap ones may be allowed. With
    a penalty above the optimal multipliers, the best score is that of the constrained optimum.
    Values and costs are sums with the declared discounts.

    Rewards, costs and everything else are unchanged: agents learn as they do without it, and only
    the reported episode rewards differ. An evaluation starts with a reset that does not
    follow the end of an episode: one right after another reset, or one in the middle of an episode.
    Stable-Baselines3's `evaluate_policy` makes the first kind, and the second where the last
    evaluation left an episode unfinished. Each copy of the environment counts its own episodes.

    Args:
        env: an environment, with a Monitor inside if Stable-Baselines3 is to see the score.
        penalty: for one unit of violation, in units of return. 100 is twenty times the largest
            multiplier in this project's experiments (2 to 5 on the velocity tasks).
        cost_limit: None for the declared limits, one number, or one per constraint.

    Raises:
        CostSignalError: if the environment declares no constraints and no limit is given; at a
            step, if it has no cost.
        ValueError: for a wrong number of limits or a penalty that is not positive.
    """

    def __init__(self, env: gym.Env, penalty: float = 100.0, cost_limit: CostLimits = None) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, penalty=penalty, cost_limit=cost_limit)
        gym.Wrapper.__init__(self, env)
        check_positive(penalty=penalty)
        self.penalty = penalty
        self._scored = _scored_constraints(env, cost_limit)
        discount = 1.0
        if env.has_wrapper_attr("reward_discount"):
            discount = env.get_wrapper_attr("reward_discount")
        self._discounts = (discount, [constraint.discount for constraint in self._scored])
        self._excess = np.zeros(len(self._scored))  # sum of cost - limit so far, (m,)
        self._totals = EpisodeTotals(1, *self._discounts)
        self._ended = False  # whether the last step ended an episode

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode, and an evaluation unless the last episode has just ended."""
        if not self._ended:  # an evaluation starts
            self._excess = np.zeros(len(self._scored))
        self._totals = EpisodeTotals(1, *self._discounts)
        self._ended = False
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take one step; the last one of an episode has the score in its info."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._ended = bool(terminated or truncated)
        costs = read_costs([info], 1, len(self._scored))
        signals = np.column_stack(([float(reward)], costs))
        for ended in self._totals.add(signals, np.array([terminated or truncated])):
            info = {**info, "episode": self._record(info.get("episode", {}), ended.episode)}
        return observation, reward, terminated, truncated, info

    def _record(self, recorded: dict[str, Any], episode: Episode) -> dict[str, Any]:
        """Return the record of an episode with the change of the score's sum as its reward."""
        limits = np.array([constraint.limit for constraint in self._scored])
        before = np.maximum(self._excess, 0.0).sum()
        self._excess = self._excess + episode.costs - limits
        change = np.maximum(self._excess, 0.0).sum() - before
        score = float(episode.value - self.penalty * change)
        return {"l": episode.length, **recorded, "r": score}


def _scored_constraints(env: gym.Env, cost_limit: CostLimits) -> tuple[ConstraintSpec, ...]:
    if env.has_wrapper_attr("constraints"):
        return with_limits(env.get_wrapper_attr("constraints"), cost_limit, "cost_limit")
    constraints = undeclared_constraints(cost_limit)
    if not constraints:
        raise CostSignalError(
            "the environment declares no constraints; pass cost_limit, which then bounds the sum "
            'of info["cost"] over an episode'
        )
    return constraints
