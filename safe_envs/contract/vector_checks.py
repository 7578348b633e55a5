"""Whether costs survive vector environments, checked by replaying rollouts of single ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from gymnasium.vector.utils import concatenate, create_empty_array, iterate

from safe_envs.contract.checked_rollout import Transition, require
from safe_envs.contract.cost_signal import read_costs
from safe_envs.contract.vector_env import AutoresetMode

EnvFactory = Callable[[], gym.Env]
Rollout = list[Transition]


def check_vector_forms(
    make: EnvFactory, rollouts: Sequence[Rollout], num_constraints: int
) -> list[str]:
    """Replay the rollouts, row i with seed i, through Gymnasium's vector environments.

    Returns:
        The names of the checks, all of which passed.
    """
    passed = []
    for kind in (SyncVectorEnv, AsyncVectorEnv):
        for mode in (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP):
            venv = kind([make] * len(rollouts), autoreset_mode=mode)
            name = f"{kind.__name__}, {mode.value} autoreset"
            _replay(name, venv, mode, rollouts, num_constraints, observations=False)
            passed.append(name)
    return passed


def check_native_form(
    name: str, kwargs: dict[str, Any], rollout: Rollout, num_constraints: int
) -> list[str]:
    """Replay one rollout through the native vector form with N = 1 and require equal values.

    Returns:
        The names of the checks, all of which passed; none if the id's own vector form is one of
        Gymnasium's, which `check_vector_forms` checks.
    """
    passed: list[str] = []
    for mode in (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP):
        venv = gym.make_vec(name, num_envs=1, autoreset_mode=mode, **kwargs)
        if isinstance(venv, SyncVectorEnv | AsyncVectorEnv):
            venv.close()
            return []
        check = f"native vector form, {mode.value} autoreset"
        _replay(check, venv, mode, [rollout], num_constraints, observations=True)
        passed.append(check)
    return passed


def check_dummy_vec_env(make: EnvFactory, rollouts: Sequence[Rollout], num_constraints: int) -> str:
    """Replay the rollouts through Stable-Baselines3's DummyVecEnv, and return the check's name."""
    from stable_baselines3.common.vec_env import DummyVecEnv

    name = "stable_baselines3 DummyVecEnv"
    venv = DummyVecEnv([make] * len(rollouts))
    venv.seed(0)
    venv.reset()
    for step, row in enumerate(_same_step_rows(rollouts)):
        _, reward, ended, infos = venv.step(np.stack([np.asarray(t.action) for t in row]))
        read = read_costs(infos, len(rollouts), num_constraints)
        _require_equal(name, step, "costs", read, np.stack([t.costs for t in row]))
        _require_equal(name, step, "rewards", reward, np.array([t.reward for t in row], np.float32))
        _require_equal(name, step, "ends", ended, [t.terminated or t.truncated for t in row])
    venv.close()
    return name


def _replay(
    name: str,
    venv: Any,
    mode: AutoresetMode,
    rollouts: Sequence[Rollout],
    num_constraints: int,
    observations: bool,
) -> None:
    venv.reset(seed=0)
    same_step = mode == AutoresetMode.SAME_STEP
    rows = _same_step_rows(rollouts) if same_step else list(zip(*rollouts, strict=True))[1:]
    for step, row in enumerate(rows):
        actions = _batched(venv.single_action_space, [t.action for t in row])
        observed, reward, terminated, truncated, infos = venv.step(actions)
        read = read_costs(infos, len(row), num_constraints)
        _require_equal(name, step, "costs", read, np.stack([t.costs for t in row]))
        _require_equal(name, step, "rewards", reward, [t.reward for t in row])
        _require_equal(name, step, "terminated", terminated, [t.terminated for t in row])
        _require_equal(name, step, "truncated", truncated, [t.truncated for t in row])
        if observations:
            for i, t in enumerate(row):
                _require_entries(name, step, infos, i, t.info)
            final = infos["final_obs"] if same_step and "final_obs" in infos else None
            seen = list(iterate(venv.observation_space, observed))
            for i, t in enumerate(row):
                last = final[i] if final is not None and final[i] is not None else seen[i]
                _require_same_observation(name, step, last, t.observation)
    venv.close()


def _require_entries(
    name: str, step: int, infos: dict[str, Any], row: int, expected: dict[str, Any]
) -> None:
    """Require that infos have the entries of a single environment's info, in the same shapes."""
    for key, value in expected.items():
        given = infos[key][row] if key in infos else None
        require(
            given is not None and np.shape(given) == np.shape(value),
            lambda key=key, given=given, value=value: (  # type: ignore[misc]
                f"{name}, step {step}: info[{key!r}] of row {row} is {given!r} but the single "
                f"environment has {value!r}; report it in both forms"
            ),
        )


def _same_step_rows(rollouts: Sequence[Rollout]) -> list[tuple[Transition, ...]]:
    """Return the rollouts' steps side by side, without the resets, which are not steps here."""
    stepped = [[t for t in rollout if t.action is not None] for rollout in rollouts]
    return list(zip(*stepped, strict=False))


def _batched(space: gym.Space, actions: list[Any]) -> Any:
    filled = [space.sample() if action is None else action for action in actions]
    batch: Any = create_empty_array(space, n=len(filled))
    return concatenate(space, filled, batch)


def _require_same_observation(name: str, step: int, given: Any, expected: Any) -> None:
    require(
        data_equivalence(np.asarray(given), np.asarray(expected).astype(given.dtype)),
        lambda: f"{name}, step {step}: the observation is {given!r}, not {expected!r}",
    )


def _require_equal(name: str, step: int, what: str, given: Any, expected: Any) -> None:
    require(
        bool(np.array_equal(np.asarray(given), np.asarray(expected))),
        lambda: (
            f"{name}, step {step}: {what} are {np.asarray(given).tolist()} but the single "
            f"environments gave {np.asarray(expected).tolist()}; keep the costs of terminal steps"
        ),
    )
