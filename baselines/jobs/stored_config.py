"""Checks the types in a config.json, which may be damaged or come from someone else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from safe_envs.contract.argument_checks import is_number


class DamagedConfig(ValueError):
    """An entry of a config.json has another type than this version writes."""


class _Needed(NamedTuple):
    holds: Callable[[Any], bool]
    told: str


def _is_value(value: Any) -> bool:
    return isinstance(value, str | bool) or is_number(value)


OBJECT = _Needed(lambda value: isinstance(value, dict), "a JSON object is needed")
TEXT = _Needed(lambda value: isinstance(value, str), "a text is needed")
WHOLE = _Needed(
    lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0,
    "a whole number >= 0 is needed",
)
ARGUMENTS = _Needed(
    lambda value: isinstance(value, dict) and all(map(_is_value, value.values())),
    "a JSON object of numbers, texts, true and false is needed",
)
CODE = {"kind": TEXT, "place": TEXT, "name": TEXT, "sha256": TEXT}
# by the object that holds the entries; what is missing is left to the readers of the entries
NEEDED: dict[tuple[str, ...], dict[str, _Needed]] = {
    (): {
        "env": OBJECT,
        "agent": TEXT,
        "seed": WHOLE,
        "hyperparameters": OBJECT,
        "total_timesteps": WHOLE,
        "evaluation_episodes": WHOLE,
        "evaluations": WHOLE,
        "agent_code": OBJECT,
        "versions": OBJECT,
    },
    ("env",): {"id": TEXT, "kwargs": ARGUMENTS, "code": OBJECT},
    ("env", "code"): CODE,
    ("agent_code",): CODE,
}


def check_config(config: Any) -> None:
    """Check the types of the entries that a config.json has.

    Args:
        config: as `json.loads` returns it.

    Raises:
        DamagedConfig: if an entry has another type; the message names it.
        TypeError: if it is no object.
    """
    if not isinstance(config, dict):
        raise TypeError(f"it holds no JSON object but {type(config).__name__}")
    for place, needed in NEEDED.items():
        entries = config
        for name in place:
            entries = entries.get(name, {})
        for name, entry in needed.items():
            if name in entries and not entry.holds(entries[name]):
                whole = ".".join((*place, name))
                raise DamagedConfig(f"{whole}: {entry.told}, not {entries[name]!r}")
