"""The quadrotor's task for one vehicle at a time, in plain floats."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from safe_envs.contract.argument_checks import checked_array
from safe_envs.contract.dynamics import ScalarStart, ScalarStep
from safe_envs.quadrotor.dynamics import CALM, Force, step
from safe_envs.quadrotor.render_backends import FlightPainter
from safe_envs.quadrotor.starts import Starts, draw_starts, given_starts
from safe_envs.quadrotor.task import (
    CONTROL_DT,
    DIVERGED,
    EPISODE_STEPS,
    LARGEST_ERROR,
    LARGEST_STAGE_COST,
    LEAST_UPRIGHT,
    LOWEST_HEIGHT,
    FlightTask,
    stage_cost,
)

Target = tuple[float, float, float, float, float]  # x, y, their velocities, and the height


class FlightState(NamedTuple):
    """The state of one flight."""

    state: tuple[float, ...]  # (13,)
    time: float  # on the reference [s]
    phase: tuple[float, float]  # cosine and sine of the reference's angle
    anchors: np.ndarray  # where the obstacles' groups stand, (groups, 3, 1) [m]
    centers: list[list[float]]  # (obstacles, 3) [m]
    gust: Force
    thrusts: list[float]  # of the rotors, which follow their commands with a lag
    steps: int
    trail: list[tuple[float, ...]]  # positions so far, if they are drawn


class ScalarFlight:
    """`QuadrotorBatch` for one vehicle.

    Args:
        task: the quadrotor's task.
        painter: draws the flight.
        keeps_trail: whether positions are kept for frames.
    """

    def __init__(self, task: FlightTask, painter: FlightPainter, keeps_trail: bool) -> None:
        self._task = task
        self._painter = painter
        self._keeps_trail = keeps_trail
        self._radii: list[float] = task.radii.tolist()
        self._several = len(task.constraints) > 1
        self._moving = task.scene.moving
        self._moves = len(task.scene.moving) > 0

    def start(self, rng: np.random.Generator, options: Mapping[str, Any]) -> ScalarStart:
        """Return a start near the reference; options may hold "state", "time" and "offsets"."""
        starts = self._starts(rng, options)
        anchors = np.moveaxis(self._task.scene.anchors(starts.offsets), 0, -1)
        state, time = tuple(starts.states[0].tolist()), float(starts.times[0])
        flight = FlightState(
            state=state,
            time=time,
            phase=self._task.reference.phase(time),
            anchors=anchors,
            centers=self._centers(anchors, time),
            gust=CALM,
            thrusts=list(self._task.vehicle.hover_thrusts),
            steps=0,
            trail=[state[:3]],
        )
        margins = np.array(self._margins(state, flight.centers))
        seen = self._observe(state, self._target(flight.phase), flight.centers, time)
        return flight, seen, margins, {"state": np.array(state)}

    def step(self, state: FlightState, action: np.ndarray, rng: np.random.Generator) -> ScalarStep:
        """Fly for 0.01 s; reward and costs of the state reached."""
        task = self._task
        before, time, (cos, sin), anchors, centers, gust, thrusts, steps, trail = state
        time += CONTROL_DT
        if self._moves:
            centers = self._centers(anchors, time)
        u = [0.5 * (a + 1.0) for a in action.tolist()]
        thrusts = self._respond(thrusts, u)
        gust, wind = self._blow(gust, rng)
        reached = step(task.true_vehicle, before, thrusts, CONTROL_DT, wind=wind)
        cos_turn, sin_turn = task.turn
        phase = cos * cos_turn - sin * sin_turn, sin * cos_turn + cos * sin_turn
        hover = task.vehicle.hover_thrusts
        target = self._target(phase)
        cost, distance, upright = stage_cost(reached, target, u, hover)
        diverged = not cost < DIVERGED  # also where it is NaN
        if diverged:
            reached, cost = before, LARGEST_STAGE_COST
        margins = self._margins(reached, centers)
        hits = [1.0 if margin > 0.0 else 0.0 for margin in margins]
        total = sum(hits)
        steps += 1
        terminated = (
            diverged
            or distance > LARGEST_ERROR * LARGEST_ERROR
            or reached[2] < LOWEST_HEIGHT
            or upright < LEAST_UPRIGHT
            or (task.terminate_on_collision and total > 0.0)
        )
        reward = -(CONTROL_DT * cost)
        if terminated:
            reward -= max(EPISODE_STEPS - steps, 0) * (CONTROL_DT * LARGEST_STAGE_COST)
        if self._keeps_trail:
            trail.append(reached[:3])
        return (
            FlightState(reached, time, phase, anchors, centers, gust, thrusts, steps, trail),
            self._observe(reached, target, centers, time),
            reward,
            total,
            terminated,
            np.array(hits) if self._several else None,
            np.array(margins),
            {"state": np.array(reached)},
        )

    def frame(self, state: FlightState) -> np.ndarray:
        """Return the frame of the flight so far."""
        x, y, _, _, height = self._target(state.phase)
        return self._painter.draw(state.state, state.trail, state.centers, (x, y, height))

    def _starts(self, rng: np.random.Generator, options: Mapping[str, Any]) -> Starts:
        given = {
            name: np.asarray(options[name])[None]
            for name in ("state", "time", "offsets")
            if name in options
        }
        if "state" in given:
            return given_starts(self._task, given, 1)
        time, offsets = options.get("time"), given.get("offsets")
        if time is not None:
            time = float(checked_array("time", time, ()))
        if offsets is not None:
            offsets = checked_array("offsets", offsets, self._task.scene.offsets_shape(1))
        return draw_starts(self._task, rng, 1, time, offsets)

    def _respond(self, thrusts: list[float], u: list[float]) -> list[float]:
        """Return the rotors' thrusts, which follow their commands with a lag."""
        if self._task.motor_lag == 0.0:
            return u
        share = self._task.motor_share
        return [x + share * (y - x) for x, y in zip(thrusts, u, strict=True)]

    def _blow(self, gust: Force, rng: np.random.Generator) -> tuple[Force, Force]:
        """Return the gust after it has changed, and the total force of the wind [N]."""
        if self._task.gust > 0.0:
            kept, fresh = self._task.gust_filter
            noise = rng.standard_normal(3).tolist()
            x, y, z = (kept * g + fresh * n for g, n in zip(gust, noise, strict=True))
            gust = (x, y, z)
        wind = self._task.wind
        return gust, (wind[0] + gust[0], wind[1] + gust[1], wind[2] + gust[2])

    def _margins(self, state: tuple[float, ...], centers: list[list[float]]) -> list[float]:
        """Return radius - distance of every sphere [m]."""
        x, y, z = state[:3]
        margins = []
        for (cx, cy, cz), radius in zip(centers, self._radii, strict=True):
            dx, dy, dz = cx - x, cy - y, cz - z
            margins.append(radius - math.sqrt(dx * dx + dy * dy + dz * dz))
        return margins

    def _centers(self, anchors: np.ndarray, time: float) -> list[list[float]]:
        """Return the spheres' centers at a time on the reference [m]."""
        centers: list[list[float]] = self._task.scene.center_rows(anchors, (time,))[..., 0].tolist()
        return centers

    def _target(self, phase: tuple[float, float]) -> Target:
        """Return the reference's x, y, their velocities, and its height."""
        reference = self._task.reference
        return (*reference.planar(*phase), reference.height)

    def _observe(
        self,
        state: tuple[float, ...],
        target: Target,
        centers: list[list[float]],
        time: float,
    ) -> np.ndarray:
        x, y, z, vx, vy, vz, q0, q1, q2, q3, w1, w2, w3 = state
        if q0 < 0.0:
            q0, q1, q2, q3 = -q0, -q1, -q2, -q3
        tx, ty, tvx, tvy, height = target
        seen = [x, y, z, vx, vy, vz, q0, q1, q2, q3, w1, w2, w3]
        seen += [tx - x, ty - y, height - z, tvx - vx, tvy - vy, 0.0 - vz]
        for cx, cy, cz in centers:
            seen += [cx - x, cy - y, cz - z]
        seen += self._radii
        if self._moves:
            motion = self._task.scene.motion_rows((time,))
            for ux, uy, uz in motion[0, self._moving, :, 0].tolist():
                seen += [ux - vx, uy - vy, uz - vz]
        return np.array(seen, dtype=np.float32)
