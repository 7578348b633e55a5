"""The steps of one rollout: checked one by one, then turned into a batch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.utils import explained_variance, obs_as_tensor
from stable_baselines3.common.vec_env import VecNormalize

from agents.actor_critic import MlpPolicy
from agents.batch import Batch, Observations, rows, split
from agents.episode_record import EpisodeRecord
from agents.update_kernel.readout import PolicyReadout
from safe_envs.contract.cost_signal import (
    ONLY_RESET,
    CostSignalError,
    NonFiniteEnvError,
    read_costs,
)
from safe_envs.contract.row_infos import RowInfos

Raw = np.ndarray | dict[str, np.ndarray]
LARGEST_FORWARD = 8192  # rows of one forward pass over the rollout
USUAL_NUMBERS = (float, np.float64, np.float32)


def checked_signals(
    rewards: np.ndarray,
    infos: Sequence[Mapping[str, Any]],
    num_constraints: int,
    where: str,
) -> np.ndarray:
    """Return reward and costs of one step of N environments, (N, 1 + m) float64.

    Args:
        rewards: (N,).
        infos: one per environment.
        num_constraints: m; 0 reads no cost.
        where: names the step in errors.

    Raises:
        CostSignalError: if a cost is missing, not finite, negative or of the wrong shape.
        NonFiniteEnvError: if a reward is not finite.
    """
    # Counting is the fastest way to test an array, and this test runs at every step.
    if np.count_nonzero(np.isfinite(rewards)) < len(rewards):
        row = int(np.flatnonzero(~np.isfinite(rewards))[0])
        raise NonFiniteEnvError(f"environment {row}, {where}: the reward is {rewards[row]}")
    signals = np.empty((len(rewards), 1 + num_constraints))
    signals[:, 0] = rewards
    if num_constraints:
        try:
            signals[:, 1:] = read_costs(infos, len(rewards), num_constraints, copy=False)
        except CostSignalError as error:
            raise CostSignalError(f"{where}: {error}") from error
    return signals


def check_observations(observations: Raw, where: str) -> None:
    """Raise NonFiniteEnvError if an observation of N environments, (N, ...), is not finite."""
    parts = observations.values() if isinstance(observations, dict) else (observations,)
    for part in parts:
        if _is_sound(part) or np.isfinite(part).all():
            continue
        row = int(np.argwhere(~np.isfinite(part))[0][0])
        raise NonFiniteEnvError(f"environment {row}, {where}: the observation is {part[row]}")


def all_finite(numbers: np.ndarray) -> bool:
    """Return whether all numbers are finite; False also if the sum of their squares is not.

    One product is the fastest test, and it runs at every step.
    """
    return math.isfinite(np.vdot(numbers, numbers))


def _is_sound(part: np.ndarray) -> bool:
    """Return whether observations are finite; False leaves it to a closer look."""
    return part.dtype.kind != "f" or all_finite(part)


class Rollout:
    """T steps of N environments under one policy.

    Observations are kept as the networks see them, and actions in the policy's units.

    Args:
        num_steps: T, the most steps.
        num_envs: N.
        num_constraints: m.
    """

    def __init__(self, num_steps: int, num_envs: int, num_constraints: int) -> None:
        shape = (num_steps, num_envs)
        self.num_steps = 0  # so far
        self._shape = shape
        self._num_constraints = num_constraints
        self._signals = np.empty((*shape, 1 + num_constraints))
        self._plain_rewards: np.ndarray | None = None  # (T, N), if those to learn from are scaled
        self._ended = np.empty(shape, dtype=np.bool_)
        self._stepped = np.empty(shape, dtype=np.bool_)
        self._observations: Raw = np.empty(0)  # (T, N, ...)
        self._actions = np.empty(0)  # (T, N, ...)
        self._truncated_at: list[tuple[int, int]] = []  # (step, environment)
        self._truncated_obs: list[Raw] = []
        self._last: Raw = np.empty(0)

    def check(
        self,
        observations: Raw,
        rewards: np.ndarray,
        infos: Sequence[Mapping[str, Any]],
        dones: np.ndarray,
        training_step: int,
    ) -> dict[int, Raw]:
        """Read the next step, which `add` completes, and return what `final_observations` returns.

        Args:
            observations: after the step, (N, ...).
            rewards: (N,).
            infos: one per environment.
            dones: whether the step was the last of its episode, (N,).
            training_step: number of the step, for errors.

        Raises:
            CostSignalError: if a cost is missing, not finite, negative or of the wrong shape.
            NonFiniteEnvError: if a reward or an observation is not finite.
        """
        signals, m = self._signals[self.num_steps], self._num_constraints
        signals[:, 0] = rewards
        where = ""  # written if there may be something to say
        if (m and not _read_usual_costs(infos, signals[:, 1:])) or not all_finite(signals):
            where = f"step {training_step} of training"
            signals[:] = checked_signals(rewards, infos, m, where)
        if isinstance(observations, dict) or not _is_sound(observations):
            where = f"step {training_step} of training"
            check_observations(observations, where)
        if not np.count_nonzero(dones):
            return {}
        return final_observations(infos, dones, where or f"step {training_step} of training")

    def add(
        self,
        observations: Raw,
        actions: np.ndarray,
        dones: np.ndarray,
        truncated: Mapping[int, Raw],
        next_observations: Raw,
        stepped: np.ndarray,
        plain_rewards: np.ndarray | None,
    ) -> None:
        """Add one step of all environments, whose signals have been read.

        Args:
            observations: before the step, (N, ...).
            actions: (N, ...).
            dones: whether the step was the last of its episode, (N,).
            truncated: the last observation (1, ...) of each episode that a time limit ended, by
                environment.
            next_observations: after the step, (N, ...); kept, not copied.
            stepped: environments that took a step, (N,) bool; the batch leaves out the others,
                which were only reset.
            plain_rewards: (N,) the environments' own, if those to learn from are scaled; None if
                they are not, in all steps.
        """
        t = self.num_steps
        if t == 0:
            self._allocate(observations, actions, plain_rewards)
        if isinstance(observations, dict):
            for key, part in observations.items():
                np.copyto(self._observations[key][t], part)
        else:
            np.copyto(self._observations[t], observations)  # type: ignore[index]
        self._actions[t] = actions
        self._ended[t] = dones
        self._stepped[t] = stepped
        if self._plain_rewards is not None:
            self._plain_rewards[t] = plain_rewards
        for row, last in truncated.items():
            self._truncated_at.append((t, row))
            self._truncated_obs.append(last)
        self._last = next_observations
        self.num_steps = t + 1

    def record(self, episodes: EpisodeRecord) -> None:
        """Add the steps to the record of episodes, with the environments' own rewards."""
        taken = slice(0, self.num_steps)
        signals = self._signals[taken]
        if self._plain_rewards is not None:
            signals = signals.copy()
            signals[..., 0] = self._plain_rewards[taken]
        episodes.add_steps(signals, self._ended[taken], self._stepped[taken])

    def batch(
        self,
        policy: MlpPolicy,
        discounts: np.ndarray,
        lambdas: np.ndarray,
        in_numpy: bool = False,
        end_saves_cost: bool = True,
    ) -> tuple[Batch, np.ndarray]:
        """Return the batch to learn from, and each critic's explained variance, (k,).

        If a time limit or the end of the rollout cuts an episode off, its return is bootstrapped
        from the last observation that the episode reached. Where an episode terminates, nothing
        follows; unless `end_saves_cost` is False, then the value of the last state is taken for
        that of the costs that would have followed.

        Differs from the papers: their sums end where an episode terminates. A limit on a sum then
        rewards ending early: on Walker2d's velocity task, agents settle for lunges that fall before
        they cost more than the limit, because a step at that speed costs more than it pays.

        Args:
            policy: the policy that acted, with its critics.
            discounts: of reward and costs, (k,).
            lambdas: of the advantage estimates, (k,).
            in_numpy: whether NumPy evaluates the networks, see `agents.update_kernel.service`.
            end_saves_cost: as of the agent.
        """
        device, signals = policy.device, self._signals
        observations = obs_as_tensor(_flattened(self._observations), device)
        actions = torch.as_tensor(_flattened(self._actions), device=device)
        with torch.no_grad():
            if in_numpy:
                readout = PolicyReadout(policy)
                values, log_probs = readout.values_and_log_probs(observations, actions)
            else:
                values, log_probs = _values_and_log_probs(policy, observations, actions)
            at_values = values.cpu().numpy().astype(np.float64).reshape(signals.shape)
            next_values = self._next_values(policy, at_values, end_saves_cost)
        advantages = generalized_advantages(
            signals, at_values, next_values, self._ended, discounts, lambdas
        )
        targets = advantages + at_values
        taken = self._stepped  # (T, N)
        explained = [
            explained_variance(at_values[taken, i], targets[taken, i])
            for i in range(signals.shape[2])
        ]
        if not taken.all():
            index = torch.as_tensor(np.flatnonzero(taken), device=device)
            observations, actions = rows(observations, index), actions[index]
            log_probs = log_probs[index]
        batch = Batch(
            observations,
            actions,
            log_probs,
            torch.as_tensor(advantages[taken], dtype=torch.float32, device=device),
            torch.as_tensor(targets[taken], dtype=torch.float32, device=device),
        )
        return batch, np.array(explained)

    def _allocate(
        self, observations: Raw, actions: np.ndarray, plain_rewards: np.ndarray | None
    ) -> None:
        def room(part: np.ndarray) -> np.ndarray:
            return np.empty((self._shape[0], *part.shape), dtype=part.dtype)

        if isinstance(observations, dict):
            self._observations = {key: room(part) for key, part in observations.items()}
        else:
            self._observations = room(observations)
        self._actions = room(actions)
        self._plain_rewards = None if plain_rewards is None else np.empty(self._shape)

    def _next_values(
        self, policy: MlpPolicy, values: np.ndarray, end_saves_cost: bool
    ) -> np.ndarray:
        """Return the values of the states that the steps led to, (T, N, k), given those at them."""
        device = policy.device
        last = policy.all_values(obs_as_tensor(self._last, device)).cpu().numpy()
        next_values = np.concatenate((values[1:], last[None]))
        next_values[self._ended] = 0.0
        if not end_saves_cost:
            next_values[self._ended, 1:] = values[self._ended, 1:]
        if self._truncated_at:
            reached = obs_as_tensor(_joined(self._truncated_obs), device)
            next_values[tuple(np.array(self._truncated_at).T)] = (
                policy.all_values(reached).cpu().numpy()
            )
        return next_values


def _values_and_log_probs(
    policy: MlpPolicy, observations: Observations, actions: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the values, (n, k), and log probabilities of actions, (n,), by PyTorch."""
    seen, chosen = split(observations, LARGEST_FORWARD), actions.split(LARGEST_FORWARD)
    values = torch.cat([policy.all_values(part) for part in seen])
    parts = zip(seen, chosen, strict=True)
    return values, torch.cat([policy.log_probs(part, own) for part, own in parts])


def generalized_advantages(
    signals: np.ndarray,
    values: np.ndarray,
    next_values: np.ndarray,
    ended: np.ndarray,
    discounts: np.ndarray,
    lambdas: np.ndarray,
) -> np.ndarray:
    """Return the advantage estimates of k signals, shape (steps, envs, k).

    A_t = sum_{l >= 0} (gamma lambda)^l delta_{t+l},  delta_t = r_t + gamma V(s'_t) - V(s_t),
    where the sum stops at the end of the episode or of the rollout. Source: Schulman et al.
    (2016), "High-dimensional continuous control using generalized advantage estimation",
    equation 16.

    Args:
        signals: reward and costs of each step, (steps, envs, k).
        values: V(s_t), (steps, envs, k).
        next_values: V of the state that the step led to, (steps, envs, k): 0 where the episode
            terminated, the value of its last observation where it was truncated.
        ended: whether the step was the last of its episode, (steps, envs) bool.
        discounts: gamma of each signal, (k,).
        lambdas: lambda of each signal, (k,).
    """
    deltas = signals + discounts * next_values - values
    carry = (discounts * lambdas) * ~ended[..., None]
    # In place: deltas become the advantages, and carry the part that the next step adds.
    running = np.zeros_like(deltas[0])
    for delta, later in zip(deltas[::-1], carry[::-1], strict=True):
        later *= running
        delta += later
        running = delta
    return deltas


def _flattened(steps: Any) -> Any:
    """Return an array (T * N, ...) of (T, N, ...), or a dict of such arrays, without copying."""
    if isinstance(steps, dict):
        return {key: _flattened(part) for key, part in steps.items()}
    return steps.reshape(-1, *steps.shape[2:])


def _joined(observations: Sequence[Raw]) -> Raw:
    """Return the observations (1, ...) of several episodes as one array (n, ...), or a dict."""
    if isinstance(observations[0], dict):
        return {key: np.concatenate([one[key] for one in observations]) for key in observations[0]}
    return np.concatenate(observations)  # type: ignore[arg-type]


def _read_usual_costs(infos: Sequence[Mapping[str, Any]], costs: np.ndarray) -> bool:
    """Write the costs of a step, (N, m), in the usual forms; False leaves them to `read_costs`."""
    if len(infos) != len(costs):
        return False
    if type(infos) is RowInfos:
        if infos.costs.shape != costs.shape:
            return False
        costs[:] = infos.costs
        apart = infos.made.items()
    else:
        apart = enumerate(infos)  # type: ignore[assignment]
    for row, info in apart:
        cost: Any = info.get("cost")
        if type(cost) not in USUAL_NUMBERS or not cost >= 0.0:
            return False
        if costs.shape[1] > 1 or ONLY_RESET in info:
            return False
        costs[row, 0] = cost
    return True


def plain_rewards(normalized: VecNormalize | None) -> np.ndarray | None:
    """Return the last step's unscaled rewards, (N,), if a VecNormalize may scale them."""
    return None if normalized is None else normalized.get_original_reward()


def final_observations(
    infos: Sequence[Mapping[str, Any]], dones: np.ndarray, where: str
) -> dict[int, Raw]:
    """Return the last observation (1, ...) of each episode that a time limit ended, by row.

    Args:
        infos: as Stable-Baselines3 gives them.
        dones: (N,).
        where: names the step in errors.

    Raises:
        NonFiniteEnvError: if an observation is not finite.
    """
    found: dict[int, Raw] = {}
    for row in np.flatnonzero(dones).tolist():
        if infos[row].get("TimeLimit.truncated", False):
            last = infos[row]["terminal_observation"]
            found[row] = _one_row(last)
            check_observations(found[row], where)
    return found


def _one_row(observation: Raw) -> Raw:
    """Return a copy of one observation (...) as a batch, (1, ...)."""
    if isinstance(observation, dict):
        return {key: np.array(part)[None] for key, part in observation.items()}
    return np.array(observation)[None]
