"""Trainings that are killed at any step and go on: the same files as the uninterrupted one.

Each attempt runs in a process of its own, forked and ended by the signal itself.
"""

import csv
import hashlib
import json
import logging
import os
import pickle
import random
import shutil
import signal
import time
import zipfile
from importlib.util import find_spec

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.callbacks import BaseCallback

from baselines.__main__ import main
from baselines.jobs.agent_job import AgentJob
from baselines.jobs.checkpoints import (
    INTERVAL_VARIABLE,
    CheckpointRefusedError,
    chosen_interval,
)
from baselines.jobs.interruption import Interrupted
from baselines.names.environments import parse_environment_name
from baselines.names.hyperparameters import hyperparameters_for

TIMES = ("time/fps", "time/time_elapsed")
EFFORT = ("cpu_seconds", "wall_seconds", "steps_per_cpu_second")
COMMAND = "python -m baselines train"


class SignalAt(BaseCallback):
    """Sends a signal to this process at a step."""

    def __init__(self, step, number):
        super().__init__()
        self.step, self.number, self.steps = step, number, 0

    def _on_step(self):
        self.steps += 1
        if self.steps == self.step:
            os.kill(os.getpid(), self.number)
        return True


def job_of(agent, env, steps, **settings):
    name = parse_environment_name(env)
    chosen = hyperparameters_for(agent, name.id, {agent: settings})
    return AgentJob(name, agent, 0, steps, chosen, evaluation_episodes=2)


def in_a_process(job, folder, callback):
    """Return the exit code of a training in a forked process, -9 after kill -9."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            job.run(folder, COMMAND, callback)
            code = 0
        except Interrupted as stop:
            code = stop.exit_code
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def files_of(folder):
    """The content of a run's files, times left out."""
    with (folder / "progress.csv").open(newline="") as file:
        rows = [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]
    result = json.loads((folder / "result.json").read_text())
    with zipfile.ZipFile(folder / "model.zip") as archive:
        model = {name: archive.read(name) for name in archive.namelist()}
    return {
        "columns": (folder / "progress.csv").read_text().splitlines()[0],
        "rows": rows,
        "result": {name: value for name, value in result.items() if name not in EFFORT},
        "model": model,
        "policy": (folder / "policy.onnx").read_bytes(),
    }


CASES = {
    "tabular": ("PPOLag", "Safe/DeepSeaTreasure-v0", {"n_envs": 2, "n_steps": 32}),
    "velocity": ("SPMAALM", "SafetyHopperVelocity-v1", {"n_envs": 4, "n_steps": 32}),
    "quadrotor": ("CPO", "Safe/QuadrotorZCBF-v0", {"n_envs": 1, "n_steps": 64}),
    "bridged": ("PPOLag", "SafetyPointGoal1-v0", {"n_envs": 1, "n_steps": 64}),
}


@pytest.fixture(autouse=True)
def every_update_is_written(monkeypatch):
    monkeypatch.setenv(INTERVAL_VARIABLE, "0")


@pytest.mark.parametrize("name", CASES)
def test_a_training_that_is_killed_again_and_again_ends_the_same(name, tmp_path):
    agent, env, settings = CASES[name]
    if name == "bridged" and find_spec("safety_gymnasium") is None:
        pytest.skip("the package safety-gymnasium is not installed")
    per_update = settings["n_envs"] * settings["n_steps"]
    job = job_of(agent, env, 6 * per_update, **settings)
    assert in_a_process(job, tmp_path / "whole", None) == 0
    steps = random.Random(name)
    kills = [signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGINT]
    for number in kills:
        step = steps.randrange(settings["n_steps"] + 1, 2 * settings["n_steps"])
        code = in_a_process(job, tmp_path / "killed", SignalAt(step, number))
        assert code == (-9 if number == signal.SIGKILL else 128 + number)
    assert len(list((tmp_path / "killed" / "checkpoint").iterdir())) == 2
    assert in_a_process(job, tmp_path / "killed", None) == 0
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")
    assert not (tmp_path / "killed" / "checkpoint").exists()


@pytest.fixture(scope="module")
def small():
    return job_of("PPOLag", "Safe/DeepSeaTreasure-v0", 256, n_envs=2, n_steps=32)


@pytest.fixture(scope="module")
def killed(small, tmp_path_factory):
    """A run with two checkpoints, after 64 and 128 steps."""
    folder = tmp_path_factory.mktemp("killed") / "run"
    os.environ[INTERVAL_VARIABLE] = "0"
    assert in_a_process(small, folder, SignalAt(70, signal.SIGKILL)) == -9
    assert sorted(one.name for one in (folder / "checkpoint").iterdir()) == [
        "step_000000000064",
        "step_000000000128",
    ]
    return folder


@pytest.fixture
def run(killed, tmp_path):
    return shutil.copytree(killed, tmp_path / "run")


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(("share", "steps"), [(1e9, 128), (1e-9, 192)])
def test_a_signal_loses_no_more_than_the_current_rollout(
    small, tmp_path, monkeypatch, stop, share, steps
):
    """Also where checkpoints are rare: a snapshot from before the rollout, or from its end."""
    monkeypatch.setenv(INTERVAL_VARIABLE, "1000")
    monkeypatch.setattr("baselines.jobs.checkpointing.SNAPSHOT_SHARE", share)
    assert in_a_process(small, tmp_path / "run", SignalAt(70, stop)) == 128 + stop
    found = [one.name for one in (tmp_path / "run" / "checkpoint").iterdir()]
    assert found == [f"step_{steps:012d}"]


def damaged(folder, how):
    newest = folder / "checkpoint" / "step_000000000128"
    match how:
        case "truncated":
            file = newest / "training.zip"
            file.write_bytes(file.read_bytes()[:-100])
        case "one bit":
            file = newest / "agent.zip"
            content = bytearray(file.read_bytes())
            content[len(content) // 2] ^= 1
            file.write_bytes(content)
        case "a missing file":
            (newest / "progress.csv").unlink()
        case "an empty manifest":
            (newest / "manifest.json").write_text("")
        case "another manifest":
            (newest / "manifest.json").write_text("[]")


@pytest.mark.parametrize(
    "how", ["truncated", "one bit", "a missing file", "an empty manifest", "another manifest"]
)
def test_a_damaged_checkpoint_is_passed_over(small, run, how, caplog):
    damaged(run, how)
    with caplog.at_level(logging.INFO, "baselines"):
        small.run(run, COMMAND)
    warned, told = (record.getMessage() for record in caplog.records)
    assert "step_000000000128 is damaged" in warned
    assert "the one before it is used" in warned
    assert told == "going on from step 64 of 256"
    assert json.loads((run / "result.json").read_text())["warnings"] == []


def test_without_any_sound_checkpoint_it_starts_anew(small, run):
    for manifest in run.glob("checkpoint/*/manifest.json"):
        manifest.write_text("{")
    small.run(run, COMMAND)
    with (run / "progress.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["time/total_timesteps"]) for row in rows] == [64, 128, 192, 256]


def test_other_versions_are_refused_with_both_named(small, run):
    for manifest in run.glob("checkpoint/*/manifest.json"):
        data = json.loads(manifest.read_text())
        data["versions"]["torch"] = "1.0"
        manifest.write_text(json.dumps(data))
    now = np.__version__
    with pytest.raises(CheckpointRefusedError, match=r"torch 1\.0 \(now .*\).*--no-resume"):
        small.run(run, COMMAND)
    assert now  # only torch differs
    assert len(list(run.glob("checkpoint/*"))) == 2


def refit(folder, name, text):
    """Change a file of all checkpoints so that its digest is right."""
    for manifest in folder.glob("checkpoint/*/manifest.json"):
        data = json.loads(manifest.read_text())
        if name == "manifest.json":
            data |= text
        else:
            (manifest.parent / name).write_bytes(text)
            data["files"][name] = hashlib.sha256(text).hexdigest()
        manifest.write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("training.zip", b"junk"),
        ("agent.zip", pickle.dumps(print)),
        ("manifest.json", {"restarted_at": 7}),
        ("manifest.json", {"wall_seconds": "x"}),
        ("manifest.json", {"files": {}}),
    ],
)
def test_checkpoints_that_were_made_up_are_passed_over(small, run, name, text, caplog):
    refit(run, name, text)
    small.run(run, COMMAND)
    assert sum("checkpoint" in record.getMessage() for record in caplog.records) == 2
    with (run / "progress.csv").open() as file:
        assert next(csv.DictReader(file))["time/total_timesteps"] == "64"


def test_a_lost_config_loses_no_checkpoint(small, run, caplog):
    (run / "config.json").unlink()
    with caplog.at_level(logging.INFO, "baselines"):
        small.run(run, COMMAND)
    assert [record.getMessage() for record in caplog.records] == ["going on from step 128 of 256"]


def test_checkpoints_of_other_settings_are_not_deleted_without_a_word(run, printed):
    words = ["train", "--agent", "PPOLag", "--env", "Safe/DeepSeaTreasure-v0", "--out", str(run)]
    rest = ["--total-timesteps", "64", "--eval-episodes", "2", "--set", "n_envs=2", "n_steps=32"]
    assert main([*words, *rest]) == 2
    assert "holds checkpoints of another run, which differs in total_timesteps" in printed()
    assert len(list(run.glob("checkpoint/*"))) == 2
    assert main([*words, *rest, "--no-resume"]) == 0


def test_checkpoints_that_a_kill_left_after_the_end_are_removed(small, run, tmp_path, printed):
    kept = shutil.copytree(run / "checkpoint", tmp_path / "kept")
    small.run(run, COMMAND)
    shutil.copytree(kept, run / "checkpoint")
    words = ["train", "--agent", "PPOLag", "--env", "Safe/DeepSeaTreasure-v0", "--out", str(run)]
    rest = ["--total-timesteps", "256", "--eval-episodes", "2", "--set", "n_envs=2", "n_steps=32"]
    assert main([*words, *rest]) == 0
    assert "holds this run already; kept" in printed()
    assert not (run / "checkpoint").exists()


def test_another_job_does_not_go_on_from_there(run):
    other = job_of("PPOLag", "Safe/DeepSeaTreasure-v0", 128, n_envs=2, n_steps=64)
    other.run(run, COMMAND)
    with (run / "progress.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["time/total_timesteps"]) for row in rows] == [128]


def test_the_command_goes_on_and_no_resume_starts_anew(small, run, tmp_path, capfd):
    anew = shutil.copytree(run, tmp_path / "anew")
    words = ["train", "--agent", "PPOLag", "--env", "Safe/DeepSeaTreasure-v0", "--out"]
    rest = ["--total-timesteps", "256", "--eval-episodes", "2", "--set", "n_envs=2", "n_steps=32"]
    assert main([*words, str(run), *rest]) == 0
    assert "going on from step 128 of 256" in capfd.readouterr().out
    assert main([*words, str(anew), *rest, "--no-resume"]) == 0
    assert "going on" not in capfd.readouterr().out
    assert files_of(run) == files_of(anew)


RUNS = "Safe_DeepSeaTreasure-v0/PPOLag"  # within a comparison
COMPARED = ("compare", "--envs", "Safe/DeepSeaTreasure-v0", "--agents", "PPOLag", "npg_pd")


@pytest.mark.usefixtures("jobs_run_here")
def test_a_comparison_that_is_killed_at_any_moment_ends_the_same(tmp_path, capfd):
    words = [*COMPARED, "--evaluations", "200", "--total-timesteps", "512", "--eval-episodes", "2"]
    words += ["--seeds", "0", "1", "--set", "PPOLag.n_envs=2", "PPOLag.n_steps=32", "--out"]
    started = time.monotonic()
    assert main([*words, str(tmp_path / "whole")]) == 0
    whole = time.monotonic() - started
    moments = random.Random(0)
    for _ in range(3):
        moment = moments.uniform(0.1, 0.4) * whole
        child = os.fork()
        if child == 0:
            signal.setitimer(signal.ITIMER_REAL, moment)  # kills the process
            main([*words, str(tmp_path / "killed")])
            os._exit(0)
        os.waitpid(child, 0)
    assert main([*words, str(tmp_path / "killed")]) == 0
    assert tables_of(tmp_path / "killed") == tables_of(tmp_path / "whole")
    for seed in ("seed_0", "seed_1"):
        first, second = (tmp_path / one / RUNS / seed for one in ("killed", "whole"))
        assert files_of(first) == files_of(second)


def tables_of(folder):
    """The tables of a comparison, times left out."""
    found = {}
    for name in ("results.csv", "deep_results.csv"):
        with (folder / name).open(newline="") as file:
            rows = list(csv.DictReader(file))
        found[name] = [{k: v for k, v in row.items() if k not in EFFORT} for row in rows]
    return found


class Hidden(gym.Env):
    """Two-step episodes whose noise comes from an iterator, which nobody can copy."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,))
    action_space = gym.spaces.Discrete(2)
    noise = None

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if self.noise is None or seed is not None:
            self.noise = iter(self.np_random.normal(size=(10**5, 2)).astype(np.float32))
        self.steps = 0
        return next(self.noise), {"cost": 0.0}

    def step(self, action):
        self.steps += 1
        return next(self.noise), float(action), False, self.steps == 20, {"cost": 0.0}


def test_environments_that_cannot_be_restored_are_told_and_marked(tmp_path, caplog):
    gym.register("Hidden-v0", Hidden)
    try:
        job = job_of("PPOLag", "Hidden-v0", 256, n_envs=1, n_steps=64, cost_limit=1.0)
        assert in_a_process(job, tmp_path / "run", SignalAt(150, signal.SIGKILL)) == -9
        with caplog.at_level(logging.INFO, "baselines"):
            job.run(tmp_path / "run", COMMAND)
            job.run(tmp_path / "whole", COMMAND)
    finally:
        del gym.registry["Hidden-v0"]
    told = [record.getMessage() for record in caplog.records]
    assert "new ones begin" in told[1]
    assert "Hidden-v0 cannot be restored in the middle of an episode" in told[2]
    results = [json.loads((tmp_path / one / "result.json").read_text()) for one in ("run", "whole")]
    assert [result["restarted_at"] for result in results] == [[128], []]
    assert [result["timesteps"] for result in results] == [256, 256]


class Growing(Hidden):
    """From its fifth episode on, it holds an array that no file can keep."""

    episodes = 0

    def reset(self, *, seed=None, options=None):
        observation, info = super().reset(seed=seed)
        self.noise = None
        self.episodes += 1
        if self.episodes > 5:
            self.records = np.zeros(2, [("a", float)])
        return observation, info

    def step(self, action):
        self.steps += 1
        observation = self.np_random.normal(size=2).astype(np.float32)
        return observation, float(action), False, self.steps == 20, {"cost": 0.0}


def test_environments_that_become_more_than_data_do_not_end_the_training(tmp_path, caplog):
    gym.register("Growing-v0", Growing)
    try:
        job = job_of("PPOLag", "Growing-v0", 256, n_envs=1, n_steps=64, cost_limit=1.0)
        job.run(tmp_path / "run", COMMAND)
    finally:
        del gym.registry["Growing-v0"]
    (told,) = (record.getMessage() for record in caplog.records)
    assert "Growing-v0 cannot be restored in the middle of an episode: arrays of records" in told
    assert json.loads((tmp_path / "run" / "result.json").read_text())["timesteps"] == 256


@pytest.mark.parametrize("given", ["soon", "-1", "nan"])
@pytest.mark.parametrize("command", ["train", "compare"])
def test_an_interval_that_is_none_is_refused(tmp_path, monkeypatch, printed, given, command):
    monkeypatch.setenv(INTERVAL_VARIABLE, given)
    agent = ["--agent" if command == "train" else "--agents", "PPOLag"]
    env = ["--env" if command == "train" else "--envs", "Safe/DeepSeaTreasure-v0"]
    words = [command, *agent, *env, "--total-timesteps", "64", "--out", str(tmp_path / "run")]
    assert main(words) == 2
    assert f"{INTERVAL_VARIABLE} is {given!r}; set it to a number" in printed()
    assert not (tmp_path / "run").exists()


def test_an_empty_interval_is_none(monkeypatch):
    monkeypatch.setenv(INTERVAL_VARIABLE, "")
    assert chosen_interval() is None
