"""Cross-check of `baselines.measures.statistics` against rliable, in a separate interpreter.

`python -m baselines.benchmarks.statistics_against_rliable --rliable-python PATH`. rliable 1.2.0
cannot be imported together with pandas 3, so it needs its own environment:

    python3.11 -m venv rliable-env
    rliable-env/bin/python -m pip install "rliable==1.2.0" "arch==7.2.0" "pandas<3"

Interquartile mean, profile and probability of improvement must agree up to rounding. The bounds
of bootstrap intervals come from different random numbers; they must agree within a few of their
own standard errors, which are measured by repeating both bootstraps.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from baselines.measures.statistics import (
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
    stratified_bootstrap_interval,
)
from baselines.shell_command import shell_command

SHAPES = ((5, 1), (5, 3), (10, 5), (7, 4))  # (seeds, tasks)
EXACT = 1e-12  # largest difference of what involves no random numbers
STANDARD_ERRORS = 4.5  # largest difference of a mean bound, in its standard errors

RLIABLE_SIDE = """
import json, sys
import numpy as np
from rliable import library, metrics

request = json.load(sys.stdin)
np.random.seed(request["seed"])  # rliable draws from the global generator
levels = np.array(request["thresholds"])
iqm = lambda x: np.array([metrics.aggregate_iqm(x)])
answers = []
for case in request["cases"]:
    first, second = np.array(case["first"]), np.array(case["second"])
    bounds = []
    for _ in range(request["repeats"]):
        _, intervals = library.get_interval_estimates(
            {"a": first}, iqm, reps=request["resamples"])
        bounds.append(intervals["a"].ravel().tolist())
    profile, intervals = library.create_performance_profile(
        {"a": first}, levels, reps=request["resamples"])
    answers.append({
        "iqm": float(metrics.aggregate_iqm(first)),
        "bounds": bounds,
        "profile": profile["a"].tolist(),
        "profile_bounds": intervals["a"].tolist(),
        "improvement": float(metrics.probability_of_improvement(first, second)),
    })
json.dump(answers, sys.stdout)
"""


@dataclass(frozen=True)
class RliableArguments:
    """Compare the statistics with rliable's on random scores, and fail if they differ."""

    rliable_python: Path
    """Interpreter that can import rliable."""
    resamples: int = 2000
    """Resamples of every bootstrap."""
    repeats: int = 8
    """Bootstraps of the interquartile mean on either side."""
    seed: int = 0
    """Random seed of the scores and of both bootstraps."""


@dataclass(frozen=True)
class Agreement:
    """Largest differences on one pair of score matrices."""

    shape: tuple[int, int]  # (seeds, tasks)
    iqm: float
    profile: float
    improvement: float
    bound: float  # of the mean bounds of the interquartile mean
    bound_errors: float  # the same in standard errors
    width: float  # of the interval, to compare with
    profile_bound: float  # of the bounds of the profile, as fractions of all runs

    @property
    def is_good(self) -> bool:
        """Whether all differences are explained by rounding or chance."""
        exact = max(self.iqm, self.profile, self.improvement) <= EXACT
        one_run = 1.0 / (self.shape[0] * self.shape[1])  # the step of a resampled profile
        return (
            exact and self.bound_errors <= STANDARD_ERRORS and self.profile_bound <= 1.01 * one_run
        )


def main(arguments: RliableArguments) -> int:
    """Print the agreement; return 1 if something differs."""
    rng = np.random.default_rng(arguments.seed)
    cases = [random_scores(shape, rng) for shape in SHAPES]
    thresholds = np.linspace(-1.0, 3.0, 17)
    answers = ask_rliable(arguments, cases, thresholds)
    found = [
        compare(case, thresholds, answer, arguments, rng)
        for case, answer in zip(cases, answers, strict=True)
    ]
    Console(width=110).print(_table(found, arguments))
    return 0 if all(agreement.is_good for agreement in found) else 1


def random_scores(
    shape: tuple[int, int], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return two score matrices (seeds, tasks), rounded so that some scores are equal."""
    first = rng.normal(1.0, 0.6, size=shape)
    second = rng.normal(0.8, 0.6, size=(shape[0] + 1, shape[1]))
    return np.round(first, 1), np.round(second, 1)


def ask_rliable(
    arguments: RliableArguments,
    cases: list[tuple[np.ndarray, np.ndarray]],
    thresholds: np.ndarray,
) -> list[dict[str, object]]:
    """Return rliable's answers, one per case.

    Raises:
        ValueError: if the other interpreter fails.
    """
    request = {
        "seed": arguments.seed,
        "resamples": arguments.resamples,
        "repeats": arguments.repeats,
        "thresholds": thresholds.tolist(),
        "cases": [{"first": a.tolist(), "second": b.tolist()} for a, b in cases],
    }
    done = subprocess.run(
        [str(arguments.rliable_python), "-c", RLIABLE_SIDE],
        input=json.dumps(request),
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ValueError(
            f"{arguments.rliable_python} failed: {reason}; it must be able to import rliable; "
            "create the environment as described at the top of this module"
        )
    answers: list[dict[str, object]] = json.loads(done.stdout)
    return answers


def compare(
    case: tuple[np.ndarray, np.ndarray],
    thresholds: np.ndarray,
    answer: Mapping[str, object],
    arguments: RliableArguments,
    rng: np.random.Generator,
) -> Agreement:
    """Return how far our statistics of one case lie from rliable's."""
    first, second = case
    ours = np.array(
        [
            stratified_bootstrap_interval(
                first, interquartile_mean, rng=rng, resamples=arguments.resamples
            )
            for _ in range(arguments.repeats)
        ]
    )  # (repeats, 2)
    theirs = np.asarray(answer["bounds"])  # (repeats, 2)
    difference = np.abs(ours.mean(axis=0) - theirs.mean(axis=0))
    variances = ours.var(axis=0, ddof=1) + theirs.var(axis=0, ddof=1)
    errors = np.sqrt(variances / arguments.repeats)
    band = stratified_bootstrap_interval(
        first,
        lambda scores: performance_profile(scores, thresholds),
        rng=rng,
        resamples=arguments.resamples,
    )
    profile = performance_profile(first, thresholds)
    return Agreement(
        shape=(first.shape[0], first.shape[1]),
        iqm=abs(interquartile_mean(first) - float(np.asarray(answer["iqm"]))),
        profile=float(np.abs(profile - np.asarray(answer["profile"])).max()),
        improvement=abs(
            probability_of_improvement(first, second) - float(np.asarray(answer["improvement"]))
        ),
        bound=float(difference.max()),
        bound_errors=float((difference / np.maximum(errors, EXACT)).max()),
        width=float(np.diff(ours.mean(axis=0))[0]),
        profile_bound=float(np.abs(band - np.asarray(answer["profile_bounds"])).max()),
    )


def _table(found: list[Agreement], arguments: RliableArguments) -> Table:
    table = Table(title=f"largest differences from rliable, {arguments.resamples} resamples")
    table.add_column("seeds x tasks", no_wrap=True)
    headings = ("IQM", "profile", "P(better)", "IQM bound", "its errors", "width", "profile bound")
    for heading in (*headings, "agrees"):
        table.add_column(heading, justify="right")
    for row in found:
        table.add_row(
            f"{row.shape[0]} x {row.shape[1]}",
            *(f"{x:.1e}" for x in (row.iqm, row.profile, row.improvement, row.bound)),
            f"{row.bound_errors:.1f}",
            f"{row.width:.3f}",
            f"{row.profile_bound:.3f}",
            "yes" if row.is_good else "NO",
        )
    return table


if __name__ == "__main__":
    sys.exit(
        main(
            tyro.cli(
                RliableArguments,
                prog=shell_command("baselines.benchmarks.statistics_against_rliable"),
            )
        )
    )
