"""Diagnostics of agents: they change nothing, they are right, and they go on with a training."""

import copy

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, PPO, SAC

import agents
from baselines.diagnostics.diagnostics_callback import DiagnosticsCallback
from baselines.diagnostics.measured_files import STEPS, moment_files, read_moment, read_table
from baselines.diagnostics.surrogate_batch import surrogate_batch
from safe_envs import ConstraintSpec

QUICK = {"n_steps": 128, "batch_size": 64, "n_epochs": 2, "learning_rate": 0.01, "seed": 0}


class PaidPulls(gym.Env):
    """Ten pulls of two arms at a place that drifts; the second arm pays 1 and costs 1."""

    observation_space = spaces.Box(-1.0, 1.0, (3,), np.float32)
    action_space = spaces.Discrete(2)
    constraints = (ConstraintSpec("pulls", 4.0),)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._seen(), {"cost": 0.0}

    def step(self, action):
        self.t += 1
        paid = float(action) * (1.0 + 0.1 * self.t)
        return self._seen(), paid, False, self.t == 10, {"cost": paid}

    def _seen(self):
        return np.array([self.t / 10.0, 1.0 - self.t / 10.0, 0.5], np.float32)


def ours():
    return agents.PPOLag("MlpPolicy", PaidPulls(), **QUICK)


def theirs():
    return PPO("MlpPolicy", PaidPulls(), device="cpu", **QUICK)


def state_of(model):
    return [*model.policy.state_dict().values()], copy.deepcopy(model.policy.optimizer.state_dict())


@pytest.mark.parametrize("make", [ours, theirs], ids=["ours", "stable_baselines3"])
def test_a_training_with_diagnostics_is_the_same_bit_for_bit(make, tmp_path):
    plain = make().learn(512)
    after = torch.get_rng_state()
    measured = make().learn(512, callback=DiagnosticsCallback(tmp_path, points=5))
    assert torch.equal(torch.get_rng_state(), after)
    (values, optimizer), (own, own_optimizer) = state_of(plain), state_of(measured)
    assert all(torch.equal(a, b) for a, b in zip(values, own, strict=True))
    for one, other in zip(
        optimizer["state"].values(), own_optimizer["state"].values(), strict=True
    ):
        assert all(torch.equal(one[name], other[name]) for name in one)
    table = read_table(tmp_path)
    np.testing.assert_array_equal(table[STEPS], [128, 256, 384, 512])
    assert np.isfinite(table["noise_noise"]).all()
    assert [read_moment(file)["parameters"].ndim for file in moment_files(tmp_path)] == [1] * 4
    assert "landscape_values" in read_moment(moment_files(tmp_path)[0])
    path = read_moment(tmp_path / "diagnostics" / "path.npz")
    np.testing.assert_allclose(path["places"][-1], 0.0, atol=1e-12)
    reach = np.abs(path["places"]).max(axis=0)
    assert (path["alphas"].max(), path["betas"].max()) >= tuple(reach)


def test_a_cost_that_is_the_reward_is_in_full_conflict(tmp_path):
    """Equal signals have equal advantages: with gamma and lambda the same, the cosine is -1."""
    model = agents.PPOLag("MlpPolicy", PaidPulls(), **QUICK, gamma=0.99, cost_gamma=0.99)
    torch.nn.init.zeros_(model.policy.value_net.weight.data)
    model.learn(128, callback=DiagnosticsCallback(tmp_path, landscapes=0))
    table = read_table(tmp_path)
    assert table["cosine/reward/pulls"][0] == pytest.approx(-1.0, abs=1e-6)
    assert table["gradient_norm/reward"] == pytest.approx(table["gradient_norm/pulls"], rel=1e-5)


def test_a_constraint_may_be_called_reward(tmp_path):
    env = PaidPulls()
    env.constraints = (ConstraintSpec("reward", 4.0),)
    model = agents.PPOLag("MlpPolicy", env, **QUICK)
    model.learn(128, callback=DiagnosticsCallback(tmp_path, landscapes=0))
    table = read_table(tmp_path)
    assert {"gradient_norm/reward", "gradient_norm/cost reward"} <= table.keys()
    assert np.isfinite(table["cosine/reward/cost reward"]).all()


class _Captured(DiagnosticsCallback):
    def _on_rollout_end(self):
        self.batch = surrogate_batch(self.model)
        super()._on_rollout_end()


@pytest.mark.parametrize("make", [ours, theirs], ids=["ours", "stable_baselines3"])
def test_losses_have_the_policy_gradient(make, tmp_path):
    """-mean(A grad log pi), computed from the probabilities of a softmax by hand."""
    model, callback = make(), _Captured(tmp_path, landscapes=0)
    model.learn(128, callback=callback)
    fresh, batch = make(), callback.batch  # of the policy before it learnt
    policy = fresh.policy
    seen, chosen = batch.observations, batch.actions.long().flatten()
    if make is ours:
        latent = policy._actor_latent(seen)
    else:
        latent = policy.mlp_extractor.forward_actor(policy.extract_features(seen))
    logits = policy.action_net(latent).detach()
    advantage = batch.advantages[:, 0]
    hot = torch.nn.functional.one_hot(chosen, 2)
    by_hand = -(advantage[:, None] * (hot - logits.softmax(1))).mean(0)  # d loss / d bias
    likelihood = torch.distributions.Categorical(logits=policy.action_net(latent)).log_prob(chosen)
    loss = -((likelihood - batch.log_probs).exp() * advantage).mean()
    found = torch.autograd.grad(loss, policy.action_net.bias)[0]
    torch.testing.assert_close(found, by_hand, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(likelihood, batch.log_probs, rtol=1e-4, atol=1e-5)


def test_a_training_that_goes_on_measures_the_same(tmp_path):
    """Whole, in two parts, and in two parts of which the first was measured further."""
    whole, parts, lost = (tmp_path / name for name in ("whole", "parts", "lost"))
    ours().learn(512, callback=DiagnosticsCallback(whole, points=3))
    model = ours()
    model.learn(256, callback=DiagnosticsCallback(parts, points=3))
    model.save(tmp_path / "model")
    model.learn(128, callback=DiagnosticsCallback(lost, points=3))
    table = read_table(lost)
    np.testing.assert_array_equal(table[STEPS], [128])  # numbered anew, files replaced
    model = agents.load(tmp_path / "model", env=PaidPulls())
    model.learn(256, callback=DiagnosticsCallback(parts, points=3), reset_num_timesteps=False)
    expected, found = read_table(whole), read_table(parts)
    np.testing.assert_array_equal(found[STEPS], expected[STEPS])
    for name in ("noise_signal", "cosine/reward/pulls", "rank/effective"):
        np.testing.assert_array_equal(found[name][:2], expected[name][:2])


def test_what_cannot_be_measured_says_so(tmp_path):
    model = SAC("MlpPolicy", "Pendulum-v1", device="cpu", learning_starts=1000)
    with pytest.raises(TypeError, match="SAC has no plain rollout buffer"):
        model.learn(5, callback=DiagnosticsCallback(tmp_path))
    with pytest.warns(UserWarning, match="there will be no diagnostics: SAC"):
        model.learn(5, callback=DiagnosticsCallback(tmp_path, only_warn=True))
    assert not (tmp_path / "diagnostics").exists()
    single = A2C("MlpPolicy", "Pendulum-v1", device="cpu", n_steps=1)
    with pytest.raises(TypeError, match="the rollouts of A2C have a single step"):
        single.learn(5, callback=DiagnosticsCallback(tmp_path))
    with pytest.raises(ValueError, match="landscapes is 1"):
        DiagnosticsCallback(tmp_path, landscapes=1)


def test_other_spaces_and_agents_are_measured(tmp_path):
    """A2C, continuous actions of one dimension, observations in a dictionary."""
    A2C("MlpPolicy", "Pendulum-v1", device="cpu", n_steps=64).learn(
        128, callback=DiagnosticsCallback(tmp_path / "a2c", landscapes=0)
    )
    assert np.isfinite(read_table(tmp_path / "a2c")["gradient_norm/reward"]).all()
    env = gym.wrappers.TransformObservation(
        PaidPulls(), lambda seen: {"seen": seen}, spaces.Dict(seen=PaidPulls.observation_space)
    )
    agents.PPOLag("MultiInputPolicy", env, **QUICK).learn(
        128, callback=DiagnosticsCallback(tmp_path / "dict", landscapes=0)
    )
    found = read_table(tmp_path / "dict")
    assert "rank/effective" not in found
    assert np.isfinite(found["cosine/reward/pulls"]).all()
