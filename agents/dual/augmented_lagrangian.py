"""The augmented Lagrangian: a multiplier and a quadratic penalty on the measured violation.

    w = [lambda + tau * violation]+   at every update of the policy
    lambda <- w                       at every `primal_steps_per_dual_step`-th of them

Source: Lu, Lin, Chen and Vaswani (2026), "Augmented Lagrangian method for last-iterate
convergence for constrained MDPs" (arXiv 2605.11694), equations 4 and 6 and appendix F, in cost
form. The dual step is the penalty tau itself, and the multiplier needs no upper bound.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safe_envs.contract.argument_checks import check_number, check_whole, checked_array


@dataclass
class AugmentedLagrangian:
    """One multiplier per constraint and a common penalty.

    Args:
        penalty: tau; the paper searches {1e-3, 1e-2, 1e-1}.
        primal_steps_per_dual_step: policy updates per dual step; 10 in the paper ("AL updates").
        initial_multiplier: lambda before the first dual step; 0 in the paper's theory.
        penalty_growth: factor on tau after every dual step. 1 in the paper.
        num_constraints: m.
    """

    penalty: float = 0.01
    primal_steps_per_dual_step: int = 10
    initial_multiplier: float = 0.0
    penalty_growth: float = 1.0
    num_constraints: int = 1

    def __post_init__(self) -> None:
        check_whole("num_constraints", self.num_constraints, low=0)
        check_number("penalty", self.penalty, low=0.0, open_low=True)
        check_number("primal_steps_per_dual_step", self.primal_steps_per_dual_step, low=1)
        check_number("initial_multiplier", self.initial_multiplier, low=0.0)
        check_number("penalty_growth", self.penalty_growth, low=1.0)
        self._multiplier = np.full(self.num_constraints, self.initial_multiplier)
        self._weights = self._multiplier.copy()
        self._tau = self.penalty
        self._updates = 0

    def weights(self) -> np.ndarray:
        """Return the weights w of the costs, (m,)."""
        return self._weights.copy()

    def update(self, violation: np.ndarray) -> None:
        """Set the weights from the violation, (m,); every n-th call also updates the multiplier."""
        violation = checked_array("violation", violation, (self.num_constraints,))
        self._weights = np.maximum(self._multiplier + self._tau * violation, 0.0)
        self._updates += 1
        if self._updates % self.primal_steps_per_dual_step == 0:
            self._multiplier = self._weights.copy()
            self._tau *= self.penalty_growth

    def log(self) -> dict[str, np.ndarray]:
        """Return the multipliers and the penalty."""
        return {"multiplier": self._multiplier.copy(), "penalty": np.array([self._tau])}
