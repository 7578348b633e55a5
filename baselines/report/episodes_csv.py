"""The table deep_results.csv of policies evaluated in episodes."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from baselines.jobs.episodic_job import EpisodicOutcome, EpisodicResult
from baselines.measures.episode_statistics import EpisodeStatistics
from baselines.report.episodes_summary import MODES, Mode, episodes_of

CSV_COLUMNS = (
    "env",
    "agent",
    "seed",
    "status",
    "mode",
    "episodes",
    "limits",
    "mean_return",
    "mean_costs",
    "mean_violations",
    "mean_violation",
    "mean_feasible",
    "mean_plain_return",
    "mean_plain_costs",
    "mean_length",
    "exact_value",
    "exact_costs",
    "exact_violations",
    "exact_violation",
    "exact_feasible",
    "repair_rate",
    "repair_correction_mean",
    "repair_infeasible_rate",
    "uses_model",
    "timesteps",
    "cpu_seconds",
    "steps_per_cpu_second",
    "warnings",
    "error",
)


def episodes_csv(outcomes: Sequence[EpisodicOutcome]) -> str:
    """Return two CSV rows per finished run, one per mode, and one per failed run."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, CSV_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for outcome in outcomes:
        writer.writerows(_csv_rows(outcome))
    return buffer.getvalue()


def _csv_rows(outcome: EpisodicOutcome) -> list[dict[str, object]]:
    job, result = outcome.job, outcome.result
    row: dict[str, object] = {"env": str(job.env), "agent": job.agent, "seed": job.seed}
    if result is None:
        return [{**row, "status": "failed", "error": outcome.reason}]
    row |= {
        "status": "done",
        "limits": _joined(result.limits),
        "timesteps": result.timesteps,
        "cpu_seconds": result.cpu_seconds,
        "steps_per_cpu_second": result.steps_per_cpu_second,
        "warnings": len(result.warnings),
        "uses_model": result.uses_model,
    }
    return [{**row, **_measured(result, mode)} for mode in MODES]


def _measured(result: EpisodicResult, mode: Mode) -> dict[str, object]:
    episodes = episodes_of(result, mode)
    return {
        "mode": mode,
        "episodes": episodes.episodes,
        "mean_return": episodes.mean_return,
        "mean_costs": _joined(episodes.mean_costs),
        "mean_violations": _joined(episodes.violation),
        "mean_violation": max(episodes.violation),
        "mean_feasible": episodes.feasible,
        "mean_plain_return": episodes.mean_plain_return,
        "mean_plain_costs": _joined(episodes.mean_plain_costs),
        "mean_length": episodes.mean_length,
        **_repair_columns(episodes),
        **_exact_columns(episodes),
    }


def _repair_columns(episodes: EpisodeStatistics) -> dict[str, object]:
    repairs = episodes.repairs
    if repairs is None:
        return {}
    return {
        "repair_rate": repairs.rate,
        "repair_correction_mean": repairs.mean_correction,
        "repair_infeasible_rate": repairs.infeasible_rate,
    }


def _exact_columns(episodes: EpisodeStatistics) -> dict[str, object]:
    exact = episodes.exact
    if exact is None:
        return {}
    return {
        "exact_value": exact.value,
        "exact_costs": _joined(exact.costs),
        "exact_violations": _joined(exact.violation),
        "exact_violation": max(exact.violation),
        "exact_feasible": episodes.claim.feasible,
    }


def _joined(numbers: Sequence[float]) -> str:
    return ";".join(str(number) for number in numbers)
