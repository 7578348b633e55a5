"""The policies with which the parity command compares a task, as plain numbers."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np

from safe_envs.safety_gymnasium_bridge.parity.rollout_policies import Definition
from safe_envs.safety_gymnasium_bridge.task_ids import VELOCITY_MODULES

WEIGHT_SEEDS = {  # the best of 30 draws by the return over two other episodes
    "HalfCheetah": 18,
    "Hopper": 16,
    "Swimmer": 21,
    "Walker2d": 1,
    "Ant": 6,
    "Humanoid": 8,
}
LIDARS = (
    "push_box_lidar",
    "goal_lidar",
    "circle_lidar",
)  # a policy follows the first one that a task has
DRIVING: dict[str, dict[str, Any]] = {  # wheels and joints as in the robots' models
    "Point": {"bearing": 0.0, "gain": 5.0, "forward": [0.5, 0.0], "left": [0.0, 1.0]},
    "Car": {"bearing": -math.pi / 2, "gain": 0.5, "forward": [0.5, 0.5], "left": [1.0, -1.0]},
}
CIRCLING = 1.2  # bearing of the circle's center: left and slightly ahead [rad]


def random_definition(env: gym.Env) -> Definition:
    """Return the definition of uniform actions."""
    return {"kind": "random", **_bounds(env)}


def seeking_definition(task_id: str, env: gym.Env) -> Definition:
    """Return the definition of the policy that seeks reward.

    Point and Car steer toward the goal, the button or the box, or around the circle. Legged robots
    take the tanh of a fixed matrix times the observation.
    """
    robot = next((r for r in DRIVING if task_id.startswith(f"Safety{r}")), None)
    bins = _followed_bins(env)
    if robot is not None and bins is not None:
        definition = {"kind": "lidar", "bins": bins, **DRIVING[robot]}
        if "Circle" in task_id:
            definition["bearing"] += CIRCLING
        return definition
    velocity = next((r for r in VELOCITY_MODULES if task_id.startswith(f"Safety{r}Velocity")), "")
    shape = (np.prod(env.action_space.shape or ()), np.prod(env.observation_space.shape or ()))
    generator = np.random.default_rng(WEIGHT_SEEDS.get(velocity, 0))
    weights = generator.normal(size=(int(shape[0]), int(shape[1]))) / math.sqrt(shape[1])
    return {"kind": "linear", "weights": weights.tolist(), **_bounds(env)}


def given_actions(env: gym.Env, seeds: list[int], steps: int) -> np.ndarray:
    """Return uniform actions, one row per seed, (len(seeds), steps, actions)."""
    low, high = env.action_space.low, env.action_space.high  # type: ignore[attr-defined]
    size = (steps, len(low))
    return np.stack([np.random.default_rng(seed).uniform(low, high, size) for seed in seeds])


def _bounds(env: gym.Env) -> Definition:
    box: Any = env.action_space
    return {"low": box.low.tolist(), "high": box.high.tolist()}


def _followed_bins(env: gym.Env) -> list[int] | None:
    """Return start and stop, in the flat observation, of the lidar to be followed."""
    bridged: Any = env.unwrapped
    inner = bridged._inner
    if "task" not in vars(inner):  # velocity
        return None
    start, found = 0, {}
    for name, space in inner.task.obs_info.obs_space_dict.spaces.items():
        stop = start + int(np.prod(space.shape))
        found[name] = [start, stop]
        start = stop
    return next((found[name] for name in LIDARS if name in found), None)
