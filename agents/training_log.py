"""What a training records in Stable-Baselines3's logger."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from agents.batch import Measurement
from agents.episode_record import EpisodeRecord
from agents.repair_count import RepairedShare


@contextmanager
def one_window(agent: OnPolicyAlgorithm, episodes: int) -> Iterator[None]:
    """Let Stable-Baselines3 log the success rate of the last episodes only, and no other averages.

    Its own windows reach farther back and would show earlier policies; `TrainingLog.episodes`
    records rewards and lengths.

    Args:
        agent: whose log is written inside.
        episodes: the number that the recorded averages cover.
    """
    infos, successes = agent.ep_info_buffer, agent.ep_success_buffer
    known = list(successes or ())
    agent.ep_info_buffer = deque()
    agent.ep_success_buffer = deque(known[max(len(known) - episodes, 0) :])
    try:
        yield
    finally:
        agent.ep_info_buffer, agent.ep_success_buffer = infos, successes


class TrainingLog:
    """Records numbers by name, and arrays of numbers under the names of the constraints.

    Args:
        logger: of Stable-Baselines3.
        constraint_names: m names.
    """

    def __init__(self, logger: Logger, constraint_names: Sequence[str]) -> None:
        self._logger, self._names = logger, constraint_names

    def episodes(self, episodes: EpisodeRecord, repairs: RepairedShare | None = None) -> None:
        """Record the averages of the recent episodes, all over the same ones.

        Names with "value" are sums with the declared discounts, the others undiscounted ones.

        Args:
            episodes: so far.
            repairs: of the last rollout's actions, by a head.
        """
        if repairs is not None:
            self._logger.record("rollout/repair_rate", repairs.rate)
            self._logger.record("rollout/repair_correction_mean", repairs.mean_correction)
            self._logger.record("rollout/repair_infeasible_rate", repairs.infeasible_rate)
        found = episodes.averages()
        if found is None:
            return
        self._logger.record("rollout/episodes", found.episodes)
        self._logger.record("rollout/ep_rew_mean", found.plain_value)
        self._logger.record("rollout/ep_len_mean", found.length)
        self._logger.record("rollout/ep_value_mean", found.value)
        self.per_constraint("rollout/ep_cost_mean", found.plain_costs)
        self.per_constraint("rollout/ep_cost_value_mean", found.costs)
        if found.episodes > 1:
            self._logger.record("rollout/ep_value_se", found.value_error)
            self.per_constraint("rollout/ep_cost_value_se", found.cost_errors)

    def update(
        self,
        report: Mapping[str, float],
        explained: np.ndarray,
        measured: Measurement | None,
        state: Mapping[str, np.ndarray],
    ) -> None:
        """Record an update of the policy.

        Args:
            report: of the update.
            explained: each critic's explained variance, (1 + m,).
            measured: of the constraints, if an episode has ended.
            state: of the constraints, from the agent's `constraint_state`.
        """
        for name, number in report.items():
            self._logger.record(f"train/{name}", number)
        self._logger.record("train/explained_variance", explained[0])
        self.per_constraint("train/cost_explained_variance", explained[1:])
        self._logger.record("constraint/episodes", 0 if measured is None else measured.episodes)
        self._logger.record("constraint/held", int(measured is None))
        if measured is not None:
            self.per_constraint("constraint/violation", measured.violation)
        for name, numbers in state.items():
            self.per_constraint(f"constraint/{name}", numbers)

    def per_constraint(self, key: str, numbers: np.ndarray) -> None:
        """Record one number per constraint, or a single number."""
        if len(numbers) == 1:
            self._logger.record(key, float(numbers[0]))
            return
        for name, number in zip(self._names, numbers, strict=True):
            self._logger.record(f"{key}/{name}", float(number))
