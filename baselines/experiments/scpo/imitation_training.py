"""The training runs of the imitation experiment: SCPO as printed, as here, and plain Adam."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from agents.scpo.projection import StepReport, WeightSpaceProjection
from baselines.experiments.scpo.imitation_problem import (
    LITERAL_FORM,
    SAFER_FORM,
    AdvantageConstraint,
    ImitatingPolicy,
    ResidualForm,
    Samples,
    draw_samples,
    new_policy,
    parameters_of,
)
from baselines.experiments.scpo.variants import VariantSettings, literal, ours

Method = Literal["literal", "literal-max", "ours", "unconstrained", "unconstrained-gated"]
METHODS: tuple[Method, ...] = (
    "literal",
    "literal-max",
    "ours",
    "unconstrained",
    "unconstrained-gated",
)
LITERAL_RATE, ADAM_RATE = 0.05, 1e-3  # the paper gives none


@dataclass(frozen=True)
class ImitationRun:
    """Everything that determines a run.

    Args:
        method: "literal" is the paper's construction with one constraint per grid state,
            "literal-max" its equation 27; "ours" adds the gate, the later clipping, the adaptive
            metric and group columns; "unconstrained" is Adam on the loss alone, with the paper's
            policy or ("-gated") with ours.
        seed: of the network and of the samples.
        iterations: training steps.
        grid: states per axis of the constraint.
        expert_noise_std: of the expert; the paper's N(0, 0.4) may also mean the variance.
        alpha_scale: alpha of the constraint.
        gated: "ours" has the gate.
        groups: columns of "ours" from parts of the samples.
        bank_size: m.
    """

    method: Method
    seed: int = 0
    iterations: int = 120
    grid: int = 50
    expert_noise_std: float = 0.4
    alpha_scale: float = 1.0
    gated: bool = True
    groups: int = 8
    bank_size: int = 16

    @property
    def is_constrained(self) -> bool:
        """The steps are projected."""
        return not self.method.startswith("unconstrained")

    @property
    def form(self) -> ResidualForm:
        """How network and safe controller are combined."""
        if self.method == "ours":
            return SAFER_FORM._replace(gated=self.gated)
        return SAFER_FORM if self.method == "unconstrained-gated" else LITERAL_FORM

    @property
    def settings(self) -> VariantSettings:
        """The optimizer and its projection."""
        if self.method == "ours":
            return ours(self.groups, ADAM_RATE, self.bank_size)
        if self.is_constrained:
            return literal(LITERAL_RATE, self.bank_size)
        return VariantSettings("adam", ADAM_RATE, 0, self.bank_size, {})

    @property
    def name(self) -> str:
        """A file name that is unique to the run."""
        words = [self.method, f"{self.iterations}it", f"grid{self.grid}"]
        words += [f"noise{self.expert_noise_std:g}", f"alpha{self.alpha_scale:g}"]
        if self.method == "ours":
            words += [f"groups{self.groups}", *([] if self.gated else ["nogate"])]
        if self.is_constrained:
            words += [f"bank{self.bank_size}"]
        return "-".join([*words, f"seed{self.seed}"])


@dataclass(frozen=True)
class Training:
    """The result of a training."""

    iterates: list[torch.Tensor]  # accepted parameters, the first ones included, each (d,)
    loss_increases: int  # accepted steps after which the loss on their own samples was higher
    null_steps: int
    projected: int
    evaluations: int  # of g
    rollout_steps: int  # of the environment, to collect samples
    constraint_steps: int  # of the simulator, to measure g
    cpu_seconds: float


def train(run: ImitationRun) -> tuple[ImitatingPolicy, Training]:
    """Return the trained policy and its training record.

    Every step draws fresh rollouts of the current policy and noise, which stay fixed within it.
    """
    start = time.process_time()
    policy = new_policy(run.form, run.seed)
    as_maximum = run.method == "literal-max"
    constraint = AdvantageConstraint(policy, run.grid, run.alpha_scale, as_maximum)
    parameters = list(policy.network.parameters())
    optimizer = run.settings.base_optimizer(parameters)
    projection: WeightSpaceProjection | None = None
    if run.is_constrained:
        projection = run.settings.make(parameters, constraint, constraint.batch)
    rng = np.random.default_rng(run.seed)
    iterates, reports, rollout_steps = [parameters_of(policy)], [], 0
    for _ in range(run.iterations):
        samples = draw_samples(policy, rng, run.expert_noise_std)
        rollout_steps += samples.simulated_steps
        closure = _Closure(policy, samples)
        if projection is None:
            reports.append(_plain_step(optimizer, closure))
        else:
            parts = run.settings.parts(closure.squared_radius)
            reports.append(projection.step(closure, parts))
        if reports[-1].accepted:
            iterates.append(parameters_of(policy))
    evaluations = 0 if projection is None else projection.evaluations
    return policy, Training(
        iterates=iterates,
        loss_increases=sum(one.loss_after > one.loss_before for one in reports),
        null_steps=sum(not one.accepted for one in reports),
        projected=sum(one.projected for one in reports),
        evaluations=evaluations,
        rollout_steps=rollout_steps,
        constraint_steps=constraint.steps,
        cpu_seconds=time.process_time() - start,
    )


class _Closure:
    """The mean imitation loss over fixed samples, or over those with given numbers."""

    def __init__(self, policy: ImitatingPolicy, samples: Samples) -> None:
        self._policy = policy
        self._states = torch.from_numpy(samples.states)
        self._targets = torch.from_numpy(samples.expert_actions)
        self.squared_radius = self._states.square().sum(dim=1)

    def __call__(self, index: torch.Tensor | None = None) -> torch.Tensor:
        states, targets = self._states, self._targets
        if index is not None:
            states, targets = states[index], targets[index]
        return (self._policy.actions(states) - targets).square().mean()


def _plain_step(optimizer: torch.optim.Optimizer, closure: _Closure) -> StepReport:
    """Take a step of the optimizer alone, which knows no constraint."""
    optimizer.zero_grad()
    loss = closure()
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        after = float(closure())
    return StepReport(True, False, loss.item(), after, math.nan, 0, 0, 1.0, 1.0)
