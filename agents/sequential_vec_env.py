"""Environments that are stepped one after the other, as a VecEnv."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn
from stable_baselines3.common.vec_env.util import dict_to_obs

from safe_envs.contract.transition_values import kept

UNCHANGEABLE = frozenset(
    (float, int, bool, str, type(None), np.float64, np.float32, np.int64, np.bool_)
)  # types of values that need no copy


class SequentialVecEnv(DummyVecEnv):
    """Stable-Baselines3's `DummyVecEnv` with a faster step.

    `DummyVecEnv` copies all infos deeply at every step, which takes as long as the physics of a
    small robot. Here numbers and texts are passed on, and only what an environment could change
    later is copied. Unlike there, the last observation of an episode is copied before the
    environment is reset, so environments may reuse their arrays.
    """

    def step_wait(self) -> VecEnvStepReturn:
        """Step all environments, and reset those whose episode ended."""
        rewards = np.empty(self.num_envs, dtype=np.float32)
        dones = np.empty(self.num_envs, dtype=np.bool_)
        infos = []
        for row, env in enumerate(self.envs):
            observation, rewards[row], terminated, truncated, given = env.step(self.actions[row])
            info = _kept_info(given)
            info["TimeLimit.truncated"] = truncated and not terminated
            dones[row] = terminated or truncated
            if dones[row]:
                info["terminal_observation"] = kept(observation)
                observation, self.reset_infos[row] = env.reset()
            self._save_obs(row, observation)
            infos.append(info)
        copies = {key: part.copy() for key, part in self.buf_obs.items()}
        return dict_to_obs(self.observation_space, copies), rewards, dones, infos


def in_sequence(env: VecEnv | gym.Env) -> VecEnv:
    """Return a single environment, with its Monitor, as a VecEnv; a VecEnv as it is."""
    if isinstance(env, VecEnv):
        return env
    monitored = env if is_wrapped(env, Monitor) else Monitor(env)
    return SequentialVecEnv([lambda: monitored])


def _kept_info(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of an info that shares nothing changeable with it."""
    return {
        key: value if type(value) in UNCHANGEABLE else deepcopy(value)
        for key, value in info.items()
    }
