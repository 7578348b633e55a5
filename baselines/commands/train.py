"""The command `train`: one agent on one environment from one seed, in this process."""

from __future__ import annotations

import shlex
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.markup import escape

from baselines.commands.comparison_plan import check_controller
from baselines.jobs.run_folder import (
    is_done,
    read_config,
    read_training_outcome,
    write_error,
)
from baselines.jobs.training_job import (
    EVALUATION_EPISODES,
    LARGEST_SEED,
    TrainingJob,
    TrainingResult,
)
from baselines.names.agents import CONTROLLERS, DEEP_AGENTS, kind_of
from baselines.names.environments import find_tabular_model, parse_environment_name
from baselines.names.hyperparameters import hyperparameters_for, parse_overrides
from baselines.report.training_table import evaluation_table
from safe_envs.contract.cost_signal import CostSignalError


@dataclass(frozen=True)
class TrainOptions:
    """Train an agent, evaluate its final policy and export it; see docs/baselines.md.

    A controller has nothing to train or to export and is evaluated alone.
    """

    agent: str
    """Name of a deep agent or a controller, for example PPOLag or GeometricController."""
    env: str
    """Gymnasium id; arguments as a query string: "Safe/RandomCMDP-v0?constraints=2"."""
    out: Path
    """Folder of the run. A finished run is kept; one of other settings is never overwritten."""
    total_timesteps: int
    """Steps in all copies together, rounded up to whole rollouts; a controller takes none."""
    seed: int = 0
    """Of everything random."""
    overrides: Annotated[tuple[str, ...], tyro.conf.arg(name="set")] = ()
    """Hyperparameters that win over the TOML file: n_steps=512 learning_rate=lin_1e-3."""
    eval_episodes: int = EVALUATION_EPISODES
    """Fresh episodes of the final policy, in either mode."""

    def command(self) -> str:
        """Return the shell command with these options."""
        words = ["python", "-m", "baselines", "train", "--agent", self.agent, "--env", self.env]
        words += ["--seed", str(self.seed), "--total-timesteps", str(self.total_timesteps)]
        words += ["--eval-episodes", str(self.eval_episodes)]
        words += ["--set", *self.overrides] if self.overrides else []
        return shlex.join([*words, "--out", str(self.out)])


def train(options: TrainOptions, console: Console) -> int:
    """Train and print the evaluation.

    Returns:
        The exit code: 0, 1 if training failed, 130 if interrupted.

    Raises:
        ValueError: for a refused argument, before anything is written.
    """
    job = training_job(options)
    folder = options.out
    if is_done(folder, job):
        console.print(f"{escape(str(folder))} holds this run already; kept", soft_wrap=True)
        result = read_training_outcome(folder, job).result
        assert result is not None
        return _show(result, folder, console)
    _check_free(folder, job)
    run = _prepared(job, folder, options.command(), console)
    title = f"{job.agent} on {job.env}, seed {job.seed}"
    try:
        result = run()
    except KeyboardInterrupt:
        console.print("[yellow]interrupted[/]; the same command starts again")
        return 130
    except Exception as error:
        write_error(folder, traceback.format_exc())
        reason = escape(f"{type(error).__name__}: {error}")
        console.print(f"[red]failed[/] {escape(title)}: {reason}", soft_wrap=True)
        console.print(f"traceback: {escape(str(folder / 'error.txt'))}", soft_wrap=True)
        return 1
    return _show(result, folder, console)


def training_job(options: TrainOptions) -> TrainingJob:
    """Return the job of the options.

    Raises:
        ValueError: for an unknown name or setting, or a number out of range.
    """
    kind = kind_of(options.agent)
    if kind == "solver":
        raise ValueError(
            f"{options.agent} is a tabular solver and has nothing to train; pass one of "
            f"{', '.join((*DEEP_AGENTS, *CONTROLLERS))}, or run it with the command compare"
        )
    for text in options.overrides:
        key, equals, _ = text.partition("=")
        if not equals or "." in key:
            raise ValueError(f"{text!r} is no setting of {options.agent}; write argument=value")
    counts = {"total-timesteps": options.total_timesteps, "eval-episodes": options.eval_episodes}
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} is {count}; pass a whole number >= 1")
    if not 0 <= options.seed <= LARGEST_SEED:
        raise ValueError(f"seed is {options.seed}; pass a number from 0 to {LARGEST_SEED}")
    env = parse_environment_name(options.env)
    find_tabular_model(env)  # makes the environment, and refuses what cannot be made
    overrides = parse_overrides([f"{options.agent}.{text}" for text in options.overrides])
    settings = hyperparameters_for(options.agent, env.id, overrides)
    if kind == "controller":
        check_controller(env, options.agent, settings)
    return TrainingJob(
        env=env,
        agent=options.agent,
        seed=options.seed,
        total_timesteps=0 if kind == "controller" else options.total_timesteps,
        hyperparameters=settings,
        evaluation_episodes=options.eval_episodes,
    )


def _prepared(
    job: TrainingJob, folder: Path, command: str, console: Console
) -> Callable[[], TrainingResult]:
    """Return what runs the job; ValueError for a refused setting."""
    if not job.trains:
        from baselines.jobs.controller_run import finish_controller

        return partial(finish_controller, job, folder, command)
    from baselines.commands.progress_display import ProgressDisplay  # these import PyTorch
    from baselines.jobs.training_run import finish_training, prepare_training

    try:
        prepared = prepare_training(job)
    except (TypeError, ValueError, CostSignalError) as error:
        raise ValueError(f"{job.agent} on {job.env}: {error}") from error
    display = ProgressDisplay(console, f"{job.agent}, seed {job.seed}", job.total_timesteps)

    def run() -> TrainingResult:
        try:
            return finish_training(prepared, folder, command, display)
        except BaseException:
            display.stop()
            raise

    return run


def _check_free(folder: Path, job: TrainingJob) -> None:
    """Raise ValueError if the folder holds the result of another job."""
    if not (folder / "result.json").exists():
        return
    found = read_config(folder) or {}
    wanted = job.config()
    differing = sorted(k for k in {*found, *wanted} if found.get(k) != wanted.get(k))
    raise ValueError(
        f"{folder} holds another finished run, which differs in {', '.join(differing) or 'files'}; "
        "pass another folder, or delete this one"
    )


def _show(result: TrainingResult, folder: Path, console: Console) -> int:
    console.print(evaluation_table(result))
    if result.policy_onnx is None:
        console.print(f"no policy.onnx: {escape(result.policy_onnx_refused)}", soft_wrap=True)
    training = (
        f"{result.timesteps:,} steps in {result.cpu_seconds:.1f} CPU seconds "
        f"({result.steps_per_cpu_second:,.0f} per CPU second)"
    )
    told = training if result.timesteps else "no training"
    console.print(f"{told}; files: {escape(str(folder))}", soft_wrap=True)
    return 0
