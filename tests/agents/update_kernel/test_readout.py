"""Log probabilities and values of many rows against those of the torch policy."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete
from torch import nn

from agents.update_kernel.readout import PIECE, PolicyReadout
from tests.agents.update_kernel.small_updates import ACTIONS, make_batch, make_policy


def assert_reads_as_torch(policy, batch, tolerance):
    readout = PolicyReadout(policy)
    seen, actions = batch.observations, batch.actions
    with torch.no_grad():
        log_probs, values = policy.log_probs(seen, actions), policy.all_values(seen)
    found = readout.values_and_log_probs(seen, actions)
    for own, expected in [
        (readout.log_probs(seen, actions), log_probs),
        (found[1], log_probs),
        (found[0], values),
    ]:
        torch.testing.assert_close(own, expected, rtol=tolerance, atol=tolerance)


def make_pair(actions, rows, **settings):
    policy = make_policy(ACTIONS[actions], **settings)
    batch = make_batch(policy, rows)
    policy.value_net.track(batch.targets)  # values in units of their own
    return policy, batch


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
@pytest.mark.parametrize("net_arch", [(8,), (6, 7), (), {"pi": [5], "vf": [6, 4]}], ids=str)
@pytest.mark.parametrize("actions", ACTIONS)
def test_shapes_and_actions(actions, net_arch, activation):
    settings = {"net_arch": net_arch, "activation": activation, "m": 2}
    assert_reads_as_torch(*make_pair(actions, 20, **settings), 1e-12)
    assert_reads_as_torch(*make_pair(actions, 20, dtype=torch.float32, **settings), 1e-5)


@pytest.mark.parametrize("rows", [1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 2 * PIECE + 3])
@pytest.mark.parametrize("actions", ["box", "multi_discrete"])
def test_numbers_of_rows(actions, rows):
    assert_reads_as_torch(*make_pair(actions, rows), 1e-12)


@pytest.mark.parametrize(
    "seen",
    [Box(-1, 1, (2, 3)), Discrete(4), Dict({"far": Box(-1, 1, (2,)), "gear": Discrete(3)})],
    ids=["matrix", "number", "dictionary"],
)
def test_observations(seen):
    assert_reads_as_torch(*make_pair("box", PIECE + 5, seen=seen), 1e-12)


def test_the_policy_is_copied():
    """What is read out stays that of the policy as it was; a new readout reads the new one."""
    policy, batch = make_pair("box", 30)
    readout = PolicyReadout(policy)
    before = readout.log_probs(batch.observations, batch.actions)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter += 0.1
    assert torch.equal(readout.log_probs(batch.observations, batch.actions), before)
    assert not torch.allclose(before, policy.log_probs(batch.observations, batch.actions))
    assert_reads_as_torch(policy, batch, 1e-12)


def test_results_are_no_views_of_each_other():
    policy, batch = make_pair("box", 30)
    readout = PolicyReadout(policy)
    values, log_probs = readout.values_and_log_probs(batch.observations, batch.actions)
    kept = values.clone(), log_probs.clone()
    other = make_batch(policy, 30, seed=9)
    readout.values_and_log_probs(other.observations, other.actions)
    assert torch.equal(values, kept[0])
    assert torch.equal(log_probs, kept[1])


@pytest.mark.parametrize("log_std", [-200.0, 200.0])
def test_extreme_deviations_are_no_warning(log_std):
    """PyTorch says nothing about them; the loss is checked later."""
    policy = make_policy(ACTIONS["box"], dtype=torch.float32)
    batch = make_batch(policy, 5)
    with torch.no_grad():
        policy.log_std.fill_(log_std)
        expected = policy.log_probs(batch.observations, batch.actions)
    with np.errstate(all="raise"):
        readout = PolicyReadout(policy)
        found = readout.log_probs(batch.observations, batch.actions)
        _, others = readout.values_and_log_probs(batch.observations, batch.actions)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(others, expected)
