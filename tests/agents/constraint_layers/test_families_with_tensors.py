"""Families of programs give the same numbers for arrays and tensors, and gradients flow."""

import numpy as np
import pytest
import torch

from safe_envs.control.quadratic_families import dc3, like, snarenet

FAMILIES = {
    "linear": lambda: dc3(9, 4, 5, seed=1),
    "sine": lambda: dc3(9, 4, 5, sine=True, seed=1),
    "quadratic": lambda: snarenet(9, 4, 5, quadratic=3, seed=1),
}


@pytest.fixture(params=FAMILIES.values(), ids=list(FAMILIES))
def family(request):
    return request.param()


@pytest.fixture
def outputs():
    return np.random.default_rng(0).normal(size=(6, 9))


def test_equal_numbers_and_shapes(family, outputs):
    x = family.instances[:6]
    tensors = torch.from_numpy(x), torch.from_numpy(outputs)
    ours, theirs = family.rows(x), family.rows(tensors[0])
    assert ours.linear.shape == (1, 9, 9)
    assert ours.lower.shape == ours.upper.shape == (6, 9)
    pairs = [
        (family.objective(outputs), family.objective(tensors[1]), (6,)),
        (family.gradient(outputs), family.gradient(tensors[1]), (6, 9)),
        (family.shortest(x), family.shortest(tensors[0]), (6, 9)),
        (ours.values(outputs), theirs.values(tensors[1]), (6, 9)),
        (ours.jacobian(outputs), theirs.jacobian(tensors[1]), (6, 9, 9)),
        (ours.lower, theirs.lower, (6, 9)),
        (ours.upper, theirs.upper, (6, 9)),
    ]
    for array, tensor, shape in pairs:
        assert isinstance(array, np.ndarray)
        assert isinstance(tensor, torch.Tensor)
        assert array.shape == tuple(tensor.shape) == shape
        np.testing.assert_allclose(tensor.numpy(), array, rtol=1e-12, atol=1e-13)


def test_gradient_is_that_of_autograd(family, outputs):
    tensor = torch.from_numpy(outputs).requires_grad_()
    (found,) = torch.autograd.grad(family.objective(tensor).sum(), tensor)
    np.testing.assert_allclose(found.numpy(), family.gradient(outputs), rtol=1e-12)
    torch.testing.assert_close(found, family.gradient(tensor.detach()))


def test_jacobian_is_that_of_autograd(family, outputs):
    x, tensor = torch.from_numpy(family.instances[:1]), torch.from_numpy(outputs[:1])
    rows = family.rows(x)
    found = torch.autograd.functional.jacobian(lambda y: rows.values(y)[0], tensor)[:, 0]
    torch.testing.assert_close(rows.jacobian(tensor)[0], found)


def test_types_follow_the_tensors(family, outputs):
    single = torch.from_numpy(outputs).float()
    assert family.objective(single).dtype == torch.float32
    rows = family.rows(torch.from_numpy(family.instances[:6]).float())
    assert {rows.linear.dtype, rows.lower.dtype, rows.values(single).dtype} == {torch.float32}
    assert like(single, np.ones(3)).dtype == torch.float32
