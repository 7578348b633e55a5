"""What the report shows about policies evaluated in episodes on one environment."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from rich.table import Table

from baselines.jobs.episodic_job import EpisodicOutcome, EpisodicResult
from baselines.jobs.job import Category, job_folder
from baselines.measures.episode_statistics import PolicyValues, shared_claims
from baselines.measures.learning_curve import FinalPolicy, LearningCurve, read_learning_curve
from baselines.names.environments import EnvironmentName
from baselines.report.episodes_summary import (
    KINDS,
    MODES,
    EpisodesSummary,
    Kind,
    Mode,
    ModeSummary,
    SeedSummary,
    episodes_of,
    summarize_episodic,
)
from baselines.report.learning_curve_plots import draw_learning_curves, named_sum
from baselines.report.pareto_plot import draw_pareto
from baselines.report.printable import plain
from baselines.report.result_lines import KnownOptimum, ResultLine
from baselines.report.style import AgentStyle, styles_of
from baselines.report.svg_panels import panel_svgs
from baselines.report.terminal_table import name_columns, number_columns
from safe_envs.tabular.model import TabularCMDP

CATEGORIES: dict[Category, str] = {
    "deep agent": "deep agents",
    "controller": "controllers",
    "finished policy": "finished policies",
}
LONGEST_NAME = 10  # letters of an agent on one line of a table of 80 columns


@dataclass(frozen=True)
class EpisodesSection:
    """Plots and summaries of deep agents, controllers and finished policies on one environment."""

    name: str
    rows: Sequence[EpisodesSummary]
    outcomes: Sequence[EpisodicOutcome]
    constraint_names: Sequence[str]
    limits: Sequence[float]
    reward_discount: float
    cost_discounts: Sequence[float]
    episodes: int  # of either evaluation
    curves: Sequence[str]  # panels, SVG text; none if there is nothing to draw
    pareto: Sequence[str]  # SVG text, one per constraint
    notes: Sequence[str]  # what is missing in the plots

    template: ClassVar[str] = "episodes.html.jinja"

    @property
    def heading(self) -> str:
        """What kinds of agents there are."""
        found = {outcome.job.category for outcome in self.outcomes}
        shown = [words for category, words in CATEGORIES.items() if category in found]
        *first, last = shown
        return (", ".join(first) + " and " + last if first else last).capitalize()

    @property
    def has_exact(self) -> bool:
        """Whether there are values by a tabular model."""
        return any(row.stochastic and row.stochastic.exact is not None for row in self.rows)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of values that the tables show; what counts comes first."""
        return KINDS if self.has_exact else ("sampled",)

    @property
    def sums(self) -> str:
        """How returns and costs are summed."""
        return sums_in_words(self.reward_discount, self.cost_discounts)

    @property
    def known_optimum(self) -> KnownOptimum | None:
        """None: episodes alone do not show it."""
        return None

    def results(self) -> list[ResultLine]:
        """Return a line per agent, about its policies as they were trained."""
        return [self._result(row) for row in self.rows]

    def tables(self) -> list[Table]:
        """Return a table of the agents per mode for the terminal, each fitting 80 columns."""
        return [_mode_table(self, mode) for mode in MODES]

    def _result(self, row: EpisodesSummary) -> ResultLine:
        found = [o.result for o in self.outcomes if o.job.agent == row.agent]
        claims = shared_claims([result.stochastic for result in found if result is not None])
        limits = np.array(self.limits)
        return ResultLine(
            agent=row.agent,
            value=row.stochastic.claim.iqm_return if row.stochastic else float("nan"),
            margins=tuple(float(np.max(np.array(claim.costs) - limits)) for claim in claims),
            runs=row.seeds,
            limits=tuple(self.limits),
            discount=self.reward_discount,
            is_exact=bool(claims) and claims[0].is_exact,
        )


def episodes_section(
    out: Path,
    env: EnvironmentName,
    cmdp: TabularCMDP | None,
    outcomes: Sequence[EpisodicOutcome],
    everywhere: Sequence[EpisodicOutcome],
) -> EpisodesSection | None:
    """Draw the plots and return the section; None without outcomes.

    Args:
        out: folder of the comparison.
        env: the environment.
        cmdp: its tabular model, not used here.
        outcomes: of the agents on it that play episodes, failed ones included.
        everywhere: those on all environments, on which agents look the same.
    """
    if not outcomes:
        return None
    results = [outcome.result for outcome in outcomes if outcome.result is not None]
    first = results[0] if results else None
    stem = out / "plots" / env.slug
    styles = _styles(everywhere)
    notes: list[str] = []
    return EpisodesSection(
        name=str(env),
        rows=summarize_episodic(outcomes),
        outcomes=outcomes,
        constraint_names=first.constraint_names if first else [],
        limits=first.limits if first else [],
        reward_discount=first.reward_discount if first else 1.0,
        cost_discounts=first.cost_discounts if first else [],
        episodes=outcomes[0].job.evaluation_episodes,
        curves=_draw_curves(out, env, outcomes, stem, notes, styles),
        pareto=_draw_pareto(env, results, stem, styles),
        notes=notes,
    )


def evaluation_table(result: EpisodicResult) -> Table:
    """Return the evaluation of one run, by mode and constraint: exact values, and sampled ones."""
    title = f"{plain(result.agent)} on {plain(result.env)}, seed {result.seed}"
    sums = sums_in_words(result.reward_discount, result.cost_discounts)
    count = result.stochastic.episodes
    told = f"{count} sampled episode{'' if count == 1 else 's'} each; {sums}"
    told += "".join(
        f"\n{mode}: {episodes.repairs}"
        for mode, episodes in ((mode, episodes_of(result, mode)) for mode in MODES)
        if episodes.repairs is not None
    )
    table = Table(title=title, title_justify="left", caption=told, caption_justify="left")
    name_columns(table, "policy")
    number_columns(table, "return", "cost", "limit", "violation", "P90", "worst", "length")
    for mode in MODES:
        episodes = episodes_of(result, mode)
        for i, name in enumerate(result.constraint_names):
            label = mode if len(result.limits) == 1 else f"{mode}, {plain(name)}"
            tails, length = episodes.cost_tails[i], f"{episodes.mean_length:.1f}"
            measured = [f"{tails.p90:.4g}", f"{tails.worst:.4g}", length]
            if episodes.exact is not None:
                exact = _claim_cells(episodes.claim, i, result.limits[i])
                table.add_row(f"{label}, exact", *exact, "", "", "")
                label = f"{label}, sampled"
            table.add_row(label, *_claim_cells(episodes.sampled, i, result.limits[i]), *measured)
    return table


def _claim_cells(claim: PolicyValues, constraint: int, limit: float) -> list[str]:
    cost, violation = claim.costs[constraint], claim.violation[constraint]
    return [f"{claim.value:.4g}", f"{cost:.4g}", f"{limit:g}", _colored(violation)]


def sums_in_words(reward_discount: float, cost_discounts: Sequence[float]) -> str:
    """Return how returns and costs are summed."""
    if {reward_discount, *cost_discounts} == {1.0}:
        return "undiscounted sums over an episode"
    costs = ", ".join(f"{discount:g}" for discount in dict.fromkeys(cost_discounts))
    return f"sums with discounts: return {reward_discount:g}, cost {costs}"


def run_curve(folder: Path, result: EpisodicResult) -> LearningCurve:
    """Return the learning curve of a run, all sums with the declared discounts.

    It ends in the result: the final policy as it was trained, exact where there is a model.

    Raises:
        ValueError: if no episode ended during training, or the file is damaged.
    """
    discounts = (result.reward_discount, *result.cost_discounts)
    names = result.constraint_names
    curve = logged_curve(folder, result.agent, result.seed, names, discounts)
    return replace(curve, final=final_policy(result))


def logged_curve(
    folder: Path, agent: str, seed: int, constraint_names: Sequence[str], discounts: Sequence[float]
) -> LearningCurve:
    """Return what the log of a run shows so far, all sums with the declared discounts.

    Args:
        folder: of the run.
        agent: for the curve.
        seed: for the curve.
        constraint_names: of the m constraints.
        discounts: of the return and of each cost, (1 + m,).

    Raises:
        ValueError: if no episode has ended yet.
    """
    file = folder / "progress.csv"
    return read_learning_curve(file, agent, seed, constraint_names, discounts)


def final_policy(result: EpisodicResult) -> FinalPolicy:
    """Return where the curve of a run ends."""
    episodes = result.stochastic
    claim = episodes.claim
    errors = np.zeros(1 + len(claim.costs)) if claim.is_exact else episodes.standard_errors
    return FinalPolicy(
        timesteps=float(result.timesteps),
        episode_return=claim.value,
        episode_cost=np.array(claim.costs),
        episode_length=episodes.mean_length,
        return_error=float(errors[0]),
        cost_errors=np.asarray(errors[1:]),
        is_exact=claim.is_exact,
    )


def _styles(outcomes: Sequence[EpisodicOutcome]) -> dict[str, AgentStyle]:
    """Return the styles of agents, of those that train first, as the command plot has them."""
    trains = {outcome.job.agent: outcome.job.total_timesteps > 0 for outcome in outcomes}
    return styles_of(sorted(trains, key=lambda agent: (not trains[agent], agent)))


def _draw_curves(
    out: Path,
    env: EnvironmentName,
    outcomes: Sequence[EpisodicOutcome],
    stem: Path,
    notes: list[str],
    styles: Mapping[str, AgentStyle],
) -> list[str]:
    curves: list[LearningCurve] = []
    trained = [o for o in outcomes if o.job.total_timesteps > 0]
    results = [(job_folder(out, o.job), o.result) for o in trained if o.result is not None]
    for folder, result in results:
        try:
            curves.append(run_curve(folder, result))
        except (ValueError, OSError, csv.Error) as error:
            notes.append(f"no learning curve of {result.agent}, seed {result.seed}: {error}")
    if not curves:
        return []
    path = stem.with_name(f"{stem.name}_curves")
    names, limits = results[0][1].constraint_names, results[0][1].limits
    try:
        figure = draw_learning_curves(f"{env}: training", curves, limits, path, names, styles)
    except ValueError as error:
        notes.append(f"no learning curves: {error}")
        return []
    return panel_svgs(figure)


def _draw_pareto(
    env: EnvironmentName,
    results: Sequence[EpisodicResult],
    stem: Path,
    styles: Mapping[str, AgentStyle],
) -> list[str]:
    """Draw return against cost of the final stochastic policies, one plot per constraint.

    Both are exact if all policies have exact values.
    """
    if not results:
        return []
    drawn, first = [], results[0]
    claims = shared_claims([result.stochastic for result in results])
    kind = "exact " if claims[0].is_exact else ""
    gain = named_sum(f"{kind}episode return", first.reward_discount)
    for i, name in enumerate(first.constraint_names):
        points: dict[str, list[tuple[float, float]]] = {}
        for result, claim in zip(results, claims, strict=True):
            points.setdefault(result.agent, []).append((claim.costs[i], claim.value))
        several = len(first.limits) > 1
        path = stem.with_name(f"{stem.name}_pareto" + (f"_{i}" if several else ""))
        label = f"{kind}episode cost" + (f": {name}" if several else "")
        label = named_sum(label, first.cost_discounts[i])
        shown = {agent: np.array(seeds) for agent, seeds in points.items()}
        title = f"{env}: final policies"
        drawn += panel_svgs(draw_pareto(title, shown, first.limits[i], path, label, gain, styles))
    return drawn


def _mode_table(section: EpisodesSection, mode: Mode) -> Table:
    limits = ", ".join(f"{limit:g}" for limit in section.limits)
    title = f"{plain(section.name)}  ({mode} policy, limit {limits or 'unknown'})"
    table = Table(title=title, title_justify="left", caption=section.sums, caption_justify="left")
    name_columns(table, "agent")
    columns = [
        "IQM\nreturn",
        "mean\ncost",
        "violation",
        "seeds\nwithin",
        "P95",
        "steps/s",
        "length",
    ]
    if section.has_exact:
        columns = ["exact\nIQM", "exact\ncost", "exact\nviolation", "seeds\nwithin"]
        columns += ["sampled\nIQM", "sampled\ncost"]
    number_columns(table, *columns)
    for row in section.rows:
        failed = f"\n[red]{len(row.failures)} of {row.seeds} failed[/]" if row.failures else ""
        summary = row.mode(mode)
        cells = ["-"] * len(columns) if summary is None else _cells(section, row, summary)
        table.add_row(_folded(plain(row.agent)) + failed, *cells)
    return table


def _folded(agent: str) -> str:
    """Return a name with a line per word if it would leave the numbers too little room."""
    if len(agent) <= LONGEST_NAME:
        return agent
    return re.sub("(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "\n", agent)


def _cells(section: EpisodesSection, row: EpisodesSummary, summary: ModeSummary) -> list[str]:
    sampled = summary.sampled
    if section.has_exact:
        exact = ["-"] * 4 if summary.exact is None else _seed_cells(row, summary.exact)
        return [*exact, f"{sampled.iqm_return:.4g}", f"{sampled.mean_cost:.4g}"]
    speed = row.steps_per_cpu_second  # 0 without training
    others = [f"{summary.episode_tails.p95:.4g}", f"{speed:.0f}" if speed else "-"]
    return [*_seed_cells(row, sampled), *others, f"{summary.length:.1f}"]


def _seed_cells(row: EpisodesSummary, seeds: SeedSummary) -> list[str]:
    return [
        f"[bold]{seeds.iqm_return:.4g}[/]",
        f"{seeds.mean_cost:.4g}",
        _colored(seeds.violation),
        f"{round(seeds.feasibility_rate * row.finished)} of {row.seeds}",
    ]


def _colored(violation: float) -> str:
    return f"[{'red' if violation > 0 else 'green'}]{violation:+.3g}[/]"
