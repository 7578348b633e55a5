"""Objects whose state is a value of its own: random generators, tensors, MuJoCo's simulations."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from agents.saving import mujoco_state
from agents.saving.object_walks import MISSING, Form, Node, NotRestorableError, Putting, Taking

SEEDS = ("entropy", "spawn_key", "pool_size", "n_children_spawned")
BIT_GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")


@dataclass(frozen=True)
class _Stateful:
    """Objects whose whole state is one value, such as random generators.

    Args:
        kind: of the objects.
        read: returns the state as a value.
        write: gives an object a state.
        new: makes an object for a state.
        fits_state: whether an object can be given a state.
    """

    kind: type
    read: Callable[[Any], Any]
    write: Callable[[Any, Any], Any]
    new: Callable[[Any], Any]
    fits_state: Callable[[Any, Any], bool] = lambda one, state: True

    def fits(self, kind: type) -> bool:
        return issubclass(kind, self.kind)

    def take(self, walk: Taking, value: Any) -> Node:
        return {"state": self.read(value)}

    def put(self, walk: Putting, node: Node, existing: Any, place: str) -> Any:
        state = node["state"]
        usable = walk.free(existing, node) and self.fits_state(existing, state)
        made = existing if usable else self.new(state)
        self.write(made, state)
        return made


class _Models:
    """MuJoCo's models; one that is equal already stays."""

    def fits(self, kind: type) -> bool:
        return mujoco_state.is_model(kind)

    def take(self, walk: Taking, value: Any) -> Node:
        return {"bytes": mujoco_state.bytes_of_model(value)}

    def put(self, walk: Putting, node: Node, existing: Any, place: str) -> Any:
        content = node["bytes"]
        if walk.free(existing, node) and _same_bytes(
            mujoco_state.bytes_of_model(existing), content
        ):
            return existing
        return mujoco_state.model_from(content)


class _Simulations:
    """MuJoCo's data of a model."""

    def fits(self, kind: type) -> bool:
        return mujoco_state.is_data(kind)

    def take(self, walk: Taking, value: Any) -> Node:
        return {"model": walk.refer(value.model), "arrays": mujoco_state.arrays_of_data(value)}

    def put(self, walk: Putting, node: Node, existing: Any, place: str) -> Any:
        before = existing.model if walk.free(existing, node) else MISSING
        model = walk.get(node["model"], before, f"{place}.model")
        made = existing if model is before else mujoco_state.new_data(model)
        mujoco_state.put_into_data(made, node["arrays"])
        return made


STATE_FORMS: dict[str, Form] = {
    "generator": _Stateful(
        np.random.Generator,
        lambda one: _read_bits(one.bit_generator),
        lambda one, state: _write_bits(one.bit_generator, state),
        lambda state: np.random.Generator(_bit_generator(state["state"]["bit_generator"])),
        lambda one, state: type(one.bit_generator).__name__ == state["state"]["bit_generator"],
    ),
    "old generator": _Stateful(
        np.random.RandomState,
        lambda one: one.get_state(legacy=False),
        lambda one, state: one.set_state(state),
        lambda state: np.random.RandomState(),
    ),
    "bit generator": _Stateful(
        np.random.BitGenerator,
        lambda one: _read_bits(one),
        lambda one, state: _write_bits(one, state),
        lambda state: _bit_generator(state["state"]["bit_generator"]),
    ),
    "python generator": _Stateful(
        random.Random,
        lambda one: [(state := one.getstate())[0], np.array(state[1], dtype=np.uint32), state[2]],
        lambda one, state: one.setstate((state[0], tuple(state[1].tolist()), state[2])),
        lambda state: random.Random(),
    ),
    "torch generator": _Stateful(
        torch.Generator,
        lambda one: one.get_state(),
        lambda one, state: one.set_state(state),
        lambda state: torch.Generator(),
    ),
    "tensor": _Stateful(
        torch.Tensor,
        lambda one: one.detach().clone(),
        lambda one, state: one.detach().copy_(state),
        lambda state: torch.empty_like(state),
        lambda one, state: (one.shape, one.dtype) == (state.shape, state.dtype),
    ),
    "model": _Models(),
    "simulation": _Simulations(),
}


def _same_bytes(one: np.ndarray, other: np.ndarray) -> bool:
    """Return whether two arrays of bytes are equal."""
    return one.size == other.size and bool((one == other).all())


def _bit_generator(name: str) -> np.random.BitGenerator:
    if name not in BIT_GENERATORS:
        raise NotRestorableError(f"{name[:80]!r} is not one of {', '.join(BIT_GENERATORS)}")
    made: np.random.BitGenerator = getattr(np.random, name)()
    return made


def _read_bits(generator: np.random.BitGenerator) -> dict[str, Any]:
    """Return the state of a generator and of the seeds that it would spawn."""
    seeds = getattr(generator, "seed_seq", None)
    state: dict[str, Any] = {"state": generator.state, "seeds": None}
    if isinstance(seeds, np.random.SeedSequence):
        state["seeds"] = {name: getattr(seeds, name) for name in SEEDS}
    return state


def _write_bits(generator: np.random.BitGenerator, state: dict[str, Any]) -> None:
    seeds = state["seeds"]
    if seeds is None or not hasattr(generator, "seed_seq"):  # NumPy before 1.25 cannot spawn
        generator.state = state["state"]
        return
    whole: Any = generator
    whole.__setstate__((state["state"], np.random.SeedSequence(**seeds)))
