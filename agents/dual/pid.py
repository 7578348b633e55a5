"""A controller that prices constraints: proportional, integral and derivative of the violation.

    w = [K_p e + K_i I + K_d [J_t - J_{t-delay}]+]+,   I <- [I + e]+

with e the violation, both smoothed exponentially for the first and third term. Source: Stooke,
Achiam and Abbeel (2020), "Responsive safety in reinforcement learning by PID Lagrangian methods",
algorithm 2.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from safe_envs.contract.argument_checks import check_number, check_whole, checked_array


@dataclass
class PID:
    """A PID controller per constraint.

    Args:
        proportional_gain: K_p, 0.1 as in OmniSafe's CPPO-PID.
        integral_gain: K_i, 0.01 (same source).
        derivative_gain: K_d, 0.01 (same source).
        smoothing: weight of the past in the average of the proportional and derivative terms;
            0.95 (same source).
        derivative_delay: number of updates over which the derivative is taken, 10 (same source).
        max_weight: upper bound of w and of K_i I, 100 (same source).
        num_constraints: m.

    Differs from the paper: the advantages are not divided by 1 + w unless `normalize_lagrangian` is
    True; normalizing the advantage has the same purpose.
    """

    proportional_gain: float = 0.1
    integral_gain: float = 0.01
    derivative_gain: float = 0.01
    smoothing: float = 0.95
    derivative_delay: int = 10
    max_weight: float = 100.0
    num_constraints: int = 1

    def __post_init__(self) -> None:
        check_whole("num_constraints", self.num_constraints, low=0)
        for name in ("proportional_gain", "integral_gain", "derivative_gain", "max_weight"):
            check_number(name, float(vars(self)[name]), low=0.0)
        check_number("smoothing", self.smoothing, low=0.0, high=1.0)
        check_number("derivative_delay", self.derivative_delay, low=1)
        self._weights = np.zeros(self.num_constraints)
        self._integral = np.zeros(self.num_constraints)
        self._smooth_error = np.zeros(self.num_constraints)
        self._smooth_violations: deque[np.ndarray] = deque(maxlen=self.derivative_delay)

    def weights(self) -> np.ndarray:
        """Return the controllers' outputs, (m,)."""
        return self._weights.copy()

    def update(self, violation: np.ndarray) -> None:
        """Update the controllers with the violation, (m,)."""
        violation = checked_array("violation", violation, (self.num_constraints,))
        past = self.smoothing
        if self.integral_gain > 0:
            ceiling = self.max_weight / self.integral_gain
            self._integral = np.clip(self._integral + violation, 0.0, ceiling)
        self._smooth_error = past * self._smooth_error + (1 - past) * violation
        last = self._smooth_violations[-1] if self._smooth_violations else violation
        smooth = past * last + (1 - past) * violation
        earlier = self._smooth_violations[0] if self._smooth_violations else smooth
        self._smooth_violations.append(smooth)
        self._weights = np.clip(
            self.proportional_gain * self._smooth_error
            + self.integral_gain * self._integral
            + self.derivative_gain * np.maximum(smooth - earlier, 0.0),
            0.0,
            self.max_weight,
        )

    def log(self) -> dict[str, np.ndarray]:
        """Return the integral term, which settles at the multiplier."""
        return {"multiplier": self.integral_gain * self._integral}
