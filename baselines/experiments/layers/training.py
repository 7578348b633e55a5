"""One training of a network with or without a constraint layer, and what it reached.

    loss = mean over a minibatch of  f(y) + w penalty(y) + raw_weight penalty(raw),   y = layer(raw)

Without a layer ("soft") y is the raw output. Every result has the outputs of the network as they
are and after one repair, which is "soft, then repair once" where no layer was trained through.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import nn

from agents.constraint_layers.layers import RepairLayer
from agents.constraint_layers.output_rows import OutputRows
from agents.constraint_layers.penalties import SoftPenalty
from agents.constraint_layers.projection import ProjectionLayer
from agents.constraint_layers.reference_optima import optimal_values
from agents.constraint_layers.relaxation import AdaptiveRelaxation, Shape, largest_violations
from baselines.experiments.layers.measures import Quality, quality
from baselines.experiments.layers.networks import NetworkSetting
from baselines.experiments.layers.output_head import OutputHead
from baselines.experiments.layers.problems import ProblemSetting
from baselines.experiments.layers.watched_training import (
    RANKED,
    LayerWatch,
    Measuring,
    WatchedLoss,
    layer_ranks,
)
from safe_envs.action_constraints.repair import RepairSettings
from safe_envs.action_constraints.rows import violation
from safe_envs.contract.argument_checks import check_choice, check_count, check_not_negative
from safe_envs.control.quadratic_families import QuadraticFamily

LAYERS = ("soft", "active", "all", "projection")
TRACED = 50  # points of the curves
VALIDATED = 200  # instances by which weights are chosen
REPEATS = 5  # of the timed repair
FINAL = RepairSettings(tolerance=1e-6, max_iterations=200)  # the repair of what is measured


@dataclass(frozen=True)
class LayerTraining:
    """What is trained, on what, and how.

    Args:
        problem: the family and its data.
        layer: that is trained through: "soft" for none, the repair with "active" or "all" rows, or
            "projection".
        head: "full": the network gives y; "null": it gives u of y = A+ x + Z u.
        network: in front.
        seed: of the network's weights and of the minibatches.
        steps: of Adam.
        soft_steps: first steps without the layer.
        batch: instances in a minibatch.
        rate: of Adam.
        decay: "cosine": the rate falls to 0 over the training; or "constant".
        weight: w, of the penalty on y.
        kind: of the penalties, "squared" or "norm".
        raw_weight: of the penalty on the raw outputs.
        relaxed: share of the training over which bounds are relaxed; 0 for no relaxation.
        shape: of the relaxation.
        tolerance: of the layer in training.
        max_iterations: of the layer in training.
        precision: of network and penalties; layers compute in float64.
        tested: test instances, the first of the data's last twelfth.
    """

    problem: ProblemSetting = field(default_factory=ProblemSetting)
    layer: Literal["soft", "active", "all", "projection"] = "soft"
    head: Literal["full", "null"] = "full"
    network: NetworkSetting = field(default_factory=NetworkSetting)
    seed: int = 0
    steps: int = 600
    soft_steps: int = 0
    batch: int = 100
    rate: float = 1e-3
    decay: Literal["cosine", "constant"] = "cosine"
    weight: float = 10.0
    kind: Literal["squared", "norm"] = "squared"
    raw_weight: float = 0.0
    relaxed: float = 0.0
    shape: Shape = "linear"
    tolerance: float = 1e-4
    max_iterations: int = 50
    precision: Literal["float32", "float64"] = "float32"
    tested: int = 833  # DC3's and SnareNet's number

    def __post_init__(self) -> None:
        check_choice("layer", self.layer, LAYERS)
        check_choice("head", self.head, ("full", "null"))
        check_choice("decay", self.decay, ("cosine", "constant"))
        check_choice("precision", self.precision, ("float32", "float64"))
        check_count(steps=self.steps, batch=self.batch, tested=self.tested)
        check_not_negative(weight=self.weight, raw_weight=self.raw_weight, relaxed=self.relaxed)
        if not 0 <= self.soft_steps <= self.steps:
            raise ValueError(f"soft_steps is {self.soft_steps}; pass a number from 0 to steps")


class CurvePoint(NamedTuple):
    """One point of the curves: a step and its minibatch."""

    step: int
    loss: float
    objective: float
    raw_violation: float  # mean of the instances' largest
    iterations: float  # of the layer
    unrepaired: float  # share of instances whose layer did not converge


@dataclass(frozen=True)
class TrainingResult:
    """What a training reached on the test instances, and on those for validation."""

    setting: LayerTraining
    raw: Quality
    repaired: Quality
    validation: Quality  # repaired, on the validation instances, by which weights are chosen
    unrepaired: float  # share of test instances that the final repair did not make feasible
    repair_iterations: float  # mean of the final repair
    rank: float  # mean effective rank of the final repair's Jacobian
    seconds: float  # CPU time of the training
    milliseconds: float  # CPU time per step
    test_milliseconds: float  # CPU time of network and repair of all test instances
    curve: list[CurvePoint]


def train(
    setting: LayerTraining, optima: Path, measuring: Measuring | None = None
) -> TrainingResult:
    """Train and measure.

    Args:
        setting: of the training.
        optima: folder in which reference optima are kept.
        measuring: whether to measure the training as it goes, and where to.
    """
    family = setting.problem.made()
    given = family.parts["testing"][: setting.tested]
    held = family.parts["validation"][: min(VALIDATED, setting.tested)]
    best, best_held = (optimal_values(family, part, optima) for part in (given, held))
    dtype = torch.float32 if setting.precision == "float32" else torch.float64
    x = torch.tensor(family.parts["training"], dtype=dtype)
    head = OutputHead(family, setting.head)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(setting.seed)
        network = setting.network.make(x.shape[1], head.num_raw).to(dtype)
        final = RepairLayer(head.constraint, FINAL)
        watch = None
        if measuring is not None:
            told = (family, head, held, best_held, dtype, final)
            watch = LayerWatch(measuring, setting.steps, *told)
        started = time.process_time()
        curve = _fit(setting, family, network, head, x, watch)
        seconds = time.process_time() - started - (0.0 if watch is None else watch.seconds)
    network.eval()
    measure = partial(_measured, family, network, head, final, dtype)
    tested, validated = measure(given, best), measure(held, best_held)
    return TrainingResult(
        setting,
        raw=tested.raw,
        repaired=tested.repaired,
        validation=validated.repaired,
        unrepaired=tested.unrepaired,
        repair_iterations=tested.iterations,
        rank=_mean_rank(network, head, final, x.new_tensor(given[:RANKED])),
        seconds=seconds,
        milliseconds=1e3 * seconds / setting.steps,
        test_milliseconds=tested.milliseconds,
        curve=curve,
    )


def _fit(
    setting: LayerTraining,
    family: QuadraticFamily,
    network: nn.Module,
    head: OutputHead,
    x: torch.Tensor,
    watch: LayerWatch | None,
) -> list[CurvePoint]:
    """Train the network; return its curves."""
    layer = _layer(setting, head, x)
    penalty = SoftPenalty(1.0, 1.0, setting.kind)
    optimizer = torch.optim.Adam(network.parameters(), setting.rate)
    relaxation: AdaptiveRelaxation | None = None
    recorder = _Recorder(max(1, setting.steps // TRACED))
    network.train()
    for step in range(setting.steps):
        if setting.decay == "cosine":
            share = 0.5 * (1.0 + np.cos(np.pi * step / setting.steps))
            optimizer.param_groups[0]["lr"] = setting.rate * share
        if setting.relaxed and layer is not None and step == setting.soft_steps:
            relaxation = _relaxation(setting, network, head, x)
        if watch is not None and watch.is_due(step):
            through = layer if step >= setting.soft_steps else None
            rate = float(optimizer.param_groups[0]["lr"])
            watch.measure(
                step,
                network,
                WatchedLoss(setting.weight, through, setting.layer != "projection"),
                rate,
            )
        chosen = x[torch.randint(len(x), (setting.batch,))]
        raw, rows = network(chosen), head.constraint(chosen)
        answer, iterations, failed = raw, 0.0, 0.0
        if layer is not None and step >= setting.soft_steps:
            if relaxation is not None and isinstance(layer, RepairLayer):
                layer.relaxation = relaxation.at(step - setting.soft_steps).double()
            answer, info = layer(raw, chosen)
            iterations = float(info.iterations.double().mean())
            failed = 1.0 - float(info.converged.double().mean())
        objective = family.objective(head.outputs(answer, chosen)).mean()
        loss = objective + setting.weight * penalty(answer, rows).mean()
        if setting.raw_weight:
            loss = loss + setting.raw_weight * penalty(raw, rows).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if recorder.due(step):
            broken = _mean_violation(rows, raw.detach())
            recorder.add(
                CurvePoint(step, loss.item(), objective.item(), broken, iterations, failed)
            )
    return recorder.points


def _layer(setting: LayerTraining, head: OutputHead, x: torch.Tensor) -> nn.Module | None:
    """Return the layer that is trained through."""
    if setting.layer == "soft":
        return None
    if setting.layer == "projection":
        return ProjectionLayer(head.constraint, x[0])
    given = RepairSettings(
        setting.layer, tolerance=setting.tolerance, max_iterations=setting.max_iterations
    )
    return RepairLayer(head.constraint, given)


def _relaxation(
    setting: LayerTraining, network: nn.Module, head: OutputHead, x: torch.Tensor
) -> AdaptiveRelaxation:
    """Return the relaxation that leaves every training instance feasible at first."""
    steps = max(1, round(setting.relaxed * (setting.steps - setting.soft_steps)))
    network.eval()
    with torch.no_grad():
        wide = largest_violations(head.constraint(x), network(x))
    network.train()
    return AdaptiveRelaxation(wide, steps, setting.shape)


class _Recorder:
    """Points of the curves, at regular steps."""

    def __init__(self, every: int) -> None:
        self._every = every
        self.points: list[CurvePoint] = []

    def due(self, step: int) -> bool:
        return (step + 1) % self._every == 0

    def add(self, point: CurvePoint) -> None:
        if not np.isfinite(point.loss):
            raise ValueError(f"the loss is {point.loss} at step {point.step}; lower the rate")
        self.points.append(point)


class _Measured(NamedTuple):
    raw: Quality
    repaired: Quality
    unrepaired: float
    iterations: float
    milliseconds: float


def _measured(
    family: QuadraticFamily,
    network: nn.Module,
    head: OutputHead,
    final: RepairLayer,
    dtype: torch.dtype,
    given: np.ndarray,
    optima: np.ndarray,
) -> _Measured:
    """Return the quality of the network's outputs on instances, raw and repaired."""
    x = torch.tensor(given)
    with torch.no_grad():
        started = time.process_time()
        for _ in range(REPEATS):
            raw = network(x.to(dtype)).double()
            answer, info = final(raw, x)
            outputs = head.outputs(answer, x)
        elapsed = (time.process_time() - started) / REPEATS
    return _Measured(
        quality(family, given, head.outputs(raw, x).numpy(), optima),
        quality(family, given, outputs.numpy(), optima),
        1.0 - float(info.converged.double().mean()),
        float(info.iterations.double().mean()),
        1e3 * elapsed,
    )


def _mean_violation(rows: OutputRows, raw: torch.Tensor) -> float:
    """Return the mean over instances of the largest violation."""
    broken = violation(rows.values(raw), rows.lower, rows.upper)
    return float(broken.max(dim=-1).values.mean())


def _mean_rank(network: nn.Module, head: OutputHead, final: RepairLayer, x: torch.Tensor) -> float:
    """Return the mean effective rank of d(repaired) / d(raw)."""
    with torch.no_grad():
        raw = network(x).double()
    each, _ = layer_ranks(head, final, raw, x.double())
    return float(np.mean([one.effective for one in each]))
