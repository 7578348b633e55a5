"""What an SCPO agent's update remembers, as data, and how it goes on with other settings."""

import copy

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback

from agents import SCPO
from agents.batch import Batch
from agents.flat_parameters import flat_values
from agents.scpo import InfeasibleStartError, StateRollouts
from safe_envs.control.double_integrator_sampling import sample_safe_states

INTEGRATOR = "Safe/DoubleIntegrator-v0"
STATES = sample_safe_states(np.random.default_rng(3), 12)
SETTINGS = {"validation_states": STATES, "validation_horizon": 20, "n_envs": 4, "n_steps": 40}
SETTINGS |= {"n_epochs": 1, "actor_steps": 4, "actor_learning_rate": 3e-3, "seed": 0}


class Stop(BaseCallback):
    """Stops after a number of updates; the rollout in progress is lost."""

    def __init__(self, updates):
        super().__init__()
        self.left = updates

    def _on_rollout_end(self):
        self.left -= 1

    def _on_step(self):
        return self.left > 0


def agent(**settings):
    return SCPO("MlpPolicy", INTEGRATOR, **{**SETTINGS, **settings})


def trained(updates=6, **settings):
    model = agent(**settings)
    model.learn(10**6, callback=Stop(updates))
    return model


def is_data(value):
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_data(one) for key, one in value.items())
    if isinstance(value, list):
        return all(map(is_data, value))
    plain = (bool, int, float, str, type(None), np.ndarray, torch.Tensor)
    return isinstance(value, plain)


def handed_over(model, **changes):
    """Another agent with the policy and the state of a trained one, and other settings."""
    other = agent(**changes)
    other.policy.load_state_dict(model.policy.state_dict())
    other.policy.optimizer.load_state_dict(copy.deepcopy(model.policy.optimizer.state_dict()))
    other._update.load_state(model._update.state())
    return other


def bank_of(model):
    return model._update.state()["projection"]["bank"]


def actor(model):
    return flat_values(model.policy.actor_parameters())


def steps_of(model, batches):
    """Take updates on batches that are made up, so that two agents see the same ones."""
    for seed in range(batches):
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        seen = torch.from_numpy(model.policy.normalizer.standardize(rng.normal(size=(60, 2))))
        with torch.no_grad():
            actions = model.policy.sample_actions(seen)
            log_probs = model.policy.log_probs(seen, actions)
        advantages = torch.as_tensor(rng.normal(size=(60, 2)), dtype=torch.float32)
        batch = Batch(seen, actions, log_probs, advantages, advantages)
        model.policy.value_net.track(batch.targets)
        yield model._update.update(model.policy, batch, None, 0.5)


def test_the_state_is_data_before_and_after_the_first_measurement():
    model = agent()
    fresh = model._update.state()
    assert fresh == {"projection": None, "largest": None}
    model.learn(10**6, callback=Stop(3))
    state = model._update.state()
    assert is_data(state)
    assert state.keys() == fresh.keys()
    assert torch.equal(state["projection"]["theta"], actor(model))
    assert model.constraint_state()["max_validation"] == state["largest"] <= 0.0


def test_a_state_does_not_change_while_the_training_goes_on():
    model = trained()
    state = model._update.state()
    kept = copy.deepcopy(state)
    other = handed_over(model)
    other._update.begin()
    list(steps_of(model, 2)), list(steps_of(other, 2))
    memory = state["projection"]["memory"]
    assert len(memory) == len(model.policy.actor_parameters())
    for now, before in zip(memory, kept["projection"]["memory"], strict=True):
        assert all(torch.equal(now[name], before[name]) for name in before)
    assert torch.equal(state["projection"]["theta"], kept["projection"]["theta"])


def test_an_update_with_the_state_goes_on_bit_for_bit_and_counts_no_measurement():
    model = trained()
    other = handed_over(model)
    assert other._update.begin() == 0
    assert other.constraint_state() == model.constraint_state()
    for first, second in zip(steps_of(model, 4), steps_of(other, 4), strict=True):
        assert first == second
        assert torch.equal(actor(model), actor(other))
    assert bank_of(model)[-1]["theta"].equal(bank_of(other)[-1]["theta"])


@pytest.mark.parametrize(
    "changes",
    [
        {"actor_learning_rate": 1e-4},
        {"groups": 0, "armijo": 1e-3, "max_tries": 3},
        {"metric": "identity", "accept_measured": False},
        {"objective": "reinforce", "clip_range": 0.1, "actor_steps": 2},
    ],
)
def test_other_settings_act_and_keep_bank_and_momentum(changes):
    model = trained()
    other = handed_over(model, **changes)
    assert other._update.begin() == 0
    for one, two in zip(bank_of(model), bank_of(other), strict=True):
        assert torch.equal(one["theta"], two["theta"])
    memory = other._update._projection.base_optimizer.state_dict()
    rate = changes.get("actor_learning_rate", SETTINGS["actor_learning_rate"])
    assert memory["param_groups"][0]["lr"] == rate
    kept = model._update._projection.base_optimizer.state_dict()["state"]
    assert all(torch.equal(memory["state"][i]["exp_avg"], kept[i]["exp_avg"]) for i in kept)
    list(steps_of(other, 1))


@pytest.mark.parametrize("size", [2, 64])
def test_a_bank_of_another_size_keeps_the_last_parameters(size):
    model = trained(bank_size=6)
    other = handed_over(model, bank_size=size)
    assert other._update.begin() == 0
    kept = bank_of(model)[-size:]
    assert [p["theta"].tolist() for p in bank_of(other)] == [p["theta"].tolist() for p in kept]
    list(steps_of(other, 3))
    assert len(bank_of(other)) == min(size, len(kept) + 3) or len(bank_of(other)) > len(kept)


def test_another_validation_is_measured_anew_and_counts():
    """What the bank knew of the old one is dropped; Adam's moments are not."""
    model = trained()
    other = handed_over(model, validation_states=STATES[:5], validation_horizon=30)
    assert other._update.begin() == 2 * 5 * 30
    assert len(bank_of(other)) == 1
    assert len(other._update.state()["projection"]["constraint"]) == 5 * 4  # four sides
    kept = model._update._projection.base_optimizer.state_dict()["state"]
    memory = other._update._projection.base_optimizer.state_dict()["state"]
    assert all(torch.equal(memory[i]["exp_avg_sq"], kept[i]["exp_avg_sq"]) for i in kept)
    list(steps_of(other, 2))


def test_a_validation_that_finds_the_policy_unsafe_is_refused():
    model = trained()
    outside = np.array([[14.0, 8.0]])  # no controller can stop before the edge
    other = handed_over(model, validation_states=outside)
    with pytest.raises(InfeasibleStartError):
        other.learn(1000)


def test_other_parameters_make_the_state_useless():
    model = trained()
    other = handed_over(model)
    with torch.no_grad():
        other.policy.log_std -= 0.1
    assert other._update.begin() == 2 * 12 * 20
    assert len(bank_of(other)) == 1
    assert len(other._update._projection.base_optimizer.state_dict()["state"]) == 0


def test_the_scale_of_the_observations_is_measured_once():
    model = trained()
    inputs = model.policy.normalizer
    scale = inputs.scale.clone()
    seen = []

    class Watched(StateRollouts):
        def __call__(self, act):
            return super().__call__(lambda x: seen.append(np.array(x)) or act(x))

    first = agent(validation=Watched(INTEGRATOR, STATES, 20))
    first._update.begin()
    rows = np.concatenate(seen[: len(seen) // 2])  # the second measurement repeats the first
    np.testing.assert_allclose(inputs.shift, rows.mean(0), rtol=1e-9)
    np.testing.assert_allclose(scale, rows.std(0), rtol=1e-9)
    other = handed_over(model, validation_states=STATES[:5])
    other._update.begin()
    assert torch.equal(other.policy.normalizer.scale, scale)


def test_attaching_in_the_middle_of_a_training_goes_on():
    """As after a change of a setting from a callback."""
    model = trained()
    theta = actor(model)
    model.parts_are_ready()
    reports = list(steps_of(model, 2))
    assert not torch.equal(actor(model), theta)
    measured = [r["environment_steps"] / (12 * 20) for r in reports]
    np.testing.assert_array_equal(measured, [r["constraint_measurements"] for r in reports])


def test_without_any_reward_the_critics_learn_and_the_actor_waits():
    model = trained(updates=1)
    seen = torch.from_numpy(model.policy.normalizer.standardize(np.ones((8, 2))))
    zeros = torch.zeros((8, 2))
    batch = Batch(seen, torch.zeros((8, 1)), torch.zeros(8), zeros, zeros)
    fresh = agent()
    fresh._update.begin()
    theta = actor(fresh)
    report = fresh._update.update(fresh.policy, batch, None, 1.0)
    assert report["accepted"] == report["environment_steps"] == 0.0
    assert torch.equal(actor(fresh), theta)
