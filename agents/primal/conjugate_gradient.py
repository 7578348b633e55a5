"""Natural gradients without matrices: conjugate gradient on products with the Fisher matrix.

The Fisher matrix of a policy is the Hessian of the mean divergence from the current policy,

    F = d^2/dtheta^2 mean_s KL(pi_old(.|s) || pi_theta(.|s))   at theta = theta_old.

With coordinates z(s) of the distributions in which the divergence is |z - z_old|^2 / 2 to second
order, F = mean_s J(s)' J(s) with the Jacobian J = dz/dtheta, so that F v takes one product with J
and one with its transpose. Sources: Schulman et al. (2015), "Trust region policy optimization",
appendix C; Martens (2020), "New insights and perspectives on the natural gradient method", on the
generalized Gauss-Newton matrix.

Rows are taken in pieces and the pieces summed, so that the memory does not grow with the batch.
All vectors are flat, of the length of the actor's parameters.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from itertools import chain
from typing import NamedTuple

import torch
from stable_baselines3.common.distributions import Distribution, kl_divergence
from torch.distributions import Bernoulli, Categorical, Normal

from agents.actor_critic import MlpPolicy
from agents.batch import LARGEST_PIECE, Batch, Observations, pieces, split
from agents.flat_parameters import flat_gradient

Product = Callable[[torch.Tensor], torch.Tensor]
KEPT_PIECES = 16  # of a batch, whose graphs stay from one product to the next
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
    largest = float(target.abs().max())
    if largest == 0.0:
        return torch.zeros_like(target)
    unit = 2.0 ** math.floor(math.log2(largest))  # squares of tiny or huge entries leave the range
    solution = torch.zeros_like(target)
    residual = target / unit
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
    return unit * solution


class PolicyJacobian(NamedTuple):
    """The Jacobian J of the coordinates of b distributions, as functions of the parameters.

    v -> J v is the derivative of (transposed . v) with respect to the seed: two backward passes
    give a product with J (Townsend (2017), "A new trick for calculating Jacobian vector
    products"), and need of a network no more than second derivatives need.
    """

    coordinates: torch.Tensor  # z, (b, k)
    seed: torch.Tensor  # u, (b, k)
    transposed: torch.Tensor  # J' u, (d,)


def fisher_product(policy: MlpPolicy, observations: Observations, damping: float) -> Product:
    """Return v -> (F + damping I) v, (d,) to (d,), at the policy's current parameters.

    Args:
        policy: its parameters must not change while the product is in use.
        observations: states that the divergence is averaged over.
        damping: added to the diagonal; F alone is singular wherever a parameter does not matter.

    Raises:
        TypeError: for a distribution of actions whose Fisher matrix is not known.
    """
    parameters = policy.actor_parameters()
    parts = split(observations, LARGEST_PIECE)

    def linearized(part: Observations) -> PolicyJacobian:
        coordinates = isometric_coordinates(policy.seen_distribution(part))
        seed = torch.zeros_like(coordinates, requires_grad=True)
        transposed = flat_gradient((seed * coordinates).sum(), parameters, create_graph=True)
        return PolicyJacobian(coordinates, seed, transposed)

    kept = [linearized(part) for part in parts[:KEPT_PIECES]]

    def product(vector: torch.Tensor) -> torch.Tensor:
        total, count = torch.zeros_like(vector), 0
        for linear in chain(kept, map(linearized, parts[KEPT_PIECES:])):
            along = linear.transposed.dot(vector)
            (moved,) = torch.autograd.grad(along, linear.seed, retain_graph=True)  # J v
            moved_along = (linear.coordinates * moved).sum()
            total += flat_gradient(moved_along, parameters, retain_graph=True)  # J' J v
            count += len(moved)
        return total / count + damping * vector

    return product


def isometric_coordinates(distribution: Distribution) -> torch.Tensor:
    """Return coordinates z, (b, k), of b distributions with the identity as their Fisher matrix.

    KL(p || p + dp) = |dz|^2 / 2 to second order in dp. Probabilities have z = 2 sqrt(p), because
    their divergence is sum_i dp_i^2 / (2 p_i). A Gaussian has z = (mean / sigma, sqrt(2) log sigma)
    where the first sigma is held. Independent components of an action have coordinates each.

    Raises:
        TypeError: for other distributions.
    """
    whole = distribution.distribution
    components = whole if isinstance(whole, Sequence) else [whole]
    return torch.cat([one for part in components for one in _coordinates(part)], dim=1)


def _coordinates(distribution: object) -> list[torch.Tensor]:
    if isinstance(distribution, Normal):
        deviation = distribution.stddev
        return [distribution.mean / deviation.detach(), math.sqrt(2) * deviation.log()]
    if isinstance(distribution, Categorical):
        return [2 * torch.exp(distribution.logits / 2)]
    if isinstance(distribution, Bernoulli):
        logits = distribution.logits
        return [
            2 * torch.exp(torch.nn.functional.logsigmoid(signed) / 2)
            for signed in (logits, -logits)
        ]
    raise TypeError(
        f"the policy's distribution of actions is {type(distribution).__name__}; a trust region "
        "knows Normal, Categorical and Bernoulli: use one of these, or an agent without a trust "
        "region, such as PPOLag"
    )


def action_distributions(policy: MlpPolicy, observations: Observations) -> list[Distribution]:
    """Return the policy's distributions of actions now, one per piece of `LARGEST_PIECE` rows.

    Later updates do not change them.
    """
    with torch.no_grad():
        # A policy has one distribution object, whose content every call replaces.
        return [
            copy.copy(policy.seen_distribution(part)) for part in split(observations, LARGEST_PIECE)
        ]


def mean_divergence(
    old: Sequence[Distribution], policy: MlpPolicy, observations: Observations
) -> torch.Tensor:
    """Return the mean of KL(pi_old(.|s) || pi(.|s)) over the observations, a scalar.

    Args:
        old: what `action_distributions` returned for these observations.
        policy: pi.
        observations: the states s.
    """
    total, count = torch.zeros(()), 0
    for before, part in zip(old, split(observations, LARGEST_PIECE), strict=True):
        divergence = kl_divergence(before, policy.seen_distribution(part))
        # Independent components of an action have a divergence each.
        total = total + divergence.reshape(len(divergence), -1).sum(1).sum()
        count += len(divergence)
    return total / count


def surrogate_gains(policy: MlpPolicy, batch: Batch, advantages: torch.Tensor) -> torch.Tensor:
    """Return mean[(rho - 1) A] of each advantage, (n, j) to (j,), with rho = pi / pi_old.

    It is the change of the surrogate mean[rho A] since the batch was sampled: 0 at pi_old.
    Source: Schulman et al. (2015), equation 14.
    """
    parts = pieces(batch._replace(advantages=advantages))
    return torch.stack([_share_of_gains(policy, part, len(advantages)) for part in parts]).sum(0)


def surrogate_gradients(
    policy: MlpPolicy, batch: Batch, advantages: torch.Tensor
) -> list[torch.Tensor]:
    """Return the gradient of `surrogate_gains` for each of j advantages, j vectors (d,)."""
    parameters = policy.actor_parameters()
    gradients: list[torch.Tensor] = []
    for part in pieces(batch._replace(advantages=advantages)):
        gains = _share_of_gains(policy, part, len(advantages))
        more = [flat_gradient(gain, parameters, retain_graph=True) for gain in gains]
        gradients = [a + b for a, b in zip(gradients, more, strict=True)] if gradients else more
    return gradients


def _share_of_gains(policy: MlpPolicy, part: Batch, count: int) -> torch.Tensor:
    """Return what a part of a batch of `count` rows adds to the gains, (j,)."""
    log_ratio = policy.log_probs(part.observations, part.actions) - part.log_probs
    return torch.expm1(log_ratio) @ part.advantages / count
