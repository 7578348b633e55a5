"""Distributions of actions as functions of a network's outputs, with the slopes of a loss.

For a loss L(log pi) - c H, mean over rows, with u = dL/d log pi of each row:

    Gaussian      z = (a - mean) / sigma:   dL/dmean = u z / sigma,
                  dL/dlog sigma = sum u (z^2 - 1) - c
    Categorical   p = softmax(logits):      dL/dlogits = u (1_a - p) + c p (log p + H)
    Bernoulli     p = sigmoid(logits):      dL/dlogits = u (a - p) + c p (1 - p) logits

where c is already divided by the number of rows in the last two. `docs/update_kernel.md` derives
them. Components of an action are independent: log probabilities and entropies add up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


class ActionDistribution(Protocol):
    """What the actor's outputs mean."""

    def log_prob(self, outputs: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """Return log pi of the actions, (b, o) and (b, a) to (b,)."""
        ...

    def slopes(self, u: np.ndarray, ent_coef: float) -> np.ndarray:
        """Return dL/d outputs, (b, o), of the last `log_prob`, given dL/d log pi, (b,)."""
        ...


class Gaussian:
    """Independent normal distributions around the outputs.

    Args:
        log_std: log sigma, (a,); is read at every call.
        log_std_slope: receives dL/d log sigma, (a,).
    """

    def __init__(self, log_std: np.ndarray, log_std_slope: np.ndarray) -> None:
        self._log_std, self._log_std_slope = log_std, log_std_slope
        self._ones = np.ones_like(log_std)

    def log_prob(self, outputs: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """Return -|z|^2 / 2 - sum log sigma - a log(2 pi) / 2, (b,)."""
        self._precision = np.exp(-self._log_std)
        self._z = actions - outputs
        self._z *= self._precision
        self._squares = self._z * self._z
        found = self._squares @ self._ones
        found *= -0.5
        found -= float(self._ones @ self._log_std) + HALF_LOG_TWO_PI * len(self._log_std)
        return found

    def slopes(self, u: np.ndarray, ent_coef: float) -> np.ndarray:
        """Return dL/d mean, (b, a), and write dL/d log sigma."""
        self._squares -= 1.0
        np.matmul(u, self._squares, out=self._log_std_slope)
        if ent_coef:
            self._log_std_slope -= ent_coef
        self._z *= self._precision
        self._z *= u[:, None]
        return self._z


class Categorical:
    """Independent choices, each with its own logits among the outputs.

    Args:
        sizes: numbers of logits, one per choice.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self._parts = [slice(*ends) for ends in pairwise(np.cumsum([0, *sizes]).tolist())]

    def log_prob(self, outputs: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """Return the sum of the log probabilities of the choices, (b,)."""
        self._rows, self._chosen = np.arange(len(outputs)), actions.astype(np.intp)
        self._logs = np.empty_like(outputs)
        found = np.zeros(len(outputs), outputs.dtype)
        for choice, part in enumerate(self._parts):
            logits = outputs[:, part] - outputs[:, part].max(1, keepdims=True)
            logits -= np.log(np.exp(logits).sum(1, keepdims=True))
            self._logs[:, part] = logits
            found += logits[self._rows, self._chosen[:, choice]]
        return found

    def slopes(self, u: np.ndarray, ent_coef: float) -> np.ndarray:
        """Return dL/d logits, (b, o)."""
        probabilities = np.exp(self._logs)
        slopes = probabilities * -u[:, None]
        for choice, part in enumerate(self._parts):
            slopes[self._rows, part.start + self._chosen[:, choice]] += u
            if ent_coef:
                p, logs = probabilities[:, part], self._logs[:, part]
                entropy = -(p * logs).sum(1, keepdims=True)
                slopes[:, part] += (ent_coef / len(u)) * p * (logs + entropy)
        return slopes


class Bernoulli:
    """Independent bits, one logit each."""

    def log_prob(self, outputs: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """Return sum of a l - log(1 + e^l), (b,)."""
        self._logits, self._bits = outputs, actions
        return (actions * outputs - np.logaddexp(0.0, outputs)).sum(1)

    def slopes(self, u: np.ndarray, ent_coef: float) -> np.ndarray:
        """Return dL/d logits, (b, o)."""
        p = np.exp(-np.logaddexp(0.0, -self._logits))
        slopes = u[:, None] * (self._bits - p)
        if ent_coef:
            slopes += (ent_coef / len(u)) * p * (1 - p) * self._logits
        return slopes
