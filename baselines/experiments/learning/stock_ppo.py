"""Stable-Baselines3's PPO as its users run it, to compare this project's agents with.

`compare` and studies name it "baselines.experiments.learning.stock_ppo:StockPPO". It knows no
constraints.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

POLICY, STATISTICS = "ppo.zip", "vec_normalize.pkl"  # in the file of an agent


class StockPPO:
    """PPO with standardized observations and scaled rewards, both by `VecNormalize`.

    Every setting is Stable-Baselines3's default: two layers of 64, rollouts of 2,048 steps, 10
    passes over them in minibatches of 64, learning rate 3e-4; observations and rewards are clipped
    to [-10, 10] after their scaling. Policies act on raw observations, with the statistics as they
    were at the end of training.

    Args:
        policy: name of the policy, such as "MlpPolicy".
        env: one environment, or several in a VecEnv; observations are arrays or dictionaries of
            them.
        seed: random seed.
    """

    def __init__(self, policy: str, env: gym.Env | VecEnv, seed: int | None = None) -> None:
        venv = env if isinstance(env, VecEnv) else DummyVecEnv([lambda: env])
        self._statistics = VecNormalize(venv, norm_obs=True, norm_reward=True)
        self._ppo = PPO(policy, self._statistics, seed=seed)

    def learn(self, total_timesteps: int, callback: Any = None) -> StockPPO:
        """Train, for whole rollouts."""
        self._ppo.learn(total_timesteps, callback=callback)
        return self

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, Any]:
        """Return the actions for raw observations, and no memory."""
        scaled = self._statistics.normalize_obs(observation)
        return self._ppo.predict(scaled, state, episode_start, deterministic)

    def save(self, path: str | Path) -> None:
        """Write policy and statistics into one file, which `load` unpickles."""
        written = io.BytesIO()
        self._ppo.save(written)
        with zipfile.ZipFile(path, "w") as file:
            file.writestr(POLICY, written.getvalue())
            file.writestr(STATISTICS, pickle.dumps(self._statistics))

    @classmethod
    def load(cls, path: str | Path) -> StockPPO:
        """Return a saved agent, which acts but has no environment to learn in.

        It unpickles the file, which can run code: only for files that are trusted.
        """
        loaded = cls.__new__(cls)
        with zipfile.ZipFile(path) as file:
            loaded._ppo = PPO.load(io.BytesIO(file.read(POLICY)))
            loaded._statistics = pickle.loads(file.read(STATISTICS))
        return loaded
