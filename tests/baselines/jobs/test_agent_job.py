"""A run's model.zip is the whole agent; runs of earlier versions do not pass for current ones."""

import json
import shutil

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from rich.console import Console
from stable_baselines3.common.save_util import save_to_zip_file

import agents
from baselines.__main__ import main
from baselines.commands.evaluate import evaluated_again
from baselines.commands.train import TrainOptions, train, training_job
from baselines.jobs.run_folder import is_done, open_run
from baselines.jobs.settings import make_training_env
from baselines.measures.episode_sampling import seeds_of
from baselines.names.environments import EnvironmentName
from baselines.policy_export.policy_export import onnx_session

SHIFTED = "ShiftedIntegrator-v0"
SCALE, SHIFT = 1e-3, 1e4


class Shifted(gym.ObservationWrapper):
    """The double integrator's state in other units."""

    def __init__(self, env):
        super().__init__(env)
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)

    def observation(self, observation):
        return np.float32(SHIFT + SCALE * np.asarray(observation, dtype=np.float64))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A short run whose raw observations are far from standardized ones."""
    gym.register(SHIFTED, lambda: Shifted(gym.make("Safe/DoubleIntegrator-v0")))
    folder = tmp_path_factory.mktemp("shifted") / "run"
    overrides = ("n_envs=2", "n_steps=300", "n_epochs=3", "learning_rate=3e-3")
    options = TrainOptions("PPOLag", SHIFTED, folder, 1200, 1, overrides, 4)
    assert train(options, Console(quiet=True)) == 0
    yield options
    del gym.registry[SHIFTED]


def test_the_saved_agent_plays_as_the_run_did(finished):
    """In a plain loop, against the command's evaluation and the exported policy."""
    seed = 7
    evaluated = evaluated_again(finished.out, episodes=1, seed=seed).deterministic
    agent = agents.PPOLag.load(finished.out / "model.zip")
    policy = onnx_session((finished.out / "policy.onnx").read_bytes())
    env = gym.make(SHIFTED)
    observation, _ = env.reset(seed=seeds_of(seed).first_env)
    total, cost, over, actions = 0.0, 0.0, False, []
    while not over:
        action, _ = agent.predict(observation, deterministic=True)
        (exported,) = policy.run(["action"], {"observation": observation[None]})
        np.testing.assert_allclose(exported[0], action, atol=1e-6)
        observation, reward, terminated, truncated, info = env.step(action)
        total, cost, over = total + reward, cost + info["cost"], terminated or truncated
        actions.append(action)
    assert np.ptp(actions) > 0.01  # it does look at the observations
    assert evaluated.returns == pytest.approx([total], rel=1e-7)  # DummyVecEnv keeps float32
    assert evaluated.costs == [[cost]]


class Marks:
    """Unpickling it creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_nothing_in_a_folder_from_someone_else_runs(finished, tmp_path):
    """A pickle in model.zip, and an environment whose module lies beside it."""
    folder, marker = tmp_path / "run", tmp_path / "marker"
    shutil.copytree(finished.out, folder)
    harm = Marks(str(marker))
    data = {"policy_class": harm, "constraints": harm, "settings": harm}
    save_to_zip_file(folder / "model.zip", data=data, params={"policy": {"weight": harm}})
    with pytest.raises(ValueError, match="model.zip is damaged: it is not what the run wrote"):
        evaluated_again(folder, episodes=1, seed=7)
    (folder / "sha256.json").unlink()
    with pytest.raises(agents.SavedAgentError, match="saved by an earlier version, .* train"):
        evaluated_again(folder, episodes=1, seed=7)
    config = json.loads((folder / "config.json").read_text())
    config["env"]["id"] = "harmful:Some-v0"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="the module 'harmful' is imported, .* pass --import-env"):
        evaluated_again(folder, episodes=1, seed=7)
    assert not marker.exists()


def test_runs_of_earlier_versions_are_not_taken_for_finished(finished, tmp_path, capsys):
    job = training_job(finished)
    assert is_done(finished.out, job)
    old = finished.out / "normalization.npz"
    old.write_bytes(b"")
    try:
        assert not is_done(finished.out, job)
        assert (
            "an earlier version wrote it, with normalization.npz"
            in job.outcome(finished.out).reason
        )
        assert main(["evaluate", str(finished.out)]) == 2
        printed = " ".join(capsys.readouterr().out.split())
        assert "which is no longer read; train it first" in printed
    finally:
        old.unlink()
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "normalization.npz").write_bytes(b"")
    open_run(copy, job)
    assert not (copy / "normalization.npz").exists()


def test_training_environments_give_raw_observations(finished):
    venv = make_training_env(EnvironmentName(SHIFTED, ()), 3)
    try:
        assert (np.abs(venv.reset() - SHIFT) < 0.1).all()
    finally:
        venv.close()
