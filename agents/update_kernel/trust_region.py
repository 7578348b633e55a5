"""What a trust region asks about an actor, in NumPy, in pieces of rows.

The Fisher matrix of the parameters is F = mean_s J' M J, with the Jacobian J of the actor's outputs
and the Fisher matrix M of the distribution that they describe. F v takes a pass forward along v
(J v), a product with M for each row, and a pass backward (J' u). Sources: Schulman et al. (2015),
"Trust region policy optimization", appendix C; Martens (2020), "New insights and perspectives on
the natural gradient method", on the generalized Gauss-Newton matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from agents.actor_critic import MlpPolicy
from agents.batch import Batch, Observations, rows, split
from agents.flat_parameters import flat_values, set_flat_values
from agents.update_kernel.perceptrons import PerceptronPass
from agents.update_kernel.policy_kernel import PolicyKernel

PIECE = 1024  # rows of one pass: their activations stay in the processor's cache
KEPT_BYTES = 64 * 2**20  # of activations that are computed once for all products


class KernelActor:
    """The actor that took a batch's steps, and what a step would make of it.

    The counterpart of `agents.primal.trust_region_actor.TorchActor` for policies that the kernel
    serves. Steps and gradients are flat, in the order of `MlpPolicy.actor_parameters`.

    Args:
        policy: its actor does not change before `take`.
        batch: n steps of it.
    """

    def __init__(self, policy: MlpPolicy, batch: Batch) -> None:
        self._policy, self._batch = policy, batch
        self._old = PolicyKernel(policy, with_actor=True)
        self._new = PolicyKernel(policy, with_actor=True)
        self._distribution = self._old.distribution()
        self._new_distribution = self._new.distribution()
        self._places = self._old.actor_places()
        self._start = flat_values(policy.actor_parameters())
        self._actions = batch.actions.reshape(len(batch.actions), -1).numpy()
        self._log_probs = batch.log_probs.numpy()
        self._passes = ActorPasses(policy, self._old, batch.observations, KEPT_BYTES)
        self._new_passes = ActorPasses(policy, self._new, batch.observations)
        outputs = [one.outputs[0][0].copy() for _, one in self._passes]
        self._outputs = np.concatenate(outputs)  # (n, o) of the old actor

    @np.errstate(all="ignore")
    def surrogate_gradients(self, advantages: torch.Tensor) -> list[torch.Tensor]:
        """Return the gradient of mean[(rho - 1) A] for each of j advantages, (n, j) to j (d,)."""
        count, gradient = len(advantages), self._old.gradient
        totals = np.zeros((advantages.shape[1], len(self._places)), gradient.dtype)
        for part, one in self._passes:
            for total, advantage in zip(totals, advantages[part].numpy().T, strict=True):
                x = self._distribution.log_prob(one.outputs[0][0], self._actions[part])
                u = np.exp(x - self._log_probs[part])  # rho = d rho / d log pi
                u *= advantage
                u *= 1 / count
                one.backward([self._distribution.slopes(u, 0.0)[None]])
                total += gradient[self._places]
        return list(torch.from_numpy(totals))

    def fisher_product(self, every: int, damping: float) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return v -> (F + damping I) v, (d,) to (d,).

        Args:
            every: use every n-th observation.
            damping: added to the diagonal.
        """
        kernel, places, passes = self._old, self._places, self._passes
        if every > 1:
            seen = rows(self._batch.observations, slice(None, None, every))
            passes = ActorPasses(self._policy, kernel, seen, KEPT_BYTES)
        deviations = len(places) - len(kernel.networks.log_std)  # where log sigma begins
        direction = np.zeros_like(kernel.theta)
        change = kernel.views(direction).stacks[0].first()

        @np.errstate(all="ignore")
        def product(vector: torch.Tensor) -> torch.Tensor:
            direction[places] = vector.numpy()
            total, count = np.zeros(len(places), direction.dtype), 0
            for _, one in passes:
                (moved,) = one.tangents(change)
                one.backward([self._distribution.fisher(one.outputs[0][0], moved[0])[None]])
                total += kernel.gradient[places]
                count += moved.shape[1]
            total /= count
            total[deviations:] = 2 * vector.numpy()[deviations:]  # M of log sigma
            return torch.from_numpy(total) + damping * vector

        return product

    @np.errstate(all="ignore")
    def after(self, step: torch.Tensor, advantages: torch.Tensor) -> tuple[float, torch.Tensor]:
        """Return mean KL(old || new) and mean[(rho - 1) A], (j,), for the actor after a step."""
        self._new.theta[self._places] = (self._start + step).numpy()
        distribution = self._new_distribution
        divergence, gains = 0.0, np.zeros(advantages.shape[1])
        for part, one in self._new_passes:
            outputs = one.outputs[0][0]
            x = distribution.log_prob(outputs, self._actions[part]) - self._log_probs[part]
            gains += np.expm1(x) @ advantages[part].numpy()
            divergence += float(distribution.divergences(self._outputs[part], outputs).sum())
        count = len(advantages)
        return divergence / count, torch.from_numpy(gains / count).to(advantages.dtype)

    def take(self, step: torch.Tensor) -> None:
        """Move the policy's actor by a step."""
        set_flat_values(self._policy.actor_parameters(), self._start + step)


class ActorPasses:
    """An actor's passes over observations, piece by piece, when they have gone forward.

    Args:
        policy: extracts the features.
        kernel: holds the actor.
        observations: n rows.
        kept_bytes: memory for activations that are kept from one time to the next; with any, the
            actor must not change.
    """

    def __init__(
        self,
        policy: MlpPolicy,
        kernel: PolicyKernel,
        observations: Observations,
        kept_bytes: int = 0,
    ) -> None:
        self._policy, self._kernel = policy, kernel
        self._pieces = split(observations, PIECE)
        self._working: dict[int, tuple[np.ndarray, PerceptronPass]] = {}  # by number of rows
        layers, heads = kernel.networks.stacks[0].first()
        numbers = sum(weight.shape[1] for weight in (*layers, *heads))  # of a row's H_0 to H_L
        kept = self._pieces[: kept_bytes // (numbers * kernel.theta.itemsize * PIECE)]
        with np.errstate(all="ignore"):
            self._kept = [self._forward(piece, is_kept=True) for piece in kept]

    def __iter__(self) -> Iterator[tuple[slice, PerceptronPass]]:
        """Return the rows and the pass of each piece."""
        start = 0
        for number, piece in enumerate(self._pieces):
            kept = self._kept[number : number + 1]
            one = kept[0] if kept else self._forward(piece, is_kept=False)
            part = slice(start, start + one.outputs[0].shape[1])
            start = part.stop
            yield part, one

    def _forward(self, piece: Observations, is_kept: bool) -> PerceptronPass:
        with torch.no_grad():
            features = self._policy.critic_features(piece).numpy()
        count, inputs = features.shape
        if count not in self._working:
            x = np.ones((count, inputs + 1), self._kernel.theta.dtype)
            self._working[count] = x, self._kernel.actor_pass(x)
        x, one = self._working[count]
        if is_kept:
            x = np.ones_like(x)
            one = self._kernel.actor_pass(x, workspace=one)
        x[:, :-1] = features
        one.forward()
        return one
