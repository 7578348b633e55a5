"""The numbers that the charts draw."""

import pytest

from leaderboard.scores.ranked_row import Feasibility
from leaderboard.web.chart_axis import amount_axis
from leaderboard.web.chart_data import (
    board_charts,
    environment_charts,
    return_band,
    submission_charts,
)
from leaderboard.web.page_data import Curve
from tests.leaderboard.page_examples import (
    CLIFF,
    EMPTY,
    ExampleSource,
    cliff_rows,
    scored_rows,
    some_curves,
    some_metadata,
)


def test_charts_are_small_and_hold_their_rows():
    source = ExampleSource()
    page = source.board_page(CLIFF.env, 1, Feasibility.MEAN)
    (scores,) = board_charts(page)
    values = [row.ranked.candidate.score.statistics.score.value for row in cliff_rows()[:5]]
    by_row = {point.y: point.x for series in scores.series for point in series.points}
    assert [by_row[row] for row in range(5)] == values
    assert {s.name: len(s.points) for s in scores.series} == {"safe": 4, "violating": 1}
    charts = environment_charts(page, {1: some_curves(1, points=5000), 3: some_curves(3)})
    kinds = [chart.kind for chart in charts]
    assert kinds == ["scatter", "steps", "lines", "lines"]
    for chart in [*charts, *submission_charts(source.submission_page(1))]:
        assert all(len(series.points) <= 500 for series in chart.series)
        assert chart.table.rows
    pareto = charts[0]
    assert sum(len(series.points) for series in pareto.series) == 7
    heights = [point.y for point in pareto.front]
    assert heights == sorted(heights)


def test_tails_are_shares_above_each_cost():
    page = ExampleSource().submission_page(1)
    tails = next(c for c in submission_charts(page) if c.id == "tails-0")
    cost = page.row.ranked.candidate.score.statistics.costs[0]
    points = tails.series[0].points
    assert points[0].x == tails.x.low  # a fifth of the episodes cost nothing
    assert (points[95].x, points[95].y) == (cost.quantiles[95], pytest.approx(0.05))
    assert points[-1].x == cost.worst
    assert tails.limit == 25.0


def test_logarithmic_axes_have_room_for_zero():
    axis = amount_axis([0.0, 0.3, 40.0, 25.0], "cost")
    assert axis.place(0.0) == axis.low < axis.start <= 0.3
    assert axis.ticks[0] == (axis.low, "0")
    assert axis.place(40.0) == 40.0
    assert axis.plain()["label"] == "cost (log scale)"
    assert not amount_axis([0.0, 0.0], "cost").log
    assert amount_axis([1e-9, 1.0], "cost").ticks[0][1] == "< 0.0001"


def test_curves_are_named_as_the_table_measures():
    (row,) = scored_rows(EMPTY, [(some_metadata(env=EMPTY.env), 0.3, 0.1)])
    page = ExampleSource(rows={EMPTY.env: [row]}).board_page(EMPTY.env, 1, Feasibility.MEAN)
    charts = environment_charts(page, {1: some_curves(1)})
    assert [chart.y.label for chart in charts[-2:]] == [
        "return, discounted by 0.9",
        "cost, discounted by 0.9",
    ]
    plain = environment_charts(
        ExampleSource().board_page(CLIFF.env, 1, Feasibility.MEAN), {1: some_curves(1)}
    )
    assert [chart.y.label for chart in plain[-2:]] == ["return", "cost"]


def test_band_over_seeds():
    curves = [
        Curve(seed, (0.0, 10.0), (float(seed), float(seed + 10)), ((0.0, 0.0),))
        for seed in (0, 1, 2, 100)
    ]
    band = return_band(curves)
    assert band.middle[0] == 1.5  # the mean of 1 and 2
    assert (band.lowest[-1], band.highest[-1]) == (10.0, 110.0)
    assert return_band([]) is None
    apart = [Curve(0, (0.0, 1.0), (0.0, 0.0), ()), Curve(1, (2.0, 3.0), (0.0, 0.0), ())]
    assert return_band(apart) is None
