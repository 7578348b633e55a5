"""A policy's networks as flat vectors: copied from the torch policy, and back after an update.

The torch policy stays the owner of all numbers. An actor and critics with the same hidden layers
are one stack of networks, which takes one product per layer; else they are two stacks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from stable_baselines3.common.distributions import (
    CategoricalDistribution,
    DiagGaussianDistribution,
    MultiCategoricalDistribution,
)
from torch import nn

from agents.actor_critic import MlpPolicy
from agents.non_finite_loss import check_loss
from agents.update_kernel.distributions import (
    ActionDistribution,
    Bernoulli,
    Categorical,
    Gaussian,
)
from agents.update_kernel.perceptrons import Activation, PerceptronPass, ReLU, Shape, Tanh, Weights

ACTIVATIONS: dict[type[nn.Module], Activation] = {nn.Tanh: Tanh(), nn.ReLU: ReLU()}


class Layout(NamedTuple):
    """Which networks a kernel holds."""

    stacks: tuple[Shape, ...]
    deviations: int  # length of log sigma of a Gaussian actor, else 0
    with_actor: bool  # the first network


class Networks(NamedTuple):
    """All parameters, or their gradients, as views of one vector."""

    stacks: list[Weights]
    log_std: np.ndarray  # (a,), may be empty

    @staticmethod
    def of(vector: np.ndarray, layout: Layout) -> Networks:
        """Return the views of a vector, (d,)."""
        sizes = [size for shape in layout.stacks for size in shape.arrays()]
        ends = np.cumsum([math.prod(size) for size in sizes])
        *parts, log_std = np.split(vector, ends)
        arrays = iter([part.reshape(size) for part, size in zip(parts, sizes, strict=True)])
        stacks = [
            Weights.of(shape, [next(arrays) for _ in shape.arrays()]) for shape in layout.stacks
        ]
        return Networks(stacks, log_std)

    def norms(self) -> list[np.ndarray]:
        """Return the norm of each network of each stack, (K,) in double precision."""
        squares = []
        for layers, heads in self.stacks:
            runs = np.concatenate([_squares(head) for head in heads])
            squares.append(sum((_squares(layer) for layer in layers), runs))
        squares[0][0] += np.square(self.log_std, dtype=np.float64).sum()
        return [np.sqrt(own) for own in squares]

    def scale(self, factors: Sequence[np.ndarray]) -> None:
        """Multiply each network of each stack by its factor, (K,)."""
        for (layers, heads), own in zip(self.stacks, factors, strict=True):
            runs = np.split(own, np.cumsum([len(head) for head in heads[:-1]]))
            for array, factor in [
                *((layer, own) for layer in layers),
                *zip(heads, runs, strict=True),
            ]:
                array *= factor[:, None, None]
        self.log_std[...] *= factors[0][0]


class PolicyKernel:
    """The parameters of a policy and their gradient as flat vectors, and the networks on them.

    Args:
        policy: one that `agents.update_kernel.service` serves.
        with_actor: False for the critics alone.
    """

    def __init__(self, policy: MlpPolicy, with_actor: bool) -> None:
        self._policy, critics = policy, policy.value_net
        self.parameters = [*(policy.actor_parameters() if with_actor else ()), critics.weight]
        layout = _layout(policy, with_actor)
        self._places = _places(layout)
        self.theta = self.flat(self.parameters)
        self.gradient = np.empty_like(self.theta)
        self.networks = Networks.of(self.theta, layout)
        self.slopes = Networks.of(self.gradient, layout)
        self._activation = ACTIVATIONS[type(critics.activation)]

    def passes(self, x: np.ndarray) -> list[PerceptronPass]:
        """Return a pass of each stack on the inputs with a column of ones, (b, n + 1)."""
        pairs = zip(self.networks.stacks, self.slopes.stacks, strict=True)
        return [PerceptronPass(weights, slopes, self._activation, x) for weights, slopes in pairs]

    def actor_pass(self, x: np.ndarray) -> PerceptronPass:
        """Return a pass of the actor alone on the inputs with a column of ones, (b, n + 1)."""
        weights, slopes = self.networks.stacks[0].first(), self.slopes.stacks[0].first()
        return PerceptronPass(weights, slopes, self._activation, x)

    def distribution(self) -> ActionDistribution:
        """Return what the actor's outputs mean."""
        kind = self._policy.action_dist
        if isinstance(kind, DiagGaussianDistribution):
            return Gaussian(self.networks.log_std, self.slopes.log_std)
        if isinstance(kind, CategoricalDistribution):
            return Categorical([kind.action_dim])
        if isinstance(kind, MultiCategoricalDistribution):
            return Categorical(kind.action_dims)
        return Bernoulli()

    def bound(self, max_norm: float) -> None:
        """Scale the gradient of each network down to this norm.

        Raises:
            NonFiniteLossError: if the gradient is not finite.
        """
        norm = math.sqrt(float(np.dot(self.gradient, self.gradient)))
        if math.isfinite(norm) and norm + 1e-6 <= max_norm:
            return  # then no network's gradient is too long
        norms = self.slopes.norms()
        check_loss(float(sum(own.sum() for own in norms)))
        self.slopes.scale([np.minimum(max_norm / (own + 1e-6), 1.0) for own in norms])

    def flat(self, tensors: Sequence[torch.Tensor]) -> np.ndarray:
        """Return numbers of all parameters as one vector of the kernel, (d,)."""
        joined = torch.cat([tensor.detach().reshape(-1) for tensor in tensors]).numpy()
        flat = np.empty_like(joined)
        flat[self._places] = joined
        return flat

    def split(self, flat: np.ndarray) -> list[torch.Tensor]:
        """Return a vector of the kernel in the shapes of torch's parameters."""
        joined = torch.from_numpy(flat[self._places])
        parts = joined.split([parameter.numel() for parameter in self.parameters])
        return [part.view_as(own) for part, own in zip(parts, self.parameters, strict=True)]


def _layout(policy: MlpPolicy, with_actor: bool) -> Layout:
    inputs, *hidden, _ = policy.value_net.widths
    critics = Shape(inputs, tuple(hidden), ((len(policy.value_net.weight), 1),))
    if not with_actor:
        return Layout((critics,), 0, with_actor)
    layers = [one for one in policy.mlp_extractor.policy_net if isinstance(one, nn.Linear)]
    is_gaussian = isinstance(policy.action_dist, DiagGaussianDistribution)
    deviations = policy.log_std.numel() if is_gaussian else 0
    assert isinstance(policy.action_net, nn.Linear)
    actor = Shape(
        inputs,
        tuple(layer.out_features for layer in layers),
        ((1, policy.action_net.out_features),),
    )
    if actor.hidden != critics.hidden:
        return Layout((actor, critics), deviations, with_actor)
    both = Shape(inputs, actor.hidden, (*actor.outputs, *critics.outputs))
    return Layout((both,), deviations, with_actor)


@lru_cache
def _places(layout: Layout) -> np.ndarray:
    """Return where each of torch's parameters, one after the other, is in the vector, (d,).

    Torch's linear layers hold (out, in) weights and biases; the critics hold, one network after
    the other, the (in + 1, out) arrays of all layers.
    """
    sizes = [size for shape in layout.stacks for size in shape.arrays()]
    count = sum(math.prod(size) for size in sizes) + layout.deviations
    numbers = Networks.of(np.arange(count), layout)
    parts = []
    if layout.with_actor:
        layers, heads = numbers.stacks[0].first()
        for (weight,) in (*layers, heads[0]):
            parts += [weight[:-1].T.ravel(), weight[-1]]
        parts.append(numbers.log_std)
    layers, heads = numbers.stacks[-1]
    critics = heads[-1]
    for row in range(-len(critics), 0):  # an actor may come first
        parts += [array[row].ravel() for array in (*layers, critics)]
    places = np.concatenate(parts)
    places.setflags(write=False)
    return places


def _squares(array: np.ndarray) -> np.ndarray:
    """Return the sum of the squares of each matrix, (k, i, j) to (k,)."""
    found: np.ndarray = np.einsum("kij,kij->k", array, array, dtype=np.float64)
    return found
