"""The constraints and the discount that all copies of an environment declare alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from safe_envs.contract.cost_signal import ConstraintSpec, CostSignalError

ALIKE = "an agent needs copies that declare the same: make all of them alike"


def shared_constraints(declared: Sequence[Any], same_limits: bool) -> tuple[ConstraintSpec, ...]:
    """Return the constraints of the first copy, which all others must declare too.

    Args:
        declared: what each copy declares, (N,).
        same_limits: whether the limits have to be the same.

    Raises:
        CostSignalError: if a copy declares something else than `ConstraintSpec`s.
        ValueError: if two copies declare different constraints; the message has both.
    """
    first = declared[0]
    for row, own in enumerate(declared):
        if row and own is first:
            continue
        if not isinstance(own, tuple | list) or not all(isinstance(c, ConstraintSpec) for c in own):
            raise CostSignalError(
                f"environment {row} declares constraints = {own!r}; declare a tuple of "
                "safe_envs.ConstraintSpec, or wrap it with safe_envs.ConstrainedWrapper"
            )
        if _compared(own, same_limits) != _compared(first, same_limits):
            only_limits = _compared(own, False) == _compared(first, False)
            raise ValueError(
                f"environment 0 declares {_text(first)} but environment {row} declares "
                f"{_text(own)}; {ALIKE}{', or pass cost_limit' if only_limits else ''}"
            )
    return tuple(first)


def shared_discount(declared: Sequence[Any]) -> float:
    """Return the discount of the return that all copies declare.

    Raises:
        ValueError: if two copies declare different ones.
    """
    for row, own in enumerate(declared):
        if own != declared[0]:
            raise ValueError(
                f"environment 0 declares reward_discount {declared[0]} but environment {row} "
                f"declares {own}; {ALIKE}"
            )
    return float(declared[0])


def check_all_declare(declares: Sequence[bool]) -> None:
    """Raise ValueError if some copies declare constraints and others do not, (N,) bool."""
    if any(declares) and not all(declares):
        without = [row for row, has in enumerate(declares) if not has]
        raise ValueError(
            f"environments {without} of {len(declares)} declare no constraints and the others do; "
            f"{ALIKE}, with safe_envs.ConstrainedWrapper"
        )


def _compared(constraints: Sequence[ConstraintSpec], same_limits: bool) -> list[ConstraintSpec]:
    return [one if same_limits else replace(one, limit=0.0) for one in constraints]


def _text(constraints: Sequence[ConstraintSpec]) -> str:
    each = [f"{one.name!r} <= {one.limit:g} (discount {one.discount:g})" for one in constraints]
    return ", ".join(each) or "no constraint"
