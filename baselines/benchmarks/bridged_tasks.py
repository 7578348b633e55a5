"""Speed of Safety-Gymnasium's tasks through the bridge, as ratios measured in one run.

`python -m baselines.benchmarks.bridged_tasks --legacy-python legacy/bin/python`. CPU time of a
reset and of a step, by random actions: the bridge, the package's own code on today's stack
(`fast=False`), and the package's own stack, if an interpreter with it is given. First a
trajectory of the former two is compared bit for bit. Then copies in wall time: `SyncVectorEnv`
against `ThreadedVectorEnv`, which needs idle processors.
"""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import tyro
from gymnasium.vector import SyncVectorEnv
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

import safe_envs  # noqa: F401  registers the environments
from baselines.benchmarks.peers import genuine_tasks
from baselines.benchmarks.peers.genuine_tasks import least_times
from baselines.shell_command import shell_command
from safe_envs.contract.threaded_vector_env import ThreadedVectorEnv

PEER_SCRIPT = Path(genuine_tasks.__file__)
OTHERS = ("package's own code", "package's own stack")
MILLI = 1e3


@dataclass(frozen=True)
class BridgedTasksArguments:
    """Print the speed of bridged tasks, and their ratios to the package's own code."""

    tasks: tuple[str, ...] = ("SafetyPointGoal1-v0", "SafetyCarButton2-v0", "SafetyAntGoal1-v0")
    """Ids of navigation tasks."""
    legacy_python: Path | None = None
    """Interpreter with the package's own stack (Python 3.10); None: without it."""
    repeats: int = 20
    """Turns of every part; the fastest counts."""
    resets: int = 1
    """In one turn."""
    steps: int = 60
    """In one turn; short turns find moments without other load."""
    num_envs: int = 8
    """Copies stepped together."""


class Cost(NamedTuple):
    """CPU seconds of a reset and of a step."""

    reset: float
    step: float


def main(arguments: BridgedTasksArguments) -> None:
    """Measure and print the tables."""
    console = Console(width=130)
    with threadpool_limits(1):
        costs = {task: costs_of_task(task, arguments) for task in arguments.tasks}
        for what in Cost._fields:
            console.print(table_of_paths(costs, what))
        console.print(table_of_vector_forms(arguments))


def table_of_paths(costs: dict[str, list[Cost]], what: str) -> Table:
    """Return CPU times of resets or steps and their ratios to the bridge's, one task per row."""
    table = Table("task", "bridge", title=f"CPU milliseconds of a {what}")
    for heading in OTHERS[: len(next(iter(costs.values()))) - 1]:
        table.add_column(heading, justify="right")
        table.add_column("ratio", justify="right")
    for task, (bridge, *others) in costs.items():
        here = getattr(bridge, what)
        cells = [f"{here * MILLI:.2f}"]
        for other in others:
            there = getattr(other, what)
            cells += [f"{there * MILLI:.2f}", f"{there / here:.1f}x"]
        table.add_row(task, *cells)
    return table


def costs_of_task(task: str, arguments: BridgedTasksArguments) -> list[Cost]:
    """Return the costs of the bridge, of the package's own code and, if given, of its own stack."""
    require_equal_paths(task, arguments.steps)
    envs = [_started(task, fast) for fast in (True, False)]
    turns = [
        [Cost(**least_times(env, arguments.resets, arguments.steps, 1)) for env in envs]
        for _ in range(arguments.repeats)
    ]
    costs = [Cost(*np.min(of_env, axis=0)) for of_env in zip(*turns, strict=True)]
    if arguments.legacy_python is not None:
        costs.append(cost_of_peer(arguments.legacy_python, task, arguments))
    return costs


def cost_of_peer(python: Path, task: str, arguments: BridgedTasksArguments) -> Cost:
    """Return the cost of the package's own stack, in its own interpreter.

    Raises:
        RuntimeError: if it fails, with the end of its output.
    """
    numbers = (arguments.resets, arguments.steps, arguments.repeats)
    command = [str(python), str(PEER_SCRIPT), task, *map(str, numbers)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{python} could not time {task}:\n{done.stderr[-2000:]}")
    return Cost(**json.loads(done.stdout.strip().splitlines()[-1]))


def require_equal_paths(task: str, steps: int) -> None:
    """Compare the bridge with the package's own code.

    Raises:
        AssertionError: if a bit of a trajectory differs.
    """
    if not np.array_equal(trajectory(task, True, steps), trajectory(task, False, steps)):
        raise AssertionError(f"{task}: the trajectories of fast=True and fast=False differ")


def trajectory(task: str, fast: bool, steps: int) -> np.ndarray:
    """Return observations, rewards and costs of random actions, one step per row."""
    env = _started(task, fast)
    rows = []
    for _ in range(steps):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        rows.append(np.append(observation, (float(reward), info["cost"])))
        if terminated or truncated:
            env.reset()
    return np.array(rows)


def table_of_vector_forms(arguments: BridgedTasksArguments) -> Table:
    """Return wall times of a step of all copies, one task per row."""
    table = Table(title=f"Wall milliseconds of a step of {arguments.num_envs} copies")
    for heading in ("task", "SyncVectorEnv", "ThreadedVectorEnv", "threads / sync"):
        table.add_column(heading, justify="left" if heading == "task" else "right")
    for task in arguments.tasks:
        sync, threads = compare_vector_forms(task, arguments)
        table.add_row(
            task, f"{sync * MILLI:.2f}", f"{threads * MILLI:.2f}", f"{threads / sync:.2f}"
        )
    return table


def compare_vector_forms(task: str, arguments: BridgedTasksArguments) -> list[float]:
    """Return the least wall seconds of a step of all copies, one after another and in threads."""
    copies = [partial(gym.make, task)] * arguments.num_envs
    forms = [SyncVectorEnv(copies), ThreadedVectorEnv(copies)]
    fastest = [np.inf] * len(forms)
    for form in forms:
        form.action_space.seed(0)
        form.reset(seed=0)
    for _ in range(arguments.repeats):
        for i, form in enumerate(forms):
            actions = [form.action_space.sample() for _ in range(arguments.steps // 10)]
            began = time.perf_counter()
            for action in actions:
                form.step(action)
            fastest[i] = min(fastest[i], (time.perf_counter() - began) / len(actions))
    for form in forms:
        form.close()
    return fastest


def _started(task: str, fast: bool) -> gym.Env[Any, Any]:
    env = gym.make(task, fast=fast, disable_env_checker=True)
    env.action_space.seed(0)
    env.reset(seed=0)
    return env


if __name__ == "__main__":
    main(tyro.cli(BridgedTasksArguments, prog=shell_command("baselines.benchmarks.bridged_tasks")))
