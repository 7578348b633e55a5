"""Warnings about trainings that cannot go well, once each, with what to do."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from agents.batch import Batch, Measurement

UPDATES_WITHOUT_EPISODE = 5
WINDOW = 30  # measured updates over which a price grows in vain
DOMINATES = 2.0  # a price at which costs weigh that much more than the reward
FALL = 0.9  # of the violation: if more of it is left after a window, it has not fallen
UPDATES_ABOVE_LIMIT = 50  # measured updates in none of which a limit was met
AT_BOUNDS, ROLLOUTS_AT_BOUNDS = 0.99, 3  # share of the actions' entries, and how often in a row


class TrainingWarning(UserWarning):
    """A training goes on, but not as its user will expect."""


class Seen(NamedTuple):
    """What the watch remembers of an update."""

    weights: np.ndarray  # (m,)
    shares: np.ndarray  # (m,) weight of each cost's advantage beside the reward's
    violation: np.ndarray  # (m,)


class TrainingWatch:
    """Watches the updates of a training and warns once of each kind of trouble.

    Args:
        names: of the constraints, m.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._warned: set[str] = set()
        self._without_episode = 0
        self._at_bounds = 0
        self._limits = np.full(len(names), np.nan)  # in force at the last update
        self._measured = np.zeros(len(names), dtype=np.int64)  # updates since `_lowest` began
        self._lowest = np.full(len(names), np.inf)  # mean cost of an update's episodes
        self._window: deque[Seen] = deque(maxlen=WINDOW)

    def update(
        self,
        measured: Measurement | None,
        weights: np.ndarray,
        batch: Batch,
        at_bounds: float,
    ) -> None:
        """Look at one update.

        Args:
            measured: of the constraints, if an episode has ended.
            weights: price of each cost, (m,); empty where the agent has none.
            batch: that the update learned from.
            at_bounds: share of the entries of the rollout's Box actions at or beyond a bound.
        """
        self._watch_bounds(at_bounds)
        if not self._names:
            return
        if measured is None:
            self._watch_episodes(len(batch.actions))
            return
        self._without_episode = 0
        self._watch_limits(measured)
        if len(weights) == len(self._names):
            deviations = batch.advantages.double().std(0, correction=0).cpu().numpy()
            priced, reward = weights * deviations[1:], deviations[0]
            alone = np.where(priced > 0, np.inf, 0.0)  # where no reward varies
            shares = priced / reward if reward > 0 else alone
            self._window.append(Seen(weights, shares, measured.violation))
            self._watch_prices()

    def _watch_bounds(self, at_bounds: float) -> None:
        self._at_bounds = self._at_bounds + 1 if at_bounds >= AT_BOUNDS else 0
        if self._at_bounds == ROLLOUTS_AT_BOUNDS:
            self._warn(
                "bounds",
                f"in {ROLLOUTS_AT_BOUNDS} rollouts in a row every action was at its bound, where "
                "a change of the policy changes nothing; check the bounds of the action space, "
                "start again with a lower learning_rate, or add an entropy bonus (ent_coef) if the "
                "agent has one",
            )

    def _watch_episodes(self, steps: int) -> None:
        self._without_episode += 1
        if self._without_episode == UPDATES_WITHOUT_EPISODE:
            self._warn(
                "episodes",
                f"no episode has ended in {UPDATES_WITHOUT_EPISODE} updates "
                f"({UPDATES_WITHOUT_EPISODE * steps:,} steps), so no cost is measured and the "
                "prices are held; pass a larger n_steps, or give the environment a time limit "
                "(gymnasium.wrappers.TimeLimit)",
            )

    def _watch_limits(self, measured: Measurement) -> None:
        limits = measured.limits
        # What met the limit before says nothing about a lower one: count from here on.
        again = (limits != self._limits) & (self._lowest <= self._limits)
        self._lowest = np.minimum(np.where(again, np.inf, self._lowest), measured.costs)
        self._measured = np.where(again, 0, self._measured) + 1
        self._limits = limits.copy()
        above = (self._lowest > limits) & (self._measured >= UPDATES_ABOVE_LIMIT)
        for i in np.flatnonzero(above).tolist():
            self._warn(
                f"limit {i}",
                f"the limit of {self._names[i]!r} is {limits[i]:g}, and in {self._measured[i]} "
                f"updates the episodes of no policy have cost less than {self._lowest[i]:.4g} on "
                "average; the limit may be out of reach: pass a higher cost_limit, or let the "
                "policy explore more",
            )

    def _watch_prices(self) -> None:
        if len(self._window) < WINDOW:
            return
        seen = list(self._window)
        third = WINDOW // 3
        early = np.mean([one.violation for one in seen[:third]], axis=0)
        late = np.mean([one.violation for one in seen[-third:]], axis=0)
        always = np.min([one.violation for one in seen], axis=0) > 0
        grown = seen[-1].weights > 2.0 * seen[0].weights
        dominates = seen[-third].shares > DOMINATES
        for i in np.flatnonzero(always & grown & dominates & (late > FALL * early)).tolist():
            self._warn(
                f"price {i}",
                f"over {WINDOW} updates the price of {self._names[i]!r} has grown from "
                f"{seen[0].weights[i]:.4g} to {seen[-1].weights[i]:.4g}, but its violation has not "
                f"fallen ({early[i]:.4g} before, {late[i]:.4g} now), although it outweighs the "
                "reward: the policy does not follow; check that the limit can be met, and try a "
                "higher learning_rate or longer rollouts (n_steps)",
            )

    def _warn(self, kind: str, message: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            warnings.warn(message, TrainingWarning, stacklevel=2)
