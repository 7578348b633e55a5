"""One training of each learner: ours and Stable-Baselines3's here, the others in a process."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import time
import warnings
from pathlib import Path
from typing import Any

from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecNormalize

import agents
from agents.constrained_agent import ConstrainedAgent
from agents.named_agents import named_agent
from baselines.benchmarks import peers
from baselines.benchmarks.training_speed.settings import Spent, TrainingSetting

PEERS = Path(peers.__file__).parent
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "JAX_PLATFORMS": "cpu",
}


class TimedVecEnv(VecEnvWrapper):
    """Adds up the CPU time spent in stepping."""

    def __init__(self, venv: VecEnv) -> None:
        super().__init__(venv)
        self.seconds = 0.0

    def reset(self) -> Any:
        """Reset all environments."""
        return self.venv.reset()

    def step_wait(self) -> Any:
        """Step all environments and time it."""
        began = time.process_time()
        outcome = self.venv.step_wait()
        self.seconds += time.process_time() - began
        return outcome


def train_ours(name: str, backend: str, setting: TrainingSetting) -> Spent:
    """Train one of our agents, which has an actor and 1 + m critics.

    Args:
        name: of the agent.
        backend: of its updates, "torch" or "numpy".
        setting: how much.
    """
    return _timed(_ours(name, backend, setting, _our_envs(setting)), setting)


def train_ours_in_parts(name: str, backend: str, setting: TrainingSetting) -> Spent:
    """Train one of our agents; the time of stepping is measured by itself."""
    timed = TimedVecEnv(_our_envs(setting))
    agent = _ours(name, backend, setting, timed)
    before = timed.seconds
    spent = _timed(agent, setting)
    stepping = timed.seconds - before
    inference = spent.inference - stepping
    return spent._replace(stepping=stepping, inference=inference)


def train_sb3(setting: TrainingSetting) -> Spent:
    """Train Stable-Baselines3's PPO on its DummyVecEnv of our single environments."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "You have specified a mini-batch size")
        agent = PPO(
            "MlpPolicy",
            VecNormalize(make_vec_env(setting.env_id, setting.num_envs), norm_reward=False),
            n_steps=setting.steps // setting.num_envs,
            n_epochs=setting.passes,
            batch_size=setting.batch_size,
            seed=0,
            device="cpu",
        )
    return _timed(agent, setting)


def train_omnisafe(python: Path, setting: TrainingSetting) -> Spent:
    """Train OmniSafe's PPO-Lag, which steps one environment, in its own interpreter."""
    numbers = (setting.steps, setting.updates, setting.passes, setting.batch_size)
    return _run_peer(python, "omnisafe_speed.py", setting.env_id, *numbers)


def train_sbx(python: Path, setting: TrainingSetting) -> Spent:
    """Train the PPO of SBX (JAX) in its own interpreter; compilation is not counted."""
    numbers = (setting.steps, setting.updates, setting.passes, setting.batch_size)
    return _run_peer(python, "sbx_speed.py", setting.costless_id, *numbers, setting.num_envs)


def _our_envs(setting: TrainingSetting) -> VecEnv:
    return agents.make_vec_env(setting.env_id, setting.num_envs)


def _ours(name: str, backend: str, setting: TrainingSetting, env: VecEnv) -> ConstrainedAgent:
    return named_agent(name)(
        "MlpPolicy",
        env,
        n_steps=setting.steps // setting.num_envs,
        n_epochs=setting.passes,
        batch_size=setting.batch_size,
        seed=0,
        update_backend=backend,
    )


def _timed(agent: OnPolicyAlgorithm, setting: TrainingSetting) -> Spent:
    """Take the rollouts and updates of a setting; the environments are closed afterwards."""
    env = agent.env
    assert env is not None
    _, callback = agent._setup_learn(setting.steps * setting.updates, None)  # as learn() does
    gc.collect()
    gc.freeze()  # what other learners left in this process costs this one nothing
    update = 0.0
    began = time.process_time()
    for _ in range(setting.updates):
        agent.collect_rollouts(env, callback, agent.rollout_buffer, agent.n_steps)
        before = time.process_time()
        agent.train()
        update += time.process_time() - before
    total = time.process_time() - began
    gc.unfreeze()
    env.close()
    return Spent(0.0, total - update, update, setting.steps * setting.updates)


def _run_peer(python: Path, script: str, *words: object) -> Spent:
    """Run a script of the folder `peers` and return what it has measured.

    Raises:
        RuntimeError: if it fails, with the end of its output.
    """
    command = [str(python), str(PEERS / script), *map(str, words)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **ONE_THREAD}
    )
    if done.returncode != 0:
        raise RuntimeError(f"{python} could not run {script}:\n{done.stderr[-2000:]}")
    spent = json.loads(done.stdout.strip().splitlines()[-1])
    return Spent(0.0, spent["total"] - spent["update"], spent["update"], spent["steps"])
