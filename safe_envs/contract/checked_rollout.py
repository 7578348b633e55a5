"""Random rollouts of an environment, every step checked against the cost contract."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from safe_envs.contract.cost_signal import CostSignalError, declared_constraints


@dataclass(frozen=True)
class Transition:
    """One step of a single environment, or its reset (then action is None)."""

    action: Any
    observation: Any
    reward: float
    terminated: bool
    truncated: bool
    costs: np.ndarray  # (m,)
    info: dict[str, Any]


def require(holds: bool, message: str | Callable[[], str]) -> None:
    """Raise CostSignalError with the message if the rule is violated.

    Messages that are slow to build, such as those with arrays in them, are passed as functions.
    """
    if not holds:
        raise CostSignalError(message if isinstance(message, str) else message())


def checked_rollout(env: gym.Env, seed: int, steps: int) -> list[Transition]:
    """Return a random rollout of resets and steps, each of them checked."""
    count = len(declared_constraints(env))
    inner: Any = env.unwrapped
    rng = np.random.default_rng(seed)
    env.action_space.seed(int(rng.integers(2**31)))
    observation, info = env.reset(seed=seed)
    episode_cost = 0.0
    costs = _checked_costs(info, count, inner.cost_space, episode_cost, "after reset")
    require(not costs.any(), f"the cost after reset is {costs}; it has to be 0")
    transitions = [Transition(None, observation, 0.0, False, False, costs, info)]
    for step in range(1, steps):
        last = transitions[-1]
        if last.terminated or last.truncated:
            observation, info = env.reset()
            episode_cost = 0.0
            costs = _checked_costs(info, count, inner.cost_space, episode_cost, "after reset")
            transitions.append(Transition(None, observation, 0.0, False, False, costs, info))
            continue
        action = env.action_space.sample()
        observation, reward, terminated, truncated, info = env.step(action)
        total = info.get("cost", 0.0)
        episode_cost += total if isinstance(total, float) else 0.0
        costs = _checked_costs(info, count, inner.cost_space, episode_cost, f"at step {step}")
        if not env.observation_space.contains(observation):
            raise CostSignalError(
                f"at step {step} the observation {observation!r} is not in {env.observation_space}"
            )
        transitions.append(
            Transition(action, observation, float(reward), terminated, truncated, costs, info)
        )
    env.close()
    return transitions


def _checked_costs(
    info: dict[str, Any], count: int, space: gym.spaces.Box, episode_cost: float, when: str
) -> np.ndarray:
    """Return the costs (m,) in an info, checked against the rules of the contract."""
    for key in ("cost", "episode_cost", *(("costs",) if count > 1 else ())):
        require(key in info, f"{when}: info has no {key!r}, it has {sorted(info)}")
    cost = info["cost"]
    require(
        type(cost) is np.float64 and bool(np.isfinite(cost) and cost >= 0.0),
        lambda: (
            f"{when}: info['cost'] is {cost!r} of type {type(cost).__name__}; report a "
            "numpy.float64 >= 0"
        ),
    )
    total = info["episode_cost"]
    require(
        type(total) is np.float64,
        lambda: (
            f"{when}: info['episode_cost'] is {total!r} of type {type(total).__name__}; report a "
            "numpy.float64"
        ),
    )
    require(
        bool(np.isclose(total, episode_cost, rtol=1e-9, atol=1e-9)),
        lambda: (
            f"{when}: info['episode_cost'] is {total!r}, but the costs since reset sum to "
            f"{episode_cost}"
        ),
    )
    costs = np.array([cost]) if count == 1 else info["costs"]
    require(
        isinstance(costs, np.ndarray) and costs.shape == (count,) and costs.dtype == np.float64,
        lambda: f"{when}: info['costs'] is {costs!r}; report a float64 array of shape ({count},)",
    )
    require(
        bool(np.isclose(costs.sum(), cost, rtol=1e-9, atol=1e-12)),
        lambda: f"{when}: info['costs'] is {costs} but info['cost'], their sum, is {cost}",
    )
    require(
        space.contains(costs), lambda: f"{when}: the costs {costs} are not in cost_space {space}"
    )
    margins = info.get("constraint_values")
    if margins is not None:
        require(
            isinstance(margins, np.ndarray) and margins.ndim == 1 and margins.dtype == np.float64,
            lambda: f"{when}: info['constraint_values'] is {margins!r}; report a 1-D float64 array",
        )
    return costs
