"""How the source of a warm start saw observations, and how the agent comes to see them alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecNormalize

from agents.observation_normalizer import CLIP, ObservationNormalizer

if TYPE_CHECKING:
    from agents.adjustable_agent import AdjustableAgent


def standardization(
    agent: AdjustableAgent, given: VecNormalize | None, own: ObservationNormalizer
) -> ObservationNormalizer:
    """Return what the agent does to the observations of its environments before the networks.

    Args:
        agent: to be started.
        given: the VecNormalize that the source was trained behind, if any.
        own: what the source's policy does itself.

    Raises:
        ValueError: if the agent would not see what the source saw.
    """
    given = given if given is not None and given.norm_obs else None
    if not agent.observations_normalized:
        return own if given is None else _normalizer_from(agent, given)
    behind = agent.get_vec_normalize_env()
    if given is not None and behind is not None and _standardize_alike(given, behind):
        return own
    raise ValueError(
        "a VecNormalize standardizes the observations of the agent's environments, and the source "
        "saw them otherwise; make the agent on environments without it (or with norm_obs=False), "
        "and its policy takes over how the source sees them"
    )


def check_known(attributes: Mapping[str, Any], vec_normalize: VecNormalize | None) -> None:
    """Check that a model of Stable-Baselines3 does not act on observations in unknown units.

    Args:
        attributes: of the model, or from its file.
        vec_normalize: that it was trained behind, if known.

    Raises:
        ValueError: if it was trained behind one that is not known.
    """
    # Stable-Baselines3 keeps these beside the standardized ones, and saves them.
    if vec_normalize is None and attributes.get("_last_original_obs") is not None:
        raise ValueError(
            "the source was trained behind a VecNormalize, whose statistics are not in its file; "
            "pass it as vec_normalize: VecNormalize.load(the saved statistics, venv)"
        )


def _standardize_alike(one: VecNormalize, other: VecNormalize) -> bool:
    if one is other:
        return True
    moments = [v.obs_rms if isinstance(v.obs_rms, dict) else {"": v.obs_rms} for v in (one, other)]
    return (
        (one.clip_obs, one.epsilon) == (other.clip_obs, other.epsilon)
        and moments[0].keys() == moments[1].keys()
        and all(
            np.array_equal(moments[0][key].mean, moments[1][key].mean)
            and np.array_equal(moments[0][key].var, moments[1][key].var)
            for key in moments[0]
        )
    )


def _normalizer_from(agent: AdjustableAgent, given: VecNormalize) -> ObservationNormalizer:
    """Return the statistics of a VecNormalize, (x - mean) / sqrt(variance + epsilon)."""
    normalizer = ObservationNormalizer(agent.observation_space, True, agent.policy.normalize_images)
    moments = given.obs_rms if isinstance(given.obs_rms, dict) else {"": given.obs_rms}
    if moments.keys() != normalizer.slices.keys():
        raise ValueError(
            f"the VecNormalize standardizes {sorted(moments)}, and an agent "
            f"{sorted(normalizer.slices)}; the same observations have to be standardized"
        )
    if given.clip_obs != CLIP:
        raise ValueError(
            f"the VecNormalize clips observations at {given.clip_obs} deviations, and an agent at "
            f"{CLIP}; the policies would differ"
        )
    ordered: list[RunningMeanStd] = [moments[key] for key in normalizer.slices]
    normalizer.set_moments(
        np.concatenate([one.mean.ravel() for one in ordered]),
        np.sqrt(np.concatenate([one.var.ravel() for one in ordered]) + given.epsilon),
        float(ordered[0].count),
    )
    return normalizer
