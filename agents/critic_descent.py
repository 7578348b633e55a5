"""Minibatch gradient descent on the critics, alone or with the actor: the passes over a batch.

This is where training spends most of its time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from agents.actor_critic import MlpPolicy
from agents.actor_goal import ActorGoal
from agents.batch import LARGEST_PIECE, Batch
from agents.torch_steps import TorchSteps
from agents.update_kernel.kernel_steps import KernelSteps
from agents.update_kernel.service import (
    BACKENDS,
    Backend,
    UpdateBackend,
    backend_of,
    backend_of_steps,
)
from safe_envs.contract.argument_checks import check_choice, check_number


class Steps(Protocol):
    """Steps of an optimizer on parts of a batch."""

    value_loss: float  # of the critics in the last step

    def gather(self, index: torch.Tensor) -> None:
        """Make rows of the batch ready."""
        ...

    def take(self, part: slice) -> bool:
        """Take a step on a part of the gathered rows; False if the actor has moved too far."""
        ...

    def close(self) -> None:
        """Give the policy what was learned."""
        ...


@dataclass(frozen=True)
class CriticDescent:
    """How critics are fitted to a batch; arguments of every agent.

    Args:
        batch_size: rows of a minibatch, 64 as in Stable-Baselines3's PPO.
        n_epochs: passes over the batch, 10 (same source; N in the ALM paper).
        max_grad_norm: bound on the norm of each network's gradient, the actor's (where it descends)
            and every critic's alone; 40 as in OmniSafe. The bound of 0.5 that Stable-Baselines3
            puts on the joint gradient keeps PPO-Lag on Hopper's velocity task in a local optimum
            (falling forward early).
        update_backend: "numpy" computes gradients and steps by hand-derived formulas, several times
            as fast; "torch" is the reference, for any policy. "auto" is "numpy" for multilayer
            perceptrons up to the sizes that were measured (`agents.update_kernel.service`).
    """

    batch_size: int = 64
    n_epochs: int = 10
    max_grad_norm: float = 40.0
    update_backend: UpdateBackend = "auto"

    def __post_init__(self) -> None:
        check_number("batch_size", self.batch_size, low=1)
        check_number("n_epochs", self.n_epochs, low=1)
        check_number("max_grad_norm", self.max_grad_norm, low=0.0, open_low=True)
        check_choice("update_backend", self.update_backend, BACKENDS)

    def fit(self, policy: MlpPolicy, batch: Batch) -> dict[str, float]:
        """Fit the critics and return what to log; the actor does not change.

        Raises:
            NonFiniteLossError: if a loss is NaN or infinite.
        """
        return self.run(policy, batch, None)

    def run(
        self, policy: MlpPolicy, batch: Batch, goal: ActorGoal | None, vf_coef: float = 1.0
    ) -> dict[str, float]:
        """Fit the critics, and the actor in the same passes, and return what to log.

        Args:
            policy: its optimizer takes the steps.
            batch: n steps.
            goal: of the actor; None leaves it as it is.
            vf_coef: weight of the critics' loss.

        Raises:
            NonFiniteLossError: if a loss is NaN or infinite.
        """
        with_actor = goal is not None
        backend = backend_of_steps(policy, self.update_backend, self.batch_size, with_actor)
        kind = KernelSteps if backend == "numpy" else TorchSteps
        steps: Steps = kind(policy, batch, goal, vf_coef, self.max_grad_norm)
        try:
            with np.errstate(all="ignore"):  # numbers that are not finite raise NonFiniteLossError
                passes = self._passes(steps, len(batch.targets))
        finally:
            steps.close()
        return {"value_loss": steps.value_loss, "n_epochs": float(passes)}

    def actor_backend(self, policy: MlpPolicy) -> Backend:
        """Return what evaluates and updates the actor: what `update_backend` means for a policy."""
        return backend_of(policy, self.update_backend, self.batch_size, with_actor=True)

    def _passes(self, steps: Steps, count: int) -> int:
        """Return how many passes were made over this many rows."""
        size = self.batch_size
        piece = size * max(LARGEST_PIECE // size, 1)
        for passes in range(self.n_epochs):
            for index in torch.randperm(count).split(piece):
                steps.gather(index)
                rows = len(index)
                for start in range(0, rows, size):
                    if not steps.take(slice(start, min(start + size, rows))):
                        return passes
        return self.n_epochs
