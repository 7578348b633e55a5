"""What a residual policy knows about an observation x: one vector per observation.

    seen = (z, base(x), share(x), x),   z = clip((x - shift) / scale, -clip, clip)

The networks take z, and the actor adds share(x) phi(z) to base(x), the safe controller's action in
the policy's units. The controller gets x exactly as the environment returned it, in double
precision, and is asked once per observation: rollouts keep the vector.

Shift and scale are the mean and the deviation of x while the safe controller is first measured, and
never change again: with statistics that go on moving, the policy would not remain the one that was
measured to be safe.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from gymnasium import spaces
from torch import nn

from agents.action_scaling import ActionScaling
from agents.observation_normalizer import CLIP, ROUNDING, ObservationNormalizer, is_standardized
from safe_envs.contract.argument_checks import check_number
from safe_envs.contract.backup_policy import BackupPolicy

ObservationScale = float | Sequence[float]
SHOWN = 10  # entries that a warning lists


class ResidualInputs(nn.Module):
    """Takes the place of `ObservationNormalizer` in a `ResidualPolicy`.

    Args:
        space: of the observations, n numbers.
        scaling: of the actions, a numbers.
        backup: the safe controller.
        clip_backup: whether base is the controller's clipped action.
        scale: divisor of the observations, one number or n, with shift 0 and no clipping; None
            waits for `freeze`.

    Raises:
        ValueError: if a scale is not positive, or their number is neither 1 nor n.
    """

    active = True  # it standardizes, and so must nothing else

    def __init__(
        self,
        space: spaces.Box,
        scaling: ActionScaling,
        backup: BackupPolicy,
        clip_backup: bool,
        scale: ObservationScale | None,
    ) -> None:
        super().__init__()
        self.num_observations = spaces.flatdim(space)
        self.num_actions = len(scaling.middle)
        self.clip = float(CLIP) if scale is None else np.inf
        self._space, self._scaling = space, scaling
        self._controller = backup if clip_backup else backup.unclipped
        self._share_of = backup.residual_share
        self._has_warned = False
        self.shift: torch.Tensor
        self.scale: torch.Tensor
        self.is_frozen: torch.Tensor
        n = self.num_observations
        self.register_buffer("shift", torch.zeros(n, dtype=torch.float64))
        self.register_buffer("scale", torch.from_numpy(_checked_scale(scale, n)))
        waits = scale is None and is_standardized(space)
        self.register_buffer("is_frozen", torch.tensor(not waits))

    def moments(self) -> ObservationNormalizer:
        """Return a record of observations that `freeze` takes."""
        return ObservationNormalizer(self._space)

    def freeze(self, moments: ObservationNormalizer) -> None:
        """Set shift and scale to mean and deviation of the recorded observations, for good.

        An entry that did not vary gets half the width of its bounds. Without finite bounds its
        unit is unknown, and the networks do not see it; `update` warns if it ever varies.
        """
        mean, deviation = moments.mean.cpu().numpy(), moments.deviation()
        low, high = (
            side.ravel().astype(np.float64) for side in (self._space.low, self._space.high)
        )
        bounded = np.isfinite(low) & np.isfinite(high) & (high > low)
        half = 0.5 * np.subtract(high, low, out=np.zeros_like(low), where=bounded)
        scale = np.where(deviation > 0, deviation, half)
        self.shift.copy_(torch.from_numpy(mean))
        self.scale.copy_(torch.from_numpy(scale))
        self.is_frozen.fill_(True)

    def in_rollout(self, num_envs: int) -> ResidualInputs:
        """Return what updates and standardizes during a rollout: these inputs themselves."""
        return self

    def update(self, observations: np.ndarray) -> None:
        """Leave the inputs as they are; warn once if an entry varies that the networks do not see.

        Args:
            observations: of a rollout, (N, ...).
        """
        unseen, shift = self.scale.cpu().numpy() == 0, self.shift.cpu().numpy()
        if self._has_warned or not unseen.any():
            return
        x = np.asarray(observations, dtype=np.float64).reshape(len(observations), -1)
        varies = np.flatnonzero(unseen & (np.abs(x - shift) > ROUNDING * np.abs(shift)).any(axis=0))
        if len(varies):
            self._has_warned = True
            entries = ", ".join(map(str, varies[:SHOWN]))
            warnings.warn(
                f"the observations vary in the entries {entries}, but did not while the safe "
                "controller was measured, so their size was unknown and the networks do not see "
                "them; pass policy_kwargs=dict(observation_scale=[the size of every entry])",
                UserWarning,
                stacklevel=2,
            )

    def standardize(self, observations: np.ndarray) -> np.ndarray:
        """Return what the policy knows about observations (N, ...), (N, 2 n + a + 1) float64.

        Raises:
            ValueError: if the controller's actions or shares have the wrong number or are not
                finite.
        """
        x = np.asarray(observations, dtype=np.float64).reshape(len(observations), -1)
        shift, scale = self.shift.cpu().numpy(), self.scale.cpu().numpy()
        z = np.divide(x - shift, scale, out=np.zeros_like(x), where=scale > 0)
        z = np.clip(z, -self.clip, self.clip)
        actions = self._asked("actions", self._controller(x), len(x), self.num_actions)
        share = self._asked("residual_share", self._share_of(x), len(x), 1)
        return np.concatenate([z, self._scaling.to_policy(actions), share, x], axis=1)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Return what the policy knows about observations (N, ...), (N, 2 n + a + 1)."""
        seen = self.standardize(observations.detach().cpu().numpy())
        return torch.from_numpy(seen).to(observations.device)

    def network_inputs(self, seen: torch.Tensor) -> torch.Tensor:
        """Return z of what the policy knows, (N, n)."""
        return seen[:, : self.num_observations]

    def raw(self, seen: torch.Tensor) -> np.ndarray:
        """Return the observations (N, ...) themselves, as the environment returned them."""
        x = seen[:, -self.num_observations :].cpu().numpy()
        return x.reshape(-1, *self._space.shape).astype(self._space.dtype)

    def _asked(self, what: str, answer: np.ndarray, count: int, width: int) -> np.ndarray:
        """Return an answer of the controller, (N, width), checked."""
        found = np.asarray(answer, dtype=np.float64)
        if found.size != count * width or found.shape[:1] != (count,):
            raise ValueError(
                f"the safe controller returned {what} of shape {found.shape} for {count} "
                f"observations of {self.num_observations} numbers; they have to be "
                f"({count}, {width})"
            )
        found = found.reshape(count, width)
        if not np.isfinite(found).all():
            row = int(np.argwhere(~np.isfinite(found))[0][0])
            raise ValueError(
                f"the safe controller returned {what} {found[row].tolist()}, which are not finite; "
                "a safe controller has to answer at every observation"
            )
        return found


def _checked_scale(scale: ObservationScale | None, count: int) -> np.ndarray:
    """Return the given divisors of all entries, (n,)."""
    given = np.asarray(1.0 if scale is None else scale, dtype=np.float64)
    if given.size not in (1, count):
        raise ValueError(
            f"observation_scale has {given.size} numbers, but the observations have {count}; pass "
            f"one number, {count}, or None to measure them"
        )
    for value in given.ravel():
        check_number("observation_scale", float(value), low=0.0, open_low=True)
    return np.broadcast_to(given.ravel(), (count,)).copy()
