"""The command `train`: one agent on one environment from one seed, in this process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.markup import escape

from baselines.commands.console_log import logged_to
from baselines.commands.measured_training import measured, tell_unmeasured
from baselines.jobs.checkpoints import (
    CheckpointRefusedError,
    checkpointed_config,
    chosen_interval,
    discard_checkpoints,
)
from baselines.jobs.episodic_job import EVALUATION_EPISODES, LARGEST_SEED, EpisodicJob
from baselines.jobs.folder_lock import check_folder, locked
from baselines.jobs.interruption import Interrupted, watched_signals
from baselines.jobs.job import Effort, Job, JobRefused
from baselines.jobs.kinds import EPISODIC
from baselines.jobs.run_folder import (
    attempt,
    differing_checkpoints,
    differing_settings,
    is_done,
    read_config,
)
from baselines.names.agents import CONTROLLERS, DEEP_AGENTS, kind_of
from baselines.names.environments import find_tabular_model, parse_environment_name
from baselines.names.hyperparameters import hyperparameters_for, parse_settings, read_tables
from baselines.report.episodes_section import evaluation_table
from baselines.report.terminal_table import print_table
from baselines.shell_command import shell_command
from safe_envs.contract.argument_checks import check_count


@dataclass(frozen=True)
class TrainOptions:
    """Train an agent, evaluate its final policy and export it; see docs/baselines.md.

    A controller is only evaluated; there is nothing to train or to export.
    """

    agent: str
    """Name of a deep agent or a controller, for example PPOLag or GeometricController; a class of
    yours, my_module:MyAgent or my_agent.py:MyAgent; or a finished policy, policy.onnx."""
    env: str
    """Gymnasium id, my_module:My/Env-v0, or a function that makes it, my_env.py:make_env; arguments
    as a query string: "Safe/RandomCMDP-v0?constraints=2"."""
    out: Path
    """Folder of the run. A finished run is kept; a run with other settings is never overwritten."""
    total_timesteps: int
    """Steps over all copies, rounded up to whole rollouts; controllers take none."""
    seed: int = 0
    """Random seed."""
    overrides: Annotated[tuple[str, ...], tyro.conf.arg(name="set")] = ()
    """Hyperparameters that override the TOML file: n_steps=512 learning_rate=lin_1e-3."""
    eval_episodes: int = EVALUATION_EPISODES
    """Evaluation episodes of the final policy in each mode."""
    resume: bool = True
    """Go on from the newest checkpoint of the same run, bit for bit; --no-resume starts anew."""
    diagnostics: bool = False
    """Measure gradients, noise, ranks and curvature as the training goes; see `diagnose`."""
    hyperparameters: Path | None = None
    """TOML file with [default] and ["environment id"] tables, instead of the one of the agent in
    baselines/hyperparameters."""

    def command(self) -> str:
        """Return the shell command with these options."""
        words = ["train", "--agent", self.agent, "--env", self.env]
        words += ["--seed", str(self.seed), "--total-timesteps", str(self.total_timesteps)]
        words += ["--eval-episodes", str(self.eval_episodes)]
        words += ["--set", *self.overrides] if self.overrides else []
        file = self.hyperparameters
        words += [] if file is None else ["--hyperparameters", str(file)]
        words += ["--diagnostics"] if self.diagnostics else []
        return shell_command("baselines", *words, "--out", str(self.out))


def train(options: TrainOptions, console: Console) -> int:
    """Train and print the evaluation.

    Returns:
        The exit code: 0, 1 if training failed, 130 if interrupted.

    Raises:
        ValueError: for a refused argument, before anything is written.
    """
    job = training_job(options)
    folder = options.out
    check_folder("--out", folder)
    chosen_interval()
    if is_done(folder, job):
        discard_checkpoints(folder)  # left by a kill after the result was written
        console.print(f"{escape(str(folder))} holds this run already; kept", soft_wrap=True)
        if options.diagnostics:
            tell_unmeasured([folder], console)
        return _show(job, folder, console)
    with locked(folder, options.command()) as killed:
        _check_free(folder, job, console)
        if options.resume:
            _check_unfinished(folder, job)
        if killed is not None:
            told = f"the last run here was killed ({killed.told})"
            console.print(f"[yellow]note:[/] {escape(told)}", soft_wrap=True)
        code = _train(job, options, console)
    return _show(job, folder, console) if code == 0 else code


def _train(job: EpisodicJob, options: TrainOptions, console: Console) -> int:
    """Train and return the exit code."""
    from baselines.commands.progress_display import ProgressDisplay  # PyTorch

    if not options.resume:
        discard_checkpoints(options.out)
    display = ProgressDisplay(console, f"{job.agent}, seed {job.seed}", options.total_timesteps)
    callback = measured(options.out, display) if options.diagnostics else display
    refusals = (JobRefused, CheckpointRefusedError)
    try:
        with watched_signals(), logged_to(console):
            failure = attempt(job, options.out, options.command(), callback, refusals)
    except Interrupted as interrupted:
        display.stop()
        goes_on = checkpointed_config(options.out) is not None
        told = "goes on from here" if goes_on else "starts again"
        console.print(f"[yellow]interrupted[/]; the same command {told}:")
        console.print(escape(options.command()), soft_wrap=True)
        return interrupted.exit_code
    if failure is None:
        return 0
    display.stop()
    title = escape(f"{job.agent} on {job.env}, seed {job.seed}")
    console.print(f"[red]failed[/] {title}: {escape(failure.reason)}", soft_wrap=True)
    if failure.is_recorded:
        console.print(f"traceback: {escape(str(options.out / 'error.txt'))}", soft_wrap=True)
    return 1


def training_job(options: TrainOptions) -> EpisodicJob:
    """Return the job of the options.

    Raises:
        ValueError: for an unknown name or setting, or a number out of range.
    """
    kind = EPISODIC.get(kind_of(options.agent))
    if kind is None:
        raise ValueError(
            f"{options.agent} is a tabular solver and has nothing to train; pass one of "
            f"{', '.join((*DEEP_AGENTS, *CONTROLLERS))}, or run it with the command compare"
        )
    counts = {"total-timesteps": options.total_timesteps, "eval-episodes": options.eval_episodes}
    check_count(**counts)
    if not 0 <= options.seed <= LARGEST_SEED:
        raise ValueError(f"seed is {options.seed}; pass a number from 0 to {LARGEST_SEED}")
    env = parse_environment_name(options.env)
    find_tabular_model(env)  # makes the environment, to refuse one that cannot be made
    overrides = {options.agent: parse_settings(options.agent, options.overrides)}
    file = options.hyperparameters
    tables = None if file is None else read_tables(file, [env.table])
    settings = hyperparameters_for(options.agent, env.table, overrides, tables=tables)
    kind.check(env, options.agent, settings)
    effort = Effort(0, options.total_timesteps, options.eval_episodes)
    return kind.planned(env, options.agent, options.seed, settings, effort)


def _check_unfinished(folder: Path, job: Job) -> None:
    """Raise ValueError if the folder holds checkpoints of another run, which would be lost."""
    differing = differing_checkpoints(folder, job)
    if differing:
        raise ValueError(
            f"{folder} holds checkpoints of another run, which differs in {', '.join(differing)}; "
            "finish that one by its own command, pass another folder, or pass --no-resume, which "
            "deletes them"
        )


def _check_free(folder: Path, job: Job, console: Console) -> None:
    """Raise ValueError if the folder holds the result of another job."""
    if not (folder / "result.json").exists():
        return
    reason = job.outcome(folder).reason
    if read_config(folder) is None:
        raise ValueError(f"{reason}; pass another folder, or delete this one")
    differing = differing_settings(folder, job)
    if differing:
        raise ValueError(
            f"{folder} holds another finished run, which differs in {', '.join(differing)}; "
            "pass another folder, or delete this one"
        )
    console.print(f"[yellow]runs again:[/] {escape(reason)}", soft_wrap=True)


def _show(job: EpisodicJob, folder: Path, console: Console) -> int:
    result = job.outcome(folder).result
    assert result is not None, "the job is done"
    print_table(console, evaluation_table(result))
    if result.policy_onnx is None:
        console.print(f"no policy.onnx: {escape(result.policy_onnx_refused)}", soft_wrap=True)
    training = (
        f"{result.timesteps:,} steps in {result.cpu_seconds:.1f} CPU seconds "
        f"({result.steps_per_cpu_second:,.0f} per CPU second)"
    )
    told = training if result.timesteps else "no training"
    console.print(f"{told}; files: {escape(str(folder))}", soft_wrap=True)
    return 0
