"""What RL Zoo takes from here: search spaces by parts, and a score of episodes with constraints.

The Zoo's own commands are run by `make clients`, in an environment that has them.
"""

import csv
import importlib
import inspect
import sys

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import configure
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import agents
from agents.agent_settings import own_fields, primal_dual
from agents.constrained_score import ConstrainedScore
from agents.named_agents import NAMED_AGENTS, named_agent
from agents.primal.ppo import ClippedSurrogate
from agents.search_spaces import SPACES, SearchSpace
from safe_envs import ConstraintSpec, CostSignalError

PLACES = {"SCPO": "Safe/DoubleIntegrator-v0"}  # it needs a safe controller to start from
TREASURE = "Safe/DeepSeaTreasure-v0"


class DrawnTrial:
    """Answers as an Optuna trial does, with the value at a given place in every range."""

    def __init__(self, place):
        self.place = place  # () -> number in [0, 1]
        self.params, self.user_attrs = {}, {}

    def suggest_float(self, name, low, high, *, log=False):
        assert 0 < low < high or not log
        ends = np.log([low, high]) if log else np.array([low, high])
        value = ends[0] + self.place() * (ends[1] - ends[0])
        return self.keep(name, float(np.clip(np.exp(value) if log else value, low, high)))

    def suggest_int(self, name, low, high):
        assert low < high
        return self.keep(name, int(np.clip(low + int(self.place() * (high + 1 - low)), low, high)))

    def suggest_categorical(self, name, choices):
        # Optuna's storages keep these types only.
        assert all(isinstance(one, None | bool | int | float | str) for one in choices)
        return self.keep(name, choices[min(int(self.place() * len(choices)), len(choices) - 1)])

    def set_user_attr(self, key, value):
        self.user_attrs[key] = value

    def keep(self, name, value):
        assert name not in self.params, "asked twice"
        self.params[name] = value
        return value


def trials():
    draw = np.random.default_rng(0).random
    return [DrawnTrial(lambda: 0.0), DrawnTrial(lambda: 1.0), *(DrawnTrial(draw) for _ in range(2))]


@pytest.mark.parametrize("name", NAMED_AGENTS)
def test_agents_take_what_their_spaces_draw(name):
    agent = named_agent(name)
    known = inspect.signature(agent).parameters
    space = SearchSpace(agent)
    for trial in trials():
        drawn = space.sample(trial)
        assert set(drawn) <= set(known)
        made = agent("MlpPolicy", PLACES.get(name, "Safe/CliffWorld-v0"), **drawn)
        assert made.n_steps == drawn["n_steps"]
        assert {k: made.settings[k] for k in drawn if k in made.settings}.items() <= drawn.items()
        # What a study keeps of the trial leads to the same arguments, and shows those renamed.
        assert space.arguments(trial.params) == drawn
        assert trial.user_attrs.items() <= drawn.items()
        assert set(drawn) - {"policy_kwargs"} == (set(trial.params) | set(trial.user_attrs)) & set(
            known
        )


def test_spaces_follow_the_parts():
    def arguments(name):
        return {one.argument for one in SearchSpace(named_agent(name)).dimensions}

    own = {"multiplier_lr", "multiplier_optimizer", "damping"}
    assert arguments("PPOLag") - arguments("PPO") == own
    assert arguments("TRPOALM") - arguments("TRPOLag") == {"penalty", "primal_steps_per_dual_step"}
    assert arguments("CPO") >= {"max_kl", "violation_gain", "learning_rate"}
    assert "clip_range" not in arguments("CPO") | arguments("SPMALag")


@pytest.mark.parametrize("part", SPACES, ids=lambda part: part.__name__)
def test_a_space_names_arguments_of_its_part(part):
    if part is agents.ConstrainedAgent:
        known = set(inspect.signature(part.__init__).parameters)
    elif issubclass(part, torch.nn.Module):
        known = {"policy_kwargs"}
    else:
        known = {one.name for one in own_fields(part)}
    assert {one.argument for one in SPACES[part]} <= known


@pytest.mark.parametrize("name", NAMED_AGENTS)
def test_every_part_of_every_agent_has_a_space(name):
    SearchSpace(named_agent(name))  # the error says what to add where


def test_a_part_without_a_space_is_named():
    class Own(SPACES_OF_DUAL):
        """A dual that nobody has written a space for."""

    class PPOOwn(agents.ConstrainedAgent):
        """PPO with it."""

        recipe = primal_dual(ClippedSurrogate, Own)

    with pytest.raises(
        LookupError, match="PPOOwn has a part without a search space, .*Own; add it"
    ):
        SearchSpace(PPOOwn)


SPACES_OF_DUAL = next(part for part in SPACES if part.__name__ == "Lagrangian")


def test_without_the_zoo_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "rl_zoo3", None)
    monkeypatch.delitem(sys.modules, "agents.rl_zoo", raising=False)
    with pytest.raises(gym.error.DependencyNotInstalled, match="Zoo: pip install rl_zoo3"):
        importlib.import_module("agents.rl_zoo")


class EpisodeRecords(gym.Wrapper):
    """Keeps the sums of each episode, with the declared discounts."""

    def reset(self, **kwargs):
        self.rewards, self.costs = [], []
        return self.env.reset(**kwargs)

    def step(self, action):
        outcome = self.env.step(action)
        self.rewards.append(outcome[1])
        self.costs.append(outcome[4].get("costs", [outcome[4]["cost"]]))
        if outcome[2] or outcome[3]:
            inner = self.unwrapped
            times = np.arange(len(self.rewards))
            value = (inner.reward_discount**times) @ self.rewards
            discounts = np.array([one.discount for one in inner.constraints])
            costs = (discounts ** times[:, None] * np.array(self.costs)).sum(0)
            inner.ended = [*vars(inner).get("ended", []), (value, costs)]
        return outcome


class RandomModel:
    """Uniform actions."""

    def __init__(self, space):
        self.space = space

    def predict(self, observations, state=None, episode_start=None, deterministic=False):
        return np.array([self.space.sample() for _ in observations]), state


@pytest.mark.parametrize("per_constraint", [False, True])
@pytest.mark.parametrize("episodes", [1, 4, 20])
def test_the_mean_score_of_an_evaluation(per_constraint, episodes):
    """It is mean value - penalty * sum_i [mean cost_i - limit_i]+, in every evaluation anew."""
    limits = np.full(2 if per_constraint else 1, 0.05)
    base = gym.make(TREASURE, per_constraint=per_constraint, cost_limits=limits.tolist())
    env = DummyVecEnv([lambda: ConstrainedScore(Monitor(EpisodeRecords(base)), penalty=7.0)])
    env.seed(0)
    env.action_space.seed(0)
    seen, violated = 0, False
    for _ in range(3):
        mean, _ = evaluate_policy(RandomModel(env.action_space), env, n_eval_episodes=episodes)
        played = base.unwrapped.ended[seen:]
        assert len(played) == episodes
        seen += episodes
        values, costs = np.array([v for v, _ in played]), np.array([c for _, c in played])
        excess = np.maximum(costs.mean(0) - limits, 0.0).sum()
        violated |= excess > 0
        assert mean == pytest.approx(values.mean() - 7.0 * excess)
    assert violated or episodes < 20


class CostlyEpisodes(gym.Env):
    """Episodes of `length` steps with a reward of 1 each, the last of which costs `cost`."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (1,))
    action_space = gym.spaces.Discrete(2)
    constraints = (ConstraintSpec("cost", 2.0),)

    def __init__(self, length):
        self.length, self.cost = length, 5.0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(1, dtype=np.float32), {"cost": 0.0}

    def step(self, action):
        self.steps += 1
        last = self.steps == self.length
        info = {"cost": self.cost if last else 0.0}
        return np.zeros(1, dtype=np.float32), 1.0, last, False, info


def test_an_evaluation_that_ends_within_an_episode_leaves_nothing_to_the_next():
    """Environments that finish first play on: the short one is in its fourth episode."""
    lengths = (3, 5)
    env = DummyVecEnv(
        [lambda n=n: ConstrainedScore(Monitor(CostlyEpisodes(n)), 7.0) for n in lengths]
    )
    model = RandomModel(env.action_space)
    for cost in (5.0, 0.0, 5.0):
        for one in env.envs:
            one.unwrapped.cost = cost
        scores, _ = evaluate_policy(model, env, n_eval_episodes=4, return_episode_rewards=True)
        expected = [length - 7.0 * max(cost - 2.0, 0.0) for length in lengths]
        assert sorted(scores) == sorted(2 * expected)


def test_the_score_changes_nothing_that_agents_learn_from():
    def trained(wrapper):
        env = make_vec_env(lambda: gym.make(TREASURE), 2, seed=0, wrapper_class=wrapper)
        agent = agents.PPOLag("MlpPolicy", env, n_steps=128, n_epochs=1, seed=0).learn(512)
        return agent.policy.state_dict(), agent.constraint_state()

    plain, scored = trained(None), trained(ConstrainedScore)
    assert all(torch.equal(plain[0][name], scored[0][name]) for name in plain[0])
    assert plain[1] == scored[1]


def test_the_score_leaves_a_monitors_other_entries_and_needs_none():
    env = ConstrainedScore(gym.make(TREASURE), cost_limit=0.0)
    monitored = ConstrainedScore(Monitor(gym.make(TREASURE)), cost_limit=0.0)
    records = []
    for one in (env, monitored):
        one.reset(seed=3)
        one.action_space.seed(3)
        over = False
        while not over:
            _, _, terminated, truncated, info = one.step(one.action_space.sample())
            over = terminated or truncated
        records.append(info["episode"])
    assert set(records[0]) == {"l", "r"}
    assert set(records[1]) == {"l", "r", "t"}
    assert records[0]["r"] == records[1]["r"]
    assert records[0]["l"] == records[1]["l"]


def test_the_score_refuses_what_it_cannot_measure():
    with pytest.raises(CostSignalError, match="declares no constraints; pass cost_limit"):
        ConstrainedScore(gym.make("CartPole-v1"))
    with pytest.raises(ValueError, match="cost_limit has 2 entries"):
        ConstrainedScore(gym.make(TREASURE), cost_limit=[1.0, 2.0])
    with pytest.raises(ValueError, match="penalty is inf; pass a positive number"):
        ConstrainedScore(gym.make(TREASURE), penalty=float("inf"))
    env = ConstrainedScore(gym.make("CartPole-v1"), cost_limit=1.0)
    env.reset(seed=0)
    with pytest.raises(CostSignalError, match="cost"):
        env.step(0)


class CostSums(BaseCallback):
    """Adds up the infos' costs, episode by episode."""

    def _on_training_start(self):
        self.ended = []
        self.sums = np.zeros(self.training_env.num_envs)

    def _on_step(self):
        self.sums += [info["cost"] for info in self.locals["infos"]]
        for row in np.flatnonzero(self.locals["dones"]):
            self.ended.append(self.sums[row])
            self.sums[row] = 0.0
        return True


@pytest.mark.parametrize("norm_reward", [False, True])
def test_costs_arrive_through_the_zoos_wrappers(norm_reward, tmp_path):
    """Monitor, the score, DummyVecEnv and VecNormalize, as the Zoo stacks them."""

    class Spinning(gym.Wrapper):
        constraints = (ConstraintSpec("spin", limit=2.0),)
        reward_discount = 1.0

        def step(self, action):
            *outcome, info = self.env.step(action)
            return *outcome, {**info, "cost": abs(float(outcome[0][2]))}

    def make():
        return Spinning(gym.make("Pendulum-v1", max_episode_steps=50))

    stacked = make_vec_env(make, 2, seed=0, wrapper_class=ConstrainedScore)
    env = VecNormalize(stacked, norm_reward=norm_reward)
    agent = agents.PPOLag("MlpPolicy", env, n_steps=100, n_epochs=1, seed=0)
    agent.set_logger(configure(str(tmp_path), ["csv"]))
    sums = CostSums()
    agent.learn(400, callback=sums)  # the first update's violation is logged with the second's
    agent.logger.close()
    with open(tmp_path / "progress.csv", newline="") as file:
        row = list(csv.DictReader(file))[-1]
    assert len(sums.ended) == 8
    assert float(row["rollout/ep_cost_mean"]) == pytest.approx(np.mean(sums.ended), rel=1e-5)
    violation = np.mean(sums.ended[:4]) - 2.0
    assert float(row["constraint/violation"]) == pytest.approx(violation, rel=1e-5)
