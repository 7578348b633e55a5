"""The quadrotor's task for many vehicles at a time, in NumPy operations on all of them."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from safe_envs.contract.dynamics import BatchStep
from safe_envs.quadrotor.dynamics import STATE_SIZE, step_batch
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

# The rows of a batch, one column per vehicle; the obstacles' places, three rows each, are last.
STATE = slice(0, STATE_SIZE)
TIME, COS, SIN, STEPS = range(STATE_SIZE, STATE_SIZE + 4)
GUST = slice(STEPS + 1, STEPS + 4)  # [N]
THRUSTS = slice(STEPS + 4, STEPS + 8)
PLACES = STEPS + 8


class QuadrotorBatch:
    """The task for many vehicles at a time.

    States have shape (n, rows), but are views of arrays (rows, n), so that each quantity is
    contiguous over all vehicles.
    """

    def __init__(self, task: FlightTask, painter: FlightPainter) -> None:
        self.constraints = task.constraints
        self.reward_discount = 1.0
        self.cost_high = task.cost_high
        self.single_observation_space: gym.Space
        self.single_action_space: gym.Space
        self.single_observation_space, self.single_action_space = task.spaces()
        self.render_fps = round(1.0 / CONTROL_DT)
        self.task = task
        self.painter = painter

    def initial_states(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw starts that keep clear of the obstacles."""
        return self._started(draw_starts(self.task, rng, count))

    def checked_states(self, states: Any, count: int) -> np.ndarray:
        """Return the rows of `count` starts given by the user, see `given_starts`."""
        return self._started(given_starts(self.task, states, count))

    def noise(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw the gusts' standard normal noise, (n, 3); nothing without gusts, (n, 0)."""
        return rng.standard_normal((count, 3 if self.task.gust > 0.0 else 0))

    def step(self, states: np.ndarray, actions: np.ndarray, noise: np.ndarray) -> BatchStep:
        """Advance all vehicles by 0.01 s."""
        task, before = self.task, states.T
        rows = before.copy()
        u = thrusts_of(actions)
        wind = self._blow(rows, noise)
        thrusts = self._respond(rows, u)
        self._advance_reference(rows)
        with np.errstate(over="ignore", invalid="ignore"):  # of rows that diverge
            reached = step_batch(task.true_vehicle, before[STATE], thrusts, CONTROL_DT, wind=wind)
            target, hover = self._target(rows), task.vehicle.hover_thrusts
            cost, distance, upright = stage_cost(reached, target, u, hover)
        diverged = ~(cost < DIVERGED)  # also where it is NaN
        if diverged.any():
            reached[:, diverged] = before[STATE, diverged]
            cost[diverged] = LARGEST_STAGE_COST
        rows[STATE] = reached
        margins = self._margins(rows)
        hits = margins > 0.0
        terminated = diverged | (distance > LARGEST_ERROR * LARGEST_ERROR)
        terminated |= (rows[2] < LOWEST_HEIGHT) | (upright < LEAST_UPRIGHT)
        if task.terminate_on_collision:
            terminated |= hits.any(axis=0)
        rows[STEPS] += 1.0
        reward = -(CONTROL_DT * cost)
        if terminated.any():
            left = np.maximum(EPISODE_STEPS - rows[STEPS, terminated], 0.0)
            reward[terminated] -= left * (CONTROL_DT * LARGEST_STAGE_COST)
        costs = hits.T.astype(np.float64)
        if len(self.constraints) == 1:
            costs = costs.sum(axis=1, keepdims=True)
        margins, details = np.ascontiguousarray(margins.T), {"state": reached.T}
        return BatchStep(rows.T, reward, costs, terminated, margins, details)

    def observe(self, states: np.ndarray) -> np.ndarray:
        """Return the observations, (n, 19 + 4 obstacles + 3 moving) float32."""
        rows, obstacles = states.T, self.task.scene.num_obstacles
        moving = self.task.scene.moving
        seen = np.empty((19 + 3 * obstacles, len(states)))
        seen[STATE] = rows[STATE]
        seen[6:10] *= np.where(rows[6] < 0.0, -1.0, 1.0)
        x, y, vx, vy, height = self._target(rows)
        targets: tuple[np.ndarray | float, ...] = (x, y, height, vx, vy, 0.0)
        for row, target in enumerate(targets):
            np.subtract(target, rows[row], out=seen[STATE_SIZE + row])
        away = seen[19:].reshape(obstacles, 3, len(states))
        np.subtract(centers_of(self.task, rows), rows[:3], out=away)
        end = len(seen) + obstacles
        observation = np.empty((len(states), end + 3 * len(moving)), dtype=np.float32)
        observation[:, : len(seen)] = seen.T
        observation[:, len(seen) : end] = self.task.radii
        motion = motion_of(self.task, rows)
        if motion is not None:
            passing = motion[0, moving] - rows[3:6]
            observation[:, end:] = passing.reshape(-1, len(states)).T
        return observation

    def margins(self, states: np.ndarray) -> np.ndarray:
        """Return radius - distance of every sphere, (n, obstacles) [m]."""
        return np.ascontiguousarray(self._margins(states.T).T)

    def start_details(self, states: np.ndarray) -> dict[str, np.ndarray]:
        """Return what the infos hold besides costs and margins: "state", (n, 13)."""
        return {"state": states.T[STATE].copy().T}

    def frame(self, state: np.ndarray) -> np.ndarray:
        """Return the frame of one vehicle, without a trail."""
        rows = state[:, None]
        centers = centers_of(self.task, rows)[:, :, 0].tolist()
        x, y, _, _, height = self._target(rows)
        target = (float(x[0]), float(y[0]), height)
        flown = state[STATE].tolist()
        return self.painter.draw(flown, [flown[:3]], centers, target)

    def close(self) -> None:
        """Free what drawing needed."""
        self.painter.close()

    def _started(self, starts: Starts) -> np.ndarray:
        task, count = self.task, len(starts.times)
        rows = np.zeros((PLACES + 3 * len(task.scene.groups), count))
        rows[STATE] = starts.states.T
        rows[TIME] = starts.times
        # One by one, as in the single form: NumPy's own sine may round differently.
        rows[[COS, SIN]] = np.array([task.reference.phase(t) for t in starts.times.tolist()]).T
        rows[THRUSTS] = np.array(task.vehicle.hover_thrusts)[:, None]
        rows[PLACES:] = task.scene.anchors(starts.offsets).reshape(count, -1).T
        return rows.T

    def _blow(self, rows: np.ndarray, noise: np.ndarray) -> np.ndarray | None:
        """Return the wind's forces, (3, n) [N], after the gusts have changed."""
        if not self.task.blows:
            return None
        gust = rows[GUST]
        if self.task.gust > 0.0:
            kept, fresh = self.task.gust_filter
            gust *= kept
            gust += fresh * noise.T
        return np.array(self.task.wind)[:, None] + gust

    def _respond(self, rows: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Return the rotors' thrusts, which follow their commands with a lag."""
        if self.task.motor_lag == 0.0:
            return u
        thrusts = rows[THRUSTS]
        thrusts += self.task.motor_share * (u - thrusts)
        return thrusts

    def _advance_reference(self, rows: np.ndarray) -> None:
        cos, sin = rows[COS].copy(), rows[SIN].copy()
        cos_turn, sin_turn = self.task.turn
        rows[COS] = cos * cos_turn - sin * sin_turn
        rows[SIN] = sin * cos_turn + cos * sin_turn
        rows[TIME] += CONTROL_DT

    def _target(
        self, rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]:
        """Return the reference's x, y, their velocities, and its height."""
        reference = self.task.reference
        return (*reference.planar(rows[COS], rows[SIN]), reference.height)

    def _margins(self, rows: np.ndarray) -> np.ndarray:
        """Return radius - distance of every sphere, (obstacles, n) [m]."""
        away = centers_of(self.task, rows) - rows[:3]
        away *= away
        distance = away[:, 0] + away[:, 1]
        distance += away[:, 2]
        return self.task.radii[:, None] - np.sqrt(distance, out=distance)


def centers_of(task: FlightTask, rows: np.ndarray) -> np.ndarray:
    """Return the spheres' centers, (obstacles, 3, n)."""
    anchors = rows[PLACES:].reshape(len(task.scene.groups), 3, rows.shape[1])
    return task.scene.center_rows(anchors, rows[TIME].tolist() if len(task.scene.moving) else ())


def motion_of(task: FlightTask, rows: np.ndarray) -> np.ndarray | None:
    """Return the spheres' velocities, accelerations and jerks, (3, obstacles, 3, n).

    None if all of them are at rest.
    """
    return task.scene.motion_rows(rows[TIME].tolist()) if len(task.scene.moving) else None


def thrusts_of(actions: np.ndarray) -> np.ndarray:
    """Return u = (a + 1) / 2, (4, n), of actions (n, 4) within their bounds."""
    u = np.add(actions.T, 1.0, order="C")
    u *= 0.5
    return u
