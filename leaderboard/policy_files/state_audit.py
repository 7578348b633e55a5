"""Finds a memory: answers that depend on more than the observation.

The rules for policy files leave no memory that we know of. This is for the one that nobody thought
of. Each policy has a witness, the same file in a second process, which is asked only some of the
observations, chosen in secret, in another order. An answer that differs in a bit was no function of
its observation. So a policy that remembers anything, from one row or a thousand episodes before,
has to behave as if it did not on every row that might be chosen.
"""

from __future__ import annotations

import time
from typing import Protocol

import numpy as np

from leaderboard.policy_files.policy_refused import PolicyRefused

SAMPLED_SHARE = 20  # one row of so many is confirmed
LEAST_SAMPLED, MOST_SAMPLED = 128, 1024  # rows per call of `confirm`, if there are as many
AGAIN = 64  # rows that also the policy itself is asked again, and that are kept for later calls
MOST_KEPT = 2 * AGAIN  # rows of earlier calls, asked in each
CALLS_AT_ONCE = 64  # of the policy, from whose rows the sample is chosen together
MOST_ROUNDS = 64  # of `check_repeats`
ROUNDS_SECONDS = 0.05  # after which it ends, if it has tried three orders
SLOW_SECONDS = 2.0  # after which it ends even if not
Outputs = dict[str, np.ndarray]
Asked = tuple[np.ndarray, np.ndarray]  # rows and their answers, side by side


class Answering(Protocol):
    """Answers observations."""

    def outputs(self, observations: np.ndarray) -> Outputs:
        """Return each output, (rows, width), for observations (rows, n)."""


class RunningPolicy(Answering, Protocol):
    """A policy in a process; see `SandboxedPolicy`."""

    def start(self) -> None:
        """Start the process, unless it is running."""

    def close(self) -> None:
        """End the process, if there is one."""

    def another(self) -> RunningPolicy:
        """Return the same policy for a process of its own, not started."""


class WatchedPolicy:
    """A running policy whose answers are confirmed by another process.

    Args:
        policy: which is not closed with this object.
        generator: chooses the rows; by default nobody knows its state.
    """

    def __init__(self, policy: RunningPolicy, generator: np.random.Generator | None = None) -> None:
        self._policy = policy
        self._witness = policy.another()
        self._random = generator or np.random.default_rng()
        self._sample = _Sample(self._random)
        self._earlier: list[Asked] = []

    def start(self) -> None:
        """Start the policy, unless it is running."""
        self._policy.start()

    def close(self) -> None:
        """End the witness."""
        self._witness.close()

    def outputs(self, observations: np.ndarray) -> Outputs:
        """Return the policy's outputs and remember some of them."""
        found = self._policy.outputs(observations)
        self._sample.offer(observations, found)
        return found

    def confirm(self) -> None:
        """Ask for some of the answers since the last call again, and for some older ones.

        Raises:
            PolicyRefused: if an answer differs.
            PolicyFailed: if the policy or its witness fails.
        """
        sample = self._sample.take()
        if sample is None:
            return
        rows, answers = sample
        self._witness.start()
        kept = self._random.permutation(len(rows))[:AGAIN]
        self._earlier.append((rows[kept], answers[kept]))
        rows, answers = _together([(rows, answers), *self._earlier[:-1]])
        order = self._random.permutation(len(rows))
        _check_same(self._witness, rows[order], answers[order])
        again = order[:AGAIN]
        _check_same(self._policy, rows[again], answers[again])
        if len(self._earlier) > MOST_KEPT // AGAIN:
            del self._earlier[self._random.integers(len(self._earlier))]


class _Sample:
    """A random sample of the rows offered since the last `take`: those with the smallest keys."""

    def __init__(self, generator: np.random.Generator) -> None:
        self._random = generator
        self._clear()

    def _clear(self) -> None:
        self._waiting: list[tuple[np.ndarray, Outputs]] = []
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._held = self._offered = 0
        self._bound = 1.0

    def offer(self, rows: np.ndarray, outputs: Outputs) -> None:
        """Take these rows into the sample, or some of them, or none."""
        self._waiting.append((np.array(rows), outputs))
        if len(self._waiting) >= CALLS_AT_ONCE:
            self._choose()

    def _choose(self) -> None:
        """Choose among the rows that wait; one by one this would take much more time."""
        rows = np.concatenate([part for part, _ in self._waiting])
        answers = _joined(
            {
                name: np.concatenate([outputs[name] for _, outputs in self._waiting])
                for name in self._waiting[0][1]
            }
        )
        self._waiting.clear()
        self._offered += len(rows)
        keys = self._random.random(len(rows))
        (chosen,) = (keys < self._bound).nonzero()
        self._parts.append((keys[chosen], rows[chosen], answers[chosen]))
        self._held += len(chosen)
        if self._held > 2 * MOST_SAMPLED:
            self._shrink(MOST_SAMPLED)

    def take(self) -> Asked | None:
        """Return the sampled rows and their answers, if any, and start a new sample."""
        if self._waiting:
            self._choose()
        if not self._parts:
            return None
        self._shrink(max(LEAST_SAMPLED, min(self._offered // SAMPLED_SHARE, MOST_SAMPLED)))
        _, rows, answers = self._parts[0]
        self._clear()
        return rows, answers

    def _shrink(self, most: int) -> None:
        keys = np.concatenate([part[0] for part in self._parts])
        rows, answers = _together([part[1:] for part in self._parts])
        smallest = np.argsort(keys)[:most]
        self._parts = [(keys[smallest], rows[smallest], answers[smallest])]
        self._held = len(smallest)
        if len(smallest) == most:
            self._bound = float(keys[smallest[-1]])


def check_repeats(policy: Answering, rows: np.ndarray, extremes: int) -> None:
    """Ask a running policy for the same rows again and again, each time in another order.

    Args:
        policy: running.
        rows: observations (rows, n); the last ones are the extreme ones.
        extremes: the number of extreme ones.

    Raises:
        PolicyRefused: if an answer differs.
        PolicyFailed: if the policy fails.
    """
    start = time.monotonic()
    answers = _joined(policy.outputs(rows))
    random = np.random.default_rng()
    forward = np.arange(len(rows))
    after_extremes = np.stack([np.roll(forward, extremes), forward], axis=1).ravel()
    orders = [after_extremes, forward[::-1], forward]
    for round_ in range(MOST_ROUNDS):
        seconds = ROUNDS_SECONDS if round_ >= len(orders) else SLOW_SECONDS
        if round_ and time.monotonic() - start > seconds:
            return
        order = orders[round_] if round_ < len(orders) else random.permutation(len(rows))
        _check_same(policy, rows[order], answers[order])


def _check_same(policy: Answering, rows: np.ndarray, answers: np.ndarray) -> None:
    """Raise PolicyRefused unless a policy gives the same answers, bit for bit."""
    for start in range(0, len(rows), AGAIN):
        some = slice(start, start + AGAIN)
        if _joined(policy.outputs(rows[some])).tobytes() != answers[some].tobytes():
            raise PolicyRefused(
                "the policy has a memory: asked again, it answered an observation differently; "
                "allowed: answers that depend on the observation alone; export it in evaluation "
                "mode"
            )


def _together(parts: list[Asked]) -> Asked:
    """Return the rows and answers of several parts."""
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _joined(outputs: Outputs) -> np.ndarray:
    """Return all outputs side by side, (rows, all widths)."""
    if len(outputs) == 1:
        (values,) = outputs.values()
        return values.astype(np.float64)
    return np.concatenate([outputs[name] for name in sorted(outputs)], axis=1, dtype=np.float64)
