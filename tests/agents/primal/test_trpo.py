import math

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from stable_baselines3.common.callbacks import BaseCallback

import agents
from agents.actor_critic import MlpPolicy
from agents.batch import Batch
from agents.critic_descent import CriticDescent
from agents.flat_parameters import flat_values
from agents.non_finite_loss import NonFiniteLossError
from agents.primal.conjugate_gradient import action_distributions, mean_divergence
from agents.primal.trpo import TrustRegionStep
from agents.primal.trust_region_actor import TorchActor
from agents.schedules import LinearDecay
from agents.update_kernel.trust_region import KernelActor

SPACES = [Box(-1, 1, (2,)), Discrete(3)]


@pytest.fixture(params=["torch", "numpy"])
def backend(request):
    return request.param


def make_policy(space, observation_space=None, hidden=(8,)):
    torch.manual_seed(0)
    return MlpPolicy(
        Box(-1, 1, (3,)) if observation_space is None else observation_space,
        space,
        lambda _: 1e-3,
        net_arch={"pi": list(hidden), "vf": []},
        num_costs=1,
    )


def sample_batch(policy, observations):
    with torch.no_grad():
        actions = policy.sample_actions(observations)
        log_probs = policy.log_probs(observations, actions)
    return Batch(
        observations,
        actions,
        log_probs,
        torch.randn(len(observations), 2),
        torch.randn(len(observations), 2),
    )


@pytest.mark.parametrize("space", SPACES, ids=lambda space: type(space).__name__)
@pytest.mark.parametrize("max_kl", [1e-3, 0.1])
def test_step_improves_within_the_divergence(space, max_kl, backend):
    policy = make_policy(space)
    batch = sample_batch(policy, torch.randn(300, 3))
    advantage = batch.advantages[:, 0]
    old = action_distributions(policy, batch.observations)
    report = TrustRegionStep(
        CriticDescent(update_backend=backend), max_kl=max_kl, cg_damping=1e-4
    ).improve(policy, batch, advantage, 1.0)
    with torch.no_grad():
        ratio = torch.exp(policy.log_probs(batch.observations, batch.actions) - batch.log_probs)
        divergence = float(mean_divergence(old, policy, batch.observations))
    gain = float(((ratio - 1) * advantage).mean())
    assert 0.2 * max_kl < divergence <= max_kl
    assert report["kl"] == pytest.approx(divergence, rel=1e-3)
    assert gain > 0
    assert report["surrogate_gain"] == pytest.approx(gain, rel=1e-3)
    assert 0 < report["step_fraction"] <= 1
    assert np.isfinite(report["value_loss"])


def test_a_scheduled_radius_is_that_of_the_remaining_progress(backend):
    """With a quarter of the progress left, the step is that of a constant quarter of the radius."""
    steps = []
    for max_kl in (LinearDecay(0.02), 0.005):
        torch.manual_seed(3)
        policy = make_policy(SPACES[0])
        batch = sample_batch(policy, torch.randn(300, 3))
        region = TrustRegionStep(CriticDescent(update_backend=backend), max_kl=max_kl)
        start = flat_values(policy.actor_parameters())
        report = region.improve(policy, batch, batch.advantages[:, 0], 0.25)
        steps.append(flat_values(policy.actor_parameters()) - start)
        assert 0.0 < report["kl"] <= 0.005
    assert torch.equal(*steps)


def test_a_radius_of_0_leaves_the_policy_and_fits_the_critics(backend):
    policy = make_policy(SPACES[0])
    batch = sample_batch(policy, torch.randn(300, 3))
    start, critics = flat_values(policy.actor_parameters()), flat_values(policy.parameters())
    region = TrustRegionStep(CriticDescent(update_backend=backend), max_kl=LinearDecay(0.02))
    no_step_is_needed = torch.full((300,), torch.nan)  # a gradient of these would be refused
    report = region.improve(policy, batch, no_step_is_needed, 0.0)
    assert (report["kl"], report["step_fraction"]) == (0.0, 0.0)
    assert torch.equal(flat_values(policy.actor_parameters()), start)
    assert not torch.equal(flat_values(policy.parameters()), critics)


def test_equals_the_natural_gradient_of_a_softmax_table(backend):
    """Every action of every state once, under the uniform policy: F^-1 g is A itself.

    g = (A - mean_a A) / (S k) and F = (I - 11'/k) / (S k) for logits of a table (S, k), so the
    logits change by length A, A centered in each state, with length = sqrt(2 delta / g . A).
    """
    states, actions, max_kl = 4, 3, 1e-5
    policy = make_policy(Discrete(actions), Discrete(states), hidden=())
    with torch.no_grad():
        for parameter in policy.actor_parameters():
            parameter.zero_()
    where, what = (
        torch.arange(states * actions) // actions,
        torch.arange(states * actions) % actions,
    )
    advantage = torch.randn(states * actions)
    batch = Batch(
        where,
        what,
        torch.full((states * actions,), -math.log(actions)),
        torch.randn(states * actions, 2),
        torch.randn(states * actions, 2),
    )
    report = TrustRegionStep(
        CriticDescent(update_backend=backend), max_kl=max_kl, cg_damping=0.0
    ).improve(policy, batch, advantage, 1.0)
    table = advantage.view(states, actions)
    centered = table - table.mean(1, keepdim=True)
    length = math.sqrt(2 * max_kl / float(centered.square().mean()))
    with torch.no_grad():
        distribution = policy.get_distribution(torch.arange(states)).distribution
    logits = distribution.logits - distribution.logits.mean(1, keepdim=True)
    expected = report["step_fraction"] * length * centered
    torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-5)


def test_step_does_not_depend_on_the_scale_of_the_advantage(backend):
    moved = []
    for scale in (1e-3, 1e3):
        policy = make_policy(SPACES[0])
        batch = sample_batch(
            policy, torch.randn(100, 3, generator=torch.Generator().manual_seed(1))
        )
        start = flat_values(policy.actor_parameters())
        TrustRegionStep(CriticDescent(n_epochs=1, update_backend=backend)).improve(
            policy, batch, scale * batch.advantages[:, 0], 1.0
        )
        moved.append(flat_values(policy.actor_parameters()) - start)
    torch.testing.assert_close(moved[0], moved[1], rtol=1e-2, atol=1e-5)
    assert float(moved[0].norm()) > 0


def test_nothing_moves_without_an_advantage(backend):
    policy = make_policy(SPACES[1])
    batch = sample_batch(policy, torch.randn(50, 3))
    start = flat_values(policy.actor_parameters())
    report = TrustRegionStep(CriticDescent(update_backend=backend)).improve(
        policy, batch, torch.zeros(50), 1.0
    )
    assert torch.equal(flat_values(policy.actor_parameters()), start)
    assert report["step_fraction"] == 0.0


def test_search_leaves_the_policy_if_nothing_is_acceptable(backend):
    policy = make_policy(SPACES[0])
    batch = sample_batch(policy, torch.randn(50, 3))
    start = flat_values(policy.actor_parameters())
    tried = []
    region = TrustRegionStep(CriticDescent(update_backend=backend), max_kl=1e9, line_search_steps=4)
    trial = region.search(
        region.actor(policy, batch), batch.advantages, torch.ones_like(start), tried.append, 1e9
    )
    assert (trial.fraction, trial.divergence, trial.gains.tolist()) == (0.0, 0.0, [0.0, 0.0])
    assert len(tried) == 4
    assert torch.equal(flat_values(policy.actor_parameters()), start)


def test_search_tries_smaller_and_smaller_fractions(backend):
    policy = make_policy(SPACES[0])
    batch = sample_batch(policy, torch.randn(50, 3))
    start = flat_values(policy.actor_parameters())
    step = 0.01 * torch.randn_like(start)
    answers = iter([False, False, True])
    region = TrustRegionStep(CriticDescent(update_backend=backend), max_kl=1e9, backtrack=0.5)
    trial = region.search(
        region.actor(policy, batch), batch.advantages, step, lambda _: next(answers), 1e9
    )
    assert trial.fraction == 0.25
    torch.testing.assert_close(flat_values(policy.actor_parameters()), start + 0.25 * step)


def test_fisher_matrix_of_some_observations(backend):
    """With the same observation everywhere it does not matter how many are taken."""
    policy = make_policy(SPACES[0])
    batch = sample_batch(policy, torch.randn(1, 3).repeat(60, 1))
    regions = [
        TrustRegionStep(CriticDescent(update_backend=backend), fisher_every=every)
        for every in (1, 7)
    ]
    found = [
        region.natural_gradients(region.actor(policy, batch), batch.advantages)[1][0]
        for region in regions
    ]
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-6)


def test_refuses_an_advantage_that_is_not_finite(backend):
    policy = make_policy(SPACES[0])
    batch = sample_batch(policy, torch.randn(5, 3))
    message = "^the surrogate's gradient is not finite; look for rewards"
    with pytest.raises(NonFiniteLossError, match=message):
        TrustRegionStep(CriticDescent(update_backend=backend)).improve(
            policy, batch, torch.full((5,), np.nan), 1.0
        )


def test_refuses_a_singular_fisher_matrix(backend, monkeypatch):
    for kind in (TorchActor, KernelActor):
        monkeypatch.setattr(kind, "fisher_product", lambda *_: lambda v: 0.0 * v)
    policy = make_policy(SPACES[0])
    batch = sample_batch(policy, torch.randn(5, 3))
    message = "^the natural gradient is not finite, .*; raise cg_damping, which is 0.0$"
    with pytest.raises(NonFiniteLossError, match=message):
        TrustRegionStep(CriticDescent(update_backend=backend), cg_damping=0.0).improve(
            policy, batch, batch.advantages[:, 0], 1.0
        )


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("max_kl", 0.0, "> 0"),
        ("cg_iterations", 0, ">= 1"),
        ("cg_damping", -0.1, ">= 0"),
        ("line_search_steps", 0, ">= 1"),
        ("backtrack", 1.5, "> 0 and <= 1"),
        ("fisher_every", 0, ">= 1"),
    ],
)
def test_refuses_numbers_out_of_range(name, value, allowed):
    with pytest.raises(ValueError, match=f"^{name} is {value}; pass a number {allowed}$"):
        TrustRegionStep(CriticDescent(), **{name: value})


def test_refuses_an_infinite_radius():
    """No fraction of its infinite step is in the region, so that nothing would be learned."""
    with pytest.raises(ValueError, match="^max_kl is inf; pass a positive number$"):
        TrustRegionStep(CriticDescent(), max_kl=math.inf)


@pytest.mark.parametrize("agent", [agents.TRPOLag, agents.TRPOALM, agents.CPO])
@pytest.mark.parametrize("name", ["target_kl", "ent_coef", "vf_coef"])
def test_settings_that_would_do_nothing_are_no_arguments(agent, name):
    assert name not in agent.arguments()
    assert name in agents.PPOLag.arguments()
    message = (
        f"^{name} is an argument of PPO, and this agent's update has no use for it; leave it out: "
        "the known ones are .*batch_size, .*max_kl, .*n_epochs"
    )
    with pytest.raises(TypeError, match=message):
        agent("MlpPolicy", "Safe/DeepSeaTreasure-v0", **{name: 0.1})


class Prices(BaseCallback):
    """Keeps the price of the cost after every rollout."""

    def _init_callback(self):
        self.seen = []

    def _on_rollout_end(self):
        self.seen.append(float(self.model.constraint_state()["weight"][0]))

    def _on_step(self):
        return True


def test_price_settles_at_the_multiplier():
    """Deep-sea treasure's is 1.00222222."""
    agent = agents.TRPOALM(
        "MlpPolicy",
        "Safe/DeepSeaTreasure-v0",
        n_envs=64,
        n_steps=16,
        batch_size=1024,
        learning_rate=0.01,
        penalty=2.0,
        primal_steps_per_dual_step=5,
        policy_kwargs={"net_arch": {"pi": [], "vf": []}},
        seed=0,
    )
    prices = Prices()
    agent.learn(60_000, callback=prices)
    assert np.mean(prices.seen[-len(prices.seen) // 4 :]) == pytest.approx(1.00222222, abs=0.1)
