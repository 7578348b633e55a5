"""Log probabilities and slopes against formulas by hand and PyTorch's distributions."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import distributions

from agents.update_kernel.distributions import Bernoulli, Categorical, Gaussian


def one_gaussian(log_std):
    log_std = np.array(log_std)
    slope = np.full_like(log_std, np.nan)
    return Gaussian(log_std, slope), slope


def test_gaussian_by_hand():
    """log N(3; 1, 2) + log N(0; 0, 1)."""
    gaussian, log_std_slope = one_gaussian([math.log(2.0), 0.0])
    found = gaussian.log_prob(np.array([[1.0, 0.0]]), np.array([[3.0, 0.0]]))
    np.testing.assert_allclose(found, -0.5 - math.log(2.0) - math.log(2 * math.pi))
    # z = 1 and 0: d log pi / d mean = z / sigma, d log pi / d log sigma = z^2 - 1.
    np.testing.assert_allclose(gaussian.slopes(np.array([10.0]), 0.5), [[5.0, 0.0]])
    np.testing.assert_allclose(log_std_slope, [0.0 - 0.5, -10.0 - 0.5])


def test_categorical_by_hand():
    """Probabilities 1/4 and 3/4, then 1/2, 1/4 and 1/4."""
    categorical = Categorical([2, 3])
    outputs = np.log([[1.0, 3.0, 2.0, 1.0, 1.0]])
    found = categorical.log_prob(outputs, np.array([[1.0, 0.0]]))
    np.testing.assert_allclose(found, math.log(3 / 4 * 1 / 2))
    slopes = categorical.slopes(np.array([8.0]), 0.0)
    np.testing.assert_allclose(slopes, [[-2.0, 2.0, 4.0, -2.0, -2.0]])


def test_bernoulli_by_hand():
    """Bits that are 1 with probability 1/4 and 3/4."""
    bernoulli, outputs = Bernoulli(), np.log([[1 / 3, 3.0]])
    found = bernoulli.log_prob(outputs, np.array([[1.0, 0.0]]))
    np.testing.assert_allclose(found, math.log(1 / 4 * 1 / 4))
    np.testing.assert_allclose(bernoulli.slopes(np.array([8.0]), 0.0), [[6.0, -6.0]])


@pytest.mark.parametrize(
    ("distribution", "outputs"),
    [(Categorical([3]), [[0.7, 0.7, 0.7]]), (Bernoulli(), [[0.0, 0.0]])],
)
def test_the_entropy_has_no_slope_at_its_maximum(distribution, outputs):
    distribution.log_prob(np.array(outputs), np.array([[1.0, 1.0]]))
    np.testing.assert_allclose(distribution.slopes(np.zeros(1), 3.0), 0.0, atol=1e-15)


def reference(kind, outputs, log_std, sizes):
    """PyTorch's log probability of actions, (b, a), and entropy, (b,), as independent parts."""
    if kind == "gaussian":
        parts = [distributions.Normal(outputs, log_std.exp())]
    elif kind == "bernoulli":
        parts = [distributions.Bernoulli(logits=outputs)]
    else:
        parts = [distributions.Categorical(logits=own) for own in outputs.split(sizes, dim=1)]

    def log_prob(actions):
        if kind == "categorical":
            pairs = zip(parts, actions.T, strict=True)
            return sum(part.log_prob(chosen) for part, chosen in pairs)
        return parts[0].log_prob(actions).sum(1)

    rows = [part.entropy().reshape(len(outputs), -1).sum(1) for part in parts]
    return log_prob, sum(rows)


@st.composite
def cases(draw):
    kind = draw(st.sampled_from(["gaussian", "categorical", "bernoulli"]))
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    return kind, sizes, draw(st.integers(1, 9)), draw(st.integers(0, 2**31))


@settings(max_examples=100, deadline=None)
@given(case=cases(), ent_coef=st.sampled_from([0.0, 0.3, -0.2]), spread=st.sampled_from([0.1, 5.0]))
def test_equals_automatic_differentiation(case, ent_coef, spread):
    """Of sum(u log pi) - c mean(H) with weights u of the rows."""
    kind, sizes, rows, seed = case
    rng = np.random.default_rng(seed)
    outputs, u = spread * rng.normal(size=(rows, sum(sizes))), rng.normal(size=rows)
    log_std = rng.normal(size=sum(sizes))
    own, log_std_slope = one_gaussian(log_std)
    actions = rng.normal(size=outputs.shape)
    if kind == "categorical":
        own, actions = Categorical(sizes), rng.integers(sizes, size=(rows, len(sizes)))
    elif kind == "bernoulli":
        own, actions = Bernoulli(), rng.integers(2, size=outputs.shape).astype(float)
    given_outputs = outputs.copy()
    found = own.log_prob(given_outputs, actions)
    slopes = own.slopes(u, ent_coef)
    np.testing.assert_array_equal(given_outputs, outputs)  # nothing that was passed has changed

    leaves = [torch.tensor(array, requires_grad=True) for array in (outputs, log_std)]
    log_prob, entropy = reference(kind, *leaves, sizes)
    expected = log_prob(torch.from_numpy(actions))
    loss = (torch.from_numpy(u) * expected).sum() - ent_coef * entropy.mean()
    loss.backward()
    np.testing.assert_allclose(found, expected.detach(), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(slopes, leaves[0].grad, rtol=1e-9, atol=1e-10)
    if kind == "gaussian":
        np.testing.assert_allclose(log_std_slope, leaves[1].grad, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [80.0, 1000.0, 1e30])
@pytest.mark.parametrize(
    ("distribution", "actions"), [(Categorical([2]), [[0], [1]]), (Bernoulli(), [[1, 1], [0, 0]])]
)
def test_extreme_logits_are_finite(distribution, actions, size, dtype):
    """The likelier of two certain actions has log probability 0, the other minus the distance."""
    outputs = np.array([[size, -size], [size, -size]], dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        found = distribution.log_prob(outputs, np.array(actions, dtype))
        slopes = distribution.slopes(np.ones(2, dtype), 0.1)
    assert found.dtype == slopes.dtype == dtype
    expected = [-size, -size] if isinstance(distribution, Bernoulli) else [0.0, -2 * size]
    np.testing.assert_allclose(found, np.array(expected, dtype), rtol=1e-6)
    exact = [[0.0, 1.0], [-1.0, 0.0]]
    if isinstance(distribution, Categorical):
        exact = [[0.0, 0.0], [-1.0, 1.0]]
    np.testing.assert_allclose(slopes, exact, atol=1e-6)
