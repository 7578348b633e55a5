"""The alarm for multipliers that grow without effect."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np

from agents.tabular.linear_program import least_cost
from safe_envs.tabular.model import PolicyEvaluation, TabularCMDP

DUAL_STEPS_IN_A_ROW = 5


class MultiplierGrowthWarning(RuntimeWarning):
    """The multipliers grow, the violation does not fall: the primal step has stalled."""


class StallAlarm:
    """Warns once if a solver does worse at its inner problem than every feasible policy.

    A policy that meets the limits has V_r - lambda . (V_c - limit) >= V_r >= min V_r. A current
    policy below that bound,

        V_r - lambda . (V_c - limit) < min V_r,

    therefore has not solved its inner problem, or the policy class holds no feasible policy.
    That, after five dual steps in a row over which the violation did not fall by a tenth, gives
    the warning; alone it happens to healthy runs whose multiplier has overshot.
    """

    def __init__(self, cmdp: TabularCMDP) -> None:
        self.cmdp = cmdp
        self._least_value: float | None = None
        self._streak = 0  # dual steps in a row without the violation falling
        self._first_violation = np.inf  # at the start of the streak
        self._warned = False

    def watch(self, evaluation: PolicyEvaluation, multipliers: np.ndarray) -> None:
        """Look at the policy reached under multipliers that were held; call before a dual step."""
        violation = evaluation.costs - self.cmdp.limits
        priced, worst = float(multipliers @ violation), float(violation.max())
        if self._warned or priced <= 0.0:
            self._streak = 0
            return
        if self._streak == 0 or worst < 0.9 * self._first_violation:
            self._streak, self._first_violation = 0, worst
        self._streak += 1
        stalled = self._streak >= DUAL_STEPS_IN_A_ROW
        if stalled and evaluation.value - priced < self._smallest_value():
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
