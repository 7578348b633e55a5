"""Every kind of job is recognized by its folder, and the runner takes kinds it has never seen."""

import io
import json
from dataclasses import asdict, dataclass

import numpy as np
import pytest
from rich.console import Console

from agents.evaluation_result import EvaluationResult
from baselines.atomic_files import write_json
from baselines.commands.compare import Comparison, run_comparison
from baselines.commands.comparison_plan import Plan
from baselines.jobs.agent_job import AgentJob
from baselines.jobs.controller_job import ControllerJob
from baselines.jobs.episodic_job import EpisodicResult
from baselines.jobs.job import JobRefused, RunRecord, common_config, job_folder
from baselines.jobs.kinds import episodic_job_from
from baselines.jobs.run_folder import open_run, read_outcome
from baselines.jobs.solver_job import SolverJob
from baselines.measures.episode_statistics import summarize_episodes
from baselines.names.environments import EnvironmentName
from safe_envs import ConstraintSpec

ENV = EnvironmentName("Safe/CliffWorld-v0", (("slip", 0.1),))
STORED_ENV = {"id": "Safe/CliffWorld-v0", "kwargs": {"slip": 0.1}}


@pytest.mark.parametrize(
    ("job", "stored"),
    [
        (
            SolverJob(ENV, "npg_pd", 3, 40, {"step_size": 0.1}),
            {
                "agent": "npg_pd",
                "seed": 3,
                "evaluations": 40,
                "hyperparameters": {"step_size": 0.1},
            },
        ),
        (
            AgentJob(ENV, "PPOLag", 3, 4096, {"target_kl": float("inf")}, 20),
            {
                **{"agent": "PPOLag", "seed": 3, "total_timesteps": 4096},
                **{"evaluation_episodes": 20, "evaluation_seed": 2**25 + 3},
                "hyperparameters": {"target_kl": "inf"},
            },
        ),
        (
            ControllerJob(ENV, "LQRController", 3, {"cost_limit": None}, 20),
            {
                **{"agent": "LQRController", "seed": 3, "total_timesteps": 0},
                **{"evaluation_episodes": 20, "evaluation_seed": 2**25 + 3},
                "hyperparameters": {"cost_limit": None},
            },
        ),
    ],
    ids=["solver", "agent", "controller"],
)
def test_configurations_stay_as_earlier_runs_wrote_them(job, stored):
    stored = {"env": STORED_ENV, **stored}
    assert json.dumps(job.record.config) == json.dumps(stored)  # keys in their order
    assert episodic_job_from(stored) == (job if "total_timesteps" in stored else None)


@dataclass(frozen=True)
class CoinJob:
    """A kind of job that no module knows: its returns are coins."""

    env: EnvironmentName
    agent: str
    seed: int
    total_timesteps: int = 0
    evaluation_episodes: int = 4
    section = "episodes"
    category = "deep agent"

    @property
    def record(self):
        return RunRecord({**common_config(self), "hyperparameters": {"sides": 2}}, ("coins.json",))

    def run(self, folder, command, callback=None):
        if self.seed == 2:
            raise JobRefused("no third coin") from ValueError("there are two coins")
        open_run(folder, self, {"command": command})
        coins = np.random.default_rng(self.seed).integers(2, size=(4, 2)).astype(float)
        sums = (coins[:, 0], coins[:, 1:])
        limits = (ConstraintSpec("coin", 0.5),)
        over = (np.ones(4, np.int64), np.zeros(4, np.bool_))
        seen = summarize_episodes(
            EvaluationResult(limits, 1.0, 0, False, *sums, *sums, *over), None
        )
        write_json(folder / "coins.json", {"coins": coins.tolist()})
        result = EpisodicResult(
            **{"agent": self.agent, "env": str(self.env), "seed": self.seed, "timesteps": 0},
            **{"constraint_names": ["coin"], "limits": [0.5], "cost_discounts": [1.0]},
            **{"reward_discount": 1.0, "stochastic": seen, "deterministic": seen},
            **{"final_constraint_log": {}, "cpu_seconds": 0.0, "wall_seconds": 0.0},
            **{"steps_per_cpu_second": 0.0, "policy_onnx": None, "policy_onnx_refused": "coins"},
            **{"hyperparameters": {}, "warnings": [], "versions": {"mint": "1.0"}},
        )
        write_json(folder / "result.json", asdict(result))

    def outcome(self, folder):
        return read_outcome(folder, self, EpisodicResult.from_json)


@pytest.mark.usefixtures("jobs_run_here")
def test_a_new_kind_of_job_runs_resumes_fails_and_is_shown(tmp_path):
    jobs = [CoinJob(ENV, "Coin", seed) for seed in range(3)]
    how = Comparison(tmp_path, 1, "Coins", "the command")
    for ran, kept in ((3, 0), (1, 2)):
        text = io.StringIO()
        code = run_comparison(Plan(jobs, {ENV: None}), how, Console(file=text, width=200))
        assert code == 1  # of the job that was refused
        assert f"3 jobs: ran {ran}, kept {kept}" in text.getvalue()
        assert "failed Coin on Safe/CliffWorld-v0?slip=0.1, seed 2: ValueError: there are two" in (
            text.getvalue()
        )
    html = (tmp_path / "report.html").read_text()
    assert "2 of 3" in html
    assert "sides=2" in html
    assert "mint 1.0" in html
    assert json.loads((job_folder(tmp_path, jobs[0]) / "config.json").read_text())["seed"] == 0
    returns = [np.random.default_rng(seed).integers(2, size=(4, 2))[:, 0] for seed in (0, 1)]
    rows = (tmp_path / "deep_results.csv").read_text().splitlines()
    assert [float(row.split(",")[6]) for row in rows[1:5:2]] == [r.mean() for r in returns]
