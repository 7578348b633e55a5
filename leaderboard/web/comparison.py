"""Two submissions of one board side by side."""

from __future__ import annotations

from dataclasses import dataclass

from leaderboard.scores.row_score import RowStatistics
from leaderboard.web.board_table import statistics_of
from leaderboard.web.page_data import SubmissionPage


@dataclass(frozen=True)
class Difference:
    """One number of both submissions."""

    name: str
    first: float
    second: float
    percent: bool = False
    interval: tuple[float, float] | None = None  # 95 %, of the difference

    @property
    def difference(self) -> float:
        """Second minus first."""
        return self.second - self.first


@dataclass(frozen=True)
class SubmissionComparison:
    """Two submissions and the differences of their numbers, none if one has no score."""

    first: SubmissionPage
    second: SubmissionPage
    differences: tuple[Difference, ...]


def compare(
    first: SubmissionPage,
    second: SubmissionPage,
    interval: tuple[float, float] | None = None,
) -> SubmissionComparison | None:
    """Return two submissions side by side, None if they are on different boards.

    Args:
        first: one of them.
        second: the other.
        interval: of the second minus the first score, from `PageSource.score_difference`.
    """
    if first.board.env != second.board.env or first.board.version != second.board.version:
        return None
    return SubmissionComparison(first, second, tuple(_differences(first, second, interval)))


def _differences(
    first: SubmissionPage, second: SubmissionPage, interval: tuple[float, float] | None
) -> list[Difference]:
    a, b = statistics_of(first.row), statistics_of(second.row)
    if a is None or b is None:
        return []
    found = [
        Difference("Score", a.score.value, b.score.value, interval=interval),
        Difference("Return, mean", a.mean_return.value, b.mean_return.value),
    ]
    if first.board.reward_discount != 1:
        found += [Difference("Return, undiscounted", a.plain_mean_return, b.plain_mean_return)]
    found += [Difference("Episode length", a.mean_length, b.mean_length)]
    for index, constraint in enumerate(first.board.constraints):
        found += _cost_differences(a, b, index, constraint.discount)
    return found


def _cost_differences(
    a: RowStatistics, b: RowStatistics, index: int, discount: float
) -> list[Difference]:
    name = "Cost" if len(a.costs) == 1 else f"Cost {a.costs[index].name}"
    one, two = a.costs[index], b.costs[index]
    plain = [Difference(f"{name}, undiscounted", one.plain_mean, two.plain_mean)]
    return [
        Difference(f"{name}, mean", one.mean.value, two.mean.value),
        Difference(f"{name}, upper bound of the mean", one.upper_bound, two.upper_bound),
        *(plain if discount != 1 else []),
        Difference(f"{name}, P90", one.p90.value, two.p90.value),
        Difference(f"{name}, P95", one.p95.value, two.p95.value),
        Difference(f"{name}, worst", one.worst, two.worst),
        Difference(f"{name}, CVaR", one.cvar.value, two.cvar.value),
        Difference(
            f"{name}, episodes over the limit",
            one.violation_probability.value,
            two.violation_probability.value,
            percent=True,
        ),
    ]
