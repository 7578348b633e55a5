"""Safe controllers that environments offer, for learners that start from one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np

Controller = Callable[[np.ndarray], np.ndarray]  # observations (..., n) to actions (..., a)


@runtime_checkable
class BackupPolicy(Protocol):
    """A safe controller that a learner may add to; `env.unwrapped.backup_policy()` returns one."""

    def __call__(self, observation: np.ndarray) -> np.ndarray:
        """Return the safe actions (..., a) at observations (..., n), within the bounds."""
        ...

    def unclipped(self, observation: np.ndarray) -> np.ndarray:
        """Return the controller's law before it is clipped to the actions' bounds, (..., a).

        A learner adds to this and clips the sum. Where the law is far beyond the bound, a small
        addition then changes nothing, and the controller keeps its margin.
        """
        ...

    def residual_share(self, observation: np.ndarray) -> np.ndarray:
        """Return the share of a learner's addition that is applied, (...,), from 0 to 1.

        0 where the controller has to act alone, such as at the point it stabilizes.
        """
        ...


class LinearFeedback:
    """The controller clip(-K x, low, high) of a state x, which is the observation.

    A learner's addition is scaled with the distance from the origin, up to a radius, so that the
    origin remains an equilibrium of the closed loop.

    Args:
        gain: K, (a, n).
        low: lower bound of the actions.
        high: upper bound of the actions.
        full_share_radius: additions are applied in full from this |x|; 0 for everywhere.
    """

    def __init__(
        self, gain: np.ndarray, low: float, high: float, full_share_radius: float = 0.0
    ) -> None:
        self.gain = np.array(gain, dtype=np.float64)
        self.gain.setflags(write=False)
        self.low = low
        self.high = high
        self.full_share_radius = full_share_radius

    def __call__(self, observation: np.ndarray) -> np.ndarray:
        """Return clip(-K x, low, high), (..., a)."""
        return np.clip(self.unclipped(observation), self.low, self.high)

    def unclipped(self, observation: np.ndarray) -> np.ndarray:
        """Return -K x, (..., a)."""
        return -(np.asarray(observation, dtype=np.float64) @ self.gain.T)

    def residual_share(self, observation: np.ndarray) -> np.ndarray:
        """Return min(|x| / radius, 1), (...,)."""
        if self.full_share_radius == 0.0:
            return np.ones(np.shape(observation)[:-1])
        distance = np.linalg.norm(np.asarray(observation, dtype=np.float64), axis=-1)
        return np.minimum(distance / self.full_share_radius, 1.0)


class PlainController:
    """A function of observations as a `BackupPolicy` that applies every addition in full."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    def __call__(self, observation: np.ndarray) -> np.ndarray:
        """Return the function's actions."""
        return np.asarray(self._controller(observation))

    def unclipped(self, observation: np.ndarray) -> np.ndarray:
        """Return the function's actions."""
        return self(observation)

    def residual_share(self, observation: np.ndarray) -> np.ndarray:
        """Return ones."""
        return np.ones(np.shape(observation)[:-1])


def as_backup_policy(controller: BackupPolicy | Controller) -> BackupPolicy:
    """Return a `BackupPolicy`, made from a function of observations if it is not one yet.

    Raises:
        TypeError: if it cannot be called.
    """
    if isinstance(controller, BackupPolicy):
        return controller
    if not callable(controller):
        raise TypeError(
            f"the safe policy is {controller!r}; pass a function from observations (..., n) to "
            "actions (..., a), or an object with the methods of safe_envs.BackupPolicy"
        )
    return PlainController(controller)
