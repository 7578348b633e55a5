"""Distributions of actions as functions of a network's outputs, with the slopes of a loss.

For a loss L(log pi) - c H, mean over rows, with u = dL/d log pi of each row:

    Gaussian      z = (a - mean) / sigma:   dL/dmean = u z / sigma,
                  dL/dlog sigma = sum u (z^2 - 1) - c
    Categorical   p = softmax(logits):      dL/dlogits = u (1_a - p) + c p (log p + H)
    Bernoulli     p = sigmoid(logits):      dL/dlogits = u (a - p) + c p (1 - p) logits

where c is already divided by the number of rows in the last two. `docs/update_kernel.md` derives
them. Components of an action are independent: log probabilities, entropies and divergences add up.

The Fisher matrix M of a row's outputs y, KL(y || y + dy) = dy' M dy / 2 to second order, and KL
itself, where a prime marks the second distribution:

    Gaussian      M = diag(1 / sigma^2), and 2 for each log sigma
                  KL = sum [e^2d - 1 - 2d + (z_mean)^2] / 2,
                  d = log sigma - log sigma', z_mean = (mean - mean') / sigma'
    Categorical   M = diag(p) - p p',       KL = sum p (log p - log p')
    Bernoulli     M = diag(p (1 - p)),      KL = sum p (l - l') - log(1 + e^l) + log(1 + e^l')

with logits l.
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

    def fisher(self, outputs: np.ndarray, tangents: np.ndarray) -> np.ndarray:
        """Return M dy of each row, (b, o) and (b, o) to (b, o)."""
        ...

    def divergences(self, old: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """Return KL(old || now) of each row, (b, o) and (b, o) to (b,)."""
        ...


class Gaussian:
    """Independent normal distributions around the outputs.

    Args:
        log_std: log sigma, (a,); is read at every call. Its first numbers are the old ones of
            `divergences`.
        log_std_slope: receives dL/d log sigma, (a,).
    """

    def __init__(self, log_std: np.ndarray, log_std_slope: np.ndarray) -> None:
        self._log_std, self._log_std_slope = log_std, log_std_slope
        self._old_log_std = log_std.copy()
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

    def fisher(self, outputs: np.ndarray, tangents: np.ndarray) -> np.ndarray:
        """Return d mean / sigma^2, (b, a)."""
        return tangents * np.exp(-2 * self._log_std)

    def divergences(self, old: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """Return KL(old || now) of each row, (b,)."""
        double = 2 * (self._old_log_std - self._log_std)
        z = (old - outputs) * np.exp(-self._log_std)
        return 0.5 * ((z * z) @ self._ones + (np.expm1(double) - double).sum())


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
            logits = _log_softmax(outputs[:, part])
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

    def fisher(self, outputs: np.ndarray, tangents: np.ndarray) -> np.ndarray:
        """Return p (dl - p . dl), (b, o)."""
        found = np.empty_like(outputs)
        for part in self._parts:
            p, along = np.exp(_log_softmax(outputs[:, part])), tangents[:, part]
            found[:, part] = p * (along - (p * along).sum(1, keepdims=True))
        return found

    def divergences(self, old: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """Return KL(old || now) of each row, (b,)."""
        found = np.zeros(len(outputs), outputs.dtype)
        for part in self._parts:
            before, now = _log_softmax(old[:, part]), _log_softmax(outputs[:, part])
            found += (np.exp(before) * (before - now)).sum(1)
        return found


class Bernoulli:
    """Independent bits, one logit each."""

    def log_prob(self, outputs: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """Return sum of a l - log(1 + e^l), (b,)."""
        self._logits, self._bits = outputs, actions
        return (actions * outputs - np.logaddexp(0.0, outputs)).sum(1)

    def slopes(self, u: np.ndarray, ent_coef: float) -> np.ndarray:
        """Return dL/d logits, (b, o)."""
        p = _sigmoid(self._logits)
        slopes = u[:, None] * (self._bits - p)
        if ent_coef:
            slopes += (ent_coef / len(u)) * p * (1 - p) * self._logits
        return slopes

    def fisher(self, outputs: np.ndarray, tangents: np.ndarray) -> np.ndarray:
        """Return p (1 - p) dl, (b, o)."""
        return _sigmoid(outputs) * _sigmoid(-outputs) * tangents

    def divergences(self, old: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """Return KL(old || now) of each row, (b,)."""
        change = np.logaddexp(0.0, outputs) - np.logaddexp(0.0, old)
        return (_sigmoid(old) * (old - outputs) + change).sum(1)


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return log p of each row, (b, o)."""
    logs = logits - logits.max(1, keepdims=True)
    logs -= np.log(np.exp(logs).sum(1, keepdims=True))
    return logs


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + e^-l)."""
    return np.exp(-np.logaddexp(0.0, -logits))
