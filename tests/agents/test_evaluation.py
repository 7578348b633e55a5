"""Evaluations: sums beside plain loops and exact values, any agent and environment, no traces."""

import random

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from sb3_contrib import MaskablePPO, RecurrentPPO
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecNormalize,
)

import agents
from agents.controllers import LQRController
from agents.episode_sampling import own_random_numbers
from safe_envs import ConstraintSpec, CostSignalError
from tests.agents.evaluated import SHORT, SMALL, FirstAction, Ticker, Undeclared, numbers
from tests.agents.sampled_env import SampledEnv

INTEGRATOR = "Safe/DoubleIntegrator-v0"
TREASURE = "Safe/DeepSeaTreasure-v0"  # short episodes


class DiaryEnv(gym.Env):
    """Random rewards and costs, episodes of 2 to 9 steps; it writes down all that happens.

    The success is whether the reward of the last step is positive; the time limit is 8.
    """

    observation_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = spaces.Discrete(3)

    def __init__(self, constraints=None, discount=1.0):
        if constraints is not None:
            self.constraints, self.reward_discount = constraints, discount
        self.diary = []  # episodes: lists of (reward, costs, action)
        self.num_costs = len(constraints or [0])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.length = int(self.np_random.integers(2, 10))
        self.diary.append([])
        return self._observation(), {"cost": 0.0}

    def step(self, action):
        reward = float(np.float32(self.np_random.normal()))
        costs = self.np_random.random(self.num_costs)
        self.diary[-1].append((reward, costs, int(action)))
        over = len(self.diary[-1]) == self.length
        info = {"cost": costs.sum(), "costs": costs, "is_success": reward > 0}
        return self._observation(), reward, over and self.length < 9, over, info

    def _observation(self):
        return self.np_random.uniform(-1, 1, 2).astype(np.float32)


TWO = (ConstraintSpec("heat", 3.0, 0.5), ConstraintSpec("noise", 1.0, 0.9))


def test_sums_are_those_of_the_diary():
    env = DiaryEnv(TWO, discount=0.8)
    result = agents.evaluate(FirstAction(), env, episodes=25, seed=1)
    assert result.episodes == 25
    finished = env.diary[:25]
    for i, steps in enumerate(finished):
        rewards = np.array([step[0] for step in steps])
        costs = np.array([step[1] for step in steps])
        powers = np.arange(len(steps))
        assert result.lengths[i] == len(steps)
        assert result.returns[i] == pytest.approx(rewards @ 0.8**powers)
        assert result.plain_returns[i] == pytest.approx(rewards.sum())
        assert result.costs[i] == pytest.approx(
            [costs[:, 0] @ 0.5**powers, costs[:, 1] @ 0.9**powers]
        )
        assert result.plain_costs[i] == pytest.approx(costs.sum(axis=0))
        assert result.truncated[i] == (len(steps) == 9)
        assert result.successes[i] == (rewards[-1] > 0)
    assert 0 < result.truncated.sum() < 25
    assert result.constraints == TWO
    assert result.reward_discount == 0.8


def test_means_lie_around_the_exact_values():
    """Sampled means against the linear solve of the model, within four standard errors."""
    agent = agents.PPOLag("MlpPolicy", TREASURE, **SMALL)
    env = gym.make(TREASURE).unwrapped
    logits = agent.policy.get_distribution(torch.as_tensor(env.tabular_observations()))
    exact = env.tabular_model().evaluate(logits.distribution.probs.detach().double().numpy())
    result = agents.evaluate(agent, TREASURE, episodes=500, seed=0)
    for sampled, value in ((result.returns, exact.value), (result.costs[:, 0], exact.costs[0])):
        error = sampled.std() / np.sqrt(500)
        assert abs(sampled.mean() - value) < 4 * error
        assert error < 0.03
    assert result.violation == pytest.approx(result.mean_costs - env.constraints[0].limit)


@pytest.mark.parametrize(("episodes", "share"), [(15, [3] * 5), (7, [2, 2, 1, 1, 1]), (2, [1, 1])])
def test_every_copy_plays_its_share_whatever_its_episodes_last(episodes, share):
    copies = DummyVecEnv([Ticker] * 5)
    result = agents.evaluate(FirstAction(), copies, episodes, seed=4, cost_limit=2.0)
    lengths = [env.length for env in copies.envs]
    assert sorted(lengths) == [2, 3, 4, 5, 6]
    expected = [n for n, k in zip(lengths, share, strict=False) for _ in range(k)]
    assert result.lengths.tolist() == result.costs[:, 0].tolist() == expected


def test_same_seed_same_episodes():
    agent = agents.PPOLag("MlpPolicy", TREASURE, **SMALL)
    first, second = (numbers(agents.evaluate(agent, TREASURE, 4, seed=5)) for _ in range(2))
    assert first == second
    other = agents.evaluate(agent, TREASURE, 4, seed=6)
    assert numbers(other) != first
    drawn = agents.evaluate(agent, TREASURE, 4)
    assert drawn.seed != agents.evaluate(agent, TREASURE, 1).seed
    assert numbers(drawn) == numbers(agents.evaluate(agent, TREASURE, 4, seed=drawn.seed))


def test_all_forms_of_an_environment_give_the_same_numbers():
    agent = agents.PPOLag("MlpPolicy", TREASURE, **SMALL)

    def played(env, **copies):
        return numbers(agents.evaluate(agent, env, 4, seed=3, **copies))

    one = played(TREASURE, n_envs=1)
    assert one == played(gym.make(TREASURE))
    assert one == played(DummyVecEnv([lambda: gym.make(TREASURE)]))
    three = played(TREASURE, n_envs=3)
    assert three == played(agents.make_vec_env(TREASURE, 3))
    native = gym.make_vec(TREASURE, num_envs=3, autoreset_mode=AutoresetMode.SAME_STEP)
    assert three == played(native)
    single = [lambda: gym.make(TREASURE)] * 2
    processes = SubprocVecEnv(single, start_method="fork")
    apart, together = played(processes), played(DummyVecEnv(single))
    processes.close()
    assert apart[0] == pytest.approx(together[0], rel=1e-6)  # DummyVecEnv rounds rewards
    assert apart[1:] == together[1:]


class SeedDiary(Ticker):
    """Writes down the seeds of its resets."""

    seeds = []

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            self.seeds.append(seed)
        return super().reset(seed=seed)


def test_consecutive_seeds_share_no_episode_and_fit_into_32_bits():
    for seed in range(200):
        agents.evaluate(FirstAction(), DummyVecEnv([SeedDiary] * 3), 3, seed=seed, cost_limit=1.0)
    assert len(set(SeedDiary.seeds)) == len(SeedDiary.seeds) == 600
    assert 10_000 < min(SeedDiary.seeds) < max(SeedDiary.seeds) < 2**31  # training uses small ones


# Agents of every kind


class BlindEnv(DiaryEnv):
    """Shows nothing."""

    def _observation(self):
        return np.zeros(2, np.float32)


def test_stochastic_and_deterministic_policies_of_stable_baselines3():
    model = PPO("MlpPolicy", BlindEnv(TWO[:1]), **SHORT)
    for acts in (model, model.policy):
        for deterministic in (False, True):
            played = BlindEnv(TWO[:1])
            agents.evaluate(acts, played, 30, deterministic, seed=0)
            taken = {step[2] for steps in played.diary for step in steps}
            assert len(taken) == (1 if deterministic else 3)


def test_controller_returns_what_stable_baselines3_measures():
    controller = LQRController(INTEGRATOR)
    result = agents.evaluate(controller, INTEGRATOR, 3, seed=2, n_envs=3)
    venv = agents.make_vec_env(INTEGRATOR, 3)
    venv.seed(int(np.random.SeedSequence(2).generate_state(2)[0] >> 2))
    returns, lengths = evaluate_policy(controller, venv, 3, return_episode_rewards=True, warn=False)
    assert sorted(result.plain_returns) == pytest.approx(sorted(returns))
    assert result.lengths.tolist() == lengths
    assert result.feasible


class CountingEnv(gym.Env):
    """Rewards an action that repeats the first observation of the episode, which is shown once."""

    observation_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = spaces.Discrete(2)
    constraints = (ConstraintSpec("steps", 5.0),)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.sign = 0, int(self.np_random.integers(2))
        self.length = int(self.np_random.integers(2, 6))
        return np.array([2.0 * self.sign - 1.0], np.float32), {}

    def step(self, action):
        self.t += 1
        right = float(action == self.sign)
        over = self.t == self.length
        return np.zeros(1, np.float32), right, False, over, {"cost": 1.0}


class Remembering:
    """Remembers what it saw at the start of the episode."""

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        seen = (observation[:, 0] > 0).astype(np.int64)
        kept = seen if state is None else np.where(episode_start, seen, state[0])
        return kept, (kept,)


def test_memory_is_passed_on_and_starts_afresh_with_each_episode():
    result = agents.evaluate(Remembering(), DummyVecEnv([CountingEnv] * 3), 20, seed=0)
    assert result.returns.tolist() == result.lengths.tolist()
    assert len(set(result.lengths.tolist())) > 2


class Wrapped(gym.vector.VectorWrapper):
    """Hides the class inside, so that only its own next step is known to start an episode."""


@pytest.mark.parametrize("model", [FirstAction(), Remembering()])
def test_steps_that_only_reset_belong_to_no_episode(model):
    """Copies that end at different times wait in turn; the numbers are those of DummyVecEnv."""
    singles = [CountingEnv] * 3
    together = agents.evaluate(model, DummyVecEnv(singles), 20, seed=0)
    waiting = Wrapped(gym.vector.SyncVectorEnv(singles, autoreset_mode=AutoresetMode.NEXT_STEP))
    assert numbers(agents.evaluate(model, waiting, 20, seed=0)) == numbers(together)
    assert len(set(together.lengths.tolist())) > 2


def test_recurrent_policy_returns_what_stable_baselines3_measures():
    model = RecurrentPPO("MlpLstmPolicy", CountingEnv(), **SHORT)
    with torch.no_grad():
        model.policy.action_net.weight.mul_(300.0)  # so that actions depend on the memory
    copies = [DummyVecEnv([CountingEnv] * 3) for _ in range(2)]
    result = agents.evaluate(model, copies[0], 30, deterministic=True, seed=0)
    copies[1].seed(int(np.random.SeedSequence(0).generate_state(2)[0] >> 2))
    returns, lengths = evaluate_policy(
        model, copies[1], 30, deterministic=True, return_episode_rewards=True, warn=False
    )
    assert sorted(zip(result.returns, result.lengths, strict=True)) == sorted(
        zip(returns, lengths, strict=True)
    )
    assert 0.0 < result.mean_return < result.mean_length


class MaskedEnv(CountingEnv):
    """Only one action is valid at each step."""

    def action_masks(self):
        return np.arange(2) == self.t % 2

    def step(self, action):
        assert action == self.t % 2
        return super().step(action)


def test_masks_of_invalid_actions_are_passed_on():
    model = MaskablePPO("MlpPolicy", MaskedEnv(), **SHORT)
    result = agents.evaluate(model, DummyVecEnv([MaskedEnv] * 2), 10, seed=0)
    assert result.mean_costs == pytest.approx([result.mean_length])


# Limits


class SixValues(Undeclared):
    """The cost is the third value of a step."""

    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, info.pop("cost"), terminated, truncated, info


@pytest.mark.parametrize("kind", [Undeclared, SixValues])
def test_environments_that_declare_nothing_need_a_limit_and_stay_as_they_are(kind):
    env = kind()
    assert agents.evaluate(FirstAction(), env, 3, cost_limit=4.0).feasible
    assert not agents.evaluate(FirstAction(), env, 3, cost_limit=3.9).feasible
    with pytest.raises(CostSignalError, match="declares no constraints; pass cost_limit"):
        agents.evaluate(FirstAction(), env, 3)


def test_limits_are_given_or_the_agent_s_or_the_declared_ones():
    def limit(agent, env, cost_limit=None):
        return agents.evaluate(agent, env, 2, cost_limit=cost_limit).limits.tolist()

    short = gym.make(INTEGRATOR, max_episode_steps=5)
    agent = agents.PPOLag("MlpPolicy", INTEGRATOR, cost_limit=7.0, **SMALL)
    assert limit(agent, short) == [7.0]
    assert limit(agent, short, 8.0) == [8.0]
    assert limit(LQRController(INTEGRATOR), short) == [0.0]
    stranger = agents.PPOLag("MlpPolicy", Undeclared(), cost_limit=5.0, **SMALL)
    assert limit(stranger, Undeclared()) == [5.0]
    assert limit(stranger, DummyVecEnv([Undeclared])) == [5.0]
    with pytest.raises(ValueError, match="cost_limit has 2 entries .* declares 1 constraint"):
        limit(agent, short, [1.0, 2.0])
    three = gym.make(INTEGRATOR, per_constraint=True)
    count = len(three.unwrapped.constraints)
    with pytest.raises(
        ValueError, match=rf"agent has 1 constraint .* declares {count} .* pass cost"
    ):
        limit(agent, three)


# Nothing is left behind


def generators():
    numpy = np.random.get_state()  # noqa: NPY002
    return torch.random.get_rng_state().tolist(), numpy[1].tolist(), numpy[2], random.getstate()


def test_random_numbers_continue_as_before():
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)
    agent = agents.PPOLag("MlpPolicy", INTEGRATOR, **SMALL)
    before = generators()
    agents.evaluate(agent, gym.make(INTEGRATOR, max_episode_steps=5), 3, seed=0)
    assert generators() == before
    seen = []
    for _ in range(2):
        with own_random_numbers(agent, 7):
            drawn = (torch.rand(1).item(), np.random.rand(), random.random())  # noqa: NPY002
            seen.append((*drawn, agent.action_space.sample().item()))
    assert seen[0] == seen[1]
    with pytest.raises(ZeroDivisionError):
        draw_and_fail(agent)
    assert generators() == before


def draw_and_fail(agent):
    with own_random_numbers(agent, 7):
        torch.rand(3), np.random.rand(3), random.random()  # noqa: NPY002
        raise ZeroDivisionError


class EvaluateOften(BaseCallback):
    """Evaluates every 10 calls, in all environments that it is given."""

    def __init__(self, *envs):
        super().__init__()
        self.envs, self.results = envs, []

    def _on_step(self):
        if self.n_calls % 10 == 0:
            for env in self.envs:
                self.results.append(agents.evaluate(self.model, env, 2, seed=self.n_calls))
        return True


def same_parameters(one, other):
    first, second = one.policy.state_dict(), other.policy.state_dict()
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("normalized", [False, True])
def test_evaluating_in_training_changes_no_bit_of_it(normalized):
    def copies():
        venv = agents.make_vec_env(INTEGRATOR, 2, max_episode_steps=20)
        return VecNormalize(venv) if normalized else venv

    def trained(callback=None):
        return agents.PPOLag("MlpPolicy", copies(), **(SMALL | {"n_envs": 2})).learn(192, callback)

    callback = EvaluateOften(agents.make_vec_env(INTEGRATOR, 2, max_episode_steps=20))
    evaluated, alone = trained(callback), trained()
    assert same_parameters(evaluated, alone)
    assert len(callback.results) == 9
    assert not same_parameters(alone, agents.PPOLag("MlpPolicy", copies(), **(SMALL | {"seed": 0})))


def test_nor_of_an_agent_that_explores_by_its_action_space():
    def trained(callback=None):
        model = DQN("MlpPolicy", DiaryEnv(TWO[:1]), learning_starts=10, seed=0, device="cpu")
        return model.learn(150, callback)

    often = EvaluateOften(DiaryEnv(TWO[:1]))
    assert same_parameters(trained(often), trained())
    assert len({tuple(result.lengths) for result in often.results}) > 5


def test_an_agent_s_own_environments_only_between_trainings():
    def made():
        return agents.PPOLag("MlpPolicy", DummyVecEnv([Undeclared]), cost_limit=9.0, **SMALL)

    agent = made().learn(32)
    assert agents.evaluate(agent, agent.get_env(), 3).mean_costs == [4.0]
    agent.get_env().envs[0].unwrapped.length = 99  # lost in a reset
    agent.learn(32, reset_num_timesteps=False)
    assert agent.episodes.recent[0].length == 4
    for own in (lambda venv: venv, lambda venv: venv.envs[0]):
        agent = made()
        often = EvaluateOften(own(agent.get_env()))
        with pytest.raises(
            ValueError, match="trains in, after 10 of 64 steps; .* pass another one"
        ):
            agent.learn(64, often)


IMAGE = spaces.Box(0, 255, (36, 36, 3), np.uint8)
PARTS = spaces.Dict({"place": spaces.Box(-1.0, 1.0, (2,)), "gear": spaces.Discrete(3)})
ACTIONS = [
    spaces.Box(-2.0, 5.0, (2, 2), np.float32),
    spaces.MultiDiscrete([2, 3]),
    spaces.MultiBinary(3),
]


def of_spaces(observations, actions):
    """The cost is the sum of the action's size."""
    return SampledEnv(observations, actions, 3, lambda action, step: (0.0, np.abs(action).sum()))


@pytest.mark.parametrize("actions", ACTIONS, ids=lambda space: type(space).__name__)
@pytest.mark.parametrize(
    ("policy", "observations"), [("CnnPolicy", IMAGE), ("MultiInputPolicy", PARTS)]
)
def test_every_kind_of_space(policy, observations, actions):
    agent = agents.PPOLag(policy, of_spaces(observations, actions), cost_limit=9.0, **SMALL)
    result = agents.evaluate(agent, of_spaces(observations, actions), 3, seed=0)
    env = of_spaces(observations, actions)  # and by hand
    env_seed, seed = (np.random.SeedSequence(0).generate_state(2) >> 2).tolist()
    seen, costs = env.reset(seed=env_seed)[0], np.zeros(9)
    with own_random_numbers(agent, seed):
        for step in range(9):
            action, _ = agent.predict(seen)
            seen, _, _, over, info = env.step(action)
            costs[step] = info["cost"]
            seen = env.reset()[0] if over else seen
    assert result.costs[:, 0] == pytest.approx(costs.reshape(3, 3).sum(axis=1), rel=1e-5)
