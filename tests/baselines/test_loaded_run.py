"""A finished run acts, in another process, as the agent did that was trained."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from rich.console import Console

import baselines
from baselines.commands.train import TrainOptions, train, training_job
from baselines.jobs.job import job_folder
from baselines.jobs.solver_job import SolverJob
from baselines.jobs.training import finish_training, prepare_training
from baselines.measures.episode_sampling import seeds_of
from baselines.names.agents import default_hyperparameters
from baselines.names.environments import EnvironmentName
from safe_envs import CostSignalError

ROOT = Path(__file__).parents[2]
BOX = "Safe/DoubleIntegrator-v0"
ACT = """
import sys, numpy as np, torch, baselines
folder, observations, actions = sys.argv[1:]
torch.set_num_threads(2)
run, seen = baselines.load_run(folder), np.load(observations)
torch.manual_seed(5)
single = np.stack([run.predict(one)[0] for one in seen])
drawn = run.predict(seen, deterministic=False)[0]
assert torch.get_num_threads() == 2
np.savez(actions, single=single, batch=run.predict(seen)[0], drawn=drawn)
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run with standardized observations, and its agent as it was in training."""
    folder = tmp_path_factory.mktemp("box") / "run"
    overrides = ("n_envs=2", "n_steps=150", "n_epochs=1", "cost_limit=9")
    options = TrainOptions("PPOLag", f"{BOX}?max_episode_steps=20", folder, 600, 3, overrides, 4)
    prepared = prepare_training(training_job(options))
    finish_training(prepared, folder, options.command())
    return folder, prepared.model


@pytest.fixture(scope="module")
def solved(tmp_path_factory):
    """The job of a tabular solver, where a comparison puts it."""
    env = EnvironmentName("Safe/CliffWorld-v0", (("observation", "one_hot"),))
    job = SolverJob(env, "pqa_alm", 0, 60, default_hyperparameters("pqa_alm"))
    folder = job_folder(tmp_path_factory.mktemp("solved"), job)
    job.run(folder, "")
    return folder


QUIET = Console(quiet=True)


def test_predict_equals_the_trained_agent_in_another_process(trained, tmp_path):
    """Bit for bit, on raw observations far from standardized ones."""
    folder, agent = trained
    seen = np.random.default_rng(0).normal(3.0, 2.0, (40, 2)).astype(np.float32)
    np.save(tmp_path / "seen.npy", seen)
    words = [sys.executable, "-c", ACT, folder, tmp_path / "seen.npy", tmp_path / "acted.npz"]
    subprocess.run(words, cwd=ROOT, check=True, env={"PYTHONPATH": str(ROOT)})
    acted = np.load(tmp_path / "acted.npz")
    expected = np.stack([agent.predict(one, deterministic=True)[0] for one in seen])
    assert np.ptp(expected) > 0.01
    np.testing.assert_array_equal(acted["single"], expected)
    np.testing.assert_array_equal(acted["batch"], agent.predict(seen, deterministic=True)[0])
    torch.manual_seed(5)
    np.testing.assert_array_equal(acted["drawn"], agent.predict(seen, deterministic=False)[0])


def test_observations_outside_of_the_space_are_refused(trained, solved):
    run, solver = baselines.load_run(trained[0]), baselines.load_run(solved)
    for one, message in (
        ([np.nan, 0.0], "has nan, which is not in Box"),
        (np.zeros(3), r"shape \(3,\), but the space is Box"),
    ):
        with pytest.raises(ValueError, match=message):
            run.predict(np.array(one))
    with pytest.raises(ValueError, match="shape"):
        solver.predict(np.zeros(3))
    memory = (np.zeros(1),)
    actions, state = run.predict(np.zeros((0, 2)), state=memory)
    assert actions.shape == (0, 1)
    assert actions.dtype == np.float32
    assert state is memory
    assert solver.predict(np.zeros((0, 21)))[0].shape == (0,)
    with pytest.raises(TypeError, match="folder is 5; pass the path"):
        baselines.load_run(5)


def test_what_a_run_holds(trained):
    folder, agent = trained
    run = baselines.load_run(str(folder))
    assert type(run.agent) is type(agent)
    assert run.limits.tolist() == [9.0]
    assert run.constraints == agent.constraints
    assert run.result.timesteps == 600
    assert run.config["hyperparameters"]["cost_limit"] == 9
    told = f"PPOLag on {BOX}?max_episode_steps=20, seed 3; outside_box <= 9"
    assert repr(run) == f"LoadedRun({str(folder)!r}: {told})"


def test_the_environment_has_the_arguments_of_the_run(trained):
    env = baselines.load_run(trained[0]).env(render_mode="rgb_array")
    env.reset(seed=0)
    ends = [env.step(env.action_space.sample())[2:4] for _ in range(20)]
    assert [any(end) for end in ends] == [False] * 19 + [True]
    assert env.render().dtype == np.uint8


@pytest.mark.parametrize("deterministic", [False, True])
def test_evaluate_repeats_the_run_s_own_episodes(trained, deterministic):
    run = baselines.load_run(trained[0])
    own = run.result.deterministic if deterministic else run.result.stochastic
    again = run.evaluate(4, own.seed, deterministic)
    assert again.returns.tolist() == own.returns
    assert again.costs.tolist() == own.costs
    assert again.limits.tolist() == [9.0]


def test_a_solver_s_table_acts(solved):
    """Its mean return over episodes lies around the exact value of the run."""
    run = baselines.load_run(solved)
    played = run.evaluate(300, seed=4)
    error = played.returns.std(ddof=1) / np.sqrt(300)
    assert abs(played.mean_return - run.result.value) < 4 * error < 0.2
    states = np.eye(21)
    actions, _ = run.predict(states)
    table = np.load(solved / "trace.npz")["policy"]
    np.testing.assert_array_equal(actions, table.argmax(axis=1))
    assert run.predict(states[3])[0] == actions[3]
    with pytest.raises(ValueError, match="is not the observation of any of 21 states"):
        run.predict(np.full(21, 0.5))


def test_a_controller_acts(tmp_path):
    options = TrainOptions("LQRController", BOX, tmp_path / "run", 1, 0, (), 1)
    assert train(options, QUIET) == 0
    run = baselines.load_run(tmp_path / "run")
    env = run.env()
    state, _ = env.reset(seed=seeds_of(run.result.deterministic.seed).first_env)
    total, over = 0.0, False
    while not over:
        state, reward, terminated, truncated, _ = env.step(run.predict(state)[0])
        total, over = total + reward, terminated or truncated
    assert run.result.deterministic.returns == pytest.approx([total], rel=1e-6)


def spoiled(folder, copy, name, content):
    shutil.copytree(folder, copy)
    (copy / name).unlink()
    if content is not None:
        (copy / name).write_text(content)
    return copy


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", None, "config.json, so it is not a run; pass a folder that the command"),
        ("config.json", "{", r"\(damaged\): .*config.json is not JSON .*; delete the folder"),
        ("config.json", "[]", r"\(damaged\): .*config.json cannot be read"),
        ("config.json", '{"agent": "PPOLug"}', r"\(damaged\): .*did you mean 'PPOLag'"),
        ("result.json", None, r"\(unfinished\): no result.json yet; progress.csv was last written"),
        ("result.json", '{"agent": ', r"\(damaged\): .*result.json"),
        ("result.json", '{"agent": "PPOLag"}', r"\(damaged\): .*result.json"),
        ("model.zip", None, r"\(damaged\): .*model.zip"),
        ("model.zip", "no zip", "model.zip"),
    ],
)
def test_what_is_no_finished_run_is_refused(trained, tmp_path, name, content, message):
    with pytest.raises(ValueError, match=message):
        baselines.load_run(spoiled(trained[0], tmp_path / "run", name, content))


def test_a_comparison_is_refused_with_one_of_its_runs(solved):
    above = solved.parents[2]
    with pytest.raises(ValueError, match="one of the 1 runs in it, such as .*seed_0"):
        baselines.load_run(above)


def test_no_module_of_a_folder_is_imported(trained, tmp_path, monkeypatch):
    copy = shutil.copytree(trained[0], tmp_path / "run")
    config = json.loads((copy / "config.json").read_text())
    config["env"] = {"id": "harmful_module:Some-v0", "kwargs": {}}
    (copy / "config.json").write_text(json.dumps(config))
    (tmp_path / "harmful_module.py").write_text("raise SystemExit('it ran')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="the module 'harmful_module' is imported, .* import_env"):
        baselines.load_run(copy)


def test_costs_of_an_environment_without_constraints_are_checked(trained):
    gym.register("Silent-v0", lambda **_: gym.make("CartPole-v1").unwrapped)
    try:
        run = baselines.load_run(trained[0])
        object.__setattr__(run.job, "env", type(run.job.env)("Silent-v0"))
        env = run.env()
        env.reset(seed=0)
        with pytest.raises(CostSignalError, match="info has no 'cost'"):
            env.step(0)
    finally:
        del gym.registry["Silent-v0"]
