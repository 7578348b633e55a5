"""Makes a submission from the folders that `python -m baselines train` and `compare` write."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from baselines.jobs.episodic_job import EpisodicResult
from baselines.jobs.kinds import episodic_job_in
from baselines.jobs.stored_result import read_json_object
from baselines.measures.episode_statistics import shared_claims
from baselines.measures.learning_curve import NoEpisodeEnded, read_learning_curve
from baselines.shell_command import shell_command
from leaderboard.boards.board import MOST_POLICIES, board_of
from leaderboard.submissions.metadata import Metadata, parse_metadata
from leaderboard.submissions.submission import (
    MOST_POINTS,
    Submission,
    SubmissionRefused,
    SubmittedCurve,
    check_size,
    parse_curves,
)

META, CURVES = "meta.json", "curves.json"


def submission_of(
    folders: Sequence[Path], *, stochastic: bool, fields: Mapping[str, Any]
) -> Submission:
    """Return the submission in these folders.

    Args:
        folders: of finished runs, one per training seed, or folders that contain them; or a
            single folder with meta.json and policy_0.onnx, policy_1.onnx, ...
        stochastic: evaluate the policies as they were trained, else with their most likely actions.
        fields: of the metadata; they replace those of the runs.

    Raises:
        SubmissionRefused: if a folder contains neither, or the runs do not belong together.
        MetadataRefused: if a field of the metadata is wrong.
    """
    if len(folders) == 1 and (folders[0] / META).exists():
        return _own_files(folders[0], fields)
    runs = [run for folder in folders for run in runs_in(folder)]
    _check_boards(runs)
    results = [_result_of(run) for run in runs]
    _check_alike(results)
    _check_seeds(runs, results)
    policies = [_read_policy(run / "policy.onnx") for run in runs]
    metadata = _metadata(results, policies, stochastic, fields)
    curves = [_learning_curve(run, result) for run, result in zip(runs, results, strict=True)]
    known = tuple(curve for curve in curves if curve is not None)
    return Submission(metadata, tuple(policies), known if len(known) == len(runs) else ())


def metadata_of(fields: Mapping[str, Any]) -> Metadata:
    """Return the metadata, checked as the service checks it.

    Raises:
        MetadataRefused: if a field is wrong.
    """
    return parse_metadata(json.dumps(fields).encode())


def _own_files(folder: Path, fields: Mapping[str, Any]) -> Submission:
    files = sorted(folder.glob("policy_*.onnx"), key=lambda path: (len(path.name), path.name))
    policies = [_read_policy(path) for path in files]
    told = read_json_object(folder / META)
    told = {**told, **fields, "sha256": [hashlib.sha256(p).hexdigest() for p in policies]}
    curves = folder / CURVES
    return Submission(
        metadata_of(told),
        tuple(policies),
        parse_curves(curves.read_bytes()) if curves.exists() else (),
    )


def runs_in(folder: Path) -> list[Path]:
    """Return the folder itself if it is a run, else the runs right below it.

    Raises:
        SubmissionRefused: if there are none.
    """
    if (folder / "config.json").exists():
        return [folder]
    found = sorted(path.parent for path in folder.glob("*/config.json"))
    if not found:
        raise SubmissionRefused(
            f"{folder} has no run and no {META}; pass folders that "
            f"`{shell_command('baselines', 'train')}` wrote, or one with {META} and policy_0.onnx, "
            "policy_1.onnx, ..."
        )
    return sorted(found, key=lambda path: (len(path.name), path.name))


def _check_boards(runs: Sequence[Path]) -> None:
    """Raise ValueError if a run's environment has no board, before anything else is read."""
    for run in runs:
        job = episodic_job_in(run)
        if job is not None:
            board_of(str(job.env))


def _result_of(run: Path) -> EpisodicResult:
    job = episodic_job_in(run)
    if job is None:
        raise SubmissionRefused(f"{run} has no run of a deep agent; only those have a policy file")
    outcome = job.outcome(run)
    if outcome.is_damaged:
        raise SubmissionRefused(f"{outcome.reason}; train it again")
    if outcome.result is None:
        raise SubmissionRefused(f"{run} has no finished run: {outcome.reason}")
    if outcome.result.policy_onnx is None:
        raise SubmissionRefused(f"{run} has no policy.onnx: {outcome.result.policy_onnx_refused}")
    return outcome.result


def _check_alike(results: Sequence[EpisodicResult]) -> None:
    """Raise SubmissionRefused unless the runs are of one agent, and not too many."""
    for name in ("env", "agent", "timesteps", "hyperparameters", "limits"):
        values = {json.dumps(getattr(result, name), sort_keys=True) for result in results}
        if len(values) > 1:
            raise SubmissionRefused(
                f"the runs differ in {name} ({', '.join(sorted(values)[:3])}); a submission is one "
                "agent trained from several seeds"
            )
    if len(results) > MOST_POLICIES:
        raise SubmissionRefused(f"there are {len(results)} runs; pass at most {MOST_POLICIES}")


def _check_seeds(runs: Sequence[Path], results: Sequence[EpisodicResult]) -> None:
    """Raise SubmissionRefused if two runs have the same training seed."""
    first: dict[int, Path] = {}
    for run, result in zip(runs, results, strict=True):
        earlier = first.setdefault(result.seed, run)
        if earlier is not run:
            raise SubmissionRefused(
                f"{earlier} and {run} both have seed {result.seed}; pass one run per seed"
            )


def _read_policy(path: Path) -> bytes:
    check_size(path.stat().st_size)
    return path.read_bytes()


def _metadata(
    results: Sequence[EpisodicResult],
    policies: Sequence[bytes],
    stochastic: bool,
    fields: Mapping[str, Any],
) -> Metadata:
    first = results[0]
    measured = [run.stochastic if stochastic else run.deterministic for run in results]
    count = len(results)
    claims = shared_claims(measured)
    told = {
        "env": first.env,
        "algorithm": first.agent.rpartition(":")[2],  # of a class of one's own, its name
        "authors": ["anonymous"],
        "training_seeds": [result.seed for result in results],
        "training_steps": first.timesteps,
        "wall_seconds": sum(result.wall_seconds for result in results) / count,
        "cost_limits": first.limits,
        "suite_version": first.versions.get("safe-envs", ""),
        "framework_versions": first.versions,
        "hyperparameters": first.hyperparameters,
        "stochastic": stochastic,
        "uses_model": any(result.uses_model for result in results),
        "claim": {
            "mean_return": sum(claim.value for claim in claims) / count,
            "mean_costs": [
                sum(costs) / count for costs in zip(*(claim.costs for claim in claims), strict=True)
            ],
            "episodes": measured[0].episodes,
            "exact": claims[0].is_exact,
        },
        "consent": True,
        **fields,
        "sha256": [hashlib.sha256(content).hexdigest() for content in policies],
    }
    return metadata_of(told)


def _learning_curve(run: Path, result: EpisodicResult) -> SubmittedCurve | None:
    """Return a run's curve with at most `MOST_POINTS` points, None if it has none.

    Returns and costs have the declared discounts, as everything on a board.
    """
    try:
        curve = read_learning_curve(
            run / "progress.csv", result.agent, result.seed, result.constraint_names
        )
    except NoEpisodeEnded:
        return None
    count = len(curve.timesteps)
    chosen = np.unique(np.linspace(0, count - 1, min(count, MOST_POINTS)).round().astype(int))
    return SubmittedCurve(
        steps=tuple(curve.timesteps[chosen].tolist()),
        returns=tuple(curve.episode_return[chosen].tolist()),
        costs=tuple(map(tuple, curve.episode_cost[chosen].T.tolist())),
    )
