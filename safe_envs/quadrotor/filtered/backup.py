"""The quadrotor's safe controller: it follows the reference, behind the safety filter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from safe_envs.quadrotor.filtered.flight_metrics import hover_metric
from safe_envs.quadrotor.filtered.sphere_barrier import MARGIN, SphereZCBF
from safe_envs.quadrotor.geometric_controller import GeometricLaw
from safe_envs.quadrotor.observation import observed_flight, observed_spheres
from safe_envs.quadrotor.reference import FigureEight
from safe_envs.quadrotor.task import CONTROL_DT
from safe_envs.quadrotor.vehicle import Vehicle
from safe_envs.safety_filters.quadratic_program import weight_of
from safe_envs.safety_filters.vector_filter import filter_batch


class FilteredFlight:
    """`GeometricLaw` behind a filter of order 3, as a function of observations.

    A `safe_envs.BackupPolicy`: it follows the reference and keeps clear of the spheres. That is
    measured in 32 flights of each scene (worst clearance 0.022 m), not proved. It assumes that
    moving spheres keep their velocity, because observations show no accelerations.

    Args:
        vehicle: its nominal model.
        reference: the trajectory to follow.
        margin: added to the radii [m].
        moving: indices of the spheres that move.
    """

    def __init__(
        self,
        vehicle: Vehicle,
        reference: FigureEight,
        margin: float = MARGIN,
        moving: Sequence[int] = (),
    ) -> None:
        self.vehicle = vehicle
        self.barrier = SphereZCBF(3, margin=margin)
        self.moving = moving
        self._controller = GeometricLaw(vehicle, reference, CONTROL_DT)
        self._weight = weight_of(hover_metric(vehicle, CONTROL_DT))

    def __call__(self, observation: np.ndarray) -> np.ndarray:
        """Return the actions (..., 4) in [-1, 1] at observations (..., 19 + 4 n + 3 m)."""
        given = np.asarray(observation, dtype=np.float64)
        rows = given.reshape(-1, given.shape[-1])
        if not len(rows):
            return np.zeros((*given.shape[:-1], 4))
        states, times = observed_flight(self._controller.reference, rows)
        states = np.ascontiguousarray(states.T)
        thrusts = self._controller.batch(states, times)
        spheres = self.barrier.around(
            self.vehicle, CONTROL_DT, *observed_spheres(rows, self.moving)
        )
        safe = filter_batch(spheres, self._weight, states, thrusts).action
        return (2.0 * safe.T - 1.0).reshape(*given.shape[:-1], 4)

    def unclipped(self, observation: np.ndarray) -> np.ndarray:
        """Return the same: safe thrusts are already within their bounds."""
        return self(observation)

    def residual_share(self, observation: np.ndarray) -> np.ndarray:
        """Return ones: an addition is let through everywhere."""
        return np.ones(np.shape(observation)[:-1])
