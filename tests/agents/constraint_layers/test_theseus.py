"""The steps of Theseus against the repair's own, where theseus-ai is installed."""

import warnings

import pytest

pytest.importorskip("torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("theseus")

import torch

from agents.constraint_layers import RepairLayer, RepairSettings
from agents.constraint_layers.theseus_layer import TheseusLayer
from safe_envs.control.quadratic_families import snarenet

FAMILY = snarenet(20, 10, 10, 5, 1)
X = torch.tensor(FAMILY.instances[:64])
START = torch.randn(64, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def through(layer):
    """Outputs, and the gradient of a random combination of them."""
    raw = START.clone().requires_grad_()
    outputs, info = layer(raw, X)
    weights = torch.randn(64, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad((outputs * weights).sum(), raw)
    return outputs.detach(), gradient, info


def own(count, backward):
    settings = RepairSettings("all", fixed_iterations=count, backward=backward)
    return through(RepairLayer(FAMILY.rows, settings))


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_outputs_are_those_of_the_repair_with_all_rows(count):
    theirs, _, info = through(TheseusLayer(FAMILY.rows, count))
    ours, _, own_info = own(count, "unroll")
    torch.testing.assert_close(theirs, ours, rtol=0.0, atol=1e-10)
    torch.testing.assert_close(info.violation, own_info.violation, rtol=0.0, atol=1e-9)


def test_a_callback_without_gradients_has_that_of_constant_targets():
    _, theirs, _ = through(TheseusLayer(FAMILY.rows, 8))
    _, held, _ = own(8, "last_step")
    _, full, _ = own(8, "unroll")
    torch.testing.assert_close(theirs, held, rtol=0.0, atol=1e-9)
    assert 0.9 < float((theirs - full).norm() / full.norm()) < 1.0  # 93 percent in the source's


def test_a_callback_with_gradients_has_that_of_all_steps():
    _, theirs, _ = through(TheseusLayer(FAMILY.rows, 8, moving_gradient=True))
    torch.testing.assert_close(theirs, own(8, "unroll")[1], rtol=0.0, atol=1e-9)
