"""Starting from the policy of another agent, of this package or of Stable-Baselines3.

The new agent acts as the source does on the same raw observations. Where the two measure actions in
other units, env = middle + half u, the last layer takes up the difference:

    W' = half / half' W,   b' = (half b + middle - middle') / half',   std' = half / half' std
"""

from __future__ import annotations

import copy
import io
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecNormalize

from agents.action_scaling import ActionScaling
from agents.actor_critic import MlpPolicy
from agents.changed_settings import same_value
from agents.critics import StackedCritics
from agents.loading import any_agent
from agents.observation_normalizer import ObservationNormalizer
from agents.repair_head import check_same_head
from agents.saving.archive import SavedAgentError
from agents.saving.data_values import ValueWriter
from agents.saving.sb3_weights import is_agent_file, sb3_weights
from agents.source_standardization import check_known, standardization

if TYPE_CHECKING:
    from agents.adjustable_agent import AdjustableAgent

NORMALIZER, CRITICS = "normalizer.", ("value_net.", "mlp_extractor.value_net.")
ACTOR_LAYERS, CRITIC_FEATURES = "mlp_extractor.policy_net.", "vf_features_extractor."
CHECKED_OTHERWISE = {  # arguments of policies, by the shapes and classes that they lead to
    *("num_costs", "normalize_observation", "scale_actions", "net_arch", "activation_fn"),
    *("features_extractor_class", "normalize_images", "ortho_init", "log_std_init"),
    *("optimizer_class", "optimizer_kwargs", "share_features_extractor", "head"),
}
LIBRARIES = ("stable_baselines3", "sb3_contrib")
USUAL_ACTIVATION = "torch.nn.modules.activation.Tanh"  # of Stable-Baselines3's policies


class Source(NamedTuple):
    """A policy that another one is to act like."""

    tensors: Mapping[str, torch.Tensor]
    classes: Mapping[str, str]  # full names, where known: of activation and features extractor
    normalize_images: bool
    scaling: ActionScaling
    normalizer: ObservationNormalizer  # of raw observations
    critics: StackedCritics | None  # None for the form of Stable-Baselines3
    keeps_rewards: bool  # whether its critic sees rewards as they are
    costs: Sequence[str] = ()  # names, of the critics after the first


def warm_start(agent: AdjustableAgent, source: Any, vec_normalize: VecNormalize | None) -> None:
    """Give an agent the policy of another; see `AdjustableAgent.warm_start`."""
    found = _source(agent, source, vec_normalize)
    policy = agent.policy
    _check_classes(policy, found)
    actor = _fitting_actor(policy, found.tensors)
    adopted = _adopted_critics(agent, found)
    policy.load_state_dict({**actor, **_critic_features(policy, found, adopted)}, strict=False)
    _adopt_units(policy, found.scaling)
    policy.normalizer = found.normalizer.to(policy.device)
    is_active = found.normalizer.active
    policy.normalize_observation = agent.policy_kwargs["normalize_observation"] = is_active
    vars(agent)["normalize_observation"] = is_active
    if adopted is not None:
        policy.value_net.load_state_dict(adopted)
    policy.optimizer.state.clear()
    agent.start_parts()


def _source(agent: AdjustableAgent, source: Any, vec_normalize: VecNormalize | None) -> Source:
    """Return the policy of a model, or of a file."""
    if isinstance(source, OnPolicyAlgorithm):
        _check_spaces(agent, source)
        if isinstance(source.policy, MlpPolicy):
            return _of_agent(agent, source, vec_normalize)
        given = source.get_vec_normalize_env() if vec_normalize is None else vec_normalize
        check_known(vars(source), given)
        names = {
            "activation_fn": _full_name(source.policy.activation_fn),
            "features_extractor_class": _full_name(source.policy.features_extractor_class),
        }
        images = source.policy.normalize_images
        return _of_sb3(agent, source.policy.state_dict(), names, images, given)
    if not isinstance(source, str | os.PathLike | io.IOBase):
        raise TypeError(
            f"the source is a {type(source).__name__}; pass an agent, a model of "
            "Stable-Baselines3 such as PPO, or the path of the file of either"
        )
    if is_agent_file(source):
        return _source(agent, any_agent(source, type(agent)), vec_normalize)
    weights = sb3_weights(source)
    kwargs = weights.settings.get("policy_kwargs")
    kwargs = kwargs if isinstance(kwargs, dict) else {}
    _check_range(agent.action_space, weights.settings.get("action_space"))
    check_known(weights.settings, vec_normalize)
    _check_policy_class(weights.settings.get("policy_class"))
    names = {"activation_fn": USUAL_ACTIVATION, **weights.classes}
    images = bool(kwargs.get("normalize_images", True))
    return _of_sb3(agent, weights.tensors, names, images, vec_normalize)


def _of_agent(agent: AdjustableAgent, source: Any, vec_normalize: VecNormalize | None) -> Source:
    policy: MlpPolicy = source.policy
    normalizer = copy.deepcopy(policy.normalizer)
    if vec_normalize is not None and vec_normalize.norm_obs and normalizer.active:
        raise ValueError(
            "vec_normalize is given, but the source standardizes observations itself; leave it out"
        )
    if vec_normalize is None:
        vec_normalize = source.get_vec_normalize_env()
    if source.observations_normalized and (vec_normalize is None or not vec_normalize.norm_obs):
        raise ValueError(
            "the source was trained on observations that a VecNormalize standardized; pass it as "
            "vec_normalize"
        )
    normalizer = standardization(agent, vec_normalize, normalizer)
    _check_arguments(agent, source)
    rewards_kept = vec_normalize is None or not vec_normalize.norm_reward
    return Source(
        policy.state_dict(),
        {
            "activation_fn": _full_name(policy.activation_fn),
            "features_extractor_class": _full_name(policy.features_extractor_class),
        },
        policy.normalize_images,
        policy.action_scaling,
        normalizer,
        policy.value_net,
        rewards_kept,
        [constraint.name for constraint in source.constraints],
    )


def _of_sb3(
    agent: AdjustableAgent,
    tensors: Mapping[str, torch.Tensor],
    classes: Mapping[str, str],
    normalize_images: bool,
    vec_normalize: VecNormalize | None,
) -> Source:
    if not any(name.startswith("action_net.") for name in tensors):
        raise SavedAgentError(
            "the source has no actor of PPO's form; weights can be taken over from PPO, A2C or TRPO"
        )
    raw = ObservationNormalizer(agent.observation_space, enabled=False)
    normalizer = standardization(agent, vec_normalize, raw)
    return Source(
        tensors,
        classes,
        normalize_images,
        ActionScaling(agent.action_space, enabled=False),
        normalizer,
        None,
        vec_normalize is None or not vec_normalize.norm_reward,
    )


def _check_policy_class(described: Any) -> None:
    """Refuse a class of one's own, whose file does not tell what it adds to its arguments."""
    module = described.get("__module__") if isinstance(described, dict) else None
    if isinstance(module, str) and module.partition(".")[0] not in LIBRARIES:
        raise ValueError(
            f"the policy of the source is a class of {module[:80]}, and the file does not tell "
            "what it does; load the model with its own class, and pass the model"
        )


def _check_spaces(agent: AdjustableAgent, source: OnPolicyAlgorithm) -> None:
    for name in ("observation_space", "action_space"):
        theirs, ours = vars(source)[name], vars(agent)[name]
        if theirs != ours:
            raise ValueError(f"the {name} of the source is {theirs}, and the agent's is {ours}")


def _check_range(space: spaces.Space, described: Any) -> None:
    """Compare the bounds of actions with the text that a file of Stable-Baselines3 has of them."""
    if not isinstance(space, spaces.Box) or not isinstance(described, dict):
        return
    theirs = [described.get("low"), described.get("high")]
    ours = [str(space.low), str(space.high)]
    if None not in theirs and theirs != ours:
        raise ValueError(
            f"the source acts between {theirs[0]} and {theirs[1]}, and the agent between {ours[0]} "
            f"and {ours[1]}; the environments have to be the same"
        )


def _check_arguments(agent: AdjustableAgent, source: Any) -> None:
    """Check that the policies were made alike, where shapes and classes do not show it."""
    check_same_head(source.policy.head, agent.policy.head)

    def kept(model: Any) -> tuple[Any, dict[str, torch.Tensor]]:
        tensors: dict[str, torch.Tensor] = {}
        kwargs = {n: one for n, one in model.policy_kwargs.items() if n not in CHECKED_OTHERWISE}
        return ValueWriter(tensors).write_or_name(kwargs, ""), tensors

    if not same_value(kept(agent), kept(source)):
        raise ValueError(
            f"the policy of the source was made with {source.policy_kwargs}, and the agent's with "
            f"{agent.policy_kwargs}; make the agent with the policy_kwargs of the source"
        )


def _check_classes(policy: MlpPolicy, source: Source) -> None:
    """Check what the shapes of tensors do not show."""
    has_layers = any(name.startswith(ACTOR_LAYERS) for name in source.tensors)
    for name, theirs in source.classes.items():
        if name not in ("activation_fn", "features_extractor_class"):
            continue
        ours = _full_name(vars(policy)[name])
        if theirs != ours and (has_layers or name != "activation_fn"):
            raise ValueError(
                f"{name} of the source is {theirs}, and the agent's is {ours}; make the agent with "
                f"policy_kwargs={{'{name}': {theirs.rpartition('.')[2]}}}"
            )
    if source.normalize_images != policy.normalize_images:
        raise ValueError(
            f"normalize_images of the source is {source.normalize_images}; make the agent with "
            "that in policy_kwargs"
        )


def _fitting_actor(
    policy: MlpPolicy, tensors: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Return the source's tensors that decide the actions, which have to fit exactly."""
    apart = (NORMALIZER, CRITIC_FEATURES, *CRITICS)
    theirs = {name: one for name, one in tensors.items() if not name.startswith(apart)}
    ours = {name: one for name, one in policy.state_dict().items() if not name.startswith(apart)}
    for name in sorted(theirs.keys() | ours.keys()):
        shapes = [tuple(one[name].shape) if name in one else None for one in (theirs, ours)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"{name[:80]} has the shape {shapes[0]} in the source and {shapes[1]} in the "
                "agent; make the agent with the policy and policy_kwargs of the source (net_arch)"
            )
        if not torch.isfinite(theirs[name]).all():
            raise ValueError(f"{name[:80]} of the source holds NaN or infinite numbers")
    return theirs


def _critic_features(policy: MlpPolicy, source: Source, critics: Any) -> dict[str, torch.Tensor]:
    """Return what the critics' own features extractor takes over."""
    names = [name for name in policy.state_dict() if name.startswith(CRITIC_FEATURES)]
    if policy.share_features_extractor:
        root = "pi_features_extractor."
        return {n: source.tensors[root + n.removeprefix(CRITIC_FEATURES)] for n in names}
    return {} if critics is None else {name: source.tensors[name] for name in names}


def _adopt_units(policy: MlpPolicy, theirs: ActionScaling) -> None:
    """Let the last layer take up the difference between two units of actions."""
    ours = policy.action_scaling
    if np.array_equal(ours.middle, theirs.middle) and np.array_equal(ours.half, theirs.half):
        return
    layer: Any = policy.action_net
    ratio, shift = theirs.half / ours.half, (theirs.middle - ours.middle) / ours.half
    with torch.no_grad():
        for tensor, factor in ((layer.weight, ratio[:, None]), (layer.bias, ratio)):
            tensor.copy_(tensor.double() * torch.from_numpy(factor).to(tensor.device))
        layer.bias.add_(torch.from_numpy(shift).to(layer.bias))
        policy.log_std.add_(torch.from_numpy(np.log(ratio)).to(policy.log_std))


def _adopted_critics(agent: AdjustableAgent, source: Source) -> dict[str, torch.Tensor] | None:
    """Return the state of the critics with those of the source that fit; None if none does."""
    policy = agent.policy
    critics = source.critics or _stacked(policy, source.tensors)
    if critics is None or not source.keeps_rewards or not _same_features(policy, source.tensors):
        return None
    own, theirs = policy.value_net.state_dict(), critics.state_dict()
    if own["weight"].shape[1:] != theirs["weight"].shape[1:]:
        return None
    is_same = list(source.costs) == [constraint.name for constraint in agent.constraints]
    if is_same and own["weight"].shape == theirs["weight"].shape:
        return theirs
    for name, tensor in own.items():
        if tensor.ndim > 0:
            tensor = tensor.clone()
            tensor[0] = theirs[name][0]
            own[name] = tensor
    # The other critics have no past, and the next rollout sets the units of all.
    own["updates"] = torch.zeros_like(own["updates"])
    return own


def _same_features(policy: MlpPolicy, tensors: Mapping[str, torch.Tensor]) -> bool:
    """Return whether the source's critics see features of the same kind as the agent's."""
    ours = {n: t.shape for n, t in policy.state_dict().items() if n.startswith(CRITIC_FEATURES)}
    theirs = {n: t.shape for n, t in tensors.items() if n.startswith(CRITIC_FEATURES)}
    if ours != theirs or not policy.share_features_extractor:
        return ours == theirs
    root = "pi_features_extractor."
    return all(
        torch.equal(tensors[name], tensors[root + name.removeprefix(CRITIC_FEATURES)])
        for name in theirs
    )


def _stacked(policy: MlpPolicy, tensors: Mapping[str, torch.Tensor]) -> StackedCritics | None:
    """Return the critic of Stable-Baselines3's form as a stack of one; None if it does not fit."""
    hidden = sorted(
        (name for name in tensors if name.startswith(CRITICS[1]) and name.endswith(".weight")),
        key=lambda name: int(name.split(".")[2]),
    )
    layers = [*hidden, "value_net.weight"]
    pairs = [(tensors[name], tensors[name.removesuffix("weight") + "bias"]) for name in layers]
    widths = [weight.shape[0] for weight, _ in pairs[:-1]]
    with torch.random.fork_rng(devices=[]):
        stack = StackedCritics(pairs[0][0].shape[1], widths, 1, policy.activation_fn)
    row = torch.cat([part.ravel() for weight, bias in pairs for part in (weight.t(), bias)])
    if row.numel() != stack.weight.numel():
        return None
    with torch.no_grad():
        stack.weight.copy_(row[None])
        stack.scale.fill_(1.0)
    return stack


def _full_name(kind: Any) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
