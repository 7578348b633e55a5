"""A saved agent acts in a new process, on raw observations, as it did where it was trained."""

import os
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv

import agents
from tests.agents.sampled_env import SampledEnv

ROOT = Path(__file__).parents[2]
Box, Discrete = gym.spaces.Box, gym.spaces.Discrete
LOW, HIGH = np.array([[990.0, -1e-3], [1010.0, 1e-3]], np.float32)
FAR = Box(LOW, HIGH, dtype=np.float32)  # other units
SPACES = {
    "box": (FAR, Box(10.0, 30.0, (2, 2), np.float32), "MlpPolicy"),
    "discrete": (FAR, Discrete(4, start=2), "MlpPolicy"),
    "multi_discrete": (FAR, gym.spaces.MultiDiscrete([3, 2, 5]), "MlpPolicy"),
    "dict": (
        gym.spaces.Dict({"far": FAR, "gear": Discrete(3), "flags": gym.spaces.MultiBinary(2)}),
        Box(-1e-3, 1e-3, (), np.float64),
        "MultiInputPolicy",
    ),
    "image": (Box(0, 255, (3, 36, 36), np.uint8), Discrete(3), "CnnPolicy"),
}


def made(name):
    observed, acted, _ = SPACES[name]
    return SampledEnv(observed, acted, 8, lambda action, step: (float(step % 3), 0.5))


SCRIPT = """
import sys
import numpy as np
import agents
folder = sys.argv[1]
for name in sys.argv[2:]:
    agent = agents.load(f"{folder}/{name}.zip")
    with np.load(f"{folder}/{name}_seen.npz") as arrays:
        seen = dict(arrays)
    seen = seen.pop("") if "" in seen else seen
    np.save(f"{folder}/{name}_acts.npy", agent.predict(seen, deterministic=True)[0])
    values = agent.policy.predict_values(agent.policy.obs_to_tensor(seen)[0])
    np.save(f"{folder}/{name}_values.npy", values.detach().numpy())
"""


def samples(space, count):
    rows = [space.sample() for _ in range(count)]
    if isinstance(space, gym.spaces.Dict):
        return {key: np.stack([row[key] for row in rows]) for key in space.spaces}
    return np.stack(rows)


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """Train and save an agent of each kind in three copies, and let a new process act."""
    folder = tmp_path_factory.mktemp("saved")
    here = {}
    for name, (observed, _, policy) in SPACES.items():
        venv = DummyVecEnv([lambda n=name: made(n)] * 3)
        agent = agents.PPOLag(
            policy, venv, cost_limit=3.0, n_steps=32, batch_size=32, n_epochs=2, seed=0
        )
        agent.learn(96 * 2)
        observed.seed(5)
        seen = samples(observed, 7)
        here[name] = agent, seen, agent.predict(seen, deterministic=True)[0]
        agent.save(folder / name)
        np.savez(folder / f"{name}_seen.npz", **(seen if isinstance(seen, dict) else {"": seen}))
    command = [sys.executable, "-c", SCRIPT, str(folder), *SPACES]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder, here


@pytest.mark.parametrize("name", SPACES)
def test_acts_as_before(name, played):
    folder, here = played
    agent, seen, actions = here[name]
    there = np.load(folder / f"{name}_acts.npy")
    np.testing.assert_allclose(there, actions, rtol=1e-6)
    assert there.shape == (7, *SPACES[name][1].shape)
    values = agent.policy.predict_values(agent.policy.obs_to_tensor(seen)[0]).detach().numpy()
    np.testing.assert_allclose(np.load(folder / f"{name}_values.npy"), values, rtol=1e-6)
    assert len(np.unique(values)) > 1


@pytest.mark.parametrize("name", SPACES)
def test_goes_on_with_another_number_of_environments(name, played):
    folder, here = played
    loaded = agents.load(folder / f"{name}.zip", env=made(name))
    assert loaded.n_envs == 1
    np.testing.assert_allclose(
        loaded.predict(here[name][1], deterministic=True)[0], here[name][2], rtol=1e-6
    )
    loaded.learn(32, reset_num_timesteps=False)
    assert loaded.num_timesteps == 192 + 32
