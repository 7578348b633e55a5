"""What is measured of an agent's gradients, networks and losses, as named numbers.

Names have the form group/what, with the name of a part of the loss where there are several; they
are the columns of measures.csv and documented in docs/diagnostics.md.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from agents.flat_parameters import Parameters, flat_gradient
from baselines.diagnostics.curvature import (
    Eigenpairs,
    adam_scale,
    exact_products,
    largest_eigenpairs,
    preconditioned,
)
from baselines.diagnostics.gradient_conflict import part_gradients
from baselines.diagnostics.gradient_noise import by_layer, noise_of_batches, parameter_ratios
from baselines.diagnostics.landscapes import Surface, filter_direction, surface
from baselines.diagnostics.ranks import jacobian_ranks
from baselines.diagnostics.surrogate_batch import SurrogateBatch

MICRO_BATCHES = 16
RANKED = 32  # observations whose Jacobian is decomposed
EIGENVALUES = 3
FLAT, FEW_VALUES = 0.02, 10  # interquartile range of a flat observation; those of discrete ones
CLIP = 9.99  # standardized observations beyond are at their clip of 10
SEEDS = (0, 1)  # of a landscape's directions, the same everywhere

Numbers = dict[str, float]


def actor_of(policy: nn.Module, batch: SurrogateBatch) -> list[tuple[str, nn.Parameter]]:
    """Return the parameters that decide the actions, with their names."""
    named = [(name, one) for name, one in policy.named_parameters() if one.requires_grad]
    loss = batch.loss(batch.combined)
    found = torch.autograd.grad(loss, [one for _, one in named], allow_unused=True)
    return [pair for pair, gradient in zip(named, found, strict=True) if gradient is not None]


def gradient_measures(batch: SurrogateBatch, actor: list[tuple[str, nn.Parameter]]) -> Numbers:
    """Return conflicts of the reward's gradient with those of the costs, and the noise of the sum.

    Args:
        batch: to differentiate on.
        actor: from `actor_of`.
    """
    parameters = [one for _, one in actor]
    found: Numbers = {}
    apart = part_gradients(batch.losses(), parameters)
    for name, norm in apart.norms.items():
        found[f"gradient_norm/{name}"] = norm
    for (one, other), cosine in apart.cosines.items():
        found[f"cosine/{one}/{other}"] = cosine
    for name, share in zip(batch.names[1:], batch.shares, strict=True):
        found[f"price_share/{name}"] = float(share)
    for name, advantage in zip(batch.names, batch.advantages.unbind(dim=1), strict=True):
        noise = noise_of_batches(*_of_micro_batches(batch, advantage, parameters))
        found[f"noise_signal/{name}"], found[f"noise_noise/{name}"] = noise
    gradients, size = _of_micro_batches(batch, batch.combined, parameters)
    noise = noise_of_batches(gradients, size)
    found["noise_signal"], found["noise_noise"] = noise
    single = parameter_ratios(gradients, size)
    names = ("snr/low", "snr/median", "snr/high")
    found |= dict(zip(names, single.quantiles, strict=True))
    found["snr/dead"] = single.dead
    layers = by_layer([one.numel() for one in parameters], gradients, size)
    for (name, _), layer in zip(actor, layers, strict=True):
        found[f"layer_signal/{name}"], found[f"layer_noise/{name}"] = layer
    return found


def rank_measures(batch: SurrogateBatch) -> Numbers:
    """Return mean ranks of d outputs / d observation, and how many observations are clipped.

    Observations that are dictionaries, images or whole numbers have none.
    """
    seen = batch.observations
    if not isinstance(seen, torch.Tensor) or seen.ndim != 2 or not seen.is_floating_point():
        return {}
    count = min(RANKED, len(seen))
    some = seen[:: max(1, len(seen) // count)][:count].detach().clone().requires_grad_()
    outputs = batch.outputs(some)
    if not outputs.requires_grad or outputs.shape[1] == 0:
        return {}
    each = jacobian_ranks(outputs, some)
    return {
        "rank/effective": float(np.mean([one.effective for one in each])),
        "rank/lowest": float(np.min([one.effective for one in each])),
        "rank/stable": float(np.mean([one.stable for one in each])),
        "rank/full": float(min(outputs.shape[1], some.shape[1])),
        "observation/clipped": float((seen.abs() >= CLIP).double().mean()),
        "observation/flat": _flat_share(seen.double().cpu().numpy()),
    }


def _flat_share(seen: np.ndarray) -> float:
    """Return the share of numbers, of those that vary, whose usual values are all but equal.

    Their scale is that of rare outliers. Numbers with few different values do not count.
    """
    middle = np.subtract(*np.quantile(seen, (0.75, 0.25), axis=0))
    values = np.array([len(np.unique(column)) for column in seen.T])
    vary = values > FEW_VALUES
    return float((middle[vary] < FLAT).mean()) if vary.any() else 0.0


def curvature_measures(
    batch: SurrogateBatch, parameters: Parameters, optimizer: torch.optim.Optimizer
) -> tuple[Numbers, Eigenpairs]:
    """Return the largest eigenvalues of the loss's Hessian, as they are and as Adam sees them.

    Args:
        batch: of the loss.
        parameters: of the actor.
        optimizer: of the agent.
    """
    size = sum(one.numel() for one in parameters)
    found: Numbers = {}
    with exact_products(lambda: batch.loss(batch.combined), parameters) as product:
        plain = largest_eigenpairs(product, size, EIGENVALUES)
        for place, (value, residual) in enumerate(
            zip(plain.values, plain.residuals, strict=True), start=1
        ):
            found[f"hessian/value_{place}"] = float(value)
            found[f"hessian/residual_{place}"] = float(residual)
        rate = float(optimizer.param_groups[0]["lr"])
        found["hessian/sharpness_rate"] = rate * float(plain.values[0])
        try:
            scale = adam_scale(optimizer, parameters)
        except (ValueError, KeyError):
            return found, plain
        seen = largest_eigenpairs(preconditioned(product, scale.to(parameters[0])), size, 1)
        found["hessian/adam_sharpness_rate"] = rate * float(seen.values[0])
    return found, plain


class Landscape(NamedTuple):
    """Surfaces of the loss of the reward and of each cost around an agent."""

    names: tuple[str, ...]
    surface: Surface

    def arrays(self) -> dict[str, Any]:
        """Return what a file keeps of it."""
        return {
            "landscape_names": np.array(self.names),
            "landscape_alphas": self.surface.alphas,
            "landscape_betas": self.surface.betas,
            "landscape_values": self.surface.values,
        }


def landscape(batch: SurrogateBatch, parameters: Parameters, points: int) -> Landscape:
    """Return the losses of the parts in two random directions, the same in all runs."""
    first, second = (filter_direction(parameters, seed) for seed in SEEDS)
    found = surface(batch.loss_values, parameters, first, second, points)
    return Landscape(batch.names, found)


def _of_micro_batches(
    batch: SurrogateBatch, advantage: torch.Tensor, parameters: Parameters
) -> tuple[torch.Tensor, int]:
    """Return the gradients of a loss on each micro-batch, (K, d), and their size b."""
    count = len(batch.actions)
    pieces = min(MICRO_BATCHES, count)
    size = count // pieces
    gradients = [
        flat_gradient(batch.loss(advantage, slice(k, k + size * pieces, pieces)), parameters)
        for k in range(pieces)
    ]
    return torch.stack(gradients), size
