"""Custom layouts and settings of navigation tasks: the package's argument `config`, checked.

The package reads `config` before a task makes its objects and sets its own values, so it rejects
most entries and overwrites some. Here, entries are applied to the finished task.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np

from safe_envs.contract.argument_checks import (
    check_choice,
    check_not_negative,
    check_number,
    check_whole,
    checked_array,
    unknown_name,
)
from safe_envs.safety_gymnasium_bridge.task_ids import ROBOTS

BEFORE = ("agent_name", "debug", "observation_flatten", "observe_vision")  # decide what is built
OF_AGENT = ("keepout", "locations", "placements", "rot")
RUNNING = {"agent", "engine", "goal_button", "group", "name", "random_generator", "timer", "type"}
WITHOUT_EFFECT = {  # settings of each object that the package does not read
    "agent": ("palcement_cal_factor", "placements_conf.placements"),
    "buttons": ("goal.locations", "goal.placements", "goal.reward_distance", "goal.reward_goal"),
    "circle": ("circle.locations", "circle.placements"),
    "push_box": ("goal.reward_distance",),
    "sigwalls": ("sigwalls.placements",),
}
FAILING = {  # other values than these end resets or steps with an error inside the package
    "action_noise": 0.0,
    "reward_conf.reward_orientation": False,
    "sigwalls.is_lidar_observed": False,
}
CHOICES = {
    "agent_name": ROBOTS,
    "floor_conf.type": ("mat", "village"),
    "lidar_conf.type": ("pseudo", "natural"),
}
LEAST = {  # smallest values of integers
    "compass_conf.shape": 2,
    "fadding_steps": 1,
    "lidar_conf.num_bins": 1,
    "num_steps": 1,
    "sim_conf.frameskip_binom_n": 1,
}
MAY_BE_NONE = {"agent.rot", "lidar_conf.max_dist", "reward_conf.reward_clip"}
PLACES = "pairs (x, y) [m]"
RECTANGLES = "rectangles (x_min, y_min, x_max, y_max) [m]"
SLACK = 1e-8  # [m], wider than the square in which the package draws a given place


def settings_of(task: Any) -> dict[str, Any]:
    """Return the settings of a navigation task that `config` may change, with current values."""
    settings = {
        name: value
        for name, value in vars(task).items()
        if not name.startswith("_") and isinstance(value, bool | int | float | str)
    }
    for name, part in vars(task).items():
        if name.endswith("_conf"):
            fields = {**vars(type(part)), **vars(part)}
            settings |= {f"{name}.{f}": v for f, v in fields.items() if not f.startswith("_")}
    settings |= {f"agent.{name}": vars(task.agent)[name] for name in OF_AGENT}
    for placed in task._obstacles:
        for field in dataclasses.fields(placed):
            if field.name not in RUNNING:
                settings[f"{placed.name}.{field.name}"] = vars(placed)[field.name]
    without = {name for owner, _ in _placed(task) for name in WITHOUT_EFFECT.get(owner, ())}
    return {name: value for name, value in settings.items() if name not in without}


def check_config(config: Any) -> dict[str, Any]:
    """Return a copy of `config`; raise ValueError if it is not a dictionary with names as keys."""
    if config is None:
        return {}
    if not isinstance(config, Mapping) or not all(isinstance(key, str) for key in config):
        raise ValueError(
            f"config is {config!r}; pass a dictionary such as {{'hazards.num': 4}}, with the "
            "package's own names"
        )
    return copy.deepcopy(dict(config))


def entries_before(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries that the package itself reads, before it makes the task."""
    found = {name: config[name] for name in BEFORE if name in config}
    for name, value in found.items():
        _check_entry(name, value, "" if name == "agent_name" else False)
    return found


def apply_config(task: Any, config: Mapping[str, Any]) -> None:
    """Set the entries of `config` on a task that has not been reset yet.

    Raises:
        ValueError: if an entry is unknown or has a wrong value, or if no layout is possible.
    """
    settings = settings_of(task)
    for name, value in config.items():
        if name not in settings:
            raise ValueError(unknown_name("entry of config", name, settings))
        value = _check_entry(name, value, settings[name])
        if name in FAILING and value != FAILING[name]:
            raise ValueError(
                f"config[{name!r}] is {value!r}, with which the package itself fails in every "
                f"episode; leave it out, or pass {FAILING[name]!r}"
            )
        part, _, field = name.rpartition(".")
        if name not in BEFORE:
            setattr(vars(task)[part] if part else task, field, value)
    for placed in task._obstacles:
        if any(name.startswith(f"{placed.name}.") for name in config):
            _derive(placed)
    if config:
        _check_layout(task)
        task.build_observation_space()


def _derive(placed: Any) -> None:
    """Recompute what an object derives from its settings when it is made."""
    if placed.name == "sigwalls" and placed.num not in (2, 4):
        raise ValueError(f"config['sigwalls.num'] is {placed.num}; pass 2 (left and right) or 4")
    if "__post_init__" in vars(type(placed)):
        placed.__post_init__()


def _check_entry(name: str, value: Any, now: Any) -> Any:
    """Return a value as the package expects it, checked by its name and its current value."""
    entry, field = f"config[{name!r}]", name.rpartition(".")[2]
    if field == "locations":
        return _rows(entry, value, 2, PLACES)
    if field == "placements":
        return None if value is None else _rectangles(entry, value)
    if field == "extents":
        whole = _like(entry, value, now)
        _rectangles(entry, [whole])
        return whole
    if name in CHOICES:
        check_choice(entry, value, CHOICES[name])
    elif isinstance(now, bool | str):
        if not isinstance(value, type(now)):
            raise ValueError(f"{entry} is {value!r}; pass a {type(now).__name__} such as {now!r}")
    elif isinstance(now, list | tuple | np.ndarray):
        return _like(entry, value, now)
    elif not (value is None and name in MAY_BE_NONE):
        _check_scalar(entry, value, field, LEAST.get(name))
    return value


def _check_scalar(entry: str, value: Any, field: str, least: int | None) -> None:
    if field == "num" or least is not None:
        check_whole(entry, value, low=least or 0)
    elif field.startswith("reward") or field == "rot":
        checked_array(entry, value, ())
    elif field == "frameskip_binom_p":
        check_number(entry, value, low=0.0, high=1.0)
    else:
        check_not_negative(**{entry: value})


def _like(entry: str, value: Any, now: Any) -> Any:
    """Return numbers in this shape, as integers where the current ones are integers."""
    array = checked_array(entry, value, np.shape(now))
    if isinstance(now, np.ndarray):
        return array
    whole = all(isinstance(number, int) for number in now) and (array == array.round()).all()
    return tuple(array.astype(int).tolist() if whole else array.tolist())


def _rows(entry: str, value: Any, columns: int, meaning: str) -> list[tuple[float, ...]]:
    count = len(value) if isinstance(value, list | tuple | np.ndarray) else 0
    rows = checked_array(entry, value, (count, columns), meaning) if count else np.zeros((0, 0))
    if not count and value != [] and value != ():
        raise ValueError(f"{entry} is {value!r}; pass a list of {meaning}")
    return [tuple(row) for row in rows.tolist()]


def _rectangles(entry: str, value: Any) -> list[tuple[float, ...]]:
    rows = _rows(entry, value, 4, RECTANGLES)
    for row in rows:
        if row[0] > row[2] or row[1] > row[3]:
            raise ValueError(f"{entry} has the corners {row}; pass {RECTANGLES}, lowest first")
    return rows


def _check_layout(task: Any) -> None:
    """Raise ValueError for places that are not used or that make a layout impossible."""
    fixed: list[tuple[str, float, float, float]] = []
    for name, placed in _placed(task):
        places = vars(placed).get("locations", [])
        count = _count(name, placed, len(places))
        fixed += [(f"{name} {i}", *place, placed.keepout) for i, place in enumerate(places[:count])]
    for (one, x, y, keepout), (other, u, v, kept) in combinations(fixed, 2):
        apart, needed = math.hypot(x - u, y - v), keepout + kept + task.placements_conf.margin
        if apart + SLACK < needed:
            raise ValueError(
                f"config places {one} and {other} {apart:.3g} m apart, but their keepouts need "
                f"{needed:.3g} m; move them or lower their 'keepout'"
            )


def _count(name: str, placed: Any, places: int) -> int:
    """Return how many objects of a kind there are; raise ValueError if that is impossible."""
    count: int = vars(placed).get("num", 1)
    if count == 0 and placed.is_lidar_observed:
        raise ValueError(
            f"config['{name}.num'] is 0, but the lidar of the {name} needs one; set "
            f"'{name}.is_lidar_observed' to False too"
        )
    if places > count and name != "sigwalls":
        several = f"set '{name}.num' too" if "num" in vars(placed) else "pass one place"
        raise ValueError(
            f"config['{name}.locations'] has {places} places, but there is room for {count}; "
            f"{several}"
        )
    return count


def _placed(task: Any) -> Iterator[tuple[str, Any]]:
    yield "agent", task.agent
    for placed in task._obstacles:
        yield placed.name, placed
