"""Six walking, swimming and running robots with a speed limit.

Source: the velocity tasks, version 1, of Safety-Gymnasium 1.0.0, on Gymnasium's MuJoCo
environments, version 4. The numbers are in `safe_envs.velocity.robots`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv

from safe_envs.contract.argument_names import known_arguments
from safe_envs.contract.cost_signal import CostLimits
from safe_envs.contract.dynamics import ScalarStart, ScalarStep
from safe_envs.contract.single_env import SingleEnv
from safe_envs.contract.vector_env import NativeVectorEnv
from safe_envs.velocity.batch import VelocityBatch, checked_thread_count
from safe_envs.velocity.camera import TrackingCamera
from safe_envs.velocity.physics import RobotPhysics, StepOutcome, robot_physics


class SafetyVelocityEnv(SingleEnv):
    """A robot from Gymnasium's MuJoCo environments that should run, but not too fast.

    ## Description
    The robot is rewarded for moving along x. Every step on which it exceeds its threshold costs 1.
    Observations, rewards and terminations are those of Gymnasium's version 4 of the robot. Costs
    are those of version 1 of Safety-Gymnasium's velocity task.

    | robot | threshold [m/s] | limited velocity | step [s] | qpos, qvel |
    |---|---|---|---|---|
    | Ant | 2.6222 | torso, norm of x and y | 0.05 | 15, 14 |
    | HalfCheetah | 3.2096 | along x | 0.05 | 9, 9 |
    | Hopper | 0.7402 | along x | 0.008 | 6, 6 |
    | Humanoid | 1.4149 | mass center, norm of x and y | 0.015 | 24, 23 |
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
    reward (1; Humanoid 5; HalfCheetah and Swimmer 0) on every step, including the terminal one.

    ## Costs
    1 on a step whose velocity is greater than the threshold, else 0; the limit on the episode's sum
    is 25. A limited velocity along x is signed: moving backward costs nothing.
    `info["constraint_values"]` holds velocity - threshold [m/s].

    ## Starting State
    The standing pose with noise, as in Gymnasium's version 4; the root's quaternion is normalized.
    `reset(options={"state": x})` starts in x, which is qpos and qvel concatenated, as in
    `env.unwrapped.state`.

    ## Episode End
    Terminates when the robot falls (HalfCheetah and Swimmer: never); truncates after 1000 steps.

    ## Reference Optimum
    Unknown. A robot that stays just below its threshold for 1000 steps gets about 1000 times the
    threshold, plus the healthy reward: about 1,740 for Hopper.

    ## Arguments
    - `robot` ("HalfCheetah"): set by the id.
    - `cost_limits` (None): as above.
    - `num_threads` (None), native vector form only: threads that simulate; by default one per
      processor. The results do not depend on it.

    ## Version History
    - v1: first version here; numbered like the Safety-Gymnasium task that it equals.
    """

    @known_arguments()
    def __init__(
        self,
        robot: str = "HalfCheetah",
        cost_limits: CostLimits = None,
        render_mode: str | None = None,
    ) -> None:
        self._physics = physics = robot_physics(robot)
        self._robot = ScalarVelocity(physics)
        super().__init__(VelocityBatch(physics, cost_limits), render_mode, self._robot)

    @property
    def state(self) -> np.ndarray:
        """A copy of the state, qpos and qvel concatenated."""
        return self._physics.start_of(self.current_state("reading the state"))

    def close(self) -> None:
        """Close the window and free the camera, if there are any."""
        super().close()
        self._robot.close()


class ScalarVelocity:
    """The velocity task for one robot; its infos also have Gymnasium's own entries."""

    def __init__(self, physics: RobotPhysics) -> None:
        self._physics = physics
        self._data: Any = physics.new_data()
        self._camera = TrackingCamera(physics)

    def start(self, rng: np.random.Generator, options: Mapping[str, Any]) -> ScalarStart:
        """Draw a first state around the standing pose, or take the one given, (nq + nv,)."""
        physics = self._physics
        if "state" in options:
            start = physics.checked_starts(options["state"], ())
        else:
            start = physics.draw_start(rng)
        row = np.empty(physics.width)
        physics.start(self._data, start, row)
        return row, physics.observe(row), physics.excess(row), self._details(row, None)

    def step(self, state: np.ndarray, action: np.ndarray, rng: np.random.Generator) -> ScalarStep:
        """Simulate one environment step; the cost is for the average velocity."""
        physics = self._physics
        reached = np.empty_like(state)
        physics.advance(self._data, state, action, reached)
        outcome = physics.outcome(action, reached)
        excess = physics.excess(reached)
        return (
            reached,
            physics.observe(reached),
            float(outcome.reward),
            1.0 if excess[0] > 0.0 else 0.0,
            bool(outcome.terminated),
            None,
            excess,
            self._details(reached, outcome),
        )

    def frame(self, state: np.ndarray) -> np.ndarray:
        """Return the robot and the ball above it."""
        return self._camera.draw(state)

    def close(self) -> None:
        """Free the camera."""
        self._camera.close()

    def _details(self, row: np.ndarray, outcome: StepOutcome | None) -> dict[str, Any]:
        """Return Gymnasium's own entries; no outcome means a reset, all zeros."""
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
        details: dict[str, Any] = {"x_position": x, "x_velocity": velocity[0]}
        details |= {
            name: part for name, part in zip(robot.reward_names, parts, strict=True) if name
        }
        if not robot.planar:
            details["y_position"], details["y_velocity"] = y, velocity[1]
            details["distance_from_origin"] = float(np.sqrt(place.dot(place)))
            details["forward_reward"] = forward
        return details

    def __reduce__(self) -> tuple[Any, ...]:
        return ScalarVelocity, (self._physics,)


class SafetyVelocityVectorEnv(NativeVectorEnv, VectorEnv):
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

    @known_arguments(SafetyVelocityEnv)
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
        self._physics = robot_physics(robot)
        threads = checked_thread_count(num_threads, num_envs)
        batch = VelocityBatch(self._physics, cost_limits, threads)
        super().__init__(batch, num_envs, max_episode_steps, autoreset_mode, render_mode)

    @property
    def state(self) -> np.ndarray:
        """A copy of the states, qpos and qvel concatenated, (N, nq + nv)."""
        return self._physics.start_of(self.current_states("reading the state"))
