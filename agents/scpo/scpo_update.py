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
from agents.batch import Batch, Measurement
from agents.critic_descent import CriticDescent
from agents.divergence import estimated_divergence, log_ratios
from agents.non_finite_loss import NonFiniteLossError
from agents.schedules import check_scheduled, scheduled
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
from agents.scpo.projection import StepReport, WeightSpaceProjection, ZeroStepError
from agents.scpo.residual_policy import ResidualPolicy
from agents.scpo.validation import Act, Validation
from safe_envs.contract.argument_checks import check_choice, check_number

SAME = 1e-6  # relative difference of constraints that were measured the same way

REMEMBERED = {  # of a projection
    "theta": torch.Tensor,
    "constraint": torch.Tensor,
    "growth": torch.Tensor,
    "bank": list,
    "evaluations": int,
    "memory": list,
}


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
    actor_steps: int = 20
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
        check_scheduled("clip_range", self.clip_range)
        check_number("groups", self.groups, low=0)
        check_number("bank_size", self.bank_size, low=1)
        check_number("armijo", self.armijo, low=0.0, high=1.0, open_low=True)
        check_number("max_tries", self.max_tries, low=1)


class Attached(NamedTuple):
    """The policy and its validation, which the agent passes to its update."""

    policy: ResidualPolicy
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
        self._saved: dict[str, Any] | None = None  # of a projection, until there is one
        self._largest: float | None = None

    def attach(self, attached: Attached) -> None:
        """Use this policy and validation from now on, and measure the policy again before."""
        self._saved = self._remembered()
        self._attached, self._projection = attached, None

    def begin(self) -> int:
        """Measure the policy unless that was done, and return the environment steps to count.

        A policy whose state was loaded is measured again. If it measures as it did then, all goes
        on as if it had not been interrupted: nothing new was learned, and the steps do not count.

        Raises:
            InfeasibleStartError: if it is not safe on the validation set.
            ConstraintError: if the validation cannot be used.
        """
        if self._projection is not None:
            return 0
        policy, _, validation, _ = self._now()
        before = validation.steps
        actor = policy.actor_parameters()
        settings = self._settings
        projection = WeightSpaceProjection(
            actor,
            torch.optim.Adam(actor, settings.actor_learning_rate),
            self._measure,
            bank_size=settings.bank_size,
            metric=settings.metric,
            accept_measured=settings.accept_measured,
            armijo=settings.armijo,
            max_tries=settings.max_tries,
        )
        self._projection = projection
        saved, self._saved = self._saved, None
        if saved is None or not torch.equal(saved["theta"].cpu(), projection.last_safe.cpu()):
            return validation.steps - before
        went_on = _agree(saved["constraint"].numpy(), projection.constraint)
        state = saved if went_on else projection.state_dict()
        projection.load_state_dict({**state, "optimizer": self._optimizer_state(saved["memory"])})
        return 0 if went_on else validation.steps - before

    def update(
        self,
        policy: MlpPolicy,
        batch: Batch,
        measured: Measurement | None,
        progress_remaining: float,
    ) -> dict[str, float]:
        """Take one safe step, fit the critics and return what to log.

        The validation's environment steps are in "environment_steps"; the agent counts them. If
        the objective has no gradient, such as before any reward, only the critics are fitted.

        Raises:
            InfeasibleStartError: if another validation was attached, and it finds the policy
                unsafe.
            NonFiniteConstraintError, ConstraintShapeError: if the validation breaks.
            NonFiniteLossError: if a loss is NaN or infinite.
        """
        counted = self.begin()
        assert self._projection is not None
        validation = self._now().validation
        before = validation.steps
        policy.set_training_mode(False)  # the step measures g, which must be deterministic
        objective = self._objective(batch, progress_remaining)

        def closure(index: torch.Tensor | None = None) -> torch.Tensor:
            chosen: torch.Tensor | slice = slice(None) if index is None else index
            return objective.losses(policy, chosen).mean()

        groups = _groups(self._now().policy, batch, self._settings.groups)
        try:
            step = self._projection.step(closure, groups, lambda: self._advance(closure))
        except ZeroStepError:
            report = {"accepted": 0.0}
        else:
            self._largest = step.max_constraint
            report = _logged(step)
        policy.set_training_mode(True)
        divergence = {"approx_kl": estimated_divergence(log_ratios(policy, batch))}
        report |= divergence | self._descent.fit(policy, batch)
        return report | {"environment_steps": float(counted + validation.steps - before)}

    def log(self) -> dict[str, np.ndarray]:
        """Return the largest constraint of the validation set, as `Validation` measures them."""
        return {} if self._largest is None else {"max_validation": np.array([self._largest])}

    def state(self) -> dict[str, Any]:
        """Return what the projection remembers, without policy and environments."""
        return {"projection": self._remembered(), "largest": self._largest}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a state at the next `begin`, with the settings of this update.

        Of a smaller bank the last parameters are kept. If the policy's parameters are others by
        then, the state is of no use; if only the validation is another, the optimizer's memory is.
        """
        _check_remembered(state["projection"])
        self._saved, self._projection = state["projection"], None
        self._largest = state["largest"]

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies take over: everything but policy and environments."""
        kept = {"_attached": None, "_projection": None, "_saved": self._remembered()}
        return {**self.__dict__, **kept}

    def _now(self) -> Attached:
        assert self._attached is not None, "the agent attaches its policy first"
        return self._attached

    def _measure(self) -> np.ndarray:
        """Return g of the policy; the first time, this also measures the observations' scale."""
        policy, act, validation, _ = self._now()
        inputs = policy.normalizer
        if inputs.is_frozen:
            return validation(act)
        moments = inputs.moments()

        def watched(observations: np.ndarray) -> np.ndarray:
            moments.update(observations)
            return act(observations)

        value = validation(watched)
        inputs.freeze(moments)
        is_zero = not any(part.any() for part in policy.action_net.parameters())
        return value if is_zero else validation(act)  # a network that is zero has no use for them

    def _advance(self, closure: Callable[[], torch.Tensor]) -> None:
        assert self._projection is not None
        optimizer, settings = self._projection.base_optimizer, self._settings
        for taken in range(settings.actor_steps):
            optimizer.zero_grad()
            loss = closure()
            if not torch.isfinite(loss):
                raise NonFiniteLossError(
                    f"the actor's loss is {loss.item()} after {taken} of {settings.actor_steps} "
                    f"steps on one batch; lower actor_learning_rate "
                    f"({settings.actor_learning_rate:g}) or actor_steps"
                )
            loss.backward()
            optimizer.step()

    def _remembered(self) -> dict[str, Any] | None:
        """Return the state of the projection as data, or the one that waits for a projection."""
        if self._projection is None:
            return self._saved
        state = self._projection.state_dict()
        memory: dict[int, dict[str, Any]] = state.pop("optimizer")["state"]
        count = len(self._now().policy.actor_parameters())
        return {**state, "memory": [memory.get(number, {}) for number in range(count)]}

    def _optimizer_state(self, memory: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the state of an optimizer with this memory and the settings of this update."""
        assert self._projection is not None
        groups = self._projection.base_optimizer.state_dict()["param_groups"]
        known = {number: one for number, one in enumerate(memory) if one}
        return {"state": known, "param_groups": groups}

    def _objective(self, batch: Batch, progress_remaining: float) -> Objective:
        if self._settings.objective == "ppo":
            clip_range = scheduled("clip_range", self._settings.clip_range, progress_remaining)
            return ClippedReturn(batch, clip_range)
        if self._settings.objective == "reinforce":
            return PolicyGradient(batch)
        policy, _, _, expert = self._now()
        assert expert is not None, "the agent checks this"
        return Imitation(batch, expert, policy)


def _check_remembered(state: Any) -> None:
    """Raise ValueError unless this is what a projection remembers, or None."""
    if state is None:
        return
    fits = isinstance(state, dict) and state.keys() == REMEMBERED.keys()
    if not fits or not all(isinstance(state[name], kind) for name, kind in REMEMBERED.items()):
        raise ValueError("this is not what an SCPO agent remembers")


def _groups(policy: ResidualPolicy, batch: Batch, count: int) -> list[torch.Tensor] | None:
    """Return index tensors that partition the batch by the norm of the network's inputs."""
    if count == 0:
        return None
    assert isinstance(batch.observations, torch.Tensor)
    norms = policy.normalizer.network_inputs(batch.observations).square().sum(1)
    return list(torch.argsort(norms, stable=True).tensor_split(count))


def _agree(one: np.ndarray, other: np.ndarray) -> bool:
    """Return whether two measurements of the same parameters were made the same way."""
    if one.shape != other.shape:
        return False
    size = np.maximum(np.abs(one), np.abs(other))
    return bool((np.abs(one - other) <= SAME * size).all())


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
