"""The command `demo`: the demo's comparison of agents, then a submission of the best one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape

from baselines.jobs.job import Job, job_folder
from baselines.shell_command import shell_command
from leaderboard.commands.seed_baselines import submit_baselines
from leaderboard.commands.submit import submit_here
from leaderboard.evaluation.evaluate import tried_policies
from leaderboard.store.database import embedded_url, open_database, without_password
from leaderboard.submissions.baseline_submissions import shipped_submissions
from leaderboard.submissions.from_runs import submission_of

# Boards whose episodes are played in a second; `seed-baselines` opens all of them.
OPENED = ("Safe/CliffWorld-v0", "Safe/DeepSeaTreasure-v0", "Safe/ConstrainedRegression-v0")


@dataclass(frozen=True)
class LeaderboardDemoOptions:
    """Compare constrained agents in two minutes, then submit the best one to a leaderboard."""

    out: Path = Path("runs/demo")
    """Folder of the results; a second run with the same folder does only what is missing."""
    workers: int = 2
    """Worker processes, one thread each."""
    db: str = embedded_url()
    """Store of the leaderboard."""

    def command(self) -> str:
        """Return the shell command with these options."""
        words = ["--out", str(self.out), "--workers", str(self.workers)]
        return shell_command("leaderboard", "demo", *words, *self.store())

    def store(self) -> list[str]:
        """Return the option that selects the store, if it is not the usual one; no password."""
        return [] if self.db == embedded_url() else ["--db", without_password(self.db)]


def leaderboard_demo(options: LeaderboardDemoOptions, console: Console) -> int:
    """Run the demo, submit the five seeds of its best agent, print how to see the leaderboard.

    Returns:
        The exit code: 0, or the comparison's if that failed.
    """
    open_database(options.db).close()  # a store that cannot be used is told before the training
    from baselines.commands.compare import Comparison, run_comparison  # seconds: it draws plots
    from baselines.commands.demo import TITLE, demo_plan

    how = Comparison(options.out, options.workers, TITLE, options.command())
    code = run_comparison(demo_plan(options.out), how, console)
    if code:
        return code
    runs = best_runs(options.out)
    submission = submission_of(runs, stochastic=True, fields={"authors": ["make demo"]})
    shipped = [one for env in OPENED for one in shipped_submissions(env)]
    console.print("\nBoards open with the baselines that this package ships:")
    submit_baselines(options.db, shipped, console)
    console.print(
        f"\nSubmitting the best agent, {submission.metadata.algorithm}, as any user would:"
    )
    with tried_policies(submission) as tried:
        submit_here(options.db, submission, tried, console)
    show = shell_command("leaderboard", "serve", *options.store())
    console.print(f"See it ranked: {escape(show)}, then open http://127.0.0.1:8000", soft_wrap=True)
    return 0


def best_runs(out: Path) -> list[Path]:
    """Return the folders of the demo's best constrained agent, one per seed.

    The best one exceeds the limit least in its evaluations; among those within the limit it has the
    highest return.
    """
    from baselines.commands.demo import CONSTRAINED, CONSTRAINED_SEEDS, DEEP_SEA, demo_plan

    jobs = [
        job for job in demo_plan(out).jobs if job.agent in CONSTRAINED and str(job.env) == DEEP_SEA
    ]
    by_agent = {
        agent: [job for job in jobs if job.agent == agent and job.seed in CONSTRAINED_SEEDS]
        for agent in CONSTRAINED
    }
    best = max(by_agent.values(), key=lambda runs: _merit(runs, out))
    return [job_folder(out, job) for job in best]


def _merit(jobs: list[Job], out: Path) -> tuple[float, float]:
    """Return the negative excess of the mean cost over the limit, and the mean return.

    Both are exact, because the demo's environment has a tabular model.
    """
    results = [job.outcome(job_folder(out, job)).result for job in jobs]
    claims = [result.stochastic.claim for result in results if result is not None]
    violation = np.mean([claim.violation for claim in claims], axis=0)
    excess = float(np.maximum(violation, 0.0).max())
    return -excess, float(np.mean([claim.value for claim in claims]))
