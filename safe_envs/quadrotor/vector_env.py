"""Many quadrotors stepped together."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv

from safe_envs.action_constraints.action_constraint import ActionConstraint
from safe_envs.contract.argument_names import known_arguments
from safe_envs.contract.backup_policy import BackupPolicy
from safe_envs.contract.vector_env import NativeVectorEnv
from safe_envs.quadrotor.batch import STATE, TIME, centers_of, thrusts_of
from safe_envs.quadrotor.env import QuadrotorEnv
from safe_envs.quadrotor.filtered.backup import FilteredFlight
from safe_envs.quadrotor.filtered.flight_constraint import flight_constraint
from safe_envs.quadrotor.filtered.flight_plant import flight_batch_plant
from safe_envs.quadrotor.filtered.sphere_barrier import SphereZCBF
from safe_envs.quadrotor.reference import FigureEight
from safe_envs.quadrotor.task import CONTROL_DT, EPISODE_STEPS
from safe_envs.quadrotor.vehicle import Vehicle
from safe_envs.safety_filters.filter_plant import FilterPlant


class QuadrotorVectorEnv(NativeVectorEnv, VectorEnv):
    """`QuadrotorEnv` as a native vector environment, with the same arguments.

    Its infos hold the costs, `constraint_values` and the states, `state` (N, 13).
    """

    control_dt = CONTROL_DT  # [s]

    @known_arguments(QuadrotorEnv)
    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = EPISODE_STEPS,
        autoreset_mode: Any = "NextStep",
        render_mode: str | None = None,
        **arguments: Any,
    ) -> None:
        dynamics = QuadrotorEnv(**arguments).dynamics
        self._task = dynamics.task
        super().__init__(dynamics, num_envs, max_episode_steps, autoreset_mode, render_mode)

    @property
    def vehicle(self) -> Vehicle:
        """The model of the vehicles, with their nominal mass."""
        return self._task.vehicle

    @property
    def reference(self) -> FigureEight:
        """The trajectory to follow."""
        return self._task.reference

    def backup_policy(self) -> BackupPolicy:
        """Return `FilteredFlight`: a controller of the reference behind the safety filter."""
        return FilteredFlight(self.vehicle, self.reference, moving=self.moving)

    def action_constraint(
        self, barrier: SphereZCBF | None = None, constant_velocities: bool = False
    ) -> ActionConstraint:
        """Return which actions keep clear of the observed spheres, see `flight_constraint`."""
        return flight_constraint(self, barrier, constant_velocities)

    def filter_plant(self) -> FilterPlant:
        """Return what the safety filter needs: state, thrusts, barrier and metrics."""
        return flight_batch_plant(self)

    @property
    def states(self) -> np.ndarray:
        """A copy of the states, (13, N)."""
        return self._rows("the states")[STATE].copy()

    @property
    def times(self) -> np.ndarray:
        """The current times on the reference, (N,) [s]."""
        return self._rows("the times")[TIME].copy()

    @property
    def centers(self) -> np.ndarray:
        """The spheres' centers, (obstacles, 3, N) [m]."""
        return centers_of(self._task, self._rows("the centers"))

    @property
    def radii(self) -> np.ndarray:
        """The spheres' radii plus the vehicle's, (obstacles,) [m], read-only."""
        return self._task.radii

    @property
    def moving(self) -> tuple[int, ...]:
        """The indices of the spheres that move."""
        return tuple(self._task.scene.moving.tolist())

    @property
    def motion(self) -> np.ndarray:
        """The spheres' velocities, accelerations and jerks, (3, obstacles, 3, N)."""
        return self._task.scene.motion_rows(self._rows("the motion")[TIME].tolist())

    def thrusts_of(self, actions: np.ndarray) -> np.ndarray:
        """Return the thrusts u = (a + 1) / 2 of actions (N, 4), clipped to [0, 1], (4, N)."""
        return thrusts_of(np.clip(np.asarray(actions, dtype=np.float64), -1.0, 1.0))

    def actions_of(self, u: np.ndarray) -> np.ndarray:
        """Return the actions 2 u - 1 of thrusts (4, N), (N, 4) float32."""
        return (2.0 * np.asarray(u, dtype=np.float64).T - 1.0).astype(np.float32)

    def _rows(self, wanted: str) -> np.ndarray:
        return self.current_states(f"reading {wanted}").T
