"""The tables of a study, for the terminal and as Markdown: one per environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from rich.markup import escape
from rich.table import Table

from baselines.experiments.learning.study_numbers import (
    MODES,
    PolicyMode,
    StudyNumbers,
    VariantNumbers,
)
from baselines.experiments.trained.shown_numbers import digits_for, shown_mean
from baselines.measures.statistics import feasibility_rate, paired_interval
from baselines.report.terminal_table import name_columns, number_columns

NAMES = ("agent", "variant", "policy")


class StudyTable(NamedTuple):
    """What one environment's table shows."""

    question: str
    subtitle: str
    headings: list[str]  # of the numbers, which follow the columns `NAMES`
    rows: list[list[str]]

    def on_terminal(self) -> Table:
        """Return the table for the terminal, with a line between the agents."""
        shown = Table(title=f"{escape(self.question)}\n{escape(self.subtitle)}")
        name_columns(shown, *NAMES)
        number_columns(shown, *map(escape, self.headings))
        for i, row in enumerate(self.rows):
            is_last = i + 1 == len(self.rows) or self.rows[i + 1][0] != row[0]
            shown.add_row(*map(escape, row), end_section=is_last)
        return shown

    def markdown(self) -> str:
        """Return the table in Markdown."""
        rules = ["---"] * len(NAMES) + ["---:"] * len(self.headings)
        lines = ([*NAMES, *self.headings], rules, *self.rows)
        rows = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return f"**{self.question}** {self.subtitle}\n\n{rows}\n"


def study_tables(numbers: StudyNumbers) -> list[StudyTable]:
    """Return the tables of a study, one per environment.

    Every agent and variant has a row for its last policies as they were trained and one for their
    most likely actions. Return and cost are mean +- standard error over seeds. `shortest` is the
    smallest of the seeds' mean episode lengths: a training that ended in a trap shows in it. Shares
    are of the seeds whose mean cost is at most the limit, and at most the limit plus one standard
    error of their own evaluation. Differences are to the agent's first variant, means over pairs of
    the same seed with Student's 95 % interval.
    """
    return [_table(numbers, env) for env in dict.fromkeys(one.env for one in numbers.variants)]


def _table(numbers: StudyNumbers, env: str) -> StudyTable:
    unordered = [one for one in numbers.variants if one.env == env]
    agents = list(dict.fromkeys(one.agent for one in unordered))
    own = sorted(unordered, key=lambda one: agents.index(one.agent))
    names = next((one.constraint_names for one in own if one.seeds), [])
    quantities = ["return", *_cost_names(names)]
    firsts = {one.agent: one for one in reversed(own)}
    is_compared = any(firsts[one.agent] is not one for one in own)
    headings = [*quantities, "length", "shortest", "within limit", "within limit + SE"]
    headings += [f"{name}: difference [95 %]" for name in quantities] if is_compared else []
    rows = []
    for one in own:
        for mode in MODES:
            cells = [*_cells(one, mode)] if one.seeds and not one.failures else [_failed(one)]
            if is_compared and len(cells) > 1:
                cells += _differences(one, firsts[one.agent], mode)
            cells += [""] * (len(headings) - len(cells))
            rows.append([one.agent, one.variant, mode, *cells])
    return StudyTable(numbers.question, _subtitle(numbers, own, is_compared), headings, rows)


def _cost_names(constraint_names: Sequence[str]) -> list[str]:
    """Return the columns of the costs: one plain name, or one per constraint if several."""
    return [f"cost {name}" for name in constraint_names] if len(constraint_names) > 1 else ["cost"]


def _subtitle(numbers: StudyNumbers, variants: Sequence[VariantNumbers], is_compared: bool) -> str:
    """Return what is shown, and from which seeds; all variants have the same."""
    first = variants[0]
    seeds = sorted([*(seed.seed for seed in first.seeds), *map(int, first.failures)])
    limits = next((one.limits for one in variants if one.seeds), [])
    told = f"{numbers.study}: {first.env}, {numbers.total_timesteps:,} steps"
    told += f", limit {' and '.join(f'{limit:g}' for limit in limits)}" if limits else ""
    over = "mean +- standard error over the seeds" if len(seeds) > 1 else "seed"
    told += f"; {over} {' '.join(map(str, seeds))}"
    if is_compared:
        told += f"; differences to {first.variant} by seed, with Student's 95 % intervals"
    return told


def _cells(one: VariantNumbers, mode: PolicyMode) -> list[str]:
    values, lengths = one.values(mode), one.lengths(mode)
    within = feasibility_rate(values[:, 1:], one.limits)
    within_error = feasibility_rate(values[:, 1:] - one.cost_errors(mode), one.limits)
    return [
        *map(shown_mean, values.T),
        f"{lengths.mean():.1f}",
        f"{lengths.min():.1f}",
        f"{within:.0%}",
        f"{within_error:.0%}",
    ]


def _failed(one: VariantNumbers) -> str:
    return f"{len(one.failures)} of {len(one.failures) + len(one.seeds)} seeds failed"


def _differences(one: VariantNumbers, first: VariantNumbers, mode: PolicyMode) -> list[str]:
    """Return the differences of return and costs to the first variant, by seed."""
    if one is first or first.failures:
        return []
    ours, theirs = one.values(mode), first.values(mode)
    return [_difference(*columns) for columns in zip(ours.T, theirs.T, strict=True)]


def _difference(ours: np.ndarray, theirs: np.ndarray) -> str:
    digits = digits_for(float(theirs.mean()))
    if len(ours) < 2:
        return f"{ours.mean() - theirs.mean():+.{digits}f}"
    found = paired_interval(ours, theirs)
    return f"{found.mean:+.{digits}f} [{found.low:+.{digits}f}, {found.high:+.{digits}f}]"
