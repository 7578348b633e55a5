"""Controllers through the runner: their numbers beside plain loops, their files and refusals."""

import csv
import inspect
import io
import json
from dataclasses import asdict, replace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from rich.console import Console
from stable_baselines3.common.evaluation import evaluate_policy

from agents import controllers, make_vec_env
from agents.training_env import Contract
from baselines.__main__ import main
from baselines.commands.compare import CompareOptions, compare
from baselines.commands.evaluate import evaluated_again
from baselines.jobs.controller_job import ControllerJob, evaluate_controller
from baselines.jobs.episodic_job import evaluation_seed
from baselines.jobs.kinds import episodic_job_from
from baselines.jobs.run_folder import read_config
from baselines.measures.episode_sampling import sample_episodes, seeds_of
from baselines.names.agents import CONTROLLERS, default_hyperparameters
from baselines.names.environments import parse_environment_name

INTEGRATOR = "Safe/DoubleIntegrator-v0"
SHORT = {"max_episode_steps": 25}
QUADROTOR = "Safe/Quadrotor-v0?max_episode_steps=25"


def job_of(agent, env, seed=0, episodes=10, **settings):
    chosen = {**default_hyperparameters(agent), **settings}
    return ControllerJob(parse_environment_name(env), agent, seed, chosen, episodes)


def test_an_episode_is_that_of_a_plain_loop():
    job = job_of("GeometricController", QUADROTOR)
    env = gym.make("Safe/Quadrotor-v0", **SHORT)
    controller = controllers.GeometricController(env)
    for seed in (7, 8):
        measured = evaluate_controller(job, 1, deterministic=True, seed=seed)
        observation, _ = env.reset(seed=seeds_of(seed).first_env)
        total, cost, length, over = 0.0, 0.0, 0, False
        while not over:
            action, _ = controller.predict(observation)
            observation, reward, terminated, truncated, info = env.step(action)
            total, cost, length = total + float(reward), cost + info["cost"], length + 1
            over = terminated or truncated
        assert measured.returns == pytest.approx([total], abs=1e-5)
        assert measured.costs == [[cost]]
        assert measured.lengths == [length] == [25]


@pytest.mark.parametrize("agent", ["GeometricController", "LQRController", "MPCController"])
def test_episodes_in_copies_are_those_of_a_plain_loop(agent):
    measured = evaluate_controller(job_of(agent, QUADROTOR), 3, deterministic=False, seed=7)
    copies = gym.make_vec("Safe/Quadrotor-v0", num_envs=3, **SHORT)
    controller, memory = getattr(controllers, agent)(copies), None
    observations, _ = copies.reset(seed=seeds_of(7).first_env)
    returns, costs = np.zeros(3), np.zeros(3)
    for step in range(25):
        actions, memory = controller.predict(observations, memory, np.full(3, step == 0))
        observations, rewards, _, truncated, info = copies.step(actions)
        returns, costs = returns + rewards, costs + info["cost"]
    assert truncated.all()
    assert measured.returns == pytest.approx(returns, abs=1e-5)
    assert np.array(measured.costs)[:, 0].tolist() == costs.tolist()
    assert measured.lengths == [25] * 3


def test_regulator_costs_nothing_and_returns_what_stable_baselines_measures():
    measured = evaluate_controller(
        job_of("LQRController", INTEGRATOR), 10, deterministic=True, seed=4
    )
    venv = make_vec_env(INTEGRATOR, 10)
    venv.seed(seeds_of(4).first_env)
    returns, lengths = evaluate_policy(
        controllers.LQRController(INTEGRATOR), venv, 10, return_episode_rewards=True, warn=False
    )
    assert measured.plain_returns == pytest.approx(returns)
    assert measured.lengths == lengths
    assert np.array(measured.costs).shape == (10, len(venv.get_attr("constraints")[0]))
    assert not np.any(measured.costs)
    assert measured.feasible


def test_noise_follows_from_the_seed_and_is_left_out_if_deterministic():
    def returns(seed, deterministic):
        job = job_of("MaliciousExpert", INTEGRATOR, seed)
        return evaluate_controller(job, 5, deterministic, seed=3).returns

    assert returns(0, deterministic=True) == returns(1, deterministic=True)
    assert returns(0, deterministic=False) == returns(0, deterministic=False)
    noisy = [returns(0, deterministic=False), returns(1, deterministic=False)]
    assert noisy[0] != noisy[1] != returns(0, deterministic=True)


class Ticker(gym.Env):
    """Episodes of 2 + (seed mod 3) steps without reward and cost."""

    observation_space = spaces.Box(-1, 1, (1,))
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.length = self.length if seed is None else 2 + seed % 3
        self.t = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.t += 1
        return np.zeros(1, np.float32), float(action), self.t == self.length, False, {}


class Remembering:
    """Its memory counts the steps of an episode; the first action of an episode is 1."""

    def __init__(self):
        self.starts = []

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        self.starts.append(np.array(episode_start))
        steps = np.zeros(len(observation), np.int64) if state is None else state[0]
        steps = np.where(episode_start, 0, steps)
        return (steps == 0).astype(np.int64), (steps + 1,)


def test_memory_is_handed_on_within_episodes():
    gym.register("MemoryTicker-v0", Ticker)
    try:
        venv, actor = make_vec_env("MemoryTicker-v0", 3), Remembering()
        drawn = sample_episodes(actor, venv, Contract((), 1.0), 6, seed=2, deterministic=True)
    finally:
        del gym.registry["MemoryTicker-v0"]
    assert sorted(drawn.lengths.tolist()) == [2, 2, 3, 3, 4, 4]
    assert drawn.returns.tolist() == [1.0] * 6  # one first step per episode
    starts = np.array(actor.starts)  # (steps, copies)
    lengths = 2 + (seeds_of(2).first_env + np.arange(3)) % 3
    assert starts.tolist() == (np.arange(8)[:, None] % lengths == 0).tolist()


def run(options):
    text = io.StringIO()
    code = compare(options, Console(file=text, width=200))
    return code, text.getvalue()


@pytest.mark.usefixtures("jobs_run_here")
def test_comparison_alone_and_beside_a_deep_agent(tmp_path):
    options = CompareOptions(
        envs=(f"{INTEGRATOR}?max_episode_steps=20",),
        agents=("LQRController", "MaliciousExpert"),
        out=tmp_path,
        eval_episodes=5,
    )
    code, text = run(options)
    assert (code, "2 jobs: ran 2, kept 0" in text) == (0, True)
    alone = (tmp_path / "report.html").read_text()
    assert "<h3>Controllers</h3>" in alone
    assert (
        "2 controllers from the environment&#39;s model" in alone or "2 controllers from" in alone
    )
    assert "deep agent" not in alone
    assert alone.count("data:image/svg+xml") == 1  # Pareto
    assert not list(tmp_path.glob("plots/*curves*"))

    both = replace(
        options, agents=(*options.agents, "PPOLag"), total_timesteps=64,
        overrides=("PPOLag.n_steps=32", "PPOLag.n_envs=1"),
    )  # fmt: skip
    code, text = run(both)
    assert (code, "3 jobs: ran 1, kept 2" in text) == (0, True)
    html = (tmp_path / "report.html").read_text()
    assert "<h3>Deep agents and controllers</h3>" in html
    assert "no learning curve" not in html
    for agent in both.agents:
        assert html.count(f'<td data-value="{agent}">{agent}</td>') == 4  # tables of two modes
    assert html.count("data:image/svg+xml") == 3 + 1  # learning curves of PPOLag, Pareto
    assert list(tmp_path.glob("plots/*curves.svg"))
    rows = list(csv.DictReader((tmp_path / "deep_results.csv").read_text().splitlines()))
    assert len(rows) == 3 * 2
    regulator = [row for row in rows if row["agent"] == "LQRController"]
    assert {(row["timesteps"], row["mean_costs"].strip("0.;")) for row in regulator} == {("0", "")}
    assert len({row["mean_return"] for row in regulator}) == 1  # in both modes


def test_train_and_evaluate(tmp_path, capsys):
    out = tmp_path / "run"
    env = "Safe/QuadrotorZCBF-v0?max_episode_steps=10"
    command = ["train", "--agent", "MPCController", "--env", env, "--set", "horizon=5"]
    command += ["--eval-episodes", "2", "--out", str(out), "--total-timesteps"]
    assert main([*command, "500"]) == 0
    assert "no training; files" in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} - {".lock"} == {
        "config.json",
        "sha256.json",
        "result.json",
    }
    result = json.loads((out / "result.json").read_text())
    assert result["timesteps"] == 0
    assert result["policy_onnx"] is None
    assert (
        "MPCController computes its actions from the environment's model"
        in (result["policy_onnx_refused"])
    )
    assert result["hyperparameters"]["horizon"] == 5
    assert episodic_job_from(read_config(out)) == job_of("MPCController", env, 0, 2, horizon=5)
    assert main([*command, "900"]) == 0  # no step of either
    assert "holds this run already; kept" in capsys.readouterr().out
    again = asdict(evaluated_again(out, 2, evaluation_seed(0)))
    assert again["stochastic"] == result["stochastic"]
    assert main(["evaluate", str(out), "--episodes", "1", "--seed", "5"]) == 0
    assert (out / "evaluation_seed_5.json").exists()


def test_limits_can_be_set_and_are_the_declared_ones_otherwise():
    (declared,) = gym.make("Safe/Quadrotor-v0").unwrapped.constraints
    job = job_of("GeometricController", QUADROTOR)
    own = evaluate_controller(job, 1, deterministic=True, seed=3)
    assert own.violation == pytest.approx([own.mean_costs[0] - declared.limit])
    set_limit = replace(job, hyperparameters={"cost_limit": 3.5})
    other = evaluate_controller(set_limit, 1, deterministic=True, seed=3)
    assert other.violation == pytest.approx([own.mean_costs[0] - 3.5])


def test_controllers_are_those_of_the_package():
    classes = {name: getattr(controllers, name) for name in controllers.__all__}
    found = {
        name
        for name, kind in classes.items()
        if "env" in inspect.signature(kind).parameters and callable(getattr(kind, "predict", None))
    }
    assert set(CONTROLLERS) == found
    assert default_hyperparameters("MaliciousExpert").keys() == {"noise_std", "cost_limit"}


FLIGHT = ["--env", QUADROTOR, "--total-timesteps", "9"]
PUSH = ["--env", INTEGRATOR, "--total-timesteps", "9"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["compare", "--envs", QUADROTOR, INTEGRATOR, "--agents", "GeometricController"],
            "GeometricController on Safe/DoubleIntegrator-v0: GeometricController does not know "
            "DoubleIntegratorEnv; pass one of Safe/Quadrotor-v0",
        ),
        (
            ["compare", "--envs", INTEGRATOR, "--agents", "LQRControler"],
            "unknown agent 'LQRControler'; did you mean 'LQRController'?",
        ),
        (
            ["compare", "--envs", INTEGRATOR, "--agents", "LQRController", "pqa_alm"],
            "has no tabular_model",
        ),
        (
            ["compare", "--envs", INTEGRATOR, "--agents", "LQRController", "PPOLag", "--set",
             "PPOLag.cost_limit=3"],
            "cost_limit differs between the agents",
        ),
        (["train", "--agent", "MPCController", *PUSH], "MPCController does not know DoubleInteg"),
        (["train", "--agent", "MPCController", *FLIGHT, "--set", "horizn=3"], "mean 'horizon'?"),
        (["train", "--agent", "MPCController", *FLIGHT, "--set", "horizon=0"], "horizon is 0"),
        (["train", "--agent", "MaliciousExpert", *PUSH, "--set", "noise_std=-1"], "noise_std is"),
        (
            ["train", "--agent", "LQRController", *PUSH, "--set", "cost_limit=[1, 2, 3, 4, 5]"],
            "cost_limit has 5 entries",
        ),
    ],
)  # fmt: skip
def test_refused_before_anything_is_written(arguments, message, tmp_path, capsys):
    out = tmp_path / "out"
    assert main([*arguments, "--out", str(out)]) == 2
    assert message in capsys.readouterr().out
    assert not out.exists()
