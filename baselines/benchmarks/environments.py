"""Stepping speed of the environments, as ratios measured side by side in one run.

`python -m baselines.benchmarks.environments`. For every environment: one single environment as
`gymnasium.make` gives it, stepped again and again, a Python loop over N of them, Gymnasium's
SyncVectorEnv, and the native vector form, all with resets and the full cost contract. The parts
take turns and the least CPU time of each counts, so that a busy machine slows them alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

import safe_envs  # noqa: F401  registers the environments

ENVIRONMENTS = (
    "Safe/CliffWorld-v0",
    "Safe/DeepSeaTreasure-v0",
    "Safe/DoubleIntegrator-v0",
    "Safe/ConstrainedRegression-v0",
)
REFERENCE = "CliffWalking-v1"  # Gymnasium's own cliff


@dataclass(frozen=True)
class Arguments:
    """Print the speed of single, synchronous and native environments, and their ratios."""

    num_envs: int = 1024
    """Copies stepped together."""
    repeats: int = 5
    """Turns of every part; the fastest counts."""


def main(arguments: Arguments) -> None:
    """Measure and print both tables."""
    console = Console(width=110)
    with threadpool_limits(1):
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
    main(tyro.cli(Arguments))
