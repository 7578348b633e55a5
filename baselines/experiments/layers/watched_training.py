"""Measures a training of a constraint layer as it goes, without changing it.

On the same instances each time: gap and raw violation, conflicts between the gradients of the
objective and of the penalties on equalities and inequalities, gradient noise, and the ranks of the
layer's Jacobian beside those of a true projection, n - equalities - active inequalities.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from agents.constraint_layers.layers import RepairLayer
from agents.constraint_layers.output_rows import OutputRows
from agents.flat_parameters import flat_gradient
from baselines.diagnostics.curvature import difference_products, exact_products, largest_eigenpairs
from baselines.diagnostics.gradient_conflict import part_gradients
from baselines.diagnostics.gradient_noise import noise_of_batches
from baselines.diagnostics.measured_files import STEPS, MeasuredFiles
from baselines.diagnostics.ranks import Ranks, jacobian_ranks
from baselines.experiments.layers.output_head import OutputHead
from safe_envs.action_constraints.rows import beyond, violation
from safe_envs.control.quadratic_families import QuadraticFamily

MOMENTS = 5  # measurements of the Hessian's eigenvalues
INSTANCES, RANKED = 64, 32
MICRO_BATCHES = 8
EIGENVALUES = 3
ACTIVE = 1e-5  # distance to a bound at which a row counts as active


class WatchedLoss(NamedTuple):
    """The loss of a training, as far as measurements need it."""

    weight: float  # of the penalty
    layer: nn.Module | None  # that is trained through
    is_smooth: bool  # whether the layer can be differentiated twice


class Measuring(NamedTuple):
    """Where to, and how often in a training."""

    folder: Path  # of the run; its folder diagnostics is replaced
    rows: int


class LayerWatch:
    """Writes the folder diagnostics of one training.

    Args:
        measuring: where to, and how often.
        steps: of the training.
        family: of the problem.
        head: behind the network.
        given: instances, (B, m); the first 64 are used.
        optima: their optimal values, (B,).
        dtype: of the network.
        final: the repair whose Jacobian is decomposed.
    """

    def __init__(
        self,
        measuring: Measuring,
        steps: int,
        family: QuadraticFamily,
        head: OutputHead,
        given: np.ndarray,
        optima: np.ndarray,
        dtype: torch.dtype,
        final: RepairLayer,
    ) -> None:
        self._files, self._rows = MeasuredFiles(measuring.folder), measuring.rows
        self._steps, self._family, self._head, self._final = steps, family, head, final
        self._x = torch.tensor(given[:INSTANCES], dtype=dtype)
        self._optima = optima[:INSTANCES]
        self.seconds = 0.0  # CPU time of all measurements

    def is_due(self, step: int) -> bool:
        """Return whether to measure before a step."""
        return step % max(1, self._steps // self._rows) == 0

    def measure(self, step: int, network: nn.Module, loss: WatchedLoss, rate: float) -> None:
        """Measure, and leave the network and random numbers as they are."""
        began = time.process_time()
        was_training = network.training
        network.eval()
        with torch.random.fork_rng(devices=[]):
            numbers = self._numbers(network, loss)
            if step % max(1, self._steps // MOMENTS) == 0:
                numbers |= self._curvature(network, loss, rate)
        network.train(was_training)
        spent = time.process_time() - began
        self.seconds += spent
        self._files.add({STEPS: float(step), **numbers, "time/diagnostics": spent})

    def _numbers(self, network: nn.Module, loss: WatchedLoss) -> dict[str, float]:
        x, parameters = self._x, list(network.parameters())
        raw, rows = network(x), self._head.constraint(x)
        found = {}
        parts = self._parts(raw, rows, x, loss)
        apart = part_gradients(parts, parameters)
        for name, norm in apart.norms.items():
            found[f"gradient_norm/{name}"] = norm
        for (one, other), cosine in apart.cosines.items():
            if np.isfinite(cosine):
                found[f"cosine/{one}/{other}"] = cosine
        found |= self._noise(network, parameters, loss)
        broken = violation(rows.values(raw), rows.lower, rows.upper).detach()
        found["layer/raw_violation"] = float(broken.max(dim=-1).values.mean())
        with torch.no_grad():
            repaired, info = self._final(raw.double(), x.double())
            values = self._family.objective(self._head.outputs(repaired, x.double()).numpy())
        found["layer/gap"] = float((values - self._optima).mean())
        found["layer/iterations"] = float(info.iterations.double().mean())
        return found | self._ranks(raw.detach().double(), x.double())

    def _parts(
        self, raw: torch.Tensor, rows: OutputRows, x: torch.Tensor, loss: WatchedLoss
    ) -> dict[str, torch.Tensor]:
        """Return the objective behind the layer, and the penalties of the raw outputs."""
        answer = raw if loss.layer is None else loss.layer(raw, x)[0]
        above, below = beyond(rows.values(raw), rows.lower, rows.upper)
        squares = above.square() + below.square()
        equal = (rows.lower == rows.upper).to(squares.dtype)
        return {
            "objective": self._family.objective(self._head.outputs(answer, x)).mean(),
            "equalities": loss.weight * (squares * equal).sum(-1).mean(),
            "inequalities": loss.weight * (squares * (1.0 - equal)).sum(-1).mean(),
        }

    def _noise(
        self, network: nn.Module, parameters: list[nn.Parameter], loss: WatchedLoss
    ) -> dict[str, float]:
        gradients = []
        for x in self._x.chunk(MICRO_BATCHES):
            parts = self._parts(network(x), self._head.constraint(x), x, loss)
            gradients.append(flat_gradient(torch.stack([*parts.values()]).sum(), parameters))
        noise = noise_of_batches(torch.stack(gradients), len(self._x) // MICRO_BATCHES)
        return {"noise_signal": noise.signal, "noise_noise": noise.noise}

    def _ranks(self, raw: torch.Tensor, x: torch.Tensor) -> dict[str, float]:
        each, active = layer_ranks(self._head, self._final, raw[:RANKED], x[:RANKED])
        return {
            "layer_rank/effective": float(np.mean([one.effective for one in each])),
            "layer_rank/stable": float(np.mean([one.stable for one in each])),
            "layer_rank/largest": float(np.mean([one.largest for one in each])),
            "layer_rank/of_a_projection": raw.shape[1] - float(np.mean(active)),
        }

    def _curvature(self, network: nn.Module, loss: WatchedLoss, rate: float) -> dict[str, float]:
        parameters = list(network.parameters())
        x, rows = self._x, self._head.constraint(self._x)

        def whole() -> torch.Tensor:
            parts = self._parts(network(x), rows, x, loss)
            return torch.stack([*parts.values()]).sum()

        size = sum(one.numel() for one in parameters)
        products = exact_products if loss.is_smooth else difference_products
        with products(whole, parameters) as product:
            pairs = largest_eigenpairs(product, size, EIGENVALUES)
        found = {
            f"hessian/value_{place}": float(value)
            for place, value in enumerate(pairs.values, start=1)
        }
        return {**found, "hessian/sharpness_rate": rate * float(pairs.values[0])}


def layer_ranks(
    head: OutputHead, layer: RepairLayer, raw: torch.Tensor, x: torch.Tensor
) -> tuple[list[Ranks], np.ndarray]:
    """Return the ranks of d(repaired) / d(raw) of each instance, and how many rows are active.

    Args:
        head: whose constraint the layer has.
        layer: the repair.
        raw: outputs in front of it, (B, n).
        x: (B, m).
    """
    raw = raw.clone().requires_grad_()
    answer, _ = layer(raw, x)
    rows = head.constraint(x)
    values = rows.values(answer.detach())
    near = ((values - rows.lower).abs() < ACTIVE) | ((values - rows.upper).abs() < ACTIVE)
    return jacobian_ranks(answer, raw), near.sum(-1).numpy()
