"""State, time on the reference and spheres, read from the quadrotor's observations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from safe_envs.quadrotor.dynamics import STATE_SIZE
from safe_envs.quadrotor.reference import FigureEight


def observed_flight(
    reference: FigureEight, observations: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the states (N, 13) and the times on the reference (N,) [s] in [0, period).

    An observation starts with the state and the reference's position and velocity minus the
    vehicle's. The reference's x is A sin wt and its velocity A w cos wt, which together give wt.
    Exact up to the rounding of float32 observations, about 1e-7.

    Args:
        reference: the trajectory to follow.
        observations: (N, n) with n >= 19.

    Raises:
        ValueError: if a quaternion is zero.
    """
    states = observations[:, :STATE_SIZE].copy()
    length = np.linalg.norm(states[:, 6:10], axis=1, keepdims=True)
    if not length.all():
        raise ValueError(
            "the observation's entries 6 to 9, a quaternion, are all zero; pass one of length 1, "
            "as the environment's observations have"
        )
    states[:, 6:10] /= length
    x = observations[:, 0] + observations[:, STATE_SIZE]
    velocity = observations[:, 3] + observations[:, STATE_SIZE + 3]
    angle = np.arctan2(reference.rate * x, velocity)
    return states, np.mod(angle, 2.0 * np.pi) / reference.rate


def observed_spheres(
    observations: np.ndarray, moving: Sequence[int] = ()
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return the spheres' centers (n, 3, N), radii plus the vehicle's (n,) [m], and motion.

    The motion is None if no sphere moves. Otherwise it is (3, n, 3, N): velocities [m/s], and zeros
    for accelerations and jerks, which observations do not show.

    The radii are the same in all observations of one environment, so the first row is read.

    Args:
        observations: (N, 19 + 4 n + 3 m).
        moving: indices of the m spheres that move.
    """
    first, rows = STATE_SIZE + 6, len(observations)
    count = (observations.shape[1] - first - 3 * len(moving)) // 4
    away = observations[:, first : first + 3 * count].reshape(rows, count, 3)
    centers = np.ascontiguousarray((observations[:, None, :3] + away).transpose(1, 2, 0))
    radii = observations[0, first + 3 * count : first + 4 * count]
    if not len(moving):
        return centers, radii, None
    motion = np.zeros((3, count, 3, rows))
    passing = observations[:, first + 4 * count :].reshape(rows, len(moving), 3)
    motion[0, moving] = (observations[:, None, 3:6] + passing).transpose(1, 2, 0)
    return centers, radii, motion
