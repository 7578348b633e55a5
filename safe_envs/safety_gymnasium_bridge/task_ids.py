"""The tasks of safety-gymnasium 1.0.0: their ids, and how the package makes them.

The table is kept here so that ids exist before the package is imported.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

ROBOTS = ("Point", "Car", "Doggo", "Racecar", "Ant")
KEYBOARD_ROBOTS = ("Point", "Car", "Racecar")  # those with a Debug variant
NAVIGATION_STEPS = {  # name of the task without its robot: steps of an episode
    **{f"{family}{level}": 1000 for family in ("Button", "Push", "Goal") for level in range(3)},
    **{f"Circle{level}": 500 for level in range(3)},
    "Run0": 500,
    **{f"Fading{speed}{level}": 1000 for speed in ("Easy", "Hard") for level in range(3)},
}
RACE_STEPS = {f"Race{level}": 500 for level in range(3)}
VELOCITY_MODULES = {
    "HalfCheetah": "half_cheetah",
    "Hopper": "hopper",
    "Swimmer": "swimmer",
    "Walker2d": "walker2d",
    "Ant": "ant",
    "Humanoid": "humanoid",
}
BUILDER = "safety_gymnasium.builder:Builder"
GROUPS = ("navigation", "velocity", "debug", "race", "vision")


@dataclass(frozen=True)
class GenuineTask:
    """One id of the genuine package.

    Args:
        id: as registered there, such as "SafetyPointGoal1-v0".
        group: one of `GROUPS`.
        entry_point: the package's module and class for it.
        max_episode_steps: as registered there.
        arguments: constructor arguments, as registered there.
        native: whether the plain id is an environment of this project.
    """

    id: str
    group: str
    entry_point: str
    max_episode_steps: int
    arguments: dict[str, Any] = field(default_factory=dict)
    native: bool = False


def find_task(task_id: str) -> GenuineTask:
    """Return the task of an id.

    Raises:
        ValueError: if the package has no such task; the message names the closest ones.
    """
    if task_id in TASKS:
        return TASKS[task_id]
    if task_id.removesuffix("Gymnasium-v0") + "-v0" in TASKS and "Gymnasium-" in task_id:
        plain = task_id.replace("Gymnasium-", "-")
        raise ValueError(f"there is no task {task_id!r}; {plain!r} is a five-tuple environment")
    if task_id.startswith(("ShadowHand", "Freight", "Franka")):
        raise ValueError(
            f"{task_id!r} is a task for Isaac Gym, which is not bridged: it needs the proprietary "
            "package isaacgym (not on PyPI, Python 3.8 at most, a CUDA graphics card); use one "
            "of the MuJoCo tasks, such as 'SafetyPointGoal1-v0'"
        )
    closest = ", ".join(map(repr, difflib.get_close_matches(task_id, TASKS, n=3, cutoff=0.0)))
    raise ValueError(
        f"safety-gymnasium 1.0.0 has no task {task_id!r}; the closest of its {len(TASKS)} are "
        f"{closest}"
    )


def _robot_tasks() -> Iterator[GenuineTask]:
    for name, steps in (NAVIGATION_STEPS | RACE_STEPS).items():
        scene = {"floor_conf.type": "village"} if name in RACE_STEPS else {}
        group = "race" if name in RACE_STEPS else "navigation"
        for robot in ROBOTS:
            config = {**scene, "agent_name": robot}
            vision = {"observe_vision": True, "observation_flatten": False, **config}
            yield _built(robot, name, "", group, steps, config)
            yield _built(robot, name, "Vision", "vision", steps, vision)
            if robot in KEYBOARD_ROBOTS:
                yield _built(robot, name, "Debug", "debug", steps, {"debug": True, **config})


def _built(
    robot: str, name: str, variant: str, group: str, steps: int, config: dict[str, Any]
) -> GenuineTask:
    arguments = {"config": config, "task_id": f"Safety{robot}{name}-v0"}
    return GenuineTask(f"Safety{robot}{name}{variant}-v0", group, BUILDER, steps, arguments)


def _velocity_tasks() -> Iterator[GenuineTask]:
    for version in ("v0", "v1"):
        for robot, module in VELOCITY_MODULES.items():
            entry_point = (
                f"safety_gymnasium.tasks.safe_velocity.safety_{module}_velocity_{version}:"
                f"Safety{robot}VelocityEnv"
            )
            task_id = f"Safety{robot}Velocity-{version}"
            yield GenuineTask(task_id, "velocity", entry_point, 1000, native=version == "v1")


TASKS = {task.id: task for tasks in (_robot_tasks(), _velocity_tasks()) for task in tasks}
