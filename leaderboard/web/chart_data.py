"""The charts of each page, made from its data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import trim_mean

from leaderboard.boards.board import Board
from leaderboard.scores.published import is_withheld
from leaderboard.scores.row_score import CostStatistics, Interval, RowStatistics
from leaderboard.web.board_table import is_ranked, statistics_of
from leaderboard.web.chart import Chart, Point, Series, Table
from leaderboard.web.chart_axis import Axis, amount_axis, part_axis, share_axis
from leaderboard.web.comparison import SubmissionComparison
from leaderboard.web.page_data import BoardPage, BoardRow, Curve, SubmissionPage
from leaderboard.web.safe_text import clipped, given, short, visible, whole

TIER_ORDER = ("safe", "feasible", "violating", "unranked")
MOST_SCORES = 20  # rows in the chart of scores
MOST_SERIES = 6  # lines in a chart
TAIL_PERCENTS = (0, 10, 25, 50, 75, 90, 95, 99, 100)  # of the tables beside distributions
TABLE_POINTS = 12  # of the tables beside curves

GRID_POINTS = 200  # of a learning curve, evenly spaced


@dataclass(frozen=True)
class SeedBand:
    """Interquartile mean and range over seeds on a common grid of steps."""

    steps: np.ndarray  # (g,)
    middle: np.ndarray  # (g,)
    lowest: np.ndarray  # (g,)
    highest: np.ndarray  # (g,)


def top_rows(page: BoardPage, most: int = MOST_SERIES) -> list[BoardRow]:
    """Return the best rows that have a rank."""
    return [row for row in page.rows if is_ranked(row)][:most]


def row_name(row: BoardRow) -> str:
    """Return a short name: the rank, or the submission's number, and the algorithm."""
    name = clipped(visible(row.submission.metadata.algorithm), 24)
    if row.ranked is not None and row.ranked.rank is not None:
        return f"{row.ranked.rank} {name}"
    return f"#{row.submission.id} {name}"


def board_charts(page: BoardPage) -> list[Chart]:
    """Return the chart of the first rows' scores with their intervals."""
    rows = [(row, found) for row in top_rows(page, MOST_SCORES) if (found := statistics_of(row))]
    if not rows:
        return []
    groups: dict[str, list[Point]] = {}
    for index, (row, found) in enumerate(rows):
        point = Point(found.score.value, index, found.score.low, found.score.high, row_name(row))
        groups.setdefault(_tier(row), []).append(point)
    cells = [(row_name(row), _tier(row), *_interval_cells(found.score)) for row, found in rows]
    note = "With 95 % intervals; 0 is random, 1 is the board's reference."
    if "violating" in groups:
        note += " Crosses are above the cost limit and rank below all others, whatever they score."
    return [
        Chart(
            id="score",
            kind="intervals",
            title="Scores of the first rows" if len(rows) == MOST_SCORES else "Score",
            label=f"Scores of {len(rows)} ranked submissions with their 95 % intervals",
            x=Axis("score"),
            y=Axis(""),
            series=_by_tier(groups),
            table=Table(("row", "tier", "score", "from", "to"), tuple(cells)),
            note=note,
        )
    ]


def _tier(row: BoardRow) -> str:
    """Return the tier of a row that has a rank, "unranked" for others."""
    return row.ranked.tier.value if row.ranked and is_ranked(row) else "unranked"


def _by_tier(groups: Mapping[str, Sequence[Point]]) -> tuple[Series, ...]:
    """Return one series per tier, the best tier first."""
    return tuple(Series(tier, tuple(groups[tier])) for tier in TIER_ORDER if tier in groups)


def environment_charts(page: BoardPage, curves: Mapping[int, tuple[Curve, ...]]) -> list[Chart]:
    """Return the charts of cost against return, tails of the cost, and learning curves."""
    named = {row_name(row): curves.get(row.submission.id, ()) for row in top_rows(page)}
    rows = [(row, found) for row in page.rows if (found := statistics_of(row))]
    top = [(row_name(row), found) for row in top_rows(page) if (found := statistics_of(row))]
    charts: list[Chart] = []
    for index, constraint in enumerate(page.board.constraints):
        suffix = f": {constraint.name}" if len(page.board.constraints) > 1 else ""
        if rows:
            charts.append(_pareto(rows, index, suffix))
        if top:
            costs = [(name, found.costs[index]) for name, found in top]
            charts.append(_tails(f"tails-{index}", f"Tails of the cost{suffix}", costs))
    return charts + _curve_charts(named, page.board)


def submission_charts(page: SubmissionPage) -> list[Chart]:
    """Return the charts of one submission: seeds, distributions and learning curves."""
    found = statistics_of(page.row)
    charts: list[Chart] = []
    if found:
        seeds = page.row.submission.metadata.training_seeds
        charts.append(_seed_dots("seeds-return", "return", found.seed_returns, seeds, None))
        for index, cost in enumerate(found.costs):
            word = "cost" if len(found.costs) == 1 else f"cost {cost.name}"
            charts.append(_seed_dots(f"seeds-{index}", word, cost.seed_means, seeds, cost.limit))
        charts += _distributions([(row_name(page.row), found)])
    return charts + _curve_charts({row_name(page.row): page.curves}, page.board)


def compare_charts(page: SubmissionComparison) -> list[Chart]:
    """Return the distributions of two submissions in common charts."""
    both = []
    for side in (page.first, page.second):
        found = statistics_of(side.row)
        if found:
            both.append((f"#{side.row.submission.id} {_algorithm(side)}", found))
    return _distributions(both) if both else []


def _algorithm(page: SubmissionPage) -> str:
    return clipped(visible(page.row.submission.metadata.algorithm), 24)


def _distributions(named: Sequence[tuple[str, RowStatistics]]) -> list[Chart]:
    named = [(name, found) for name, found in named if _known(found.return_quantiles)]
    if not named:
        return []
    charts = [_returns([(name, found.return_quantiles) for name, found in named])]
    for index, first in enumerate(named[0][1].costs):
        suffix = f": {first.name}" if len(named[0][1].costs) > 1 else ""
        costs = [(name, found.costs[index]) for name, found in named]
        charts.append(_tails(f"tails-{index}", f"Tails of the cost{suffix}", costs))
    return charts


def _returns(named: Sequence[tuple[str, Sequence[float]]]) -> Chart:
    """Return the chart of the share of episodes at or below each return."""
    series = [
        Series(name, tuple(Point(value, p / 100) for p, value in _known(quantiles)))
        for name, quantiles in named
    ]
    return Chart(
        id="returns",
        kind="lines",
        title="Episode returns",
        label="Share of episodes at or below each return",
        x=Axis("return"),
        y=part_axis(),
        series=tuple(series),
        table=_quantile_table(named, "return"),
    )


def _tails(chart_id: str, title: str, costs: Sequence[tuple[str, CostStatistics]]) -> Chart:
    """Return the chart of P(cost > c) over c, both logarithmic; zero costs are at the left edge."""
    limit = costs[0][1].limit
    amounts = [q for _, cost in costs for _, q in _known(cost.quantiles)]
    axis = amount_axis([*amounts, limit], "cost c")
    is_whole = not any(is_withheld(cost.worst) for _, cost in costs)
    series = []
    for name, cost in costs:
        points = [Point(axis.place(q), 1 - p / 100) for p, q in _known(cost.quantiles[:-1])]
        if is_whole:
            points.append(Point(axis.place(cost.quantiles[-1]), points[-1].y))
        series.append(Series(name, tuple(points)))
    end = "at the worst episode" if is_whole else "at P95 until the season's secret is revealed"
    return Chart(
        id=chart_id,
        kind="steps",
        title=title,
        label=f"Share of episodes whose cost exceeds c, against c; the limit is {short(limit)}",
        x=axis,
        y=share_axis(),
        series=tuple(series),
        table=_quantile_table([(name, cost.quantiles) for name, cost in costs], "cost"),
        limit=axis.place(limit),
        note=f"Each line ends {end}. Lower and further left is safer.",
    )


def _known(quantiles: Sequence[float]) -> list[tuple[int, float]]:
    """Return the percents and values of the quantiles that are public."""
    return [(p, value) for p, value in enumerate(quantiles) if not is_withheld(value)]


def _quantile_table(named: Sequence[tuple[str, Sequence[float]]], word: str) -> Table:
    shown = [p for p in TAIL_PERCENTS if any(not is_withheld(q[p]) for _, q in named)]
    rows = [(name, *(short(quantiles[p]) for p in shown)) for name, quantiles in named]
    return Table((f"{word} at", *(f"P{p}" for p in shown)), tuple(rows))


def _pareto(rows: Sequence[tuple[BoardRow, RowStatistics]], index: int, suffix: str) -> Chart:
    limit = rows[0][1].costs[index].limit
    axis = amount_axis(
        [*(found.costs[index].mean.value for _, found in rows), limit], "mean cost", always=False
    )
    groups: dict[str, list[Point]] = {}
    for row, found in rows:
        cost, gain = found.costs[index].mean.value, found.mean_return.value
        is_top = row.ranked is not None and row.ranked.rank is not None and row.ranked.rank <= 5
        point = Point(
            axis.place(cost),
            gain,
            label=row_name(row) if is_top else "",
            title=f"{row_name(row)}\nreturn {short(gain)}\ncost {short(cost)}",
        )
        groups.setdefault(_tier(row), []).append(point)
    cells = [
        (row_name(row), short(f.costs[index].mean.value), short(f.mean_return.value))
        for row, f in rows
    ]
    return Chart(
        id=f"pareto-{index}",
        kind="scatter",
        title=f"Cost against return{suffix}",
        label=f"Mean cost and mean return of {len(rows)} submissions; the limit is {short(limit)}",
        x=axis,
        y=Axis("mean return"),
        series=_by_tier(groups),
        table=Table(("row", "mean cost", "mean return"), tuple(cells)),
        limit=axis.place(limit),
        front=_front([point for points in groups.values() for point in points]),
        note="The line joins rows that no row beats in both. The first five rows are labeled "
        "where there is room.",
    )


def _front(points: Sequence[Point]) -> tuple[Point, ...]:
    """Return the points with a higher return than all cheaper ones, by increasing cost."""
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (point.x, -point.y)):
        if not front or point.y > front[-1].y:
            front.append(Point(point.x, point.y))
    return tuple(front)


def _seed_dots(
    chart_id: str,
    word: str,
    values: Sequence[float],
    seeds: Sequence[int],
    limit: float | None,
) -> Chart:
    names = [f"seed {seed}" for seed in seeds]
    points = [
        Point(value, 0, title=f"{name}\n{short(value)}")
        for name, value in zip(names, values, strict=True)
    ]
    said = "" if limit is None else f"; the limit is {short(limit)}"
    return Chart(
        id=chart_id,
        kind="dots",
        title=f"Mean {word} of each seed",
        label=f"Mean {word} of {len(points)} training seeds{said}",
        x=Axis(f"mean {word}"),
        y=Axis(""),
        series=(Series(word, tuple(points)),),
        table=Table(
            ("policy", f"mean {word}"),
            tuple((name, short(value)) for name, value in zip(names, values, strict=True)),
        ),
        limit=limit,
    )


def _curve_charts(named: Mapping[str, Sequence[Curve]], board: Board) -> list[Chart]:
    """Return the learning curves of the return and of every cost, none if there are no curves.

    Curves have the declared discounts, as the tables have.
    """
    returns = {name: band for name, c in named.items() if (band := return_band(c)) is not None}
    word = _measure("return", board.reward_discount)
    charts = [_curve_chart("curve-return", word, returns, None)] if returns else []
    for index, constraint in enumerate(board.constraints):
        word = "cost" if len(board.constraints) == 1 else f"cost {constraint.name}"
        word = _measure(word, constraint.discount)
        costs = {n: band for n, c in named.items() if (band := cost_band(c, index)) is not None}
        if costs:
            charts.append(_curve_chart(f"curve-{index}", word, costs, constraint.limit))
    return charts


def _measure(word: str, discount: float) -> str:
    """Return the name of a sum: "return" for a plain one, "return, discounted by 0.9"."""
    return word if discount == 1 else f"{word}, discounted by {given(discount)}"


def _curve_chart(
    chart_id: str, word: str, bands: Mapping[str, SeedBand], limit: float | None
) -> Chart:
    series, rows = [], []
    for name, band in bands.items():
        columns = zip(band.steps, band.middle, band.lowest, band.highest, strict=True)
        points = [Point(float(x), float(y), float(low), float(high)) for x, y, low, high in columns]
        series.append(Series(name, tuple(points)))
        every = max(1, len(points) // TABLE_POINTS)
        rows += [
            (name, whole(p.x), short(p.y), short(p.low), short(p.high))
            for p in [*points[:-1:every], points[-1]]
        ]
    return Chart(
        id=chart_id,
        kind="lines",
        title=f"Learning curve: {word}",
        label=f"{word}; over training steps, interquartile mean over seeds",
        x=Axis("training steps"),
        y=Axis(word),
        series=tuple(series),
        table=Table(("row", "steps", f"{word}, IQM", "lowest", "highest"), tuple(rows)),
        limit=limit,
        limit_on="y",
        note="As reported by the submitter. The line is the interquartile mean over seeds; the "
        "band spans all seeds.",
    )


def return_band(curves: Sequence[Curve]) -> SeedBand | None:
    """Return the band of the returns of all seeds, None if they share no steps."""
    return _band([(curve.steps, curve.returns) for curve in curves])


def cost_band(curves: Sequence[Curve], index: int) -> SeedBand | None:
    """Return the band of one constraint's costs of all seeds, None if they share no steps."""
    return _band([(c.steps, c.costs[index]) for c in curves if index < len(c.costs)])


def _band(lines: Sequence[tuple[Sequence[float], Sequence[float]]]) -> SeedBand | None:
    """Return the band from the latest start to the earliest end, with lines interpolated."""
    known = [line for line in map(_finite_points, lines) if len(line[0])]
    if not known:
        return None
    start, end = max(x[0] for x, _ in known), min(x[-1] for x, _ in known)
    if start > end:
        return None
    grid = np.linspace(start, end, GRID_POINTS if end > start else 1)
    values = np.stack([np.interp(grid, x, y) for x, y in known])  # (seeds, g)
    return SeedBand(grid, trim_mean(values, 0.25, axis=0), values.min(axis=0), values.max(axis=0))


def _finite_points(line: tuple[Sequence[float], Sequence[float]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the finite points of a line, by increasing steps."""
    length = min(len(line[0]), len(line[1]))
    steps, values = np.array(line[0][:length], float), np.array(line[1][:length], float)
    good = np.isfinite(steps) & np.isfinite(values)
    order = np.argsort(steps[good], kind="stable")
    return steps[good][order], values[good][order]


def _interval_cells(interval: Interval) -> tuple[str, str, str]:
    return short(interval.value), short(interval.low), short(interval.high)
