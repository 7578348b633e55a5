"""Which policies the NumPy kernel serves, and when `update_backend="auto"` chooses it.

The rule of "auto": NumPy if the policy is one of this project's own, its actor and critics are
perceptrons with tanh or ReLU on features that need no training, on the CPU, trained by
plain Adam; no hidden layer is wider than 256 and a minibatch has at most 1,024 rows, the sizes up
to which it was measured to be faster (`python -m baselines.benchmarks.training`). It depends on
nothing else, so that every run of the same settings computes the same.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from stable_baselines3.common.distributions import (
    BernoulliDistribution,
    CategoricalDistribution,
    DiagGaussianDistribution,
    MultiCategoricalDistribution,
)
from stable_baselines3.common.torch_layers import (
    CombinedExtractor,
    FlattenExtractor,
    MlpExtractor,
)
from torch import nn
from torch.nn.modules.module import _has_any_global_hook
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

from agents.actor_critic import CnnPolicy, MlpPolicy, MultiInputPolicy
from agents.critics import StackedCritics
from agents.update_kernel.policy_kernel import ACTIVATIONS

Backend = Literal["torch", "numpy"]
UpdateBackend = Literal["auto", "torch", "numpy"]
BACKENDS = get_args(UpdateBackend)
WIDEST = 256  # units of a hidden layer
MOST_ROWS = 1024  # of a minibatch
POLICIES = (MlpPolicy, CnnPolicy, MultiInputPolicy)
CHANGING = (  # layers whose outputs are random, or depend on the other rows of a minibatch
    *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout),
    *(nn.FeatureAlphaDropout, nn.RReLU, nn.FractionalMaxPool2d, nn.FractionalMaxPool3d),
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
)
FIXED_FEATURES = (FlattenExtractor, CombinedExtractor)  # two of them extract the same
DISTRIBUTIONS = (
    DiagGaussianDistribution,
    CategoricalDistribution,
    MultiCategoricalDistribution,
    BernoulliDistribution,
)


def backend_of(
    policy: MlpPolicy, setting: UpdateBackend, batch_size: int, with_actor: bool
) -> Backend:
    """Return what computes the updates of a policy.

    Args:
        policy: to be updated.
        setting: the agent's `update_backend`.
        batch_size: rows of a minibatch.
        with_actor: whether the actor is trained as well; False for the critics alone.

    Raises:
        ValueError: if "numpy" was asked for and cannot serve the policy.
    """
    if setting == "torch":
        return "torch"
    reason = why_torch(policy, with_actor)
    if setting == "numpy":
        if reason:
            raise _refusal(reason)
        return "numpy"
    if reason:
        return "torch"
    widths = [*policy.value_net.widths[1:-1]]
    if with_actor:
        widths += [
            one.out_features for one in policy.mlp_extractor.policy_net if type(one) is nn.Linear
        ]
    return "torch" if max(widths, default=0) > WIDEST or batch_size > MOST_ROWS else "numpy"


def backend_of_steps(
    policy: MlpPolicy, setting: UpdateBackend, batch_size: int, with_actor: bool
) -> Backend:
    """Return what takes the next steps: as `backend_of`, and torch if Adam's memory is uneven.

    The kernel counts the steps of all parameters together. After steps of the critics alone the
    actor has taken fewer.
    """
    backend = backend_of(policy, setting, batch_size, with_actor)
    if backend == "torch" or not with_actor or _is_even(policy.optimizer):
        return backend
    if setting == "numpy":
        raise _refusal("its Adam has not taken as many steps on all parameters")
    return "torch"


def why_torch(policy: MlpPolicy, with_actor: bool) -> str:
    """Return why NumPy cannot serve a policy, "" if it can."""
    return _about_training(policy) or _about_critics(policy) or _about_actor(policy, with_actor)


def _refusal(reason: str) -> ValueError:
    return ValueError(
        f"update_backend is 'numpy', which cannot update this policy: {reason}; pass 'auto' or "
        "'torch'"
    )


def _is_even(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether the optimizer has taken as many steps on all parameters."""
    (group,) = optimizer.param_groups
    states = [optimizer.state.get(one) for one in group["params"]]
    return len({float(state["step"]) if state else 0.0 for state in states}) == 1


def _about_training(policy: MlpPolicy) -> str:
    parameters = list(policy.parameters())
    optimizer = policy.optimizer
    group = optimizer.param_groups[0]
    if any(one.device.type != "cpu" for one in parameters):
        return f"it is on the device {policy.device}"
    if {one.dtype for one in parameters} not in ({torch.float32}, {torch.float64}):
        return "its parameters are not all float32 or all float64"
    if not all(one.requires_grad for one in parameters):
        return "some of its parameters are frozen"
    if hooked := _where_hooks_are(policy):
        return f"hooks are registered on {hooked}"
    if type(optimizer) is not torch.optim.Adam:
        return f"its optimizer is {type(optimizer).__name__}, not Adam"
    if len(optimizer.param_groups) > 1 or group["weight_decay"] or group["amsgrad"]:
        return "its Adam has groups of parameters, a weight decay or amsgrad"
    if set(group["params"]) != set(parameters):
        return "its optimizer does not have all of its parameters"
    return "its Adam maximizes" if group["maximize"] else ""


def _where_hooks_are(policy: MlpPolicy) -> str:
    optimizer = policy.optimizer
    if any(map(_has_hooks, policy.modules())):
        return "its modules"
    if any(one._backward_hooks or one._post_accumulate_grad_hooks for one in policy.parameters()):
        return "its parameters"
    if optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:
        return "its optimizer"
    if _has_any_global_hook() or _global_optimizer_pre_hooks or _global_optimizer_post_hooks:
        return "all modules or optimizers"
    return ""


def _has_hooks(module: nn.Module) -> bool:
    forward = module._forward_hooks or module._forward_pre_hooks
    return bool(forward or module._backward_hooks or module._backward_pre_hooks)


def _about_critics(policy: MlpPolicy) -> str:
    critics = policy.value_net
    if type(critics) is not StackedCritics:
        return f"its critics are {type(critics).__name__}"
    if type(critics.activation) not in ACTIVATIONS:
        return f"its activation function is {type(critics.activation).__name__}, not Tanh or ReLU"
    extractors = [policy.features_extractor, policy.vf_features_extractor]
    if any(list(extractor.parameters()) for extractor in extractors):
        return "it learns to extract features"
    if any(map(_is_random_or_learns, (one for kind in extractors for one in kind.modules()))):
        return "its features are random, or depend on statistics"
    if type(policy) not in POLICIES and not policy.share_features_extractor:
        return f"the critics of {type(policy).__name__} may have more to learn"
    return ""


def _is_random_or_learns(module: nn.Module) -> bool:
    return isinstance(module, CHANGING) or any(True for _ in module.buffers(recurse=False))


def _about_actor(policy: MlpPolicy, with_actor: bool) -> str:
    if not with_actor:
        return ""
    if type(policy) not in POLICIES:
        return f"{type(policy).__name__} may compute actions its own way"
    if type(policy.action_dist) not in DISTRIBUTIONS:
        return f"its actions have a {type(policy.action_dist).__name__}"
    own, critics = policy.pi_features_extractor, policy.vf_features_extractor
    if own is not critics and not (type(own) is type(critics) and type(own) in FIXED_FEATURES):
        return "its actor and critics have features of their own"
    plain = (nn.Linear, type(policy.value_net.activation))
    if type(policy.mlp_extractor) is not MlpExtractor or type(policy.action_net) is not nn.Linear:
        return "its actor is no plain perceptron"
    layers = [*policy.mlp_extractor.policy_net, policy.action_net]
    if any(type(layer) not in plain for layer in layers):
        return "its actor has other layers than linear ones and the critics' activation function"
    if any(type(layer) is not plain[number % 2] for number, layer in enumerate(layers)):
        return "its actor's linear layers and activation functions do not take turns"
    return "" if _has_usual_parameters(policy) else "its actor has no usual weights and biases"


def _has_usual_parameters(policy: MlpPolicy) -> bool:
    """Return whether each linear layer has a weight and a bias, and nothing else is trained."""
    layers = [*policy.mlp_extractor.policy_net, policy.action_net]
    usual = [one for layer in layers[::2] for one in (layer.weight, layer.bias)]
    if isinstance(policy.action_dist, DiagGaussianDistribution):
        if policy.log_std.shape != (policy.action_dist.action_dim,):
            return False
        usual.append(policy.log_std)
    expected = [*usual, policy.value_net.weight]
    return len(expected) == len(set(expected)) and set(expected) == set(policy.parameters())
