"""Does the doctor name what is wrong with a training, and nothing where nothing is?

    python -m baselines.experiments.planted_faults

Trains 20 agents with one planted fault each, two of each of ten kinds, and ten sound ones, all with
diagnostics, and prints what `python -m baselines diagnose --explain` says first of each. The
thresholds of `baselines.diagnostics.doctor` were chosen by these trainings. A second run with the
same folder trains only what is missing.
"""

from __future__ import annotations

import gzip
import json
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from baselines.atomic_files import write_atomically
from baselines.commands.measured_training import measured
from baselines.commands.train import TrainOptions, training_job
from baselines.diagnostics.doctor import findings
from baselines.diagnostics.measured_run import MeasuredRun, read_measured_run
from baselines.experiments.faults.cases import CASES, SOUND, FaultCase
from baselines.jobs.episodic_job import EpisodicJob
from baselines.jobs.processes import run_in_processes
from baselines.jobs.run_folder import run_job
from baselines.shell_command import shell_command
from safe_envs.contract.argument_checks import check_count, check_whole


@dataclass(frozen=True)
class FaultArguments:
    """Train agents with planted faults and sound ones, and let the doctor look at them."""

    cases: tuple[str, ...] = ()
    """Names of cases, instead of all."""
    shift: int = 0
    """Added to all seeds; the thresholds were chosen with 0."""
    processes: int = 2
    """Worker processes, one thread each."""
    folder: Path = Path("runs/planted_faults")
    """Folder of the runs."""
    record: Path | None = None
    """File to keep the curves in that the doctor looked at, as compressed JSON."""


class Verdict(NamedTuple):
    """A training, and what the doctor says of it."""

    case: FaultCase
    found: tuple[str, ...]  # names of the findings, the first first

    @property
    def is_right(self) -> bool:
        """Whether the first finding is the planted fault, or there is none and should be none."""
        return (self.found[0] if self.found else SOUND) == self.case.fault


def run(arguments: FaultArguments, console: Console) -> list[Verdict]:
    """Train what is missing and print the verdicts.

    Raises:
        ValueError: for an unknown case, or a number out of range.
        RuntimeError: if a training failed.
    """
    check_count(processes=arguments.processes)
    check_whole("shift", arguments.shift, low=0)
    chosen = [
        case._replace(seed=case.seed + arguments.shift)
        for case in CASES
        if not arguments.cases or case.name in arguments.cases
    ]
    unknown = set(arguments.cases) - {case.name for case in CASES}
    if unknown:
        raise ValueError(
            f"there are no cases {sorted(unknown)}; known: {', '.join(c.name for c in CASES)}"
        )
    work = [_planned(case, arguments.folder) for case in chosen]
    missing = [one for one in work if one.job.outcome(one.folder).result is None]
    console.print(f"{len(work)} trainings, {len(missing)} of them missing")
    with closing(run_in_processes(_train, missing, arguments.processes)) as running:
        for done, unrecorded in running:
            outcome = done.job.outcome(done.folder)
            if outcome.result is None:
                raise RuntimeError(f"{done.case.name}: {unrecorded or outcome.reason}")
    verdicts = [verdict(one.case, one.folder) for one in work]
    if arguments.record is not None:
        write_atomically(arguments.record, recorded({one.case.name: one.folder for one in work}))
    console.print(table(verdicts))
    for is_sound, what in ((False, "planted faults named first"), (True, "sound ones left alone")):
        group = [one for one in verdicts if (one.case.fault == SOUND) == is_sound]
        console.print(f"{what}: {sum(one.is_right for one in group)} of {len(group)}")
    return verdicts


def verdict(case: FaultCase, folder: Path) -> Verdict:
    """Return what the doctor says of a finished training."""
    return Verdict(case, tuple(one.name for one in findings(read_measured_run(folder))))


def recorded(folders: dict[str, Path]) -> bytes:
    """Return the curves of runs as compressed JSON, from which `replayed` makes runs again."""
    kept = {}
    for name, folder in folders.items():
        run = read_measured_run(folder)
        log, measures = (
            {
                column: [float(f"{number:.6g}") for number in numbers]
                for column, numbers in t.items()
            }
            for t in (run.log, run.measures)
        )
        shown = {k: v for k, v in measures.items() if not k.startswith("layer_")}
        kept[name] = {"log": log, "measures": shown, "settings": dict(run.settings)}
    return gzip.compress(json.dumps(kept).encode(), mtime=0)


def replayed(file: Path) -> dict[str, MeasuredRun]:
    """Return the runs of a file of `recorded`, by the names of their cases."""

    def columns(table: dict[str, list[float]]) -> dict[str, np.ndarray]:
        return {name: np.array(numbers) for name, numbers in table.items()}

    found = json.loads(gzip.decompress(file.read_bytes()))
    return {
        name: MeasuredRun(columns(one["log"]), columns(one["measures"]), one["settings"], name)
        for name, one in found.items()
    }


def table(verdicts: list[Verdict]) -> Table:
    """Return the verdicts as a table."""
    shown = Table("training", "planted", "found first", "and then", title="what the doctor says")
    for one in verdicts:
        first = one.found[0] if one.found else SOUND
        mark = "" if one.is_right else " (wrong)"
        shown.add_row(one.case.name, one.case.fault, first + mark, ", ".join(one.found[1:]))
    return shown


class _Work(NamedTuple):
    case: FaultCase
    job: EpisodicJob
    folder: Path


def _planned(case: FaultCase, folder: Path) -> _Work:
    own = folder / case.name
    options = TrainOptions(
        case.agent, case.env, own, case.steps, case.seed, case.settings, eval_episodes=2
    )
    return _Work(case, training_job(options), own)


def _train(work: _Work) -> str:
    command = shell_command("baselines.experiments.planted_faults", "--cases", work.case.name)
    return run_job(work.job, work.folder, command, measured(work.folder))


def main(arguments: FaultArguments) -> None:
    """Run the experiment."""
    run(arguments, Console(width=200))


if __name__ == "__main__":
    main(tyro.cli(FaultArguments, prog=shell_command("baselines.experiments.planted_faults")))
