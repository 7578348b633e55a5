"""Actions of rollouts against PyTorch's networks and against the policy's own distributions."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

import agents
from agents.actor_critic import MlpPolicy
from agents.update_kernel import rollout_actor as module
from agents.update_kernel.rollout_actor import rollout_actor
from agents.update_kernel.service import why_torch
from safe_envs import ConstraintSpec

spaces = gym.spaces
N = 5
ACTIONS = {
    "box": spaces.Box(-2.0, 1.0, (3,), np.float32),
    "discrete": spaces.Discrete(4),
    "multi-discrete": spaces.MultiDiscrete([2, 3, 4]),
    "multi-binary": spaces.MultiBinary(3),
}
OBSERVATIONS = {
    "box": spaces.Box(-np.inf, np.inf, (4,), np.float64),
    "table": spaces.Box(-np.inf, np.inf, (2, 3), np.float32),
    "discrete": spaces.Discrete(6, start=2),
    "dict": spaces.Dict(
        {"b": spaces.Box(-np.inf, np.inf, (2,), np.float64), "a": spaces.Discrete(3)}
    ),
}


class Sampled(gym.Env):
    """Draws observations from its space; rewards and costs depend on the action."""

    constraints = (ConstraintSpec("harm", limit=1.0),)
    reward_discount = 1.0

    def __init__(self, observations="box", actions="box"):
        self.observation_space = OBSERVATIONS[observations]
        self.action_space = ACTIONS[actions]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        return self.observation_space.sample(), {"cost": 0.0}

    def step(self, action):
        size = float(np.abs(np.asarray(action, np.float64)).sum())
        over = self.np_random.random() < 0.1
        return self.observation_space.sample(), -size, over, False, {"cost": size}


def agent_of(observations="box", actions="box", activation=nn.Tanh, policy=None, **settings):
    name = "MultiInputPolicy" if observations == "dict" else "MlpPolicy"
    return agents.PPOLag(
        policy or name,
        Sampled(observations, actions),
        n_steps=32,
        batch_size=32,
        n_epochs=1,
        seed=0,
        policy_kwargs={"net_arch": [16, 8], "activation_fn": activation},
        **settings,
    )


def policy_of(*args, **settings):
    """Return a policy with random biases, whose Gaussian has different deviations."""
    policy = agent_of(*args, **settings).policy
    with torch.no_grad():
        for parameter in policy.actor_parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return policy


def seen_of(policy, steps=1):
    """Return observations of N environments at several steps as the networks see them."""
    space = policy.observation_space
    space.seed(1)
    rows = [[space.sample() for _ in range(N)] for _ in range(steps)]
    if isinstance(space, spaces.Dict):
        rows = [{key: np.array([one[key] for one in row]) for key in space} for row in rows]
    return [policy.normalizer.standardize(r if isinstance(r, dict) else np.array(r)) for r in rows]


def actions_of(policy, seen, in_numpy):
    torch.manual_seed(3)
    actor = rollout_actor(policy, len(seen), N, in_numpy)
    return np.array([actor.actions(one).copy() for one in seen])


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
@pytest.mark.parametrize("actions", ACTIONS)
def test_numpy_takes_the_actions_of_pytorch(actions, activation):
    policy = policy_of("box", actions, activation)
    assert why_torch(policy, with_actor=True) == ""
    seen = seen_of(policy, steps=40)
    ours, theirs = (actions_of(policy, seen, in_numpy) for in_numpy in (True, False))
    assert ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert len(np.unique(ours)) > 1


@pytest.mark.parametrize("observations", OBSERVATIONS)
def test_observations_of_every_space(observations):
    policy = policy_of(observations)
    seen = seen_of(policy, steps=3)
    ours, theirs = (actions_of(policy, seen, in_numpy) for in_numpy in (True, False))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("in_numpy", [True, False])
@pytest.mark.parametrize("actions", ACTIONS)
def test_actions_follow_the_distributions_of_the_policy(actions, in_numpy):
    """Moments over many draws at the same observations, within five standard errors."""
    policy, draws = policy_of("box", actions), 4000
    (seen,) = seen_of(policy)
    taken = actions_of(policy, [seen] * draws, in_numpy).reshape(draws, N, -1)
    with torch.no_grad():
        distribution = policy.seen_distribution(torch.from_numpy(seen)).distribution
    if actions == "box":
        mean, deviation = distribution.mean.numpy(), distribution.stddev.numpy()
        off = (taken - mean) / deviation
        np.testing.assert_allclose(off.mean(0), 0.0, atol=5 / draws**0.5)
        np.testing.assert_allclose(np.square(off).mean(0), 1.0, atol=5 * (2 / draws) ** 0.5)
        return
    parts = distribution if actions == "multi-discrete" else [distribution]
    if actions == "multi-binary":
        frequencies, expected = taken.mean(0), distribution.probs.numpy()
    else:
        expected = np.concatenate([part.probs.numpy() for part in parts], axis=1)
        values = [np.arange(part.probs.shape[1]) for part in parts]
        counted = [
            (taken[..., i, None] == value).mean(0) for i, value in enumerate(values)
        ]  # (N, values) each
        frequencies = np.concatenate(counted, axis=1)
    assert (np.abs(frequencies - expected) < 5 * np.sqrt(expected / draws)).all()


def test_gaussian_noise_is_what_pytorch_draws():
    policy = policy_of()
    (seen,) = seen_of(policy)
    (taken,) = actions_of(policy, [seen], in_numpy=True)
    torch.manual_seed(3)
    noise = torch.randn(1, N, 3)[0]
    with torch.no_grad():
        distribution = policy.seen_distribution(torch.from_numpy(seen)).distribution
    expected = distribution.mean + distribution.stddev * noise
    np.testing.assert_allclose(taken, expected.numpy(), rtol=1e-5, atol=1e-6)


def test_blocks_end_with_the_rollout(monkeypatch):
    """What is left of a block is never carried on: the state of the generator tells all."""
    monkeypatch.setattr(module, "BLOCK", 3 * N * 3)  # three steps
    policy = policy_of()
    seen = seen_of(policy, steps=7)
    ours, theirs = (actions_of(policy, seen, in_numpy) for in_numpy in (True, False))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    after = torch.get_rng_state()
    torch.manual_seed(3)
    for steps in (3, 3, 1):
        torch.empty(steps, N, 3).normal_()
    assert torch.equal(after, torch.get_rng_state())


def test_parameters_that_a_callback_changes_count_at_once():
    policy = policy_of()
    (seen,) = seen_of(policy)
    actor = rollout_actor(policy, 10, N, in_numpy=True)
    with torch.no_grad():
        policy.log_std.fill_(-30.0)  # no noise to speak of
        policy.action_net.weight.zero_()
        policy.action_net.bias.copy_(torch.tensor([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(actor.actions(seen), np.tile([1.0, 2.0, 3.0], (N, 1)), rtol=1e-6)


def in_new_memory(policy, changed):
    for parameter, value in zip(policy.parameters(), changed, strict=True):
        parameter.data = value


def as_new_parameters(policy, changed):
    names = [name for name, _ in policy.named_parameters()]
    state = policy.state_dict() | dict(zip(names, changed, strict=True))
    policy.load_state_dict(state, assign=True)


def as_one_vector(policy, changed):
    flat = nn.utils.parameters_to_vector(changed)
    nn.utils.vector_to_parameters(flat, policy.parameters())


@pytest.mark.parametrize("actions", ACTIONS)
@pytest.mark.parametrize("change", [in_new_memory, as_new_parameters, as_one_vector])
def test_parameters_that_a_callback_moves_count_at_once(change, actions):
    def taken(in_numpy):
        policy = policy_of("box", actions)
        (seen,) = seen_of(policy)
        torch.manual_seed(3)
        actor = rollout_actor(policy, 2, N, in_numpy)
        first = actor.actions(seen).copy()
        change(policy, [2.0 * one.detach() + 1.0 for one in policy.parameters()])
        return first, actor.actions(seen)

    for ours, theirs in zip(taken(True), taken(False), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


class Still(MlpPolicy):
    """Always takes the same action."""

    def sample_actions(self, seen):
        return torch.full((len(seen), 3), 0.25)


class Bold(MlpPolicy):
    """Its distribution has another form than its network's outputs say."""

    def _get_action_dist_from_latent(self, latent_pi):
        return self.action_dist.proba_distribution(100.0 * self.action_net(latent_pi))


def test_policies_that_sample_in_their_own_way_are_asked():
    policy = policy_of(policy=Still)
    (seen,) = seen_of(policy)
    np.testing.assert_array_equal(actions_of(policy, [seen], in_numpy=True), 0.25)
    bold = policy_of("box", "discrete", policy=Bold)
    (seen,) = seen_of(bold)
    torch.manual_seed(3)
    expected = bold.sample_actions(torch.from_numpy(seen)).numpy()
    np.testing.assert_array_equal(actions_of(bold, [seen], in_numpy=True)[0], expected)


@pytest.mark.parametrize("actions", ACTIONS)
def test_a_seed_gives_the_same_rollout_whoever_evaluates_the_network(actions):
    def rollout(in_numpy):
        agent = agent_of("box", actions)
        agent.update_backend = "numpy" if in_numpy else "torch"
        _, callback = agent._setup_learn(1, None)
        agent.collect_rollouts(agent.env, callback, None, 32)
        batch, _ = agent._rollout.batch(agent.policy, np.full(2, 0.99), np.full(2, 0.95))
        return [part.numpy() for part in batch]

    for ours, theirs in zip(rollout(True), rollout(False), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
