"""Loading gives the agent that was saved, of the class that saved it, or says why not."""

import io

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.utils import ConstantSchedule, LinearSchedule
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import agents
from agents.actor_critic import MlpPolicy
from agents.named_agents import NAMED_AGENTS
from agents.non_finite_loss import NonFiniteLossError
from agents.scpo.residual_policy import ResidualPolicy
from safe_envs import ConstraintSpec, LinearFeedback

TREASURE, INTEGRATOR = "Safe/DeepSeaTreasure-v0", "Safe/DoubleIntegrator-v0"
SMALL = {"n_steps": 64, "n_epochs": 1, "batch_size": 32, "policy_kwargs": {"net_arch": [8]}}
SAFE = {
    "n_envs": 1,
    "n_steps": 60,
    "n_epochs": 1,
    "actor_steps": 1,
    "policy_kwargs": {"width": 4, "blocks": 1},
}
VALIDATED = {"validation_states": 2, "validation_horizon": 5, "groups": 0}


def made(name="PPOLag", env=INTEGRATOR, **settings):
    small = {**SAFE, **VALIDATED} if name == "SCPO" else SMALL
    return getattr(agents, name)("MlpPolicy", env, seed=0, **(small | settings))


def saved(agent):
    file = io.BytesIO()
    agent.save(file)
    return file


def assert_same_policy(one, other):
    first, second = one.policy.state_dict(), other.policy.state_dict()
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


@pytest.mark.parametrize("name", NAMED_AGENTS)
def test_a_loaded_agent_acts_and_learns_as_if_never_saved(name):
    """On raw observations; with the optimizer, the duals, the statistics and the counters."""
    agent = made(name).learn(128)
    loaded = type(agent).load(saved(agent), INTEGRATOR)
    observations = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    for deterministic in (True, False):
        torch.manual_seed(1)
        action = agent.predict(observations, deterministic=deterministic)[0]
        torch.manual_seed(1)
        np.testing.assert_array_equal(
            loaded.predict(observations, deterministic=deterministic)[0], action
        )
    for one in (agent, loaded):
        one.set_random_seed(11)
        one._new_episodes()
        one._last_obs = None
        one.learn(192, reset_num_timesteps=False)
    assert_same_policy(agent, loaded)
    assert loaded.num_timesteps == agent.num_timesteps
    assert loaded._n_updates == agent._n_updates > 1
    for key, value in agent.constraint_state().items():
        np.testing.assert_array_equal(loaded.constraint_state()[key], value)


@pytest.mark.parametrize("name", NAMED_AGENTS)
def test_all_arguments_come_back(name):
    agent = made(name)
    loaded = agents.load(saved(agent), INTEGRATOR)
    assert type(loaded) is type(agent)
    assert repr(loaded) == repr(agent)
    for argument in type(agent).arguments():
        if argument not in ("n_envs", "policy_kwargs"):
            expected = getattr(agent, argument) if argument != "stats_window_size" else 100
            found = getattr(loaded, argument) if argument != "stats_window_size" else 100
            assert np.array_equal(found, expected), argument
    assert loaded.policy_kwargs.keys() == agent.policy_kwargs.keys()


def test_the_class_that_saved_it_loads_it():
    file = saved(made("PPOLag"))
    for name in NAMED_AGENTS:
        if name == "PPOLag":
            assert isinstance(agents.PPOLag.load(file), agents.PPOLag)
            continue
        message = f"was saved by PPOLag, not by {name}; call agents.PPOLag.load, or agents.load"
        with pytest.raises(agents.SavedAgentError, match=message):
            getattr(agents, name).load(file)
    assert type(agents.load(file)) is type(agents.ConstrainedAgent.load(file)) is agents.PPOLag


class MyAgent(agents.PPOLag):
    """A class of one's own with an argument of its own."""

    def __init__(self, *given, patience=3, **named):
        super().__init__(*given, **named)
        self.patience = patience


class Forgetful(agents.PPOLag):
    """Does not keep its argument as an attribute."""

    def __init__(self, *given, patience=3, **named):
        super().__init__(*given, **named)


class Fixed(agents.PPOLag):
    """Does not take all arguments."""

    def __init__(self, policy, env, device="cpu", _init_setup_model=True, **_):
        super().__init__(
            policy,
            env,
            device=device,
            _init_setup_model=_init_setup_model,
            **SMALL | {"n_steps": 32},
        )


def test_classes_of_ones_own():
    file = saved(MyAgent("MlpPolicy", INTEGRATOR, patience=7, clip_range=0.1, **SMALL).learn(64))
    for loaded in (MyAgent.load(file), agents.load(file)):
        assert type(loaded) is MyAgent
        assert (loaded.patience, loaded.clip_range, loaded.num_timesteps) == (7, 0.1, 64)
    assert MyAgent.load(file, patience=9).patience == 9
    with pytest.raises(
        agents.SavedAgentError, match=r"saved by MyAgent, not by PPOLag; call MyAgent"
    ):
        agents.PPOLag.load(file)
    with pytest.raises(
        agents.SavedAgentError, match=r"saved by PPOLag, not by MyAgent; call agents\."
    ):
        MyAgent.load(saved(made()))


def test_arguments_of_ones_own_that_are_no_attributes():
    file = saved(Forgetful("MlpPolicy", INTEGRATOR, patience=7, **SMALL))
    with pytest.raises(
        agents.SavedAgentError, match="patience was no attribute 'patience'.* pass it"
    ):
        Forgetful.load(file)
    assert type(Forgetful.load(file, patience=1)) is Forgetful


def test_a_constructor_that_does_not_take_all_arguments():
    agent = Fixed("MlpPolicy", INTEGRATOR)
    assert Fixed.load(saved(agent)).n_steps == 32
    agent.n_steps = 16
    loaded = Fixed.load(saved(agent))
    assert loaded.n_steps == 16


def double(progress):
    return 2e-3 * progress


def test_schedules_that_are_data_come_back():
    for schedule in (
        LinearSchedule(1e-3, 0.0, 0.5),
        agents.LinearDecay(1e-3),
        ConstantSchedule(0.1),
    ):
        loaded = agents.load(saved(made(learning_rate=schedule, clip_range=schedule)))
        for progress in (1.0, 0.7, 0.0):
            assert loaded.lr_schedule(progress) == schedule(progress)
            assert loaded.clip_range(progress) == schedule(progress)


@pytest.mark.parametrize("name", ["learning_rate", "clip_range", "cost_limit"])
def test_functions_have_to_be_passed_again(name):
    agent = made(**{name: double}).learn(64)
    file = saved(agent)
    with pytest.raises(
        agents.SavedAgentError,
        match=rf"{name} was the function double of .*, which a file cannot hold; pass it to load: "
        rf"PPOLag\.load\(path, {name}=\.\.\.\)",
    ):
        agents.PPOLag.load(file)
    for loaded in (
        agents.PPOLag.load(file, **{name: double}),
        agents.PPOLag.load(file, custom_objects={name: double}),
    ):
        assert_same_policy(loaded, agent)
    assert agents.PPOLag.load(file, INTEGRATOR, **{name: 0.5}).learn(64).num_timesteps == 64


class MyPolicy(MlpPolicy):
    pass


class MyActivation(torch.nn.Module):
    def forward(self, x):
        return torch.sin(x)


def test_classes_in_policy_kwargs():
    kwargs = {
        "net_arch": {"pi": [8], "vf": [4, 4]},
        "activation_fn": torch.nn.ELU,
        "features_extractor_class": FlattenExtractor,
        "optimizer_class": torch.optim.SGD,
        "optimizer_kwargs": {"momentum": 0.5},
        "log_std_init": -1.0,
    }
    agent = made(policy_kwargs=kwargs).learn(64)
    loaded = agents.load(saved(agent))
    assert_same_policy(loaded, agent)
    assert {name: loaded.policy_kwargs[name] for name in kwargs} == kwargs
    assert type(loaded.policy.optimizer) is torch.optim.SGD
    memory = [
        one["momentum_buffer"] for one in agent.policy.optimizer.state_dict()["state"].values()
    ]
    found = [
        one["momentum_buffer"] for one in loaded.policy.optimizer.state_dict()["state"].values()
    ]
    assert all(torch.equal(*pair) for pair in zip(memory, found, strict=True))


def test_classes_of_ones_own_have_to_be_passed_again():
    agent = made(policy_kwargs={"activation_fn": MyActivation, "net_arch": [8]}).learn(64)
    file = saved(agent)
    with pytest.raises(
        agents.SavedAgentError,
        match=r"argument activation_fn was the class MyActivation of .*custom_objects=\{'policy_"
        r"kwargs': \{'activation_fn': \.\.\.\}\}",
    ):
        agents.load(file)
    given = {"policy_kwargs": {"activation_fn": MyActivation}}
    assert_same_policy(agents.load(file, custom_objects=given), agent)
    agent = agents.PPOLag(MyPolicy, INTEGRATOR, **SMALL)
    file = saved(agent)
    with pytest.raises(
        agents.SavedAgentError, match="policy was the class MyPolicy of .*policy=..."
    ):
        agents.load(file)
    for loaded in (
        agents.load(file, policy=MyPolicy),
        agents.load(file, custom_objects={"policy_class": MyPolicy}),
    ):
        assert type(loaded.policy) is MyPolicy


class MyBox(gym.spaces.Box):
    pass


def test_spaces_of_ones_own_have_to_be_passed_again():
    env = gym.make(INTEGRATOR)
    env.observation_space = MyBox(-np.inf, np.inf, (2,))
    file = saved(made(env=env))
    with pytest.raises(agents.SavedAgentError, match="observation_space was the MyBox of"):
        agents.load(file)
    loaded = agents.load(file, custom_objects={"observation_space": env.observation_space})
    assert loaded.observation_space is env.observation_space


def test_custom_objects_are_names_of_what_is_in_a_file():
    file = saved(made())
    habits = {"learning_rate": 0.0, "lr_schedule": double, "clip_range": double}
    assert agents.load(file, custom_objects=habits).clip_range is double
    assert agents.load(saved(made("CPO")), custom_objects=habits).learning_rate == 0.0
    with pytest.raises(TypeError, match=r"unknown name 'clip_rage'; did you mean 'clip_range'\?"):
        agents.load(file, custom_objects={"clip_rage": 0.1})


def test_the_safe_controller_of_scpo_is_data():
    agent = made("SCPO").learn(128)
    loaded = agents.load(saved(agent))
    observations = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    np.testing.assert_array_equal(
        loaded.predict(observations, deterministic=True)[0],
        agent.predict(observations, deterministic=True)[0],
    )
    assert type(loaded.policy) is ResidualPolicy
    assert type(loaded.policy_kwargs["backup"]) is LinearFeedback


def halve(observation):
    return -0.5 * observation[..., :1] - observation[..., 1:]


def test_a_safe_controller_that_is_code_has_to_be_passed_again():
    agent = made("SCPO", safe_policy=halve)
    file = saved(agent)
    with pytest.raises(agents.SavedAgentError, match="safe_policy was the function halve of"):
        agents.load(file)
    loaded = agents.load(file, custom_objects={"safe_policy": halve})
    assert_same_policy(loaded, agent)
    with pytest.raises(ValueError, match="safe_policy is .* cannot become .*learned to add to it"):
        loaded.safe_policy = np.sin


def test_a_safe_controller_of_the_environment_comes_from_the_environment():
    env = "Safe/Quadrotor-v0"
    agent = made("SCPO", env)
    file = saved(agent)
    with pytest.raises(agents.SavedAgentError, match="pass to load an environment that has it"):
        agents.load(file)
    loaded = agents.load(file, env)
    assert_same_policy(loaded, agent)
    with pytest.raises(
        agents.SavedAgentError, match="and the one here is the .*Plain.*; the network"
    ):
        agents.load(file, custom_objects={"safe_policy": halve})


def test_equal_and_other_environments():
    agent = made().learn(64)
    file = saved(agent)
    with pytest.raises(ValueError, match="Observation spaces do not match"):
        agents.load(file, TREASURE)
    with pytest.raises(ValueError, match="force_reset is False; files hold no running episode"):
        agents.load(file, INTEGRATOR, force_reset=False)
    with pytest.raises(ValueError, match="device is 'nonsense'"):
        agents.load(file, device="nonsense")
    assert agents.load(file, INTEGRATOR, n_envs=3).env.num_envs == 3
    assert agents.load(file, DummyVecEnv([lambda: gym.make(INTEGRATOR)] * 2)).n_envs == 2
    assert agents.load(file, device="auto").policy.device.type in ("cpu", "cuda")


class Limited(gym.Wrapper):
    """The double integrator with another limit."""

    def __init__(self, limit):
        super().__init__(gym.make(INTEGRATOR))
        self.constraints = (ConstraintSpec("outside_box", limit),)


def test_other_declared_limits_are_named(recwarn):
    agent = made()
    agent.set_env(Limited(0.0))
    assert not recwarn.list
    message = (
        r"declares the limits \[4.0\], and the agent goes on with its own, \[0.0\]; to change "
        r"them, set agent.cost_limit = 4.0, or pass cost_limit to load"
    )
    with pytest.warns(UserWarning, match=message):
        agent.set_env(Limited(4.0))
    agent.set_env(Limited(4.0))  # said once
    assert agent.cost_limit.tolist() == [0.0]
    file = saved(made())
    with pytest.warns(UserWarning, match=message):
        agents.load(file, Limited(4.0))
    for limit, expected in ((None, [4.0]), (2.0, [2.0]), (np.array([3.0]), [3.0])):
        assert agents.load(file, Limited(4.0), cost_limit=limit).cost_limit.tolist() == expected
    assert agents.load(saved(made(cost_limit=9.0)), INTEGRATOR).cost_limit.tolist() == [9.0]
    assert not recwarn.list


def test_standardized_once():
    """By the agent or by a VecNormalize, as in training."""
    inner = made()
    with pytest.raises(ValueError, match="the agent standardizes observations itself, and so does"):
        inner.set_env(VecNormalize(DummyVecEnv([lambda: gym.make(INTEGRATOR)])))
    rewards_only = VecNormalize(DummyVecEnv([lambda: gym.make(INTEGRATOR)]), norm_obs=False)
    inner.set_env(rewards_only)
    outer = made(env=VecNormalize(DummyVecEnv([lambda: gym.make(INTEGRATOR)]))).learn(64)
    file = saved(outer)
    with pytest.raises(
        ValueError, match="trained on observations that a VecNormalize standardized"
    ):
        agents.load(file, INTEGRATOR)
    agents.load(file, outer.env)
    assert not agents.load(file).policy.normalizer.active


def test_printing_versions(capsys):
    agents.load(saved(made()), print_system_info=True)
    printed = capsys.readouterr().out
    assert "CURRENT SYSTEM INFO" in printed
    assert f"'torch': '{torch.__version__}'" in printed


def test_parameters_from_a_file():
    first, second = made().learn(64), made(clip_range=0.1)
    second.set_parameters(saved(first))
    assert_same_policy(first, second)
    assert second.policy.optimizer.state_dict()["state"].keys()
    assert second.clip_range == 0.1
    with pytest.raises(agents.SavedAgentError, match="has shape"):
        second.set_parameters(saved(made(policy_kwargs={"net_arch": [4]})))


def test_searches_take_a_loss_that_is_not_finite_for_a_failed_trial():
    """RL Zoo prunes trials that raise a ValueError, and stops at anything else."""
    assert issubclass(NonFiniteLossError, ValueError)
    assert issubclass(NonFiniteLossError, RuntimeError)
