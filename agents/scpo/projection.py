"""Steps of any torch optimizer, projected so that measured constraints stay satisfied.

    minimize L(theta)   subject to   g(theta) <= 0,   g a black box with g(theta_0) <= 0

Every step is a combination of measured steps that is safe according to a smoothness bound, and it
is taken only after g has been measured at its end. Source: Cao and Borrelli, "Constrained Policy
Optimization via Sampling-Based Weight-Space Projection" (SCPO, arXiv 2512.13788), algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from agents.flat_parameters import flat_gradient, flat_values, set_flat_values
from agents.scpo.base_step import BaseStep, Metric, RawStep
from agents.scpo.conic_program import constraint_bounds, project
from agents.scpo.line_search import Closure, LineSearch
from agents.scpo.measured_constraint import ConstraintBatchFn, ConstraintFn, MeasuredConstraint
from agents.scpo.parameter_bank import (
    Columns,
    Measured,
    ParameterBank,
    largest_slopes,
    slopes_along,
)
from safe_envs.contract.argument_checks import check_number

LARGEST_GROWTH = 2.0**20
LEAST_SLOPE = 1e-3  # share of the slope up to a refused trial that the next smoothness has at least
SHORTEST_STEP = 1e-12  # relative to the raw step; a shorter one is zero
ZERO = "the projected step is zero"
UPHILL = "the loss does not fall along the projected step"
SHORTEST_RAW_STEP = 1e-6  # relative to the optimizer's; a shorter one is abandoned


class ZeroStepError(ValueError):
    """The optimizer's own step is zero: the loss does not depend on the parameters (any longer)."""


@dataclass(frozen=True)
class StepReport:
    """The outcome of one step.

    A null step (`accepted` False) changes neither parameters nor optimizer; `reason` says why.
    """

    accepted: bool
    projected: bool  # a combination was taken, not the raw step
    loss_before: float
    loss_after: float
    max_constraint: float  # largest entry of g at the parameters the step ended with
    evaluations: int  # of g
    tries: int  # solutions of the conic program
    fraction: float  # alpha of the line search
    growth: float  # largest factor put on the first guess of the smoothness
    reason: str | None = None


class WeightSpaceProjection:
    """Keeps g(theta) <= 0 while a torch optimizer minimizes a loss.

    Every `step` measures g after the optimizer's own (raw) step, solves equation 11 for the
    combination of measured steps that is nearest to it and safe by the smoothness bound, backtracks
    until the loss falls by Armijo's rule, and takes the result if g is measured <= 0 there.
    Otherwise the bound is made stricter and the program solved again; if nothing is found, nothing
    changes. So g <= 0 holds at every accepted iterate because it was measured there, and the loss
    on the step's own samples never rises. Every entry of g may be in a unit of its own: multiplying
    it by a positive number changes no step.

    Differs from the paper: g is measured before a step is accepted (Algorithm 1 trusts the
    bound); a raw step that was measured safe is taken as it is (`accept_measured`; (11) would
    shorten it); the projection uses the optimizer's own metric; rejected momentum is corrected; and
    `step` accepts groups of samples whose separate gradients become columns, so that the projection
    can leave out harmful samples. With `metric="identity"`, `accept_measured=False`,
    `sync_momentum=False`, plain SGD and no groups it is the paper's algorithm except for the check.

    Args:
        params: those the optimizer changes and g depends on.
        base_optimizer: made from them; its learning rate may follow a schedule.
        constraint_fn: returns g at the module's current parameters, shape (k,); the same value
            every time. It may be inf where the model is arbitrarily unsafe.
        bank_size: m, measured parameters to keep.
        metric: inner product of the projection, see `BaseStep`.
        accept_measured: take a raw step without projection if g is measured <= 0 there.
        sync_momentum: set the optimizer's momentum to the step taken, and omit it where it leads
            uphill.
        smoothness_memory: share of the factors on the first guess of the smoothness that is kept
            from one step to the next: 0 resets them, 0.5 halves them, 1 keeps them.
        armijo: sigma, share of the linear prediction by which the loss has to fall.
        max_halvings: of the line search.
        max_tries: solutions of the conic program per step.
        constraint_batch_fn: g at several parameters at once, from n flat vectors (d,) to (n, k);
            used for the groups' columns.
        determinism_tolerance: how far two measurements of g at theta_0 may differ.

    Attributes:
        constraint: g at the current parameters, (k,).
        last_safe: the last accepted parameters, (d,).
        evaluations: measurements of g so far, including those at the start.

    Raises:
        InfeasibleStartError, NonFiniteConstraintError, NonDeterministicConstraintError,
        ConstraintShapeError: if g cannot be used at the given parameters.
        ValueError: for an argument out of range.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        base_optimizer: torch.optim.Optimizer,
        constraint_fn: ConstraintFn,
        *,
        bank_size: int = 16,
        metric: Metric = "auto",
        accept_measured: bool = True,
        sync_momentum: bool = True,
        smoothness_memory: float = 0.0,
        armijo: float = 1e-4,
        max_halvings: int = 15,
        max_tries: int = 12,
        constraint_batch_fn: ConstraintBatchFn | None = None,
        determinism_tolerance: float = 0.0,
    ) -> None:
        check_number("smoothness_memory", smoothness_memory, low=0.0, high=1.0)
        check_number("armijo", armijo, low=0.0, high=1.0, open_low=True)
        check_number("max_halvings", max_halvings, low=0)
        check_number("max_tries", max_tries, low=1)
        check_number("determinism_tolerance", determinism_tolerance, low=0.0)
        self._parameters = list(params)
        self._base = BaseStep(self._parameters, base_optimizer, metric)
        self._bank = ParameterBank(bank_size)
        self._accept_measured = accept_measured
        self._sync_momentum = sync_momentum
        self._memory = smoothness_memory
        self._armijo = armijo
        self._max_halvings = int(max_halvings)
        self._max_tries = int(max_tries)
        self._measure = MeasuredConstraint(self._parameters, constraint_fn, constraint_batch_fn)
        self.constraint = self._measure.start(determinism_tolerance)
        self.last_safe = flat_values(self._parameters)
        self._growth = np.ones_like(self.constraint)
        self._bank.add(self.last_safe, self.constraint)

    @property
    def base_optimizer(self) -> torch.optim.Optimizer:
        """The optimizer whose steps are projected."""
        return self._base.optimizer

    @property
    def evaluations(self) -> int:
        """Measurements of g so far."""
        return self._measure.evaluations

    def step(
        self,
        closure: Closure,
        groups: Sequence[torch.Tensor] | None = None,
        advance: Callable[[], None] | None = None,
    ) -> StepReport:
        """Take one safe step.

        Args:
            closure: returns the mean loss over the step's samples, with a gradient; called with
                `index=` (a tensor of sample numbers) if there are groups. It must return the same
                value every time within a step, so draw samples and noise beforehand.
            groups: index tensors that partition the step's samples, for example sorted by a feature
                of the state; each one's share of the gradient becomes a column.
            advance: takes several steps of the base optimizer, for example passes over
                minibatches, which then count as one raw step; None takes one with the gradient
                of the closure.

        Raises:
            ZeroStepError: if the optimizer's step is zero.
            NonFiniteConstraintError: if g is NaN.
            ConstraintShapeError: if g changes its length.
            ValueError: if the loss is not finite, or the groups are empty.
            The parameters and the optimizer are as before after any error.
        """
        theta, memory, before = flat_values(self._parameters), self._base.state(), self.evaluations
        if not torch.equal(theta, self.last_safe):
            raise ValueError(
                "the parameters were changed since the last step, so nothing is known about their "
                "constraints; set them back to last_safe, or make a new WeightSpaceProjection"
            )
        outcome = None
        try:
            outcome = self._step(closure, groups, theta, advance)
        finally:
            if outcome is None or outcome.reached is None:
                set_flat_values(self._parameters, theta)
                self._base.restore(memory)
        if outcome.reached is not None:
            self._accept(outcome.reached, projected=outcome.solved)
        accepted = outcome.reached is not None
        return StepReport(
            accepted=accepted,
            projected=accepted and outcome.solved,
            loss_before=outcome.search.start,
            loss_after=outcome.search.after if accepted else outcome.search.start,
            max_constraint=float(self.constraint.max()),
            evaluations=self.evaluations - before,
            tries=outcome.tries,
            fraction=outcome.fraction if accepted else 0.0,
            growth=float(self._growth.max()) if outcome.tries else 1.0,
            reason=outcome.reason,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return parameters, bank, constraints, growth factors and the optimizer's state.

        It holds tensors and numbers only, so that `torch.load` takes it with `weights_only`.
        """
        return {
            "theta": self.last_safe.clone(),
            "constraint": torch.tensor(self.constraint),
            "growth": torch.tensor(self._growth),
            "bank": self._bank.state_dict(),
            "evaluations": self.evaluations,
            # Torch's optimizers share their tensors with the states that they return and load.
            "optimizer": deepcopy(self._base.optimizer.state_dict()),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned, including the parameters.

        Raises:
            ValueError: if it was made for another number of parameters or constraints.
        """
        for name, ours in (("theta", self.last_safe), ("constraint", self.constraint)):
            if state[name].shape != ours.shape:
                raise ValueError(
                    f"the state's {name} has shape {tuple(state[name].shape)} and this one's "
                    f"{tuple(ours.shape)}; load it into the problem it was saved from"
                )
        self.last_safe = state["theta"].clone()
        self.constraint = state["constraint"].numpy().copy()
        self._growth = state["growth"].numpy().copy()
        self._bank.load_state_dict(state["bank"])
        self._measure.evaluations = state["evaluations"]
        self._base.optimizer.load_state_dict(deepcopy(state["optimizer"]))
        set_flat_values(self._parameters, self.last_safe)

    def _step(
        self,
        closure: Closure,
        groups: Sequence[torch.Tensor] | None,
        theta: torch.Tensor,
        advance: Callable[[], None] | None,
    ) -> _Outcome:
        gradients = _gradients(closure, groups, self._parameters)
        gradient = gradients.sum(dim=0)
        search = LineSearch(
            closure, self._parameters, theta, gradient, self._armijo, self._max_halvings
        )
        raw = self._base.propose(gradient, advance)
        if not raw.step.any():
            raise ZeroStepError(
                "the optimizer's step is zero: the loss has no gradient here; check that it "
                "depends on the given parameters, or stop, it is at a minimum"
            )
        if not gradient.any():  # momentum alone, along which the loss cannot fall
            return _Outcome(search, UPHILL)
        extra: list[Measured] = []
        shares = gradients if groups is not None else None
        outcome = self._attempt(search, theta, raw, shares, extra)
        if outcome.reason != UPHILL or not self._sync_momentum:
            return outcome
        # Old momentum may point uphill on these samples, and would do so at every further step.
        descent = (-(raw.rate / raw.metric) * gradient.double()).to(theta.dtype)
        again = self._attempt(search, theta, raw._replace(step=descent), None, extra)
        return again._replace(tries=outcome.tries + again.tries, solved=True)

    def _attempt(
        self,
        search: LineSearch,
        theta: torch.Tensor,
        raw: RawStep,
        gradients: torch.Tensor | None,
        extra: list[Measured],
    ) -> _Outcome:
        """Take a raw step as it is or projected; columns of the gradients (n, d) join `extra`."""
        measured = self._measured_raw(theta, raw.step)
        if measured is None:
            return _Outcome(search, "g is not finite along the raw step")
        self._bank.add(*measured)
        safe = self._accept_measured and (measured.value <= 0.0).all()
        if safe and search.falls(measured.theta - theta):
            return _Outcome(search, reached=measured)
        if gradients is not None:
            extra += self._group_columns(theta, raw, gradients)
        return self._projected(search, theta, self._bank.columns(theta, raw.metric, extra))

    def _measured_raw(self, theta: torch.Tensor, step: torch.Tensor) -> Measured | None:
        """Return where the raw step leads, halved until g is finite there."""
        fraction = 1.0
        while fraction >= SHORTEST_RAW_STEP:
            there = theta + fraction * step
            value = self._measure.at(there)
            if np.isfinite(value).all():
                return Measured(there, value)
            fraction *= 0.5
        return None

    def _group_columns(
        self, theta: torch.Tensor, raw: RawStep, gradients: torch.Tensor
    ) -> list[Measured]:
        """Return where each group's share of the gradient would lead, with g measured there."""
        steps = (-raw.rate / raw.metric) * gradients
        thetas = [theta + step.to(theta.dtype) for step in steps]
        values = self._measure.at_all(thetas)
        return [Measured(there, value) for there, value in zip(thetas, values, strict=True)]

    def _projected(self, search: LineSearch, theta: torch.Tensor, columns: Columns) -> _Outcome:
        """Solve (11), with a stricter bound after every trial that is not safe.

        A constraint that is the same at all measured points has the slope 0, which no factor
        increases; after a refused trial it has a share of the slope up to there.
        """
        problem = (columns.gram, columns.values, self.constraint)
        slopes = largest_slopes(columns, self.constraint)
        shortest = SHORTEST_STEP * float(columns.steps[-1].norm())
        self._growth = np.maximum(1.0, self._memory * self._growth)
        for tries in range(1, self._max_tries + 1):
            smoothness = slopes * self._growth
            coefficients, solved, *_ = project(*problem, smoothness)
            delta = columns.combined(coefficients).to(theta.dtype)
            if float(delta.norm()) <= shortest or torch.equal(theta + delta, theta):
                return _Outcome(search, ZERO, tries)
            fraction = search.backtrack(delta)
            if fraction is None:
                return _Outcome(search, UPHILL, tries)
            there = theta + fraction * delta
            value = self._measure.at(there)
            if (value <= 0.0).all():
                return _Outcome(search, None, tries, fraction, Measured(there, value), solved)
            step = fraction * coefficients
            wrong = (value > 0.0) | (value > constraint_bounds(step, *problem, smoothness))
            self._growth = np.where(wrong, 2.0 * self._growth, self._growth)
            seen = slopes_along(step, columns, self.constraint, value)
            slopes = np.where(wrong, np.maximum(slopes, LEAST_SLOPE * seen), slopes)
            if self._growth.max() > LARGEST_GROWTH:
                break
        return _Outcome(search, "no safe step found", tries)

    def _accept(self, reached: Measured, projected: bool) -> None:
        if self._sync_momentum and projected:
            self._base.follow(reached.theta - self.last_safe)
        set_flat_values(self._parameters, reached.theta)
        self.last_safe, self.constraint = reached.theta.clone(), reached.value.copy()
        self._bank.add(*reached)


class _Outcome(NamedTuple):
    """How a step ended: at measured parameters, or without a step for a reason."""

    search: LineSearch
    reason: str | None = None
    tries: int = 0
    fraction: float = 1.0
    reached: Measured | None = None
    solved: bool = False  # the step is not the optimizer's own


def _gradients(
    closure: Closure, groups: Sequence[torch.Tensor] | None, parameters: list[nn.Parameter]
) -> torch.Tensor:
    """Return the gradient of each group's share of the mean loss, (n, d); n = 1 without groups."""
    with torch.enable_grad():
        if groups is None:
            return flat_gradient(closure(), parameters)[None]
        count = sum(len(index) for index in groups)
        if count == 0:
            raise ValueError("the groups are empty; pass index tensors that partition the samples")
        filled = [index for index in groups if len(index)]
        losses = (closure(index=index) * (len(index) / count) for index in filled)
        return torch.stack([flat_gradient(loss, parameters) for loss in losses])
