"""Stepping speed of the environments, as ratios measured side by side in one run.

`python -m baselines.benchmarks.environments`. For every environment: one single environment as
`gymnasium.make` gives it, stepped again and again, a Python loop over N of them, Gymnasium's
SyncVectorEnv, and the native vector form, all with resets and the full cost contract. The parts
take turns and the least CPU time of each counts, so that a busy machine slows them equally.

The robots of the velocity tasks are compared in wall time, because their native form uses threads:
with Stable-Baselines3's DummyVecEnv, SyncVectorEnv and bare calls of `mj_step`. There are
many turns of a few milliseconds, so that the fastest ran undisturbed even on a busy machine.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import gymnasium as gym
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from stable_baselines3.common.vec_env import DummyVecEnv
from threadpoolctl import threadpool_limits

import safe_envs  # noqa: F401  registers the environments
from baselines.shell_command import shell_command
from safe_envs.rendering.mujoco_package import load_mujoco
from safe_envs.velocity.env import SafetyVelocityVectorEnv
from safe_envs.velocity.physics import robot_physics

ENVIRONMENTS = (
    "Safe/CliffWorld-v0",
    "Safe/DeepSeaTreasure-v0",
    "Safe/DoubleIntegrator-v0",
    "Safe/ConstrainedRegression-v0",
)
REFERENCE = "CliffWalking-v1"  # Gymnasium's own cliff
ROBOTS = ("Ant", "HalfCheetah", "Hopper")
ROBOT_STEPS = 4  # of all copies, in one turn
ROBOT_TURNS = 10  # for each repeat


@dataclass(frozen=True)
class EnvironmentsArguments:
    """Print the speed of single, synchronous and native environments, and their ratios."""

    num_envs: int = 1024
    """Copies stepped together."""
    repeats: int = 5
    """Turns of every part; the fastest counts."""
    robots: int = 16
    """Robots stepped together in the velocity tasks."""
    tasks: Literal["all", "small", "velocity"] = "all"
    """What to measure: the velocity tasks, the other environments, or all of them."""


def main(arguments: EnvironmentsArguments) -> None:
    """Measure and print the tables."""
    console = Console(width=110)
    with threadpool_limits(1):
        if arguments.tasks != "velocity":
            print_small_environments(arguments, console)
        if arguments.tasks != "small":
            print_robots(arguments, console)


def print_small_environments(arguments: EnvironmentsArguments, console: Console) -> None:
    """Measure and print the environments without a simulator."""
    vector = Table(
        title=f"CPU microseconds per environment and step, N = {arguments.num_envs} copies"
    )
    vector.add_column("environment", no_wrap=True)
    headings = ("one alone", "loop over N", "SyncVectorEnv", "native form")
    for heading in (*headings, "alone / native", "loop / native"):
        vector.add_column(heading, justify="right")
    for env_id in ENVIRONMENTS:
        times = compare_vector_forms(env_id, arguments.num_envs, arguments.repeats)
        alone, loop, _, native = times
        ratios = (f"{alone / native:.0f}x", f"{loop / native:.0f}x")
        vector.add_row(env_id, *(f"{t:.3f}" for t in times), *ratios)
    console.print(vector)
    ours, theirs = compare_cliffs(arguments.repeats)
    single = Table(title="CPU microseconds per step, both without wrappers")
    single.add_column("environment", no_wrap=True)
    single.add_column("step", justify="right")
    single.add_column("speed", justify="right")
    single.add_row(f"{REFERENCE} of Gymnasium {gym.__version__}", f"{theirs:.2f}", "1.0x")
    single.add_row(ENVIRONMENTS[0], f"{ours:.2f}", f"{theirs / ours:.1f}x")
    console.print(single)


def compare_vector_forms(env_id: str, num_envs: int, repeats: int) -> list[float]:
    """Return the CPU microseconds of one environment's step, in the order of the headings."""
    singles = [gym.make(env_id, disable_env_checker=True) for _ in range(num_envs)]
    sync = gym.make_vec(env_id, num_envs=num_envs, vectorization_mode="sync")
    native = gym.make_vec(env_id, num_envs=num_envs)
    for seed, env in enumerate(singles):
        env.reset(seed=seed)
    sync.reset(seed=0)
    native.reset(seed=0)
    actions = native.action_space.sample()

    def alone() -> None:
        for action in actions:
            _, _, terminated, truncated, _ = singles[0].step(action)
            if terminated or truncated:
                singles[0].reset()

    def loop() -> None:
        for env, action in zip(singles, actions, strict=True):
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()

    parts: list[tuple[Callable[[], object], int]] = [
        (alone, 4),
        (loop, 4),
        (lambda: sync.step(actions), 4),
        (lambda: native.step(actions), 200),
    ]
    return [seconds / num_envs * 1e6 for seconds in fastest_turns(parts, repeats)]


def compare_cliffs(repeats: int) -> tuple[float, float]:
    """Return the CPU microseconds of a step of our cliff and of Gymnasium's."""
    parts: list[tuple[Callable[[], object], int]] = []
    for env_id in (ENVIRONMENTS[0], REFERENCE):
        env = gym.make(env_id, disable_env_checker=True).unwrapped
        env.reset(seed=0)
        actions = np.random.default_rng(0).integers(4, size=2000).tolist()

        def walk(env: gym.Env = env, actions: list[int] = actions) -> None:
            for action in actions:
                if env.step(action)[2]:
                    env.reset()

        parts.append((walk, 1))
    ours, theirs = fastest_turns(parts, 3 * repeats)
    return ours / 2000 * 1e6, theirs / 2000 * 1e6


def print_robots(arguments: EnvironmentsArguments, console: Console) -> None:
    """Measure and print the velocity tasks."""
    table = Table(
        title=f"Velocity tasks, N = {arguments.robots} robots, {os.cpu_count()} processors"
    )
    table.add_column("robot", no_wrap=True)
    headings = ("native [us]", "DummyVecEnv / native", "SyncVectorEnv / native")
    for heading in (*headings, "native / mj_step", "single / mj_step"):
        table.add_column(heading, justify="right")
    for robot in ROBOTS:
        turns = robot_turns(robot, arguments.robots, ROBOT_TURNS * arguments.repeats)
        dummy, sync, single, native, floor = turns.min(axis=1)
        table.add_row(
            robot,
            f"{native:.0f}",
            f"{dummy / native:.1f}x",
            f"{sync / native:.1f}x",
            f"{native / floor:.2f}",
            f"{single / floor:.2f}",
        )
    console.print(table)
    console.print("wall time per robot and step; mj_step: one thread, no environment around it")


def robot_turns(robot: str, num_envs: int, repeats: int) -> np.ndarray:
    """Return wall microseconds per robot and step, (5, repeats).

    Rows: DummyVecEnv, SyncVectorEnv, single environments in a loop, the native form, and `mj_step`
    times the frame skip from states that a random run met.
    """
    env_id = f"Safety{robot}Velocity-v1"
    makers: list[Callable[[], gym.Env]] = [
        partial(gym.make, env_id, disable_env_checker=True) for _ in range(num_envs)
    ]
    dummy = DummyVecEnv(makers)
    dummy.reset()
    sync = gym.vector.SyncVectorEnv(makers)
    native = gym.make_vec(env_id, num_envs=num_envs)
    singles = [make() for make in makers]
    sync.reset(seed=0)
    native.reset(seed=0)
    for seed, env in enumerate(singles):
        env.reset(seed=seed)
    actions = np.stack([native.action_space.sample() for _ in range(ROBOT_STEPS)])

    def loop() -> None:
        for row in actions:
            for env, action in zip(singles, row, strict=True):
                _, _, terminated, truncated, _ = env.step(action)
                if terminated or truncated:
                    env.reset()

    parts: list[Callable[[], object]] = [
        lambda: [dummy.step(row) for row in actions],
        lambda: [sync.step(row) for row in actions],
        loop,
        lambda: [native.step(row) for row in actions],
        bare_simulation(robot, ROBOT_STEPS * num_envs),
    ]
    seconds = np.empty((len(parts), repeats))
    for turn in range(repeats + 1):
        for part, call in enumerate(parts):
            start = time.perf_counter()
            call()
            if turn:  # the first turn warms up
                seconds[part, turn - 1] = time.perf_counter() - start
    native.close()
    return seconds / (ROBOT_STEPS * num_envs) * 1e6


def bare_simulation(robot: str, count: int) -> Callable[[], None]:
    """Return a function that takes `count` steps by `mj_step` alone, from a random run's states."""
    physics = robot_physics(robot)
    mujoco = load_mujoco()
    state = int(mujoco.mjtState.mjSTATE_INTEGRATION)
    run = SafetyVelocityVectorEnv(robot=robot, autoreset_mode="SameStep")
    run.reset(seed=0)
    data = physics.new_data()
    rows, controls = np.empty((count, physics.width)), np.empty((count, physics.model.nu))
    for row, control in zip(rows, controls, strict=True):
        control[:] = run.action_space.sample()[0]
        physics.start(data, run.state[0], row)
        run.step(control[None])

    def simulate() -> None:
        for row, control in zip(rows, controls, strict=True):
            mujoco.mj_setState(physics.model, data, row[physics.state_columns], state)
            data.ctrl[:] = control
            mujoco.mj_step(physics.model, data, physics.robot.frame_skip)

    return simulate


def fastest_turns(parts: list[tuple[Callable[[], object], int]], repeats: int) -> list[float]:
    """Return the least CPU seconds of one call of each part; the parts take turns."""
    fastest = [np.inf] * len(parts)
    for _ in range(repeats):
        for i, (call, times) in enumerate(parts):
            start = time.process_time()
            for _ in range(times):
                call()
            fastest[i] = min(fastest[i], (time.process_time() - start) / times)
    return fastest


if __name__ == "__main__":
    main(tyro.cli(EnvironmentsArguments, prog=shell_command("baselines.benchmarks.environments")))
