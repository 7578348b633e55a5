"""The alarm for multipliers that grow without effect."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np

from agents.tabular.linear_program import least_cost
from safe_envs.tabular_model import PolicyEvaluation, TabularCMDP

DUAL_STEPS_IN_A_ROW = 5


class MultiplierGrowthWarning(RuntimeWarning):
    """The multipliers grow, the violation does not fall: the primal step has stalled."""


class StallAlarm:
    """Warns once if a solver is worse at its own inner problem than every feasible policy.

    A policy that meets the limits has V_r - lambda . (V_c - limit) >= V_r >= min V_r. A current
    policy below that bound,

        V_r - lambda . (V_c - limit) < min V_r,

    therefore has not solved its inner problem, or the policy class holds no feasible policy.
    Five dual steps in a row of it, with the violation priced by lambda not falling, give the
    warning; a single one happens to healthy runs whose multiplier has overshot.
    """

    def __init__(self, cmdp: TabularCMDP) -> None:
        self.cmdp = cmdp
        self._least_value: float | None = None
        self._growing = 0
        self._first_violation = np.inf
        self._warned = False

    def watch(self, evaluation: PolicyEvaluation, multipliers: np.ndarray) -> None:
        """Look at the policy reached under multipliers that were held; call before a dual step."""
        violation = evaluation.costs - self.cmdp.limits
        worst = float(violation.max())
        priced = float(multipliers @ violation)
        if self._warned or priced <= 0.0 or worst < 0.9 * self._first_violation:
            self._growing, self._first_violation = 0, worst if worst > 0.0 else np.inf
            return
        if evaluation.value - priced >= self._smallest_value():
            return
        self._growing += 1
        if self._growing == DUAL_STEPS_IN_A_ROW:
            self._warned = True
            warnings.warn(
                f"the multipliers have grown to {np.round(multipliers, 3).tolist()} and the "
                f"violation stays at {worst:.3g}: every feasible policy would do better, so the "
                "steps have stalled or the features hold no feasible policy; lower step_size or "
                "penalty, or pass features that tell more states apart",
                MultiplierGrowthWarning,
                stacklevel=3,
            )

    def _smallest_value(self) -> float:
        if self._least_value is None:
            reward_as_cost = replace(
                self.cmdp,
                costs=self.cmdp.reward[None],
                limits=np.zeros(1),
                constraint_names=(),
            )
            self._least_value = least_cost(reward_as_cost)
        return self._least_value
