"""Time of a step as a learner reads it beside the step of the environments alone.

`python -m baselines.benchmarks.learner_step`. Two native vector environments of one id take the
same actions in turns. The first is stepped bare. The second is stepped as Stable-Baselines3's
VecEnv, and reward and costs are read and checked, as the agents do at every step. Medians and
minima of the wall times, and their ratios, leave out the rare steps that end episodes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from agents.gymnasium_vec_env import GymnasiumVecEnv
from agents.rollout import checked_signals
from agents.training_env import make_vec_env
from baselines.shell_command import shell_command

COUNTS = (64, 1024)  # environments


@dataclass(frozen=True)
class LearnerStepArguments:
    """Print the time of a step alone and as a learner reads it, and their ratio."""

    env: str = "Safe/DoubleIntegrator-v0"
    """Id of an environment that has a native vector form."""
    steps: int = 4000
    """Steps of each of the two, in turns."""


class Times(NamedTuple):
    """Wall times of each step [s]."""

    bare: np.ndarray  # (steps,)
    read: np.ndarray  # (steps,)


def measure(env_id: str, num_envs: int, steps: int) -> Times:
    """Return the times of the bare step and of the step that is read, taken in turns."""
    bare, read = (_made(env_id, num_envs) for _ in range(2))
    actions = np.stack([read.action_space.sample() for _ in range(num_envs)])
    num_constraints = len(read.constraints)
    times = []
    for _ in range(steps):
        began = time.perf_counter()
        bare.venv.step(actions)
        between = time.perf_counter()
        _, rewards, _, infos = read.step(actions)
        checked_signals(rewards, infos, num_constraints, "the benchmark")
        times.append((between - began, time.perf_counter() - between))
    return Times(*np.array(times).T)


def _made(env_id: str, num_envs: int) -> GymnasiumVecEnv:
    venv = make_vec_env(env_id, num_envs)
    if not isinstance(venv, GymnasiumVecEnv):
        raise ValueError(f"{env_id} has no native vector form; choose an environment that has one")
    venv.seed(0)
    venv.reset()
    return venv


def table(env_id: str, measured: dict[int, Times]) -> Table:
    """Return a row for every number of environments."""
    found = Table(title=f"{env_id}: wall microseconds per step of all environments, one thread")
    for heading in ("environments", "", "bare step", "step as read", "read / bare"):
        found.add_column(heading, justify="right")
    for num_envs, times in measured.items():
        for name, statistic in (("median", np.median), ("minimum", np.min)):
            bare, read = (float(statistic(seconds)) * 1e6 for seconds in times)
            found.add_row(f"{num_envs}", name, f"{bare:.1f}", f"{read:.1f}", f"{read / bare:.2f}")
    return found


def main(arguments: LearnerStepArguments) -> None:
    """Measure and print."""
    with threadpool_limits(1):
        measured = {n: measure(arguments.env, n, arguments.steps) for n in COUNTS}
    Console(width=110).print(table(arguments.env, measured))


if __name__ == "__main__":
    main(tyro.cli(LearnerStepArguments, prog=shell_command("baselines.benchmarks.learner_step")))
