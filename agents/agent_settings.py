"""An agent's own arguments: the fields of the dataclasses it is put together from."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, Protocol, TypeVar, get_type_hints

import numpy as np

from agents.actor_critic import MlpPolicy
from agents.batch import Batch, Measurement
from agents.cost_margin import MarginSetting
from agents.exploration_noise import NoiseCeiling
from agents.price_units import PriceUnits
from agents.primal_dual import AdvantageScaling, PrimalDual
from safe_envs.contract.argument_checks import check_flag, closest_hint

Part = TypeVar("Part")
# Arguments of Stable-Baselines3's PPO; an agent with another step has no use for some of them.
OF_PPO = ("clip_range", "ent_coef", "vf_coef", "target_kl", "normalize_advantage")
SET_BY_AGENT = ("num_constraints",)  # fields of parts that the agent fills in itself
AT_START = MappingProxyType({"at_start": True})  # metadata of fields that later act no more


class PolicyUpdate(Protocol):
    """What an agent does with a batch."""

    def update(
        self,
        policy: MlpPolicy,
        batch: Batch,
        measured: Measurement | None,
        progress_remaining: float,
    ) -> dict[str, float]:
        """Update the policy and return what to log; `measured` is None if no episode ended.

        An update that takes steps of environments itself returns their number as
        "environment_steps".
        """
        ...

    def log(self) -> dict[str, np.ndarray]:
        """Return what to log about the constraints: one number each, or one for all."""
        ...

    def state(self) -> dict[str, Any]:
        """Return what the update remembers: numbers, lists, arrays, None, or dicts of these."""
        ...

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a state that an update of the same agent returned."""
        ...


@dataclass(frozen=True)
class Recipe:
    """The parts of an agent and how to put them together.

    Args:
        parts: dataclasses whose fields are the agent's own arguments; a field that holds another
            dataclass is replaced by the fields of that one.
        build: returns the update, given all settings and the number of constraints.
        defaults: defaults of this agent where they differ from the parts'.
    """

    parts: tuple[type, ...]
    build: Callable[[Mapping[str, Any], int], PolicyUpdate]
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def arguments(self) -> dict[str, Any]:
        """Return the names and defaults of all settings."""
        return {
            one.name: self.defaults.get(one.name, one.default)
            for part in self.all_parts()
            for one in own_fields(part)
        }

    def all_parts(self) -> tuple[type, ...]:
        """Return all parts; a part comes after the parts it holds."""
        return _with_held(self.parts)

    def settings(self, given: Mapping[str, Any], others: Collection[str]) -> dict[str, Any]:
        """Return all settings: the given values, and defaults for the rest.

        Args:
            given: what the user passed.
            others: the agent's other arguments, for the error.

        Raises:
            TypeError: if a name is unknown; the error lists the known names and the closest one.
            ValueError: if a value is out of range.
        """
        known = self.arguments()
        for name in given:
            if name not in known:
                names = sorted({*known, *others})
                listed = f"the known ones are {', '.join(names)}"
                if name in OF_PPO:
                    raise TypeError(
                        f"{name} is an argument of PPO, and this agent's update has no use for it; "
                        f"leave it out: {listed}"
                    )
                raise TypeError(f"unknown argument {name!r}; {closest_hint(name, names)}{listed}")
        settings = {**known, **{name: plain(value) for name, value in given.items()}}
        for part in self.all_parts():
            _check_kinds(part, {name: settings[name] for name in given})
        for part in self.parts:
            make_part(part, settings)
        return settings


def plain(value: Any) -> Any:
    """Return Python's number for one of NumPy's, and any other value as it is."""
    is_one = isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0)
    return value.item() if is_one else value


@cache
def own_fields(part: type) -> list[Any]:
    """Return the dataclass fields of a part that are arguments of its agents."""
    held = held_parts(part)
    return [one for one in fields(part) if one.name not in (*held, *SET_BY_AGENT)]


def at_start_only(recipe: Recipe) -> set[str]:
    """Return the settings that act at the start of a training only: fields marked `AT_START`."""
    found = (one for part in recipe.all_parts() for one in own_fields(part))
    return {one.name for one in found if one.metadata.get("at_start")}


@cache
def _field_types(kind: type) -> dict[str, Any]:
    """Return the types of a part's fields, which are text in its file."""
    return get_type_hints(kind)


@cache
def held_parts(kind: type) -> dict[str, type]:
    """Return the fields of a part that hold another part: those whose type is a dataclass."""
    types = _field_types(kind)
    return {f.name: types[f.name] for f in fields(kind) if is_dataclass(types[f.name])}


def make_part(kind: type[Part], settings: Mapping[str, Any]) -> Part:
    """Return a part, and the parts it holds, made from the settings that match their fields."""
    parts: dict[str, type] = held_parts(kind)  # type: ignore[arg-type]  # classes can be hashed
    held: dict[str, Any] = {name: make_part(part, settings) for name, part in parts.items()}
    names = inspect.signature(kind).parameters
    return kind(**{n: v for n, v in settings.items() if n in names}, **held)


def primal_dual(primal: type, dual: type, defaults: Mapping[str, Any] | None = None) -> Recipe:
    """Return the recipe of an agent with this primal and this dual.

    Args:
        primal: a dataclass that is an `agents.primal_dual.Primal`.
        dual: a dataclass that is an `agents.primal_dual.Dual`.
        defaults: defaults of the agent where they differ from the parts'.
    """

    def build(settings: Mapping[str, Any], num_constraints: int) -> PolicyUpdate:
        return PrimalDual(
            make_part(AdvantageScaling, settings),
            make_part(primal, settings),
            make_part(dual, {**settings, "num_constraints": num_constraints}),
            PriceUnits(num_constraints, make_part(MarginSetting, settings)),
            make_part(NoiseCeiling, settings),
        )

    return Recipe(
        (AdvantageScaling, MarginSetting, NoiseCeiling, primal, dual), build, defaults or {}
    )


def _check_kinds(part: type, given: Mapping[str, Any]) -> None:
    """Raise ValueError if a field that is a whole number or a flag was given something else."""
    types = _field_types(part)
    for one in own_fields(part):
        if one.name in given and types[one.name] is int:
            if not isinstance(given[one.name], int) or isinstance(given[one.name], bool):
                raise ValueError(f"{one.name} is {given[one.name]!r}; pass a whole number")
        elif one.name in given and types[one.name] is bool:
            check_flag(one.name, given[one.name])


def _with_held(parts: Sequence[type]) -> tuple[type, ...]:
    found = [one for part in parts for one in (*_with_held([*held_parts(part).values()]), part)]
    return tuple(dict.fromkeys(found))
