"""K multilayer perceptrons of one shape, forward and backward on the rows of a minibatch.

    H_0 = [X 1],   H_l = [phi(H_{l-1} W_l) 1],   Y = H_L V

A column of ones makes the biases the last rows of W and V. With E_l = dL/dH_l, where dL/dY = G:

    dL/dV = H_L' G,   E_L = G V',   D_l = E_l * phi'(H_l),   dL/dW_l = H_{l-1}' D_l,
    E_{l-1} = D_l W_l'

phi' is a function of phi's value for tanh and ReLU. `docs/update_kernel.md` derives the formulas.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np


class Shape(NamedTuple):
    """The shape of K networks R^n -> R^o_k."""

    inputs: int  # n
    hidden: tuple[int, ...]  # widths
    outputs: tuple[tuple[int, int], ...]  # (networks, o) of each run of networks with one o

    def arrays(self) -> list[tuple[int, int, int]]:
        """Return the shapes of all W_l, (K, in + 1, out), and all V, (k, in + 1, o)."""
        widths = [self.inputs, *self.hidden]
        count = sum(networks for networks, _ in self.outputs)  # K
        layers = [(count, rows + 1, columns) for rows, columns in pairwise(widths)]
        return layers + [(networks, widths[-1] + 1, o) for networks, o in self.outputs]


class Weights(NamedTuple):
    """The weights of K networks, or their gradients."""

    layers: list[np.ndarray]  # (K, in + 1, out) each
    heads: list[np.ndarray]  # (k, in + 1, o) each, for the networks in order

    @staticmethod
    def of(shape: Shape, arrays: Sequence[np.ndarray]) -> Weights:
        """Return the arrays that `shape.arrays()` lists."""
        depth = len(shape.hidden)
        return Weights(list(arrays[:depth]), list(arrays[depth:]))

    def first(self) -> Weights:
        """Return the first network alone."""
        return Weights([layer[:1] for layer in self.layers], [self.heads[0][:1]])


class Activation(Protocol):
    """phi, applied in place."""

    def apply(self, values: np.ndarray) -> None:
        """Replace values by phi of them."""
        ...

    def scale_by_slope(self, slopes: np.ndarray, values: np.ndarray, spare: np.ndarray) -> None:
        """Multiply slopes by phi', given the values of phi."""
        ...


class Tanh:
    """phi = tanh, phi' = 1 - phi^2."""

    def apply(self, values: np.ndarray) -> None:
        """Replace values by tanh of them."""
        np.tanh(values, out=values)

    def scale_by_slope(self, slopes: np.ndarray, values: np.ndarray, spare: np.ndarray) -> None:
        """Multiply slopes by 1 - values^2."""
        np.multiply(values, values, out=spare)
        np.subtract(1.0, spare, out=spare)
        np.multiply(slopes, spare, out=slopes)


class ReLU:
    """phi = max(., 0), phi' = 1 where phi > 0, else 0."""

    def apply(self, values: np.ndarray) -> None:
        """Replace negative values by 0; NaN stays."""
        np.maximum(values, 0.0, out=values)

    def scale_by_slope(self, slopes: np.ndarray, values: np.ndarray, spare: np.ndarray) -> None:
        """Set slopes to 0 where values are."""
        np.greater(values, 0.0, out=spare)
        np.multiply(slopes, spare, out=slopes)


class _Layer(NamedTuple):
    """Views of one hidden layer in a pass; those of a transposed matrix are marked `_t`."""

    weight: np.ndarray  # (K, in + 1, out)
    gradient: np.ndarray  # the same
    inputs: np.ndarray  # H before the layer, (K, b, in + 1) or X, (b, n + 1)
    inputs_t: np.ndarray
    values: np.ndarray  # H of the layer, (K, b, out + 1)
    units: np.ndarray  # its columns without the ones, (K, b, out)
    ones: np.ndarray  # (K, b)
    slopes: np.ndarray  # E, then D, (K, b, out + 1)
    unit_slopes: np.ndarray  # (K, b, out)
    weight_t: np.ndarray  # without biases, (K, out, in)
    copy_t: np.ndarray  # contiguous, for a faster product


class _Head(NamedTuple):
    """Views of the last layer of a run of networks."""

    weight: np.ndarray  # (k, in + 1, o)
    gradient: np.ndarray  # the same
    inputs: np.ndarray  # H of the last hidden layer, (k, b, in + 1) or X, (b, n + 1)
    inputs_t: np.ndarray
    outputs: np.ndarray  # (k, b, o)
    weight_t: np.ndarray  # without biases, (k, o, in)
    slopes: np.ndarray  # E of the last hidden layer, (k, b, in)


class PerceptronPass:
    """Forward and backward on a fixed number of rows, in memory that is allocated once.

    Args:
        weights: are read at every call.
        gradient: is overwritten by `backward`.
        activation: phi.
        x: the inputs with the column of ones, (b, n + 1); the caller fills it.
    """

    def __init__(
        self, weights: Weights, gradient: Weights, activation: Activation, x: np.ndarray
    ) -> None:
        self._activation = activation
        self._layers: list[_Layer] = []
        for weight, slope in zip(weights.layers, gradient.layers, strict=True):
            self._layers.append(
                _layer(weight, slope, self._layers[-1].values if self._layers else x)
            )
        self._spare = [np.empty_like(layer.values) for layer in self._layers]
        last = self._layers[-1] if self._layers else None
        self._heads: list[_Head] = []
        start = 0
        for weight, slope in zip(weights.heads, gradient.heads, strict=True):
            run = slice(start, start + len(weight))
            inputs = x if last is None else last.values[run]
            slopes = np.empty(0, x.dtype) if last is None else last.unit_slopes[run]
            outputs = np.empty((len(weight), len(x), weight.shape[2]), x.dtype)
            weight_t = _flip(weight[:, :-1])
            self._heads.append(
                _Head(weight, slope, inputs, _flip(inputs), outputs, weight_t, slopes)
            )
            start = run.stop
        self.outputs = [head.outputs for head in self._heads]  # Y of every head, (k, b, o)

    def forward(self) -> None:
        """Compute `outputs`."""
        for layer in self._layers:
            np.matmul(layer.inputs, layer.weight, out=layer.units)
            self._activation.apply(layer.values)
            layer.ones[...] = 1.0
        for head in self._heads:
            np.matmul(head.inputs, head.weight, out=head.outputs)

    def backward(self, slopes: Sequence[np.ndarray]) -> None:
        """Write the gradient, given dL/dY of every head, (k, b, o), after `forward`."""
        for head, slope in zip(self._heads, slopes, strict=True):
            np.matmul(head.inputs_t, slope, out=head.gradient)
            if self._layers:
                _product(slope, head.weight_t, head.slopes)
        for number in range(len(self._layers) - 1, -1, -1):
            layer = self._layers[number]
            self._activation.scale_by_slope(layer.slopes, layer.values, self._spare[number])
            np.matmul(layer.inputs_t, layer.unit_slopes, out=layer.gradient)
            if number:
                layer.copy_t[...] = layer.weight_t
                np.matmul(layer.unit_slopes, layer.copy_t, out=self._layers[number - 1].unit_slopes)


def _layer(weight: np.ndarray, gradient: np.ndarray, inputs: np.ndarray) -> _Layer:
    networks, _, width = weight.shape
    values = np.ones((networks, inputs.shape[-2], width + 1), weight.dtype)
    slopes = np.zeros_like(values)
    weight_t = _flip(weight[:, :-1])
    return _Layer(
        *(weight, gradient, inputs, _flip(inputs)),
        *(values, values[:, :, :-1], values[:, :, -1]),
        *(slopes, slopes[:, :, :-1]),
        *(weight_t, np.empty(weight_t.shape, weight.dtype)),
    )


def _flip(matrices: np.ndarray) -> np.ndarray:
    """Return the transposed matrices, as a view."""
    return matrices.swapaxes(-1, -2)


def _product(slope: np.ndarray, weight_t: np.ndarray, out: np.ndarray) -> None:
    """Write G V', (k, b, o) and (k, o, h) to (k, b, h)."""
    if weight_t.shape[1] == 1:
        np.multiply(slope, weight_t, out=out)  # faster than a product with one column
    else:
        np.matmul(slope, weight_t, out=out)
