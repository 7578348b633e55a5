"""The command `evaluate`: fresh episodes of a finished run's final policy or controller."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.markup import escape

from baselines.atomic_files import write_json
from baselines.jobs.episodic_job import EVALUATION_SEED, EpisodicResult
from baselines.jobs.kinds import episodic_job_from
from baselines.jobs.run_folder import read_config
from baselines.report.episodes_section import evaluation_table


@dataclass(frozen=True)
class EvaluateOptions:
    """Run fresh episodes of a run's final policy and write evaluation_seed_SEED.json."""

    run_dir: Annotated[Path, tyro.conf.Positional]
    """Folder of one run, written by `train` or `compare`."""
    episodes: int = 100
    """Episodes in each mode."""
    seed: int = EVALUATION_SEED
    """Random seed of the evaluation; training never uses the same random numbers."""


def evaluate(options: EvaluateOptions, console: Console) -> int:
    """Evaluate both modes, write the episodes and print the summary.

    Returns:
        The exit code, 0.

    Raises:
        ValueError: if the folder holds no finished run or a number is out of range.
    """
    if options.episodes < 1 or options.seed < 0:
        raise ValueError(
            f"episodes is {options.episodes} and seed {options.seed}; pass at least 1 episode and "
            "a seed >= 0"
        )
    result = evaluated_again(options.run_dir, options.episodes, options.seed)
    path = options.run_dir / f"evaluation_seed_{options.seed}.json"
    modes = {"stochastic": asdict(result.stochastic), "deterministic": asdict(result.deterministic)}
    write_json(path, modes)
    console.print(evaluation_table(result))
    console.print(f"episodes: {escape(str(path))}", soft_wrap=True)
    return 0


def evaluated_again(folder: Path, episodes: int, seed: int) -> EpisodicResult:
    """Return the result of a finished run with new evaluation episodes.

    Raises:
        ValueError: if the folder holds no finished run of a deep agent or a controller.
    """
    job = episodic_job_from(read_config(folder))
    if job is None:
        raise ValueError(
            f"{folder} has no run of a deep agent or a controller; pass the folder that the "
            "command train wrote"
        )
    outcome = job.outcome(folder)
    if outcome.result is None:
        raise ValueError(f"{folder} has no finished run: {outcome.reason}; train it first")
    again = job.evaluate(folder, episodes, seed)
    return replace(outcome.result, **again._asdict())
