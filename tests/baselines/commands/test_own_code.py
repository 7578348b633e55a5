"""Environments, agents and policies of one's own, from a folder outside of the checkout."""

import contextlib
import io
import json
import re
import sys
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3
import torch
from rich.console import Console

import agents
from agents.training_env import contract_of
from baselines.__main__ import main
from baselines.commands.comparison_plan import CompareOptions, plan
from baselines.commands.evaluate import evaluated_again
from baselines.commands.train import TrainOptions, train
from baselines.jobs.found_run import find_run
from baselines.jobs.job import job_folder
from baselines.jobs.run_folder import is_done
from baselines.jobs.settings import make_training_env
from baselines.jobs.training_record import RecordedEnv, TrainingRecord
from baselines.names.environments import parse_environment_name
from baselines.report.run_curves import read_run_curve
from leaderboard.submissions.from_runs import submission_of
from tests.baselines.own_folder import write_own_folder

SMALL = ("n_steps=32", "n_epochs=1", "batch_size=32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_own_folder(tmp_path_factory.mktemp("own"))


@pytest.fixture
def in_folder(folder, monkeypatch):
    """The current folder is the user's; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = {*sys.modules}
    yield folder
    for name in {*sys.modules} - before:
        if "own_" in name:
            del sys.modules[name]


def trained(out, agent, env="own_step:Own/Step-v0", overrides=(), steps=64, episodes=40):
    text = io.StringIO()
    options = TrainOptions(agent, env, out, steps, 3, overrides, episodes)
    return train(options, Console(file=text, width=200)), text.getvalue()


def result_json(folder):
    return json.loads((folder / "result.json").read_text())


@pytest.fixture(scope="module")
def compared(folder):
    """All forms at once in two worker processes; as in a console script, the current folder is not
    among the places of modules.
    """
    words = "--envs own_step:Own/Step-v0 own_step.py:make_step?limit=0.3 --agents"
    words += " own_agents:SPMAPID own_agents.py:Constant --set"
    words += " SPMAPID.n_steps=32 Constant.action=1"
    words += " --total-timesteps 64 --eval-episodes 40 --workers 2 --out compared"
    text = io.StringIO()
    with pytest.MonkeyPatch.context() as patched, contextlib.redirect_stdout(text):
        patched.chdir(folder)
        patched.setattr(sys, "path", [one for one in sys.path if one not in ("", str(folder))])
        assert main(["compare", *words.split()]) == 0, text.getvalue()
    return folder / "compared", text.getvalue()


def test_a_comparison_in_workers_has_every_agent_on_every_environment(compared):
    out, text = compared
    assert "4 jobs: ran 4, kept 0" in text
    for env, limit in (("own_step_Own_Step-v0", 0.4), ("own_step.py_make_step_limit=0.3", 0.3)):
        for agent in ("own_agents_SPMAPID", "own_agents.py_Constant"):
            found = result_json(out / env / agent / "seed_0")
            assert found["limits"] == [limit]
            for mode in ("stochastic", "deterministic"):
                shown = found[mode]
                assert shown["returns"] == [cost for (cost,) in shown["costs"]]
        assert found["agent"] == "own_agents.py:Constant"
        assert found["stochastic"]["mean_return"] == 1.0
        assert found["stochastic"]["violation"] == pytest.approx([1.0 - limit])
    assert "own_agents:SPMAPID" in (out / "report.html").read_text()


def test_a_second_comparison_keeps_all_until_a_file_changes(compared, in_folder):
    out, _ = compared
    wanted = CompareOptions(
        ("own_step.py:make_step?limit=0.3",),
        ("own_agents.py:Constant",),
        out,
        total_timesteps=64,
        eval_episodes=40,
        overrides=("Constant.action=1",),
    )
    (job,) = plan(wanted).jobs
    assert is_done(job_folder(out, job), job)
    for file in ("own_step.py", "own_agents.py"):
        text = (in_folder / file).read_text()
        try:
            (in_folder / file).write_text(text + "\nCHANGED = True\n")
            (other,) = plan(wanted).jobs
            assert not is_done(job_folder(out, other), other)
            with pytest.raises(ValueError, match=f"{file}:.* has changed since this job"):
                job.evaluate(job_folder(out, job), 1, 7)  # as it was planned before the change
        finally:
            (in_folder / file).write_text(text)


def test_evaluation_needs_consent_and_repeats_the_run_s_own(compared, in_folder, capsys):
    out, _ = compared
    run = out / "own_step.py_make_step_limit=0.3" / "own_agents.py_Constant" / "seed_0"
    with pytest.raises(ValueError, match="own_step.py is imported, .* pass --import-env"):
        evaluated_again(run, 3, 7)
    with pytest.raises(ValueError, match="own_agents.py is imported and reads model.zip, .* pass"):
        evaluated_again(run, 3, 7, import_env=True)
    again = evaluated_again(run, 3, 7, import_env=True, import_agent=True)
    assert again.stochastic.returns == [1.0, 1.0, 1.0]
    text = (in_folder / "own_step.py").read_text()
    words = ["evaluate", str(run), "--episodes", "3", "--import-env", "--import-agent"]
    try:
        (in_folder / "own_step.py").write_text(text.replace("float(action)", "2.0 * action"))
        assert main(words) == 0
    finally:
        (in_folder / "own_step.py").write_text(text)
    shown = capsys.readouterr().out
    assert "make_step has changed since this job was planned or run" in shown
    (file,) = run.glob("evaluation_seed_*.json")
    written = json.loads(file.read_text())
    assert written["stochastic"]["returns"] == [2.0, 2.0, 2.0]


def test_own_environment_is_learned_to_its_optimum(in_folder, tmp_path):
    """Return and cost are the probability of action 1; a limit of 2 does not bind, so it is 1."""
    overrides = ("n_steps=64", "batch_size=64", "n_epochs=2", "learning_rate=0.05")
    env = "own_step:Own/Step-v0?limit=2"
    code, text = trained(tmp_path / "run", "PPOLag", env, overrides, steps=640)
    assert code == 0, text
    found = result_json(tmp_path / "run")
    assert found["limits"] == [2.0]
    assert found["deterministic"]["mean_return"] == 1.0
    assert found["stochastic"]["mean_return"] == found["stochastic"]["mean_costs"][0] > 0.9


def test_a_plain_agent_trains_as_without_the_runner(in_folder, tmp_path):
    code, text = trained(
        tmp_path / "run", "stable_baselines3:PPO", overrides=SMALL, steps=128, episodes=40
    )
    assert code == 0, text
    run = tmp_path / "run"
    name = parse_environment_name("own_step:Own/Step-v0")
    settings = {"n_steps": 32, "n_epochs": 1, "batch_size": 32}
    by_hand = stable_baselines3.PPO("MlpPolicy", name.make(), seed=3, **settings).learn(128)
    kept = stable_baselines3.PPO.load(run / "model.zip")
    for one, other in zip(
        by_hand.policy.state_dict().values(), kept.policy.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other)
    found = result_json(run)
    assert found["timesteps"] == 128
    assert found["policy_onnx"] == "policy.onnx"
    probability = by_hand.policy.get_distribution(torch.zeros(1, dtype=torch.long))
    expected = probability.distribution.probs[0, 1].item()
    error = np.sqrt(expected * (1 - expected) / 40)
    assert abs(found["stochastic"]["mean_return"] - expected) < 4 * error
    rows = (run / "progress.csv").read_text().splitlines()
    assert "rollout/ep_cost_mean" in rows[0]

    # its policy, as a policy of another library
    code, text = trained(tmp_path / "file", str(run / "policy.onnx"), episodes=400)
    assert code == 0, text
    drawn = result_json(tmp_path / "file")
    assert drawn["agent"] == "policy.onnx"
    assert drawn["deterministic"]["mean_return"] == found["deterministic"]["mean_return"]
    assert abs(drawn["stochastic"]["mean_return"] - expected) < 4 * error * np.sqrt(40 / 400)
    with pytest.raises(ValueError, match=r"policy.onnx is a finished policy \(ONNX\), not trained"):
        read_run_curve(find_run(tmp_path / "file"))
    with pytest.raises(ValueError, match="ONNX Runtime runs the graph .* pass --import-agent"):
        evaluated_again(tmp_path / "file", 3, 7, import_env=True)
    with pytest.raises(ValueError, match="'own_step:Own/Step-v0' has no board; the boards are"):
        submission_of([run], stochastic=True, fields={})


def test_own_agent_on_a_board_is_submitted_under_its_class(in_folder, tmp_path):
    run = tmp_path / "run"
    sea = "Safe/DeepSeaTreasure-v0"
    code, text = trained(run, "own_agents:SPMAPID", sea, ("n_steps=64",), 64, 5)
    assert code == 0, text
    told = submission_of([run], stochastic=True, fields={}).metadata
    assert (told.algorithm, told.env) == ("SPMAPID", sea)
    with pytest.raises(ValueError, match="'own_agents' is imported .* pass --import-agent"):
        evaluated_again(run, 3, 7)
    again = evaluated_again(run, 5, None, import_agent=True)
    assert result_json(run)["stochastic"]["returns"] == again.stochastic.returns


def test_a_module_of_ours_makes_no_difference(in_folder, tmp_path):
    ours = parse_environment_name("safe_envs:Safe/CliffWorld-v0?slip=0.1")
    assert ours == parse_environment_name("Safe/CliffWorld-v0?slip=0.1")
    names = CompareOptions(("safe_envs:Safe/CliffWorld-v0",), ("agents:PPOLag",), tmp_path)
    plain = CompareOptions(("Safe/CliffWorld-v0",), ("PPOLag",), tmp_path)
    assert plan(names).jobs == plan(plain).jobs
    venv = agents.make_vec_env("safe_envs:Safe/CliffWorld-v0", 3)  # the native vector form
    assert venv.num_envs == 3
    venv.close()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--env own_stp:Own/Step-v0 --agent PPOLag", "no module 'own_stp', .* mean 'own_step'"),
        ("--env own_step:Own/Stp-v0 --agent PPOLag", "'Own/Stp-v0' .*mean 'Own/Step-v0'"),
        ("--env own_step.py:make_stp --agent PPOLag", "'make_stp' .*did you mean 'make_step'"),
        ("--env own_stp.py:make_step --agent PPOLag", "no file .*did you mean 'own_step.py'"),
        ("--env Own/Stap-v9 --agent PPOLag", "that a module of yours registers: module:Own/Stap"),
        ("--env own_step:make_step?limt=1 --agent PPOLag", "failed: TypeError.*'limt'"),
        ("--env own_step:np --agent PPOLag", "neither registers the environment 'np'"),
        ("--env own_step: --agent PPOLag", "write module:Name or file.py:Name"),
        ("--env Safe/CliffWorld-v0 --agent own_agents:SPMAPD", "did you mean 'SPMAPID'"),
        ("--env Safe/CliffWorld-v0 --agent own_step:Step", "has no learn, predict, save, load"),
        ("--env Safe/CliffWorld-v0 --agent own_agents:SPMAPID --set n_step=3", "'n_steps'"),
        ("--env Safe/CliffWorld-v0 --agent own_agents:Constant --set acton=3", "'action'"),
        ("--env Safe/CliffWorld-v0 --agent nothing.onnx", "no file nothing.onnx"),
    ],
)
def test_a_wrong_name_is_refused_before_training(in_folder, tmp_path, capsys, words, message):
    out = tmp_path / "run"
    assert main(["train", *words.split(), "--total-timesteps", "64", "--out", str(out)]) == 2
    shown = capsys.readouterr().out
    assert re.search(message, shown), shown
    assert not out.exists()


BROKEN = {
    "import": ("1 / 0\n", 'own_broken.py, line 1, "1 / 0": ZeroDivisionError'),
    "syntax": ("def make(:\n", 'own_broken.py, line 1, "def make(:": SyntaxError'),
    "missing": ("import nothing_here\n", 'line 1, "import nothing_here": ModuleNotFoundError'),
    "exit": ("raise SystemExit(13)\n", 'line 1, "raise SystemExit(13)": SystemExit: 13'),
    "function": (
        "def make():\n    return undefined\n",
        'line 2, "return undefined": NameError',
    ),
    "nothing": ("def make():\n    return 3\n", "returned a int; it has to return a gymnasium.Env"),
    "no cost": (
        "from own_step import Step\n\n\nclass Silent(Step):\n"
        "    def step(self, action):\n        return 0, 0.0, True, False, {}\n\n\n"
        "def make():\n    return Silent()\n",
        "info has no 'cost'",
    ),
    "step": (
        "from own_step import Step\n\n\nclass Loud(Step):\n"
        "    def step(self, action):\n        return self.nothing\n\n\n"
        "def make():\n    return Loud()\n",
        'own_broken.py, line 6, "return self.nothing": AttributeError',
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_an_error_in_own_code_shows_the_line(in_folder, tmp_path, capsys, fault):
    source, message = BROKEN[fault]
    (in_folder / "own_broken.py").write_text(source)
    out = tmp_path / "run"
    words = "train --env own_broken.py:make --agent PPOLag --total-timesteps 64 --out"
    assert main([*words.split(), str(out)]) == 2
    shown = capsys.readouterr().out
    assert message in shown
    assert len(shown.strip().splitlines()) == 1
    assert not out.exists()


def test_an_agent_that_cannot_be_saved_is_refused_before_training(in_folder, tmp_path, capsys):
    (in_folder / "own_forgetful.py").write_text(
        "from own_agents import Constant\n\n\n"
        "class Unsaved(Constant):\n    def save(self, path):\n        pass\n\n\n"
        "class Other(Constant):\n    @classmethod\n    def load(cls, path):\n"
        "        return cls(None, None, action=0)\n\n\n"
        "class Single(Constant):\n    def predict(self, observation):\n        return 1\n\n\n"
        "class Restless(Constant):\n    asked = 0\n\n"
        "    def predict(self, observation, **rest):\n        self.asked += 1\n"
        "        return [self.asked % 2] * len(observation), None\n"
    )
    for name, message in (
        ("Unsaved", "Unsaved.save('model.zip') wrote nothing; it has to write the file"),
        ("Other", "Other.load(path) acts differently from the agent that was saved"),
        ("Single", "Single.predict failed: TypeError"),
        ("Restless", "Restless.predict(..., deterministic=True) answers the same observations"),
    ):
        out = tmp_path / name
        words = f"train --env own_step:make_step --agent own_forgetful:{name} --total-timesteps 4"
        assert main([*words.split(), "--out", str(out)]) == 2
        assert message in capsys.readouterr().out
        assert not out.exists()


def test_two_of_one_name_are_not_mixed_up(in_folder, tmp_path, capsys):
    (in_folder / "other").mkdir()
    (in_folder / "other" / "own_step.py").write_text((in_folder / "own_step.py").read_text())
    words = "compare --envs own_step.py:make_step other/own_step.py:make_step --agents PPOLag --out"
    assert main([*words.split(), str(tmp_path / "out")]) == 2
    assert "envs has two of the name 'own_step.py:make_step'" in capsys.readouterr().out


def test_workers_of_vector_environments_know_the_name(in_folder, monkeypatch):
    """A spawned process knows nothing of this one; the name imports the module there."""
    monkeypatch.syspath_prepend(str(in_folder))
    make = parse_environment_name("own_step:Own/Step-v0?limit=0.3").make
    venv = stable_baselines3.common.vec_env.SubprocVecEnv([make], start_method="spawn")
    try:
        agent = agents.PPOLag("MlpPolicy", venv, n_steps=16, batch_size=16, n_epochs=1, seed=0)
        agent.learn(16)
        assert agent.cost_limit == [0.3]
        assert agent.num_timesteps == 16
    finally:
        venv.close()
    mode = gym.vector.AutoresetMode.SAME_STEP
    vector = gym.vector.AsyncVectorEnv([make], context="spawn", autoreset_mode=mode)
    try:
        vector.reset(seed=0)
        rewards, infos = vector.step(np.array([1]))[1::3]
        assert rewards == [1.0]
        assert "final_info" in infos
    finally:
        vector.close()


def test_recorded_steps_break_off_where_the_cost_is_missing(in_folder, tmp_path):
    """What goes wrong in the middle is named by its step."""
    (in_folder / "own_late.py").write_text(
        "from own_step import Step\n\n\nclass Late(Step):\n    taken = 0\n\n"
        "    def step(self, action):\n        self.taken += 1\n"
        "        info = {} if self.taken == 9 else {'cost': 0.0}\n"
        "        return 0, 0.0, True, False, info\n\n\ndef make():\n    return Late()\n"
    )
    code, text = trained(tmp_path / "run", "own_agents:Constant", "own_late.py:make")
    assert code == 1
    assert "CostSignalError: step 9 of training" in text


def test_the_record_changes_nothing(in_folder):
    name = parse_environment_name("own_step.py:make_step")
    contract = contract_of(make_training_env(name, 1), None, required=True)
    record = TrainingRecord(contract, 10)
    env = RecordedEnv(name.make(), record)
    env.reset(seed=0)
    assert env.step(1)[:4] == (0, 1.0, True, False)
    assert record.timesteps == 1
    assert replace(name, kwargs=()).source() is not None


def test_only_a_likely_misspelling_of_a_file_is_suggested(tmp_path):
    (tmp_path / "evil.py").write_text("")
    (tmp_path / "my_envs.py").write_text("")
    with pytest.raises(ValueError, match=r"no file .*; did you mean 'my_envs.py'\? check"):
        parse_environment_name(f"{tmp_path / 'my_env.py'}:make")
    (tmp_path / "my_envs.py").unlink()
    with pytest.raises(ValueError, match=r"my_env.py; check the path"):
        parse_environment_name(f"{tmp_path / 'my_env.py'}:make")


def test_a_relative_import_in_a_file_is_told_how_to_write_it(tmp_path):
    file = tmp_path / "own_relative.py"
    file.write_text("from .other import make\n")
    with pytest.raises(ValueError, match="line 1.*write `from x import ...` instead"):
        parse_environment_name(f"{file}:make")
