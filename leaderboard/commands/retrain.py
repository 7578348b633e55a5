"""Repeats the training of a run and compares the policy that comes out with the submitted one."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from baselines.jobs.episodic_job import EpisodicJob, EpisodicResult
from baselines.jobs.kinds import episodic_job_in
from baselines.jobs.run_folder import attempt, read_config, versions
from baselines.jobs.stored_result import read_json_object
from baselines.names.environments import check_import
from baselines.names.own_agents import check_agent_import
from leaderboard.boards.board import Board, board_of
from leaderboard.evaluation.fingerprints import asked_policy, fingerprint_of, measured_distances
from leaderboard.scores.behavior import NEAR
from leaderboard.store.seasons import PUBLIC_SECRET
from leaderboard.submissions.from_runs import runs_in

POLICY = "policy.onnx"


def retrain(
    folders: Sequence[Path],
    seed: int | None,
    console: Console,
    *,
    import_env: bool = False,
    import_agent: bool = False,
) -> bool:
    """Repeat one training in a temporary folder and say whether the same policy comes out.

    The folders may come from someone else: nothing in them is executed.

    Args:
        folders: of finished runs, or folders that contain them.
        seed: of the run to repeat; None for the first one.
        console: to print to.
        import_env: whether the code that a folder names with its environment may be imported.
        import_agent: whether the code that a folder names with its agent may be imported.

    Raises:
        ValueError: if there is no such run, it cannot be repeated, or its code may not be imported.
        PolicyRefused, PolicyFailed: if a policy is not a valid one.
    """
    folder, job = _chosen(folders, seed)
    config = read_config(folder) or {}
    check_import(folder, job.env, import_env)
    check_agent_import(folder, config, import_agent)
    board = board_of(str(job.env))
    result = _result_of(folder, job)
    submitted = (folder / POLICY).read_bytes()
    _announce(folder, job, result, console)
    repeated = _trained_again(job, console)
    return _told(board, submitted, repeated, _differing_versions(folder, result), console)


def _chosen(folders: Sequence[Path], seed: int | None) -> tuple[Path, EpisodicJob]:
    jobs: dict[int, tuple[Path, EpisodicJob]] = {}
    for run in [run for folder in folders for run in runs_in(folder)]:
        job = episodic_job_in(run)
        if job is not None and job.total_timesteps > 0:
            jobs.setdefault(job.seed, (run, job))
    if not jobs:
        raise ValueError(
            "none of the folders has the config.json of a training; only a training can be repeated"
        )
    if seed is None:
        return next(iter(jobs.values()))
    if seed not in jobs:
        raise ValueError(
            f"no run has the training seed {seed}; the runs have {', '.join(map(str, jobs))}"
        )
    return jobs[seed]


def _result_of(folder: Path, job: EpisodicJob) -> EpisodicResult:
    outcome = job.outcome(folder)
    if outcome.result is None:
        raise ValueError(f"{folder} has no finished run to compare with: {outcome.reason}")
    if outcome.result.policy_onnx is None:
        raise ValueError(f"{folder} has no {POLICY}: {outcome.result.policy_onnx_refused}")
    return outcome.result


def _announce(folder: Path, job: EpisodicJob, result: EpisodicResult, console: Console) -> None:
    command = read_json_object(folder / "config.json").get("command", "")
    console.print(
        f"repeats the training of seed {job.seed}: {escape(job.agent)} on {escape(str(job.env))}, "
        f"{job.total_timesteps:,} steps, {result.cpu_seconds:,.0f} CPU seconds the first time",
        soft_wrap=True,
    )
    if isinstance(command, str) and command:
        console.print(f"its command was: {escape(command)}", soft_wrap=True)


def _trained_again(job: EpisodicJob, console: Console) -> bytes:
    """Return the policy of another training with the same settings and seed."""
    from baselines.commands.progress_display import ProgressDisplay  # PyTorch

    with tempfile.TemporaryDirectory() as place:
        display = ProgressDisplay(console, f"{job.agent}, seed {job.seed}", job.total_timesteps)
        failure = attempt(job, Path(place), "verify --retrain", display)
        if failure is not None:
            display.stop()
            raise ValueError(f"the training cannot be repeated: {failure.reason}")
        file = Path(place) / POLICY
        if not file.exists():
            raise ValueError("the training was repeated but its policy cannot be exported here")
        return file.read_bytes()


def _told(
    board: Board, submitted: bytes, repeated: bytes, versions_told: str, console: Console
) -> bool:
    """Print what the comparison found in one line; return whether both are the same policy."""
    with (
        asked_policy(board, submitted, False) as first,
        asked_policy(board, repeated, False) as other,
    ):
        first.stochastic = first.process.signature.has_distribution
        other.stochastic = other.process.signature.has_distribution
        is_same = first.form.digest == other.form.digest
        known = fingerprint_of(first, PUBLIC_SECRET)
        distance = float(measured_distances(other, [known]).behavior[0])
    if is_same:
        told = "the training was repeated and gave the submitted policy exactly"
    elif distance < NEAR:
        told = (
            f"the training was repeated and gave nearly the submitted policy (distance "
            f"{distance:.2g}); other processors or versions round differently"
        )
    else:
        told = (
            f"the training was repeated and gave another policy (distance {distance:.2g}; below "
            f"{NEAR:g} counts as the same); the settings in the folder do not explain it"
        )
    console.print(told + versions_told, soft_wrap=True)
    return is_same or distance < NEAR


def _differing_versions(folder: Path, result: EpisodicResult) -> str:
    """Return which packages differ from those of the run, to put behind the outcome."""
    then: Mapping[str, Any] = result.versions
    now = versions([name for name in then if name != "python"])
    differing = [
        f"{name} {then[name]} then, {now[name]} now" for name in then if now.get(name) != then[name]
    ]
    return f" (versions differ: {escape('; '.join(differing[:5]))})" if differing else ""
