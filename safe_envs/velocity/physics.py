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

from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from safe_envs.contract.argument_checks import checked_array
from safe_envs.rendering.mujoco_package import load_mujoco
from safe_envs.velocity.robots import robot_named

ASSETS = Path(gym.__file__).parent / "envs" / "mujoco" / "assets"
UNIT_NORM_TOLERANCE = 1e-15  # as in MuJoCo's mju_normalize4: closer to 1 counts as normalized


class StepOutcome(NamedTuple):
    """The result of one step from a row to the next; leading axes as in the rows."""

    velocity: np.ndarray  # (..., 2) along x and y [m/s]
    forward_reward: np.ndarray  # (...)
    control_cost: np.ndarray  # (...)
    reward: np.ndarray  # (...)
    terminated: np.ndarray  # (...) bool


@cache
def robot_physics(name: str) -> RobotPhysics:
    """Return the physics of a robot, compiled once per process and shared: it is never changed.

    Raises:
        ValueError: if there is no robot with that name.
        gym.error.DependencyNotInstalled: if mujoco is missing.
        RuntimeError: if MuJoCo cannot compile Gymnasium's model.
    """
    return RobotPhysics(name)


class RobotPhysics:
    """One robot's compiled model and the layout of its rows.

    Args:
        name: name of the robot. Copies and pickles are the shared object of `robot_physics`.

    Attributes:
        robot: its row of the table.
        model: MuJoCo's model.
        width: numbers in a row.
        state_columns: columns of MuJoCo's integration state in a row.
        place_columns: columns of the x and y whose change is the velocity.
        positions: entries of qpos.
        velocities: entries of qvel.
        body: number of the torso.
        dt: duration of an environment step [s].
    """

    def __init__(self, name: str) -> None:
        mujoco = load_mujoco()
        self._name = name
        self.robot = robot = robot_named(name)
        self.model = _compile(mujoco, ASSETS / robot.model_file)
        self.dt: float = self.model.opt.timestep * robot.frame_skip
        self.positions, self.velocities = self.model.nq, self.model.nv
        self.body = int(self.model.body("torso").id)
        self._mujoco = mujoco
        self._spec = int(mujoco.mjtState.mjSTATE_INTEGRATION)
        self._mass = self.model.body_mass.copy()
        self._total_mass = self._mass.sum()
        self.state_columns = slice(0, mujoco.mj_stateSize(self.model, self._spec))
        first = mujoco.mj_stateSize(self.model, int(mujoco.mjtState.mjSTATE_TIME))
        self._qpos = slice(first, first + self.positions)
        self._qvel = slice(self._qpos.stop, self._qpos.stop + self.velocities)
        end = self.state_columns.stop + 2
        self._velocity = slice(end - 2, end)
        self.place_columns = slice(first, first + 2)
        if robot.position != "joints":
            self.place_columns = slice(end, end + 2)
            end += 2
        self._forces = slice(end, end)
        if robot.observes_forces:
            self._forces = slice(end, end + 22 * self.model.nbody + self.velocities)
        self.width: int = self._forces.stop

    def spaces(self) -> tuple[gym.spaces.Box, gym.spaces.Box]:
        """Return the observation space and the action space."""
        size = len(self.observe(np.zeros(self.width)))
        low, high = self.model.actuator_ctrlrange.astype(np.float32).T
        observation = gym.spaces.Box(-np.inf, np.inf, (size,), np.float64)
        return observation, gym.spaces.Box(low, high, dtype=np.float32)

    def new_data(self) -> Any:
        """Return scratch space for one thread."""
        return self._mujoco.MjData(self.model)

    def draw_start(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a first state (qpos, qvel), shape (nq + nv,)."""
        noise = self.robot.reset_noise
        qpos = self.model.qpos0 + rng.uniform(-noise, noise, self.positions)
        if self.robot.normal_velocity_noise:
            qvel = noise * rng.standard_normal(self.velocities)
        else:
            qvel = rng.uniform(-noise, noise, self.velocities)
        return np.concatenate((self._normalized(qpos), qvel))

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
        self._read(data, row)
        row[self._velocity] = 0.0

    def advance(self, data: Any, row: np.ndarray, action: np.ndarray, reached: np.ndarray) -> None:
        """Write the row reached by one environment step from `row`."""
        self._mujoco.mj_setState(self.model, data, row[self.state_columns], self._spec)
        data.ctrl[:] = action
        self._mujoco.mj_step(self.model, data, self.robot.frame_skip)
        if self.robot.observes_forces:
            self._mujoco.mj_rnePostConstraint(self.model, data)
        self._read(data, reached)
        self.write_velocity(row, reached)

    def write_velocity(self, rows: np.ndarray, reached: np.ndarray) -> None:
        """Complete rows (..., width) reached from `rows`: the change of place over the step."""
        places = self.place_columns
        reached[..., self._velocity] = (reached[..., places] - rows[..., places]) / self.dt

    def pose(self, data: Any, row: np.ndarray) -> None:
        """Bring scratch space into the row's pose, for drawing."""
        self._mujoco.mj_setState(self.model, data, row[self.state_columns], self._spec)
        self._mujoco.mj_kinematics(self.model, data)
        self._mujoco.mj_comPos(self.model, data)
        self._mujoco.mj_camlight(self.model, data)

    def outcome(self, actions: np.ndarray, reached: np.ndarray) -> StepOutcome:
        """Return what the step that reached the rows brought.

        Args:
            actions: actions of the step, (..., nu).
            reached: rows after the step, (..., width).
        """
        robot = self.robot
        velocity = reached[..., self._velocity]
        squares = np.ascontiguousarray(np.square(actions))
        control_cost = robot.control_cost_weight * squares.sum(axis=-1)
        forward = robot.forward_weight * velocity[..., 0]
        reward = forward + robot.healthy_reward - control_cost
        return StepOutcome(velocity, forward, control_cost, reward, ~self._is_healthy(reached))

    def excess(self, rows: np.ndarray) -> np.ndarray:
        """Return by how much the limited velocity exceeds its threshold, (..., 1) [m/s]."""
        along_x = rows[..., self._velocity.start : self._velocity.start + 1]
        if not self.robot.total_speed:
            return along_x - self.robot.threshold
        along_y = rows[..., self._velocity.stop - 1 : self._velocity.stop]
        return np.sqrt(along_x * along_x + along_y * along_y) - self.robot.threshold

    def place(self, rows: np.ndarray) -> np.ndarray:
        """Return the x and y of the robot, (..., 2) [m]."""
        return rows[..., self.place_columns]

    def start_of(self, rows: np.ndarray) -> np.ndarray:
        """Return copies of the states (qpos, qvel) in rows, (..., nq + nv)."""
        return rows[..., self._qpos.start : self._qvel.stop].copy()

    def observe(self, rows: np.ndarray) -> np.ndarray:
        """Return the observations of rows, (..., size), sharing no memory with them."""
        robot = self.robot
        seen = rows[..., self._qpos.start + robot.hidden_positions : self._qvel.stop]
        if robot.observes_forces:
            return np.concatenate((seen, rows[..., self._forces]), axis=-1)
        seen = seen.copy()
        if np.isfinite(robot.velocity_clip):
            velocities = seen[..., self.positions - robot.hidden_positions :]
            velocities.clip(-robot.velocity_clip, robot.velocity_clip, out=velocities)
        return seen

    def __reduce__(self) -> tuple[Any, ...]:
        return robot_physics, (self._name,)

    def _read(self, data: Any, row: np.ndarray) -> None:
        self._mujoco.mj_getState(self.model, data, row[self.state_columns], self._spec)
        if self.robot.position == "torso":
            row[self.place_columns] = data.xpos[self.body, :2]
        elif self.robot.position == "mass_center":
            moment = np.einsum("b,bj->j", self._mass, data.xipos)
            row[self.place_columns] = (moment / self._total_mass)[:2]
        if self.robot.observes_forces:
            parts = (data.cinert, data.cvel, data.qfrc_actuator, data.cfrc_ext)
            row[self._forces] = np.concatenate([part.ravel() for part in parts])

    def _is_healthy(self, rows: np.ndarray) -> np.ndarray:
        healthy = self.robot.healthy
        if healthy is None:
            return np.ones(rows.shape[:-1], dtype=np.bool_)
        first = self._qpos.start
        height = rows[..., first + healthy.height_joint]
        low, high = healthy.height
        if healthy.closed:
            holds = (low <= height) & (height <= high)
        else:
            holds = (low < height) & (height < high)
        if healthy.angle is not None:
            angle = rows[..., first + 2]
            holds = holds & (healthy.angle[0] < angle) & (angle < healthy.angle[1])
        if healthy.bound is not None:
            entries = rows[..., first + healthy.bounded_from : self._qvel.stop]
            holds = holds & (np.abs(entries) < healthy.bound).all(axis=-1)
        return holds

    def _normalized(self, qpos: np.ndarray) -> np.ndarray:
        """Return positions (..., nq) with a unit root quaternion, if there is one."""
        if not self.robot.floating_base:
            return qpos
        quaternion = qpos[..., 3:7]
        norm = np.sqrt((quaternion * quaternion).sum(axis=-1, keepdims=True))
        if not norm.all():
            raise ValueError("the root's quaternion qpos[3:7] is zero; pass a rotation")
        norm = np.where(np.abs(norm - 1.0) > UNIT_NORM_TOLERANCE, norm, 1.0)
        return np.concatenate((qpos[..., :3], quaternion / norm, qpos[..., 7:]), axis=-1)


def _compile(mujoco: ModuleType, path: Path) -> Any:
    """Compile a model without writing warnings about old attributes to MUJOCO_LOG.TXT."""
    handler = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda message: None)
    try:
        return mujoco.MjModel.from_xml_path(str(path))
    except ValueError as error:  # Swimmer's model of Gymnasium 0.29, for MuJoCo 3 and later
        reason = " ".join(str(error).split())
        raise RuntimeError(
            f"{path.name} of gymnasium {gym.__version__} does not compile with mujoco "
            f"{mujoco.__version__} ({reason}); upgrade Gymnasium: pip install -U gymnasium"
        ) from error
    finally:
        mujoco.set_mju_user_warning(handler)
