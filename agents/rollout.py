"""The steps of one rollout: checked one by one, then turned into a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.utils import explained_variance, obs_as_tensor

from agents.actor_critic import MlpPolicy
from agents.batch import Batch, Observations, rows, split
from safe_envs.contract.cost_signal import CostSignalError, NonFiniteEnvError, read_costs

Raw = np.ndarray | dict[str, np.ndarray]
LARGEST_FORWARD = 8192  # rows of one forward pass over the rollout


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
        if part.dtype.kind != "f" or np.isfinite(part).all():
            continue
        row = int(np.argwhere(~np.isfinite(part))[0][0])
        raise NonFiniteEnvError(f"environment {row}, {where}: the observation is {part[row]}")


class Rollout:
    """T steps of N environments under one policy.

    Observations are kept as the networks see them, and actions in the policy's units.
    """

    def __init__(self) -> None:
        self._observations: list[Raw] = []
        self._actions: list[np.ndarray] = []
        self._signals: list[np.ndarray] = []
        self._ended: list[np.ndarray] = []
        self._terminated: list[np.ndarray] = []
        self._stepped: list[np.ndarray] = []
        self._truncated_at: list[tuple[int, int]] = []  # (step, environment)
        self._truncated_obs: list[Raw] = []
        self._last: Raw = np.empty(0)

    def add(
        self,
        observations: Raw,
        actions: np.ndarray,
        signals: np.ndarray,
        dones: np.ndarray,
        truncated: Mapping[int, Raw],
        next_observations: Raw,
        stepped: np.ndarray | None = None,
    ) -> None:
        """Add one step of all environments. The arrays are kept, not copied.

        Args:
            observations: before the step, (N, ...).
            actions: (N, ...).
            signals: reward and costs, (N, 1 + m).
            dones: whether the step was the last of its episode, (N,).
            truncated: the last observation (1, ...) of each episode that a time limit ended, by
                environment.
            next_observations: after the step, (N, ...).
            stepped: environments that took a step, (N,) bool; the batch leaves out the others,
                which were only reset. None for all.
        """
        ended = dones.astype(np.bool_)
        terminated = ended.copy()
        for row, last in truncated.items():
            terminated[row] = False
            self._truncated_at.append((len(self._actions), row))
            self._truncated_obs.append(last)
        self._observations.append(observations)
        self._actions.append(actions)
        self._signals.append(signals)
        self._ended.append(ended)
        self._terminated.append(terminated)
        self._stepped.append(np.ones(len(ended), dtype=np.bool_) if stepped is None else stepped)
        self._last = next_observations

    def batch(
        self, policy: MlpPolicy, discounts: np.ndarray, lambdas: np.ndarray
    ) -> tuple[Batch, np.ndarray]:
        """Return the batch to learn from, and each critic's explained variance, (k,).

        If a time limit or the end of the rollout cuts an episode off, its return is bootstrapped
        from the last observation that the episode reached.

        Args:
            policy: the policy that acted, with its critics.
            discounts: of reward and costs, (k,).
            lambdas: of the advantage estimates, (k,).
        """
        device = policy.device
        observations = _flattened(self._observations, device)
        actions = torch.as_tensor(np.concatenate(self._actions), device=device)
        signals = np.stack(self._signals)  # (T, N, k)
        with torch.no_grad():
            parts = [
                (policy.all_values(seen), policy.log_probs(seen, done))
                for seen, done in zip(
                    split(observations, LARGEST_FORWARD),
                    actions.split(LARGEST_FORWARD),
                    strict=True,
                )
            ]
            values = torch.cat([value for value, _ in parts])
            log_probs = torch.cat([log_prob for _, log_prob in parts])
            last = policy.all_values(obs_as_tensor(self._last, device))
            at_values = values.cpu().numpy().astype(np.float64).reshape(signals.shape)
            next_values = np.concatenate((at_values[1:], last.cpu().numpy()[None]))
            next_values[np.stack(self._terminated)] = 0.0
            if self._truncated_at:
                reached = _flattened(self._truncated_obs, device)
                where = tuple(np.array(self._truncated_at).T)
                next_values[where] = policy.all_values(reached).cpu().numpy()
        advantages = generalized_advantages(
            signals, at_values, next_values, np.stack(self._ended), discounts, lambdas
        )
        targets = advantages + at_values
        taken = np.stack(self._stepped)  # (T, N)
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
    advantages = np.empty_like(deltas)
    running = np.zeros_like(deltas[0])
    for t in reversed(range(len(deltas))):
        running = deltas[t] + carry[t] * running
        advantages[t] = running
    return advantages


def _flattened(steps: Sequence[Raw], device: torch.device) -> Observations:
    """Return observations (T * N, ...) from T arrays (N, ...)."""
    if isinstance(steps[0], dict):
        joined: Raw = {key: np.concatenate([step[key] for step in steps]) for key in steps[0]}
    else:
        joined = np.concatenate(steps)  # type: ignore[arg-type]
    return obs_as_tensor(joined, device)


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
