"""Warnings about the multipliers in which a run ended, shared by all solvers."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np

from agents.tabular.feasibility import cheapest
from safe_envs.tabular.model import TabularCMDP

TAIL, FEWEST_ROWS = 0.2, 5  # share of the evaluations that counts as the end of a run, and least
FALLEN = 0.9  # a violation that ends above this share of its start has not fallen


class MultiplierCapWarning(RuntimeWarning):
    """A multiplier stayed at its cap: the run solved a problem with a cheaper constraint."""


class MultiplierGrowthWarning(RuntimeWarning):
    """The multipliers grow but the violation does not fall: the primal step has stalled."""


def warn_of_multipliers(
    cmdp: TabularCMDP,
    value: np.ndarray,
    violation: np.ndarray,
    multipliers: np.ndarray,
    multiplier_cap: float,
    multiplier_units: np.ndarray,
    stacklevel: int,
) -> None:
    """Warn once if a run ended with multipliers that it should not have.

    A policy that meets the limits has V_r - lambda . (V_c - limit) >= V_r >= min V_r. Policies
    below that bound,

        V_r - lambda . (V_c - limit) < min V_r,

    therefore do not solve their inner problem, or the policy class holds no feasible policy. That
    is a stall if it holds to the end of the run and the violation of a constraint does not fall
    although its multiplier has grown or is at its cap. Otherwise a multiplier that only stayed at
    its cap is too low.

    Args:
        cmdp: the problem, in the units of the rows.
        value: (evaluations,) V_r of every row.
        violation: (evaluations, m) V_c - limit.
        multipliers: (evaluations, m).
        multiplier_cap: the solver's argument; inf if it has none.
        multiplier_units: (m,) by which the cap has to be multiplied.
        stacklevel: of the warning, counted from the caller of this function.

    Warns:
        MultiplierCapWarning: if a multiplier stayed at its cap to the end.
        MultiplierGrowthWarning: if the solver has stalled.
    """
    evaluations = len(value)
    rows = max(FEWEST_ROWS, round(TAIL * evaluations))
    if evaluations < rows:
        return
    value, violation, multipliers = value[-rows:], violation[-rows:], multipliers[-rows:]
    caps = multiplier_cap * multiplier_units
    at_cap = multipliers.min(axis=0) >= caps  # (m,)
    stalled = _stalled(cmdp, value, violation, multipliers, at_cap)  # (m,)
    if stalled.any():
        warnings.warn(
            f"the multipliers have grown to {_listed(multipliers[-1])} and the violation stays at "
            f"{_listed(violation[-1, stalled])} ({_names(cmdp, stalled)}): every feasible policy "
            "would do better, so the steps have stalled or the features hold no feasible policy; "
            "pass more evaluations, another step_size, or features that distinguish more states",
            MultiplierGrowthWarning,
            stacklevel=stacklevel + 1,
        )
    elif at_cap.any():
        warnings.warn(
            f"during the last {rows:,} of {evaluations:,} evaluations the multiplier of "
            f"{_names(cmdp, at_cap)} was at its cap, {_listed(caps[at_cap])} (argument "
            f"multiplier_cap={multiplier_cap:g}), with a violation of "
            f"{_listed(violation[-1, at_cap])} at the end: the optimal multiplier is probably "
            "larger; raise multiplier_cap",
            MultiplierCapWarning,
            stacklevel=stacklevel + 1,
        )


def _stalled(
    cmdp: TabularCMDP,
    value: np.ndarray,
    violation: np.ndarray,
    multipliers: np.ndarray,
    at_cap: np.ndarray,
) -> np.ndarray:
    """Return which constraints are in a stall, (m,); see `warn_of_multipliers`."""
    risen = at_cap | (multipliers[-1] > multipliers[0])
    stays = (violation[0] > 0.0) & (violation[-1] >= FALLEN * violation[0])
    stalled = risen & stays
    if not stalled.any():
        return stalled
    lagrangian = value - (multipliers * violation).sum(axis=1)
    return stalled & bool((lagrangian < smallest_value(cmdp)).all())


def smallest_value(cmdp: TabularCMDP) -> float:
    """Return a lower bound of V_r over all policies, reached up to rounding."""
    reward_as_cost = replace(cmdp, costs=cmdp.reward[None], limits=np.zeros(1), constraint_names=())
    return cheapest(reward_as_cost, np.ones(1))[0]


def _names(cmdp: TabularCMDP, chosen: np.ndarray) -> str:
    names = zip(cmdp.constraint_names, chosen, strict=True)
    return ", ".join(repr(name) for name, is_chosen in names if is_chosen)


def _listed(numbers: np.ndarray) -> str:
    return ", ".join(f"{number:.4g}" for number in numbers)
