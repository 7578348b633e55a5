"""What an update of the policy learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from safe_envs.contract.episode_totals import Episode

Observations = torch.Tensor | dict[str, torch.Tensor]
LARGEST_PIECE = 4096  # rows of one pass: more are no faster, and their activations fill the memory


class Batch(NamedTuple):
    """n steps taken by one policy; the k = 1 + m signals are the reward and the m costs."""

    observations: Observations  # (n, ...) as the networks see them, or a dict of such tensors
    actions: torch.Tensor  # (n, ...) in the policy's units
    log_probs: torch.Tensor  # (n,) of the actions under the policy that took them
    advantages: torch.Tensor  # (n, k)
    targets: torch.Tensor  # (n, k) targets of the critics


class Measurement(NamedTuple):
    """Constraints over the episodes that ended since the last update, or a repeat for new limits.

    A repeat is the last measurement against limits that have changed since.
    """

    costs: np.ndarray  # (m,) mean cost
    limits: np.ndarray  # (m,)
    horizon: np.ndarray  # (m,) mean discounted number of steps of an episode
    episodes: int  # that no measurement has counted before: 0 in a repeat
    variances: np.ndarray  # (m,) of an episode's cost, around its local mean; 0 if unknown
    latest: np.ndarray  # (m,) costs of the last of the episodes

    @property
    def violation(self) -> np.ndarray:
        """Mean cost - limit, (m,); feasible if <= 0."""
        return self.costs - self.limits


def measurement(
    episodes: Sequence[Episode], limits: np.ndarray, before: Measurement | None = None
) -> Measurement | None:
    """Return how the episodes violate the limits, (m,); None if there are no episodes.

    The variance of a cost is half the mean square of the differences between an episode and the
    next, which a change of the policy hardly affects. Source: von Neumann et al. (1941), "The mean
    square successive difference".

    Args:
        episodes: in the order in which they ended.
        limits: (m,).
        before: the measurement before.
    """
    if not episodes:
        return None
    horizon = np.mean([episode.horizon for episode in episodes], axis=0)
    costs = [episode.costs for episode in episodes]
    apart = np.diff(costs if before is None else [before.latest, *costs], axis=0)
    variances = np.square(apart).sum(0) / (2 * max(len(apart), 1))
    return Measurement(mean_costs(episodes), limits, horizon, len(episodes), variances, costs[-1])


def mean_costs(episodes: Sequence[Episode]) -> np.ndarray:
    """Return the mean cost of each constraint over at least one episode, (m,)."""
    return np.mean([episode.costs for episode in episodes], axis=0)


def split(observations: Observations, size: int) -> list[Observations]:
    """Return the observations in pieces of `size` rows; the last may be shorter."""
    if isinstance(observations, Mapping):
        pieces = (value.split(size) for value in observations.values())
        return [dict(zip(observations, piece, strict=True)) for piece in zip(*pieces, strict=True)]
    return list(observations.split(size))


def pieces(batch: Batch) -> list[Batch]:
    """Return the batch in pieces of `LARGEST_PIECE` rows, without copying; the last is shorter."""
    seen = split(batch.observations, LARGEST_PIECE)
    columns = [column.split(LARGEST_PIECE) for column in batch[1:]]
    return [Batch(*parts) for parts in zip(seen, *columns, strict=True)]


def rows(observations: Observations, index: torch.Tensor | slice) -> Observations:
    """Return the chosen rows of observations."""
    if isinstance(observations, Mapping):
        return {key: _chosen(value, index) for key, value in observations.items()}
    return _chosen(observations, index)


def standardized(advantage: torch.Tensor) -> torch.Tensor:
    """Return the advantage, (n,), shifted and scaled to mean 0 and population deviation 1.

    There is no epsilon, which would depend on the units; a constant advantage becomes 0.
    """
    centered = advantage - advantage.mean()
    deviation = centered.square().mean().sqrt()
    return centered / deviation if deviation > 0 else torch.zeros_like(centered)


def _chosen(values: torch.Tensor, index: torch.Tensor | slice) -> torch.Tensor:
    if isinstance(index, slice):
        return values[index]
    return values.index_select(0, index.to(values.device))  # several times as fast as values[index]
