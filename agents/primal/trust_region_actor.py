"""The actor of a trust region: what the step asks about it, and the answers by PyTorch."""

from __future__ import annotations

from typing import Protocol

import torch

from agents.actor_critic import MlpPolicy
from agents.batch import Batch, rows
from agents.flat_parameters import flat_values, set_flat_values
from agents.primal.conjugate_gradient import (
    Product,
    action_distributions,
    fisher_product,
    mean_divergence,
    surrogate_gains,
    surrogate_gradients,
)


class TrustRegionActor(Protocol):
    """The actor that took a batch of n steps, and what a step would make of it.

    Steps and gradients are flat, (d,), in the order of `MlpPolicy.actor_parameters`.
    """

    def surrogate_gradients(self, advantages: torch.Tensor) -> list[torch.Tensor]:
        """Return the gradient of mean[(rho - 1) A] for each of j advantages, (n, j) to j (d,)."""
        ...

    def fisher_product(self, every: int, damping: float) -> Product:
        """Return v -> (F + damping I) v, of every n-th observation.

        `after` and `take` end its use.
        """
        ...

    def after(self, step: torch.Tensor, advantages: torch.Tensor) -> tuple[float, torch.Tensor]:
        """Return mean KL(old || new) and mean[(rho - 1) A], (j,), for the actor after a step."""
        ...

    def take(self, step: torch.Tensor) -> None:
        """Move the policy's actor by a step."""
        ...


class TorchActor:
    """An actor whose answers come from automatic differentiation: the reference, for any policy.

    Args:
        policy: its actor does not change before `take`.
        batch: n steps of it.
    """

    def __init__(self, policy: MlpPolicy, batch: Batch) -> None:
        self._policy, self._batch = policy, batch
        self._parameters = policy.actor_parameters()
        self._start = flat_values(self._parameters)
        self._old = action_distributions(policy, batch.observations)

    def surrogate_gradients(self, advantages: torch.Tensor) -> list[torch.Tensor]:
        """Return the gradient of mean[(rho - 1) A] for each of j advantages, (n, j) to j (d,)."""
        return surrogate_gradients(self._policy, self._batch, advantages)

    def fisher_product(self, every: int, damping: float) -> Product:
        """Return v -> (F + damping I) v, of every n-th observation."""
        seen = rows(self._batch.observations, slice(None, None, every))
        return fisher_product(self._policy, seen, damping)

    @torch.no_grad()
    def after(self, step: torch.Tensor, advantages: torch.Tensor) -> tuple[float, torch.Tensor]:
        """Return mean KL(old || new) and mean[(rho - 1) A], (j,), for the actor after a step."""
        self.take(step)
        try:
            divergence = mean_divergence(self._old, self._policy, self._batch.observations)
            return float(divergence), surrogate_gains(self._policy, self._batch, advantages)
        finally:
            set_flat_values(self._parameters, self._start)

    def take(self, step: torch.Tensor) -> None:
        """Move the policy's actor by a step."""
        set_flat_values(self._parameters, self._start + step)
