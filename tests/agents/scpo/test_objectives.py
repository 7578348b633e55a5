import gymnasium as gym
import numpy as np
import pytest
import torch

from agents import SCPO
from agents.batch import Batch
from agents.flat_parameters import flat_gradient
from agents.scpo.objectives import ClippedReturn, Imitation, PolicyGradient
from safe_envs.control.double_integrator_reference import malicious_expert


class Expert:
    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return 3.0 * malicious_expert(np.asarray(observation))[:, None] + 5.0, state


def wide_range():
    """The double integrator with forces from 2 to 8, of which 5 is none."""
    env = gym.make("Safe/DoubleIntegrator-v0", disable_env_checker=True)
    return gym.wrappers.RescaleAction(env, np.float32(2.0), np.float32(8.0))


def policy_and_batch():
    """A policy whose network is not zero, and thirty of its steps with made-up advantages."""
    model = SCPO(
        "MlpPolicy",
        wide_range(),
        safe_policy=lambda x: 5.0 - 3.0 * x[:, :1],
        measure="costs",
        validation_states=2,
        seed=0,
    )
    with torch.no_grad():
        model.policy.action_net.last.weight.normal_(generator=torch.Generator().manual_seed(1))
    rng = np.random.default_rng(0)
    observations = model.policy.normalizer(torch.as_tensor(rng.normal(size=(30, 2))))
    with torch.no_grad():
        actions = model.policy.sample_actions(observations)
        log_probs = model.policy.log_probs(observations, actions)
    advantages = torch.as_tensor(rng.normal(size=(30, 2)), dtype=torch.float32)
    return model.policy, Batch(observations, actions, log_probs, advantages, advantages)


def standardized_advantage(batch):
    advantage = batch.advantages[:, 0].numpy()
    return (advantage - advantage.mean()) / advantage.std()


def log_probs_by_hand(policy, batch):
    """log N(action; mean, deviation), with the mean from the parts: base + share phi."""
    x = batch.observations[:, -2:].numpy()
    hidden = policy.mlp_extractor.hidden(torch.as_tensor(x, dtype=torch.float32))
    phi = policy.action_net.last(hidden).detach().numpy()[:, 0]
    deviation = float(policy.log_std.detach().exp())
    z = (batch.actions.numpy()[:, 0] - (-x[:, 0] + phi)) / deviation
    return -0.5 * z**2 - np.log(deviation) - 0.5 * np.log(2 * np.pi)


def test_both_surrogates_have_the_policy_gradient_where_the_policies_agree():
    """REINFORCE's -A log pi has that gradient as well."""
    policy, batch = policy_and_batch()
    parameters = policy.actor_parameters()
    everything = slice(None)
    gradients = [
        flat_gradient(objective.losses(policy, everything).mean(), parameters)
        for objective in (ClippedReturn(batch, 0.2), PolicyGradient(batch))
    ]
    advantage = torch.as_tensor(standardized_advantage(batch))
    reinforce = -(advantage * policy.log_probs(batch.observations, batch.actions)).mean()
    torch.testing.assert_close(*gradients)
    torch.testing.assert_close(gradients[1], flat_gradient(reinforce, parameters))
    assert gradients[0].norm() > 0.01


def test_policy_gradient_is_minus_advantage_times_ratio():
    policy, batch = policy_and_batch()
    with torch.no_grad():
        policy.action_net.last.bias += 0.3
        policy.log_std -= 0.1
    ratio = np.exp(log_probs_by_hand(policy, batch) - batch.log_probs.numpy())
    assert ratio.max() > 1.1 > 0.9 > ratio.min()
    losses = PolicyGradient(batch).losses(policy, slice(None)).detach().numpy()
    np.testing.assert_allclose(losses, -standardized_advantage(batch) * ratio, rtol=1e-4, atol=1e-5)


def test_policy_gradient_is_bounded_where_the_advantage_is_negative():
    """Far from actions whose advantage is negative -A log pi has no bound; -A rho goes to 0."""
    policy, batch = policy_and_batch()
    losses = []
    for distance in (1.0, 10.0, 1000.0):
        with torch.no_grad():
            policy.action_net.last.bias.fill_(distance)
        losses.append(PolicyGradient(batch).losses(policy, slice(None)).detach().numpy())
    negative = standardized_advantage(batch) < 0.0
    assert (np.array(losses)[:, negative] >= 0.0).all()
    np.testing.assert_array_equal(losses[-1], 0.0)


def test_imitation_is_the_squared_distance_of_what_is_done_in_shares_of_the_range():
    policy, batch = policy_and_batch()
    x = batch.observations[:, -2:].numpy()
    done = policy.predict(x, deterministic=True)[0][:, 0].astype(np.float64)
    expected = ((done - 5.0) / 3.0 - malicious_expert(x)) ** 2
    index = torch.arange(5, 20)
    losses = Imitation(batch, Expert(), policy).losses(policy, index).detach().numpy()
    np.testing.assert_allclose(losses, expected[5:20], rtol=1e-4, atol=1e-6)


def test_an_expert_beyond_the_bounds_is_imitated_up_to_them():
    policy, batch = policy_and_batch()

    class Violent(Expert):
        def predict(self, observation, **others):
            return np.full((len(observation), 1), 1000.0), None

    with torch.no_grad():
        policy.action_net.last.bias.fill_(1000.0)
        policy.action_net.last.weight.zero_()
    losses = Imitation(batch, Violent(), policy).losses(policy, slice(None))
    np.testing.assert_array_equal(losses.detach(), 0.0)


def test_an_expert_with_one_number_too_few_is_refused():
    policy, batch = policy_and_batch()

    class Flat(Expert):
        def predict(self, observation, **others):
            return np.zeros(len(observation)), None

    with pytest.raises(ValueError, match=r"shape \(30,\); they have to be \(30, 1\)"):
        Imitation(batch, Flat(), policy)
