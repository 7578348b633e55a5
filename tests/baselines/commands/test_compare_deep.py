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
from baselines.jobs.job import job_folder
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
    assert row.stochastic.mean_cost == pytest.approx(sum(means) / 2)
    assert row.stochastic.violation == pytest.approx(sum(means) / 2 - 0.15)
    assert row.stochastic.feasibility_rate == sum(mean <= 0.15 for mean in means) / 2
    assert row.stochastic.seed_tails.worst == max(means)
    everything = [cost for result in results for (cost,) in result.stochastic.costs]
    assert row.stochastic.episode_tails.worst == max(everything)
    exact = [result.stochastic.exact.value for result in results]
    assert row.stochastic.exact_value == pytest.approx(sum(exact) / 2)
    written = [r for r in deep_rows(options.out) if r["agent"] == "PPOLag"]
    stochastic = [r for r in written if r["mode"] == "stochastic"]
    assert [float(r["mean_costs"]) for r in stochastic] == pytest.approx(means)
    assert [float(r["exact_value"]) for r in stochastic] == pytest.approx(exact)


def test_report_shows_both_kinds_without_network(finished):
    html = (finished[0].out / "report.html").read_text()
    assert html.count("data:image/svg+xml") == 3  # convergence, learning curves, Pareto
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
