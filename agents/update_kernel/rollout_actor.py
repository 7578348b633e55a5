"""The actions of a rollout: a policy's distributions at random numbers that are drawn ahead.

With z the outputs of the actor's network, the random numbers of a step are

    Gaussian:                       noise ~ N(0, 1),       action = z + exp(log_std) noise
    Categorical, MultiCategorical:  noise ~ Gumbel(0, 1),  action = argmax_i (z_i + noise_i)
    Bernoulli:                      noise ~ Logistic(0, 1),  action = 1 if z > noise else 0

Source: Maddison, Mnih and Teh (2017), "The concrete distribution", equation 2 and appendix B.
PyTorch draws the noise, in blocks of many steps that end with the rollout, whoever evaluates the
network. So both evaluations take the same actions, up to the rounding of z.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import (
    BernoulliDistribution,
    CategoricalDistribution,
    DiagGaussianDistribution,
    Distribution,
    MultiCategoricalDistribution,
)
from stable_baselines3.common.preprocessing import is_image_space, preprocess_obs
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.utils import obs_as_tensor
from torch import nn

from agents.actor_critic import MlpPolicy
from agents.update_kernel.policy_kernel import ACTIVATIONS

Raw = np.ndarray | dict[str, np.ndarray]
Sampling = Callable[[np.ndarray, np.ndarray], np.ndarray]
BLOCK = 2**18  # random numbers drawn at once, 1 MiB: more are no cheaper


class RolloutActor(Protocol):
    """Chooses the actions of one rollout."""

    def actions(self, seen: Raw) -> np.ndarray:
        """Return one random action per observation, in the policy's units, (N, ...).

        Args:
            seen: observations as the networks see them, (N, ...).
        """


def rollout_actor(policy: MlpPolicy, num_steps: int, num_envs: int, in_numpy: bool) -> RolloutActor:
    """Return what chooses the actions of a rollout; made anew for each.

    Args:
        policy: the policy, whose parameters may change meanwhile; its modules and their hooks
            are those at the beginning.
        num_steps: steps of every environment.
        num_envs: environments N.
        in_numpy: whether NumPy evaluates the network, see `service.backend_of`. Policies that
            sample in their own way are asked themselves, whatever this says.
    """
    if not samples_as_usual(policy):
        return _OwnActor(policy)
    network = NumpyActor(policy, num_envs) if in_numpy else _TorchActor(policy)
    return _NoiseActor(network, policy, num_steps, num_envs)


def samples_as_usual(policy: MlpPolicy) -> bool:
    """Return whether the policy's distributions and samples are those of `MlpPolicy`."""
    kind = type(policy)
    return (
        kind.sample_actions is MlpPolicy.sample_actions
        and kind.seen_distribution is MlpPolicy.seen_distribution
        and kind._get_action_dist_from_latent is MlpPolicy._get_action_dist_from_latent
        and type(policy.action_dist) in NOISE
    )


class NumpyActor:
    """The actor's network in NumPy, on the memory of the policy's own parameters.

    Args:
        policy: one with an actor of linear layers, Tanh and ReLU, on the processor.
        num_envs: rows N of every call.
    """

    def __init__(self, policy: MlpPolicy, num_envs: int) -> None:
        self._policy, self._num_envs = policy, num_envs
        modules = (*policy.mlp_extractor.policy_net, policy.action_net)
        linear = [module for module in modules if isinstance(module, nn.Linear)]
        self._places = [(one._parameters, name) for one in linear for name in ("weight", "bias")]
        if isinstance(policy.action_dist, DiagGaussianDistribution):
            self._places.append((policy._parameters, "log_std"))
        self._inputs = _inputs(policy)
        self._read_out()

    def outputs(self, seen: Raw) -> np.ndarray:
        """Return the outputs of the network, (N, k); the next call overwrites them."""
        if self._addresses() != self._known:
            self._read_out()
        out = self._inputs(seen)
        if out.dtype != self._dtype:
            out = out.astype(self._dtype)
        for weight, bias, biases, units, activation in self._layers:
            out = out.dot(weight, units)  # np.dot takes as long again to start
            if biases is not bias:
                biases[...] = bias
            out += biases
            if activation is not None:
                activation(out)
        return out

    def deviation(self) -> np.ndarray:
        """Return the Gaussian's deviation, (k,)."""
        deviation: np.ndarray = np.exp(self._log_std)
        return deviation

    def _read_out(self) -> None:
        """Take the memory that the parameters have now."""
        policy = self._policy
        self._layers: list[_Layer] = []
        for module in (*policy.mlp_extractor.policy_net, policy.action_net):
            if isinstance(module, nn.Linear):
                self._layers.append(_layer(module, self._num_envs))
            else:
                last = self._layers.pop()
                self._layers.append(last._replace(activation=ACTIVATIONS[type(module)].apply))
        self._dtype = self._layers[0].units.dtype
        self._log_std = np.zeros(0)
        if isinstance(policy.action_dist, DiagGaussianDistribution):
            self._log_std = policy.log_std.detach().numpy()
        self._known = self._addresses()

    def _addresses(self) -> list[int]:
        """Return where the parameters are; `parameter.data = ...` moves them, for example."""
        # The modules' own dictionaries: their attributes take several times as long.
        return [parameters[name].data_ptr() for parameters, name in self._places]  # type: ignore[union-attr]


class _TorchActor:
    """The actor's network in PyTorch."""

    def __init__(self, policy: MlpPolicy) -> None:
        self._policy = policy

    def outputs(self, seen: Raw) -> np.ndarray:
        """Return the outputs of the network, (N, k)."""
        with torch.no_grad():
            tensor = obs_as_tensor(seen, self._policy.device)
            outputs: np.ndarray = self._policy.action_outputs(tensor).cpu().numpy()
        return outputs

    def deviation(self) -> np.ndarray:
        """Return the Gaussian's deviation, (k,)."""
        deviation: np.ndarray = self._policy.log_std.detach().exp().cpu().numpy()
        return deviation


class _NoiseActor:
    """Takes actions by the outputs of a network and noise drawn ahead."""

    def __init__(
        self, network: NumpyActor | _TorchActor, policy: MlpPolicy, num_steps: int, num_envs: int
    ) -> None:
        distribution = policy.action_dist
        self._network = network
        self._draw = NOISE[type(distribution)]
        self._shape = (num_envs, _width(distribution))
        self._sampled = _sampling(distribution, network, self._shape)
        self._left = num_steps
        self._block, self._next = np.zeros((0, *self._shape), np.float32), 0

    def actions(self, seen: Raw) -> np.ndarray:
        """Return one random action per observation."""
        if self._next == len(self._block):
            self._draw_block()
        noise = self._block[self._next]
        self._next += 1
        return self._sampled(self._network.outputs(seen), noise)

    def _draw_block(self) -> None:
        steps = max(1, min(self._left, BLOCK // max(1, self._shape[0] * self._shape[1])))
        self._block, self._next = self._draw(torch.empty(steps, *self._shape)).numpy(), 0
        self._left -= steps


class _OwnActor:
    """Asks the policy for its samples."""

    def __init__(self, policy: MlpPolicy) -> None:
        self._policy = policy

    def actions(self, seen: Raw) -> np.ndarray:
        """Return one random action per observation."""
        with torch.no_grad():
            tensor = obs_as_tensor(seen, self._policy.device)
            actions: np.ndarray = self._policy.sample_actions(tensor).cpu().numpy()
        return actions


def _gumbel(noise: torch.Tensor) -> torch.Tensor:
    return noise.exponential_().log_().neg_()


NOISE: dict[type[Distribution], Callable[[torch.Tensor], torch.Tensor]] = {
    DiagGaussianDistribution: lambda noise: noise.normal_(),
    CategoricalDistribution: _gumbel,
    MultiCategoricalDistribution: _gumbel,
    BernoulliDistribution: lambda noise: noise.uniform_().logit_(),
}


def _width(distribution: Distribution) -> int:
    """Return how many random numbers an action takes; as many as the network has outputs."""
    if isinstance(distribution, MultiCategoricalDistribution):
        return int(sum(distribution.action_dims))
    assert isinstance(
        distribution, DiagGaussianDistribution | CategoricalDistribution | BernoulliDistribution
    )
    if isinstance(distribution, BernoulliDistribution):
        return distribution.action_dims
    return distribution.action_dim


def _sampling(
    distribution: Distribution, network: NumpyActor | _TorchActor, shape: tuple[int, int]
) -> Sampling:
    """Return the function of outputs and noise, (N, k) each, that gives the actions."""
    if isinstance(distribution, DiagGaussianDistribution):
        deviations = np.empty(shape, network.deviation().dtype)

        def shifted(mean: np.ndarray, noise: np.ndarray) -> np.ndarray:
            deviations[...] = network.deviation()
            return mean + deviations * noise

        return shifted
    if isinstance(distribution, BernoulliDistribution):
        return lambda logits, noise: (logits > noise).astype(np.float32)
    if isinstance(distribution, MultiCategoricalDistribution):
        starts = np.cumsum(distribution.action_dims)[:-1]

        def highest(logits: np.ndarray, noise: np.ndarray) -> np.ndarray:
            parts = np.split(logits + noise, starts, axis=1)
            return np.stack([part.argmax(axis=1) for part in parts], axis=1)

        return highest
    return lambda logits, noise: (logits + noise).argmax(axis=1)


class _Layer(NamedTuple):
    """One layer of the network.

    Every row gets its own copy of the bias: NumPy adds arrays of different shapes in three times
    the time that it takes for arrays of one shape.
    """

    weight: np.ndarray  # (inputs, units)
    bias: np.ndarray  # (1, units)
    biases: np.ndarray  # (N, units), for the copies; the bias itself if N is 1
    units: np.ndarray  # (N, units), for the result
    activation: Callable[[np.ndarray], None] | None


def _layer(linear: nn.Linear, rows: int) -> _Layer:
    weight = linear.weight.detach().numpy().T
    units = np.empty((rows, linear.out_features), weight.dtype)
    bias = linear.bias.detach().numpy()[None]
    return _Layer(weight, bias, bias if rows == 1 else np.empty_like(units), units, None)


def _inputs(policy: MlpPolicy) -> Callable[[Raw], np.ndarray]:
    """Return the function from observations to the inputs of the first layer, (N, n) float32."""
    space, extractor = policy.observation_space, policy.pi_features_extractor
    if type(extractor) is FlattenExtractor:
        if isinstance(space, spaces.Box) and not is_image_space(space):
            return _rows
        if isinstance(space, spaces.Discrete):
            return partial(_one_hot, size=int(space.n))

    def features(seen: Raw) -> np.ndarray:
        with torch.no_grad():
            tensor = obs_as_tensor(seen, policy.device)
            known = preprocess_obs(tensor, space, normalize_images=policy.normalize_images)
            found: np.ndarray = extractor(known).numpy()
        return found

    return features


def _rows(seen: Raw) -> np.ndarray:
    assert isinstance(seen, np.ndarray)
    if seen.ndim == 2 and seen.dtype == np.float32:
        return seen
    return np.asarray(seen, np.float32).reshape(len(seen), -1)


def _one_hot(seen: Raw, size: int) -> np.ndarray:
    assert isinstance(seen, np.ndarray)
    inputs = np.zeros((len(seen), size), np.float32)
    inputs[np.arange(len(seen)), seen.reshape(-1)] = 1.0
    return inputs
