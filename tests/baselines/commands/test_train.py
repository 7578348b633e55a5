"""Training runs end to end: what the files say is what the policy does."""

import csv
import io
import json
import os
import shutil
import signal
from dataclasses import asdict, replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from rich.console import Console

import agents
import baselines.jobs.training
from agents import make_vec_env
from agents.training_env import Contract
from baselines.__main__ import main
from baselines.commands.evaluate import evaluated_again
from baselines.commands.train import TrainOptions, train, training_job
from baselines.jobs.agent_job import AgentJob
from baselines.jobs.kinds import episodic_job_from
from baselines.jobs.run_folder import is_done, read_config
from baselines.jobs.training import prepare_training
from baselines.measures.episode_sampling import sample_episodes
from baselines.names.agents import DEEP_AGENTS
from baselines.names.hyperparameters import hyperparameters_for
from baselines.onnx_runtime import InferenceSession
from baselines.policy_export.policy_export import ExportRefusedError

TABULAR = "Safe/DeepSeaTreasure-v0"
BOX = "Safe/DoubleIntegrator-v0"
TIMES = ("cpu_seconds", "wall_seconds", "steps_per_cpu_second")


def options_for(out, env=TABULAR, agent="SPMAALM", overrides=(), steps=4096, episodes=400):
    return TrainOptions(agent, env, out, steps, 3, overrides, episodes)


def run(options):
    text = io.StringIO()
    code = train(options, Console(file=text, width=200))
    return code, text.getvalue()


def result_json(folder):
    return json.loads((folder / "result.json").read_text())


@pytest.fixture(scope="module")
def tabular(tmp_path_factory):
    """A short run with Discrete observations and actions."""
    options = options_for(tmp_path_factory.mktemp("tabular") / "run")
    assert run(options)[0] == 0
    return options


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    """A short run with Box observations and actions, standardized."""
    overrides = ("n_envs=4", "n_steps=150", "n_epochs=2", "learning_rate=lin_1e-3")
    options = options_for(
        tmp_path_factory.mktemp("box") / "run", BOX, "PPOLag", overrides, 1200, 13
    )
    assert run(options)[0] == 0
    return options


@pytest.fixture(params=["tabular", "box"])
def either(request):
    return request.getfixturevalue(request.param)


def test_summaries_follow_from_the_episodes(either):
    result = result_json(either.out)
    limits = np.array(result["limits"])
    for mode in ("stochastic", "deterministic"):
        shown = result[mode]
        costs = np.array(shown["costs"])  # (episodes, m)
        assert costs.shape == (either.eval_episodes, len(limits))
        assert len(shown["returns"]) == len(shown["lengths"]) == either.eval_episodes
        assert shown["mean_return"] == pytest.approx(sum(shown["returns"]) / len(costs))
        assert shown["mean_costs"] == pytest.approx(costs.mean(axis=0))
        assert shown["violation"] == pytest.approx(costs.mean(axis=0) - limits)
        assert shown["feasible"] == bool((costs.mean(axis=0) <= limits).all())
        assert shown["mean_plain_return"] == pytest.approx(np.mean(shown["plain_returns"]))
        assert shown["mean_length"] == pytest.approx(np.mean(shown["lengths"]))
        for tails, column in zip(shown["cost_tails"], costs.T, strict=True):
            assert tails["worst"] == column.max()
            assert tails["p90"] == pytest.approx(np.percentile(column, 90))


def test_sampled_means_lie_around_the_exact_values(tabular):
    """Between the model's linear solve and played episodes, four standard errors."""
    again = evaluated_again(tabular.out, episodes=3000, seed=7)
    for episodes in (again.stochastic, again.deterministic):
        pairs = [(np.array(episodes.returns), episodes.exact.value)]
        pairs.append((np.array(episodes.costs)[:, 0], episodes.exact.costs[0]))
        for sampled, exact in pairs:
            error = sampled.std(ddof=1) / np.sqrt(len(sampled))
            assert abs(sampled.mean() - exact) < 4 * error
            assert error < 0.02
    assert again.stochastic.exact.violation[0] == again.stochastic.exact.costs[0] - 0.15


def test_evaluation_of_the_saved_run_repeats_the_run_s_own(either):
    own = result_json(either.out)
    again = evaluated_again(either.out, either.eval_episodes, own["stochastic"]["seed"])
    assert asdict(again)["stochastic"] == own["stochastic"]
    assert asdict(again)["deterministic"] == own["deterministic"]


def test_files_of_a_run(box):
    folder = box.out
    names = {path.name for path in folder.iterdir()} - {".lock"}
    files = {"config.json", "progress.csv", "model.zip", "policy.onnx", "sha256.json"}
    assert names == files | {"result.json", "tensorboard"}
    config = json.loads((folder / "config.json").read_text())
    assert config["hyperparameters"]["learning_rate"] == "lin_1e-3"
    assert " -m baselines train --agent PPOLag --env " in config["command"]
    assert config["versions"]["torch"] == torch.__version__
    assert episodic_job_from(read_config(folder)) == training_job(box)
    rows = list(csv.DictReader((folder / "progress.csv").read_text().splitlines()))
    assert [int(row["time/total_timesteps"]) for row in rows] == [600, 1200]
    result = result_json(folder)
    assert result["timesteps"] == 1200
    assert set(result["final_constraint_log"]) == {"multiplier", "weight"}
    assert list((folder / "tensorboard").iterdir())


def test_same_seed_twice_is_identical_but_for_times(tabular, tmp_path):
    again = replace(tabular, out=tmp_path / "again")
    assert run(again)[0] == 0
    one, other = result_json(tabular.out), result_json(again.out)
    for name in TIMES:
        assert one.pop(name) > 0
        assert other.pop(name) > 0
    assert one == other
    onnx = [(folder / "policy.onnx").read_bytes() for folder in (tabular.out, again.out)]
    assert onnx[0] == onnx[1]


def test_onnx_acts_as_the_agent_on_box_observations(box):
    """Against `predict` on fresh observations of the environment itself."""
    session = InferenceSession((box.out / "policy.onnx").read_bytes())
    (given,) = session.get_inputs()
    assert (given.name, given.type, given.shape) == ("observation", "tensor(float)", ["batch", 2])
    assert [output.name for output in session.get_outputs()] == ["mean", "log_std", "action"]
    model = agents.PPOLag.load(box.out / "model.zip")
    venv = make_vec_env(BOX, 8)
    venv.seed(99)
    raw = venv.reset()
    for _ in range(20):
        mean, log_std, action = session.run(None, {"observation": raw.astype(np.float32)})
        expected, _ = model.predict(raw, deterministic=True)
        np.testing.assert_allclose(action, expected, atol=1e-6)
        np.testing.assert_array_equal(np.clip(mean, -1.0, 1.0).astype(np.float32), action)
        np.testing.assert_allclose(log_std, np.tile(model.policy.log_std.detach(), (8, 1)))
        raw, _, _, _ = venv.step(venv.action_space.sample()[None].repeat(8, 0))
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["agent"] == "PPOLag"
    assert (metadata["env"], metadata["seed"]) == (BOX, "3")
    assert json.loads(metadata["constraints"])[0].keys() == {"name", "limit", "discount"}


def test_onnx_acts_as_the_agent_on_every_state(tabular):
    session = InferenceSession((tabular.out / "policy.onnx").read_bytes())
    states = gym.make(TABULAR).observation_space.n
    logits, action = session.run(None, {"observation": np.eye(states, dtype=np.float32)})
    model = agents.SPMAALM.load(tabular.out / "model.zip")
    expected, _ = model.predict(np.arange(states), deterministic=True)
    np.testing.assert_array_equal(action, expected)
    log_probs = [
        model.policy.get_distribution(torch.arange(states)).log_prob(torch.full((states,), a))
        for a in range(logits.shape[1])
    ]
    ours = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(ours, torch.stack(log_probs, 1).detach(), atol=1e-5)


class TwoInputs(gym.Env):
    """Observations are a dictionary; one step."""

    observation_space = spaces.Dict({"a": spaces.Box(-1, 1, (2,)), "b": spaces.Discrete(2)})
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {"cost": 0.0}

    def step(self, action):
        return self.observation_space.sample(), float(action), True, False, {"cost": float(action)}


@pytest.fixture
def two_inputs():
    gym.register("TwoInputs-v0", TwoInputs)
    yield "TwoInputs-v0"
    del gym.registry["TwoInputs-v0"]


def test_dictionaries_are_trained_on_and_exported(two_inputs, tmp_path):
    overrides = ("cost_limit=0.5", "n_steps=32", "n_envs=1")
    assert run(options_for(tmp_path, two_inputs, "PPOALM", overrides, 32, 3))[0] == 0
    model = agents.PPOALM.load(tmp_path / "model.zip")
    rng = np.random.default_rng(0)
    raw = {"a": rng.uniform(-1, 1, (50, 2)).astype(np.float32), "b": rng.integers(2, size=50)}
    flat = np.column_stack((raw["a"], np.eye(2)[raw["b"]])).astype(np.float32)
    session = InferenceSession((tmp_path / "policy.onnx").read_bytes())
    (action,) = session.run(["action"], {"observation": flat})
    np.testing.assert_array_equal(action, model.predict(raw, deterministic=True)[0])


def test_a_policy_that_cannot_be_exported_is_a_valid_run(tmp_path, monkeypatch):
    def refuses(*_):
        raise ExportRefusedError("the network has a layer of its own")

    monkeypatch.setattr(baselines.jobs.training, "export_policy", refuses)
    code, text = run(options_for(tmp_path, steps=1024, episodes=3))
    assert code == 0
    result = result_json(tmp_path)
    assert result["policy_onnx"] is None
    assert result["policy_onnx_refused"] == "the network has a layer of its own"
    assert "no policy.onnx: the network has a layer of its own" in text
    assert not (tmp_path / "policy.onnx").exists()


class Ticker(gym.Env):
    """Episodes of copy-dependent length: 1 + (seed mod 4) steps, cost 1 per step."""

    observation_space = spaces.Box(-1, 1, (1,))
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.length = 1 + seed % 4
        self.t = 0
        return np.zeros(1, np.float32), {"cost": 0.0}

    def step(self, action):
        self.t += 1
        return np.zeros(1, np.float32), 1.0, self.t == self.length, False, {"cost": 1.0}


def test_every_copy_contributes_its_share_whatever_its_episodes_last():
    gym.register("Ticker-v0", Ticker)
    try:
        venv = make_vec_env("Ticker-v0", 4)
        model = agents.PPO("MlpPolicy", venv, cost_limit=1.0, seed=0)
        contract = Contract(model.constraints, model.reward_discount)
        drawn = sample_episodes(model, venv, contract, 10, seed=0, deterministic=True)
    finally:
        del gym.registry["Ticker-v0"]
    assert drawn.lengths.tolist() == [1, 1, 1, 2, 2, 2, 3, 3, 4, 4]
    assert drawn.returns.tolist() == drawn.costs[:, 0].tolist() == drawn.lengths.tolist()


def test_finished_run_is_kept_and_another_is_not_overwritten(tabular, tmp_path):
    copy = replace(tabular, out=tmp_path / "copy")
    shutil.copytree(tabular.out, copy.out)
    before = (copy.out / "result.json").stat().st_mtime_ns
    code, text = run(copy)
    assert code == 0
    assert "holds this run already" in text
    with pytest.raises(ValueError, match="another finished run, which differs in hyperparameters"):
        run(replace(copy, overrides=("penalty=2.0",)))
    assert (copy.out / "result.json").stat().st_mtime_ns == before


def test_failure_leaves_the_traceback_and_no_result(tmp_path, monkeypatch):
    def broken(*_):
        raise OSError("disk full")

    monkeypatch.setattr(baselines.jobs.training, "export_policy", broken)
    options = options_for(tmp_path, steps=1024, episodes=1)
    code, text = run(options)
    assert code == 1
    assert "failed SPMAALM" in text
    assert "OSError: disk full" in text
    assert "Traceback" in (tmp_path / "error.txt").read_text()
    job = training_job(options)
    assert not is_done(tmp_path, job)
    assert job.outcome(tmp_path).reason == "OSError: disk full"


DEEP_SEA = ["--env", TABULAR, "--total-timesteps", "10"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--agent", "PPOLagg", *DEEP_SEA], "unknown agent 'PPOLagg'; did you mean 'PPOLag'?"),
        (["--agent", "pqa_alm", *DEEP_SEA], "pqa_alm is a tabular solver"),
        (["--agent", "PPO", *DEEP_SEA, "--set", "n_step=3"], "did you mean 'n_steps'?"),
        (["--agent", "PPO", *DEEP_SEA, "--set", "seed=3"], "unknown hyperparameter 'seed'"),
        (["--agent", "PPO", *DEEP_SEA, "--set", "PPO.n_steps=3"], "write argument=value"),
        (["--agent", "PPO", *DEEP_SEA, "--set", "n_steps=0"], "n_steps is 0"),
        (["--agent", "PPO", *DEEP_SEA, "--set", "learning_rate=fast"], "'lin_X' for a linear"),
        (["--agent", "PPOALM", *DEEP_SEA, "--set", "penalty=-1"], "penalty is -1"),
        (["--agent", "PPO", *DEEP_SEA, "--set", "policy_kwargs={activation_fn='Tan'}"], "'Tanh'"),
        (["--agent", "PPO", *DEEP_SEA, "--seed", "-1"], "seed is -1"),
        (["--agent", "PPO", *DEEP_SEA, "--eval-episodes", "0"], "eval-episodes is 0"),
        (["--agent", "PPO", "--env", "Pendulum-v1", "--total-timesteps", "9"], "pass cost_limit"),
        (["--agent", "PPOLag", "--env", "Pendulum-v1", "--total-timesteps", "9"], "cost_limit"),
    ],
)
def test_train_refuses_before_it_writes(arguments, message, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["train", *arguments, "--out", str(out)]) == 2
    assert message in capsys.readouterr().out
    assert not out.exists()


def test_evaluate_refuses_what_is_no_run(tmp_path, capsys):
    assert main(["evaluate", str(tmp_path)]) == 2
    assert "has no run of a deep agent" in capsys.readouterr().out


def test_evaluate_writes_every_episode(box, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(box.out, copy)
    assert main(["evaluate", str(copy), "--episodes", "3", "--seed", "5"]) == 0
    assert "deterministic" in capsys.readouterr().out
    written = json.loads((copy / "evaluation_seed_5.json").read_text())
    assert len(written["stochastic"]["returns"]) == 3
    assert written["deterministic"]["seed"] == 5


def test_deep_agents_are_those_of_the_package():
    found = {
        name
        for name in agents.__all__
        if isinstance(kind := getattr(agents, name), type)
        and issubclass(kind, agents.ConstrainedAgent)
        and kind is not agents.ConstrainedAgent
    }
    assert set(DEEP_AGENTS) == found


MADE = [(a, e) for a in DEEP_AGENTS if a != "SCPO" for e in (TABULAR, "SafetyHopperVelocity-v1")]
SAFE_CONTROLLERS = ("Safe/DoubleIntegrator-v0", "Safe/ConstrainedRegression-v0")


@pytest.mark.parametrize(("agent", "env"), [*MADE, *(("SCPO", env) for env in SAFE_CONTROLLERS)])
def test_hyperparameters_of_the_repository_make_agents(agent, env):
    small = {"n_envs": 1, "n_steps": 8}
    job = AgentJob(
        training_job(options_for(None, env, agent)).env,
        agent,
        0,
        8,
        {**hyperparameters_for(agent, env), **small},
    )
    model = prepare_training(job).model
    assert type(model).__name__ == agent
    if agent != "SCPO":  # it keeps the statistics of its safe controller's rollouts
        standardized = {TABULAR: 0, "SafetyHopperVelocity-v1": 11}[env]
        assert len(model.policy.normalizer.mean) == standardized


def test_scpo_without_a_safe_controller_is_refused():
    hopper = training_job(options_for(None, "SafetyHopperVelocity-v1", "SCPO")).env
    job = AgentJob(hopper, "SCPO", 0, 8, hyperparameters_for("SCPO", "SafetyHopperVelocity-v1"))
    with pytest.raises(ValueError, match="offers no backup_policy"):
        prepare_training(job)


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_job_without_checkpoints_ends_with_the_code_of_its_signal(sign, code, tmp_path, capfd):
    before = signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), sign))
    words = ["train", "--agent", "LQRController", "--env", "Safe/DoubleIntegrator-v0"]
    words += ["--total-timesteps", "1", "--eval-episodes", "100000", "--out", str(tmp_path / "run")]
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.7)
        assert main(words) == code
    finally:
        signal.signal(signal.SIGALRM, before)
    told = capfd.readouterr()
    assert "interrupted; the same command starts again:" in told.out
    assert "Traceback" not in told.out + told.err
