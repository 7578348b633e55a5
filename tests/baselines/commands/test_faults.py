"""Faults inside jobs, and signals: what is printed, what is kept, the exit code."""

import csv
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

import baselines.commands.compare
from baselines.__main__ import main
from baselines.commands.compare import Comparison, run_comparison
from baselines.commands.comparison_plan import Plan
from baselines.jobs.job import job_folder
from baselines.names.environments import EnvironmentName
from tests.baselines.commands.faulty_runs import CLIFF, FAULTY, STEP, FaultyJob, compare, train

ROOT = Path(__file__).parents[3]


def test_a_comparison_goes_on_and_lists_what_happened(tmp_path):
    reasons = {
        "sys_exit": "SystemExit: the job called sys.exit(0)",
        "os_exit": "the worker process ended with exit code 0 in the middle of the job (os._exit",
        "hang": "timed out: it took longer than 2 s",
        "none": "it is done",
    }
    jobs = [FaultyJob(fault, EnvironmentName(CLIFF, ())) for fault in reasons]
    how = Comparison(tmp_path, 2, "Faults", "the command", job_timeout=2.0)
    text = io.StringIO()
    code = run_comparison(Plan(jobs, {jobs[0].env: None}), how, Console(file=text, width=300))
    assert code == 1
    assert "4 jobs: ran 4, kept 0" in text.getvalue()
    rows = csv.DictReader((tmp_path / "deep_results.csv").read_text().splitlines())
    listed = {row["agent"]: row["error"] for row in rows}
    html = (tmp_path / "report.html").read_text()
    for job in jobs:
        reason = reasons[job.agent]
        assert f"failed {job.agent} on {job.env}, seed 0: {reason}" in text.getvalue()
        assert listed[job.agent].startswith(reason)
        assert reason in html
        folder = job_folder(tmp_path, job)
        assert (folder / "error.txt").exists() == (job.agent != "none")
        assert not (folder / ".lock.json").exists()


@pytest.mark.parametrize(
    ("fault", "error", "told"),
    [
        ("sys_exit", "SystemExit", "the job called sys.exit(0)"),
        ("observation", "NonFiniteEnvError", "the observation is [nan]"),
        ("reset", "NonFiniteEnvError", "environment 0, after the reset: the observation is [nan]"),
        ("reward", "NonFiniteEnvError", "the reward is nan"),
        ("cost", "CostSignalError", "the cost is [nan]"),
        ("missing", "CostSignalError", "has no 'cost'"),
    ],
)
def test_training_stops_at_that_step(fault, error, told, tmp_path, printed):
    env = f"{FAULTY}?fault={fault}"
    if fault == "reset":  # the first step is taken before anything is written
        assert train(tmp_path, env) == 2
        assert "Faulty-v0, step 0: the observation is array([nan]" in printed()
        return
    assert train(tmp_path, env) == 1
    text = printed()
    assert f"failed PPOLag on {env}, seed 3: {error}: " in text
    assert told in text
    assert f"traceback: {tmp_path / 'error.txt'}" in text
    if error != "SystemExit":
        assert f"{error}: Faulty-v0, seed 3: " in text
        assert (f"step {STEP} of training" in text) == (fault != "reset")
    written = (tmp_path / "error.txt").read_text()
    assert written.startswith("Traceback")
    assert told in written.splitlines()[-1]
    assert not (tmp_path / "result.json").exists()


def test_a_process_that_ends_within_train_is_noticed_by_the_next_command(tmp_path, printed):
    """Nothing in the process itself can catch os._exit. HOME cannot be written there either."""
    sound, run, once = (tmp_path / name for name in ("sound", "run", "once"))
    env = f"{FAULTY}?fault=os_exit&unless={once}"
    code = f"""
from pathlib import Path
from tests.baselines.commands.faulty_runs import train
assert train(Path({str(sound)!r})) == 0
train(Path({str(run)!r}), {env!r})
"""
    home = {"HOME": "/dev/null/home", "XDG_CONFIG_HOME": "", "XDG_CACHE_HOME": ""}
    words = [sys.executable, "-c", code]
    ended = subprocess.run(words, cwd=ROOT, env={**os.environ, **home}, check=False)
    assert ended.returncode == 0
    assert f"files: {sound}" in printed()
    assert once.exists()
    assert main(["evaluate", str(run)]) == 2
    assert "it left no result: killed, or not yet ended (process" in printed()
    assert train(run, env) == 0
    assert "note: the last run here was killed (process " in printed()
    assert (run / "result.json").exists()


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_comparison_ends_with_the_code_of_its_signal(sign, code, tmp_path, printed, monkeypatch):
    ended = []

    def stopped(function, items, workers, job_timeout=None, on_leaving=None):
        try:
            yield items[0], function(items[0])
            os.kill(os.getpid(), sign)
            time.sleep(60)
        finally:
            on_leaving()
            ended.append("workers")

    monkeypatch.setattr(baselines.commands.compare, "run_in_processes", stopped)
    before = signal.getsignal(signal.SIGTERM)
    assert compare(tmp_path) == code
    assert signal.getsignal(signal.SIGTERM) is before
    assert ended == ["workers"]
    text = printed()
    assert "stopping: running trainings save their state first" in text
    assert f"interrupted; finished jobs are kept in {tmp_path}" in text
    assert len(list(tmp_path.rglob("result.json"))) == 1


def test_a_time_limit_has_to_be_one(tmp_path, printed):
    for wrong in ("0", "-1", "inf", "nan"):
        assert compare(tmp_path, "--job-timeout", wrong) == 2
        assert "pass a number of seconds above 0" in printed()
