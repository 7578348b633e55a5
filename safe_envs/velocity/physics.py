"""A robot's simulation as a function of one row of numbers, and quantities computed from rows.

A row holds MuJoCo's integration state (time, qpos, qvel, warm start, controls, ...), the robot's
velocity over the last step, and everything else that the next step or the observation needs.
Simulating from a row gives the same result, bit for bit, as continuing in one MjData. So an MjData
is scratch space, and rows can be copied, pickled, and divided among threads.

A trap: after `mj_step` with the Runge-Kutta integrator, body positions (xpos, xipos) are those of
its last stage, not of the new qpos. Gymnasium takes the velocities of Ant and Humanoid from them,
so they are kept in the row and not recomputed from qpos.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from safe_envs.contract.argument_checks import checked_array
from safe_envs.rendering.mujoco_package import load_mujoco
from safe_envs.velocity.health import HealthCheck
from safe_envs.velocity.models import compiled_model, has_floating_base, is_shared, torso
from safe_envs.velocity.robots import Robot, robot_named

UNIT_NORM_TOLERANCE = 1e-15  # as in MuJoCo's mju_normalize4: closer to 1 counts as normalized
KEPT = 64  # tasks of robots that stay compiled
ADDED_IN_ORDER = 8  # NumPy adds fewer numbers than this one after the other, without pairing them


class StepOutcome(NamedTuple):
    """The result of one step: NumPy scalars for one row, arrays (n,) for rows (n, width)."""

    forward_reward: Any
    reported_cost: Any  # what Gymnasium's info reports as the control's cost
    healthy_reward: Any  # or one number for all
    reward: Any
    terminated: Any  # bool


def robot_physics(name: str) -> RobotPhysics:
    """Return the physics of a robot with its default numbers, shared by the process.

    Raises:
        ValueError: if there is no robot with that name.
        gym.error.DependencyNotInstalled: if mujoco is missing.
        RuntimeError: if MuJoCo cannot compile Gymnasium's model.
    """
    return physics_of(robot_named(name))


def physics_of(robot: Robot) -> RobotPhysics:
    """Return the physics of a robot; those on Gymnasium's models are shared and never changed.

    Raises:
        FileNotFoundError: if its model does not exist.
        ValueError: if its own model does not compile or does not fit the task.
        gym.error.DependencyNotInstalled: if mujoco is missing.
        RuntimeError: if MuJoCo cannot compile Gymnasium's model.
    """
    if is_shared(robot):
        return shared_physics(robot)
    return RobotPhysics(robot, compiled_model(robot), shared=False)


@lru_cache(KEPT)
def shared_physics(robot: Robot) -> RobotPhysics:
    """Return the physics of a robot on one of Gymnasium's models."""
    return RobotPhysics(robot, compiled_model(robot), shared=True)


class RobotPhysics:
    """One robot's compiled model and the layout of its rows.

    Args:
        robot: its numbers.
        model: MuJoCo's model.
        shared: whether others use this object, too; then its model is never changed, and copies
            and pickles are the object of `physics_of`. Otherwise they have a model of their own.

    Attributes:
        robot: its numbers.
        model: MuJoCo's model.
        shared: whether others use it, too.
        width: numbers in a row.
        state_columns: columns of MuJoCo's integration state in a row.
        place_columns: columns of the x and y whose change is the velocity.
        positions: entries of qpos.
        velocities: entries of qvel.
        body: number of the torso.
        dt: duration of an environment step [s].
        needs_forces: whether a row holds forces that only `mj_rnePostConstraint` computes.
    """

    def __init__(self, robot: Robot, model: Any, shared: bool) -> None:
        self._mujoco = load_mujoco()
        self.robot, self.model, self.shared = robot, model, shared
        self.positions, self.velocities = model.nq, model.nv
        self.body = torso(model)
        self._has_floating_base = has_floating_base(model)
        self._read_constants()
        excluded = robot.exclude_current_positions_from_observation
        self._hidden = robot.ground_positions if excluded else 0
        self._forward_weight = (
            1.0 if robot.forward_reward_weight is None else robot.forward_reward_weight
        )
        self._control_weight = np.float64(robot.ctrl_cost_weight)
        self._healthy_reward = np.float64(robot.healthy_reward or 0.0)
        self._pays_for_contacts = bool(robot.use_contact_forces)
        self.needs_forces = robot.observes_forces or self._pays_for_contacts
        self._health = None
        if robot.healthy_z_range is not None:
            self._health = HealthCheck(robot, self.positions + self.velocities)
        self._clips_velocities = math.isfinite(robot.velocity_clip)
        seen_positions = self.positions - self._hidden
        self._largest_seen = np.full(seen_positions + self.velocities, np.inf)
        self._largest_seen[seen_positions:] = robot.velocity_clip
        self._smallest_seen = -self._largest_seen
        self._spec = int(self._mujoco.mjtState.mjSTATE_INTEGRATION)
        self._lay_out_row()

    def private(self) -> RobotPhysics:
        """Return the same physics on a copy of the model, which may be changed."""
        return RobotPhysics(self.robot, copy.copy(self.model), shared=False)

    def follow_model(self) -> None:
        """Take over what a user has changed in the model, which must not be shared."""
        self._read_constants()

    def spaces(self) -> tuple[gym.spaces.Box, gym.spaces.Box]:
        """Return the observation space and the action space."""
        size = len(self.observe(np.zeros(self.width)))
        low, high = self.model.actuator_ctrlrange.astype(np.float32).T
        observation = gym.spaces.Box(-np.inf, np.inf, (size,), np.float64)
        return observation, gym.spaces.Box(low, high, dtype=np.float32)

    def new_data(self) -> Any:
        """Return scratch space for one thread."""
        return self._mujoco.MjData(self.model)

    def standing(self) -> np.ndarray:
        """Return the model's own state (qpos, qvel), shape (nq + nv,)."""
        return np.concatenate((self.model.qpos0, np.zeros(self.velocities)))

    def draw_start(self, rng: np.random.Generator, around: np.ndarray | None = None) -> np.ndarray:
        """Draw a first state (qpos, qvel), shape (nq + nv,), around one; None for standing."""
        noise = self.robot.reset_noise_scale
        around = self.standing() if around is None else around
        if self.robot.normal_velocity_noise:
            qpos = rng.uniform(-noise, noise, self.positions)
            start = around + np.concatenate((qpos, noise * rng.standard_normal(self.velocities)))
        else:
            start = around + rng.uniform(-noise, noise, self.positions + self.velocities)
        if self._has_floating_base:
            start[: self.positions] = self._normalized(start[: self.positions])
        return start

    def checked_starts(self, given: Any, leading: tuple[int, ...]) -> np.ndarray:
        """Return states (qpos, qvel) given by the user, the root's quaternion normalized.

        Raises:
            ValueError: if they are not finite, not of shape (*leading, nq + nv), or a quaternion
                is zero.
        """
        meaning = f"qpos ({self.positions}) and qvel ({self.velocities}) concatenated"
        shape = (*leading, self.positions + self.velocities)
        starts = checked_array("state", given, shape, meaning)
        starts[..., : self.positions] = self._normalized(starts[..., : self.positions])
        return starts

    def start(self, data: Any, start: np.ndarray, row: np.ndarray) -> None:
        """Write the row of an episode that begins in the state (qpos, qvel)."""
        self._mujoco.mj_resetData(self.model, data)
        data.qpos[:] = start[: self.positions]
        data.qvel[:] = start[self.positions :]
        self._mujoco.mj_forward(self.model, data)
        self.read(data, row)
        row[self._velocities] = 0.0

    def load(self, data: Any, row: np.ndarray) -> None:
        """Set scratch space to the state in a row."""
        self._mujoco.mj_setState(self.model, data, row[self.state_columns], self._spec)

    def advance(self, data: Any, row: np.ndarray, action: np.ndarray, reached: np.ndarray) -> None:
        """Write the row reached by one environment step from `row`, whose state data is in."""
        data.ctrl[...] = action
        self._mujoco.mj_step(self.model, data, self.robot.frame_skip)
        if self.needs_forces:
            self._mujoco.mj_rnePostConstraint(self.model, data)
        self.read(data, reached)
        self.write_velocity(row, reached)

    def replay(self, data: Any, before: np.ndarray, row: np.ndarray) -> None:
        """Set data to its values after the step from one row to another, including forces."""
        self.load(data, row)
        action = data.ctrl.copy()
        self.load(data, before)
        self.simulate(data, action, self.robot.frame_skip)

    def simulate(self, data: Any, action: np.ndarray, steps: int) -> None:
        """Simulate steps and compute the forces, as Gymnasium's environments do."""
        data.ctrl[:] = action
        self._mujoco.mj_step(self.model, data, steps)
        self._mujoco.mj_rnePostConstraint(self.model, data)

    def read(self, data: Any, row: np.ndarray) -> None:
        """Write a row's columns except the velocity, which is that of a step."""
        self._mujoco.mj_getState(self.model, data, row[self.state_columns], self._spec)
        if self._only_reads_state:
            return
        if self.robot.position == "torso":
            row[self.place_columns] = data.xpos[self.body, :2]
        elif self.robot.position == "mass_center":
            moment = np.einsum("b,bj->j", self._mass, data.xipos)
            row[self.place_columns] = (moment / self._total_mass)[:2]
        if self.robot.observes_forces:
            inertias, velocities, actuators, contacts = self._force_parts
            row[inertias] = data.cinert.ravel()
            row[velocities] = data.cvel.ravel()
            row[actuators] = data.qfrc_actuator
            row[contacts] = data.cfrc_ext.ravel()
        elif self._pays_for_contacts:
            row[self._forces] = data.cfrc_ext.ravel()

    def write_velocity(self, rows: np.ndarray, reached: np.ndarray) -> None:
        """Complete rows (..., width) reached from `rows`: the change of place over the step."""
        before, after = rows.T, reached.T
        after[self._x_velocity] = (after[self._x] - before[self._x]) / self.dt
        if not self.robot.planar:
            after[self._y_velocity] = (after[self._y] - before[self._y]) / self.dt

    def pose(self, data: Any, row: np.ndarray, forces: bool) -> None:
        """Set scratch space to the row's pose, for drawing, and compute forces if asked to."""
        self.load(data, row)
        if forces or not self.shared:  # a user's model may have tendons and more to draw
            self._mujoco.mj_forward(self.model, data)
            return
        self._mujoco.mj_kinematics(self.model, data)
        self._mujoco.mj_comPos(self.model, data)
        self._mujoco.mj_camlight(self.model, data)

    def outcome(self, actions: np.ndarray, reached: np.ndarray) -> StepOutcome:
        """Return what the step that reached the rows brought.

        Args:
            actions: actions of the step, (..., nu).
            reached: rows after the step, (..., width).
        """
        forward = self._forward_weight * reached.T[self._x_velocity]
        paid = reported = self.control_cost(actions)
        if self._pays_for_contacts:
            squares = np.square(self._contact_forces(reached))
            reported = self.robot.contact_cost_weight * squares.sum(axis=-1)
            paid = paid + reported
        bonus: Any = self._healthy_reward
        ends: Any
        if self.robot.terminate_when_unhealthy:
            ends = ~self.is_healthy(reached)
        else:
            ends = np.zeros(len(reached), np.bool_) if reached.ndim > 1 else np.False_
            if self.robot.terminate_when_unhealthy is False:
                bonus = self.is_healthy(reached) * bonus
        reward = forward + bonus - paid
        return StepOutcome(forward, reported, bonus, reward, ends)

    def control_cost(self, actions: np.ndarray) -> Any:
        """Return the weighted sum of squared actions, (...), of actions (..., nu)."""
        if actions.ndim == 1 and len(actions) < ADDED_IN_ORDER:
            total = 0.0
            for control in actions.tolist():
                total += control * control
            return self._control_weight * total
        squares = np.square(actions, order="C")  # in any other order, a sum may round differently
        return self._control_weight * np.add.reduce(squares, axis=-1)

    def details(
        self, rows: np.ndarray, outcome: StepOutcome, lengths: Callable[[np.ndarray], Any]
    ) -> dict[str, Any]:
        """Return Gymnasium's own entries of the infos after a step, in new arrays or scalars.

        Args:
            rows: rows after the step, (..., width).
            outcome: the results of the step.
            lengths: the norm of vectors (..., 2), exactly as NumPy's `linalg.norm` rounds it.
        """
        columns, several = rows.T, rows.ndim > 1
        details = {"x_position": +columns[self._x], "x_velocity": +columns[self._x_velocity]}
        forward, control, healthy = self.robot.reward_names
        if forward:
            details[forward], details[control] = outcome.forward_reward, -outcome.reported_cost
        if healthy:
            details[healthy] = outcome.healthy_reward + (np.zeros(len(rows)) if several else 0.0)
        if not self.robot.planar:
            details["y_position"] = +columns[self._y]
            details["y_velocity"] = +columns[self._y_velocity]
            details["distance_from_origin"] = lengths(rows[..., self.place_columns])
            details["forward_reward"] = +outcome.forward_reward
        return details

    def start_details(
        self, rows: np.ndarray, lengths: Callable[[np.ndarray], Any]
    ) -> dict[str, Any]:
        """Return the same entries after a reset: all rewards and velocities are zero."""
        still = rows.copy()
        still[..., self._velocities] = 0.0
        nothing = np.zeros(rows.shape[:-1])
        outcome = StepOutcome(+nothing, -nothing, +nothing, nothing, nothing)
        return self.details(still, outcome, lengths)

    def excess(self, rows: np.ndarray) -> np.ndarray:
        """Return by how much the limited velocity exceeds its threshold, (..., 1) [m/s]."""
        columns = rows.T
        speed = columns[self._x_velocity]
        if self.robot.total_speed:
            along_y = columns[self._y_velocity]
            speed = np.sqrt(speed * speed + along_y * along_y)
        return (speed - self.robot.velocity_threshold)[..., None]

    def start_of(self, rows: np.ndarray) -> np.ndarray:
        """Return copies of the states (qpos, qvel) in rows, (..., nq + nv)."""
        return rows[..., self._qpos.start : self._qvel.stop].copy()

    def observe(self, rows: np.ndarray) -> np.ndarray:
        """Return the observations of rows, (..., size), sharing no memory with them."""
        seen = rows[..., self._qpos.start + self._hidden : self._qvel.stop]
        if self.robot.observes_forces:
            return np.concatenate((seen, rows[..., self._forces]), axis=-1)
        if self._pays_for_contacts:
            return np.concatenate((seen, self._contact_forces(rows)), axis=-1)
        if self._clips_velocities:
            return np.minimum(np.maximum(seen, self._smallest_seen), self._largest_seen)
        return seen.copy()

    def is_healthy(self, rows: np.ndarray) -> np.ndarray:
        """Return whether the robot is in its healthy ranges, (...) bool."""
        if self._health is None:
            return np.ones(rows.shape[:-1], dtype=np.bool_)
        return self._health(rows[..., self._qpos.start : self._qvel.stop])

    def __reduce__(self) -> tuple[Any, ...]:
        if self.shared:
            return physics_of, (self.robot,)
        return RobotPhysics, (self.robot, self.model, False)

    def _read_constants(self) -> None:
        """Set what is derived from numbers of the model that a user may change."""
        self.dt: float = self.model.opt.timestep * self.robot.frame_skip
        self._mass = self.model.body_mass.copy()
        self._total_mass = self._mass.sum()

    def _lay_out_row(self) -> None:
        """Set the columns of a row: MuJoCo's state, velocities, place and forces, in this order."""
        mujoco, robot, model = self._mujoco, self.robot, self.model
        self.state_columns = slice(0, mujoco.mj_stateSize(model, self._spec))
        first = mujoco.mj_stateSize(model, int(mujoco.mjtState.mjSTATE_TIME))
        self._qpos = slice(first, first + self.positions)
        self._qvel = slice(self._qpos.stop, self._qpos.stop + self.velocities)
        self._x_velocity, self._y_velocity = self.state_columns.stop, self.state_columns.stop + 1
        end = self._x_velocity + (1 if robot.planar else 2)
        self._velocities = slice(self._x_velocity, end)
        self.place_columns = slice(first, first + 2)
        if robot.position != "joints":
            self.place_columns = slice(end, end + 2)
            end += 2
        self._x, self._y = self.place_columns.start, self.place_columns.start + 1
        self._forces = slice(end, end)
        if robot.observes_forces:
            self._forces = slice(end, end + 22 * model.nbody + self.velocities)
        elif self._pays_for_contacts:
            self._forces = slice(end, end + 6 * model.nbody)
        self._force_parts = self._parts_of_forces() if robot.observes_forces else ()
        self._only_reads_state = end == self._forces.stop and robot.position == "joints"
        self.width: int = self._forces.stop

    def _parts_of_forces(self) -> tuple[slice, ...]:
        """Return the columns of inertias, body velocities, actuator and contact forces."""
        bodies, first = self.model.nbody, self._forces.start
        ends = first + np.cumsum([0, 10 * bodies, 6 * bodies, self.velocities, 6 * bodies])
        return tuple(itertools.starmap(slice, itertools.pairwise(ends.tolist())))

    def _contact_forces(self, rows: np.ndarray) -> np.ndarray:
        """Return the clipped forces (..., 6 bodies) [N, N m]."""
        assert self.robot.contact_force_range is not None
        return np.clip(rows[..., self._forces], *self.robot.contact_force_range)

    def _normalized(self, qpos: np.ndarray) -> np.ndarray:
        """Return positions (..., nq) with a unit root quaternion, if there is one."""
        if not self._has_floating_base:
            return qpos
        quaternion = qpos[..., 3:7]
        norm = np.sqrt((quaternion * quaternion).sum(axis=-1, keepdims=True))
        if not norm.all():
            raise ValueError("the root's quaternion qpos[3:7] is zero; pass a rotation")
        norm = np.where(np.abs(norm - 1.0) > UNIT_NORM_TOLERANCE, norm, 1.0)
        return np.concatenate((qpos[..., :3], quaternion / norm, qpos[..., 7:]), axis=-1)
