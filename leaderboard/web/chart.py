"""A chart as plain numbers: what the script draws, and the same numbers as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from baselines.site.shared_files import script_json
from leaderboard.web.chart_axis import Axis


@dataclass(frozen=True)
class Point:
    """A mark; low and high are the ends of its interval or band."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    label: str = ""
    title: str = ""  # shown when the pointer is over it


@dataclass(frozen=True)
class Series:
    """Marks of one color."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Table:
    """The same numbers as text."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Chart:
    """One chart; `kind` is "intervals", "lines", "steps", "scatter" or "dots"."""

    id: str
    kind: str
    title: str
    label: str  # for screen readers
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    table: Table
    limit: float | None = None
    limit_on: str = "x"
    note: str = ""
    front: tuple[Point, ...] = ()  # Pareto front of a scatter chart

    @property
    def is_by_tier(self) -> bool:
        """Whether each series has the rows of one tier."""
        return self.kind in ("intervals", "scatter")


def charts_json(charts: Sequence[Chart]) -> Markup:
    """Return charts as JSON data for a script element."""
    return script_json([_plain(chart) for chart in charts])


def _plain(chart: Chart) -> dict:
    """Return a chart as JSON data, without the table, which is in the page."""
    return {
        "id": chart.id,
        "kind": chart.kind,
        "label": chart.label,
        "x": chart.x.plain(),
        "y": chart.y.plain(),
        "limit": _rounded(chart.limit),
        "limitOn": chart.limit_on,
        "front": [[_rounded(point.x), _rounded(point.y)] for point in chart.front],
        "series": [
            {
                "name": series.name,
                "points": [_plain_point(point) for point in series.points],
            }
            for series in chart.series
        ],
    }


def _plain_point(point: Point) -> dict:
    data: dict = {"x": _rounded(point.x), "y": _rounded(point.y)}
    if point.low is not None:
        data |= {"low": _rounded(point.low), "high": _rounded(point.high)}
    if point.label:
        data["label"] = point.label
    if point.title:
        data["title"] = point.title
    return data


def _rounded(number: float | None) -> float | None:
    """Return a number rounded to the digits that a drawing can show."""
    return None if number is None else float(f"{number:.6g}")
