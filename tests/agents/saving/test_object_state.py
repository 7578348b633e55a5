"""The state of objects, taken from one and put into another of the same making.

What has to hold follows from Python: equal values, one object where there was one, and the same
numbers from generators as the original's next ones.
"""

import ctypes
import enum
import itertools
import json
import pickle
import random
import threading
from collections import OrderedDict, defaultdict, deque
from dataclasses import dataclass
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import torch

from agents.saving.data_values import ValueReader, ValueWriter
from agents.saving.object_state import ObjectState, put_back, taken
from agents.saving.object_walks import NotRestorableError


class Color(enum.Enum):
    RED, BLUE = "red", "blue"


class Place(NamedTuple):
    x: float
    y: float


class Slotted:
    __slots__ = ("empty", "value")


@dataclass(frozen=True)
class Frozen:
    number: int
    array: np.ndarray


class Thing:
    pass


def through_json(state):
    """What a file keeps of a state."""
    tensors = {}
    data = ValueWriter(tensors).write(state._asdict(), "state")
    copies = {name: tensor.clone() for name, tensor in tensors.items()}
    read = ValueReader(copies).read(json.loads(json.dumps(data)), "state")
    return ObjectState(read["root"], read["nodes"])


def moved(original, other, classes=()):
    return put_back(other, through_json(taken(original)), classes)


def thing(**attributes):
    made = Thing()
    vars(made).update(attributes)
    return made


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 3, -(2**80), 0.1, float("inf"), "text", b"bytes", 1 + 2j),
        *([1, "a", None], (1, (2.5, "b")), {1, 2}, frozenset({"a"}), {"a": [1], 2: (3,)}),
        *(
            list(range(50)),
            [0.5] * 50,
            [2**70] * 20,
            [True, False] * 20,
            deque([1, 2, 3], maxlen=4),
        ),
        *(OrderedDict(b=1, a=2), Place(1.0, 2.0), np.float32(0.1), np.bool_(True), np.int64(2**62)),
    ],
)
def test_values_are_equal_and_of_the_same_type(value):
    found = moved(thing(value=value), thing(value=None), [type(value)]).value
    assert found == value
    assert type(found) is type(value)
    assert getattr(found, "maxlen", 0) == getattr(value, "maxlen", 0)


def test_not_a_number_stays_one():
    assert np.isnan(moved(thing(value=float("nan")), thing(value=0.0)).value)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3).T,
        np.zeros((0, 3), np.float32),
        np.array(5, np.uint8),
        np.array(["ab", "c"]),
        np.array([1 + 2j]),
        np.array(["2020-01-01"], "datetime64[D]"),
        np.array([1.0, 2.0], ">f8"),
        np.array([None, "a", 3], object),
    ],
)
def test_arrays_keep_shape_type_and_content(array):
    found = moved(thing(array=array), thing(array=None)).array
    assert found.shape == array.shape
    assert found.dtype == array.dtype
    assert found.tolist() == array.tolist()


def test_what_is_put_into_an_array_also_reaches_its_views():
    other = thing(array=np.zeros(4))
    view = other.array[1:3]
    moved(thing(array=np.arange(4.0)), other)
    assert view.tolist() == [1.0, 2.0]


def test_arrays_that_cannot_be_written_to_are_replaced():
    constant, new = np.array([1.0]), np.array([2.0])
    for array in (constant, new):
        array.setflags(write=False)
    found = moved(thing(array=new), thing(array=constant))
    assert found.array.tolist() == [2.0]
    assert constant.tolist() == [1.0]
    assert not found.array.flags.writeable


def test_shared_objects_stay_shared_and_different_ones_different():
    shared = np.ones(2)
    original = thing(first=shared, second=shared, third=np.full(2, 5.0))
    alias = np.zeros(2)
    found = moved(original, thing(first=alias, second=np.zeros(2), third=alias))
    assert found.first is found.second
    assert found.first is not found.third
    assert (found.first.tolist(), found.third.tolist()) == ([1.0, 1.0], [5.0, 5.0])


def test_circles():
    original, other = thing(name="a"), thing(name="b")
    original.me, original.items = original, [original]
    other.me, other.items = other, []
    found = moved(original, other)
    assert found is other
    assert found.me is found
    assert found.items == [found]


def test_objects_stay_who_they_are_where_their_class_is_the_same():
    inner = thing(count=0)
    found = moved(thing(inner=thing(count=3)), thing(inner=inner))
    assert found.inner is inner
    assert inner.count == 3


def test_attributes_that_the_original_does_not_have_disappear():
    assert vars(moved(thing(kept=1), thing(kept=0, cached=2))) == {"kept": 1}


def test_slots_frozen_dataclasses_enumerations_and_namespaces():
    slotted, other = Slotted(), Slotted()
    slotted.value, other.empty = 3, 4
    original = thing(
        slotted=slotted, frozen=Frozen(3, np.ones(2)), color=Color.BLUE, space=SimpleNamespace(a=1)
    )
    before = thing(
        slotted=other, frozen=Frozen(0, np.zeros(2)), color=Color.RED, space=SimpleNamespace()
    )
    found = moved(original, before)
    assert found.slotted.value == 3
    assert not hasattr(found.slotted, "empty")
    assert (found.frozen.number, found.frozen.array.tolist()) == (3, [1.0, 1.0])
    assert found.color is Color.BLUE
    assert found.space.a == 1


def test_dictionaries_keep_their_order_and_their_default():
    original = thing(counts=defaultdict(float, b=1.0, a=2.0))
    found = moved(original, thing(counts=defaultdict(float, a=5.0)))
    assert list(found.counts) == ["b", "a"]
    assert found.counts["new"] == 0.0


GENERATORS = {
    "PCG64": lambda seed: np.random.default_rng(seed),
    "MT19937": lambda seed: np.random.Generator(np.random.MT19937(seed)),
    "RandomState": lambda seed: np.random.RandomState(seed),
    "Random": random.Random,
    "torch": lambda seed: torch.Generator().manual_seed(seed),
}


def draw(generator):
    if isinstance(generator, torch.Generator):
        return torch.rand(3, generator=generator).tolist()
    if isinstance(generator, random.Random):
        return [generator.gauss(0, 1) for _ in range(3)]
    return generator.normal(size=3).tolist()


@pytest.mark.parametrize("kind", GENERATORS)
@pytest.mark.parametrize("exists", [True, False])
def test_generators_draw_the_same_numbers_next(kind, exists):
    generator = GENERATORS[kind](1)
    draw(generator)
    state = through_json(taken(thing(rng=generator)))
    other = thing(rng=GENERATORS[kind](2) if exists else None)
    before = other.rng
    found = put_back(other, state).rng
    assert found is before or not exists
    assert draw(found) == draw(generator)


@pytest.mark.parametrize("kind", ["PCG64", "MT19937"])
def test_generators_spawn_the_same_children_next(kind):
    generator, other = GENERATORS[kind](1), GENERATORS[kind](2)
    generator.spawn(2)
    found = moved(thing(rng=generator), thing(rng=other)).rng
    assert draw(found.spawn(1)[0]) == draw(generator.spawn(1)[0])


def test_a_queue_of_another_length_is_made_anew():
    queue = deque([0, 0], maxlen=2)
    found = moved(thing(queue=deque([1, 2, 3], maxlen=3)), thing(queue=queue)).queue
    assert (list(found), found.maxlen) == ([1, 2, 3], 3)


def test_a_tensor_of_another_shape_is_made_anew():
    found = moved(thing(state=torch.tensor([3.0])), thing(state=torch.zeros(3)))
    assert found.state.tolist() == [3.0]


def test_parts_of_arrays_stay_parts_of_them():
    """Also where the array has another length than that of the new object."""

    def parts(length):
        whole = np.arange(float(length))
        return thing(head=whole[:2], whole=whole, every=whole[1::2], turned=whole[::-1])

    for length in (3, 5):
        found = moved(parts(5), parts(length))
        assert found.every.tolist() == [1.0, 3.0]
        assert found.turned.tolist() == [4.0, 3.0, 2.0, 1.0, 0.0]
        found.whole[0] = 7.0
        assert found.head[0] == found.turned[-1] == 7.0


def counting():
    count = 0

    def count_on():
        nonlocal count
        count += 1
        return count

    return count_on


def test_variables_that_a_function_of_ones_own_holds():
    original = thing(next=counting())
    original.next()
    original.next()
    assert moved(original, thing(next=counting())).next() == 3


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: iter([1, 2]), "an iterator"),
        (lambda: itertools.count(), "an iterator"),
        (lambda: (i for i in range(3)), "an iterator"),
        (lambda: (ctypes.c_int * 2)(), "memory of a C library"),
        (lambda: np.ma.masked_array([1.0], [True]), "MaskedArray"),
    ],
)
def test_state_that_cannot_be_read_is_refused(make, told):
    with pytest.raises(NotRestorableError, match=f"it.one is .*{told}, whose state cannot be read"):
        moved(thing(one=make()), thing(one=make()))


def test_a_tensor_is_changed_in_place():
    layer = torch.nn.Linear(2, 2)
    weight = layer.weight
    original = torch.nn.Linear(2, 2)
    moved(thing(layer=original), thing(layer=layer))
    assert layer.weight is weight
    assert torch.equal(weight, original.weight)


def test_functions_and_locks_stay_those_of_the_new_object():
    lock = threading.Lock()
    found = moved(thing(lock=threading.Lock(), f=draw), thing(lock=lock, f=draw))
    assert found.lock is lock
    assert found.f is draw


@pytest.mark.parametrize(
    ("original", "other", "told"),
    [
        (
            thing(f=draw),
            thing(f=moved),
            "it.f was .*draw, line .*, which is not data, .*moved",
        ),
        (thing(lock=threading.Lock()), thing(), "it.lock was _thread.lock, .* is nothing"),
        (thing(one=Slotted()), thing(one=None), "it.one was a .*Slotted, and the new one holds no"),
    ],
)
def test_what_cannot_be_put_back_is_told_with_its_place(original, other, told):
    with pytest.raises(NotRestorableError, match=told):
        moved(original, other)


def test_arrays_of_records_are_refused():
    with pytest.raises(NotRestorableError, match="records"):
        taken(thing(array=np.zeros(2, [("a", float)])))


class Exploding:
    """Says so if anything of it is called."""

    def __init__(self, *_):
        raise AssertionError("it was made")

    def __reduce__(self):
        return (Exploding, ())

    def __setstate__(self, _):
        raise AssertionError("it was given a state")

    def __setattr__(self, *_):
        raise AssertionError("it was given an attribute")


def test_no_constructor_and_no_pickling_is_called(monkeypatch):
    monkeypatch.setattr(pickle, "loads", None)
    original, other = (Exploding.__new__(Exploding) for _ in range(2))
    vars(original).update(value=1)
    assert moved(thing(one=original), thing(one=other)).one.value == 1


@pytest.mark.parametrize("name", ["os.system", "subprocess.Popen", "builtins.eval", "no.Such"])
def test_a_class_in_the_data_that_the_new_object_does_not_hold_is_refused(name):
    state = taken(thing(one=thing(value=1)))
    node = state.nodes[1]
    assert node["form"] == "object"
    node["class"] = name
    with pytest.raises(NotRestorableError, match="holds none"):
        put_back(thing(one=thing(value=0)), state)


@pytest.mark.parametrize("damage", [{"form": "none"}, {"attributes": 3}, {"attributes": {"a": {}}}])
def test_damaged_data_are_refused(damage):
    state = taken(thing(one=thing(value=1)))
    state.nodes[1].update(damage)
    with pytest.raises(NotRestorableError):
        put_back(thing(one=thing(value=0)), state)
