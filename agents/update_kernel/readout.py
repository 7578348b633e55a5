"""Log probabilities of actions and values of many rows, in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from agents.actor_critic import MlpPolicy
from agents.batch import Observations, split
from agents.update_kernel.perceptrons import PerceptronPass
from agents.update_kernel.policy_kernel import PolicyKernel

PIECE = 512  # rows of one pass: their activations stay in the processor's cache


class PolicyReadout:
    """Reads out a policy that the kernel serves, as it is now.

    Args:
        policy: is copied.
    """

    def __init__(self, policy: MlpPolicy) -> None:
        self._policy, self._kernel = policy, PolicyKernel(policy, with_actor=True)
        self._distribution = self._kernel.distribution()

    @np.errstate(all="ignore")  # what is not finite is found by those who use it
    def log_probs(self, observations: Observations, actions: torch.Tensor) -> torch.Tensor:
        """Return log pi of each action, (n, ...) and (n, ...) to (n,)."""
        outputs = self._forward(observations, lambda x: [self._kernel.actor_pass(x)])
        parts = zip(outputs, actions.reshape(len(actions), -1).split(PIECE), strict=True)
        found = [self._distribution.log_prob(mean[0], chosen.numpy()) for (mean,), chosen in parts]
        return torch.from_numpy(np.concatenate(found))

    @np.errstate(all="ignore")
    def values_and_log_probs(
        self, observations: Observations, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the values, (n, 1 + m), and log pi of each action, (n,)."""
        values, log_probs = [], []
        chosen = actions.reshape(len(actions), -1).split(PIECE)
        for own, (mean, critics) in zip(
            chosen, self._forward(observations, self._kernel.passes), strict=True
        ):
            values.append(critics[:, :, 0].T.copy())
            log_probs.append(self._distribution.log_prob(mean[0], own.numpy()))
        networks = torch.from_numpy(np.concatenate(values))
        in_real_units = self._policy.value_net.in_real_units(networks)
        return in_real_units, torch.from_numpy(np.concatenate(log_probs))

    def _forward(
        self, observations: Observations, passes: Callable[[np.ndarray], list[PerceptronPass]]
    ) -> Iterator[list[np.ndarray]]:
        """Return the outputs of all heads, (k, b, o) each, piece by piece of `PIECE` rows."""
        x, made = np.empty((0, 0)), []
        for piece in split(observations, PIECE):
            with torch.no_grad():
                features = self._policy.critic_features(piece).numpy()
            if len(features) != len(x):  # at the beginning, and perhaps at the end
                x = np.ones((len(features), features.shape[1] + 1), features.dtype)
                made = passes(x)
            x[:, :-1] = features
            for one in made:
                one.forward()
            yield [out for one in made for out in one.outputs]
