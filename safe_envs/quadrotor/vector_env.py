"""Many quadrotors stepped together, in NumPy operations over all of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import gymnasium as gym
import numpy as np

from safe_envs.contract.backup_policy import BackupPolicy
from safe_envs.contract.cost_signal import CostLimits
from safe_envs.contract.vector_env import BatchStep, NativeVectorEnv
from safe_envs.quadrotor.dynamics import STATE_SIZE, step_batch
from safe_envs.quadrotor.filtered.backup import FilteredFlight
from safe_envs.quadrotor.filtered.flight_plant import flight_batch_plant
from safe_envs.quadrotor.reference import FigureEight
from safe_envs.quadrotor.render_backends import FlightPainter, RenderBackend, flight_painter
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
    SceneName,
    VehicleName,
    flight_task,
    stage_cost,
)
from safe_envs.quadrotor.vehicle import Vehicle
from safe_envs.safety_filters.filter_plant import FilterPlant

# The rows of a batch, one column per vehicle; the stacks' places, three rows each, come last.
STATE = slice(0, STATE_SIZE)
TIME, COS, SIN, STEPS = range(STATE_SIZE, STATE_SIZE + 4)
GUST = slice(STEPS + 1, STEPS + 4)  # [N]
THRUSTS = slice(STEPS + 4, STEPS + 8)
STACKS = STEPS + 8


class QuadrotorVectorEnv(NativeVectorEnv):
    """`QuadrotorEnv` as a native vector environment, with the same arguments.

    Its infos hold the costs and `constraint_values`; the states are in `states`.
    """

    control_dt = CONTROL_DT  # [s]
    _painter: FlightPainter | None = None  # Gymnasium closes even what was never made

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = EPISODE_STEPS,
        autoreset_mode: Any = "NextStep",
        scene: SceneName = "spheres",
        vehicle: VehicleName = "crazyflie",
        wind: Iterable[float] = (0.0, 0.0, 0.0),
        gust: float = 0.0,
        mass_scale: float = 1.0,
        motor_lag: float = 0.0,
        terminate_on_collision: bool = False,
        cost_limits: CostLimits = None,
        per_constraint: bool = False,
        render_mode: str | None = None,
        render_backend: RenderBackend = "drawing",
    ) -> None:
        self._task = flight_task(
            scene, vehicle, wind, gust, mass_scale, motor_lag, terminate_on_collision, cost_limits,
            per_constraint,
        )  # fmt: skip
        self._painter = painter = flight_painter(render_backend, self._task)
        batch = QuadrotorBatch(self._task, painter)
        super().__init__(batch, num_envs, max_episode_steps, autoreset_mode, render_mode)
        self.metadata = self.metadata | {"render_fps": round(1.0 / CONTROL_DT)}

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
        return FilteredFlight(self.vehicle, self.reference)

    def filter_plant(self) -> FilterPlant:
        """Return what the safety filter needs: state, thrusts, barrier and metrics."""
        return flight_batch_plant(self)

    @property
    def states(self) -> np.ndarray:
        """A copy of the states, (13, N)."""
        return self._rows("the states")[STATE].copy()

    @property
    def times(self) -> np.ndarray:
        """The present times on the reference, (N,) [s]."""
        return self._rows("the times")[TIME].copy()

    @property
    def centres(self) -> np.ndarray:
        """The spheres' centres, (obstacles, 3, N) [m]."""
        return _centres(self._task, self._rows("the centres"))

    @property
    def radii(self) -> np.ndarray:
        """The spheres' radii plus the vehicle's, (obstacles,) [m], read-only."""
        return self._task.radii

    def thrusts_of(self, actions: np.ndarray) -> np.ndarray:
        """Return the thrusts u = (a + 1) / 2 of actions (N, 4), clipped to [0, 1], (4, N)."""
        return _thrusts(np.clip(np.asarray(actions, dtype=np.float64), -1.0, 1.0))

    def actions_of(self, u: np.ndarray) -> np.ndarray:
        """Return the actions 2 u - 1 of thrusts (4, N), (N, 4) float32."""
        return (2.0 * np.asarray(u, dtype=np.float64).T - 1.0).astype(np.float32)

    def close_extras(self, **kwargs: Any) -> None:
        """Free what drawing needed."""
        if self._painter is not None:
            self._painter.close()

    def _rows(self, wanted: str) -> np.ndarray:
        if self._states is None:
            raise gym.error.ResetNeeded(f"call reset() before reading {wanted}")
        return self._states.T


class QuadrotorBatch:
    """The batched task, for `NativeVectorEnv`.

    States have shape (n, rows) as it wants them, but are views of arrays (rows, n), so that one
    quantity of all vehicles is contiguous.
    """

    def __init__(self, task: FlightTask, painter: FlightPainter) -> None:
        self.constraints = task.constraints
        self.reward_discount = 1.0
        self.cost_high = task.cost_high
        self.single_observation_space: gym.Space
        self.single_action_space: gym.Space
        self.single_observation_space, self.single_action_space = task.spaces()
        self._task = task
        self._painter = painter

    def initial_states(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw starts that keep clear of the obstacles."""
        return self._started(draw_starts(self._task, rng, count))

    def checked_states(self, states: Any, count: int) -> np.ndarray:
        """Return the rows of `count` starts given by the user, see `given_starts`."""
        return self._started(given_starts(self._task, states, count))

    def draws(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw the gusts' standard normal noise, (n, 3); nothing without gusts, (n, 0)."""
        return rng.standard_normal((count, 3 if self._task.gust > 0.0 else 0))

    def step(self, states: np.ndarray, actions: np.ndarray, draws: np.ndarray) -> BatchStep:
        """Advance all vehicles by 0.01 s."""
        task, before = self._task, states.T
        rows = before.copy()
        u = _thrusts(actions)
        wind = self._blow(rows, draws)
        thrusts = self._respond(rows, u)
        self._advance_reference(rows)
        with np.errstate(over="ignore", invalid="ignore"):  # of rows that diverge
            reached = step_batch(task.true_vehicle, before[STATE], thrusts, CONTROL_DT, wind=wind)
            target, hover = self._target(rows), task.vehicle.hover_thrust
            cost, distance, upright = stage_cost(reached, target, u, hover)
        rows[STATE] = reached
        diverged = ~(cost < DIVERGED)  # also where it is NaN
        if diverged.any():
            rows[STATE, diverged] = before[STATE, diverged]
            cost[diverged] = LARGEST_STAGE_COST
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
        return BatchStep(rows.T, reward, costs, terminated, np.ascontiguousarray(margins.T))

    def observe(self, states: np.ndarray) -> np.ndarray:
        """Return the observations, (n, 19 + 4 obstacles) float32."""
        rows, obstacles = states.T, self._task.scene.num_obstacles
        seen = np.empty((19 + 3 * obstacles, len(states)))
        seen[STATE] = rows[STATE]
        seen[6:10] *= np.where(rows[6] < 0.0, -1.0, 1.0)
        x, y, vx, vy, height = self._target(rows)
        targets: tuple[np.ndarray | float, ...] = (x, y, height, vx, vy, 0.0)
        for row, target in enumerate(targets):
            np.subtract(target, rows[row], out=seen[STATE_SIZE + row])
        away = seen[19:].reshape(obstacles, 3, len(states))
        np.subtract(_centres(self._task, rows), rows[:3], out=away)
        observation = np.empty((len(states), 19 + 4 * obstacles), dtype=np.float32)
        observation[:, : len(seen)] = seen.T
        observation[:, len(seen) :] = self._task.radii
        return observation

    def margins(self, states: np.ndarray) -> np.ndarray:
        """Return radius - distance of every sphere, (n, obstacles) [m]."""
        return np.ascontiguousarray(self._margins(states.T).T)

    def draw(self, state: np.ndarray) -> np.ndarray:
        """Return the frame of one vehicle, without a trail."""
        rows = state[:, None]
        centres = _centres(self._task, rows)[:, :, 0].tolist()
        x, y, _, _, height = self._target(rows)
        target = (float(x[0]), float(y[0]), height)
        flown = state[STATE].tolist()
        return self._painter.draw(flown, [flown[:3]], centres, target)

    def _started(self, starts: Starts) -> np.ndarray:
        task, count = self._task, len(starts.times)
        rows = np.zeros((STACKS + 3 * len(task.scene.stacks), count))
        rows[STATE] = starts.states.T
        rows[TIME] = starts.times
        # One by one, as the single form does: NumPy's own sine may round otherwise.
        rows[[COS, SIN]] = np.array([task.reference.phase(t) for t in starts.times.tolist()]).T
        rows[THRUSTS] = task.vehicle.hover_thrust
        rows[STACKS:] = task.scene.anchors(starts.offsets).reshape(count, -1).T
        return rows.T

    def _blow(self, rows: np.ndarray, draws: np.ndarray) -> np.ndarray | None:
        """Return the wind's forces, (3, n) [N], after the gusts have changed."""
        if not self._task.blows:
            return None
        gust = rows[GUST]
        if self._task.gust > 0.0:
            kept, fresh = self._task.gust_filter
            gust *= kept
            gust += fresh * draws.T
        return np.array(self._task.wind)[:, None] + gust

    def _respond(self, rows: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Return the rotors' thrusts, which follow their commands with a lag."""
        if self._task.motor_lag == 0.0:
            return u
        thrusts = rows[THRUSTS]
        thrusts += self._task.motor_share * (u - thrusts)
        return thrusts

    def _advance_reference(self, rows: np.ndarray) -> None:
        cos, sin = rows[COS].copy(), rows[SIN].copy()
        cos_turn, sin_turn = self._task.turn
        rows[COS] = cos * cos_turn - sin * sin_turn
        rows[SIN] = sin * cos_turn + cos * sin_turn
        rows[TIME] += CONTROL_DT

    def _target(
        self, rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]:
        """Return the reference's x, y, their velocities, and its height."""
        reference = self._task.reference
        return (*reference.planar(rows[COS], rows[SIN]), reference.height)

    def _margins(self, rows: np.ndarray) -> np.ndarray:
        """Return radius - distance of every sphere, (obstacles, n) [m]."""
        away = _centres(self._task, rows) - rows[:3]
        away *= away
        distance = away[:, 0] + away[:, 1]
        distance += away[:, 2]
        return self._task.radii[:, None] - np.sqrt(distance, out=distance)


def _centres(task: FlightTask, rows: np.ndarray) -> np.ndarray:
    """Return the spheres' centres, (obstacles, 3, n)."""
    anchors = rows[STACKS:].reshape(len(task.scene.stacks), 3, rows.shape[1])
    return task.scene.centre_rows(anchors)


def _thrusts(actions: np.ndarray) -> np.ndarray:
    """Return u = (a + 1) / 2, (4, n), of actions (n, 4) within their bounds."""
    u = np.add(actions.T, 1.0, order="C")
    u *= 0.5
    return u
