"""What no learner can do without: the physics of a step and the arithmetic of a minibatch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium import spaces

import safe_envs  # noqa: F401  registers the environments
from baselines.benchmarks.training_speed.settings import TrainingSetting
from safe_envs.rendering.mujoco_package import load_mujoco
from safe_envs.velocity.physics import robot_physics

HIDDEN = (64, 64)  # of the hidden layers
CALLS = 1000  # of a minibatch's arithmetic in one turn


class Floor(NamedTuple):
    """CPU seconds per environment step."""

    physics: float
    arithmetic: float

    @property
    def total(self) -> float:
        """Both together."""
        return self.physics + self.arithmetic


class NetworkArithmetic:
    """The matrix products of k networks of one shape, forward and backward, and their tanh.

    Per layer: inputs times weights, the gradient of the weights, and, above the first layer, that
    of the inputs. There are no biases, losses, derivatives of tanh, and steps of an optimizer. The
    networks are one stack, so critics have as many outputs as the actor, which costs less than more
    calls would. All arrays are float32 and made beforehand.

    Args:
        count: number of networks k.
        widths: of the layers, from the inputs to the outputs.
        batch_size: rows of a minibatch.
    """

    def __init__(self, count: int, widths: Sequence[int], batch_size: int) -> None:
        rng = np.random.default_rng(0)

        def made(rows: int, columns: int) -> np.ndarray:
            return (0.1 * rng.standard_normal((count, rows, columns))).astype(np.float32)

        self.weights = [made(rows, columns) for rows, columns in pairwise(widths)]
        self.gradients = [np.empty_like(weight) for weight in self.weights]
        self.layers = [made(batch_size, width) for width in widths]  # inputs, ..., outputs
        self.errors = [made(batch_size, width) for width in widths]

    def run(self) -> None:
        """Do it once."""
        weights, layers, errors = self.weights, self.layers, self.errors
        last = len(weights) - 1
        for i, weight in enumerate(weights):
            np.matmul(layers[i], weight, out=layers[i + 1])
            if i < last:
                np.tanh(layers[i + 1], out=layers[i + 1])
        for i in range(last, -1, -1):
            np.matmul(layers[i].swapaxes(1, 2), errors[i + 1], out=self.gradients[i])
            if i > 0:
                np.matmul(errors[i + 1], weights[i].swapaxes(1, 2), out=errors[i])

    def seconds(self, calls: int = CALLS) -> float:
        """Return the CPU seconds of doing it once."""
        self.run()  # the first call is slower
        began = time.process_time()
        for _ in range(calls):
            self.run()
        return (time.process_time() - began) / calls


def floor_of(setting: TrainingSetting, num_critics: int = 2) -> Floor:
    """Return the floor of a setting for one actor and this number of critics."""
    env = gym.make(setting.env_id)
    inputs, actions = spaces.flatdim(env.observation_space), spaces.flatdim(env.action_space)
    env.close()
    widths = (inputs, *HIDDEN, actions)
    arithmetic = NetworkArithmetic(1 + num_critics, widths, setting.batch_size)
    return Floor(
        physics_seconds(setting.robot), arithmetic.seconds() * setting.minibatches_per_step
    )


def physics_seconds(robot: str, steps: int = 5000) -> float:
    """Return CPU seconds per environment step of raw mj_step with random controls."""
    mujoco = load_mujoco()
    physics = robot_physics(robot)
    model, frame_skip = physics.model, physics.robot.frame_skip
    data = mujoco.MjData(model)
    controls = np.random.default_rng(0).uniform(-1, 1, (steps, model.nu))
    began = time.process_time()
    for control in controls:
        data.ctrl[:] = control
        mujoco.mj_step(model, data, frame_skip)
    return (time.process_time() - began) / steps
