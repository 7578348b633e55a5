"""Constrained policy optimization: the best step in a trust region that satisfies constraints.

    max_x g . x   s.t.   c_i / T_i + b_i . x <= 0 for i = 1 .. m,   x . H x / 2 <= delta

g and b_i are the gradients of mean[rho A_reward] and mean[rho A_cost_i], c_i is the measured
violation of the episode's cost and T_i the mean (discounted) number of steps of an episode: a step
changes the expected cost of an episode by about T_i mean[rho A_cost_i], so that c_i / T_i is the
violation in the units of b_i . x. Source: Achiam, Held, Tamar and Abbeel (2017), "Constrained
policy optimization", equations 10 to 14 and algorithm 1. (OmniSafe 0.5.0 uses c undivided.)
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
from agents.cost_margin import NO_MARGIN, CostMargin, MarginSetting
from agents.cpo_program import priced_step
from agents.cpo_step import CpoCase
from agents.exploration_noise import FREE_NOISE, NoiseCeiling
from agents.named_agents import TRPO_DEFAULTS
from agents.primal.trpo import Acceptance, TrustRegionStep, inner
from agents.schedules import LinearDecay, Scheduled, scheduled
from safe_envs.contract.argument_checks import check_number, check_whole

NO_STEP_YET = -1
GROWING = LinearDecay(0.5, 1.0)


@dataclass(frozen=True)
class ViolationScale:
    """How strongly CPO reacts to the measured violation.

    Args:
        violation_gain: factor on c_i / T_i of violated constraints. 1 is the paper's problem; 10
            was measured on Hopper's velocity task, where 1 leaves costs at twice the limit. With
            few samples the predicted effect of a step on a cost is optimistic, because the step
            fits the noise of its own samples (2,048 steps of Hopper predicted -80 per episode; the
            cost did not change). A larger gain recovers sooner and more often. OmniSafe in effect
            uses the length of an episode.
        recovery_share: the largest decrease of a cost that is asked of a step, as a share of what
            the trust region allows. 1 is the paper's problem: a violation that no step removes
            leads to steps that consider the costs alone. Or a function of the remaining progress,
            1 to 0. With less at first, the reward has a say in early steps, without which policies
            learn to stand still on Hopper's velocity task; 0.5 throughout leaves costs too high.
    """

    violation_gain: float = 10.0
    recovery_share: Scheduled = GROWING

    def __post_init__(self) -> None:
        check_number("violation_gain", self.violation_gain, low=0.0, open_low=True)
        if not callable(self.recovery_share):
            check_number("recovery_share", self.recovery_share, low=0.0, high=1.0)

    def share(self, progress_remaining: float) -> float:
        """Return the share at this remaining progress, 1 to 0.

        Raises:
            ValueError: if a schedule returns anything but a number from 0 to 1.
        """
        found = scheduled("recovery_share", self.recovery_share, progress_remaining)
        if found > 1.0:
            raise ValueError(
                f"recovery_share is {found} at a remaining progress of {progress_remaining:g}; its "
                "schedule has to return a number from 0 to 1"
            )
        return found


class ConstrainedPolicyOptimization:
    """CPO's update of a policy under m constraints.

    If no episode ended since the last update, the last measured violation is used again. Until the
    first episode has ended, nothing is known about the constraints and only the critics are fitted.

    Differs from the paper: where a constraint is violated, a step is asked for less at first than
    the trust region allows (`ViolationScale.recovery_share`), and the line search requires only
    that the cost's surrogate does not rise. It need not fall to the limit at once, and the reward's
    surrogate may fall.

    Args:
        trust_region: radius, linear solver and line search.
        scale: of the violation.
        num_constraints: m, of the environment.
        margin: below the limits.
        noise: how much actions may vary.
    """

    def __init__(
        self,
        trust_region: TrustRegionStep,
        scale: ViolationScale,
        num_constraints: int = 1,
        margin: MarginSetting = NO_MARGIN,
        noise: NoiseCeiling = FREE_NOISE,
    ) -> None:
        check_whole("num_constraints", num_constraints, low=1)
        self._trust_region, self._scale = trust_region, scale
        self._margin = CostMargin(margin, num_constraints)
        self._noise = noise
        self._violation: np.ndarray | None = None  # (m,) per step
        self._multipliers: np.ndarray | None = np.zeros(num_constraints)
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
            violation = self._margin.violation(measured, progress_remaining)
            self._violation = violation / measured.horizon
        report: dict[str, float] = {}
        radius = self._trust_region.radius(progress_remaining)
        if self._violation is not None and radius > 0.0:
            gains = np.where(self._violation < 0.0, 1.0, self._scale.violation_gain)
            share = self._scale.share(progress_remaining)
            report = self._improve(policy, batch, gains * self._violation, radius, share)
        self._noise.apply(policy, progress_remaining)
        return report | self._trust_region.fit_critics(policy, batch)

    def log(self) -> dict[str, np.ndarray]:
        """Return the prices nu of the costs, in reward per cost, and the case of the last step.

        A recovery step considers the costs alone and has no prices. The cases are those of
        `CpoCase`, and -1 before the first step.
        """
        shown = {"case": np.array([float(self._case)])}
        if self._multipliers is not None:
            shown["weight"] = self._multipliers.copy()
        return shown

    def state(self) -> dict[str, Any]:
        """Return the last violation per step, the prices and the case; None is "none yet"."""
        return {
            "violation": self._violation,
            "multipliers": self._multipliers,
            "case": self._case,
            "margin": self._margin.state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self._violation = _array_or_none(state["violation"])
        self._multipliers = _array_or_none(state["multipliers"])
        self._case = int(state["case"])
        self._margin.load_state(state["margin"])

    def _improve(
        self,
        policy: MlpPolicy,
        batch: Batch,
        violation: np.ndarray,
        radius: float,
        share: float,
    ) -> dict[str, float]:
        """Move the policy by CPO's step for this violation per step, (m,)."""
        advantages = batch.advantages - batch.advantages.mean(0)  # (n, 1 + m)
        region = self._trust_region
        actor = region.actor(policy, batch)
        gradients, directions = region.natural_gradients(actor, advantages)
        products = np.array([[inner(v, along) for along in directions] for v in gradients])
        reachable = np.sqrt(2.0 * radius * np.diag(products)[1:].clip(0.0))
        asked = violation if share == 1.0 else np.minimum(violation, share * reachable)
        found = priced_step(products, asked, radius)
        is_recovery = found.case is CpoCase.UNRECOVERABLE
        self._multipliers = None if is_recovery else found.cost_multipliers
        self._case = int(found.case)
        step = found.along_reward * directions[0]
        for share, along in zip(found.along_costs.tolist(), directions[1:], strict=True):
            step = step + share * along
        acceptable = _acceptance(found.case, violation)
        trial = region.search(actor, advantages, step, acceptable, radius)
        reward, *costs = trial.gains.tolist()
        names = [f"cost_surrogate_gain/{i}" for i in range(len(costs))]
        return {
            "surrogate_gain": reward,
            **dict(zip(names if len(costs) > 1 else ["cost_surrogate_gain"], costs, strict=True)),
            "step_fraction": trial.fraction,
            "kl": trial.divergence,
        }


def _array_or_none(numbers: Any) -> np.ndarray | None:
    return None if numbers is None else np.array(numbers, dtype=np.float64)


def _acceptance(case: CpoCase, violation: np.ndarray) -> Acceptance:
    """Return the test that changes of the reward's and the costs' surrogates must pass.

    Each cost may rise up to its limit, but not if it is already above it. The reward must rise
    unless a constraint is violated.
    """
    allowed = np.maximum(-violation, 0.0)
    has_to_rise = case not in (CpoCase.UNRECOVERABLE, CpoCase.RECOVERABLE)

    def acceptable(gains: torch.Tensor) -> bool:
        reward, *costs = gains.tolist()
        return bool((np.array(costs) <= allowed).all()) and (reward > 0 or not has_to_rise)

    return acceptable


def _build(settings: Mapping[str, Any], num_constraints: int) -> ConstrainedPolicyOptimization:
    return ConstrainedPolicyOptimization(
        make_part(TrustRegionStep, settings),
        make_part(ViolationScale, settings),
        num_constraints,
        make_part(MarginSetting, settings),
        make_part(NoiseCeiling, settings),
    )


class CPO(ConstrainedAgent):
    """Constrained policy optimization.

    Its margin below the limits rises to 2 standard errors, of other agents to 1.5: it has no price
    that goes on rising while a cost is too high, and ended above its limit with 1.5.

    Source: Achiam, Held, Tamar and Abbeel (2017), "Constrained policy optimization". Batch size
    and the critics' learning rate are OmniSafe's.
    """

    recipe = Recipe(
        (TrustRegionStep, ViolationScale, MarginSetting, NoiseCeiling),
        _build,
        {**TRPO_DEFAULTS, "cost_margin": LinearDecay(0.0, 2.0)},
    )
