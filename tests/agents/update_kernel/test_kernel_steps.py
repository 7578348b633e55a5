"""Updates in NumPy against automatic differentiation in double precision."""

import math

import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from agents import critic_descent
from agents.critic_descent import CriticDescent
from agents.non_finite_loss import NonFiniteLossError
from tests.agents.update_kernel.small_updates import (
    ACTIONS,
    BACKENDS,
    assert_same_update,
    make_batch,
    make_policy,
    memory,
    parameters,
    update,
)

WIDTHS = [(64, 64), (32, 48), (128,)]
ACTIVATIONS = [nn.Tanh, nn.ReLU]
ROWS = 70  # in minibatches of 20, the last of 10


def both(actions, loss, tolerance=1e-10, rows=ROWS, settings=None, **policy):
    """Assert that both backends change a policy by the same, and return their reports."""
    pair = [make_policy(actions, **policy) for _ in BACKENDS]
    start = parameters(pair[0])
    reports = []
    for own, backend in zip(pair, BACKENDS, strict=True):
        batch = make_batch(own, rows)
        own.value_net.track(batch.targets)
        reports.append(update(own, batch, backend, loss, **(settings or {})))
    assert_same_update(pair, start, tolerance)
    expected, found = reports
    assert found == pytest.approx(expected, rel=1e3 * tolerance, abs=tolerance)
    assert found["n_epochs"] == expected["n_epochs"]
    return found


@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", ["ppo", "spma"])
@pytest.mark.parametrize("actions", ACTIONS)
def test_sixteen_steps(actions, loss, activation, m, widths):
    both(ACTIONS[actions], loss, m=m, activation=activation, net_arch=widths)


@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_sixteen_steps_of_the_critics_alone(activation, m, widths):
    both(ACTIONS["box"], None, m=m, activation=activation, net_arch=widths)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", ["ppo", "spma", None])
@pytest.mark.parametrize("actions", ACTIONS)
def test_single_precision(actions, loss, activation):
    both(ACTIONS[actions], loss, 1e-4, activation=activation, dtype=torch.float32)


@pytest.mark.parametrize(
    "change",
    [
        {"ent_coef": 0.1},
        {"ent_coef": -0.1, "vf_coef": 3.0},
        {"vf_coef": 0.0},
        {"descent": {"max_grad_norm": 0.5}},
        {"descent": {"max_grad_norm": 1e-3}, "ent_coef": 0.1},
        {"descent": {"max_grad_norm": math.inf}},
        {"descent": {"batch_size": 35}},  # of equal size
        {"descent": {"batch_size": 23}},  # the last has a single row
        {"descent": {"batch_size": 1, "n_epochs": 1}},
        {"descent": {"batch_size": 500}},  # more than there are
    ],
    ids=str,
)
@pytest.mark.parametrize("loss", ["ppo", "spma"])
@pytest.mark.parametrize("actions", ACTIONS)
def test_settings(actions, loss, change):
    both(ACTIONS[actions], loss, settings=change)


def test_the_bounds_bind_in_these_tests():
    """Else the last test would show nothing about them."""
    unbound, bound = (make_policy(ACTIONS["box"]) for _ in range(2))
    for policy, norm in [(unbound, 40.0), (bound, 0.5)]:
        batch = make_batch(policy, ROWS)
        policy.value_net.track(batch.targets)
        update(policy, batch, "numpy", descent={"max_grad_norm": norm})
    actor = [
        torch.cat([one.detach().flatten() for one in policy.actor_parameters()])
        for policy in (unbound, bound)
    ]
    assert not torch.allclose(*actor)
    rows = [policy.value_net.weight.detach() for policy in (unbound, bound)]
    assert all(not torch.allclose(*pair) for pair in zip(*rows, strict=True))


@pytest.mark.parametrize(
    "net_arch",
    [
        (),
        {"pi": [], "vf": [8]},
        {"pi": [8], "vf": []},
        {"pi": [16], "vf": [8, 8]},
        {"pi": [8, 6], "vf": [6, 8]},
        {"pi": [8, 6, 4], "vf": [8, 6, 4]},
        {"vf": [8]},
        (1,),
    ],
    ids=str,
)
@pytest.mark.parametrize("loss", ["ppo", None])
@pytest.mark.parametrize("actions", ["box", "multi_discrete"])
@pytest.mark.parametrize("norm", [40.0, 0.5])
def test_shapes_of_actor_and_critics(actions, loss, net_arch, norm):
    settings = {"descent": {"max_grad_norm": norm}}
    both(ACTIONS[actions], loss, net_arch=net_arch, m=2, settings=settings)


@pytest.mark.parametrize("m", [0, 10])
def test_numbers_of_costs(m):
    both(ACTIONS["box"], "ppo", m=m)


@pytest.mark.parametrize(
    "seen",
    [Box(-1, 1, (2, 3)), Discrete(4), Dict({"far": Box(-1, 1, (2,)), "gear": Discrete(3)})],
    ids=["matrix", "number", "dictionary"],
)
@pytest.mark.parametrize("loss", ["ppo", None])
def test_observations(seen, loss):
    both(ACTIONS["box"], loss, seen=seen)


def test_batches_of_several_pieces(monkeypatch):
    """Rows are gathered in pieces of whole minibatches: here 40 and 30."""
    monkeypatch.setattr(critic_descent, "LARGEST_PIECE", 50)
    both(ACTIONS["box"], "ppo")


@pytest.mark.parametrize("actions", ACTIONS)
@pytest.mark.parametrize("loss", ["ppo", "spma"])
def test_both_stop_at_the_same_step(actions, loss):
    stopped = {"target_kl": 0.05, "descent": {"n_epochs": 30}}
    report = both(ACTIONS[actions], loss, settings=stopped)
    assert 0 < report["n_epochs"] < 30


def test_a_policy_that_is_too_far_at_once_stays_as_it_is():
    policy = make_policy(ACTIONS["box"])
    batch = make_batch(policy, ROWS)
    start = parameters(policy)
    report = update(policy, batch, "numpy", target_kl=1e-6)
    assert report["n_epochs"] == 0
    assert torch.equal(parameters(policy), start)


@pytest.mark.parametrize("backends", [("numpy",) * 3, ("torch", "numpy", "torch")], ids=str)
@pytest.mark.parametrize("loss", ["ppo", None])
def test_the_memory_of_adam_goes_from_update_to_update(loss, backends):
    """Three updates at different learning rates, in one backend and in turns."""
    pair = [make_policy(ACTIONS["box"]) for _ in range(2)]
    start = parameters(pair[0])
    for policy, chosen in zip(pair, [("torch",) * 3, backends], strict=True):
        for number, (backend, rate) in enumerate(zip(chosen, [1e-2, 3e-3, 2e-2], strict=True)):
            batch = make_batch(policy, ROWS, seed=number)
            policy.value_net.track(batch.targets)
            policy.optimizer.param_groups[0]["lr"] = rate
            update(policy, batch, backend, loss, seed=number)
    assert_same_update(pair, start, 1e-9)
    assert set(memory(pair[1])[2].tolist()) == {48.0}


def test_critics_that_have_learned_longer_than_the_actor():
    """Every parameter has its own moments and number of steps, whatever "auto" chooses."""
    pair = [make_policy(ACTIONS["box"]) for _ in range(2)]
    start = parameters(pair[0])
    for policy, backend in zip(pair, ["torch", "auto"], strict=True):
        batch = make_batch(policy, ROWS)
        policy.value_net.track(batch.targets)
        for loss in (None, "ppo", None, "spma"):
            update(policy, batch, backend, loss)
    assert_same_update(pair, start, 1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_weight_of_the_loss_of_critics_alone(backend):
    """Adam divides by the gradient's size, so that the weight shows in its memory."""
    weighed = []
    for weight in (1.0, 0.25):
        policy = make_policy(ACTIONS["box"])
        batch = make_batch(policy, 20)
        policy.value_net.track(batch.targets)
        descent = CriticDescent(batch_size=20, n_epochs=1, update_backend=backend)
        descent.run(policy, batch, None, vf_coef=weight)
        weighed.append(memory(policy)[0])
    torch.testing.assert_close(weighed[1], 0.25 * weighed[0])


@st.composite
def problems(draw):
    """Random shapes of everything."""
    whole = st.integers(1, 6)
    widths = st.lists(st.integers(1, 9), max_size=3)
    pi = draw(widths)
    actions = st.one_of(
        st.builds(lambda size: Box(-1.0, 1.0, (size,)), whole),
        st.builds(Discrete, st.integers(2, 6)),
        st.builds(MultiDiscrete, st.lists(st.integers(2, 4), min_size=1, max_size=3)),
        st.builds(MultiBinary, whole),
    )
    return {
        "actions": draw(actions),
        "loss": draw(st.sampled_from(["ppo", "spma", None])),
        "seen": Box(-1.0, 1.0, (draw(whole),)),
        "m": draw(st.integers(0, 4)),
        "net_arch": {"pi": pi, "vf": pi if draw(st.booleans()) else draw(widths)},
        "activation": draw(st.sampled_from(ACTIVATIONS)),
        "rows": draw(st.integers(2, 40)),
        "descent": {
            "batch_size": draw(st.integers(1, 45)),
            "n_epochs": draw(st.integers(1, 3)),
            "max_grad_norm": draw(st.sampled_from([40.0, 0.5, 0.01])),
        },
        "ent_coef": draw(st.sampled_from([0.0, 0.05])),
    }


@settings(max_examples=60, deadline=None)
@given(problem=problems())
def test_any_shape(problem):
    actions, loss, rows = (problem.pop(name) for name in ("actions", "loss", "rows"))
    settings = {"descent": problem.pop("descent")}
    ent_coef = problem.pop("ent_coef")
    if loss is not None:
        settings["ent_coef"] = ent_coef
    both(actions, loss, 1e-8, rows, settings, **problem)


BROKEN = {
    "target": lambda batch: batch.targets[45].fill_(math.nan),
    "infinite target": lambda batch: batch.targets[45].fill_(math.inf),
    "advantage": lambda batch: batch.advantages[45].fill_(math.nan),
    "infinite advantage": lambda batch: batch.advantages[45].fill_(math.inf),
    "log probability": lambda batch: batch.log_probs[45].fill_(math.nan),
    "observation": lambda batch: batch.observations[45].fill_(math.nan),
}
ONCE = {"n_epochs": 1}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("loss", ["ppo", "spma"])
@pytest.mark.parametrize("broken", BROKEN)
def test_an_error_keeps_the_steps_before_it(broken, loss, backend, monkeypatch):
    """The truth is an update on the rows of those steps alone."""
    monkeypatch.setattr(torch, "randperm", torch.arange)
    stopped, expected = (make_policy(ACTIONS["box"]) for _ in range(2))
    batch = make_batch(stopped, 60)
    for policy in (stopped, expected):
        policy.value_net.track(batch.targets)
    update(expected, type(batch)(*(column[:40] for column in batch)), backend, loss, descent=ONCE)
    whole = type(batch)(*(column.clone() for column in batch))
    BROKEN[broken](whole)
    with pytest.raises(NonFiniteLossError, match="the loss is .*; lower learning_rate, or look"):
        update(stopped, whole, backend, loss, descent=ONCE)
    for _ in range(2):
        assert torch.equal(parameters(stopped), parameters(expected))
        for own, other in zip(memory(stopped), memory(expected), strict=True):
            assert torch.equal(own, other)
        for policy in (stopped, expected):  # and both go on
            update(policy, batch, backend, loss, descent=ONCE)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_error_at_the_first_step_leaves_nothing_behind(backend):
    """A policy that has never learned goes on as one that saw no error."""
    stopped, expected = (make_policy(ACTIONS["box"]) for _ in range(2))
    batch = make_batch(stopped, ROWS)
    stopped.value_net.track(batch.targets), expected.value_net.track(batch.targets)
    broken = batch._replace(targets=torch.full_like(batch.targets, math.nan))
    with pytest.raises(NonFiniteLossError):
        update(stopped, broken, backend)
    assert torch.equal(parameters(stopped), parameters(expected))
    for policy in (stopped, expected):
        update(policy, batch, backend)
    assert torch.equal(parameters(stopped), parameters(expected))
    for own, other in zip(memory(stopped), memory(expected), strict=True):
        assert torch.equal(own, other)


@pytest.mark.parametrize("norm", [1e-3, 40.0, 1e300, math.inf])
@pytest.mark.parametrize("loss", ["ppo", "spma"])
def test_a_gradient_that_is_not_finite_is_no_step(loss, norm):
    """Whatever the bound: NaN from a ratio that is infinite, or an infinite gradient."""
    policy = make_policy(Box(-1.0, 1.0, (1,)))
    batch = make_batch(policy, 20)
    start = parameters(policy)
    if loss == "ppo":
        batch.log_probs[3] = -math.inf
    else:
        batch.advantages[3] = math.inf
    with pytest.raises(NonFiniteLossError):
        update(policy, batch, "numpy", loss, descent={"max_grad_norm": norm})
    assert torch.equal(parameters(policy), start)
