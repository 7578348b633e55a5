"""Which actions of a quadrotor are allowed, as a function of its observation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from safe_envs.action_constraints.action_constraint import ActionConstraint, checked_observations
from safe_envs.action_constraints.rows import QuadraticRows, at_least
from safe_envs.quadrotor.dynamics import STATE_SIZE
from safe_envs.quadrotor.filtered.sphere_barrier import MARGIN, SphereZCBF
from safe_envs.quadrotor.observation import observed_flight, observed_spheres
from safe_envs.quadrotor.reference import FigureEight
from safe_envs.quadrotor.task import CONTROL_DT
from safe_envs.quadrotor.vehicle import Vehicle

if TYPE_CHECKING:  # the environments import this module
    from safe_envs.quadrotor.env import QuadrotorEnv
    from safe_envs.quadrotor.vector_env import QuadrotorVectorEnv

HALF = 0.5  # thrusts are u = (a + 1) / 2


def flight_constraint(
    env: QuadrotorEnv | QuadrotorVectorEnv,
    barrier: SphereZCBF | None = None,
    constant_velocities: bool = False,
) -> ActionConstraint:
    """Return the rows of a barrier around the observed spheres, in the environment's actions.

    They are those of the safety filter up to the rounding of observations, 1e-7. Rows of order 3
    are linearized: `rows` at the hover thrusts, `around` at given actions, as in the filter.

    Args:
        env: its vehicle, reference and obstacles are read once.
        barrier: None for that of the environment's `filter_plant()`.
        constant_velocities: whether to take moving spheres for ones with constant velocity:
            observations do not show accelerations. Without moving spheres it changes nothing.

    Raises:
        ValueError: if spheres move and `constant_velocities` is False.
    """
    if len(env.moving) and not constant_velocities:
        raise ValueError(
            f"spheres {list(env.moving)} move, and observations do not show their accelerations, "
            "so the constraint is not known from them; pass constant_velocities=True to neglect "
            "the accelerations, or use a SafetyFilter, which knows them"
        )
    chosen = SphereZCBF(3, margin=MARGIN) if barrier is None else barrier
    size = STATE_SIZE + 6 + 4 * len(env.radii) + 3 * len(env.moving)
    around = partial(_rows, env.vehicle, env.reference, chosen, env.moving, size)
    hover = 2.0 * np.array(env.vehicle.hover_thrusts) - 1.0
    return ActionConstraint(
        low=-np.ones(4),
        high=np.ones(4),
        rows=partial(around, actions=hover),
        meaning=f"barriers of order {chosen.order} around the spheres do not fall too fast",
        around=around,
    )


def _rows(
    vehicle: Vehicle,
    reference: FigureEight,
    barrier: SphereZCBF,
    moving: Sequence[int],
    size: int,
    observations: np.ndarray,
    actions: np.ndarray,
) -> QuadraticRows:
    """Return the rows at observations (B, size), linearized at actions, (B, 4) or (4,)."""
    seen = checked_observations(observations, size)
    thrusts = HALF * (np.broadcast_to(actions, (len(seen), 4)) + 1.0)
    if not len(seen):
        count = (size - STATE_SIZE - 6 - 3 * len(moving)) // 4
        return at_least(np.zeros((0, count, 4)), np.zeros((0, count)))
    states, _ = observed_flight(reference, seen)
    around = barrier.around(vehicle, CONTROL_DT, *observed_spheres(seen, moving))
    matrices, bounds = around.batch(np.ascontiguousarray(states.T), np.ascontiguousarray(thrusts.T))
    return at_least(matrices, bounds, HALF, HALF)
