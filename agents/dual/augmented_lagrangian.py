"""The augmented Lagrangian: a multiplier and a quadratic penalty on the measured violation.

    lambda <- [lambda + tau u violation]+   every `primal_steps_per_dual_step` updates of the policy
    w = [lambda + tau u violation]+         at every update of the policy

with violation and u the pure numbers and the price units of `agents.price_units`. Source: Lu, Lin,
Chen and Vaswani (2026), "Augmented Lagrangian method for last-iterate convergence for constrained
MDPs" (arXiv 2605.11694), equations 4 and 6 and appendix F, in cost form. The dual step is the
penalty tau itself, and the multiplier needs no upper bound.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agents.agent_settings import AT_START
from safe_envs.contract.argument_checks import (
    check_not_negative,
    check_number,
    check_positive,
    check_whole,
    checked_array,
)

STATE = ("_multiplier", "_weights", "_started", "_growth", "_updates", "_violation")


@dataclass
class AugmentedLagrangian:
    """One multiplier per constraint and a common penalty.

    Args:
        penalty: tau, a pure number: at a violation as large as the limit, the penalty part of the
            price is tau times the price at which reward and cost weigh the same. (The paper's
            grid, 1e-3 to 1e-1, is in units of reward per squared cost.)
        primal_steps_per_dual_step: updates of the policy per dual step, whether or not an episode
            ended in each. A dual step is skipped if no episode has ended since the last one. 10 in
            the paper ("AL updates"), where the price may come too late: on Hopper's velocity task,
            after falling forward fast has been learned.
        initial_multiplier: lambda before the first dual step, in price units; 0 in the paper's
            theory.
        penalty_growth: factor on tau after every dual step. 1 in the paper.
        num_constraints: m.
    """

    penalty: float = 0.6
    primal_steps_per_dual_step: int = 3
    initial_multiplier: float = field(default=0.0, metadata=AT_START)
    penalty_growth: float = 1.0
    num_constraints: int = 1

    def __post_init__(self) -> None:
        check_whole("num_constraints", self.num_constraints, low=0)
        check_number("penalty", self.penalty, low=0.0, open_low=True)
        check_positive(penalty=self.penalty)  # nor infinite
        check_number("primal_steps_per_dual_step", self.primal_steps_per_dual_step, low=1)
        check_not_negative(initial_multiplier=self.initial_multiplier)
        check_number("penalty_growth", self.penalty_growth, low=1.0)
        self._multiplier = np.zeros(self.num_constraints)
        self._weights = self._multiplier.copy()
        self._started = np.zeros(self.num_constraints, dtype=np.bool_)
        self._growth = 1.0
        self._updates = 0
        self._violation: np.ndarray | None = None  # measured since the last dual step

    def weights(self) -> np.ndarray:
        """Return the weights w of the costs, (m,)."""
        return self._weights.copy()

    def update(self, violation: np.ndarray | None, price_unit: np.ndarray) -> None:
        """Set the weights from the violation, (m,); every n-th call also updates the multiplier."""
        starts = ~self._started & (price_unit > 0)  # a cost without a unit has no price yet
        self._multiplier = np.where(starts, self.initial_multiplier * price_unit, self._multiplier)
        self._started = self._started | starts
        self._updates += 1
        if violation is not None:
            self._violation = checked_array("violation", violation, (self.num_constraints,))
        if self._violation is None:
            return
        is_due = self._updates % self.primal_steps_per_dual_step == 0
        if violation is not None or is_due:
            pull = self.penalty * self._growth * price_unit * self._violation
            if is_due:
                self._multiplier = np.maximum(self._multiplier + pull, 0.0)
                self._growth *= self.penalty_growth
                self._violation = None
            self._weights = np.maximum(self._multiplier + pull, 0.0)

    def log(self) -> dict[str, np.ndarray]:
        """Return the multipliers and the penalty."""
        tau = self.penalty * self._growth
        return {"multiplier": self._multiplier.copy(), "penalty": np.array([tau])}

    def state(self) -> dict[str, Any]:
        """Return multiplier, weights, growth of tau, count of updates and the last violation."""
        return {name: vars(self)[name] for name in STATE}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        vars(self).update({name: state[name] for name in STATE})
