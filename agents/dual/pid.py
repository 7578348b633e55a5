"""A controller that prices constraints: proportional, integral and derivative of the violation.

    w = [u K_p e + I + u K_d [J_t - J_{t-delay}]+]+,   I <- [I + K_i u e]+

with e = J the violation, smoothed exponentially for the first and third term; violation and u are
the pure numbers and the price units of `agents.price_units`. Source: Stooke, Achiam and Abbeel
(2020), "Responsive safety in reinforcement learning by PID Lagrangian methods", algorithm 2.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from safe_envs.contract.argument_checks import check_number, check_whole, checked_array


@dataclass
class PID:
    """A PID controller per constraint.

    Args:
        proportional_gain: K_p; the gains are pure numbers, in units of the price at which reward
            and cost weigh the same per violation as large as the limit.
        integral_gain: K_i.
        derivative_gain: K_d.
        smoothing: weight of the past in the average of the proportional and derivative terms.
            OmniSafe's 0.95 delays the reaction by twenty updates, and the price circles.
        derivative_delay: number of updates over which the derivative is taken, 10 (same source).
        max_weight: upper bound of w and of I in price units, 100 (same source).
        num_constraints: m.

    Differs from the paper: the advantages are not divided by 1 + w unless `normalize_lagrangian` is
    True; normalizing the advantage has the same purpose. The integral I is kept as a price.
    """

    proportional_gain: float = 0.3
    integral_gain: float = 0.05
    derivative_gain: float = 0.1
    smoothing: float = 0.8
    derivative_delay: int = 10
    max_weight: float = 100.0
    num_constraints: int = 1

    def __post_init__(self) -> None:
        check_whole("num_constraints", self.num_constraints, low=0)
        for name in ("proportional_gain", "integral_gain", "derivative_gain", "max_weight"):
            check_number(name, vars(self)[name], low=0.0)
        check_number("smoothing", self.smoothing, low=0.0, high=1.0)
        check_number("derivative_delay", self.derivative_delay, low=1)
        self._weights = np.zeros(self.num_constraints)
        self._integral = np.zeros(self.num_constraints)
        self._smooth_error = np.zeros(self.num_constraints)
        self._smooth_violations: deque[np.ndarray] = deque(maxlen=int(self.derivative_delay))

    def weights(self) -> np.ndarray:
        """Return the controllers' outputs, (m,)."""
        return self._weights.copy()

    def update(self, violation: np.ndarray | None, price_unit: np.ndarray) -> None:
        """Update the controllers with the violation, (m,)."""
        if violation is None:
            return
        violation = checked_array("violation", violation, (self.num_constraints,))
        past, ceiling = self.smoothing, self.max_weight * price_unit
        moved = self._integral + self.integral_gain * price_unit * violation
        self._integral = np.clip(moved, 0.0, np.maximum(ceiling, self._integral))
        self._smooth_error = past * self._smooth_error + (1 - past) * violation
        last = self._smooth_violations[-1] if self._smooth_violations else violation
        smooth = past * last + (1 - past) * violation
        earlier = self._smooth_violations[0] if self._smooth_violations else smooth
        self._smooth_violations.append(smooth)
        rise = np.maximum(smooth - earlier, 0.0)
        reaction = self.proportional_gain * self._smooth_error + self.derivative_gain * rise
        self._weights = np.clip(
            self._integral + price_unit * reaction, 0.0, np.maximum(ceiling, self._integral)
        )

    def log(self) -> dict[str, np.ndarray]:
        """Return the integral term, which settles at the multiplier."""
        return {"multiplier": self._integral.copy()}

    def state(self) -> dict[str, Any]:
        """Return the terms and the recent violations."""
        return {
            "weights": self.weights(),
            "integral": self._integral.copy(),
            "smooth_error": self._smooth_error.copy(),
            "smooth_violations": [one.tolist() for one in self._smooth_violations],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self._weights = np.array(state["weights"], dtype=np.float64)
        self._integral = np.array(state["integral"], dtype=np.float64)
        self._smooth_error = np.array(state["smooth_error"], dtype=np.float64)
        self._smooth_violations.clear()
        self._smooth_violations.extend(np.array(one) for one in state["smooth_violations"])
