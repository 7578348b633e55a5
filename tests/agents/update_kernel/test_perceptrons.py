"""Stacks of networks against one network at a time, and against finite differences."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.update_kernel.perceptrons import PerceptronPass, ReLU, Shape, Tanh, Weights

FUNCTIONS = {"tanh": (Tanh(), np.tanh), "relu": (ReLU(), lambda x: np.where(x > 0, x, 0.0))}


def made(shape, rng, rows, activation="tanh", dtype=np.float64):
    """Random weights, a gradient full of NaN, inputs and a pass on them."""
    arrays = [rng.normal(size=size).astype(dtype) for size in shape.arrays()]
    weights = Weights.of(shape, arrays)
    gradient = Weights.of(shape, [np.full_like(one, np.nan) for one in arrays])
    x = np.ones((rows, shape.inputs + 1), dtype)
    x[:, :-1] = rng.normal(size=(rows, shape.inputs))
    return weights, gradient, x, PerceptronPass(weights, gradient, FUNCTIONS[activation][0], x)


def one_by_one(shape, weights, x, activation):
    """The outputs of every network, (b, o), each computed alone, weights and biases apart."""
    phi, outputs, number = FUNCTIONS[activation][1], [], 0
    for head in weights.heads:
        for last in head:
            values = x[:, :-1]
            for layer in weights.layers:
                values = phi(values @ layer[number, :-1] + layer[number, -1])
            outputs.append(values @ last[:-1] + last[-1])
            number += 1
    assert number == sum(networks for networks, _ in shape.outputs)
    return outputs


def flattened(outputs):
    return [one for run in outputs for one in run]


SHAPES = st.builds(
    Shape,
    st.integers(1, 5),
    st.lists(st.integers(1, 6), max_size=3).map(tuple),
    st.lists(st.tuples(st.integers(1, 3), st.integers(1, 4)), min_size=1, max_size=3).map(tuple),
)


@settings(max_examples=60, deadline=None)
@given(
    shape=SHAPES,
    rows=st.integers(1, 6),
    activation=st.sampled_from(sorted(FUNCTIONS)),
    seed=st.integers(0, 2**31),
)
def test_any_stack(shape, rows, activation, seed):
    """Forward one by one; backward by central differences along a direction of each array."""
    rng = np.random.default_rng(seed)
    weights, gradient, x, one = made(shape, rng, rows, activation)
    one.forward()
    expected = one_by_one(shape, weights, x, activation)
    for found, alone in zip(flattened(one.outputs), expected, strict=True):
        np.testing.assert_allclose(found, alone, rtol=1e-10, atol=1e-10)

    slopes = [rng.normal(size=out.shape) for out in one.outputs]  # loss = sum of slopes * outputs
    one.backward(slopes)
    by_network = flattened(slopes)

    def loss():
        outputs = one_by_one(shape, weights, x, activation)
        return sum(float(np.vdot(g, y)) for g, y in zip(by_network, outputs, strict=True))

    step = 1e-6
    for array, own in zip(
        [*weights.layers, *weights.heads], [*gradient.layers, *gradient.heads], strict=True
    ):
        place = tuple(int(rng.integers(size)) for size in array.shape)
        before = array[place]
        array[place] = before + step
        above = loss()
        array[place] = before - step
        below = loss()
        array[place] = before
        difference = (above - below) / (2 * step)
        scale = 1.0 + np.abs(own).max()
        if activation == "tanh" or _is_smooth(weights, x, 1e-4):
            assert own[place] == pytest.approx(difference, abs=1e-6 * scale)


def _is_smooth(weights, x, distance):
    """Whether no unit's input is near the kink of ReLU at 0."""
    values = [x[:, :-1]] * len(weights.layers[0]) if weights.layers else []
    for layer in weights.layers:
        inputs = [v @ w[:-1] + w[-1] for v, w in zip(values, layer, strict=True)]
        if min(np.abs(one).min() for one in inputs) < distance:
            return False
        values = [np.maximum(one, 0.0) for one in inputs]
    return True


SHAPE = Shape(3, (5, 4), ((1, 2), (3, 1)))


@pytest.mark.parametrize("activation", FUNCTIONS)
def test_every_entry_of_a_gradient(activation):
    rng = np.random.default_rng(0)
    weights, gradient, x, one = made(SHAPE, rng, 7, activation)
    assert _is_smooth(weights, x, 1e-4)
    one.forward()
    slopes = [rng.normal(size=out.shape) for out in one.outputs]
    one.backward(slopes)

    def loss():
        outputs = one_by_one(SHAPE, weights, x, activation)
        return sum(float(np.vdot(g, y)) for g, y in zip(flattened(slopes), outputs, strict=True))

    for array, own in zip(
        [*weights.layers, *weights.heads], [*gradient.layers, *gradient.heads], strict=True
    ):
        for place in np.ndindex(array.shape):
            before = array[place]
            array[place] = before + 1e-6
            above = loss()
            array[place] = before - 1e-6
            difference = (above - loss()) / 2e-6
            array[place] = before
            assert own[place] == pytest.approx(difference, abs=1e-7)


def test_weights_and_inputs_are_read_at_every_call():
    rng = np.random.default_rng(1)
    weights, gradient, x, one = made(SHAPE, rng, 4)
    for _ in range(3):
        one.forward()
        one.backward([np.ones_like(out) for out in one.outputs])
        first = [array.copy() for array in (*gradient.layers, *gradient.heads)]
        for array in (*weights.layers, *weights.heads):
            array += 0.1 * rng.normal(size=array.shape)
        x[:, :-1] = rng.normal(size=(4, 3))
        one.forward()
        expected = one_by_one(SHAPE, weights, x, "tanh")
        for found, alone in zip(flattened(one.outputs), expected, strict=True):
            np.testing.assert_allclose(found, alone, rtol=1e-12)
        one.backward([np.ones_like(out) for out in one.outputs])
        fresh = PerceptronPass(weights, gradient, Tanh(), x)
        again = [array.copy() for array in (*gradient.layers, *gradient.heads)]
        fresh.forward()
        fresh.backward([np.ones_like(out) for out in fresh.outputs])
        for own, new, old in zip(again, (*gradient.layers, *gradient.heads), first, strict=True):
            np.testing.assert_array_equal(own, new)
            assert not np.array_equal(own, old)


@pytest.mark.parametrize("activation", FUNCTIONS)
def test_nan_stays(activation):
    _, _, x, one = made(SHAPE, np.random.default_rng(2), 4, activation)
    x[1, 0] = np.nan
    one.forward()
    for out in one.outputs:
        assert np.isnan(out[:, 1]).all()
        assert np.isfinite(out[:, [0, 2, 3]]).all()


def test_the_first_network_alone():
    weights, gradient, x, one = made(SHAPE, np.random.default_rng(3), 4)
    first = PerceptronPass(weights.first(), gradient.first(), Tanh(), x)
    one.forward(), first.forward()
    assert [out.shape for out in first.outputs] == [(1, 4, 2)]
    np.testing.assert_allclose(first.outputs[0], one.outputs[0], rtol=1e-13)
    first.backward([np.ones((1, 4, 2))])
    assert np.isfinite(gradient.layers[0][0]).all()
    assert np.isnan(gradient.layers[0][1:]).all()  # that of the others is as it was


def test_single_precision_stays_single():
    _, gradient, _, one = made(SHAPE, np.random.default_rng(4), 4, dtype=np.float32)
    one.forward()
    one.backward([np.ones_like(out) for out in one.outputs])
    arrays = [*one.outputs, *gradient.layers, *gradient.heads]
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}
