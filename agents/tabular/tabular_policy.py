"""A table of action probabilities as something that acts, as agents and controllers do."""

from __future__ import annotations

from typing import Any

import numpy as np

PredictState = tuple[np.ndarray, ...] | None  # passed through by `predict`, as in Stable-Baselines3


class TabularPolicy:
    """Acts by the action probabilities of the state that it observes.

    Args:
        probabilities: of the actions in each state, (S, A).
        observations: of each state, (S, ...), all different.
        seed: of the draws.

    Raises:
        ValueError: if the rows are no probabilities, if their number differs, or if two states look
            the same.
    """

    def __init__(self, probabilities: np.ndarray, observations: np.ndarray, seed: int = 0) -> None:
        _check_table(probabilities, observations)
        self.probabilities = np.array(probabilities, dtype=np.float64)
        self.probabilities.setflags(write=False)
        self._shape = observations.shape[1:]
        self._states = {row.tobytes(): state for state, row in enumerate(_plain(observations))}
        if len(self._states) < len(observations):
            raise ValueError(
                f"{len(observations)} states have only {len(self._states)} different observations; "
                "a policy of states needs to tell them apart: use an environment that shows its "
                "state"
            )
        self._ends = np.cumsum(self.probabilities, axis=1)
        self._rng = np.random.default_rng(seed)

    def predict(
        self,
        observation: Any,
        state: PredictState = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, PredictState]:
        """Return the action of one observation or the actions of a batch, and `state` unchanged.

        Args:
            observation: as the environment gives it, or (N, ...).
            state: passed through.
            episode_start: not used.
            deterministic: take the most likely action, the first of several.

        Raises:
            ValueError: if it is not the observation of a state.
        """
        seen = np.asarray(observation)
        single = seen.shape == self._shape
        rows = seen[None] if single else seen
        if rows.shape[1:] != self._shape:
            raise ValueError(
                f"the observation has shape {seen.shape}; pass one of shape {self._shape}, or a "
                "batch of them"
            )
        states = np.array([self._state_of(row) for row in rows], dtype=np.int64)
        if deterministic:
            actions = self.probabilities[states].argmax(axis=1)
        else:
            ends = self._ends[states]
            drawn = self._rng.random((len(states), 1)) * ends[:, -1:]
            actions = (ends <= drawn).sum(axis=1)
        return (np.asarray(actions[0]) if single else actions), state

    def _state_of(self, row: np.ndarray) -> int:
        found = self._states.get(_plain(row).tobytes())
        if found is None:
            raise ValueError(
                f"{row.tolist()} is not the observation of any of {len(self._states)} states; pass "
                "observations of the environment that the policy was computed for"
            )
        return found

    def __repr__(self) -> str:
        states, actions = self.probabilities.shape
        return f"TabularPolicy({states} states, {actions} actions)"


def _plain(observations: np.ndarray) -> np.ndarray:
    """Return the numbers in one type, so that equal observations have equal bytes; -0 becomes 0."""
    return np.ascontiguousarray(observations, dtype=np.float64) + 0.0


def _check_table(probabilities: np.ndarray, observations: np.ndarray) -> None:
    fits = np.ndim(probabilities) == 2 and len(probabilities) == len(observations)
    if not fits:
        raise ValueError(
            f"probabilities has shape {np.shape(probabilities)} for {len(observations)} states; "
            "pass a table (S, A)"
        )
    sums = np.sum(probabilities, axis=1)
    if not (np.min(probabilities) >= 0 and np.allclose(sums, 1.0, rtol=0, atol=1e-6)):
        raise ValueError("probabilities has rows that are not probabilities; each has to sum to 1")
