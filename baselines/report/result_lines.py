"""What a comparison found, in one line per agent and problem, as the report opens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

ROUNDING = 1e-9  # differences up to here count as none
LEAST_MARGIN = 1e-4  # that is given as a number
LEAST_PERCENT = 0.01


class KnownOptimum(NamedTuple):
    """The best value that meets the limits of a problem."""

    value: float
    limits: tuple[float, ...]
    discount: float  # of the reward


@dataclass(frozen=True)
class ResultLine:
    """The final policies of an agent on a problem.

    Args:
        agent: its name.
        value: return of the final policies, over the finished runs; NaN without any.
        margins: cost minus limit in each finished run, of the constraint violated most.
        runs: how many there are, failed ones included.
        limits: in force.
        discount: of the return.
        is_exact: whether value and costs come from a model rather than from played episodes.
        run_name: what a run is called, such as "seed".
    """

    agent: str
    value: float
    margins: tuple[float, ...]
    runs: int
    limits: tuple[float, ...]
    discount: float
    is_exact: bool
    run_name: str = "seed"

    @property
    def within(self) -> int:
        """Number of runs that meet all limits."""
        return sum(margin <= ROUNDING for margin in self.margins)

    @property
    def is_feasible(self) -> bool:
        """Whether every run has finished and meets all limits."""
        return 0 < self.runs == self.within

    @property
    def verdict(self) -> str:
        """Whether the runs meet the limits, in words."""
        if not self.margins:
            return "no result"
        if self.is_feasible or self.within == 0:
            answer = "yes" if self.is_feasible else "no"
            missing = self.runs - len(self.margins)
            return answer + (f", {missing} of {self.runs} failed" if missing else "")
        return f"in {self.within} of {self.runs} {self.run_name}s"

    @property
    def margin(self) -> str:
        """How far costs are from the limit, in words; "" without a result."""
        if not self.margins:
            return ""
        mean, worst = float(np.mean(self.margins)), max(self.margins)
        if _side(mean) == _side(worst):
            return _side(mean)
        same_side = (mean > 0.0) == (worst > 0.0) and min(abs(mean), abs(worst)) > LEAST_MARGIN
        last = f"{abs(worst):.3g}" if same_side else _side(worst)
        return f"{_side(mean)} on average, {last} at worst"

    def gap(self, optimum: KnownOptimum | None) -> str:
        """Return how far the value is from the optimum, in words; "" if that is not known.

        Args:
            optimum: of the problem with its own limits.
        """
        same = optimum is not None and optimum.discount == self.discount
        if optimum is None or not same or not self.margins:
            return ""
        if len(optimum.limits) != len(self.limits) or not np.allclose(optimum.limits, self.limits):
            return ""  # trained for other limits
        missing = optimum.value - self.value
        if abs(missing) <= ROUNDING:
            return "none"
        side = "below" if missing > 0 else "above"
        if optimum.value == 0.0:
            return f"{abs(missing):.2g} {side}"
        percent = 100.0 * abs(missing / optimum.value)
        if percent < LEAST_PERCENT:
            return f"under {LEAST_PERCENT:g} % {side}"
        return f"{percent:{'.0f' if percent >= 10.0 else '.2g'}} % {side}"


def in_order(lines: Sequence[ResultLine]) -> list[ResultLine]:
    """Return feasible agents first, then those with more runs within the limits, then by value."""

    def rank(line: ResultLine) -> tuple[bool, float, float]:
        share = line.within / max(line.runs, 1)
        return not line.margins, -share, -line.value if line.margins else 0.0

    return sorted(lines, key=rank)


def best_of(lines: Sequence[ResultLine]) -> str:
    """Return a sentence that names the best of the feasible agents."""
    feasible = [line for line in lines if line.is_feasible]
    if not feasible:
        return "No agent meets the limits in all its runs."
    top = max(line.value for line in feasible)
    names = [line.agent for line in feasible if top - line.value <= ROUNDING]
    listed = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    return f"Best within the limits: {listed}."


def _side(margin: float) -> str:
    if abs(margin) <= ROUNDING:
        return "at the limit"
    side = "above" if margin > 0.0 else "below"
    return f"just {side}" if abs(margin) < LEAST_MARGIN else f"{abs(margin):.3g} {side}"
