"""How the agents look in every figure, and labels that do not cover anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
from matplotlib.axis import XAxis, YAxis
from matplotlib.scale import SymmetricalLogScale
from matplotlib.ticker import EngFormatter, FixedLocator, NullLocator, ScalarFormatter

from baselines.report.contrast import readable


@dataclass(frozen=True)
class AgentStyle:
    """Color, dashes and marker of an agent."""

    color: str
    dashes: str | tuple[int, tuple[float, ...]]
    marker: str

    @property
    def text_color(self) -> str:
        """The color darkened, so that small letters can be read on white."""
        return readable(self.color)


LIMIT_COLOR = "#B00020"
LIMIT_DASHES = (0, (5.0, 3.0))
LOG_ABOVE = 6.0  # if costs exceed this multiple of the limit, the scale above it is logarithmic

LONG_ABOVE = 1e4  # numbers of an axis get k, M, ... above it

_DASHED = (0, (4.0, 1.5))

# Okabe and Ito's colors without yellow, distinguishable with every common color-vision deficiency.
# Two agents of one color differ in dashes and marker.
AGENT_STYLES = {
    "PPO": AgentStyle("#555555", (0, (1.0, 1.0)), "X"),
    "PPOLag": AgentStyle("#D55E00", "-", "o"),
    "PPOALM": AgentStyle("#E69F00", "-", "o"),
    "SPMAALM": AgentStyle("#0072B2", "-", "o"),
    "CPO": AgentStyle("#009E73", "-", "o"),
    "TRPOLag": AgentStyle("#CC79A7", "-", "o"),
    "TRPOALM": AgentStyle("#56B4E9", "-", "o"),
    "SPMALag": AgentStyle("#0072B2", _DASHED, "s"),
    "PPOPID": AgentStyle("#D55E00", _DASHED, "s"),
    "SCPO": AgentStyle("#009E73", _DASHED, "s"),
}
# All other agents: no color of theirs is one of the above, and none of their markers and dashes.
_OTHER_COLORS = ("#000000", "#7B3294", "#8C510A", "#6B8E23", "#C51B7D")
_OTHER_DASHES = (
    (0, (6.0, 1.5, 1.0, 1.5)),
    (0, (2.2, 1.2)),
    (0, (9.0, 2.0)),
    (0, (6.0, 1.5, 1.0, 1.5, 1.0, 1.5)),
)
_OTHER_MARKERS = ("D", "^", "v", "P", "*", "<", ">")

_DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))


def other_styles() -> Iterator[AgentStyle]:
    """Return styles that no named agent has; the first 140 differ from each other."""
    for i in count():
        color = _OTHER_COLORS[i % len(_OTHER_COLORS)]
        dashes = _OTHER_DASHES[i % len(_OTHER_DASHES)]
        yield AgentStyle(color, dashes, _OTHER_MARKERS[i % len(_OTHER_MARKERS)])


def styles_of(agents: Iterable[str]) -> dict[str, AgentStyle]:
    """Return a style of its own for every agent.

    Named agents have theirs in every figure. All others get theirs in order, so that figures agree
    if they are given the same agents in the same order.
    """
    others = other_styles()
    return {
        agent: AGENT_STYLES[agent] if agent in AGENT_STYLES else next(others)
        for agent in dict.fromkeys(agents)
    }


def scale_costs(axis: XAxis | YAxis, limit: float, highest: float) -> bool:
    """Make an axis start at zero and return whether it is logarithmic above the limit.

    It is if costs reach far beyond the limit: agents that meet the limit would otherwise share
    the first pixels with it. From zero to the limit every axis is linear.
    """
    is_logarithmic = 0.0 < LOG_ABOVE * limit < highest
    if is_logarithmic:
        axis.axes.set(**{f"{axis.axis_name}scale": SymmetricalLogScale(axis, linthresh=limit)})
        axis.set_major_locator(FixedLocator(cost_ticks(limit, highest)))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(ScalarFormatter())
    end = 1.25 * highest if is_logarithmic else 1.06 * max(highest, 1.1 * limit)
    axis.axes.set(**{f"{axis.axis_name}lim": (0.0, end if end > 0.0 else 1.0)})
    return is_logarithmic


def shorten_numbers(axis: XAxis | YAxis) -> None:
    """Write the numbers of a linear axis with k, M, ... if they would not fit beside it."""
    if axis.get_scale() == "linear" and np.abs(axis.get_view_interval()).max() >= LONG_ABOVE:
        axis.set_major_formatter(EngFormatter(sep=""))


def cost_ticks(limit: float, highest: float) -> list[float]:
    """Return zero, the limit, and the 1-2-5 numbers up to the highest cost, none too close."""
    decades = range(int(np.floor(np.log10(limit))) - 1, int(np.ceil(np.log10(highest))) + 1)
    numbers = [float(f"{digit}e{decade}") for decade in decades for digit in (1, 2, 5)]
    below = [number for number in numbers if 0.3 * limit <= number <= 0.7 * limit]
    return [0.0, *below, limit, *(n for n in numbers if 1.5 * limit <= n <= highest)]


def place_labels(
    anchors: np.ndarray,
    sizes: np.ndarray,
    obstacles: np.ndarray,
    bounds: Sequence[float],
    gap: float,
) -> np.ndarray:
    """Return the center of each label, near its anchor and not on top of other labels or obstacles.

    Labels are placed in order; each takes the first free place of eight directions around its
    anchor at growing distance. If there is none, it takes the first place that covers the least.

    Args:
        anchors: points the labels belong to, shape (n, 2), in pixels.
        sizes: width and height of the labels, shape (n, 2), in pixels.
        obstacles: boxes (left, lower, right, upper), shape (k, 4), in pixels.
        bounds: left, lower, right and upper edge of the room for labels, in pixels.
        gap: smallest distance of a label from its anchor, in pixels.

    Returns:
        Shape (n, 2), in pixels.
    """
    taken = np.array(obstacles, dtype=np.float64).reshape(-1, 4)
    left, lower, right, upper = bounds
    centers = np.empty((len(anchors), 2))
    distances = gap * np.array([1.0, 2.0, 3.0, 4.5, 6.0, 8.0, 11.0, 15.0])
    for i, (anchor, size) in enumerate(zip(anchors, sizes, strict=True)):
        steps = np.array(_DIRECTIONS) * (size / 2 + distances[:, None, None])  # (distances, 8, 2)
        places = anchor + steps.reshape(-1, 2)
        boxes = np.hstack([places - size / 2, places + size / 2])
        outside = (
            np.maximum(left - boxes[:, 0], 0.0)
            + np.maximum(lower - boxes[:, 1], 0.0)
            + np.maximum(boxes[:, 2] - right, 0.0)
            + np.maximum(boxes[:, 3] - upper, 0.0)
        )
        best = int(np.argmin(_covered(boxes, taken) + outside * size.sum()))
        centers[i] = places[best]
        taken = np.vstack([taken, boxes[best]])
    return centers


def _covered(boxes: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """Return how much area of each box (n, 4) lies under the boxes taken (k, 4)."""
    lower = np.maximum(boxes[:, None, :2], taken[None, :, :2])
    upper = np.minimum(boxes[:, None, 2:], taken[None, :, 2:])
    return np.clip(upper - lower, 0.0, None).prod(axis=2).sum(axis=1)
