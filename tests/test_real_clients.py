"""Stable-Baselines3 and sb3-contrib use the environments as they are."""

import gymnasium as gym
import numpy as np
import pytest
from sb3_contrib import TRPO
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

import safe_envs

IDS = sorted(env_id for env_id in gym.registry if env_id.startswith("Safe/"))


class AddUpCosts(BaseCallback):
    """Reads every step's cost through `read_costs`, and every finished episode's."""

    def __init__(self):
        super().__init__()
        self.read = 0.0
        self.finished = []
        self.steps = 0

    def _on_step(self):
        infos = self.locals["infos"]
        self.read += float(safe_envs.read_costs(infos, len(infos), 1).sum())
        self.steps += len(infos)
        ended = self.locals["dones"]
        self.finished += [i["episode_cost"] for i, e in zip(infos, ended, strict=True) if e]
        return True


@pytest.mark.filterwarnings("ignore:.*running.*on the GPU:UserWarning")
@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize("algorithm", [PPO, TRPO])
def test_learners_see_every_cost(algorithm, env_id):
    model = algorithm("MlpPolicy", env_id, n_steps=256, batch_size=64, seed=0, device="cpu")
    costs = AddUpCosts()
    model.learn(512, callback=costs)
    assert costs.steps == 512
    running = [i["episode_cost"] for i in costs.locals["infos"]]
    unfinished = sum(r for r, e in zip(running, costs.locals["dones"], strict=True) if not e)
    assert costs.read == pytest.approx(sum(costs.finished) + unfinished)
    assert costs.read > 0 or env_id in ("Safe/DoubleIntegrator-v0",)
    observation = model.get_env().reset()
    action, _ = model.predict(observation, deterministic=True)
    assert model.get_env().action_space.contains(action[0])


def test_ppo_learns_the_regression():
    """After learning it loses less than the best constant answer, whose loss is Var f = 1.56767."""
    model = PPO(
        "MlpPolicy",
        "Safe/ConstrainedRegression-v0",
        n_steps=512,
        learning_rate=3e-3,
        gamma=0.0,
        seed=0,
        device="cpu",
    )
    model.learn(8_192)
    env = gym.make("Safe/ConstrainedRegression-v0")
    losses = []
    for episode in range(1000):
        observation, _ = env.reset(seed=episode)
        action, _ = model.predict(observation, deterministic=True)
        losses.append(-env.step(action)[1])
    assert np.mean(losses) < 1.2
