"""Comparisons of deep agents, alone and beside tabular solvers."""

import csv
import io
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from baselines.commands.compare import CompareOptions, compare
from baselines.commands.comparison_plan import plan
from baselines.jobs.job import Outcome, job_folder
from baselines.measures.episode_statistics import ExactValues
from baselines.report.episodes_section import run_curve
from baselines.report.episodes_summary import summarize_episodic

SEA = "Safe/DeepSeaTreasure-v0"
SMALL = ("PPOLag.n_steps=8", "SPMAALM.n_steps=8", "PPO.n_steps=8")


def run(options):
    text = io.StringIO()
    code = compare(options, Console(file=text, width=200))
    return code, text.getvalue()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A solver and three deep agents, one of which is given a setting that it refuses."""
    options = CompareOptions(
        envs=(SEA,),
        agents=("npg_pd", "PPOLag", "SPMAALM", "PPO"),
        out=tmp_path_factory.mktemp("runs") / "x",
        seeds=(0, 1),
        workers=1,
        evaluations=20,
        total_timesteps=1024,
        eval_episodes=40,
        overrides=(*SMALL, "PPO.n_epochs=0"),
    )
    code, text = run(options)
    return options, code, text


def deep_rows(out):
    return list(csv.DictReader((out / "deep_results.csv").read_text().splitlines()))


def stamps(out):
    return {path: path.stat().st_mtime_ns for path in Path(out).rglob("result.json")}


def test_failed_seeds_stay_everywhere(finished):
    options, code, text = finished
    assert code == 1
    assert "8 jobs: ran 8, kept 0" in text
    rows = deep_rows(options.out)
    failed = [row for row in rows if row["status"] == "failed"]
    assert [(row["agent"], row["seed"]) for row in failed] == [("PPO", "0"), ("PPO", "1")]
    assert len(rows) == 2 + 2 * 2 * 2  # failed ones, and two modes of two agents' two seeds
    html = (options.out / "report.html").read_text()
    for seed in (0, 1):
        assert f"failed PPO on {SEA}, seed {seed}: ValueError: n_epochs is 0" in text
        assert f"<strong>PPO</strong> on {SEA}, seed {seed}" in html
    assert "2 of 2 failed" in text


def test_tables_and_csv_hold_what_the_runs_measured(finished):
    options = finished[0]
    jobs = [job for job in plan(options).jobs if job.agent == "PPOLag"]
    outcomes = [job.outcome(job_folder(options.out, job)) for job in jobs]
    results = [outcome.result for outcome in outcomes]
    (row,) = summarize_episodic(outcomes)
    means = [result.stochastic.mean_costs[0] for result in results]
    exact_costs = [result.stochastic.exact.costs[0] for result in results]
    for seeds, costs in ((row.stochastic.sampled, means), (row.stochastic.exact, exact_costs)):
        assert seeds.mean_cost == pytest.approx(sum(costs) / 2)
        assert seeds.violation == pytest.approx(sum(costs) / 2 - 0.15)
        assert seeds.feasibility_rate == sum(cost <= 0.15 for cost in costs) / 2
        assert seeds.tails.worst == max(costs)
    assert row.stochastic.claim is row.stochastic.exact
    everything = [cost for result in results for (cost,) in result.stochastic.costs]
    assert row.stochastic.episode_tails.worst == max(everything)
    exact = [result.stochastic.exact.value for result in results]
    assert row.stochastic.exact.iqm_return == pytest.approx(sum(exact) / 2)
    returns = [result.stochastic.mean_return for result in results]
    assert row.stochastic.sampled.iqm_return == pytest.approx(sum(returns) / 2)
    written = [r for r in deep_rows(options.out) if r["agent"] == "PPOLag"]
    stochastic = [r for r in written if r["mode"] == "stochastic"]
    assert [float(r["mean_costs"]) for r in stochastic] == pytest.approx(means)
    assert [float(r["exact_value"]) for r in stochastic] == pytest.approx(exact)
    assert [float(r["exact_costs"]) for r in stochastic] == pytest.approx(exact_costs)
    assert [r["exact_feasible"] for r in stochastic] == [str(c <= 0.15) for c in exact_costs]
    assert [r["mean_feasible"] for r in stochastic] == [str(c <= 0.15) for c in means]


def test_what_is_claimed_is_exact_and_named_so(finished):
    """The tables, the ranking, the plots, and what would be submitted."""
    options, _, text = finished
    for name in ("exact", "sampled"):
        assert name in text
    assert "sums with discounts: return 0.9, cost 0.9" in text
    html = (options.out / "report.html").read_text()
    assert "<button>exact<br>IQM return" in html
    assert "<button>sampled<br>IQM return" in html
    (job, *_) = (job for job in plan(options).jobs if job.agent == "PPOLag")
    folder = job_folder(options.out, job)
    result = job.outcome(folder).result
    (row,) = summarize_episodic([job.outcome(folder)])
    for violation in (-0.1, 0.1):  # of the exact value; the sampled one has the other sign
        exact = ExactValues(0.3, [0.15 + violation], [violation])
        sampled = replace(result.stochastic, exact=exact, violation=[-violation])
        (row,) = summarize_episodic([Outcome(job, replace(result, stochastic=sampled))])
        assert row.stochastic.claim.feasibility_rate == float(violation < 0)
        assert sampled.claim.feasible == (violation < 0)
    curve = run_curve(folder, result)
    assert curve.discounts == (0.9, 0.9)
    assert curve.final.is_exact
    assert curve.final.episode_return == result.stochastic.exact.value
    assert curve.final.episode_cost.tolist() == result.stochastic.exact.costs


def test_a_curve_has_the_discounted_sums_of_training(finished):
    """As the columns of the log, which name what they are; undiscounted ones are larger here."""
    options = finished[0]
    (job, *_) = (job for job in plan(options).jobs if job.agent == "PPOLag")
    folder = job_folder(options.out, job)
    curve = run_curve(folder, job.outcome(folder).result)
    row = list(csv.DictReader((folder / "progress.csv").read_text().splitlines()))[-1]
    last = {"timesteps": curve.timesteps, "ep_value_mean": curve.episode_return}
    last |= {"ep_cost_value_mean": curve.episode_cost[:, 0], "episodes": curve.episodes}
    assert float(row["time/total_timesteps"]) == last.pop("timesteps")[-1]
    for name, values in last.items():
        assert float(row[f"rollout/{name}"]) == values[-1]
    assert float(row["rollout/ep_cost_mean"]) >= float(row["rollout/ep_cost_value_mean"])
    assert float(row["rollout/ep_rew_mean"]) > float(row["rollout/ep_value_mean"])


def test_report_shows_both_kinds_without_network(finished):
    html = (finished[0].out / "report.html").read_text()
    assert html.count("data:image/svg+xml") == 2 + 3 + 1  # convergence, learning curves, Pareto
    for text in ("Stochastic policy", "Deterministic policy", "npg_pd", "0.37370596", "mines"):
        assert text in html
    assert "http" not in html.replace("http-equiv", "")
    for stem in ("curves", "pareto"):
        for end in ("png", "svg"):
            assert (finished[0].out / "plots" / f"Safe_DeepSeaTreasure-v0_{stem}.{end}").exists()


@pytest.mark.usefixtures("jobs_run_here")
def test_rerun_does_only_what_is_missing(finished, tmp_path):
    options = replace(finished[0], out=tmp_path / "copy")
    shutil.copytree(finished[0].out, options.out)
    folder = options.out / "Safe_DeepSeaTreasure-v0" / "SPMAALM" / "seed_1"
    (folder / "result.json").unlink()
    before = stamps(options.out)
    code, text = run(replace(options, overrides=SMALL))  # PPO is repaired
    assert code == 0
    assert "8 jobs: ran 3, kept 5" in text
    after = stamps(options.out)
    assert all(after[path] == stamp for path, stamp in before.items())
    assert {path.parents[1].name for path in set(after) - set(before)} == {"SPMAALM", "PPO"}
    assert len(set(after) - set(before)) == 3


def test_comparison_needs_one_limit(finished):
    options = replace(finished[0], overrides=("PPOLag.cost_limit=0.3",))
    with pytest.raises(ValueError, match="cost_limit differs between the agents"):
        plan(options)


def test_tabular_solver_needs_a_model(finished):
    options = replace(finished[0], envs=("Safe/DoubleIntegrator-v0",))
    with pytest.raises(ValueError, match="has no tabular_model"):
        plan(options)
    deep = plan(replace(options, agents=("PPOLag",), overrides=()))
    assert [job.agent for job in deep.jobs] == ["PPOLag"] * 2
