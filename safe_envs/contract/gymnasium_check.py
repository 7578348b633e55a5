"""Gymnasium's own `check_env`, whose errors and warnings become part of the report."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable

import gymnasium as gym
from gymnasium.utils.env_checker import check_env

WRAPPED = "is different from the unwrapped version"  # true of every wrapped environment
_COLOR = re.compile(r"\x1b\[\d+m")
_SKIPS = {  # what this `check_env` can skip; 0.29 never closes a second environment
    name: True
    for name in ("skip_render_check", "skip_close_check")
    if name in inspect.signature(check_env).parameters
}


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
        check_env(env, **_SKIPS)
        env.close()
        closed = make()
        closed.close()
        closed.close()
    remarks = []
    for each in caught:
        text = _COLOR.sub("", str(each.message))
        if not text.startswith("WARN: "):  # from the environment itself or its libraries
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
        elif WRAPPED not in text:
            remarks.append(text.removeprefix("WARN: "))
    return list(dict.fromkeys(remarks))
