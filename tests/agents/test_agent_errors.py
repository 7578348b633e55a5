"""Broken environments stop training where they broke, and wrong settings say what is right."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import DummyVecEnv

import agents
from agents.actor_goal import Surrogate
from agents.batch import Batch
from agents.critic_descent import CriticDescent
from agents.minibatch_descent import MinibatchDescent
from agents.non_finite_loss import NonFiniteLossError
from safe_envs import ConstraintSpec, CostSignalError, NonFiniteEnvError

DICT_SPACE = gym.spaces.Dict(
    {
        "place": gym.spaces.Box(-1.0, 1.0, (2,), np.float32),
        "camera": gym.spaces.Box(0, 255, (3,), np.uint8),
    }
)


class BreaksAtStep(gym.Env):
    """Keeps the contract until step `at` since it was made, and then reports `broken`."""

    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
    constraints = (ConstraintSpec("harm", limit=1.0),)

    def __init__(self, at=None, with_dict=False, **broken):
        self.at, self.broken, self.with_dict = at, broken, with_dict
        self.observation_space = DICT_SPACE if with_dict else DICT_SPACE["place"]
        self.steps = 0

    def observation(self, place=0.0):
        array = np.full(2, place, np.float32)
        return {"place": array, "camera": np.zeros(3, np.uint8)} if self.with_dict else array

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation(), {"cost": 0.0}

    def step(self, action):
        self.steps += 1
        broken = self.broken if self.steps == self.at else {}
        info = {"cost": broken.get("cost", 0.5)}
        if broken.get("cost", 0.0) is None:
            info = {}
        over = self.steps % 10 == 0
        return (
            self.observation(broken.get("place", 0.0)),
            broken.get("reward", 1.0),
            False,
            over,
            info,
        )


def training(env, policy="MlpPolicy", **settings):
    return agents.PPOLag(policy, env, n_steps=64, batch_size=64, n_epochs=1, seed=0, **settings)


@pytest.mark.parametrize("at", [3, 70])
@pytest.mark.parametrize(
    ("cost", "message"),
    [
        (float("nan"), r"the cost is \[nan\]"),
        (float("inf"), r"the cost is \[inf\]"),
        (-0.5, r"the cost is \[-0.5\]; costs must be finite and >= 0"),
        (None, "has no 'cost'"),
        (np.zeros(2), "expected 1 cost each|inhomogeneous"),
    ],
)
def test_a_wrong_cost_stops_training_at_that_step(cost, message, at):
    sound, broken = BreaksAtStep(), BreaksAtStep(at, cost=cost)
    agent = training(DummyVecEnv([lambda: sound, lambda: broken]))
    with pytest.raises(CostSignalError, match=message) as caught:
        agent.learn(400)
    assert f"step {at} of training" in str(caught.value)
    if cost is None or np.ndim(cost) == 0:
        assert "environment 1" in str(caught.value)
    assert broken.steps == at


@pytest.mark.parametrize("at", [3, 10, 70])
@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_a_reward_that_is_not_finite_stops_training_at_that_step(value, at):
    broken = BreaksAtStep(at, reward=value)
    agent = training(DummyVecEnv([BreaksAtStep, lambda: broken]))
    message = f"environment 1, step {at} of training: the reward is {value}"
    with pytest.raises(NonFiniteEnvError, match=message):
        agent.learn(400)
    assert broken.steps == at


@pytest.mark.parametrize("at", [3, 10, 70])  # step 10 ends an episode
@pytest.mark.parametrize("with_dict", [False, True])
def test_an_observation_that_is_not_finite_stops_training_at_that_step(with_dict, at):
    broken = BreaksAtStep(at, with_dict, place=np.nan)
    agent = training(
        DummyVecEnv([lambda: broken]), "MultiInputPolicy" if with_dict else "MlpPolicy"
    )
    with pytest.raises(NonFiniteEnvError, match=r"the observation is \[nan nan\]"):
        agent.learn(400)
    assert broken.steps == at


def test_steps_before_an_error_count_for_their_episodes():
    agent = training(BreaksAtStep(25, cost=-1.0))
    with pytest.raises(CostSignalError, match="step 25 of training"):
        agent.learn(64)
    assert [(one.length, one.plain_value) for one in agent.episodes.recent] == [(10, 10.0)] * 2


@pytest.mark.parametrize("backend", ["torch", "numpy"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_leaves_the_policy_as_it_was(value, backend):
    policy = training(DummyVecEnv([BreaksAtStep])).policy
    batch = Batch(
        torch.zeros(8, 2), torch.zeros(8, 1), torch.zeros(8), torch.zeros(8, 2), torch.zeros(8, 2)
    )
    before = {name: array.clone() for name, array in policy.state_dict().items()}
    with pytest.raises(NonFiniteLossError, match="the loss is (nan|inf); lower learning_rate, or"):
        MinibatchDescent(CriticDescent(update_backend=backend)).run(
            policy, batch, torch.ones(8), Surrogate(*2 * [lambda x, advantage: x + value])
        )
    assert not any(one["exp_avg"].any() for one in policy.optimizer.state.values())
    for name, array in policy.state_dict().items():
        assert torch.equal(array, before[name]), name


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        (
            {"cost_limit": [1.0, 2.0]},
            ValueError,
            r"^cost_limit has 2 entries but the environment declares 1 constraint \('\w+'\); "
            "pass 1 number$",
        ),
        ({"n_steps": 0}, ValueError, "n_steps is 0; pass a whole number >= 1"),
        ({"gae_lambda": 1.5}, ValueError, "gae_lambda is 1.5; pass a number >= 0 and <= 1"),
        ({"gamma": -0.1}, ValueError, "gamma is -0.1; pass a number"),
        ({"cost_gamma": 2.0}, ValueError, "cost_gamma is 2.0; pass a number"),
        ({"batch_size": 0}, ValueError, "batch_size is 0; pass a number >= 1"),
        ({"target_kl": 0.0}, ValueError, "target_kl is 0.0; pass a number > 0"),
        ({"clip_range": 0.0}, ValueError, "clip_range is 0.0; pass a number > 0"),
        ({"multiplier_lr": -1.0}, ValueError, "multiplier_lr is -1.0; pass a number >= 0"),
        (
            {"multiplier_optimizer": "sgd"},
            ValueError,
            "multiplier_optimizer is 'sgd'; pass one of 'adam', 'ascent'",
        ),
        (
            {"normalize_advantage": "both"},
            ValueError,
            "normalize_advantage is 'both'; pass True, False or 'separate'",
        ),
        (
            {"multiplier_lrate": 0.1},
            TypeError,
            "unknown argument 'multiplier_lrate'; did you mean 'multiplier_lr'.*the known ones "
            "are .*batch_size.*cost_limit.*multiplier_lr",
        ),
        ({"penalty": 0.1}, TypeError, "unknown argument 'penalty'.*the known ones are"),
        ({"policy_kwargs": {"use_sde": True}}, ValueError, "use_sde is not supported"),
    ],
)
def test_wrong_settings(settings, kind, message):
    arguments = {"n_steps": 64, **settings}
    with pytest.raises(kind, match=message):
        agents.PPOLag("MlpPolicy", "Safe/DeepSeaTreasure-v0", **arguments)


@pytest.mark.parametrize(
    ("agent", "settings", "message"),
    [
        (agents.PPOALM, {"penalty": 0.0}, "penalty is 0.0; pass a number > 0"),
        (agents.PPOALM, {"penalty_growth": 0.5}, "penalty_growth is 0.5; pass a number >= 1"),
        (agents.SPMAALM, {"step_size": 0.0}, "step_size is 0.0; pass a number > 0"),
        (agents.PPOPID, {"smoothing": 1.5}, "smoothing is 1.5; pass a number >= 0 and <= 1"),
        (agents.PPOPID, {"derivative_delay": 0}, "derivative_delay is 0; pass a number >= 1"),
    ],
)
def test_wrong_settings_of_the_parts(agent, settings, message):
    with pytest.raises(ValueError, match=message):
        agent("MlpPolicy", "Safe/DeepSeaTreasure-v0", **settings)


def test_no_environments():
    with pytest.raises(ValueError, match="n_envs is 0; pass a whole number >= 1"):
        agents.PPOLag("MlpPolicy", "Safe/DeepSeaTreasure-v0", n_envs=0)
    empty = DummyVecEnv([BreaksAtStep])
    empty.num_envs = 0
    with pytest.raises(ValueError, match="the VecEnv has no environments"):
        agents.PPOLag("MlpPolicy", empty)


def test_policies_without_critics_of_the_costs():
    with pytest.raises(TypeError, match="policy is ActorCriticPolicy; .*MlpPolicy.*which has the"):
        agents.PPOLag(ActorCriticPolicy, "Safe/DeepSeaTreasure-v0")
    with pytest.raises(ValueError, match="Policy LstmPolicy unknown"):
        agents.PPOLag("LstmPolicy", "Safe/DeepSeaTreasure-v0")


def test_no_constraints_and_no_limit():
    with pytest.raises(CostSignalError, match="declares no constraints; pass cost_limit, which"):
        agents.PPOLag("MlpPolicy", gym.make("CartPole-v1"))


def test_another_number_of_constraints():
    agent = agents.PPOLag("MlpPolicy", "Safe/CliffWorld-v0")
    several = gym.make("Safe/CliffWorld-v0", per_constraint=True)
    with pytest.raises(ValueError, match="declares 3 constraints but the agent was made for 1"):
        agent.set_env(several)


def test_unknown_agents_name_the_known_ones():
    with pytest.raises(AttributeError, match="no attribute 'PPOlag'; it has .*'PPOLag'"):
        agents.PPOlag  # noqa: B018


@pytest.mark.parametrize(
    ("setting", "wanted"),
    [
        ({"cost_limit": "25"}, "cost_limit is '25'; pass a finite number, or one per constraint"),
        ({"cost_limit": ["25"]}, "pass a finite number, or one per constraint"),
        ({"cost_limit": True}, "cost_limit is True; pass a finite number"),
        ({"cost_limit": -1.0}, "cost_limit is -1.0; costs are >= 0, so no policy meets a limit"),
        ({"cost_limit": lambda progress: progress - 2}, "progress of 1 is -1.0; costs are >= 0"),
        ({"batch_size": 16.5}, "batch_size is 16.5; pass a whole number"),
        ({"n_epochs": 2.0}, "n_epochs is 2.0; pass a whole number"),
        ({"normalize_lagrangian": "False"}, "normalize_lagrangian is 'False'; pass True or False"),
        ({"normalize_observation": "False"}, "normalize_observation is 'False'; pass True or"),
        ({"normalize_advantage": 1}, "normalize_advantage is 1; pass True, False or 'separate'"),
        ({"damping": np.inf}, "damping is inf; pass a number >= 0"),
        ({"initial_multiplier": np.inf}, "initial_multiplier is inf; pass a number >= 0"),
    ],
)
def test_settings_of_the_wrong_kind(setting, wanted):
    with pytest.raises(ValueError, match=wanted):
        agents.PPOLag("MlpPolicy", BreaksAtStep(), n_steps=64, **setting)


def test_numbers_of_numpy_are_pythons():
    def trained(**settings):
        env = BreaksAtStep()
        agent = agents.PPOLag("MlpPolicy", env, n_steps=64, seed=0, **settings).learn(64)
        return torch.cat([p.detach().ravel() for p in agent.policy.parameters()])

    ours = {"batch_size": 16, "n_epochs": 2, "learning_rate": 0.5**11, "cost_limit": 3.0}
    theirs = {
        "batch_size": np.int64(16),
        "n_epochs": np.array(2),
        "learning_rate": np.float32(0.5**11),
        "cost_limit": np.array([3.0]),
    }
    flags = {"normalize_advantage": np.True_, "normalize_observation": np.True_}
    assert torch.equal(trained(**ours), trained(**theirs, **flags))


@pytest.mark.parametrize(
    ("declared", "wanted"),
    [
        ((ConstraintSpec("a", 1.0), ConstraintSpec("a", 2.0)), "2 constraints of the name 'a'"),
        ((ConstraintSpec("a", -1.0),), "the limit -1 of 'a'; costs are >= 0"),
    ],
)
def test_declared_constraints_that_make_no_sense(declared, wanted):
    env = BreaksAtStep()
    env.constraints = declared
    with pytest.raises(ValueError, match=wanted):
        agents.PPOLag("MlpPolicy", env, n_steps=64)
