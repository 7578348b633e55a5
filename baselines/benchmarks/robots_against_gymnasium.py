"""The robots of the velocity tasks and Gymnasium's own: CPU time of a step of one environment.

`python -m baselines.benchmarks.robots_against_gymnasium`. Version 5 is what Gymnasium's users make;
version 4 is the same robot as here, with the same numbers, but without a cost. All get the same
random actions and start every turn anew, with its number as the seed. They take turns; the fastest
turn of each counts. "Made" means with the wrappers that `gymnasium.make` puts around both.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

import safe_envs  # noqa: F401  registers the environments
from baselines.shell_command import shell_command
from safe_envs.velocity.robots import ROBOTS

STEPS = 200  # in one turn


@dataclass(frozen=True)
class RobotComparisonArguments:
    """Print the speed of every robot as a multiple of that of Gymnasium's own."""

    robots: tuple[str, ...] = tuple(ROBOTS)
    """Names of the robots."""
    repeats: int = 50
    """Turns of every environment; the fastest counts."""


def main(arguments: RobotComparisonArguments) -> None:
    """Measure and print the table."""
    console = Console(width=110)
    table = Table(title=f"CPU microseconds per step, Gymnasium {gym.__version__}")
    table.add_column("robot", no_wrap=True)
    headings = ("ours, made", "version 5, made", "version 5 / ours, made", "unwrapped")
    for heading in (*headings, "version 4 / ours, made", "unwrapped"):
        table.add_column(heading, justify="right")
    with threadpool_limits(1):
        for robot in arguments.robots:
            ours, fifth, fourth, *unwrapped = step_times(robot, arguments.repeats)
            ratios = [
                fifth / ours,
                unwrapped[1] / unwrapped[0],
                fourth / ours,
                unwrapped[2] / unwrapped[0],
            ]
            times = (f"{ours:.1f}", f"{fifth:.1f}")
            table.add_row(robot, *times, *(f"{ratio:.2f}x" for ratio in ratios))
    console.print(table)


def step_times(robot: str, repeats: int) -> list[float]:
    """Return CPU microseconds per step: ours, version 5 and version 4, made, then unwrapped."""
    made = [_make(f"Safety{robot}Velocity-v1"), _make(f"{robot}-v5"), _make(f"{robot}-v4")]
    envs: list[gym.Env] = [*made, *(env.unwrapped for env in made)]
    space = made[0].action_space
    space.seed(0)
    actions = [space.sample() for _ in range(STEPS)]
    times = np.full(len(envs), np.inf)
    for turn in range(repeats):
        for i, env in enumerate(envs):
            times[i] = min(times[i], turn_time(env, actions, turn))
    for env in made:
        env.close()
    return (times / STEPS * 1e6).tolist()


def turn_time(env: gym.Env, actions: Sequence[np.ndarray], seed: int) -> float:
    """Return the CPU seconds of steps with the actions; ended episodes are reset."""
    env.reset(seed=seed)
    start = time.process_time()
    for action in actions:
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()
    return time.process_time() - start


def _make(env_id: str) -> gym.Env:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # version 4 is out of date
        return gym.make(env_id)


if __name__ == "__main__":
    command = shell_command("baselines.benchmarks.robots_against_gymnasium")
    main(tyro.cli(RobotComparisonArguments, prog=command))
