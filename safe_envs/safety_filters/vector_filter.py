"""The safety filter for many environments at once."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from safe_envs.contract.action_checks import checked_batch
from safe_envs.contract.transition_values import kept
from safe_envs.contract.vector_wrapper import (
    NativeVectorWrapper,
    VectorWrapper,
    add_at_reset,
    add_at_step,
)
from safe_envs.safety_filters.barriers import resolved_barrier
from safe_envs.safety_filters.filter_plant import (
    Barrier,
    BarrierRows,
    RowFunction,
    WeightAt,
    vector_plant_of,
)
from safe_envs.safety_filters.filter_wrapper import no_correction
from safe_envs.safety_filters.metrics import Metric, resolved_metric
from safe_envs.safety_filters.quadratic_program import (
    NO_AUTHORITY,
    ROW_TOLERANCE,
    SLACK_WEIGHT,
    STATUSES,
    Weight,
    dot,
    nearest_on_row,
    solve,
)

NEAR = 1e-6  # rows met by less than this are checked one by one; well above rounding


class ProjectionBatch(NamedTuple):
    """What leaves the filter in N states."""

    action: np.ndarray  # u, (m, N)
    slack: np.ndarray  # (N,)
    active: np.ndarray  # (N,) bool
    status: np.ndarray  # (N,) str


def filter_batch(
    rows: BarrierRows,
    weight: Weight | WeightAt,
    states: np.ndarray,
    references: np.ndarray,
    low: np.ndarray | float = 0.0,
    high: np.ndarray | float = 1.0,
) -> ProjectionBatch:
    """Return the safe u nearest to the references in N states.

    All states are screened together, and solved together where one row alone decides. Where
    several rows do, or rounding could matter, each state is solved by itself. If the rows of a
    batch are bit for bit those of single states, so are the results.

    Args:
        rows: of the barrier, in one scene or in N.
        weight: `weight_of(metric)`, or a function that gives the weight in the i-th state, which is
            called where the reference is unsafe; then each state is solved by itself.
        states: (n, N).
        references: (m, N).
        low: lower bound of u, (m,) or a number.
        high: upper bound of u, (m,) or a number.
    """
    lows, highs = np.empty(len(references)), np.empty(len(references))
    lows[:], highs[:] = low, high
    matrices, bounds = rows.batch(states, references)
    missing = bounds - (matrices @ references.T[:, :, None])[:, :, 0]  # (N, k)
    outside = ((references < lows[:, None]) | (references > highs[:, None])).any(axis=0)
    suspect = (missing > -NEAR).any(axis=1) | outside
    actions = references.copy()
    slack = np.zeros(len(suspect))
    status = np.full(len(suspect), "kept", dtype="U8")
    active = suspect.copy()
    if isinstance(weight, Weight) and bounds.shape[1]:
        broken = np.flatnonzero(suspect & ~outside & (missing > NEAR).any(axis=1))
        found = _on_one_row(
            weight, matrices[broken], missing[broken], references[:, broken], lows, highs
        )
        alone, decides = found.solved, broken[found.solved]
        actions[:, decides], slack[decides] = found.action[:, alone], found.slack[alone]
        status[decides] = "solved"
        suspect[decides] = False
    for i in np.flatnonzero(suspect).tolist():
        reference = np.ascontiguousarray(references[:, i])
        matrix, bound = rows.of(i)(np.ascontiguousarray(states[:, i]), reference)
        own = weight if isinstance(weight, Weight) else weight(i)
        actions[:, i], slack[i], active[i], status[i] = solve(
            own, reference, matrix, bound, lows, highs
        )
    return ProjectionBatch(actions, slack, active, status)


class _OnOneRow(NamedTuple):
    action: np.ndarray  # (m, M)
    slack: np.ndarray  # (M,)
    solved: np.ndarray  # (M,) bool: whether no other row and no bound is broken


def _on_one_row(
    weight: Weight,
    matrices: np.ndarray,
    missing: np.ndarray,
    references: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
) -> _OnOneRow:
    """Return the nearest points on the most broken rows, as `solve` does for one state.

    Args:
        weight: W and rho.
        matrices: A, (M, k, m).
        missing: b - A u_ref, (M, k), with an entry above 0 in every state.
        references: u_ref within the bounds, (m, M).
        low: (m,).
        high: (m,).
    """
    columns = list(np.moveaxis(matrices, -1, 0))
    lengths = np.maximum(np.sqrt(dot(columns, columns)), NO_AUTHORITY)  # (M, k)
    missing = missing / lengths
    worst = (np.arange(len(missing)), missing.argmax(axis=1))
    row = matrices[worst] / lengths[worst][:, None]
    entries, slack = nearest_on_row(weight, list(row.T), missing[worst])
    change = np.array(entries)  # (m, M)
    action = references + change
    short = missing - (matrices @ change.T[:, :, None])[:, :, 0] / lengths - slack[:, None]
    short[worst] = 0.0
    outside = ((action < low[:, None]) | (action > high[:, None])).any(axis=0)
    return _OnOneRow(action, slack, ~outside & (short <= ROW_TOLERANCE).all(axis=1))


class VectorSafetyFilter(NativeVectorWrapper, VectorWrapper):
    """`SafetyFilter` around the native vector form of an environment that offers `filter_plant()`.

    Each environment gets what a `SafetyFilter` around it would give. Infos hold the same keys, as
    arrays (N, ...) with their masks; `"filter_time"` is the batch's time divided by N.

    Args:
        env: with a method `filter_plant`.
        barrier: as for `SafetyFilter`, around the scenes of all environments; a plain function
            is slower.
        metric: as for `SafetyFilter`; one that depends on the state is slower.
        slack_weight: rho.

    Raises:
        ValueError: if the barrier, the metric or the slack weight does not fit.
        TypeError: if the environment does not offer the method.
    """

    def __init__(
        self,
        env: gym.vector.VectorEnv,
        barrier: Barrier | RowFunction | None = None,
        metric: Metric = "lqr",
        slack_weight: float = SLACK_WEIGHT,
    ) -> None:
        plant = vector_plant_of(env)
        super().__init__(env)
        self._plant = plant
        self._rows_now = resolved_barrier(barrier, plant)
        self._weights = resolved_metric(metric, plant, slack_weight)
        self.barrier = plant.barrier if barrier is None else barrier
        self.metric = self._weights.metric
        self.slack_weight = slack_weight
        self._observations: Any = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start new episodes."""
        observations, infos = self.env.reset(seed=seed, options=options)
        self._observations = kept(observations)
        add_at_reset(no_correction((len(self._plant.low),)), infos, self.env.num_envs)
        return observations, infos

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Project the actions and take them."""
        if self._observations is None:
            raise gym.error.ResetNeeded("call reset() before step()")
        plant, count = self._plant, self.env.num_envs
        states = plant.state(self._observations)
        started = time.perf_counter()
        given = checked_batch(actions, self.env.single_action_space, count)
        references = plant.decoded(given)
        weight = self._weights.batch(states, references)
        found = filter_batch(self._rows_now(), weight, states, references, plant.low, plant.high)
        taken = np.where(found.active[:, None], plant.encoded(found.action), given)
        elapsed = time.perf_counter() - started
        outcome = self.env.step(taken)
        self._observations, infos = kept(outcome[0]), outcome[4]
        change = found.action - references
        values = {
            "action_ref": np.array(given, dtype=np.float64),
            "action_safe": taken,
            "filter_active": found.active,
            "filter_slack": found.slack,
            "filter_correction": np.sqrt((change * change).sum(axis=0)),
            "filter_status": _status_numbers(found.status),
            "filter_time": np.full(count, elapsed / count),
        }
        add_at_step(values, no_correction((len(self._plant.low),)), infos)
        return outcome


def _status_numbers(status: np.ndarray) -> np.ndarray:
    numbers = np.zeros(len(status), dtype=np.int64)
    for number, name in enumerate(STATUSES[1:], start=1):
        numbers[status == name] = number
    return numbers
