"""Which policies NumPy updates, the reasons against it, and the rule of "auto"."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import nn

from agents.actor_critic import CnnPolicy, MlpPolicy, MultiInputPolicy
from agents.batch import Batch
from agents.critic_descent import CriticDescent
from agents.update_kernel.service import (
    backend_of,
    backend_of_steps,
    why_torch,
)
from tests.agents.update_kernel.small_updates import ACTIONS, make_batch, make_policy, update

SEEN, ACTED = Box(-1.0, 1.0, (3,)), Box(-1.0, 1.0, (2,))
IMAGE = Box(0, 255, (3, 36, 36), np.uint8)


def made(kind=MlpPolicy, seen=SEEN, acted=ACTED, **settings):
    return kind(seen, acted, lambda _: 1e-3, num_costs=1, **{"net_arch": [4], **settings})


class MyPolicy(MlpPolicy):
    """A subclass that changes nothing, as far as the kernel can see."""


class LearnedCriticInputs(nn.Module):
    """An actor without layers, and a layer that the critics share."""

    def __init__(self):
        super().__init__()
        self.latent_dim_pi = self.latent_dim_vf = 3
        self.shared = nn.Linear(3, 3)

    def forward_actor(self, features):
        return features

    def forward_critic(self, features):
        return self.shared(features)

    def forward(self, features):
        return features, self.shared(features)


class SharedLayerPolicy(MlpPolicy):
    def _build_mlp_extractor(self):
        self.mlp_extractor = LearnedCriticInputs()


class OwnCriticFeatures(MlpPolicy):
    def _build(self, schedule):
        self.lens = nn.Linear(3, 3)
        super()._build(schedule)

    def critic_features(self, seen):
        return self.lens(super().critic_features(seen))


class LearnedFeatures(FlattenExtractor):
    def __init__(self, space):
        super().__init__(space)
        self.shift = nn.Parameter(torch.zeros(3))

    def forward(self, observations):
        return super().forward(observations) + self.shift


class MyAdam(torch.optim.Adam):
    pass


def on_another_device():
    return made().to("meta")


def two_precisions():
    policy = made()
    policy.value_net.double()
    return policy


def frozen_actor():
    policy = made()
    policy.action_net.weight.requires_grad = False
    return policy


def frozen_critics():
    policy = made()
    policy.value_net.weight.requires_grad = False
    return policy


def hooked(register):
    def make():
        policy = made()
        register(policy)
        return policy

    return make


def with_optimizer(kind, **settings):
    return lambda: made(optimizer_class=kind, optimizer_kwargs=settings)


def in_groups():
    policy = made()
    policy.optimizer = torch.optim.Adam(
        [{"params": policy.actor_parameters()}, {"params": policy.critic_parameters()}]
    )
    return policy


def actor_alone():
    policy = made()
    policy.optimizer = torch.optim.Adam(policy.actor_parameters())
    return policy


def with_new_optimizer(policy):
    policy.optimizer = torch.optim.Adam(policy.parameters())
    return policy


def replaced(place, module):
    def make():
        policy = made()
        setattr(policy, place, module(policy))
        return policy

    return make


def with_layer(module):
    def make():
        policy = made()
        policy.mlp_extractor.policy_net.append(module)
        return with_new_optimizer(policy)

    return make


def weight_normed():
    policy = made()
    nn.utils.parametrizations.weight_norm(policy.action_net)
    return with_new_optimizer(policy)


class MyCritics(nn.Module):
    """Critics with the face of the project's own."""

    def __init__(self, policy):
        super().__init__()
        self.inside = policy.value_net


class MyDistribution:
    """A distribution of actions that nobody knows."""


def do_nothing(*_):
    return None


FOR_BOTH = {  # reasons against the critics alone as well
    "device": (on_another_device, "it is on the device meta"),
    "half precision": (
        lambda: made().bfloat16(),
        "its parameters are not all float32 or all float64",
    ),
    "two precisions": (
        two_precisions,
        "its parameters are not all float32 or all float64",
    ),
    "frozen actor": (frozen_actor, "some of its parameters are frozen"),
    "frozen critics": (frozen_critics, "some of its parameters are frozen"),
    "forward hook": (
        hooked(lambda policy: policy.action_net.register_forward_hook(do_nothing)),
        "hooks are registered on its modules",
    ),
    "forward pre-hook": (
        hooked(
            lambda policy: policy.mlp_extractor.policy_net[0].register_forward_pre_hook(do_nothing)
        ),
        "hooks are registered on its modules",
    ),
    "backward hook": (
        hooked(lambda policy: policy.action_net.register_full_backward_hook(do_nothing)),
        "hooks are registered on its modules",
    ),
    "backward pre-hook": (
        hooked(lambda policy: policy.value_net.register_full_backward_pre_hook(do_nothing)),
        "hooks are registered on its modules",
    ),
    "hook of a parameter": (
        hooked(lambda policy: policy.log_std.register_hook(do_nothing)),
        "hooks are registered on its parameters",
    ),
    "hook after a gradient": (
        hooked(
            lambda policy: policy.value_net.weight.register_post_accumulate_grad_hook(do_nothing)
        ),
        "hooks are registered on its parameters",
    ),
    "hook before a step": (
        hooked(lambda policy: policy.optimizer.register_step_pre_hook(do_nothing)),
        "hooks are registered on its optimizer",
    ),
    "hook after a step": (
        hooked(lambda policy: policy.optimizer.register_step_post_hook(do_nothing)),
        "hooks are registered on its optimizer",
    ),
    "optimizer of the actor": (
        actor_alone,
        "its optimizer does not have all of its parameters",
    ),
    "other optimizer": (
        with_optimizer(torch.optim.RMSprop),
        "its optimizer is RMSprop, not Adam",
    ),
    "AdamW": (with_optimizer(torch.optim.AdamW), "its optimizer is AdamW, not Adam"),
    "own Adam": (with_optimizer(MyAdam), "its optimizer is MyAdam, not Adam"),
    "weight decay": (
        with_optimizer(torch.optim.Adam, weight_decay=0.1),
        "its Adam has groups of parameters, a weight decay or amsgrad",
    ),
    "amsgrad": (
        with_optimizer(torch.optim.Adam, amsgrad=True),
        "its Adam has groups of parameters, a weight decay or amsgrad",
    ),
    "groups": (in_groups, "its Adam has groups of parameters, a weight decay or amsgrad"),
    "maximize": (with_optimizer(torch.optim.Adam, maximize=True), "its Adam maximizes"),
    "own critics": (replaced("value_net", MyCritics), "its critics are MyCritics"),
    "activation": (
        lambda: made(activation_fn=nn.GELU),
        "its activation function is GELU, not Tanh or ReLU",
    ),
    "CNN": (
        lambda: made(CnnPolicy, IMAGE, Discrete(3)),
        "it learns to extract features",
    ),
    "CNN of the critics' own": (
        lambda: made(CnnPolicy, IMAGE, Discrete(3), share_features_extractor=False),
        "it learns to extract features",
    ),
    "learned features": (
        lambda: made(features_extractor_class=LearnedFeatures),
        "it learns to extract features",
    ),
    "image in a dictionary": (
        lambda: made(MultiInputPolicy, Dict({"eye": IMAGE, "place": SEEN})),
        "it learns to extract features",
    ),
    "layers that the critics share": (
        lambda: made(SharedLayerPolicy, share_features_extractor=False),
        "the critics of SharedLayerPolicy may have more to learn",
    ),
    "critics' features of their own": (
        lambda: made(OwnCriticFeatures, share_features_extractor=False),
        "the critics of OwnCriticFeatures may have more to learn",
    ),
}
FOR_THE_ACTOR = {  # reasons that leave the critics to NumPy
    "subclass": (lambda: made(MyPolicy), "MyPolicy may compute actions its own way"),
    "distribution": (
        replaced("action_dist", lambda _: MyDistribution()),
        "its actions have a MyDistribution",
    ),
    "action net": (
        replaced("action_net", lambda policy: nn.Sequential(policy.action_net)),
        "its actor is no plain perceptron",
    ),
    "weight norm": (weight_normed, "its actor is no plain perceptron"),
    "another layer": (with_layer(nn.LayerNorm(4)), "its actor has other layers than linear ones"),
    "another activation": (with_layer(nn.ReLU()), "its actor has other layers than linear ones"),
}


@pytest.mark.parametrize("case", [*FOR_BOTH, *FOR_THE_ACTOR])
@pytest.mark.parametrize("with_actor", [True, False])
def test_reasons_for_torch(case, with_actor):
    make, reason = {**FOR_BOTH, **FOR_THE_ACTOR}[case]
    policy = make()
    if case in FOR_THE_ACTOR and not with_actor:
        assert why_torch(policy, with_actor) == ""
        assert backend_of(policy, "auto", 64, with_actor) == "numpy"
        return
    assert why_torch(policy, with_actor).startswith(reason)
    assert backend_of(policy, "auto", 64, with_actor) == "torch"
    assert backend_of(policy, "torch", 64, with_actor) == "torch"
    message = "^update_backend is 'numpy', which cannot update this policy: (.*); pass 'auto' or "
    with pytest.raises(ValueError, match=message) as refusal:
        backend_of(policy, "numpy", 64, with_actor)
    assert why_torch(policy, with_actor) in str(refusal.value)
    assert why_torch(policy, with_actor=True)


SERVED = {
    **{name: lambda space=space: made(acted=space) for name, space in ACTIONS.items()},
    "relu": lambda: made(activation_fn=nn.ReLU),
    "no hidden layers": lambda: made(net_arch=[]),
    "two shapes": lambda: made(net_arch={"pi": [4], "vf": [5, 6]}),
    "numbers as observations": lambda: made(seen=Discrete(3)),
    "extractors of their own": lambda: made(share_features_extractor=False),
    "dictionary": lambda: made(MultiInputPolicy, Dict({"far": SEEN, "gear": Discrete(3)})),
    "image without convolutions": lambda: made(
        CnnPolicy, IMAGE, features_extractor_class=FlattenExtractor
    ),
    "betas": lambda: made(optimizer_kwargs={"betas": (0.5, 0.9), "eps": 1e-3}),
    "plain Adam": lambda: made(optimizer_kwargs={"fused": False}),
}


@pytest.mark.parametrize("case", SERVED)
@pytest.mark.parametrize("with_actor", [True, False])
def test_policies_that_numpy_updates(case, with_actor):
    policy = SERVED[case]()
    assert why_torch(policy, with_actor) == ""
    assert why_torch(policy, with_actor=True) == ""
    assert backend_of(policy, "auto", 64, with_actor) == "numpy"
    assert backend_of(policy, "numpy", 64, with_actor) == "numpy"
    assert backend_of(policy, "torch", 64, with_actor) == "torch"


@pytest.mark.parametrize(
    ("net_arch", "with_actor", "chosen"),
    [
        ([256], True, "numpy"),
        ([257], True, "torch"),
        ([4, 257], True, "torch"),
        ({"pi": [257], "vf": [4]}, True, "torch"),
        ({"pi": [257], "vf": [4]}, False, "numpy"),  # the actor is not trained
        ({"pi": [4], "vf": [257]}, True, "torch"),
        ({"pi": [4], "vf": [4, 257]}, False, "torch"),
        ({"pi": [], "vf": []}, True, "numpy"),
    ],
)
def test_auto_chooses_by_width(net_arch, with_actor, chosen):
    policy = made(net_arch=net_arch)
    assert backend_of(policy, "auto", 64, with_actor) == chosen
    assert backend_of(policy, "numpy", 64, with_actor) == "numpy"


@pytest.mark.parametrize("with_actor", [True, False])
def test_auto_chooses_by_rows_of_a_minibatch(with_actor):
    policy = made()
    assert backend_of(policy, "auto", 1024, with_actor) == "numpy"
    assert backend_of(policy, "auto", 1025, with_actor) == "torch"
    assert backend_of(policy, "numpy", 1025, with_actor) == "numpy"


def test_an_update_is_refused_before_anything_changes():
    policy = make_policy(ACTIONS["box"])
    policy.action_net.register_forward_hook(do_nothing)
    batch = make_batch(policy, 20)
    before = {name: one.clone() for name, one in policy.state_dict().items()}
    with pytest.raises(ValueError, match="hooks are registered on its modules; pass 'auto' or"):
        update(policy, batch, "numpy")
    assert all(torch.equal(one, before[name]) for name, one in policy.state_dict().items())
    assert not policy.optimizer.state
    update(policy, batch, "auto")  # torch
    assert not torch.equal(policy.action_net.weight, before["action_net.weight"])


def test_memory_of_different_lengths():
    """The kernel has one counter of steps; a shorter memory of the actor is torch's to go on."""
    policy = make_policy(ACTIONS["box"])
    batch = make_batch(policy, 20)
    update(policy, batch, "numpy", loss=None)
    assert backend_of_steps(policy, "auto", 64, with_actor=False) == "numpy"
    assert backend_of_steps(policy, "auto", 64, with_actor=True) == "torch"
    assert backend_of_steps(policy, "torch", 64, with_actor=True) == "torch"
    with pytest.raises(ValueError, match="its Adam has not taken as many steps on all parameters"):
        update(policy, batch, "numpy")
    assert backend_of(policy, "numpy", 64, with_actor=True) == "numpy"  # for trust regions
    assert why_torch(policy, with_actor=True) == ""


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("kind", [SharedLayerPolicy, OwnCriticFeatures])
def test_layers_below_the_critics(kind, shared):
    """They learn from the critics unless the actor shares them; "auto" changes nothing in that."""
    policy = made(kind, share_features_extractor=shared)
    layer = policy.lens if kind is OwnCriticFeatures else policy.mlp_extractor.shared
    before = layer.weight.detach().clone()
    seen, targets = torch.randn(24, 3), torch.randn(24, 2)
    policy.value_net.track(targets)
    batch = Batch(seen, torch.zeros(24, 2), torch.zeros(24), torch.zeros(24, 2), targets)
    CriticDescent(batch_size=8, n_epochs=1).fit(policy, batch)
    assert torch.equal(layer.weight, before) == shared


def test_unknown_backends():
    with pytest.raises(ValueError, match="update_backend is 'jax'; pass one of 'auto', 'torch'"):
        CriticDescent(update_backend="jax")


def test_auto_looks_at_hidden_layers_alone():
    policy = MlpPolicy(Box(-1, 1, (3,)), Discrete(300), lambda _: 1e-3, num_costs=1)
    assert backend_of(policy, "auto", 64, with_actor=True) == "numpy"
