"""Whether every id of the genuine package works here: one row per id, one column per check."""

from __future__ import annotations

import multiprocessing
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np

from safe_envs.contract.check_constrained_env import check_constrained_env
from safe_envs.safety_gymnasium_bridge.making import make
from safe_envs.safety_gymnasium_bridge.task_ids import TASKS, GenuineTask

COLUMNS = ("constructs", "resets", "steps", "deterministic", "check", "renders")
STEPS = 200
VISION_STEPS = 10  # every step draws an image
COMPARED_STEPS = 80  # when checking determinism
CHECK = {"steps": 15, "num_envs": 2}
CHECKED_EPISODE = 6  # steps; several episodes end within a check
VISION_CHECK = {"steps": 4, "num_envs": 2}
VISION_CHECKED_EPISODE = 2


@dataclass(frozen=True)
class SweepRow:
    """The results for one id.

    Args:
        id: the id.
        group: its group.
        passed: the `COLUMNS` that hold.
        note: the first error; empty if there was none.
        seconds: time taken.
    """

    id: str
    group: str
    passed: tuple[str, ...]
    note: str
    seconds: float


def sweep_task(task_id: str) -> SweepRow:
    """Return the results for one id; failures are recorded, not raised."""
    task = TASKS[task_id]
    passed: list[str] = []
    notes: list[str] = []
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gymnasium's advice on spaces and on old versions
        for column, holds in _checks_of(task).items():
            try:
                if holds():
                    passed.append(column)
                else:
                    notes.append(f"{column}: no")
            except Exception as error:  # whatever the foreign package raises is a result
                notes.append(f"{column}: {type(error).__name__}: {error}")
    note = notes[0] if notes else ""
    return SweepRow(task_id, task.group, tuple(passed), note, time.perf_counter() - began)


def _checks_of(task: GenuineTask) -> dict[str, Callable[[], bool]]:
    answers = (_constructs, _resets, _steps, _deterministic, _checks, _renders)
    return {c: partial(answer, task) for c, answer in zip(COLUMNS, answers, strict=True)}


def _constructs(task: GenuineTask) -> bool:
    _made(task).close()
    return True


def _resets(task: GenuineTask) -> bool:
    env = _made(task)
    observation, info = env.reset(seed=0)
    env.close()
    return env.observation_space.contains(observation) and info["cost"] == 0.0


def _steps(task: GenuineTask) -> bool:
    env = _made(task)
    rows = rollout(env, seed=1, steps=_length(task))
    env.close()
    return all(env.observation_space.contains(row[0]) and np.isfinite(row[1]) for row in rows)


def _deterministic(task: GenuineTask) -> bool:
    """Compare two environments; the first has been used before."""
    steps = min(_length(task), COMPARED_STEPS)
    used, fresh = _made(task), _made(task)
    rollout(used, seed=5, steps=3)
    equal = all(
        _same(a, b) for a, b in zip(rollout(used, 2, steps), rollout(fresh, 2, steps), strict=True)
    )
    used.close()
    fresh.close()
    return equal


def _checks(task: GenuineTask) -> bool:
    sees = task.group == "vision"
    episode = VISION_CHECKED_EPISODE if sees else CHECKED_EPISODE
    factory = partial(_made, task, max_episode_steps=episode)
    with _without_fork() if sees else nullcontext():
        report = check_constrained_env(factory, **(VISION_CHECK if sees else CHECK))
    return "terminal costs" in report.passed


@contextmanager
def _without_fork() -> Iterator[None]:
    """Start processes in the block without fork.

    After the parent has drawn a frame, forked children hang when they draw one.
    """
    before = multiprocessing.get_start_method(allow_none=True)
    others = [m for m in multiprocessing.get_all_start_methods() if m != "fork"]
    multiprocessing.set_start_method(others[-1], force=True)
    multiprocessing.set_forkserver_preload([__name__])
    try:
        yield
    finally:
        multiprocessing.set_start_method(before, force=True)


def _renders(task: GenuineTask) -> bool:
    """Draw a frame; Vision tasks observe one, with the photographed sky."""
    env = make(task.id, render_mode="rgb_array")
    env.reset(seed=3)
    env.step(env.action_space.sample())
    frame: Any = env.render()
    env.close()
    return frame.dtype == np.uint8 and frame.shape[2:] == (3,) and frame.std() > 0.0


def _made(task: GenuineTask, **options: Any) -> gym.Env:
    """Return the environment, for Vision tasks without the photographs of its sky."""
    sky = {"plain_sky": True} if task.group == "vision" else {}
    return make(task.id, **sky, **options)


def _length(task: GenuineTask) -> int:
    return VISION_STEPS if task.group == "vision" else STEPS


def rollout(env: gym.Env, seed: int, steps: int) -> list[tuple[Any, ...]]:
    """Return (observation, reward, terminated, truncated, cost) of steps with random actions."""
    env.action_space.seed(seed)
    observation, info = env.reset(seed=seed)
    rows: list[tuple[Any, ...]] = [(observation, 0.0, False, False, info["cost"])]
    for _ in range(steps):
        if rows[-1][2] or rows[-1][3]:
            observation, info = env.reset()
            rows.append((observation, 0.0, False, False, info["cost"]))
        else:
            *outcome, info = env.step(env.action_space.sample())
            rows.append((*outcome, info["cost"]))
    return rows


def _same(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    one, other = a[0], b[0]
    if isinstance(one, dict):
        equal = all(np.array_equal(one[name], other[name]) for name in one)
    else:
        equal = np.array_equal(one, other)
    return equal and a[1:] == b[1:]
