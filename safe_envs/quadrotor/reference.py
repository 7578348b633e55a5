"""The figure eight that the quadrotor should follow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeVar

import numpy as np

from safe_envs.contract.argument_checks import check_positive

Number = TypeVar("Number", float, np.ndarray)


class Reference(NamedTuple):
    """A point of a trajectory and its time derivatives, each (3,) or, batched, (3, N)."""

    position: np.ndarray  # [m]
    velocity: np.ndarray  # [m/s]
    acceleration: np.ndarray  # [m/s^2]
    jerk: np.ndarray  # [m/s^3]


@dataclass(frozen=True)
class FigureEight:
    """A figure eight at constant height: p(t) = (A sin wt, B sin 2wt, height), w = 2 pi / period.

    The defaults, our choice, reach 1.48 m/s and 2.2 m/s^2.

    Args:
        length: A [m].
        width: B [m].
        height: above the ground [m].
        period: [s].

    Raises:
        ValueError: if one of them is not positive.
    """

    length: float = 1.0
    width: float = 0.5
    height: float = 1.0
    period: float = 6.0

    def __post_init__(self) -> None:
        check_positive(length=self.length, width=self.width, height=self.height, period=self.period)
        for name in ("length", "width", "height", "period"):
            object.__setattr__(self, name, float(getattr(self, name)))  # float32 stays float32

    @cached_property
    def rate(self) -> float:
        """The angular rate w [rad/s]."""
        return 2.0 * math.pi / self.period

    def phase(self, time: float) -> tuple[float, float]:
        """Return cos(wt) and sin(wt) at a time [s]."""
        return math.cos(self.rate * time), math.sin(self.rate * time)

    def at(self, time: float | np.ndarray) -> Reference:
        """Return the reference at a time [s], or at N times, (N,)."""
        angle = self.rate * np.asarray(time, dtype=np.float64)
        x, y, vx, vy = self.planar(np.cos(angle), np.sin(angle))
        zero, along, across = np.zeros_like(angle), -(self.rate**2), -4.0 * self.rate**2
        return Reference(
            np.stack([x, y, zero + self.height]),
            np.stack([vx, vy, zero]),
            np.stack([along * x, across * y, zero]),
            np.stack([along * vx, across * vy, zero]),
        )

    def planar(self, cos: Number, sin: Number) -> tuple[Number, Number, Number, Number]:
        """Return x, y [m] and their velocities [m/s] for given cos(wt) and sin(wt).

        By sin 2a = 2 sin a cos a and cos 2a = 1 - 2 sin^2 a.
        """
        x, y = self.length * sin, self.width * (2.0 * (sin * cos))
        across = 2.0 * self.width * self.rate
        return x, y, self.length * self.rate * cos, across * (1.0 - 2.0 * (sin * sin))


FIGURE_EIGHTS = {
    "crazyflie": FigureEight(),
    # A larger vehicle needs more room: twice the size with about the same accelerations.
    "hummingbird": FigureEight(length=2.0, width=1.0, period=8.5),
}
