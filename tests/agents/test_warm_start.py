"""A warm-started agent acts as its source does, on the same raw observations."""

import copy
import io

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.save_util import save_to_zip_file
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import agents
from safe_envs import LinearFeedback
from tests.agents.sampled_env import SampledEnv

INTEGRATOR = "Safe/DoubleIntegrator-v0"
NET = {"net_arch": {"pi": [16], "vf": [12, 8]}}
SMALL = {"n_steps": 64, "n_epochs": 1, "batch_size": 32, "policy_kwargs": NET}


def sampled(low=-1.0, high=1.0, observation_space=None, action_space=None):
    """Random observations of any space; actions in bounds of one's own."""
    return SampledEnv(
        observation_space or gym.spaces.Box(-5.0, 9.0, (3,), np.float32),
        action_space or gym.spaces.Box(np.float32(low), np.float32(high), (2,), np.float32),
        8,
        lambda action, step: (float(np.sum(action)), float(np.mean(action) > 0)),
    )


def sb3(env, kind=PPO, policy="MlpPolicy", **settings):
    """A model whose actions differ between observations."""
    small = {"n_steps": 64, "policy_kwargs": NET, "seed": 0} | settings
    model = kind(policy, env, **small, **({"batch_size": 32} if kind is PPO else {})).learn(64)
    with torch.no_grad():
        model.policy.action_net.weight.mul_(3.0)
        if hasattr(model.policy, "log_std") and not model.use_sde:
            model.policy.log_std.add_(torch.linspace(-1.0, 0.5, len(model.policy.log_std)))
    return model


def as_file(model):
    file = io.BytesIO()
    model.save(file)
    file.seek(0)
    return file


def observations(env, n=200):
    env.observation_space.seed(1)
    drawn = [env.observation_space.sample() for _ in range(n)]
    if isinstance(env.observation_space, gym.spaces.Dict):
        return {key: np.stack([one[key] for one in drawn]) for key in drawn[0]}
    return np.stack(drawn)


def assert_acts_alike(source, agent, env, seen_by_source=lambda raw: raw, varied=True):
    raw = observations(env)
    if not isinstance(raw, dict) and not np.isfinite(env.observation_space.high).all():
        raw = 0.01 * raw
    expected = source.predict(seen_by_source(raw), deterministic=True)[0]
    found = agent.predict(raw, deterministic=True)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    assert len(np.unique(expected)) > 1 or not varied


@pytest.mark.parametrize("form", ["model", "file"])
@pytest.mark.parametrize(
    "bounds", [(-1.0, 1.0), (-7.0, 7.0), (0.0, 1000.0), ([-3.0, 5.0], [1.0, 6.0])]
)
def test_from_stable_baselines3(bounds, form):
    """Also the deviations of the noise and the values of the rewards."""
    env = sampled(*bounds)
    middle, half = (np.add(*bounds) / 2, np.subtract(*bounds[::-1]) / 2)
    model = sb3(env)
    with torch.no_grad():  # actions within the bounds
        model.policy.action_net.weight.mul_(torch.as_tensor(half / 3.0).float().reshape(-1, 1))
        model.policy.action_net.bias.add_(torch.as_tensor(middle).float())
    source = model if form == "model" else as_file(model)
    agent = agents.PPOLag("MlpPolicy", env, cost_limit=1.0, **SMALL)
    assert agent.warm_start(source) is agent
    assert_acts_alike(model, agent, env)
    raw = torch.as_tensor(observations(env))
    theirs, ours = model.policy.get_distribution(raw), agent.policy.get_distribution(raw)
    deviation = ours.distribution.stddev.detach().numpy() * half
    np.testing.assert_allclose(deviation, theirs.distribution.stddev.detach().numpy(), rtol=1e-5)
    np.testing.assert_allclose(
        agent.policy.predict_values(raw).detach().numpy(),
        model.policy.predict_values(raw).detach().numpy(),
        rtol=1e-5,
        atol=1e-5,
    )
    loaded = agents.load(as_file(agent), env).learn(64)
    assert loaded.normalize_observation is False


@pytest.mark.parametrize(
    "space",
    [
        gym.spaces.Discrete(3),
        gym.spaces.MultiDiscrete([2, 3]),
        gym.spaces.MultiBinary(4),
        gym.spaces.Box(-1.0, 1.0, (1,), np.float32),
    ],
)
def test_actions_of_any_kind(space):
    env = sampled(action_space=space)
    model = sb3(env, A2C)
    agent = agents.PPOALM("MlpPolicy", env, cost_limit=1.0, **SMALL).warm_start(as_file(model))
    assert_acts_alike(model, agent, env)


IMAGE = gym.spaces.Box(0, 255, (3, 36, 36), np.uint8)
DICT = gym.spaces.Dict({"place": gym.spaces.Box(-4.0, 4.0, (2,), np.float32), "look": IMAGE})


@pytest.mark.parametrize(("policy", "space"), [("CnnPolicy", IMAGE), ("MultiInputPolicy", DICT)])
@pytest.mark.parametrize("shared", [True, False])
def test_observations_of_any_kind(policy, space, shared):
    env = sampled(observation_space=space)
    kwargs = {"policy_kwargs": {"net_arch": [8], "share_features_extractor": shared}}
    model = sb3(env, policy=policy, **kwargs)
    agent = agents.PPOLag(policy, env, cost_limit=1.0, **(SMALL | kwargs)).warm_start(model)
    assert_acts_alike(model, agent, env)
    raw = (
        {k: torch.as_tensor(v) for k, v in observations(env, 20).items()}
        if (space is DICT)
        else torch.as_tensor(observations(env, 20))
    )
    values = [one.policy.predict_values(raw).detach().numpy() for one in (model, agent)]
    np.testing.assert_allclose(*values, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", ["model", "file"])
def test_statistics_of_a_vec_normalize_are_taken_over(form):
    """A model knows them; a file does not, and they are passed."""
    env = sampled()
    venv = VecNormalize(DummyVecEnv([lambda: env]), norm_reward=False)
    model = sb3(venv).learn(256)
    agent = agents.PPOLag("MlpPolicy", env, cost_limit=1.0, **SMALL)
    if form == "model":
        agent.warm_start(model)
    else:
        agent.warm_start(as_file(model), vec_normalize=venv)
    assert_acts_alike(model, agent, env, venv.normalize_obs)
    assert agent.policy.normalizer.active
    assert float(agent.policy.normalizer.count) == pytest.approx(venv.obs_rms.count)
    agent.learn(64)


def test_a_forgotten_vec_normalize_is_asked_for():
    """Neither a file nor the model loaded from it holds the statistics, but both know of them."""
    venv = VecNormalize(DummyVecEnv([sampled]))
    file = as_file(sb3(venv))
    agent = agents.PPOLag("MlpPolicy", sampled(), cost_limit=1.0, **SMALL)
    for source in (file, PPO.load(file)):
        file.seek(0)
        with pytest.raises(ValueError, match="trained behind a VecNormalize, .* as vec_normalize"):
            agent.warm_start(source)
    unscaled = VecNormalize(DummyVecEnv([sampled]), norm_obs=False)
    model = sb3(unscaled)
    assert_acts_alike(model, agent.warm_start(as_file(model), unscaled), sampled())


def test_no_observation_is_standardized_twice():
    """An agent behind a VecNormalize acts as the source on what that one returns, or refuses."""
    env = sampled()
    venv = VecNormalize(DummyVecEnv([lambda: env]))
    model = sb3(venv).learn(256)
    behind = VecNormalize(DummyVecEnv([sampled]))
    behind.obs_rms = copy.deepcopy(venv.obs_rms)
    agent = agents.PPOLag("MlpPolicy", behind, cost_limit=1.0, **SMALL).warm_start(model)
    seen = venv.normalize_obs(observations(env))
    found, expected = (one.predict(seen, deterministic=True)[0] for one in (agent, model))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)

    own = agents.PPOLag("MlpPolicy", env, cost_limit=1.0, **SMALL).learn(64)
    other = VecNormalize(DummyVecEnv([sampled]))
    agent = agents.PPOLag("MlpPolicy", other, cost_limit=1.0, **SMALL)
    for source in (model, own, sb3(env)):
        with pytest.raises(ValueError, match="the source saw them otherwise; make the agent on"):
            agent.warm_start(source)


def test_a_vec_normalize_that_clips_elsewhere_is_refused():
    venv = VecNormalize(DummyVecEnv([sampled]), clip_obs=5.0)
    agent = agents.PPOLag("MlpPolicy", sampled(), cost_limit=1.0, **SMALL)
    with pytest.raises(
        ValueError, match="clips observations at 5.0 deviations, and an agent at 10"
    ):
        agent.warm_start(sb3(venv))


@pytest.mark.parametrize("form", ["agent", "file"])
@pytest.mark.parametrize("name", ["PPO", "PPOALM", "TRPOLag", "CPO"])
def test_from_another_agent(name, form):
    source = getattr(agents, name)(
        "MlpPolicy",
        INTEGRATOR,
        learning_rate=lambda _: 1e-2,
        **(SMALL if "PPO" in name else {key: SMALL[key] for key in ("n_steps", "policy_kwargs")}),
    ).learn(192)
    with torch.no_grad():
        source.policy.action_net.weight.mul_(3.0)
    agent = agents.PPOLag("MlpPolicy", INTEGRATOR, **SMALL)
    agent.warm_start(source if form == "agent" else as_file(source))
    assert_acts_alike(source, agent, agent.env, varied=False)
    theirs, ours = source.policy.state_dict(), agent.policy.state_dict()
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(theirs[key], ours[key]) for key in theirs)
    assert not agent.policy.optimizer.state_dict()["state"]
    source.policy.action_net.weight.data.zero_()
    assert agent.policy.action_net.weight.any()


def test_the_critic_of_the_reward_alone_from_an_agent_with_other_constraints():
    def env(**settings):
        return gym.make("Safe/CliffWorld-v0", **settings)

    source = agents.PPOLag("MlpPolicy", env(), **SMALL).learn(128)
    agent = agents.PPOLag("MlpPolicy", env(per_constraint=True), **SMALL)
    before = agent.policy.value_net.weight.clone()
    agent.warm_start(source)
    raw = torch.as_tensor(agent.env.reset())
    values = [one.policy.predict_values(raw) for one in (source, agent)]
    torch.testing.assert_close(*values)
    assert torch.equal(agent.policy.value_net.weight[1:], before[1:])
    agent.learn(128)


def test_other_critics_start_anew():
    source = sb3(sampled(), policy_kwargs={"net_arch": {"pi": [16], "vf": [7]}})
    agent = agents.PPOLag("MlpPolicy", source.env, cost_limit=1.0, **SMALL)
    before = agent.policy.value_net.weight.clone()
    agent.warm_start(source)
    assert torch.equal(agent.policy.value_net.weight, before)


def test_scpo_takes_over_what_adds_to_the_same_controller():
    settings = {"n_steps": 20, "n_epochs": 1, "actor_steps": 1, "validation_states": 2}
    kwargs = {"policy_kwargs": {"width": 4, "blocks": 1}}
    source = agents.SCPO("MlpPolicy", INTEGRATOR, **settings, **kwargs).learn(700)
    agent = agents.SCPO("MlpPolicy", INTEGRATOR, **settings, **kwargs).warm_start(as_file(source))
    assert_acts_alike(source, agent, agent.env)
    agent.learn(700)
    other = agents.SCPO(
        "MlpPolicy",
        INTEGRATOR,
        safe_policy=LinearFeedback(np.array([[0.5, 1.0]]), -1.0, 1.0),
        **settings,
        **kwargs,
    )
    with pytest.raises(ValueError, match="policy of the source was made with"):
        other.warm_start(source)
    with pytest.raises(ValueError, match="policy of the source was made with"):
        agents.PPOLag("MlpPolicy", INTEGRATOR, **SMALL).warm_start(source)


class OwnPolicy(ActorCriticPolicy):
    """Has an activation function that is not among the arguments in its file."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **(kwargs | {"activation_fn": torch.nn.ReLU}))


def refusals():
    env = sampled()
    relu = {"policy_kwargs": NET | {"activation_fn": torch.nn.ReLU}}
    yield sb3(env, **relu), "activation_fn of the source is .*ReLU, and the agent's is .*Tanh; make"
    yield as_file(sb3(env, **relu)), "activation_fn of the source is .*ReLU"

    class Local(torch.nn.ReLU):
        """Its name holds <locals>."""

    local = {"policy_kwargs": NET | {"activation_fn": Local}}
    yield as_file(sb3(env, **local)), "activation_fn of the source is .*<locals>.Local"
    yield as_file(sb3(env, policy=OwnPolicy)), "policy of the source is a class of .*test_warm"
    wide = {"policy_kwargs": {"net_arch": [64]}}
    yield (
        as_file(sb3(env, **wide)),
        r"action_net.weight has the shape \(2, 64\) in the source and \(2, 16\)",
    )
    yield (
        as_file(sb3(sampled(-2.0, 2.0))),
        r"acts between \[-2. -2.\] and \[2. 2.\], and the agent between",
    )
    yield sb3(sampled(-2.0, 2.0)), "action_space of the source is"
    yield as_file(sb3(env, use_sde=True)), "log_std has the shape"
    discrete = sampled(action_space=gym.spaces.Discrete(2))
    yield as_file(DQN("MlpPolicy", discrete, learning_starts=1)), "has no actor of PPO's form"
    yield sb3("CartPole-v1"), "observation_space of the source is"


def test_what_cannot_be_the_same_policy_is_refused():
    agent = agents.PPOLag("MlpPolicy", sampled(), cost_limit=1.0, **SMALL)
    before = {name: one.clone() for name, one in agent.policy.state_dict().items()}
    for source, message in refusals():
        with pytest.raises(ValueError, match=message):
            agent.warm_start(source)
    for source in (3, None, agent.policy):
        with pytest.raises(TypeError, match="the source is .*; pass an agent, a model of"):
            agent.warm_start(source)
    assert all(torch.equal(before[name], one) for name, one in agent.policy.state_dict().items())


def test_a_pickle_among_the_weights_does_not_run(tmp_path):
    """PyTorch's restricted reader refuses it; so does a weights file that is no zip."""
    marker = tmp_path / "marker"

    class Marks:
        def __reduce__(self):
            return (open, (str(marker), "w"))

    agent = agents.PPOLag("MlpPolicy", INTEGRATOR, **SMALL)
    for weights in ({"policy": {"x": Marks()}}, {"policy": Marks()}, {"policy": {"x": 3}}):
        save_to_zip_file(tmp_path / "bad.zip", data={"a": Marks()}, params=weights)
        with pytest.raises(agents.SavedAgentError, match="weights in .* (cannot be read|are not)"):
            agent.warm_start(tmp_path / "bad.zip")
    assert not marker.exists()
