"""Natural gradients without matrices: conjugate gradient on products with the Fisher matrix.

The Fisher matrix of a policy is the Hessian of the mean divergence from the current policy,

    F = d^2/dtheta^2 mean_s KL(pi_old(.|s) || pi_theta(.|s))   at theta = theta_old,

so that F v is the gradient of (gradient of KL) . v: two backward passes and no matrix. Source:
Schulman et al. (2015), "Trust region policy optimization", appendix C. All vectors are flat,
of the length of the actor's parameters.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from stable_baselines3.common.distributions import Distribution, kl_divergence

from agents.actor_critic import MlpPolicy
from agents.batch import Batch, Observations
from agents.flat_parameters import flat_gradient

Product = Callable[[torch.Tensor], torch.Tensor]
SMALLEST_RESIDUAL = 1e-5  # of conjugate gradient, relative to the right-hand side


def conjugate_gradient(
    product: Product,
    target: torch.Tensor,
    iterations: int,
    tolerance: float = SMALLEST_RESIDUAL,
) -> torch.Tensor:
    """Return x with H x = b, approximately, (d,).

    Source: Hestenes and Stiefel (1952); Nocedal and Wright (2006), algorithm 5.2. From x = 0 every
    iterate has x . H x = x . b up to rounding, so b . x measures the length of x under H even when
    the iterations stop early.

    Args:
        product: v -> H v for a symmetric positive definite H, (d,) to (d,).
        target: b, (d,).
        iterations: largest number of products.
        tolerance: stop at a residual of this size relative to b.
    """
    solution = torch.zeros_like(target)
    residual = target.clone()
    direction = residual.clone()
    size = residual.dot(residual)
    enough = tolerance**2 * float(size)
    for _ in range(iterations):
        if float(size) <= enough:
            break
        image = product(direction)
        step = size / direction.dot(image)
        solution = solution + step * direction
        residual = residual - step * image
        before, size = size, residual.dot(residual)
        direction = residual + (size / before) * direction
    return solution


def fisher_product(policy: MlpPolicy, observations: Observations, damping: float) -> Product:
    """Return v -> (F + damping I) v, (d,) to (d,), at the policy's current parameters.

    Args:
        policy: its parameters must not change while the product is in use.
        observations: states that the divergence is averaged over.
        damping: added to the diagonal; F alone is singular wherever a parameter does not matter.
    """
    parameters = policy.actor_parameters()
    divergence = mean_divergence(action_distribution(policy, observations), policy, observations)
    gradient = flat_gradient(divergence, parameters, create_graph=True)

    def product(vector: torch.Tensor) -> torch.Tensor:
        along = gradient.dot(vector)
        return flat_gradient(along, parameters, retain_graph=True) + damping * vector

    return product


def action_distribution(policy: MlpPolicy, observations: Observations) -> Distribution:
    """Return the policy's distributions of actions now, which later updates do not change."""
    with torch.no_grad():
        # A policy has one distribution object, whose content every call replaces.
        return copy.copy(policy.seen_distribution(observations))


def mean_divergence(
    old: Distribution, policy: MlpPolicy, observations: Observations
) -> torch.Tensor:
    """Return the mean of KL(pi_old(.|s) || pi(.|s)) over the observations, a scalar."""
    divergence = kl_divergence(old, policy.seen_distribution(observations))
    # Independent components of an action have a divergence each.
    return divergence.reshape(len(divergence), -1).sum(1).mean()


def surrogate_gains(policy: MlpPolicy, batch: Batch, advantages: torch.Tensor) -> torch.Tensor:
    """Return mean[(rho - 1) A] of each advantage, (n, j) to (j,), with rho = pi / pi_old.

    It is the change of the surrogate mean[rho A] since the batch was sampled: 0 at pi_old.
    Source: Schulman et al. (2015), equation 14.
    """
    log_ratio = policy.log_probs(batch.observations, batch.actions) - batch.log_probs
    return torch.expm1(log_ratio) @ advantages / len(advantages)


def surrogate_gradients(
    policy: MlpPolicy, batch: Batch, advantages: torch.Tensor
) -> list[torch.Tensor]:
    """Return the gradient of `surrogate_gains` for each of j advantages, j vectors (d,)."""
    parameters = policy.actor_parameters()
    gains = surrogate_gains(policy, batch, advantages)
    return [flat_gradient(gain, parameters, retain_graph=True) for gain in gains]
