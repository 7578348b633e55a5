"""Do agents learn alike, whether NumPy or PyTorch computes their updates?

    python -m baselines.experiments.update_backends

Trains agents with both values of `update_backend` from the same seeds, and compares return and cost
of the final policies and of the end of the learning curves by permutation tests over the seeds. It
also measures how far the parameters are apart after the first update. A second run with the same
folder does only what is missing, and trainings go on from their checkpoints.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from baselines.atomic_files import write_json
from baselines.commands.comparison_plan import CompareOptions, plan
from baselines.experiments.backends.differences import (
    BACKENDS,
    NUMBERS,
    BackendDifference,
    Results,
    TrainedCase,
    all_differences,
    joint_p_value,
    verdict,
)
from baselines.experiments.backends.first_update import FirstUpdate, measured_first_update
from baselines.experiments.trained.missing_runs import train_missing
from baselines.experiments.trained.shown_numbers import digits_for, shown_mean
from baselines.jobs.folder_lock import locked
from baselines.jobs.interruption import Interrupted, watched_signals
from baselines.jobs.job import Job, job_folder
from baselines.measures.learning_curve import read_learning_curve
from baselines.measures.statistics import standard_error
from baselines.shell_command import shell_command
from safe_envs.contract.argument_checks import check_whole

SEA, HOPPER = "Safe/DeepSeaTreasure-v0", "SafetyHopperVelocity-v1"
LATE = 0.2  # the part at the end of the learning curve
CLOSE = 1e-5  # asked of the parameters after one update, relative


@dataclass(frozen=True)
class BackendArguments:
    """Train agents with both backends, and test whether they differ."""

    agents: tuple[str, ...] = ("PPOLag", "SPMAALM", "PPOPID")
    """Names of deep agents; their hyperparameters are those of `compare`."""
    timesteps_sea: int = 60_000
    """Environment steps per run on Safe/DeepSeaTreasure-v0; 0 leaves it out."""
    timesteps_hopper: int = 100_000
    """Environment steps per run on SafetyHopperVelocity-v1; 0 leaves it out."""
    seeds: int = 5
    """Seeds of each agent, from 0 on, the same with both backends."""
    processes: int = 2
    """Worker processes, one thread each."""
    folder: Path = Path("runs/update_backends")
    """Folder of the runs, first_updates/ and summary.json."""

    @property
    def timesteps(self) -> dict[str, int]:
        """Steps per run on each environment that is not left out."""
        given = {SEA: self.timesteps_sea, HOPPER: self.timesteps_hopper}
        return {env: steps for env, steps in given.items() if steps}

    def command(self) -> str:
        """Return the shell command with these options."""
        words = ["--agents", *self.agents, "--timesteps-sea", str(self.timesteps_sea)]
        words += ["--timesteps-hopper", str(self.timesteps_hopper), "--seeds", str(self.seeds)]
        words += ["--processes", str(self.processes), "--folder", str(self.folder)]
        return shell_command("baselines.experiments.update_backends", *words)


@dataclass(frozen=True)
class BackendTraining:
    """One run with one backend."""

    backend: str
    job: Job
    folder: Path
    command: str

    @property
    def case(self) -> TrainedCase:
        """What is trained."""
        return TrainedCase(self.job.env.id, self.job.agent)

    @property
    def shown(self) -> str:
        """The training in words."""
        return f"{self.job.agent} on {self.job.env}, seed {self.job.seed}, {self.backend}"


def planned(arguments: BackendArguments) -> list[BackendTraining]:
    """Return the trainings with both backends on all environments.

    Raises:
        ValueError: for an unknown agent or a number out of range.
    """
    trainings = []
    for env, steps in arguments.timesteps.items():
        for backend in BACKENDS:
            options = CompareOptions(
                envs=(env,),
                agents=arguments.agents,
                out=arguments.folder / backend,
                seeds=tuple(range(arguments.seeds)),
                total_timesteps=steps,
                workers=arguments.processes,
                overrides=tuple(f"{agent}.update_backend={backend}" for agent in arguments.agents),
            )
            for job in plan(options).jobs:
                folder = job_folder(options.out, job)
                trainings.append(BackendTraining(backend, job, folder, arguments.command()))
    return trainings


def run(arguments: BackendArguments, console: Console) -> int:
    """Train and measure what is missing, print and write the comparison.

    Returns:
        The exit code: 0, 1 if a training failed, 130 if interrupted, 143 after SIGTERM.

    Raises:
        ValueError: for an unknown agent, a number out of range, or a folder in use.
    """
    check_whole("seeds", arguments.seeds, low=2)
    if not arguments.timesteps:
        raise ValueError("timesteps-sea and timesteps-hopper are 0; pass steps for at least one")
    trainings = planned(arguments)
    try:
        with locked(arguments.folder, arguments.command()), watched_signals():
            has_failed = bool(train_missing(trainings, arguments.processes, console))
            updates = {} if has_failed else first_updates(trainings, arguments.folder)
    except Interrupted as stop:
        console.print("interrupted; the same command does the rest")
        return stop.exit_code
    if has_failed:
        console.print("no comparison, as trainings failed; the same command runs them again")
        return 1
    found = results(trainings)
    differences, joint = all_differences(found), joint_p_value(found)
    shown = {
        "differences": [one.as_json() for one in differences],
        "joint_p_value": joint,
        "first_updates": [case._asdict() | one._asdict() for case, one in updates.items()],
    }
    write_json(arguments.folder / "summary.json", shown)
    for env in arguments.timesteps:
        console.print(table(env, [one for one in differences if one.case.env == env]))
    console.print(verdict(differences, joint, arguments.seeds), soft_wrap=True)
    console.print(first_update_table(updates))
    return 0


def results(trainings: Sequence[BackendTraining]) -> Results:
    """Return what finished trainings reached, (seeds, numbers) by case and backend."""
    rows: dict[TrainedCase, dict[str, list[list[float]]]] = {}
    for one in trainings:
        rows.setdefault(one.case, {}).setdefault(one.backend, []).append(_reached(one))
    return {case: {b: np.array(r) for b, r in found.items()} for case, found in rows.items()}


def _reached(training: BackendTraining) -> list[float]:
    """Return the numbers of one finished training; its policy acts as it was trained."""
    job, folder = training.job, training.folder
    result = job.outcome(folder).result
    assert result is not None, "failed trainings are not compared"
    final = result.stochastic.claim
    progress = folder / "progress.csv"
    curve = read_learning_curve(progress, job.agent, job.seed, result.constraint_names)
    late = curve.timesteps > (1.0 - LATE) * curve.timesteps[-1]
    costs = curve.episode_cost[late, 0]
    return [final.value, final.costs[0], curve.episode_return[late].mean(), costs.mean()]


def table(env: str, differences: Sequence[BackendDifference]) -> Table:
    """Return the numbers of one environment as a table, mean +- standard error over seeds."""
    shown = Table("agent", "backend", *NUMBERS)
    shown.title = (
        f"{env}: the final policy, and the last {LATE:.0%} of the learning curve; "
        f"mean +- standard error over {len(differences[0].torch)} seeds"
    )
    for agent in dict.fromkeys(one.case.agent for one in differences):
        own = [one for one in differences if one.case.agent == agent]
        for backend in BACKENDS:
            shown.add_row(agent, backend, *(shown_mean(one.by_backend()[backend]) for one in own))
        shown.add_row(agent, "numpy - torch", *map(_difference, own), end_section=True)
    return shown


def first_updates(
    trainings: Sequence[BackendTraining], folder: Path
) -> dict[TrainedCase, FirstUpdate]:
    """Return the distances after the first update of the first seed; measure what is missing.

    Args:
        trainings: with both backends.
        folder: of the experiment.
    """
    first = [one for one in trainings if one.job.seed == 0]
    torch_jobs, numpy_jobs = (
        {one.case: one.job for one in first if one.backend == name} for name in BACKENDS
    )
    updates = {}
    for case, job in torch_jobs.items():
        file = folder / "first_updates" / job.env.slug / f"{job.agent}.json"
        config = job.record.config
        stored = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        if stored.get("config") != json.loads(json.dumps(config)):
            found = measured_first_update(job, numpy_jobs[case])
            stored = {"config": config, "first_update": found._asdict()}
            file.parent.mkdir(parents=True, exist_ok=True)
            write_json(file, stored)
        updates[case] = FirstUpdate(**stored["first_update"])
    return updates


def first_update_table(updates: Mapping[TrainedCase, FirstUpdate]) -> Table:
    """Return the distances after the first update as a table."""
    shown = Table("environment", "agent", "of parameters", "of their change", f"<= {CLOSE:g}")
    shown.title = "first update: largest difference, relative to the largest number of its tensor"
    for case, one in updates.items():
        is_close = "yes" if one.of_parameters <= CLOSE else "NO"
        shown.add_row(*case, f"{one.of_parameters:.1e}", f"{one.of_change:.1e}", is_close)
    return shown


def _difference(one: BackendDifference) -> str:
    digits = digits_for(float(one.torch.mean()))
    difference = float(one.numpy.mean() - one.torch.mean())
    error = math.hypot(standard_error(one.numpy), standard_error(one.torch))
    mark = " *" if one.is_significant else ""
    told = f"{difference:+.{digits}f} +- {error:.{digits}f}"
    tests = f"p {one.p_value:.3f}, Holm {one.adjusted:.3f}{mark}"
    return f"{told}\n{tests}\nin a seed <= {one.largest_in_a_seed:.2g}"


def main(arguments: BackendArguments) -> int:
    """Run the experiment and return the exit code."""
    return run(arguments, Console(width=150))


if __name__ == "__main__":
    prog = shell_command("baselines.experiments.update_backends")
    sys.exit(main(tyro.cli(BackendArguments, prog=prog)))
