"""A policy that adds a network to a safe controller and clips the sum.

    mean(s) = base(s) + share(s) phi_theta(s),   action = clip(mean + noise, low, high)

with base the controller before clipping, share its `residual_share` and phi_theta zero at first.
Source: Cao and Borrelli, SCPO (arXiv 2512.13788), figure 1 and section V-D.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.type_aliases import Schedule
from torch import nn

from agents.actor_critic import MlpPolicy
from agents.scpo.residual_network import ResidualNetwork
from safe_envs.contract.backup_policy import BackupPolicy


class ResidualPolicy(MlpPolicy):
    """`MlpPolicy` whose actor is a safe controller plus a network; for Box actions.

    Differs from the paper: the controller is added before it is clipped, and an addition may be
    scaled down (the paper switches it off in a small target set).

    Args:
        *args: as in `MlpPolicy`.
        backup: the safe controller; the agent sets it.
        observation_scale: divisor of the inputs of the network and of the critics, one number or
            one per entry.
        width: units of the network's hidden layers.
        blocks: repeated modules of the network.
        clip_backup: add to the controller's clipped actions instead, as in the paper's section
            VI-B.
        **kwargs: as in `MlpPolicy`; `net_arch` applies to the critics only.

    Raises:
        TypeError: if the action space is not a Box.
    """

    features_extractor: ScaledObservations
    mlp_extractor: ActorInputs  # type: ignore[assignment]
    action_net: ControllerPlusNetwork

    def __init__(
        self,
        *args: Any,
        backup: BackupPolicy,
        observation_scale: float | list[float] = 1.0,
        width: int = 64,
        blocks: int = 7,
        clip_backup: bool = False,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("scale_actions", False)
        self.backup = backup
        self.observation_scale = observation_scale
        self.width = width
        self.blocks = blocks
        self.clip_backup = clip_backup
        super().__init__(
            *args,
            features_extractor_class=ScaledObservations,
            features_extractor_kwargs={"scale": observation_scale},
            **kwargs,
        )

    def _get_constructor_parameters(self) -> dict[str, Any]:
        inherited = super()._get_constructor_parameters()
        for own in ("features_extractor_class", "features_extractor_kwargs"):
            del inherited[own]
        return {
            **inherited,
            "backup": self.backup,
            "observation_scale": self.observation_scale,
            "width": self.width,
            "blocks": self.blocks,
            "clip_backup": self.clip_backup,
        }

    def _build(self, lr_schedule: Schedule) -> None:
        space = self.action_space
        if not isinstance(space, gym.spaces.Box):
            raise TypeError(
                f"the actions are {space}; a network can only be added to a controller of Box "
                "actions"
            )
        super()._build(lr_schedule)
        network = ResidualNetwork(
            self.features_dim, int(np.prod(space.shape)), self.width, self.blocks
        )
        controller = self.backup if self.clip_backup else self.backup.unclipped
        self.mlp_extractor = ActorInputs(
            network, controller, self.backup, self.features_extractor.scale
        )
        self.action_net = ControllerPlusNetwork(network.last)
        self.optimizer = self.optimizer_class(
            self.parameters(),
            lr=lr_schedule(1),  # type: ignore[call-arg]
            **self.optimizer_kwargs,
        )


class ScaledObservations(FlattenExtractor):
    """Flat observations divided by a scale."""

    def __init__(self, observation_space: gym.Space, scale: float | list[float]) -> None:
        super().__init__(observation_space)
        self.scale: torch.Tensor
        self.register_buffer("scale", torch.as_tensor(scale, dtype=torch.float32))

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Return the observations, flat and scaled, (batch, n)."""
        return super().forward(observations) / self.scale


class ActorInputs(nn.Module):
    """The hidden layers' output and the controller's action and share, as one vector.

    Stable-Baselines3 passes the result to `action_net`, so that every path to the distribution of
    actions includes the controller.
    """

    def __init__(
        self,
        network: ResidualNetwork,
        controller: Any,
        backup: BackupPolicy,
        scale: torch.Tensor,
    ) -> None:
        super().__init__()
        self.hidden = network.hidden
        self._controller = controller
        self._share = backup.residual_share
        self.scale: torch.Tensor
        self.register_buffer("scale", scale)

    def forward_actor(self, features: torch.Tensor) -> torch.Tensor:
        """Return (batch, width + actions + 1) for scaled observations (batch, n)."""
        seen = (features.detach() * self.scale).cpu().numpy().astype(np.float64)
        actions = np.reshape(self._controller(seen), (len(seen), -1))
        share = np.reshape(self._share(seen), (-1, 1))
        known = torch.from_numpy(np.concatenate([actions, share], axis=1))
        hidden = self.hidden(features)
        return torch.cat([hidden, known.to(hidden)], dim=1)

    def forward_critic(self, features: torch.Tensor) -> torch.Tensor:
        """Return the features unchanged: the critics are a separate stack."""
        return features

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the inputs of actor and critics."""
        return self.forward_actor(features), self.forward_critic(features)


class ControllerPlusNetwork(nn.Module):
    """The controller's action plus the share of the network's output."""

    def __init__(self, last: nn.Linear) -> None:
        super().__init__()
        self.last = last

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        """Return mean actions (batch, actions)."""
        sizes = [self.last.in_features, self.last.out_features, 1]
        hidden, base, share = latent.split(sizes, dim=1)
        return base + share * self.last(hidden)
