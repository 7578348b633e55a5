"""The unicycle among ellipses: its dynamics, its barriers, and a law that ignores the obstacles.

    px' = v cos(theta),  py' = v sin(theta),  theta' = omega,  v' = u_1,  omega' = u_2

The point q = p + l (cos(theta), sin(theta)), a little ahead, must stay out of every ellipse:

    e_i = ((q_x - c_x) / r_x)^2 + ((q_y - c_y) / r_y)^2 - 1 >= 0.

e_i'' depends on u. So h_i = e_i' + kappa e_i is a barrier, and h_i' + alpha h_i >= 0 a row in u:

    2 (d_x cos + d_y sin) u_1 + 2 l (d_y cos - d_x sin) u_2
        >= -(2 |q'|^2_r + 2 d . q''|_{u = 0} + kappa e_i' + alpha h_i),

with d = ((q_x - c_x) / r_x^2, (q_y - c_y) / r_y^2) and |q'|^2_r = (q_x' / r_x)^2 + (q_y' / r_y)^2.

Source: Min, Sonar and Azizan, "HardNet" (arXiv 2410.10807), and Chu, Boukas and Udell, "SnareNet"
(arXiv 2602.09317), with scenes and constants from the code of both. States are columns here,
(px, py, theta, v, omega), of N vehicles: (5, N).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from safe_envs.safety_filters.barriers import CheckedRows
from safe_envs.safety_filters.filter_plant import FilterPlant, Rows

CourseName = Literal["snarenet", "hardnet"]
LOOK_AHEAD = 0.1  # l [m]
KAPPA, ALPHA = 10.0, 20.0  # [1/s]
TOLERANCE = 1e-3  # of e: HardNet's code calls a point inside from e < -0.001
GOAL_SPEED = 5.0  # of the law [m/s]
FOLLOWING = 5.0  # of the law: how fast v and omega follow their goals [1/s]
TURNING = 10.0  # of the law [1/s]
Four = tuple[float, float, float, float]


class Course(NamedTuple):
    """Obstacles, starts and time of one of the sources."""

    ellipses: tuple[Four, ...]  # c_x, c_y, r_x, r_y [m]
    low: tuple[float, ...]  # corner of the box of starts, (5,)
    high: tuple[float, ...]
    time_step: float  # [s]
    steps: int
    terminal_weight: float  # [1/m^2]
    window: tuple[float, float, float]  # left, bottom and width of pictures [m]


SCENES: dict[str, Course] = {
    "snarenet": Course(
        ellipses=((-5.0, 5.0, 2.0, 1.41), (-1.0, 3.0, 0.25, 1.41), (-9.0, 2.0, 1.0, 1.0)),
        low=(-5.5, 7.5, -np.pi / 4, 0.0, 0.0),
        high=(-5.0, 8.0, -np.pi / 8, 0.0, 0.0),
        time_step=0.04,
        steps=55,
        terminal_weight=1000.0,
        window=(-11.0, -3.0, 13.0),
    ),
    "hardnet": Course(
        ellipses=((-2.25, 0.5, 0.5, 0.75), (-0.8, 0.0, 0.5, 0.5)),
        low=(-4.0, 0.0, -np.pi / 4, 0.0, 0.0),
        high=(-3.5, 0.5, -np.pi / 8, 0.0, 0.0),
        time_step=0.02,
        steps=50,
        terminal_weight=0.0,
        window=(-4.75, -2.75, 5.5),
    ),
}


def rates(states: np.ndarray, controls: np.ndarray) -> np.ndarray:
    """Return the states' derivatives by time, (5, N), under controls (2, N)."""
    _, _, theta, speed, turn = states
    return np.stack([speed * np.cos(theta), speed * np.sin(theta), turn, controls[0], controls[1]])


def nominal_control(states: np.ndarray) -> np.ndarray:
    """Return the accelerations (2, N) that drive to the origin and ignore the obstacles.

    Both papers' networks add to this law. It is not bounded.
    """
    px, py, theta, speed, turn = states
    cos, sin = np.cos(theta), np.sin(theta)
    turn_goal = TURNING * (px * sin - py * cos) / (np.hypot(px, py) + 1e-5)
    toward = -TURNING * np.hypot(px, py) * (px * cos + py * sin)
    speed_goal = np.clip(toward, -GOAL_SPEED, GOAL_SPEED)
    return np.stack([FOLLOWING * (speed_goal - speed), FOLLOWING * (turn_goal - turn)])


@dataclass(frozen=True, eq=False)
class EllipseBarrier:
    """The rows A u >= b that keep the point ahead out of ellipses.

    Args:
        ellipses: c_x, c_y, r_x, r_y of each, (k, 4) [m].
        kappa: of h = e' + kappa e [1/s].
        alpha: of h' + alpha h >= 0 [1/s].
    """

    ellipses: tuple[Four, ...]
    kappa: float = KAPPA
    alpha: float = ALPHA

    def __call__(self, state: np.ndarray, reference: np.ndarray) -> Rows:
        """Return A (k, 2) and b (k,) at a state (5,), whatever the reference."""
        rows, bounds = self.batch(state[:, None], reference)
        return rows[0], bounds[0]

    def batch(self, states: np.ndarray, references: np.ndarray) -> Rows:
        """Return A (N, k, 2) and b (N, k) at states (5, N), whatever the references."""
        theta, speed, turn = states[2:]
        cos, sin = np.cos(theta), np.sin(theta)
        away, weights, levels = self._places(states)
        moved = np.stack([speed * cos - LOOK_AHEAD * turn * sin,
                          speed * sin + LOOK_AHEAD * turn * cos])  # fmt: skip
        bent = np.stack([-speed * turn * sin - LOOK_AHEAD * turn * turn * cos,
                         speed * turn * cos - LOOK_AHEAD * turn * turn * sin])  # fmt: skip
        d = away * weights  # (2, k, N)
        change = 2.0 * (d[0] * moved[0] + d[1] * moved[1])  # e', (k, N)
        free = weights[0] * moved[0] ** 2 + weights[1] * moved[1] ** 2
        free = 2.0 * (free + d[0] * bent[0] + d[1] * bent[1])
        rest = free + self.kappa * change + self.alpha * (change + self.kappa * levels)
        rows = np.stack([d[0] * cos + d[1] * sin, LOOK_AHEAD * (d[1] * cos - d[0] * sin)])
        return np.ascontiguousarray(2.0 * rows.transpose(2, 1, 0)), np.ascontiguousarray(-rest.T)

    def levels(self, states: np.ndarray) -> np.ndarray:
        """Return e, (k, N), at states (5, N)."""
        return self._places(states)[2]

    def values(self, states: np.ndarray) -> np.ndarray:
        """Return h = e' + kappa e, (k, N), at states (5, N)."""
        theta, speed, turn = states[2:]
        cos, sin = np.cos(theta), np.sin(theta)
        away, weights, levels = self._places(states)
        d = away * weights
        change = d[0] * (speed * cos - LOOK_AHEAD * turn * sin)
        change = change + d[1] * (speed * sin + LOOK_AHEAD * turn * cos)
        return 2.0 * change + self.kappa * levels

    def rows_on(self, plant: FilterPlant) -> Callable[[], CheckedRows]:
        """Return a function that gives these rows, checked in every call."""
        return CheckedRows(self, len(plant.low), self.batch).here

    def _places(self, states: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return q - c (2, k, N), 1 / r^2 (2, k, 1), and e (k, N)."""
        given = np.array(self.ellipses, dtype=np.float64).T  # (4, k)
        heading = np.stack([np.cos(states[2]), np.sin(states[2])])
        away = (states[:2] + LOOK_AHEAD * heading)[:, None, :] - given[:2, :, None]
        weights = 1.0 / (given[2:] * given[2:])[:, :, None]
        levels = away[0] * away[0] * weights[0] + away[1] * away[1] * weights[1] - 1.0
        return away, weights, levels
