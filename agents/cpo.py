"""Constrained policy optimization: the best step in a trust region that satisfies a constraint.

    max_x g . x   s.t.   c / T + b . x <= 0,   x . H x / 2 <= delta

g and b are the gradients of mean[rho A_reward] and mean[rho A_cost], c is the measured violation
of the episode's cost and T the mean (discounted) number of steps of an episode: a step changes
the expected cost of an episode by about T mean[rho A_cost], so that c / T is the violation in the
units of b . x. Source: Achiam, Held, Tamar and Abbeel (2017), "Constrained policy optimization",
equations 10 to 14 and algorithm 1. (OmniSafe 0.5.0 uses c undivided.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from agents.actor_critic import MlpPolicy
from agents.agent_settings import Recipe, make_part
from agents.batch import Batch, Measurement
from agents.constrained_agent import ConstrainedAgent
from agents.cpo_step import CpoCase, CpoStep, cpo_step
from agents.divergence import estimated_divergence, log_ratios
from agents.named_agents import TRPO_DEFAULTS
from agents.primal.trpo import Acceptance, TrustRegionStep, inner
from safe_envs.contract.argument_checks import check_number

NO_STEP_YET = -1


@dataclass(frozen=True)
class ViolationScale:
    """How strongly CPO reacts to the measured violation.

    Args:
        violation_gain: factor on c / T where the constraint is violated. 1 is the paper's problem;
            10 was measured on Hopper's velocity task, where 1 leaves costs at twice the limit.
            With few samples the predicted effect of a step on the cost is optimistic, because the
            step fits the noise of its own samples (2,048 steps of Hopper predicted -80 per episode;
            the cost did not change). A larger gain recovers sooner and more often. OmniSafe in
            effect uses the length of an episode.
    """

    violation_gain: float = 10.0

    def __post_init__(self) -> None:
        check_number("violation_gain", self.violation_gain, low=0.0, open_low=True)


class ConstrainedPolicyOptimization:
    """CPO's update of a policy under one constraint.

    If no episode ended since the last update, the last measured violation is used again. Until the
    first episode has ended, nothing is known about the constraint and only the critics are fitted.

    Differs from the paper: where the constraint is violated, the line search requires only that the
    cost's surrogate does not rise. It need not fall to the limit at once, and the reward's
    surrogate may fall.

    Args:
        trust_region: radius, linear solver and line search.
        scale: of the violation.
        num_constraints: of the environment.

    Raises:
        ValueError: if that is not 1.
    """

    def __init__(
        self, trust_region: TrustRegionStep, scale: ViolationScale, num_constraints: int = 1
    ) -> None:
        if num_constraints != 1:
            raise ValueError(
                f"CPO handles one constraint; the environment declares {num_constraints}: make it "
                "with per_constraint=False if it has that argument, or use an agent for several, "
                "such as PPOLag or PPOALM"
            )
        self._trust_region, self._gain = trust_region, scale.violation_gain
        self._violation: float | None = None  # per step
        self._multiplier = 0.0
        self._case = NO_STEP_YET

    def update(
        self,
        policy: MlpPolicy,
        batch: Batch,
        measured: Measurement | None,
        progress_remaining: float,
    ) -> dict[str, float]:
        """Take the step, fit the critics and return what to log.

        Raises:
            NonFiniteLossError: if a gradient or loss is NaN or infinite.
        """
        if measured is not None:
            per_step = float(measured.violation[0] / measured.horizon[0])
            self._violation = per_step if per_step < 0 else self._gain * per_step
        report: dict[str, float] = {}
        if self._violation is not None:
            report = self._improve(policy, batch, self._violation)
        report |= self._trust_region.critic_descent.fit(policy, batch)
        return report | {"approx_kl": estimated_divergence(log_ratios(policy, batch))}

    def log(self) -> dict[str, np.ndarray]:
        """Return the price nu of the cost, in reward per cost, and the case of the last step.

        A recovery step considers the cost alone and has no price. The cases are those of `CpoCase`,
        and -1 before the first step.
        """
        shown = {"case": np.array([float(self._case)])}
        if np.isfinite(self._multiplier):
            shown["weight"] = np.array([self._multiplier])
        return shown

    def _improve(self, policy: MlpPolicy, batch: Batch, violation: float) -> dict[str, float]:
        """Move the policy by CPO's step for this violation per step."""
        advantages = batch.advantages - batch.advantages.mean(0)  # (n, 2)
        region = self._trust_region
        (g, b), (along_g, along_b) = region.natural_gradients(policy, batch, advantages)
        solution = cpo_step(
            inner(g, along_g), inner(b, along_g), inner(b, along_b), violation, region.max_kl
        )
        self._multiplier, self._case = solution.cost_multiplier, int(solution.case)
        step = solution.along_reward * along_g + solution.along_cost * along_b
        trial = region.search(policy, batch, advantages, step, _acceptance(solution, violation))
        return {
            "surrogate_gain": float(trial.gains[0]),
            "cost_surrogate_gain": float(trial.gains[1]),
            "step_fraction": trial.fraction,
            "kl": trial.divergence,
        }


def _acceptance(solution: CpoStep, violation: float) -> Acceptance:
    """Return the test that changes of the reward's and the cost's surrogate must pass.

    The cost may rise up to the limit, but not if it is already above it. The reward must rise
    unless the constraint is violated.
    """
    allowed = max(-violation, 0.0)
    has_to_rise = solution.case not in (CpoCase.UNRECOVERABLE, CpoCase.RECOVERABLE)

    def acceptable(gains: torch.Tensor) -> bool:
        reward, cost = float(gains[0]), float(gains[1])
        return cost <= allowed and (reward > 0 or not has_to_rise)

    return acceptable


def _build(settings: Mapping[str, Any], num_constraints: int) -> ConstrainedPolicyOptimization:
    return ConstrainedPolicyOptimization(
        make_part(TrustRegionStep, settings), make_part(ViolationScale, settings), num_constraints
    )


class CPO(ConstrainedAgent):
    """Constrained policy optimization, for one constraint.

    Source: Achiam, Held, Tamar and Abbeel (2017), "Constrained policy optimization". Batch size
    and the critics' learning rate are OmniSafe's.
    """

    recipe = Recipe((TrustRegionStep, ViolationScale), _build, TRPO_DEFAULTS)
