"""What the filter's barriers and metrics for quadrotors read from an environment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from safe_envs.quadrotor.reference import FIGURE_EIGHTS, FigureEight
from safe_envs.quadrotor.task import CONTROL_DT
from safe_envs.quadrotor.vehicle import VEHICLES, Vehicle
from safe_envs.safety_filters.filter_plant import FilterPlant


@dataclass(frozen=True, eq=False)
class Flight:
    """A quadrotor environment, or N of them in the native vector form.

    Args:
        vehicle: the model, with its nominal mass.
        time_step: for which an action is held [s].
        spheres: returns the present centers (n, 3), or (n, 3, N), and the radii plus the
            vehicle's (n,) [m].
        time: returns the present time on the reference [s], or N of them.
        reference: the trajectory to follow.
        motion: returns the current velocities, accelerations and jerks of the spheres, (3, n, 3),
            or (3, n, 3, N); None while all of them are at rest.
        moves: whether a sphere moves.
    """

    vehicle: Vehicle
    time_step: float
    spheres: Callable[[], tuple[np.ndarray, np.ndarray]]
    time: Callable[[], Any]
    reference: FigureEight
    motion: Callable[[], np.ndarray | None]
    moves: bool

    def check_flown_by(self, name: str) -> None:
        """Check what was fitted to flights.

        Args:
            name: the vehicle that flew.

        Raises:
            ValueError: if it was another vehicle, reference or time step.
        """
        own = (self.vehicle, self.reference, self.time_step)
        if own != (VEHICLES[name], FIGURE_EIGHTS[name], CONTROL_DT):
            raise ValueError(
                f"the value or the transitions are for the vehicle {name!r} at {CONTROL_DT} s, on "
                "its own reference, which the environment does not use; pass those of "
                "collect_transitions(vehicle=...) with its vehicle, or, for your own Vehicle, the "
                "metric 'lqr'"
            )


def flight_of(plant: FilterPlant, refusal: str) -> Flight:
    """Return the flight that a plant describes.

    Args:
        plant: what is filtered.
        refusal: the error's text.

    Raises:
        ValueError: if it is another environment's plant.
    """
    if not isinstance(plant.system, Flight):
        raise ValueError(refusal)
    return plant.system
