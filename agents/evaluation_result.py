"""The episodes of an evaluation: returns and costs, and whether the limits are met."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from scipy import stats

from agents.cost_tails import CostTails, cost_tails
from agents.repair_count import RepairedShare
from safe_envs.contract.argument_checks import check_number
from safe_envs.contract.cost_signal import ConstraintSpec

COLUMNS = ("mean", "+-", "limit", "P90", "P95", "CVaR 90", "worst")


@dataclass(frozen=True, repr=False, eq=False)
class EvaluationResult:
    """The episodes of one evaluation, in the order of the copies they were played in.

        return = sum_t discount^t reward_t,   cost_i = sum_t discount_i^t cost_{t,i}

    with the declared discounts, to which the limits refer; `plain_` numbers are the undiscounted
    sums. `print(result)` shows a table. The arrays are read-only.
    """

    constraints: tuple[ConstraintSpec, ...]  # m, with the limits that are judged by
    reward_discount: float
    seed: int  # with the same number of copies, it gives the same episodes again
    deterministic: bool
    returns: np.ndarray  # (episodes,)
    costs: np.ndarray  # (episodes, m)
    plain_returns: np.ndarray  # (episodes,)
    plain_costs: np.ndarray  # (episodes, m)
    lengths: np.ndarray  # (episodes,) [steps]
    truncated: np.ndarray  # (episodes,) bool: ended by a time limit
    successes: np.ndarray | None = None  # (episodes,) bool, if every info had "is_success"
    repairs: RepairedShare | None = None  # of the actions of all steps, if the policy has a head

    def __post_init__(self) -> None:
        for field in fields(self):
            value = vars(self)[field.name]
            if isinstance(value, np.ndarray):
                frozen = value.view()
                frozen.setflags(write=False)
                object.__setattr__(self, field.name, frozen)

    @property
    def episodes(self) -> int:
        """Number of episodes."""
        return len(self.returns)

    @property
    def constraint_names(self) -> list[str]:
        """Names of the m constraints."""
        return [constraint.name for constraint in self.constraints]

    @property
    def limits(self) -> np.ndarray:
        """Limits of the mean costs, (m,)."""
        return np.array([constraint.limit for constraint in self.constraints])

    @property
    def mean_return(self) -> float:
        """Mean of the returns."""
        return float(self.returns.mean())

    @property
    def mean_costs(self) -> np.ndarray:
        """Mean of each cost, (m,)."""
        return self.costs.mean(axis=0)

    @property
    def violation(self) -> np.ndarray:
        """Mean cost - limit of each constraint, (m,); at most 0 if it is met."""
        return self.mean_costs - self.limits

    @property
    def feasible(self) -> bool:
        """Whether no mean cost is above its limit."""
        return bool((self.violation <= 0).all())

    @property
    def mean_plain_return(self) -> float:
        """Mean of the undiscounted returns."""
        return float(self.plain_returns.mean())

    @property
    def mean_plain_costs(self) -> np.ndarray:
        """Mean of each undiscounted cost, (m,)."""
        return self.plain_costs.mean(axis=0)

    @property
    def mean_length(self) -> float:
        """Mean number of steps of an episode."""
        return float(self.lengths.mean())

    @property
    def cost_tails(self) -> list[CostTails]:
        """Percentiles, CVaR and worst case of each cost over the episodes, m of them."""
        return [cost_tails(column) for column in self.costs.T]

    def cost_upper_bounds(self, confidence: float) -> np.ndarray:
        """Return an upper confidence bound of each expected cost, (m,).

            mean + t s / sqrt(episodes),   t = quantile `confidence` of Student's t distribution

        with s the standard deviation over the episodes. Each bound by itself is below the expected
        cost with probability 1 - confidence, exactly so for normal costs only: episodes that are
        costly but so rare that none was played do not show in it.

        Args:
            confidence: between 0 and 1, such as 0.95.

        Raises:
            ValueError: if it is not, or there is a single episode.
        """
        check_confidence(confidence, self.episodes)
        quantile = stats.t.ppf(confidence, self.episodes - 1)
        return self.mean_costs + quantile * _standard_errors(self.costs)

    def __repr__(self) -> str:
        costs = ", ".join(
            f"{name} {mean:.4g} (limit {limit:.4g})"
            for name, mean, limit in zip(
                self.constraint_names, self.mean_costs, self.limits, strict=True
            )
        )
        count = _counted(self.episodes, "episode")
        verdict = _verdict(self.feasible)
        return f"EvaluationResult: {count}, return {self.mean_return:.4g}, {costs}: {verdict}"

    def __str__(self) -> str:
        mode = "deterministic" if self.deterministic else "stochastic"
        rows = [["", *COLUMNS], _row("return", self.returns)]
        for i, (constraint, tails) in enumerate(
            zip(self.constraints, self.cost_tails, strict=True)
        ):
            shown = (constraint.limit, tails.p90, tails.p95, tails.cvar, tails.worst)
            rows.append(_row(constraint.name, self.costs[:, i], *shown))
        if not np.array_equal(self.plain_returns, self.returns):
            rows.append(_row("return, undiscounted", self.plain_returns))
        for i, name in enumerate(self.constraint_names):
            if not np.array_equal(self.plain_costs[:, i], self.costs[:, i]):
                rows.append(_row(f"{name}, undiscounted", self.plain_costs[:, i]))
        rows.append(_row("length", self.lengths))
        width = max(len(row[0]) for row in rows)
        lines = [row[0].ljust(width) + "".join(cell.rjust(11) for cell in row[1:]) for row in rows]
        count = _counted(self.episodes, f"{mode} episode")
        head = f"{count}, seed {self.seed}: {_verdict(self.feasible)}"
        ended = f"{int(self.truncated.sum())} of {self.episodes} ended by a time limit"
        told = [] if self.repairs is None else [str(self.repairs)]
        return "\n".join([head, *(line.rstrip() for line in lines), ended, *told])


def check_confidence(confidence: float, episodes: int) -> None:
    """Raise ValueError unless 0 < confidence < 1 and there are several episodes."""
    check_number("confidence", confidence)
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence is {confidence}; pass a number between 0 and 1, such as 0.95")
    if episodes < 2:
        raise ValueError(
            f"confidence is {confidence} with 1 episode, which has no standard deviation; play "
            "at least 2 episodes, or leave confidence out"
        )


def _standard_errors(values: np.ndarray) -> np.ndarray:
    """Return the standard error of the mean of each column of values (episodes, ...)."""
    return np.std(values, axis=0, ddof=1) / np.sqrt(len(values))


def _row(name: str, values: np.ndarray, *others: float) -> list[str]:
    error = f"{float(_standard_errors(values)):.3g}" if len(values) > 1 else "-"
    return [name, f"{values.mean():.5g}", error, *(f"{number:.5g}" for number in others)]


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _verdict(feasible: bool) -> str:
    return "feasible" if feasible else "not feasible"
