"""What users of Stable-Baselines3 expect of an agent: ids, spaces, saving, schedules and logs."""

import csv

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecNormalize

import agents
from agents.gymnasium_vec_env import GymnasiumVecEnv
from safe_envs import ConstraintSpec
from tests.agents.sampled_env import SampledEnv

SMALL = {"n_steps": 64, "batch_size": 32, "n_epochs": 2}
ID = "Safe/DoubleIntegrator-v0"
CONSTRAINED = ["PPOLag", "PPOALM", "PPOPID", "SPMALag", "SPMAALM"]


class SixValues(gym.Wrapper):
    """The cost as the third of six values, not in info."""

    def step(self, action):
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, info["cost"], terminated, truncated, {}


def of_spaces(observation_space, action_space):
    """Ten steps with reward 1 and cost 0.5 each."""
    return SampledEnv(observation_space, action_space, 10, lambda action, step: (1.0, 0.5))


BOX = gym.spaces.Box(-1.0, 1.0, (3,), np.float32)
IMAGE = gym.spaces.Box(0, 255, (3, 36, 36), np.uint8)
DICT = gym.spaces.Dict({"place": BOX, "gear": gym.spaces.Discrete(3)})
TWO_ACTIONS = gym.spaces.Discrete(2)


def parameters(agent):
    return {name: array.clone() for name, array in agent.policy.state_dict().items()}


def assert_same_parameters(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def trained(name="PPOLag", env=ID, steps=192, **settings):
    agent = getattr(agents, name)("MlpPolicy", env, **(SMALL | {"seed": 3} | settings))
    return agent.learn(steps)


@pytest.mark.parametrize("name", ["PPO", *CONSTRAINED])
def test_same_seed_same_parameters(name):
    first, second = trained(name), trained(name)
    assert_same_parameters(parameters(first), parameters(second))
    other = parameters(trained(name, seed=4))
    assert not torch.equal(other["action_net.weight"], parameters(first)["action_net.weight"])


def native():
    venv = gym.make_vec(ID, num_envs=4, autoreset_mode=AutoresetMode.SAME_STEP)
    return GymnasiumVecEnv(venv)


def dummy():
    return DummyVecEnv([lambda: gym.make(ID)] * 2)


@pytest.mark.parametrize("make", [native, dummy])
@pytest.mark.parametrize("normalize", [False, True])
def test_same_seed_same_parameters_on_vector_environments(make, normalize):
    def run():
        return parameters(trained(env=VecNormalize(make()) if normalize else make(), steps=768))

    assert_same_parameters(run(), run())


@pytest.mark.parametrize("name", CONSTRAINED)
def test_saved_agents_go_on_as_if_never_saved(name, tmp_path):
    agent = trained(name, cost_limit=0.5)
    agent.save(tmp_path / "agent")
    loaded = type(agent).load(tmp_path / "agent", env=ID)
    seen = agent.env.reset()
    observations = np.random.default_rng(0).normal(size=(20, *seen.shape[1:]))
    np.testing.assert_array_equal(
        loaded.predict(observations, deterministic=True)[0],
        agent.predict(observations, deterministic=True)[0],
    )
    assert loaded.cost_limit.tolist() == agent.cost_limit.tolist() == [0.5]
    assert loaded.constraint_state().keys() == agent.constraint_state().keys()
    for key, value in agent.constraint_state().items():
        assert loaded.constraint_state()[key].tolist() == value.tolist()
    for one in (agent, loaded):
        one.set_random_seed(11)
        one._new_episodes()
        one._last_obs = one.env.reset()
        one.learn(128, reset_num_timesteps=False)
    assert loaded.num_timesteps == agent.num_timesteps == 320
    assert_same_parameters(parameters(agent), parameters(loaded))
    for key, value in agent.constraint_state().items():
        assert loaded.constraint_state()[key].tolist() == value.tolist()


def test_saved_agents_need_no_environment_to_act(tmp_path):
    agent = trained()
    agent.save(tmp_path / "agent.zip")
    with open(tmp_path / "agent.zip", "rb") as file:
        loaded = agents.PPOLag.load(file)
    np.testing.assert_array_equal(
        loaded.predict(np.ones(2), deterministic=True)[0],
        agent.predict(np.ones(2), deterministic=True)[0],
    )
    loaded.set_env(gym.make(ID))
    assert loaded.learn(64).num_timesteps == 64


def test_get_and_set_parameters():
    first, second = trained(), trained(seed=4)
    second.set_parameters(first.get_parameters())
    assert_same_parameters(parameters(first), parameters(second))
    assert second.policy.optimizer.state_dict()["state"].keys()


def test_set_env_takes_what_the_constructor_takes():
    agent = trained()
    agent.set_env(gym.make(ID))
    agent.learn(64)
    agent.set_env(ID)
    agent.learn(64)
    assert agent.num_timesteps == 64


def test_schedules_see_the_remaining_progress_before_each_rollout():
    """Stable-Baselines3 passes the progress after it, so that the last update learns nothing."""
    seen = {"learning_rate": [], "clip_range": []}

    def schedule(name, factor):
        def at(remaining):
            seen[name].append(remaining)
            return factor * remaining

        return at

    agent = agents.PPOLag(
        "MlpPolicy",
        ID,
        learning_rate=schedule("learning_rate", 1e-3),
        clip_range=schedule("clip_range", 0.2),
        **SMALL,
    )
    agent.learn(256)
    assert agent.policy.optimizer.param_groups[0]["lr"] == pytest.approx(0.25e-3)
    assert seen["clip_range"] == pytest.approx([1.0, 0.75, 0.5, 0.25])
    assert sorted(set(seen["learning_rate"])) == pytest.approx([0.25, 0.5, 0.75, 1.0])
    agent.learn(100)  # the second rollout goes beyond the budget
    assert seen["clip_range"][4:] == pytest.approx([1.0, 0.36])


ONCE = {
    "rollout/episodes",
    "rollout/ep_rew_mean",
    "rollout/ep_len_mean",
    "rollout/ep_value_mean",
    "rollout/ep_value_se",
    "constraint/penalty",
    "train/approx_kl",
    "train/clip_fraction",
    "train/explained_variance",
}
PER_CONSTRAINT = {
    "rollout/ep_cost_mean",
    "rollout/ep_cost_value_mean",
    "rollout/ep_cost_value_se",
    "constraint/violation",
    "constraint/multiplier",
    "constraint/weight",
    "train/cost_explained_variance",
}


@pytest.mark.parametrize("per_constraint", [False, True])
def test_logged_keys(per_constraint, tmp_path):
    env = gym.make("Safe/CliffWorld-v0", per_constraint=per_constraint)
    agent = agents.PPOALM("MlpPolicy", env, seed=0, **(SMALL | {"n_steps": 512}))
    agent.set_logger(configure(str(tmp_path), ["csv", "tensorboard"]))
    agent.learn(1024)
    agent.logger.close()
    names = [c.name for c in env.unwrapped.constraints]
    assert len(names) == (3 if per_constraint else 1)
    with open(tmp_path / "progress.csv", newline="") as file:
        row = list(csv.DictReader(file))[-1]
    expected = set(ONCE)
    for key in PER_CONSTRAINT:
        expected |= {f"{key}/{name}" for name in names} if per_constraint else {key}
    assert expected <= row.keys()
    for key in expected:
        assert np.isfinite(float(row[key])), key
    for name in names:
        suffix = f"/{name}" if per_constraint else ""
        limit = agent.cost_limit[names.index(name)]
        assert float(row[f"constraint/violation{suffix}"]) >= -limit
    assert any(path.name.startswith("events") for path in tmp_path.iterdir())


def test_logged_costs_are_those_of_the_episodes(tmp_path):
    """Every episode of ten steps costs 5 and returns 10; the limit is 3."""
    env = of_spaces(BOX, TWO_ACTIONS)
    agent = agents.PPOLag("MlpPolicy", env, cost_limit=3.0, **SMALL)
    agent.set_logger(configure(str(tmp_path), ["csv"]))
    agent.learn(128)
    agent.logger.close()
    with open(tmp_path / "progress.csv", newline="") as file:
        row = list(csv.DictReader(file))[-1]
    expected = {
        "rollout/ep_rew_mean": 10.0,
        "rollout/ep_value_mean": 10.0,
        "rollout/ep_cost_mean": 5.0,
        "rollout/ep_cost_value_mean": 5.0,
        "rollout/ep_len_mean": 10.0,
        "constraint/violation": 2.0,
    }
    assert {key: float(row[key]) for key in expected} == expected


class Growing(gym.Env):
    """Episodes of one step; the i-th has reward i and cost 2 i, and every fourth succeeds."""

    observation_space, action_space = BOX, TWO_ACTIONS
    constraints = (ConstraintSpec("harm", limit=1e6),)
    reward_discount = 1.0
    ended = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(3, np.float32), {}

    def step(self, action):
        i, self.ended = self.ended, self.ended + 1
        info = {"cost": 2.0 * i, "is_success": i % 4 == 0}
        return np.zeros(3, np.float32), float(i), True, False, info


@pytest.mark.parametrize(("n_steps", "covered"), [(4, 10), (150, 150)])
def test_everything_logged_covers_the_same_episodes(n_steps, covered, tmp_path):
    """Those of the last rollout, even if it has more than `stats_window_size`, or the last ten."""
    agent = agents.PPOLag("MlpPolicy", Growing(), n_steps=n_steps, batch_size=2, n_epochs=1)
    agent.set_logger(configure(str(tmp_path), ["csv"]))
    agent.learn(300)
    agent.logger.close()
    with open(tmp_path / "progress.csv", newline="") as file:
        row = list(csv.DictReader(file))[-1]
    numbers = np.arange(300 - covered, 300)
    expected = {
        "rollout/episodes": covered,
        "rollout/ep_rew_mean": numbers.mean(),
        "rollout/ep_cost_mean": 2 * numbers.mean(),
        "rollout/ep_len_mean": 1.0,
        "rollout/ep_cost_value_se": 2 * numbers.std(ddof=1) / covered**0.5,
        "rollout/success_rate": np.mean(numbers[-100:] % 4 == 0),
    }
    assert {key: float(row[key]) for key in expected} == pytest.approx(expected, rel=1e-5)
    assert len(agent.ep_info_buffer) == len(agent.ep_success_buffer) == 100


@pytest.mark.parametrize(
    ("policy", "space"),
    [("MlpPolicy", BOX), ("MultiInputPolicy", DICT), ("CnnPolicy", IMAGE)],
)
@pytest.mark.parametrize("name", ["PPOLag", "SPMAALM"])
def test_observation_spaces(name, policy, space, tmp_path):
    env = of_spaces(space, TWO_ACTIONS)
    agent = getattr(agents, name)(policy, env, cost_limit=1.0, seed=0, **SMALL)
    before = parameters(agent)
    agent.learn(64)
    after = parameters(agent)
    assert not torch.equal(after["value_net.weight"], before["value_net.weight"])
    assert all(torch.isfinite(array).all() for array in after.values())
    agent.save(tmp_path / "agent")
    loaded = type(agent).load(tmp_path / "agent")
    seen = agent.env.reset()
    np.testing.assert_array_equal(
        loaded.predict(seen, deterministic=True)[0], agent.predict(seen, deterministic=True)[0]
    )


@pytest.mark.parametrize(
    "space",
    [
        gym.spaces.Box(-0.1, 0.1, (2,), np.float32),
        gym.spaces.Discrete(3),
        gym.spaces.MultiDiscrete([2, 3]),
        gym.spaces.MultiBinary(4),
    ],
)
@pytest.mark.parametrize("name", ["PPOLag", "SPMAALM"])
def test_action_spaces(name, space):
    """The environment asserts that it is only given actions of its space."""
    agent = getattr(agents, name)("MlpPolicy", of_spaces(BOX, space), cost_limit=1.0, **SMALL)
    agent.learn(128)
    action, _ = agent.predict(agent.env.reset())
    assert space.contains(action[0])


@pytest.mark.parametrize("six", [False, True])
def test_environments_that_declare_nothing(six):
    """A cost of 0.5 on each of ten steps, from info or from the third of six values."""
    env = of_spaces(BOX, TWO_ACTIONS)
    env = SixValues(env) if six else env
    agent = agents.PPOLag("MlpPolicy", env, cost_limit=3.0, **SMALL)
    assert [c.name for c in agent.constraints] == ["cost"]
    assert agent.cost_limit.tolist() == [3.0]
    agent.learn(64)
    assert [e.costs.tolist() for e in agent.episodes.recent] == [[5.0]] * 6


class Signals(BaseCallback):
    """Keeps the last step's infos."""

    def _on_step(self):
        assert all("cost" in info for info in self.locals["infos"])
        return True


def subprocesses():
    return SubprocVecEnv([make_one, make_one], start_method="spawn")


def make_one():
    return gym.make("Safe/CliffWorld-v0", per_constraint=True)


def vector():
    return gym.make_vec(
        "Safe/CliffWorld-v0",
        num_envs=2,
        per_constraint=True,
        autoreset_mode=AutoresetMode.SAME_STEP,
    )


FORMS = {
    "id": lambda: "Safe/CliffWorld-v0",
    "environment": make_one,
    "vector environment": vector,
    "SyncVectorEnv": lambda: gym.vector.SyncVectorEnv(
        [make_one] * 2, autoreset_mode=AutoresetMode.SAME_STEP
    ),
    "DummyVecEnv": lambda: DummyVecEnv([make_one] * 2),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["PPOLag", "SPMAALM"])
def test_forms_of_environments(name, form):
    agent = getattr(agents, name)("MlpPolicy", FORMS[form](), **SMALL)
    agent.learn(256, callback=Signals())
    m = 1 if form == "id" else 3
    assert len(agent.cost_limit) == m
    assert agent.constraint_state()["multiplier"].shape == (m,)
    assert agent.policy.value_net.count == 1 + m
    agent.env.close()


def test_subprocesses():
    agent = agents.PPOALM("MlpPolicy", subprocesses(), **SMALL)
    agent.learn(256, callback=Signals())
    assert agent.constraint_state()["multiplier"].shape == (3,)
    agent.env.close()


def test_several_limits_for_one_environment():
    env = gym.make("Safe/CliffWorld-v0", per_constraint=True)
    agent = agents.PPOLag("MlpPolicy", env, cost_limit=[0.1, 0.2, 0.3], **SMALL)
    assert agent.cost_limit.tolist() == [0.1, 0.2, 0.3]
    assert agents.PPOLag("MlpPolicy", env).cost_limit.tolist() == [
        c.limit for c in env.unwrapped.constraints
    ]


def test_discounts_come_from_the_environment():
    agent = agents.PPOLag("MlpPolicy", "Safe/DeepSeaTreasure-v0")
    assert (agent.gamma, agent.cost_gamma) == (0.9, 0.9)
    agent = agents.PPOLag("MlpPolicy", "Safe/DeepSeaTreasure-v0", gamma=0.8, cost_gamma=0.7)
    assert (agent.gamma, agent.cost_gamma) == (0.8, 0.7)
    assert [c.discount for c in agent.constraints] == [0.9]
    undiscounted = of_spaces(BOX, TWO_ACTIONS)
    undiscounted.constraints = (ConstraintSpec("harm", 1.0),)
    agent = agents.PPOLag("MlpPolicy", undiscounted)
    assert (agent.gamma, agent.cost_gamma) == (0.995, 0.995)


def test_the_unconstrained_agent_needs_no_constraints():
    agent = agents.PPO("MlpPolicy", gym.make("CartPole-v1"), **SMALL).learn(64)
    assert agent.cost_limit.tolist() == []


def test_settings_are_listed_with_their_defaults():
    known = agents.PPOALM.arguments()
    assert known["penalty"] == 0.6
    assert known["n_steps"] == 2048
    assert "multiplier_lr" not in known
    assert "env" not in known
