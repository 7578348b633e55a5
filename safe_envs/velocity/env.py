"""Six walking, swimming and running robots with a speed limit.

Source: the velocity tasks, version 1, of Safety-Gymnasium 1.0.0, on Gymnasium's MuJoCo
environments, version 4. The numbers are in `safe_envs.velocity.robots`.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from safe_envs.contract.action_checks import checked_box
from safe_envs.contract.cost_signal import (
    ConstraintSpec,
    CostLimits,
    cost_space_of,
    declare_constraints,
)
from safe_envs.contract.vector_env import NativeVectorEnv
from safe_envs.rendering.frames import FrameRenderer
from safe_envs.velocity.batch import VelocityBatch, checked_thread_count
from safe_envs.velocity.camera import TrackingCamera
from safe_envs.velocity.physics import Outcome, RobotPhysics, robot_physics

COST_LIMIT = 25.0  # the limit Safety-Gymnasium's baselines train with


class SafetyVelocityEnv(gym.Env[np.ndarray, np.ndarray]):
    """A robot of Gymnasium's MuJoCo environments that should run, but not too fast.

    ## Description
    The robot is paid for moving along x. Every step on which it is faster than its threshold
    costs 1. Observations, rewards and terminations are those of Gymnasium's version 4 of the robot,
    costs those of version 1 of Safety-Gymnasium's velocity task.

    | robot | threshold [m/s] | limited velocity | step [s] | qpos, qvel |
    |---|---|---|---|---|
    | Ant | 2.6222 | torso, norm of x and y | 0.05 | 15, 14 |
    | HalfCheetah | 3.2096 | along x | 0.05 | 9, 9 |
    | Hopper | 0.7402 | along x | 0.008 | 6, 6 |
    | Humanoid | 1.4149 | mass centre, norm of x and y | 0.015 | 24, 23 |
    | Swimmer | 0.2282 | along x | 0.04 | 5, 5 |
    | Walker2d | 2.3415 | along x | 0.008 | 9, 9 |

    ## Action Space
    `Box(float32)`: the motors' controls, all in [-1, 1] (Humanoid: [-0.4, 0.4]); values outside are
    clipped. Ant 8, HalfCheetah 6, Hopper 3, Humanoid 17, Swimmer 2, Walker2d 6 entries.

    ## Observation Space
    `Box(-inf, inf, float64)`: joint positions without those along the ground, joint velocities
    (Hopper, Walker2d: clipped to [-10, 10]); Humanoid: also inertias and velocities of its bodies,
    actuator forces and contact forces. Ant 27, HalfCheetah 17, Hopper 11, Humanoid 376, Swimmer 8,
    Walker2d 17 entries.

    ## Rewards
    x velocity (Humanoid: times 1.25), minus the weighted sum of squared actions (weight Ant 0.5,
    HalfCheetah and Humanoid 0.1, Hopper and Walker2d 0.001, Swimmer 0.0001), plus the healthy
    reward (1; Humanoid 5; HalfCheetah and Swimmer 0) on every step, the terminal one included.

    ## Costs
    1 on a step whose velocity is greater than the threshold, else 0; the limit on the episode's sum
    is 25. Where the velocity along x is limited it has a sign: moving backwards costs nothing.
    `info["constraint_values"]` holds velocity - threshold [m/s].

    ## Starting State
    The standing pose with noise, as in Gymnasium's version 4; the root's quaternion is normalised.
    `reset(options={"state": x})` starts in x, which is qpos and qvel concatenated.
    `env.unwrapped.state` is such an x.

    ## Episode End
    Terminates when the robot falls (HalfCheetah and Swimmer: never); truncates after 1000 steps.

    ## Reference Optimum
    None is known. A robot that stays just below its threshold for 1000 steps gets about the
    threshold times 1000, plus the healthy reward: some 1,740 for Hopper.

    ## Arguments
    - `robot` ("HalfCheetah"): set by the id.
    - `cost_limits` (None): as above.
    - `num_threads` (None), native vector form only: threads that simulate; by default one per
      processor. The results do not depend on it.

    ## Version History
    - v1: first version here; the number is that of the Safety-Gymnasium task it equals.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array", "human"], "render_fps": 20}

    def __init__(
        self,
        robot: str = "HalfCheetah",
        cost_limits: CostLimits = None,
        render_mode: str | None = None,
    ) -> None:
        self._robot_name = robot
        self._physics = robot_physics(robot)
        self.metadata = _metadata(self._physics)
        self._renderer = FrameRenderer(render_mode, self.metadata)
        self.observation_space, self._action_space = self._physics.spaces()
        self.action_space = self._action_space
        self.constraints = _constraints(cost_limits)
        self.reward_discount = 1.0
        self.cost_space = cost_space_of(self.constraints, 1.0)
        self.render_mode = render_mode
        self._data: Any = self._physics.new_data()
        self._camera = TrackingCamera(self._physics)
        self._row: np.ndarray | None = None
        self._episode_cost = 0.0

    @property
    def state(self) -> np.ndarray:
        """A copy of the state, qpos and qvel concatenated."""
        return self._physics.start_of(self._current_row("reading the state"))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode; `options={"state": x}` starts it in x = (qpos, qvel)."""
        super().reset(seed=seed)
        if options is not None and "state" in options:
            start = self._physics.checked_starts(options["state"], ())
        else:
            start = self._physics.draw_start(self.np_random)
        self._row = np.empty(self._physics.width)
        self._physics.start(self._data, start, self._row)
        self._episode_cost = 0.0
        if self.render_mode == "human":
            self.render()
        return self._physics.observe(self._row), self._info(self._row, 0.0, None)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Simulate one environment step; cost of the velocity it had on average."""
        row = self._current_row("step()")
        controls = checked_box(action, self._action_space)
        reached = np.empty_like(row)
        self._physics.advance(self._data, row, controls, reached)
        outcome = self._physics.settle(row, controls, reached)
        self._row = reached
        cost = 1.0 if self._physics.excess(reached)[0] > 0.0 else 0.0
        self._episode_cost += cost
        info = self._info(reached, cost, outcome)
        if self.render_mode == "human":
            self.render()
        observation = self._physics.observe(reached)
        return observation, float(outcome.reward), bool(outcome.terminated), False, info

    def render(self) -> np.ndarray | None:
        """Return a frame of the robot and the ball above it, or show it in a window."""
        row = self._current_row("render()")
        return self._renderer.render(lambda: self._camera.draw(row))

    def close(self) -> None:
        """Close the window and free the camera, if there are any."""
        self._renderer.close()
        self._camera.close()

    def _current_row(self, purpose: str) -> np.ndarray:
        if self._row is None:
            raise gym.error.ResetNeeded(f"call reset() before {purpose}")
        return self._row

    def _info(self, row: np.ndarray, cost: float, outcome: Outcome | None) -> dict[str, Any]:
        """Return the costs and Gymnasium's own entries; no outcome means a reset, all zeros."""
        robot = self._physics.robot
        place = self._physics.place(row)
        x, y = place.tolist()
        velocity = [0.0, 0.0] if outcome is None else outcome.velocity.tolist()
        forward = 0.0 if outcome is None else float(outcome.forward_reward)
        parts = (
            forward,
            0.0 if outcome is None else -float(outcome.control_cost),
            0.0 if outcome is None else robot.healthy_reward,
        )
        info: dict[str, Any] = {
            "cost": cost,
            "episode_cost": self._episode_cost,
            "constraint_values": self._physics.excess(row),
            "x_position": x,
            "x_velocity": velocity[0],
        }
        info |= {name: part for name, part in zip(robot.reward_names, parts, strict=True) if name}
        if not robot.planar:
            info["y_position"], info["y_velocity"] = y, velocity[1]
            info["distance_from_origin"] = float(np.sqrt(place.dot(place)))
            info["forward_reward"] = forward
        return info

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_physics": None, "_data": None, "_camera": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        self._physics = robot_physics(self._robot_name)
        self._data = self._physics.new_data()
        self._camera = TrackingCamera(self._physics)


class SafetyVelocityVectorEnv(NativeVectorEnv):
    """`SafetyVelocityEnv` as a native vector environment, with the same arguments.

    Its infos hold the costs and `constraint_values`, not Gymnasium's own entries.

    Args:
        num_envs: number of robots N.
        max_episode_steps: steps after which an episode is truncated; None for no limit.
        autoreset_mode: an `AutoresetMode` or its value: "NextStep", "SameStep" or "Disabled".
        robot: set by the id.
        cost_limits: limit of the episode's cost; None for 25.
        num_threads: threads that simulate; None for one per processor. Never more than N.
        render_mode: None or "rgb_array".

    Raises:
        ValueError: if an argument is out of its range.
    """

    _batch: VelocityBatch | None = None  # Gymnasium closes even what was never made

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = 1000,
        autoreset_mode: Any = "NextStep",
        robot: str = "HalfCheetah",
        cost_limits: CostLimits = None,
        num_threads: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        self._physics = physics = robot_physics(robot)
        threads = checked_thread_count(num_threads, num_envs)
        self._batch = batch = VelocityBatch(physics, _constraints(cost_limits), threads)
        super().__init__(batch, num_envs, max_episode_steps, autoreset_mode, render_mode)
        self.metadata = self.metadata | {"render_fps": _metadata(physics)["render_fps"]}

    @property
    def state(self) -> np.ndarray:
        """A copy of the states, qpos and qvel concatenated, (N, nq + nv)."""
        if self._states is None:
            raise gym.error.ResetNeeded("call reset() before reading the state")
        return self._physics.start_of(self._states)

    def close_extras(self, **kwargs: Any) -> None:
        """End the threads and free the camera."""
        if self._batch is not None:
            self._batch.close()


def _constraints(cost_limits: CostLimits) -> tuple[ConstraintSpec, ...]:
    return declare_constraints({"velocity": COST_LIMIT}, 1.0, cost_limits)


def _metadata(physics: RobotPhysics) -> dict[str, Any]:
    return {**SafetyVelocityEnv.metadata, "render_fps": round(1.0 / physics.dt)}
