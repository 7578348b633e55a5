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
from agents.constraint_layers.null_space import NullSpaceHead
from agents.constraint_layers.output_rows import Constraint, OutputRows
from agents.constraint_layers.penalties import SoftPenalty
from agents.constraint_layers.projection import ProjectionLayer
from agents.constraint_layers.reference_optima import optimal_values
from agents.constraint_layers.relaxation import AdaptiveRelaxation, Shape, largest_violations
from baselines.diagnostics.ranks import ranks
from baselines.experiments.layers.measures import Quality, quality
from baselines.experiments.layers.networks import NetworkSetting
from baselines.experiments.layers.problems import ProblemSetting
from safe_envs.action_constraints.repair import RepairSettings
from safe_envs.action_constraints.rows import violation
from safe_envs.contract.argument_checks import check_choice, check_count, check_not_negative
from safe_envs.control.quadratic_families import QuadraticFamily

LAYERS = ("soft", "active", "all", "projection")
TRACED = 50  # points of the curves
VALIDATED = 200  # instances by which weights are chosen
RANKED = 32  # instances whose Jacobian is decomposed
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


class OutputHead:
    """What stands between the network and y: nothing, or the null space of the equalities."""

    def __init__(self, family: QuadraticFamily, head: str) -> None:
        self._null = NullSpaceHead(family.equalities) if head == "null" else None
        self.num_raw = family.sizes[0] if self._null is None else self._null.num_free
        self.constraint: Constraint = family.rows
        if self._null is not None:
            self.constraint = self._null.constraint(family.inequality_rows)

    def outputs(self, raw: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Return y, (B, n)."""
        return raw if self._null is None else self._null(raw, x)


def train(setting: LayerTraining, optima: Path) -> TrainingResult:
    """Train and measure.

    Args:
        setting: of the training.
        optima: folder in which reference optima are kept.
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
        started = time.process_time()
        curve = _fit(setting, family, network, head, x)
        seconds = time.process_time() - started
    network.eval()
    final = RepairLayer(head.constraint, FINAL)
    measure = partial(_measured, family, network, head, final, dtype)
    tested, validated = measure(given, best), measure(held, best_held)
    return TrainingResult(
        setting,
        raw=tested.raw,
        repaired=tested.repaired,
        validation=validated.repaired,
        unrepaired=tested.unrepaired,
        repair_iterations=tested.iterations,
        rank=_mean_rank(network, head, final, family, dtype),
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


def _mean_rank(
    network: nn.Module,
    head: OutputHead,
    final: RepairLayer,
    family: QuadraticFamily,
    dtype: torch.dtype,
) -> float:
    """Return the mean effective rank of d(repaired)/d(raw) on test instances."""
    x = torch.tensor(family.parts["testing"][:RANKED])
    with torch.no_grad():
        raw = network(x.to(dtype)).double()
    raw.requires_grad_()
    answer, _ = final(raw, x)
    rows = [
        torch.autograd.grad(answer[:, i].sum(), raw, retain_graph=True)[0]
        for i in range(answer.shape[1])
    ]
    jacobians = torch.stack(rows, dim=1)  # (B, outputs, raw)
    sizes = torch.linalg.svdvals(jacobians).numpy()
    return float(np.mean([ranks(one).effective for one in sizes]))
