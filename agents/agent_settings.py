"""An agent's own arguments: the fields of the dataclasses it is put together from."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Protocol, TypeVar, get_type_hints

import numpy as np

from agents.actor_critic import MlpPolicy
from agents.batch import Batch, Measurement
from agents.primal_dual import AdvantageScaling, PrimalDual

Part = TypeVar("Part")


class PolicyUpdate(Protocol):
    """What an agent does with a batch."""

    def start(self, num_constraints: int) -> None:
        """Prepare for m constraints; raise ValueError if that number is not possible."""
        ...

    def update(
        self,
        policy: MlpPolicy,
        batch: Batch,
        measured: Measurement | None,
        progress_remaining: float,
    ) -> dict[str, float]:
        """Update the policy and return what to log; `measured` is None if no episode ended.

        An update that takes steps of environments itself says how many in "environment_steps".
        """
        ...

    def log(self) -> dict[str, np.ndarray]:
        """Return what to log about the constraints: one number each, or one for all."""
        ...


@dataclass(frozen=True)
class Recipe:
    """The parts of an agent and how to put them together.

    Args:
        parts: dataclasses whose fields are the agent's own arguments; a field that holds a
            dataclass stands for that one's fields.
        build: makes the update from all settings.
        defaults: defaults of this agent where they differ from the parts'.
    """

    parts: tuple[type, ...]
    build: Callable[[Mapping[str, Any]], PolicyUpdate]
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def arguments(self) -> dict[str, Any]:
        """Return the names and defaults of all settings."""
        found: dict[str, Any] = {}
        for part in self.all_parts():
            held = held_parts(part)
            for one in fields(part):
                if one.name not in held:
                    found[one.name] = self.defaults.get(one.name, one.default)
        return found

    def all_parts(self) -> tuple[type, ...]:
        """Return the parts, each after those that its fields hold."""
        return _with_held(self.parts)

    def settings(self, given: Mapping[str, Any], others: Collection[str]) -> dict[str, Any]:
        """Return all settings, given ones first.

        Args:
            given: what the user passed.
            others: the agent's other arguments, for the error.

        Raises:
            TypeError: if a name is unknown, with the known ones and the closest.
        """
        known = self.arguments()
        for name in given:
            if name not in known:
                names = sorted([*known, *others])
                close = difflib.get_close_matches(name, names, 1)
                hint = f"did you mean {close[0]!r}? " if close else ""
                raise TypeError(
                    f"unknown argument {name!r}; {hint}the known ones are {', '.join(names)}"
                )
        return {**known, **given}


def held_parts(kind: type) -> dict[str, type]:
    """Return the fields of a part that hold another part, by name: those of a dataclass's type."""
    types = get_type_hints(kind)
    return {f.name: types[f.name] for f in fields(kind) if is_dataclass(types[f.name])}


def make_part(kind: type[Part], settings: Mapping[str, Any]) -> Part:
    """Return a part made from those settings that it has fields for, with the parts it holds."""
    held: dict[str, Any] = {
        name: make_part(part, settings) for name, part in held_parts(kind).items()
    }
    names = inspect.signature(kind).parameters
    return kind(**{n: v for n, v in settings.items() if n in names}, **held)


def primal_dual(primal: type, dual: type, **defaults: Any) -> Recipe:
    """Return the recipe of an agent with this primal and this dual."""

    def build(settings: Mapping[str, Any]) -> PolicyUpdate:
        return PrimalDual(
            make_part(AdvantageScaling, settings),
            make_part(primal, settings),
            make_part(dual, settings),
        )

    return Recipe((AdvantageScaling, primal, dual), build, defaults)


def _with_held(parts: Sequence[type]) -> tuple[type, ...]:
    found = [one for part in parts for one in (*_with_held([*held_parts(part).values()]), part)]
    return tuple(dict.fromkeys(found))
