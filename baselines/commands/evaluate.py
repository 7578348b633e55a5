"""The command `evaluate`: fresh episodes of a finished run's final policy or controller."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.markup import escape

from baselines.atomic_files import write_json
from baselines.jobs.episodic_job import EpisodicResult, evaluation_seed
from baselines.jobs.kinds import episodic_job_in
from baselines.names.environments import check_import
from baselines.report.episodes_section import evaluation_table

LARGEST_SEED = 2**32 - 1  # of an evaluation


@dataclass(frozen=True)
class EvaluateOptions:
    """Run episodes of a run's final policy and write evaluation_seed_SEED.json."""

    run_dir: Annotated[Path, tyro.conf.Positional]
    """Folder of one run, written by `train` or `compare`."""
    episodes: int = 100
    """Episodes in each mode."""
    seed: int | None = None
    """Random seed of the evaluation; training never uses the same random numbers.

    None is the run's own: the episodes of result.json again, and more of them. Runs that are
    evaluated with the same seed play the same episodes."""
    import_env: bool = False
    """Import the module of an environment "module:Id", which runs its code."""


def evaluate(options: EvaluateOptions, console: Console) -> int:
    """Evaluate both modes, write the episodes and print the summary.

    Returns:
        The exit code, 0.

    Raises:
        ValueError: if the folder holds no finished run or a number is out of range.
    """
    if options.episodes < 1 or not 0 <= (options.seed or 0) <= LARGEST_SEED:
        raise ValueError(
            f"episodes is {options.episodes} and seed {options.seed}; pass at least 1 episode and "
            f"a seed from 0 to {LARGEST_SEED}"
        )
    result = evaluated_again(options.run_dir, options.episodes, options.seed, options.import_env)
    path = options.run_dir / f"evaluation_seed_{result.stochastic.seed}.json"
    modes = {"stochastic": asdict(result.stochastic), "deterministic": asdict(result.deterministic)}
    write_json(path, modes)
    console.print(evaluation_table(result))
    console.print(f"episodes: {escape(str(path))}", soft_wrap=True)
    return 0


def evaluated_again(
    folder: Path, episodes: int, seed: int | None, import_env: bool = False
) -> EpisodicResult:
    """Return the result of a finished run with new evaluation episodes.

    The folder may come from someone else: nothing in it is executed.

    Args:
        folder: of the run.
        episodes: in each mode.
        seed: of the evaluation; None for the run's own.
        import_env: whether the module that the folder names with its environment is imported.

    Raises:
        ValueError: if the folder holds no finished run of a deep agent or a controller, or if the
            module of its environment would have to be imported.
    """
    job = episodic_job_in(folder)
    if job is None:
        raise ValueError(
            f"{folder} has no run of a deep agent or a controller; pass the folder that the "
            "command train wrote"
        )
    check_import(folder, job.env, import_env)
    outcome = job.outcome(folder)
    if outcome.is_damaged:
        raise ValueError(f"{outcome.reason}; train it again")
    if outcome.result is None:
        raise ValueError(f"{folder} has no finished run: {outcome.reason}; train it first")
    again = job.evaluate(folder, episodes, evaluation_seed(job.seed) if seed is None else seed)
    return replace(outcome.result, **again._asdict())
