"""The command `evaluate`: fresh episodes of a finished run's final policy or controller."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from baselines.atomic_files import write_json
from baselines.jobs.episodic_job import EpisodicResult, evaluation_seed
from baselines.jobs.kinds import episodic_job_from, episodic_job_in
from baselines.jobs.run_folder import read_config
from baselines.names.environments import check_import
from baselines.names.own_agents import check_agent_import
from baselines.names.own_code import OwnCodeChanged
from baselines.report.episodes_section import evaluation_table
from baselines.report.printable import plain
from baselines.report.terminal_table import print_table

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
    """Import the module or file of an environment of one's own, which runs its code."""
    import_agent: bool = False
    """Import the module or file of an agent of one's own and let it load its model.zip; both can
    run code. Also needed for classes of Stable-Baselines3, whose files hold pickles."""


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
    allowed = (options.import_env, options.import_agent)
    how = (options.run_dir, options.episodes, options.seed)
    try:
        result = evaluated_again(*how, *allowed)
    except OwnCodeChanged as changed:
        told = plain(str(changed).partition(";")[0])
        console.print(f"[yellow]note:[/] {told}; the code is taken as it is now", soft_wrap=True)
        result = evaluated_again(*how, *allowed, pinned=False)
    path = options.run_dir / f"evaluation_seed_{result.stochastic.seed}.json"
    modes = {"stochastic": asdict(result.stochastic), "deterministic": asdict(result.deterministic)}
    write_json(path, modes)
    print_table(console, evaluation_table(result))
    console.print(f"episodes: {plain(str(path))}", soft_wrap=True)
    return 0


def evaluated_again(
    folder: Path,
    episodes: int,
    seed: int | None,
    import_env: bool = False,
    import_agent: bool = False,
    pinned: bool = True,
) -> EpisodicResult:
    """Return the result of a finished run with new evaluation episodes.

    The folder may come from someone else: nothing in it is executed.

    Args:
        folder: of the run.
        episodes: in each mode.
        seed: of the evaluation; None for the run's own.
        import_env: whether the code that the folder names with its environment is imported.
        import_agent: whether the code that it names with its agent is, and loads model.zip.
        pinned: whether code of one's own has to be what it was during training.

    Raises:
        ValueError: if the folder holds no finished run of a deep agent or a controller, or if code
            that it names would have to be imported.
        OwnCodeChanged: if that code has changed.
    """
    config, job = read_config(folder), episodic_job_in(folder)
    if config is None or job is None:
        raise ValueError(
            f"{folder} has no run of a deep agent or a controller; pass the folder that the "
            "command train wrote"
        )
    check_import(folder, job.env, import_env)
    check_agent_import(folder, config, import_agent)
    outcome = job.outcome(folder)
    if outcome.is_damaged:
        raise ValueError(f"{outcome.reason}; train it again")
    if outcome.result is None:
        raise ValueError(f"{folder} has no finished run: {outcome.reason}; train it first")
    playing = job if pinned else episodic_job_from(_unpinned(config))
    assert playing is not None, "only digests differ"
    again = playing.evaluate(folder, episodes, evaluation_seed(job.seed) if seed is None else seed)
    return replace(outcome.result, **again._asdict())


def _unpinned(config: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration without the digests of code of one's own."""
    env, code = config["env"], config.get("agent_code", {})
    if "code" in env:
        env = {**env, "code": {**env["code"], "sha256": ""}}
    if "place" in code:
        code = {**code, "sha256": ""}
    return {**config, "env": env, **({"agent_code": code} if code else {})}
