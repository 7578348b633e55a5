"""The optimizer's step as a proposal, against plain torch optimizers and their update formulas."""

import copy

import pytest
import torch

from agents.flat_parameters import flat_values
from agents.scpo.base_step import BaseStep

OPTIMIZERS = {
    "SGD": lambda params: torch.optim.SGD(params, 0.1),
    "SGD momentum": lambda params: torch.optim.SGD(params, 0.1, momentum=0.9),
    "Adam": lambda params: torch.optim.Adam(params, 0.1),
    "Adam amsgrad": lambda params: torch.optim.Adam(params, 0.1, amsgrad=True),
    "AdamW": lambda params: torch.optim.AdamW(params, 0.1, weight_decay=0.1),
    "RMSprop": lambda params: torch.optim.RMSprop(params, 0.1),
    "RMSprop centered": lambda params: torch.optim.RMSprop(params, 0.1, centered=True),
    "RMSprop momentum": lambda params: torch.optim.RMSprop(params, 0.1, momentum=0.9),
}
# whose steps are -rate P^-1 gradient, without momentum and decay
PRECONDITIONED = {
    "SGD": OPTIMIZERS["SGD"],
    "Adam": lambda params: torch.optim.Adam(params, 0.1, betas=(0.0, 0.99)),
    "Adam amsgrad": lambda params: torch.optim.Adam(params, 0.1, betas=(0.0, 0.9), amsgrad=True),
    "RMSprop": OPTIMIZERS["RMSprop"],
    "RMSprop centered": OPTIMIZERS["RMSprop centered"],
}


def make_parameters(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, 2), (4,)]
    values = [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]
    return [torch.nn.Parameter(value) for value in values]


def gradients(count, dtype=torch.float64):
    return torch.randn((count, 10), generator=torch.Generator().manual_seed(1), dtype=dtype)


def advance(parameters, optimizer, gradient):
    """Let a plain optimizer take its step."""
    first, second = gradient.split([6, 4])
    parameters[0].grad, parameters[1].grad = first.view(3, 2).clone(), second.clone()
    optimizer.step()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_proposal_is_what_the_plain_optimizer_does(name):
    ours, plain = make_parameters(), make_parameters()
    base = BaseStep(ours, OPTIMIZERS[name](ours), "auto")
    optimizer = OPTIMIZERS[name](plain)
    for gradient in gradients(5):
        start = flat_values(ours)
        raw = base.propose(gradient)
        assert torch.equal(flat_values(ours), start)
        advance(plain, optimizer, gradient)
        torch.testing.assert_close(start + raw.step, flat_values(plain), rtol=0, atol=1e-14)
        for parameter, other in zip(ours, plain, strict=True):
            parameter.data.copy_(other.data)


@pytest.mark.parametrize("name", PRECONDITIONED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_metric_is_the_optimizers_preconditioner(name, dtype):
    parameters = make_parameters(dtype)
    base = BaseStep(parameters, PRECONDITIONED[name](parameters), "auto")
    for gradient in gradients(5, dtype):
        raw = base.propose(gradient)
        expected = -raw.rate * gradient.double() / raw.metric
        torch.testing.assert_close(
            raw.step.double(), expected, rtol=1e-4 if dtype == torch.float32 else 1e-9, atol=1e-7
        )


def test_the_metric_of_two_groups_is_relative_to_the_first_learning_rate():
    parameters = make_parameters()
    groups = [{"params": [parameters[0]], "lr": 0.1}, {"params": [parameters[1]], "lr": 0.02}]
    raw = BaseStep(parameters, torch.optim.SGD(groups), "identity").propose(gradients(1)[0])
    assert raw.rate == pytest.approx(0.1)
    torch.testing.assert_close(raw.metric, torch.tensor([1.0] * 6 + [5.0] * 4).double())
    torch.testing.assert_close(raw.step, -raw.rate * gradients(1)[0] / raw.metric)


def test_the_order_of_the_parameters_is_the_given_one():
    parameters = make_parameters()
    backwards = torch.optim.SGD(
        [{"params": [parameters[1]], "lr": 0.02}, {"params": [parameters[0]], "lr": 0.1}]
    )
    raw = BaseStep(parameters, backwards, "auto").propose(gradients(1)[0])
    torch.testing.assert_close(raw.metric, torch.tensor([0.2] * 6 + [1.0] * 4).double())
    torch.testing.assert_close(raw.step, -raw.rate * gradients(1)[0] / raw.metric)


@pytest.mark.parametrize("metric", ["auto", "identity"])
def test_only_the_automatic_metric_is_adaptive(metric):
    parameters = make_parameters()
    base = BaseStep(parameters, torch.optim.Adam(parameters, 0.1), metric)
    ones = torch.ones(10, dtype=torch.float64)
    assert torch.equal(base.propose(gradients(1)[0]).metric, ones) == (metric == "identity")


def test_a_learning_rate_of_zero_is_refused():
    parameters = make_parameters()
    groups = [{"params": [parameters[0]], "lr": 0.1}, {"params": [parameters[1]], "lr": 0.0}]
    base = BaseStep(parameters, torch.optim.SGD(groups), "auto")
    with pytest.raises(ValueError, match=r"learning rates \[0.1, 0.0\]; all must be positive"):
        base.propose(gradients(1)[0])
    assert len(base.optimizer.state) == 0


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_restored_memory_repeats_the_proposal_bit_for_bit(name):
    parameters = make_parameters()
    base = BaseStep(parameters, OPTIMIZERS[name](parameters), "auto")
    fresh = base.state()
    first = base.propose(gradients(1)[0])
    base.restore(fresh)
    assert len(base.optimizer.state) == 0
    assert torch.equal(base.propose(gradients(1)[0]).step, first.step)
    memory = base.state()
    kept = copy.deepcopy(list(memory.values()))
    second = base.propose(gradients(2)[1])
    for one, other in zip(memory.values(), kept, strict=True):
        assert all(torch.equal(one[key], other[key]) for key in one if one[key] is not None)
    base.restore(memory)
    assert torch.equal(base.propose(gradients(2)[1]).step, second.step)


def momentum_after(parameters, optimizer, step):
    """Return the optimizer's next step for a zero gradient after it followed a step."""
    base = BaseStep(parameters, optimizer, "auto")
    for gradient in gradients(3):
        base.propose(gradient)
    base.follow(step)
    return base.propose(torch.zeros(10, dtype=torch.float64)).step


def test_followed_sgd_momentum_goes_on_in_the_step_taken():
    parameters, step = make_parameters(), gradients(4)[3]
    optimizer = torch.optim.SGD(parameters, 0.1, momentum=0.9)
    # b <- 0.9 b + 0, step <- -lr b
    torch.testing.assert_close(momentum_after(parameters, optimizer, step), 0.9 * step)


def test_followed_rmsprop_momentum_goes_on_in_the_step_taken():
    parameters, step = make_parameters(), gradients(4)[3]
    optimizer = torch.optim.RMSprop(parameters, 0.1, momentum=0.9)
    # b <- 0.9 b + 0 / sqrt(v), step <- -lr b
    torch.testing.assert_close(momentum_after(parameters, optimizer, step), 0.9 * step)


@pytest.mark.parametrize("optimizer_class", [torch.optim.Adam, torch.optim.AdamW])
def test_followed_adam_momentum_goes_on_in_the_step_taken(optimizer_class):
    parameters, step = make_parameters(), gradients(4)[3]
    beta1, beta2, eps = 0.8, 0.95, 1e-3
    optimizer = optimizer_class(parameters, 0.1, betas=(beta1, beta2), eps=eps, weight_decay=0.0)
    found = momentum_after(parameters, optimizer, step)
    second = torch.zeros(10, dtype=torch.float64)
    for gradient in gradients(3):
        second = beta2 * second + (1 - beta2) * gradient**2
    # After t = 3 steps m = -step (sqrt(v / (1 - beta2^3)) + eps) (1 - beta1^3) / lr; then
    # t = 4, m <- beta1 m, v <- beta2 v.
    before = (second / (1 - beta2**3)).sqrt() + eps
    after = (beta2 * second / (1 - beta2**4)).sqrt() + eps
    decay = beta1 * (1 - beta1**3) / (1 - beta1**4)
    torch.testing.assert_close(found, step * decay * before / after)


def test_following_changes_nothing_of_an_optimizer_without_momentum():
    parameters = make_parameters()
    base = BaseStep(parameters, torch.optim.RMSprop(parameters, 0.1), "auto")
    base.propose(gradients(1)[0])
    memory = base.state()
    base.follow(gradients(1)[0])
    for parameter, kept in memory.items():
        now = base.optimizer.state[parameter]
        assert now.keys() == kept.keys()
        assert all(torch.equal(now[key], kept[key]) for key in kept)


def test_an_optimizer_over_other_parameters_is_refused():
    parameters = make_parameters()
    with pytest.raises(ValueError, match="has 1 parameters, but not the 2 that were given"):
        BaseStep(parameters, torch.optim.SGD(parameters[:1], 0.1), "auto")
    with pytest.raises(ValueError, match="has 2 parameters, but not the 2 that were given"):
        BaseStep(parameters, torch.optim.SGD(make_parameters(), 0.1), "auto")


def test_an_unknown_metric_names_the_known_ones():
    parameters = make_parameters()
    with pytest.raises(ValueError, match="identity"):
        BaseStep(parameters, torch.optim.SGD(parameters, 0.1), "identiti")
