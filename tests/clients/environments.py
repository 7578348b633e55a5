"""The environments that clients run, and their costs in a plain Gymnasium loop."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs import registration

import safe_envs  # noqa: F401  registers the environments

ENVIRONMENTS: dict[str, dict[str, Any]] = {
    "Safe/CliffWorld-v0": {"observation": "one_hot"},
    "Safe/DoubleIntegrator-v0": {},
    "SafetyHopperVelocity-v1": {},
    "SafetySwimmerVelocity-v1": {},  # random actions exceed its threshold, unlike the hopper's
    "SafetyPointGoal1-v0": {},
}


def costs_of(
    env_id: str,
    actions: Sequence[Any],
    seeds: Sequence[int | None],
    **arguments: Any,
) -> float:
    """Return the sum of the costs that a single environment reports under the same actions.

    Args:
        env_id: id of the environment.
        actions: one per step.
        seeds: of the resets before the first step; resets between episodes have none.
        **arguments: of the environment.
    """
    env = gym.make(env_id, **arguments)
    for seed in seeds:
        env.reset(seed=seed)
    total = 0.0
    for action in actions:
        _, _, terminated, truncated, info = env.step(action)
        total += info["cost"]
        if terminated or truncated:
            env.reset()
    env.close()
    return float(total)


def costs_of_copies(
    env_id: str,
    actions: Sequence[np.ndarray],
    seeds: Sequence[int | None],
    reset_when_all_end: bool = False,
    **arguments: Any,
) -> float:
    """Return the sum of the costs that `gymnasium.make_vec` reports under the same actions.

    Args:
        env_id: id of the environment.
        actions: one array per step, with one row per copy.
        seeds: of the resets before the first step.
        reset_when_all_end: whether the client resets copies that ended together, although they
            have reset themselves.
        **arguments: of `gymnasium.make_vec`.
    """
    copies = gym.make_vec(env_id, len(actions[0]), **arguments)
    for seed in seeds:
        copies.reset(seed=seed)
    total = 0.0
    for action in actions:
        _, _, terminated, truncated, infos = copies.step(action)
        costs = infos["cost"] * infos["_cost"]
        if "final_info" in infos:  # of copies of single environments, whose rows were reset
            ended = infos["_final_info"]
            costs = np.where(ended, infos["final_info"]["cost"], costs)
        total += costs.sum()
        if reset_when_all_end and (terminated | truncated).all():
            copies.reset()
    copies.close()
    return float(total)


def recorded_actions(env: gym.Env | gym.vector.VectorEnv) -> list[Any]:
    """Return the list that the actions of every step will be in."""
    actions = []
    step = env.step

    def recording_step(action):
        actions.append(np.array(action))
        return step(action)

    env.step = recording_step
    return actions


Event = tuple[str, Any]  # ("reset", its arguments) or ("step", the action)


def recorded_events(env: gym.Env) -> list[Event]:
    """Return the list that every reset and every step will be in."""
    events: list[Event] = []
    step, reset = env.step, env.reset

    def recording_step(action):
        events.append(("step", np.array(action)))
        return step(action)

    def recording_reset(**given):
        events.append(("reset", given))
        return reset(**given)

    env.step, env.reset = recording_step, recording_reset
    return events


@contextlib.contextmanager
def recorded_makes() -> Iterator[list[list[Event]]]:
    """Record the environments that a program makes, in their order.

    Of an environment that makes another inside, only the outer one is recorded.
    """
    made: list[list[Event]] = []
    making: list[tuple[Any, ...]] = []
    make = registration.make

    def recording_make(*args, **kwargs):
        making.append(args)
        try:
            env = make(*args, **kwargs)
        finally:
            making.pop()
        if not making:
            made.append(recorded_events(env))
        return env

    gym.make = registration.make = recording_make
    try:
        yield made
    finally:
        gym.make = registration.make = make


def costs_of_episodes(env_id: str, events: Sequence[Event], **arguments: Any) -> list[float]:
    """Return each episode's cost sum in another environment, under the same resets and actions.

    The last entry is that of the unfinished episode, 0.0 if the last one ended.
    """
    env = gym.make(env_id, **arguments)
    costs = [0.0]
    for kind, given in events:
        if kind == "reset":
            env.reset(**given)
            continue
        _, _, terminated, truncated, info = env.step(given)
        costs[-1] += float(info["cost"])
        if terminated or truncated:
            costs.append(0.0)
    env.close()
    return costs


def steps_in(events: Sequence[Event]) -> int:
    return sum(kind == "step" for kind, _ in events)
