"""Gymnasium's own `check_env`, whose errors and warnings become part of the report."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable

import gymnasium as gym
from gymnasium.utils.env_checker import check_env

WRAPPED = (  # said of every wrapped environment
    "is different from the unwrapped version",
    "to get variables from other wrappers is deprecated",
)
_COLOR = re.compile(r"\x1b\[\d+m")
CLOSES = "skip_close_check" not in inspect.signature(check_env).parameters  # Gymnasium 0.29


class WithoutSpec(gym.Wrapper):
    """Hides an environment's spec from a `check_env` that would make it from there to close it."""

    spec = None


def gymnasium_remarks(make: Callable[[], gym.Env]) -> list[str]:
    """Run `check_env` on an environment and return its warnings.

    The environment is checked with its wrappers. Gymnasium need not be able to make it from its
    spec: `make` makes the second one, on which closing twice is checked.

    Args:
        make: makes the environment.

    Raises:
        Exception: whatever `check_env` raises.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        env = make()
        if CLOSES:
            check_env(WithoutSpec(env), skip_render_check=True)
        else:
            check_env(env, skip_render_check=True, skip_close_check=True)
        env.close()
        closed = make()
        closed.close()
        closed.close()
    remarks = []
    for each in caught:
        text = _COLOR.sub("", str(each.message))
        if not text.startswith("WARN: "):  # from the environment itself or its libraries
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
        elif not any(words in text for words in WRAPPED):
            remarks.append(text.removeprefix("WARN: "))
    return list(dict.fromkeys(remarks))
