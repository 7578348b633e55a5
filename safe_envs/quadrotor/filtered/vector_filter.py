"""The safety filter for many quadrotors at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from safe_envs.contract.action_checks import checked_batch
from safe_envs.quadrotor.vector_env import QuadrotorVectorEnv
from safe_envs.safety_filters.barriers import SphereRows, SphereZCBF
from safe_envs.safety_filters.metrics import Metric, metric_at, resolved_metric
from safe_envs.safety_filters.quadratic_program import (
    NO_AUTHORITY,
    ROW_TOLERANCE,
    SLACK_WEIGHT,
    Weight,
    dot,
    nearest_on_row,
    solve,
    trusted_weight,
    weight_of,
)

try:
    from gymnasium.vector import VectorWrapper
except ImportError:  # Gymnasium < 1.0, whose vector API `QuadrotorVectorEnv` refuses
    from gymnasium.vector import (  # type: ignore[attr-defined,no-redef]
        VectorEnvWrapper as VectorWrapper,
    )

NEAR = 1e-6  # rows met by less are looked at one by one; above the rounding of their values
LOW, HIGH = np.zeros(4), np.ones(4)
WeightAt = Callable[[int], Weight]


class ProjectionBatch(NamedTuple):
    """The rotor thrusts that leave the filter in N states."""

    action: np.ndarray  # (4, N)
    slack: np.ndarray  # (N,)
    active: np.ndarray  # (N,) bool
    status: np.ndarray  # (N,) str


def filter_batch(
    rows: SphereRows, weight: Weight | WeightAt, states: np.ndarray, references: np.ndarray
) -> ProjectionBatch:
    """Return the safe rotor thrusts nearest to the references.

    All states are screened together, and solved together where one row alone decides. Only where
    several do, or rounding could matter, the program is that of a single state. The results are
    equal bit by bit to `SafetyFilter`'s.

    Args:
        rows: `SphereZCBF(...).around(...)`, of the same or of N sets of spheres.
        weight: `weight_of(metric)`, or a function that gives the weight in the i-th state, which is
            called where the reference is unsafe; then each state is solved by itself.
        states: (13, N).
        references: rotor thrusts, (4, N).
    """
    matrices, bounds = rows.batch(states, references)
    missing = bounds - (matrices @ references.T[:, :, None])[:, :, 0]  # (N, k)
    outside = ((references < 0.0) | (references > 1.0)).any(axis=0)
    suspect = (missing > -NEAR).any(axis=1) | outside
    actions = references.copy()
    slack = np.zeros(len(suspect))
    status = np.full(len(suspect), "kept", dtype="U8")
    active = suspect.copy()
    if isinstance(weight, Weight):
        broken = np.flatnonzero(suspect & ~outside & (missing > NEAR).any(axis=1))
        found = _on_one_row(weight, matrices[broken], missing[broken], references[:, broken])
        alone, decides = found.solved, broken[found.solved]
        actions[:, decides], slack[decides] = found.action[:, alone], found.slack[alone]
        status[decides] = "solved"
        suspect[decides] = False
    for i in np.flatnonzero(suspect).tolist():
        reference = np.ascontiguousarray(references[:, i])
        matrix, bound = rows.of(i)(np.ascontiguousarray(states[:, i]), reference)
        own = weight if isinstance(weight, Weight) else weight(i)
        actions[:, i], slack[i], active[i], status[i] = solve(
            own, reference, matrix, bound, LOW, HIGH
        )
    return ProjectionBatch(actions, slack, active, status)


class _OnOneRow(NamedTuple):
    action: np.ndarray  # (4, M)
    slack: np.ndarray  # (M,)
    solved: np.ndarray  # (M,) bool: whether no other row and no bound is broken


def _on_one_row(
    weight: Weight, matrices: np.ndarray, missing: np.ndarray, references: np.ndarray
) -> _OnOneRow:
    """Return the nearest points on the most broken rows, as `solve` does for one state.

    Args:
        weight: W and rho.
        matrices: A, (M, k, 4).
        missing: b - A u_ref, (M, k), with an entry above 0 in every state.
        references: u_ref within the bounds, (4, M).
    """
    columns = list(np.moveaxis(matrices, -1, 0))
    lengths = np.maximum(np.sqrt(dot(columns, columns)), NO_AUTHORITY)  # (M, k)
    missing = missing / lengths
    worst = (np.arange(len(missing)), missing.argmax(axis=1))
    row = matrices[worst] / lengths[worst][:, None]
    entries, slack = nearest_on_row(weight, list(row.T), missing[worst])
    change = np.array(entries)  # (4, M)
    action = references + change
    short = missing - (matrices @ change.T[:, :, None])[:, :, 0] / lengths - slack[:, None]
    short[worst] = 0.0
    outside = ((action < LOW[:, None]) | (action > HIGH[:, None])).any(axis=0)
    return _OnOneRow(action, slack, ~outside & (short <= ROW_TOLERANCE).all(axis=1))


class VectorSafetyFilter(VectorWrapper):
    """`SafetyFilter` around the native vector form of the quadrotor environments.

    Rows are equal to those of single environments. Infos hold the same keys as there, as arrays
    (N, ...) with their masks; `"filter_time"` is the batch's time divided by N.

    Args:
        env: a `QuadrotorVectorEnv`.
        barrier: put around the spheres of all environments.
        metric: as for `SafetyFilter`; one that depends on the state is slower.
        slack_weight: rho.

    Raises:
        ValueError: if the metric or the slack's weight does not fit.
        TypeError: if it is another environment.
    """

    def __init__(
        self,
        env: gym.vector.VectorEnv,
        barrier: SphereZCBF,
        metric: Metric = "lqr",
        slack_weight: float = SLACK_WEIGHT,
    ) -> None:
        if not isinstance(env, QuadrotorVectorEnv):
            raise TypeError(
                f"the native filter is for QuadrotorVectorEnv and this is {env}; use "
                "gymnasium.vector.SyncVectorEnv over environments in a SafetyFilter"
            )
        super().__init__(env)
        self.metric = resolved_metric(metric, 4, env.vehicle, env.control_dt)
        self.barrier = barrier
        self.slack_weight = slack_weight
        self._flight = env
        constant = self.metric if isinstance(self.metric, np.ndarray) else np.eye(4)
        self._weight = weight_of(constant, slack_weight)

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Project the actions and take them."""
        flight = self._flight
        states = flight.states
        started = time.perf_counter()
        given = checked_batch(actions, flight.single_action_space, flight.num_envs)
        references = flight.thrusts_of(given)
        rows = self.barrier.around(flight.vehicle, flight.control_dt, flight.centres, flight.radii)
        found = filter_batch(rows, self._weights(states, references), states, references)
        taken = np.where(found.active[:, None], flight.actions_of(found.action), given)
        elapsed = time.perf_counter() - started
        outcome = flight.step(taken)
        infos = outcome[4]
        change = found.action - references
        values = {
            "action_ref": given,
            "action_safe": taken,
            "filter_active": found.active,
            "filter_slack": found.slack,
            "filter_correction": np.sqrt((change * change).sum(axis=0)),
            "filter_status": found.status,
            "filter_time": np.full(flight.num_envs, elapsed / flight.num_envs),
        }
        _add(values, infos, infos["_cost"])
        if "final_info" in infos:
            _add(values, infos["final_info"], infos["_final_info"])
        return outcome

    def _weights(self, states: np.ndarray, references: np.ndarray) -> Weight | WeightAt:
        metric, times = self.metric, self._flight.times
        if isinstance(metric, np.ndarray):
            return self._weight

        def at(i: int) -> Weight:
            state, reference = states[:, i].copy(), references[:, i].copy()
            matrix = metric_at(metric, state, reference, float(times[i]))
            return trusted_weight(matrix, self.slack_weight)

        return at


def _add(values: dict[str, np.ndarray], infos: dict[str, Any], rows: np.ndarray) -> None:
    for key, value in values.items():
        infos[key], infos[f"_{key}"] = value, rows
