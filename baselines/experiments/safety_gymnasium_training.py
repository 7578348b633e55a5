"""Constrained agents on a task of Safety-Gymnasium, alongside OmniSafe's PPOLag.

    python -m baselines.experiments.safety_gymnasium_training --legacy-python legacy/bin/python

Trains ours on the bridged task and OmniSafe's with the original packages (Python 3.10,
`pip install omnisafe==0.5.0 safety-gymnasium==1.0.0 "numpy<1.24"`), and compares return and cost of
the last hundred training episodes at equal numbers of steps. A second run with the same folder
trains only what is missing.
"""

from __future__ import annotations

import csv
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from baselines.atomic_files import write_json
from baselines.commands.compare import CompareOptions, finished_jobs
from baselines.measures.learning_curve import LearningCurve, read_learning_curve
from baselines.report.learning_curve_plots import draw_learning_curves
from baselines.shell_command import shell_command

PEER = "OmniSafe"  # its PPOLag
PEER_SCRIPT = Path(__file__).parent / "peers" / "omnisafe_training.py"
PEER_COLUMNS = ("TotalEnvSteps", "Metrics/EpRet", "Metrics/EpLen", "Metrics/EpCost")
PEER_WINDOW = 5  # epochs of twenty episodes: a hundred
OUR_WINDOW = 100_000  # [steps] a hundred episodes, too
MILESTONES = 5
THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class BridgedTrainingArguments:
    """Train on a bridged task, and OmniSafe on the genuine one."""

    task: str = "SafetyPointGoal1-v0"
    """Id, the same on both sides."""
    agents: tuple[str, ...] = ("PPOLag", "SPMAALM", "CPO")
    """Names of deep agents."""
    seeds: tuple[int, ...] = (0, 1)
    """Random seeds."""
    total_timesteps: int = 500_000
    """Environment steps per run."""
    eval_episodes: int = 20
    """Evaluation episodes of our final policies, in each mode."""
    workers: int = 2
    """Worker processes, one thread each."""
    legacy_python: Path | None = None
    """Interpreter with OmniSafe; None: compare with its earlier trainings."""
    out: Path = Path("runs/safety_gymnasium_training")
    """Folder of the runs, their report, summary.json, training.png and training.svg."""


class Milestone(NamedTuple):
    """An agent after some steps, means over the seeds that got this far."""

    agent: str
    timesteps: int
    seeds: int
    episode_return: float  # of the last hundred training episodes
    episode_cost: float  # of the same


def run(arguments: BridgedTrainingArguments, console: Console) -> list[Milestone]:
    """Train what is missing; print, draw and write the comparison; return its rows."""
    curves, limits = _our_curves(arguments, console)
    curves += peer_curves(arguments, console)
    rows = milestones(curves, arguments.total_timesteps)
    write_json(arguments.out / "summary.json", {"rows": [row._asdict() for row in rows]})
    draw_learning_curves(arguments.task, curves, limits, arguments.out / "training")
    console.print(table(rows))
    return rows


def milestones(curves: list[LearningCurve], total_timesteps: int) -> list[Milestone]:
    """Return every agent's means at equal numbers of steps, interpolated within each curve."""
    rows = []
    for agent in dict.fromkeys(curve.agent for curve in curves):
        for steps in np.linspace(0, total_timesteps, MILESTONES + 1)[1:].astype(int):
            reached = [c for c in curves if c.agent == agent and _reaches(c, steps)]
            if reached:
                returns = [np.interp(steps, c.timesteps, c.episode_return) for c in reached]
                costs = [np.interp(steps, c.timesteps, c.episode_cost[:, 0]) for c in reached]
                each = float(np.mean(returns)), float(np.mean(costs))
                rows.append(Milestone(agent, int(steps), len(reached), *each))
    return rows


def peer_curve(progress_csv: Path, seed: int) -> LearningCurve:
    """Return the learning curve that OmniSafe logged; each point is a mean over 100 episodes.

    Raises:
        ValueError: if the file holds no complete epoch.
    """
    with progress_csv.open(newline="", encoding="utf-8") as file:
        table = [[float(row[c]) for c in PEER_COLUMNS] for row in csv.DictReader(file)]
    if not table:
        raise ValueError(f"{progress_csv} has no epoch yet; let OmniSafe train for longer")
    steps, *values = np.array(table).T
    returns, lengths, costs = (_trailing_mean(each, PEER_WINDOW) for each in values)
    return LearningCurve(PEER, seed, steps, returns, costs[:, None], lengths)


def table(rows: list[Milestone]) -> Table:
    """Return the milestones as a table, one agent per row."""
    steps = list(dict.fromkeys(row.timesteps for row in rows))
    shown = Table("agent", *(f"{each:,}" for each in steps), title="return / cost (seeds)")
    found = {(row.agent, row.timesteps): row for row in rows}
    for agent in dict.fromkeys(row.agent for row in rows):
        cells = [found.get((agent, each)) for each in steps]
        shown.add_row(
            agent,
            *(
                f"{r.episode_return:.1f} / {r.episode_cost:.0f} ({r.seeds})" if r else "-"
                for r in cells
            ),
        )
    return shown


def _our_curves(
    arguments: BridgedTrainingArguments, console: Console
) -> tuple[list[LearningCurve], list[float]]:
    options = CompareOptions(
        envs=(arguments.task,),
        agents=arguments.agents,
        out=arguments.out,
        seeds=arguments.seeds,
        total_timesteps=arguments.total_timesteps,
        eval_episodes=arguments.eval_episodes,
        workers=arguments.workers,
        title=f"Constrained agents on {arguments.task}",
    )
    curves, limits = [], [0.0]
    for job, result, folder in finished_jobs(options, console):
        names, limits = result.constraint_names, list(result.limits)
        progress = folder / "progress.csv"
        curve = read_learning_curve(progress, job.agent, job.seed, names)
        curves.append(over_a_hundred_episodes(curve))
    return curves, limits


def over_a_hundred_episodes(curve: LearningCurve) -> LearningCurve:
    """Return a curve whose points average over the points of the last `OUR_WINDOW` steps.

    The agents log averages over a rollout or ten episodes; OmniSafe's are over a hundred.
    """
    now = curve.timesteps
    weights = (now <= now[:, None]) & (now > now[:, None] - OUR_WINDOW)  # (k, k)
    weights = weights / weights.sum(axis=1, keepdims=True)
    return LearningCurve(
        curve.agent,
        curve.seed,
        now,
        weights @ curve.episode_return,
        weights @ curve.episode_cost,
        weights @ curve.episode_length,
    )


def peer_curves(arguments: BridgedTrainingArguments, console: Console) -> list[LearningCurve]:
    """Return OmniSafe's curves, after training what is missing if its interpreter is given.

    Raises:
        RuntimeError: if that fails.
    """
    curves = []
    for seed in arguments.seeds:
        folder = arguments.out.absolute() / "omnisafe" / f"seed_{seed}"
        if not (folder / "done").exists() and arguments.legacy_python is not None:
            console.print(f"{PEER}, seed {seed}: log in {folder / 'log'}")
            _train_peer(arguments, seed, folder)
        logs = sorted(folder.rglob("progress.csv"), key=lambda file: file.stat().st_mtime)
        if logs:
            curves.append(peer_curve(logs[-1], seed))
    return curves


def _train_peer(arguments: BridgedTrainingArguments, seed: int, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    command = [str(arguments.legacy_python), str(PEER_SCRIPT), arguments.task, str(seed)]
    command += [str(arguments.total_timesteps), str(folder)]
    with (folder / "log").open("wb") as log:
        ended = subprocess.run(command, stdout=log, stderr=log, env={**os.environ, **THREADS})
    if ended.returncode != 0:
        raise RuntimeError(
            f"{' '.join(command)} ended with {ended.returncode}; read the end of "
            f"{folder / 'log'}; it needs Python 3.10 with omnisafe 0.5.0"
        )
    (folder / "done").touch()


def _reaches(curve: LearningCurve, steps: int) -> bool:
    return bool(curve.timesteps[0] <= steps <= curve.timesteps[-1])


def _trailing_mean(values: np.ndarray, window: int) -> np.ndarray:
    return np.array([values[max(0, i + 1 - window) : i + 1].mean() for i in range(len(values))])


def main(arguments: BridgedTrainingArguments) -> None:
    """Run the experiment."""
    run(arguments, Console(width=150))


if __name__ == "__main__":
    main(
        tyro.cli(
            BridgedTrainingArguments,
            prog=shell_command("baselines.experiments.safety_gymnasium_training"),
        )
    )
