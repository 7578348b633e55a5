import numpy as np
import torch

from agents import SCPO
from agents.batch import Batch
from agents.flat_parameters import flat_gradient
from agents.scpo.objectives import ClippedReturn, Imitation, PolicyGradient
from safe_envs.control.double_integrator_reference import malicious_expert


class Expert:
    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return malicious_expert(np.asarray(observation, dtype=np.float64))[:, None], state


def policy_and_batch():
    """A policy whose network is not zero, and thirty of its steps with made-up advantages."""
    model = SCPO("MlpPolicy", "Safe/DoubleIntegrator-v0", validation_states=2, seed=0)
    with torch.no_grad():
        model.policy.action_net.last.weight.normal_(generator=torch.Generator().manual_seed(1))
    rng = np.random.default_rng(0)
    observations = torch.as_tensor(rng.normal(size=(30, 2)), dtype=torch.float32)
    with torch.no_grad():
        actions = model.policy.sample_actions(observations)
        log_probs = model.policy.log_probs(observations, actions)
    advantages = torch.as_tensor(rng.normal(size=(30, 2)), dtype=torch.float32)
    return model.policy, Batch(observations, actions, log_probs, advantages, advantages)


def test_clipped_surrogate_has_the_policy_gradient_where_the_policies_agree():
    policy, batch = policy_and_batch()
    parameters = policy.actor_parameters()
    everything = slice(None)
    gradients = [
        flat_gradient(objective.losses(policy, everything).mean(), parameters)
        for objective in (ClippedReturn(batch, 0.2), PolicyGradient(batch))
    ]
    torch.testing.assert_close(*gradients)
    assert gradients[0].norm() > 0.01


def test_policy_gradient_is_minus_advantage_times_log_probability():
    policy, batch = policy_and_batch()
    mean = policy.get_distribution(batch.observations).distribution.mean.detach().numpy()
    deviation = float(policy.log_std.detach().exp())
    z = (batch.actions.numpy() - mean) / deviation
    log_prob = -0.5 * z[:, 0] ** 2 - np.log(deviation) - 0.5 * np.log(2 * np.pi)
    advantage = batch.advantages[:, 0].numpy()
    advantage = (advantage - advantage.mean()) / advantage.std()
    losses = PolicyGradient(batch).losses(policy, slice(None)).detach().numpy()
    np.testing.assert_allclose(losses, -advantage * log_prob, rtol=1e-4, atol=1e-5)


def test_imitation_is_the_squared_distance_of_what_is_done():
    policy, batch = policy_and_batch()
    x = batch.observations.numpy()
    done = policy.predict(x, deterministic=True)[0][:, 0]
    expected = (done - malicious_expert(x.astype(np.float64))) ** 2
    objective = Imitation(batch, Expert(), torch.tensor([-1.0]), torch.tensor([1.0]))
    index = torch.arange(5, 20)
    np.testing.assert_allclose(
        objective.losses(policy, index).detach().numpy(), expected[5:20], rtol=1e-4, atol=1e-6
    )
