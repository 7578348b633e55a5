"""A policy that adds a network to a safe controller and clips the sum.

    mean(x) = base(x) + share(x) phi_theta(z),   action = clip(mean + noise, -1, 1)

in the policy's units, in which finite bounds of an action are -1 and 1: the network's addition and
the noise are shares of the action's range. base is the controller before clipping, share its
`residual_share`, z the standardized observation, and phi_theta zero at first.
Source: Cao and Borrelli, SCPO (arXiv 2512.13788), figure 1 and section V-D.
"""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.type_aliases import Schedule
from torch import nn

from agents.actor_critic import MlpPolicy
from agents.critics import StackedCritics
from agents.observation_normalizer import is_standardized
from agents.scpo.residual_inputs import ObservationScale, ResidualInputs
from agents.scpo.residual_network import ResidualNetwork
from safe_envs.contract.backup_policy import BackupPolicy
from safe_envs.contract.one_hot_box import OneHotBox


class ResidualPolicy(MlpPolicy):
    """`MlpPolicy` whose actor is a safe controller plus a network; for Box actions.

    Differs from the paper: the controller is added before it is clipped, and an addition may be
    scaled down (the paper switches it off in a small target set).

    Args:
        *args: as in `MlpPolicy`.
        backup: the safe controller; the agent sets it.
        observation_scale: divisor of the inputs of the network and of the critics, one number or
            one per entry; None standardizes them by mean and deviation of each entry while the
            safe controller is first measured (`ResidualInputs`).
        width: units of the network's hidden layers.
        blocks: repeated modules of the network.
        clip_backup: add to the controller's clipped actions instead, as in the paper's section
            VI-B.
        **kwargs: as in `MlpPolicy`; `net_arch` applies to the critics only.

    Raises:
        TypeError: if the action space is not a Box, the observations are not a Box of numbers, or
            another extractor of features is asked for.
    """

    normalizer: ResidualInputs  # type: ignore[assignment]
    mlp_extractor: ActorInputs  # type: ignore[assignment]
    action_net: ControllerPlusNetwork

    def __init__(
        self,
        *args: Any,
        backup: BackupPolicy,
        observation_scale: ObservationScale | None = None,
        width: int = 64,
        blocks: int = 7,
        clip_backup: bool = False,
        **kwargs: Any,
    ) -> None:
        if kwargs.get("features_extractor_class", FlattenExtractor) is not FlattenExtractor:
            raise TypeError(
                f"features_extractor_class is {kwargs['features_extractor_class'].__name__}; a "
                "residual network takes the observations themselves: leave it out"
            )
        self.backup = backup
        self.observation_scale = observation_scale
        self.width = width
        self.blocks = blocks
        self.clip_backup = clip_backup
        super().__init__(*args, **kwargs)
        assert isinstance(self.observation_space, spaces.Box)
        self.normalizer = ResidualInputs(
            self.observation_space, self.action_scaling, backup, clip_backup, observation_scale
        )

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {
            **super()._get_constructor_parameters(),
            "backup": self.backup,
            "observation_scale": self.observation_scale,
            "width": self.width,
            "blocks": self.blocks,
            "clip_backup": self.clip_backup,
        }

    def _build(self, lr_schedule: Schedule) -> None:
        _check_spaces(self.observation_space, self.action_space)
        super()._build(lr_schedule)
        inputs, actions = (
            spaces.flatdim(space) for space in (self.observation_space, self.action_space)
        )
        network = ResidualNetwork(inputs, actions, self.width, self.blocks)
        self.mlp_extractor = ActorInputs(network, inputs, actions)
        self.action_net = ControllerPlusNetwork(network.last)
        hidden = self.net_arch["vf"]  # type: ignore[call-overload]
        self.value_net = StackedCritics(
            inputs, hidden, 1 + self.num_costs, self.activation_fn, self.ortho_init
        )
        self.optimizer = self.optimizer_class(
            self.parameters(),
            lr=lr_schedule(1),  # type: ignore[call-arg]
            **self.optimizer_kwargs,
        )


class ActorInputs(nn.Module):
    """The hidden layers' output and the controller's action and share, as one vector.

    Stable-Baselines3 passes the result to `action_net`, so that every path to the distribution of
    actions includes the controller. All parts come from one vector, see `ResidualInputs`.
    """

    def __init__(self, network: ResidualNetwork, num_inputs: int, num_actions: int) -> None:
        super().__init__()
        self.hidden = network.hidden
        self._sizes = [num_inputs, num_actions + 1, num_inputs]

    def forward_actor(self, seen: torch.Tensor) -> torch.Tensor:
        """Return (batch, width + a + 1), given what the policy knows, (batch, 2 n + a + 1)."""
        inputs, known, _ = seen.split(self._sizes, dim=1)
        return torch.cat([self.hidden(inputs), known], dim=1)

    def forward_critic(self, seen: torch.Tensor) -> torch.Tensor:
        """Return the inputs of the critics, (batch, n)."""
        return seen[:, : self._sizes[0]]

    def forward(self, seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the inputs of `action_net` and of the critics."""
        return self.forward_actor(seen), self.forward_critic(seen)


class ControllerPlusNetwork(nn.Module):
    """The controller's action plus the share of the network's output."""

    def __init__(self, last: nn.Linear) -> None:
        super().__init__()
        self.last = last

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        """Return mean actions (batch, a), in the policy's units."""
        sizes = [self.last.in_features, self.last.out_features, 1]
        hidden, base, share = latent.split(sizes, dim=1)
        return base + share * self.last(hidden)


def _check_spaces(observations: spaces.Space, actions: spaces.Space) -> None:
    if not isinstance(actions, spaces.Box):
        raise TypeError(
            f"the actions are {actions}; a network can only be added to a controller of Box actions"
        )
    plain = isinstance(observations, OneHotBox) or is_standardized(observations)
    if not plain:
        raise TypeError(
            f"the observations are {observations}; the safe controller takes Box observations that "
            "are no images: wrap the environment with gymnasium.wrappers.FlattenObservation"
        )
