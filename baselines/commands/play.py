"""The command `play`: episodes of a finished run as a movie, in a window, or as a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import gymnasium as gym
import numpy as np
import tyro
from rich.console import Console

from baselines.jobs.episodic_job import evaluation_seed
from baselines.movies.movie_file import check_movie_path, kept_of, movie_file
from baselines.report.played_table import played_table
from baselines.report.printable import plain
from baselines.report.terminal_table import print_table
from safe_envs.contract.argument_checks import check_count, check_whole
from safe_envs.rendering.screen import has_pygame_screen

if TYPE_CHECKING:
    from agents.evaluation_result import EvaluationResult  # PyTorch
    from baselines.loaded_run import LoadedRun

USUAL_FPS = 30.0  # of environments that name none
LAST_FRAME = 1.0  # [s] how long a movie shows the end of an episode
FRAMES = "rgb_array"  # the render mode whose frames get a banner
MODE = tyro.conf.create_mutex_group(required=False)

Show = Callable[[np.ndarray], None]


@dataclass(frozen=True)
class PlayOptions:
    """Play episodes of a finished run: as a movie, in a window, or as a table without a screen.

    The frames show step, return, and each cost so far with its limit, which turns red above it. A
    limit is on the mean over episodes of the stochastic policy: one episode above it is allowed.
    """

    run_dir: Annotated[Path, tyro.conf.Positional]
    """Folder of one run, written by `train` or `compare`."""
    episodes: int = 1
    """Episodes to play, one after another."""
    seed: int | None = None
    """Random seed of the episodes; training never uses the same random numbers. The run's own
    evaluation seed if left out."""
    deterministic: Annotated[bool, tyro.conf.FlagCreatePairsOff, MODE] = False
    """Take the most likely actions. The default."""
    stochastic: Annotated[bool, tyro.conf.FlagCreatePairsOff, MODE] = False
    """Draw the actions, as in training."""
    video: Path | None = None
    """Write a movie: FILE.mp4 or FILE.gif."""
    fps: float | None = None
    """Frames per second; the environment's own if left out."""
    import_env: bool = False
    """Import the module or file of an environment of one's own, which runs its code."""
    import_agent: bool = False
    """Import an agent of one's own and let it load its file; both can run code."""


def play(options: PlayOptions, console: Console) -> int:
    """Play, show or record the episodes, and print a table of them.

    Returns:
        The exit code: 0, or 130 if interrupted.

    Raises:
        ValueError: for a refused argument, a run that is not finished, or an environment that
            cannot be drawn; no file is left then.
    """
    _check_numbers(options)
    if options.video is not None:
        check_movie_path(options.video)
    from baselines.loaded_run import load_run  # PyTorch

    run = load_run(
        options.run_dir, import_env=options.import_env, import_agent=options.import_agent
    )
    seed = evaluation_seed(run.job.seed) if options.seed is None else options.seed
    stage = _stage(run, options)
    if stage.told:
        console.print(plain(stage.told), soft_wrap=True)
    try:
        result = _played(run, options, seed, stage, console)
    except KeyboardInterrupt:
        console.print("[yellow]interrupted[/]; no movie was written")
        return 130
    except (OSError, ImportError) as error:
        raise ValueError(f"the movie could not be written: {error}") from error
    mode = "stochastic" if options.stochastic else "deterministic"
    title = f"{run.job.agent} on {run.job.env}, {mode} policy, seed {seed}"
    console.print(plain(title), soft_wrap=True, highlight=False)
    print_table(console, played_table(result))
    if options.video is not None:
        console.print(f"movie: {plain(str(options.video))}", soft_wrap=True)
    return 0


class _Stage(NamedTuple):
    """Where the episodes are shown."""

    render_mode: str | None
    opens: Callable[[], Any] | None  # a context that gives what shows frames
    fps: float
    told: str  # to the user beforehand


def _stage(run: LoadedRun, options: PlayOptions) -> _Stage:
    """Choose between movie, window and table.

    Raises:
        ValueError: if a movie is asked for and the environment draws no frames.
    """
    with _made(run, None) as env:
        modes = list(env.metadata.get("render_modes") or ())
        fps = float(options.fps or env.metadata.get("render_fps") or USUAL_FPS)
    if options.video is not None:
        if FRAMES not in modes:
            raise ValueError(
                f"{run.job.env} draws no frames: its render modes are {modes}, without "
                f"{FRAMES!r}; leave --video out to see the episodes as a table"
            )
        path, every = options.video, kept_of(options.video, fps)
        told = f"{path.name} keeps 1 of {every} frames: a GIF shows at most 50 a second"
        return _Stage(FRAMES, lambda: _recorder(path, fps), fps, told if every > 1 else "")
    if not has_pygame_screen():
        return _Stage(None, None, fps, "no screen here for a window; --video FILE.mp4 records")
    if FRAMES in modes:
        return _Stage(FRAMES, lambda: _window(fps), fps, "")
    if "human" in modes:
        return _Stage("human", None, fps, "")
    return _Stage(None, None, fps, f"{run.job.env} draws nothing: its render modes are {modes}")


def _played(
    run: LoadedRun, options: PlayOptions, seed: int, stage: _Stage, console: Console
) -> EvaluationResult:
    """Play the episodes in one environment, as an evaluation does, and show them."""
    from stable_baselines3.common.vec_env import DummyVecEnv  # PyTorch

    from agents.training_env import OwnObservations
    from baselines.loaded_run import one_thread
    from baselines.measures.episode_sampling import sample_episodes
    from baselines.movies.filmed_env import FilmedEnv

    acts, contract, _ = run.player(seed)
    with ExitStack() as stack:
        env = stack.enter_context(_made(run, stage.render_mode))
        if stage.opens is not None:
            show = stack.enter_context(stage.opens())
            held = round(LAST_FRAME * stage.fps)
            env = FilmedEnv(env, contract, show, options.episodes, held)
        stack.enter_context(one_thread())
        if console.is_terminal:
            stack.enter_context(console.status(f"playing {plain(str(run.job.env))}"))
        venv = DummyVecEnv([lambda: OwnObservations(env)])
        return sample_episodes(acts, venv, contract, options.episodes, seed, not options.stochastic)


@contextmanager
def _made(run: LoadedRun, render_mode: str | None) -> Iterator[gym.Env[Any, Any]]:
    """Make the environment of a run, and close it afterward.

    Raises:
        ValueError: if that does not work with this render mode.
    """
    try:
        env = run.env(render_mode)
    except (gym.error.Error, RuntimeError, ImportError, TypeError, ValueError) as error:
        raise ValueError(
            f"{run.job.env} cannot be made with render_mode={render_mode!r}: "
            f"{type(error).__name__}: {error}"
        ) from error
    try:
        yield env
    finally:
        env.close()


@contextmanager
def _recorder(path: Path, fps: float) -> Iterator[Show]:
    with movie_file(path, fps) as movie:
        yield movie.add


@contextmanager
def _window(fps: float) -> Iterator[Show]:
    from safe_envs.rendering.frames import load_pygame
    from safe_envs.rendering.window import Window

    window = Window(load_pygame(), fps)
    try:
        yield window.show
    finally:
        window.close()


def _check_numbers(options: PlayOptions) -> None:
    check_count(episodes=options.episodes)
    if options.seed is not None:
        check_whole("seed", options.seed, low=0)
    if options.fps is not None and not (math.isfinite(options.fps) and 0.0 < options.fps <= 1000.0):
        raise ValueError(f"fps is {options.fps}; pass a number above 0, up to 1000")
