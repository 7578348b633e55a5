"""SCPO's update of a policy: some steps of an optimizer, one projection, and the critics' fit.

    theta_raw = theta + several steps of the optimizer on the batch's loss
    theta'    = theta + the safe combination of measured steps nearest to theta_raw - theta,
                if g(theta') <= 0 is measured there; else theta

with g the constraints of the validation set. Source: Cao and Borrelli, "Constrained Policy
Optimization via Sampling-Based Weight-Space Projection" (arXiv 2512.13788), algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from agents.actor_critic import MlpPolicy
from agents.batch import Batch, Measurement, Observations
from agents.critic_descent import CriticDescent
from agents.divergence import estimated_divergence, log_ratios
from agents.primal.ppo import check_clip_range, clip_range_at
from agents.scpo.base_step import METRICS, Metric
from agents.scpo.objectives import (
    OBJECTIVES,
    ClippedReturn,
    Expert,
    Imitation,
    Objective,
    ObjectiveName,
    PolicyGradient,
)
from agents.scpo.projection import StepReport, WeightSpaceProjection
from agents.scpo.validation import Act, Validation
from safe_envs.contract.argument_checks import check_choice, check_number


@dataclass(frozen=True)
class ScpoSettings:
    """How an SCPO agent learns.

    Args:
        objective: "ppo" and "reinforce" raise the return; "imitation" copies the expert.
        actor_learning_rate: of the actor's optimizer, Adam, whose preconditioner is the
            projection's metric and whose momentum follows the steps taken.
        actor_steps: the optimizer's steps on the whole batch per update; their sum is the raw
            step, and there is one projection.
        clip_range: of the objective "ppo"; 0.2 as in its paper, or a function of the remaining
            progress, 1 to 0.
        groups: parts of the batch, sorted by the observations' norm, whose gradients become
            columns of the projection, one measurement of the constraints each; 0 for none.
        bank_size: m, earlier parameters that the projection may combine.
        metric: inner product of the projection; "identity" is the paper's.
        accept_measured: take a raw step that was measured safe as it is; not in the paper.
        armijo: share of the linear prediction by which the loss has to fall.
        max_tries: projections per update.
    """

    objective: ObjectiveName = "ppo"
    actor_learning_rate: float = 1e-3
    actor_steps: int = 10
    clip_range: float | Callable[[float], float] = 0.2
    groups: int = 4
    bank_size: int = 16
    metric: Metric = "auto"
    accept_measured: bool = True
    armijo: float = 1e-4
    max_tries: int = 12

    def __post_init__(self) -> None:
        check_choice("objective", self.objective, OBJECTIVES)
        check_choice("metric", self.metric, METRICS)
        check_number("actor_learning_rate", self.actor_learning_rate, low=0.0, open_low=True)
        check_number("actor_steps", self.actor_steps, low=1)
        check_clip_range(self.clip_range)
        check_number("groups", self.groups, low=0)
        check_number("bank_size", self.bank_size, low=1)
        check_number("armijo", self.armijo, low=0.0, high=1.0, open_low=True)
        check_number("max_tries", self.max_tries, low=1)


class Attached(NamedTuple):
    """The policy and its validation, which the agent passes to its update."""

    policy: MlpPolicy
    act: Act  # the deterministic policy, on the environments' own observations
    validation: Validation
    expert: Expert | None


class ScpoUpdate:
    """Raw step, projection and critics; only the validation's constraints matter.

    Args:
        settings: of the actor.
        descent: how the critics are fitted.
    """

    def __init__(self, settings: ScpoSettings, descent: CriticDescent) -> None:
        self._settings = settings
        self._descent = descent
        self._attached: Attached | None = None
        self._projection: WeightSpaceProjection | None = None
        self._saved: dict[str, Any] | None = None
        self._last: StepReport | None = None

    def attach(self, attached: Attached) -> None:
        """Use this policy and validation from now on; what is remembered is kept."""
        self._saved = self.state()["projection"]
        self._attached, self._projection = attached, None

    def begin(self) -> int:
        """Measure the policy unless that was done, and return the environment steps to count.

        A state that was saved or handed over is measured again, and goes on if the constraints are
        the same; otherwise the validation or the policy has changed, and counts from here.

        Raises:
            InfeasibleStartError: if it is not safe on the validation set.
            ConstraintError: if the validation cannot be used.
        """
        assert self._attached is not None, "the agent attaches its policy first"
        if self._projection is not None:
            return 0
        policy, act, validation, _ = self._attached
        before = validation.steps
        actor = policy.actor_parameters()
        settings = self._settings
        self._projection = WeightSpaceProjection(
            actor,
            torch.optim.Adam(actor, settings.actor_learning_rate),
            lambda: validation(act),
            bank_size=settings.bank_size,
            metric=settings.metric,
            accept_measured=settings.accept_measured,
            armijo=settings.armijo,
            max_tries=settings.max_tries,
        )
        saved, self._saved = self._saved, None
        if saved is not None and self._projection.resume(saved):
            return 0  # this only confirmed what was measured, and counted, before
        return validation.steps - before

    def update(
        self,
        policy: MlpPolicy,
        batch: Batch,
        measured: Measurement | None,
        progress_remaining: float,
    ) -> dict[str, float]:
        """Take one safe step, fit the critics and return what to log.

        The validation's environment steps are in "environment_steps"; the agent counts them.

        Raises:
            NonFiniteConstraintError, ConstraintShapeError: if the validation breaks.
            ZeroStepError: if the objective has no gradient.
            NonFiniteLossError: if a critic's loss is NaN or infinite.
        """
        assert self._attached is not None
        assert self._projection is not None
        before = self._attached.validation.steps
        policy.set_training_mode(False)  # the step measures g, which must be deterministic
        objective = self._objective(policy, batch, progress_remaining)

        def closure(index: torch.Tensor | None = None) -> torch.Tensor:
            chosen: torch.Tensor | slice = slice(None) if index is None else index
            return objective.losses(policy, chosen).mean()

        def advance() -> None:
            optimizer = self._optimizer()
            for _ in range(self._settings.actor_steps):
                optimizer.zero_grad()
                closure().backward()
                optimizer.step()

        groups = _groups(batch.observations, self._settings.groups)
        self._last = self._projection.step(closure, groups, advance)
        policy.set_training_mode(True)
        divergence = {"approx_kl": estimated_divergence(log_ratios(policy, batch))}
        report = _logged(self._last) | divergence | self._descent.fit(policy, batch)
        return report | {"environment_steps": float(self._attached.validation.steps - before)}

    def log(self) -> dict[str, np.ndarray]:
        """Return the largest constraint of the validation set."""
        if self._last is None:
            return {}
        return {"max_validation": np.array([self._last.max_constraint])}

    def state(self) -> dict[str, Any]:
        """Return the state of the projection: parameters, constraints measured there, optimizer."""
        if self._projection is not None:
            return {"projection": self._projection.state_dict()}
        return {"projection": self._saved}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a state when the policy is measured the next time."""
        if state["projection"] is not None:
            _check_state(state["projection"])
        self._saved, self._projection = state["projection"], None

    def _optimizer(self) -> torch.optim.Optimizer:
        assert self._projection is not None
        return self._projection.base_optimizer

    def _objective(self, policy: MlpPolicy, batch: Batch, progress_remaining: float) -> Objective:
        assert self._attached is not None
        if self._settings.objective == "ppo":
            # Validation steps can exceed the budget, so that no progress remains.
            epsilon = clip_range_at(max(progress_remaining, 0.0), self._settings.clip_range)
            return ClippedReturn(batch, epsilon)
        if self._settings.objective == "reinforce":
            return PolicyGradient(batch)
        assert self._attached.expert is not None, "the agent checks this"
        space: Any = policy.action_space
        low, high = (torch.as_tensor(side).to(batch.actions) for side in (space.low, space.high))
        return Imitation(batch, self._attached.expert, low, high)


def _check_state(state: Any) -> None:
    """Raise ValueError unless this has the form of `WeightSpaceProjection.state_dict`."""
    kinds = {
        "theta": torch.Tensor,
        "constraint": torch.Tensor,
        "growth": torch.Tensor,
        "bank": list,
        "evaluations": int,
        "optimizer": dict,
    }
    fits = isinstance(state, dict) and state.keys() == kinds.keys()
    if not fits or not all(isinstance(state[name], kind) for name, kind in kinds.items()):
        raise ValueError("this is no state of a WeightSpaceProjection")


def _groups(observations: Observations, count: int) -> list[torch.Tensor] | None:
    """Return index tensors that partition the batch by the observations' norm, or None."""
    if count == 0:
        return None
    tensors = [observations] if isinstance(observations, torch.Tensor) else observations.values()
    norms = sum(tensor.flatten(1).double().square().sum(1) for tensor in tensors)
    assert isinstance(norms, torch.Tensor)
    return list(torch.argsort(norms, stable=True).tensor_split(count))


def _logged(report: StepReport) -> dict[str, float]:
    return {
        "loss_before": report.loss_before,
        "loss_after": report.loss_after,
        "accepted": float(report.accepted),
        "projected": float(report.projected),
        "projection_tries": float(report.tries),
        "constraint_measurements": float(report.evaluations),
        "step_fraction": report.fraction,
    }
