"""Other environments for an agent that exists: what has to be alike, and what may differ."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stable_baselines3.common.utils import check_for_correct_spaces
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_normalize

from agents.training_env import declared_constraints_of
from safe_envs.contract.cost_signal import ConstraintSpec

if TYPE_CHECKING:
    from agents.adjustable_agent import AdjustableAgent


def is_normalized(env: VecEnv | None) -> bool:
    """Return whether a VecNormalize standardizes the observations of environments."""
    normalizer = None if env is None else unwrap_vec_normalize(env)
    return normalizer is not None and bool(normalizer.norm_obs)


def check_exchange(agent: AdjustableAgent, env: VecEnv) -> None:
    """Check that an agent can go on with environments.

    A warning says which limits it keeps if the new environments declare others than the ones
    before did.

    Raises:
        ValueError: if the spaces or the number of constraints differ, or if the observations are
            standardized twice, or no longer.
    """
    check_for_correct_spaces(env, agent.observation_space, agent.action_space)
    declared = declared_constraints_of(env)
    if declared is not None:
        _check_same_number(declared, agent.constraints)
        _compare_limits(agent, declared)
    if is_normalized(env) and agent.policy.normalizer.active:
        raise ValueError(
            "the agent standardizes observations itself, and so does the VecNormalize around the "
            "new environments; pass VecNormalize(..., norm_obs=False)"
        )
    if agent.observations_normalized and not is_normalized(env):
        raise ValueError(
            "the agent was trained on observations that a VecNormalize standardized, and the new "
            "environments have none; wrap them with VecNormalize.load(the saved statistics, venv)"
        )


def _check_same_number(
    declared: Sequence[ConstraintSpec], constraints: Sequence[ConstraintSpec]
) -> None:
    if len(declared) != len(constraints):
        noun = "constraint" if len(declared) == 1 else "constraints"
        raise ValueError(
            f"the environment declares {len(declared)} {noun} but the agent was made for "
            f"{len(constraints)}; make a new agent"
        )


def _compare_limits(agent: AdjustableAgent, declared: Sequence[ConstraintSpec]) -> None:
    now = [constraint.limit for constraint in declared]
    kept = [constraint.limit for constraint in agent.constraints]
    if now not in (kept, agent.declared_limits):
        warnings.warn(
            f"the environment declares the limits {now}, and the agent goes on with its own, "
            f"{kept}; to change them, set agent.cost_limit = {now[0] if len(now) == 1 else now}, "
            "or pass cost_limit to load",
            UserWarning,
            stacklevel=4,
        )
    agent.declared_limits = now
