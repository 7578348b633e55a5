"""The trust-region step: the natural gradient, as far as a divergence allows.

    max_x g . x   s.t.   x . H x / 2 <= delta      =>      x = sqrt(2 delta / g . H^-1 g) H^-1 g

with g the gradient of the surrogate mean[rho A] and H the Fisher matrix, followed by a
backtracking line search on the true divergence and surrogate. Source: Schulman et al. (2015),
"Trust region policy optimization", section 6 and appendix C.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import torch

from agents.actor_critic import MlpPolicy
from agents.batch import Batch
from agents.critic_descent import CriticDescent
from agents.divergence import estimated_divergence, log_ratios
from agents.non_finite_loss import NonFiniteLossError
from agents.primal.conjugate_gradient import conjugate_gradient
from agents.primal.trust_region_actor import TorchActor, TrustRegionActor
from agents.schedules import check_scheduled, scheduled
from agents.update_kernel.trust_region import KernelActor
from safe_envs.contract.argument_checks import check_number, check_positive

Acceptance = Callable[[torch.Tensor], bool]

STAYED = MappingProxyType({"surrogate_gain": 0.0, "step_fraction": 0.0, "kl": 0.0})


class Trial(NamedTuple):
    """The step a line search took."""

    fraction: float  # of the proposed step; 0 if none was acceptable
    gains: torch.Tensor  # (j,) changes of the surrogates
    divergence: float  # mean KL(pi_old || pi)


@dataclass(frozen=True)
class TrustRegionStep:
    """TRPO's step; the defaults are OmniSafe's.

    Args:
        critic_descent: how the critics are fitted; the actor takes no descent steps.
        max_kl: delta, the largest mean divergence from the old policy; or a function of the
            remaining progress, 1 to 0. Where it is 0, the policy stays.
        cg_iterations: products with the Fisher matrix per solution.
        cg_damping: added to the Fisher matrix's diagonal. If it shortens steps too much, the
            divergence stays far below `max_kl`; a table of logits needs less than a network.
        line_search_steps: fractions of the step to try.
        backtrack: factor between one fraction and the next.
        fisher_every: use every n-th observation in the Fisher matrix; 1 uses all.
    """

    critic_descent: CriticDescent
    max_kl: float | Callable[[float], float] = 0.01
    cg_iterations: int = 15
    cg_damping: float = 0.1
    line_search_steps: int = 15
    backtrack: float = 0.8
    fisher_every: int = 1

    def __post_init__(self) -> None:
        check_scheduled("max_kl", self.max_kl)
        if not callable(self.max_kl):
            check_positive(max_kl=self.max_kl)  # nor infinite
        check_number("cg_iterations", self.cg_iterations, low=1)
        check_number("cg_damping", self.cg_damping, low=0.0)
        check_number("line_search_steps", self.line_search_steps, low=1)
        check_number("backtrack", self.backtrack, low=0.0, high=1.0, open_low=True)
        check_number("fisher_every", self.fisher_every, low=1)

    def improve(
        self, policy: MlpPolicy, batch: Batch, advantage: torch.Tensor, progress_remaining: float
    ) -> dict[str, float]:
        """Improve the policy on the advantage, (n,), and fit its critics.

        Raises:
            NonFiniteLossError: if a gradient or loss is NaN or infinite.
        """
        radius = self.radius(progress_remaining)
        report = self._step(policy, batch, advantage[:, None], radius) if radius > 0.0 else STAYED
        return {**report, **self.fit_critics(policy, batch)}

    def _step(
        self, policy: MlpPolicy, batch: Batch, advantages: torch.Tensor, radius: float
    ) -> dict[str, float]:
        """Move the policy along the natural gradient of a single advantage, (n, 1)."""
        actor = self.actor(policy, batch)
        (gradient,), (direction,) = self.natural_gradients(actor, advantages)
        curvature = inner(gradient, direction)
        length = math.sqrt(2 * radius / curvature) if curvature > 0 else 0.0
        step = length * direction
        trial = self.search(actor, advantages, step, lambda g: bool(g[0] > 0), radius)
        return {
            "surrogate_gain": float(trial.gains[0]),
            "step_fraction": trial.fraction,
            "kl": trial.divergence,
        }

    def radius(self, progress_remaining: float) -> float:
        """Return delta at this remaining progress, 1 to 0.

        Raises:
            ValueError: if a schedule returns anything but a finite number >= 0.
        """
        return scheduled("max_kl", self.max_kl, progress_remaining)

    def actor(self, policy: MlpPolicy, batch: Batch) -> TrustRegionActor:
        """Return the actor that took a batch's steps."""
        return (
            KernelActor if self.critic_descent.actor_backend(policy) == "numpy" else TorchActor
        )(policy, batch)

    def natural_gradients(
        self, actor: TrustRegionActor, advantages: torch.Tensor
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Return the surrogate's gradient g and H^-1 g for each advantage, lists of (d,).

        Args:
            actor: of n steps.
            advantages: (n, j).

        Raises:
            NonFiniteLossError: if a gradient or a solution is NaN or infinite.
        """
        gradients = actor.surrogate_gradients(advantages)
        if not all(torch.isfinite(gradient).all() for gradient in gradients):
            raise NonFiniteLossError(
                "the surrogate's gradient is not finite; look for rewards, costs or observations "
                "that are too large for float32"
            )
        product = actor.fisher_product(self.fisher_every, self.cg_damping)
        solutions = [conjugate_gradient(product, g, self.cg_iterations) for g in gradients]
        if not all(torch.isfinite(solution).all() for solution in solutions):
            raise NonFiniteLossError(
                "the natural gradient is not finite, for the Fisher matrix is singular up to "
                f"rounding; raise cg_damping, which is {self.cg_damping}"
            )
        return gradients, solutions

    def search(
        self,
        actor: TrustRegionActor,
        advantages: torch.Tensor,
        step: torch.Tensor,
        acceptable: Acceptance,
        radius: float,
    ) -> Trial:
        """Move the policy by the largest acceptable fraction of a step, and return that fraction.

        A fraction is acceptable if the divergence is within the radius and `acceptable` is true of
        the surrogates' changes. If none is, the policy does not change.

        Args:
            actor: of n steps; its policy is changed in place.
            advantages: (n, j), one surrogate each.
            step: of the actor's parameters, (d,).
            acceptable: maps changes of the surrogates, (j,), to whether they are acceptable.
            radius: the largest divergence, as `radius` returns it.
        """
        for attempt in range(self.line_search_steps):
            fraction = self.backtrack**attempt
            divergence, gains = actor.after(fraction * step, advantages)
            if divergence <= radius and acceptable(gains):
                actor.take(fraction * step)
                return Trial(fraction, gains, divergence)
        return Trial(0.0, torch.zeros_like(advantages[0]), 0.0)

    def fit_critics(self, policy: MlpPolicy, batch: Batch) -> dict[str, float]:
        """Fit the critics after the step; return what to log, the step's divergence included.

        Raises:
            NonFiniteLossError: if a loss is NaN or infinite.
        """
        report = self.critic_descent.fit(policy, batch)
        log_ratio = log_ratios(policy, batch, self.critic_descent.actor_backend(policy))
        return report | {"approx_kl": estimated_divergence(log_ratio)}


def inner(left: torch.Tensor, right: torch.Tensor) -> float:
    """Return the inner product of two flat vectors, summed in double precision."""
    return float(left.double().dot(right.double()))
