"""Policies and rollouts of the parity command, run unchanged by both of its interpreters.

This file needs only NumPy and no other file of the project, so that an old interpreter can run it
by its path. A policy is a dict of plain numbers, which is passed as JSON.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

Definition = dict[str, Any]
Act = Callable[[np.ndarray, int], np.ndarray]
Arrays = dict[str, np.ndarray]


class Side(Protocol):
    """An environment as both interpreters see it."""

    def reset(self, seed: int) -> np.ndarray:
        """Start an episode and return its first observation, (d,)."""
        ...

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, float, bool]:
        """Return observation (d,), reward, cost, and whether the episode is over."""
        ...


def random_policy(low: np.ndarray, high: np.ndarray, seed: int) -> Act:
    """Return a policy of uniform actions in [low, high], the same ones for the same seed."""
    generator = np.random.default_rng(seed)
    return lambda observation, step: generator.uniform(low, high)


def linear_policy(low: np.ndarray, high: np.ndarray, weights: np.ndarray) -> Act:
    """Return a = middle + half * tanh(W o), with W (actions, d)."""
    middle, half = (high + low) / 2, (high - low) / 2
    return lambda observation, step: middle + half * np.tanh(weights @ observation)


def lidar_policy(
    bins: np.ndarray, bearing: float, gain: float, forward: np.ndarray, left: np.ndarray
) -> Act:
    """Return a policy that steers until the object seen by a lidar is at a bearing.

    The object's angle is that of the sum of the directions of the bins, weighted by their readings.
    With the error e, an angle in (-pi, pi], a = max(cos e, 0) forward + clip(gain e, -1, 1) left.

    Args:
        bins: start and stop of the lidar in the observation, (2,).
        bearing: the object's desired angle, counterclockwise from the first bin's start. [rad]
        gain: of the steering. [1/rad]
        forward: the action that drives straight ahead, (actions,).
        left: the action that turns counterclockwise, (actions,).
    """
    start, stop = bins
    count = stop - start
    angles = (np.arange(count) + 0.5) * 2 * math.pi / count

    def act(observation: np.ndarray, step: int) -> np.ndarray:
        readings = observation[start:stop]
        angle = math.atan2(readings @ np.sin(angles), readings @ np.cos(angles))
        error = math.remainder(angle - bearing, 2 * math.pi)
        turn = min(max(gain * error, -1.0), 1.0)
        action: np.ndarray = max(math.cos(error), 0.0) * forward + turn * left
        return action

    return act


def given_policy(actions: np.ndarray) -> Act:
    """Return a policy that takes the actions (T, actions) in order."""
    return lambda observation, step: actions[step]


def policy_of(definition: Definition, seed: int) -> Act:
    """Return the policy of a definition, for the episode with this seed.

    Raises:
        ValueError: if there is no policy of its kind.
    """
    numbers: dict[str, Any] = {
        name: np.asarray(value) if isinstance(value, list) else value
        for name, value in definition.items()
    }
    kind = numbers.pop("kind")
    if kind == "random":
        return random_policy(seed=seed, **numbers)
    if kind == "linear":
        return linear_policy(**numbers)
    if kind == "lidar":
        return lidar_policy(**numbers)
    raise ValueError(f"kind of policy is {kind!r}; pass 'random', 'linear' or 'lidar'")


def roll_out(side: Side, seed: int, act: Act, steps: int) -> Arrays:
    """Return one episode of at most `steps` T: observations (T + 1, d), rewards and costs (T,).

    Actions are rounded to float32, so that both sides get the same ones.
    """
    observations = [np.array(side.reset(seed), dtype=np.float64)]
    rewards: list[float] = []
    costs: list[float] = []
    for step in range(steps):
        action = np.asarray(act(observations[-1], step), dtype=np.float32).astype(np.float64)
        observation, reward, cost, over = side.step(action)
        observations.append(np.array(observation, dtype=np.float64))
        rewards.append(float(reward))
        costs.append(float(cost))
        if over:
            break
    return {
        "observations": np.array(observations),
        "rewards": np.array(rewards),
        "costs": np.array(costs),
    }


def trajectories(side: Side, seeds: list[int], actions: np.ndarray) -> Arrays:
    """Return an episode per seed with given actions (seeds, T, actions), as "name_row" arrays."""
    found: Arrays = {}
    for row, seed in enumerate(seeds):
        episode = roll_out(side, seed, given_policy(actions[row]), len(actions[row]))
        found.update({f"{name}_{row}": values for name, values in episode.items()})
    return found


def totals(side: Side, seeds: list[int], definition: Definition, steps: int) -> Arrays:
    """Return "returns", "costs" and "lengths" of an episode per seed with a policy, (seeds,)."""
    rows = []
    for seed in seeds:
        episode = roll_out(side, seed, policy_of(definition, seed), steps)
        rows.append((episode["rewards"].sum(), episode["costs"].sum(), len(episode["costs"])))
    returns, costs, lengths = np.array(rows, dtype=np.float64).T
    return {"returns": returns, "costs": costs, "lengths": lengths}
