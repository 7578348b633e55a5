"""Standardized observations: the policy keeps the running mean and deviation of each entry.

    seen = clip((observation - mean) / deviation, -10, 10)

The statistics are updated in rollouts only. Any shift or scale of an entry gives the same inputs of
the networks: there is no epsilon, and an entry that has never varied is seen as 0. Discrete and
MultiDiscrete observations are counted from 0, whatever their space starts from, because
Stable-Baselines3's one-hot vectors do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import nn

from safe_envs.contract.one_hot_box import OneHotBox

Raw = np.ndarray | dict[str, np.ndarray]
CLIP = 10.0  # deviations, as in Stable-Baselines3's VecNormalize
LOWEST, HIGHEST = np.array(-CLIP), np.array(CLIP)  # faster to compare with than Python's numbers
ROUNDING = 1e-12  # of the mean: a deviation below it is rounding
SURE = 100.0  # times that: no rounding, and not soon to be; see `RunningStatistics.deviation`


class ObservationNormalizer(nn.Module):
    """The statistics of all entries that are standardized, as one vector of d numbers.

    Args:
        space: of the observations.
        enabled: False passes all observations on as they are.
        normalize_images: whether images are recognized by their range, as in Stable-Baselines3's
            policies.
    """

    def __init__(
        self, space: spaces.Space, enabled: bool = True, normalize_images: bool = True
    ) -> None:
        super().__init__()
        parts = space.spaces if isinstance(space, spaces.Dict) else {"": space}
        sizes = {
            key: spaces.flatdim(part)
            for key, part in parts.items()
            if enabled and is_standardized(part, normalize_images)
        }
        ends = np.cumsum([0, *sizes.values()]).tolist()
        self.slices = {
            key: slice(*ends[i : i + 2]) for i, key in enumerate(sizes)
        }  # of the vector, by key; "" for an observation that is no dictionary
        starts = {key: np.asarray(getattr(part, "start", 0)) for key, part in parts.items()}
        self.starts = {key: start for key, start in starts.items() if start.any()}
        self.mean: torch.Tensor
        self.squares: torch.Tensor
        self.count: torch.Tensor
        self.register_buffer("mean", torch.zeros(ends[-1], dtype=torch.float64))
        self.register_buffer("squares", torch.zeros(ends[-1], dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    @property
    def active(self) -> bool:
        """Whether anything is standardized."""
        return bool(self.slices)

    def update(self, observations: Raw) -> None:
        """Take the observations of N environments into the statistics, (N, ...)."""
        RunningStatistics(self).update(observations)

    def standardize(self, observations: Raw) -> Raw:
        """Return the observations as the networks see them, (N, ...), standardized as float32."""
        return RunningStatistics(self).standardize(observations)

    def in_rollout(self, num_envs: int) -> RunningStatistics:
        """Return what updates and standardizes with less effort per step, for one rollout."""
        return RunningStatistics(self, num_envs)

    def forward(self, observations: PyTorchObs) -> PyTorchObs:
        """Return tensors of observations as the networks see them, (N, ...)."""
        observations = self.from_zero(observations)
        if not self.active:
            return observations
        mean, deviation = self.mean, torch.from_numpy(self.deviation()).to(self.mean.device)
        varies = deviation > 0

        def scaled(part: torch.Tensor, own: slice) -> torch.Tensor:
            off = part.reshape(len(part), -1).double() - mean[own]
            out = torch.where(varies[own], off / deviation[own], 0.0).clamp(-CLIP, CLIP)
            return out.float().reshape(part.shape)

        if isinstance(observations, Mapping):
            changed = {key: scaled(observations[key], own) for key, own in self.slices.items()}
            return {**observations, **changed}
        return scaled(observations, self.slices[""])

    def deviation(self) -> np.ndarray:
        """Return the deviation of each entry, (d,); 0 where it has not varied."""
        return RunningStatistics(self).deviation(unvaried=0.0)

    def set_moments(self, mean: np.ndarray, deviation: np.ndarray, count: float = 1.0) -> None:
        """Replace the statistics, (d,) each; `count` is their weight against later observations."""
        mean, deviation = (np.asarray(given, dtype=np.float64) for given in (mean, deviation))
        self.mean.copy_(torch.from_numpy(mean.reshape(self.mean.shape)))
        self.squares.copy_(torch.from_numpy(np.square(deviation).reshape(self.mean.shape) * count))
        self.count.fill_(count)

    def from_zero(self, observations: Any) -> Any:
        """Return arrays or tensors of observations, those of Discrete spaces counted from 0."""

        def counted(part: Any, key: str) -> Any:
            start = self.starts.get(key)
            if start is None:
                return part
            if isinstance(part, torch.Tensor):
                return part - torch.as_tensor(start, device=part.device)
            return part - start

        if not self.starts:
            return observations
        if isinstance(observations, Mapping):
            return {key: counted(part, key) for key, part in observations.items()}
        return counted(observations, "")

    def joined(self, observations: Raw) -> np.ndarray:
        """Return the standardized parts as one array, (N, d) float64."""
        if not isinstance(observations, dict):
            if observations.ndim == 2 and observations.dtype == np.float64:
                return observations
            return np.asarray(observations, dtype=np.float64).reshape(len(observations), -1)
        flat = [np.asarray(observations[key], dtype=np.float64) for key in self.slices]
        return np.concatenate([part.reshape(len(part), -1) for part in flat], axis=1)


class RunningStatistics:
    """A normalizer's statistics as NumPy arrays, for the many steps of one rollout.

    The arrays are the memory of the normalizer's buffers, so that the policy always has the
    current statistics; PyTorch's own access to them would take most of the time. Only if they are
    on another device are they read and written at every call.

    Args:
        normalizer: of the policy that acts.
        num_envs: environments N of a usual step.
    """

    def __init__(self, normalizer: ObservationNormalizer, num_envs: int = 1) -> None:
        self._normalizer = normalizer
        self._ones = np.ones(num_envs)
        self._rows = np.empty((0, 0))  # see `_repeated`
        self._own_count = -1.0  # of the statistics if nobody else has set them since
        self._vary_until = 0.0  # the count up to which all entries are sure to vary
        self._active = normalizer.active
        self._is_shared = normalizer.mean.device.type == "cpu"
        self._read()

    def update(self, observations: Raw) -> None:
        """Take the observations of N environments into the statistics, (N, ...).

        Source: Chan, Golub and LeVeque (1983), "Algorithms for computing the sample variance".
        """
        if not self._active:
            return
        if not self._is_shared:
            self._read()
        rows = self._normalizer.joined(observations)
        count, added = float(self._count), len(rows)
        total = count + added
        off = rows - self._repeated(self._mean, added)
        if added == 1:
            apart = off[0]
            squares = apart * apart
            squares *= count / total
        elif count == 0.0:  # the general formula would cancel
            apart = off.mean(0)
            squares = np.square(off - apart).sum(0)
        else:
            ones = self._ones if added == len(self._ones) else np.ones(added)
            apart = ones.dot(off)  # faster than a sum, and than np.dot
            apart /= float(added)
            off *= off
            squares = ones.dot(off)
            squares -= apart * apart * (added * added / total)
        self._squares += squares
        apart *= added / total
        self._mean += apart
        self._count[...] = total
        if self._own_count == count:
            self._own_count = total
        if not self._is_shared:
            self._write()

    def standardize(self, observations: Raw) -> Raw:
        """Return the observations as the networks see them, (N, ...), standardized as float32."""
        if self._normalizer.starts:
            observations = self._normalizer.from_zero(observations)
        if not self._active:
            return observations
        if not self._is_shared:
            self._read()
        rows = self._normalizer.joined(observations)
        scaled = rows - self._repeated(self._mean, len(rows))
        scaled /= self._repeated(self.deviation(unvaried=np.inf), len(rows))
        np.minimum(np.maximum(scaled, LOWEST, out=scaled), HIGHEST, out=scaled)
        seen = scaled.astype(np.float32)
        if isinstance(observations, dict):
            changed = {
                key: seen[:, own].reshape(observations[key].shape)
                for key, own in self._normalizer.slices.items()
            }
            return {**observations, **changed}
        return seen if observations.ndim == 2 else seen.reshape(observations.shape)

    def deviation(self, unvaried: float) -> np.ndarray:
        """Return the deviation of each entry, (d,), and `unvaried` where it has not varied.

        What has varied by far more than rounding goes on to: with a share f of the observations
        seen before, deviation / |mean| falls at most by the factor sqrt(f) / 2, or stays above
        sqrt(f) / 2. So the entries are compared anew only when there are `SURE` times as many.
        """
        count = float(self._count)
        found = self._squares / max(count, 1.0)
        np.sqrt(found, found)
        if count == self._own_count and count <= self._vary_until:
            return found
        smallest = np.abs(self._mean) * ROUNDING
        varies = found > smallest
        if np.count_nonzero(varies) == len(varies):
            is_sure = np.count_nonzero(found > SURE * smallest) == len(varies)
            self._own_count, self._vary_until = count, SURE * count if is_sure else 0.0
            return found
        return np.where(varies, found, unvaried)

    def _repeated(self, entries: np.ndarray, rows: int) -> np.ndarray:
        """Return one number per entry, (d,), as an array of that many rows, until the next call.

        NumPy combines arrays of one shape in a third of the time of a row and an array.
        """
        if rows == 1:
            return entries[None]
        if len(self._rows) != rows:
            self._rows = np.empty((rows, len(entries)))
        self._rows[...] = entries
        return self._rows

    def _read(self) -> None:
        buffers = (self._normalizer.mean, self._normalizer.squares, self._normalizer.count)
        self._mean, self._squares, self._count = (buffer.cpu().numpy() for buffer in buffers)

    def _write(self) -> None:
        self._normalizer.mean.copy_(torch.from_numpy(self._mean))
        self._normalizer.squares.copy_(torch.from_numpy(self._squares))
        self._normalizer.count.fill_(float(self._count))


def is_standardized(space: spaces.Space, normalize_images: bool = True) -> bool:
    """Return whether observations of this space are standardized: Box, but no image or one-hot."""
    if not isinstance(space, spaces.Box) or isinstance(space, OneHotBox):
        return False
    return not is_image_space(space, normalized_image=not normalize_images)


def describes(normalizer: ObservationNormalizer) -> dict[str, Any]:
    """Return mean and deviation of each standardized part, by key."""
    mean, deviation = normalizer.mean.cpu().numpy(), normalizer.deviation()
    return {key: (mean[own], deviation[own]) for key, own in normalizer.slices.items()}
