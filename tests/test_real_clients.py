"""Stable-Baselines3 and sb3-contrib use the environments as they are."""

import gymnasium as gym
import numpy as np
import pytest
from sb3_contrib import TRPO
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback, CheckpointCallback, EvalCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecNormalize

import safe_envs
from agents import PPOLag

IDS = sorted(env_id for env_id in gym.registry if env_id.startswith("Safe/"))
RARELY_COSTLY = (  # within some hundred steps of an untrained policy
    "Safe/DoubleIntegrator-v0",
    "Safe/Quadrotor-v0",
    "Safe/QuadrotorColumn-v0",
    "Safe/QuadrotorZCBF-v0",
    "Safe/UnicycleCBF-v0",
)


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
    assert costs.read > 0 or env_id in RARELY_COSTLY
    observation = model.get_env().reset()
    action, _ = model.predict(observation, deterministic=True)
    assert model.get_env().action_space.contains(action[0])


def test_ppo_learns_the_regression():
    """After learning it loses less than the best constant answer, whose loss is Var f = 1.56767."""
    model = PPO(
        "MlpPolicy",
        "Safe/ConstrainedRegression-v0",
        n_steps=256,
        batch_size=128,
        n_epochs=5,
        learning_rate=3e-3,
        gamma=0.0,
        seed=0,
        device="cpu",
    )
    model.learn(4_096)
    env = gym.make("Safe/ConstrainedRegression-v0")
    seen = np.stack([env.reset(seed=episode)[0] for episode in range(1000)])
    actions, _ = model.predict(seen, deterministic=True)
    losses = []
    for episode, action in enumerate(actions):
        env.reset(seed=episode)
        losses.append(-env.step(action)[1])
    assert np.mean(losses) < 1.2


def make_double_integrator():
    return Monitor(gym.make("Safe/DoubleIntegrator-v0"))


@pytest.mark.filterwarnings("ignore:.*rich is experimental.*")
@pytest.mark.filterwarnings("ignore:Training and eval env are not of the same type:UserWarning")
def test_script_with_another_agent(tmp_path):
    """A script for PPO with the name changed and a limit given."""
    venv = VecNormalize(SubprocVecEnv([make_double_integrator] * 2, start_method="spawn"))
    eval_env = VecNormalize(DummyVecEnv([make_double_integrator]), training=False)
    model = PPOLag("MlpPolicy", venv, cost_limit=25, n_steps=128, batch_size=64, seed=0)
    model.learn(
        512,
        callback=[
            EvalCallback(
                eval_env,
                best_model_save_path=str(tmp_path / "best"),
                eval_freq=128,
                n_eval_episodes=2,
                verbose=0,
            ),
            CheckpointCallback(128, str(tmp_path / "steps"), save_vecnormalize=True),
        ],
        progress_bar=True,
    )
    venv.close()
    saved = sorted(path.name for path in (tmp_path / "steps").iterdir())
    assert saved == [
        "rl_model_256_steps.zip",
        "rl_model_512_steps.zip",
        "rl_model_vecnormalize_256_steps.pkl",
        "rl_model_vecnormalize_512_steps.pkl",
    ]
    best = PPOLag.load(tmp_path / "best" / "best_model")
    assert best.cost_limit.tolist() == [25.0]
    assert PPOLag.load(tmp_path / "steps" / "rl_model_512_steps").num_timesteps == 512
    model.save(tmp_path / "last")
    last = PPOLag.load(tmp_path / "last")
    seen = eval_env.reset()
    np.testing.assert_array_equal(
        last.predict(seen, deterministic=True)[0], model.predict(seen, deterministic=True)[0]
    )
    eval_env.norm_reward = False
    returns, lengths = evaluate_policy(
        best, eval_env, n_eval_episodes=3, return_episode_rewards=True
    )
    assert len(returns) == 3
    assert all(1 <= length <= 1000 for length in lengths)
