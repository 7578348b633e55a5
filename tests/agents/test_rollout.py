"""Where rollouts bootstrap, with exact critics, and advantages against their definition."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import agents
from agents.gymnasium_vec_env import GymnasiumVecEnv
from agents.rollout import Rollout, checked_signals, generalized_advantages
from safe_envs import ConstrainedWrapper, ConstraintSpec, CostSignalError, NonFiniteEnvError

GAMMA, COST_GAMMA = 0.9, 0.7


class Clock(gym.Env):
    """The observation is [time]; reward 2 + time, cost 3 + time. It ends at time 4 or goes on.

    Under discount g the value of an endless clock at time t is sum_k g^k (a + t + k), linear in t:
    (a + t) / (1 - g) + g / (1 - g)^2.
    """

    observation_space = gym.spaces.Box(0.0, 100.0, (1,), np.float64)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, terminates=False):
        self.terminates = terminates

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0.0
        return np.array([self.time]), {"cost": 0.0}

    def step(self, action):
        now = self.time
        self.time += 1.0
        over = self.terminates and self.time == 4.0
        return np.array([self.time]), 2.0 + now, over, False, {"cost": 3.0 + now}


def endless_value(first, discount):
    """Return intercept and slope of the value of an endless clock."""
    return first / (1 - discount) + discount / (1 - discount) ** 2, 1 / (1 - discount)


def make_clock(terminates, limit=4):
    env = ConstrainedWrapper(Clock(terminates), ConstraintSpec("time", limit=1.0))
    return gym.wrappers.TimeLimit(env, limit)


def dummy(terminates, limit):
    return DummyVecEnv([lambda: make_clock(terminates, limit)] * 2)


def native(terminates, limit):
    return GymnasiumVecEnv(
        gym.vector.SyncVectorEnv(
            [lambda: make_clock(terminates, limit)] * 2, autoreset_mode=AutoresetMode.SAME_STEP
        )
    )


def normalized(terminates, limit):
    """The observations the policy sees are (time - 1) / 2."""
    venv = VecNormalize(dummy(terminates, limit), norm_reward=False)
    venv.obs_rms.mean[:], venv.obs_rms.var[:] = 1.0, 4.0 - venv.epsilon
    venv.training = False
    return venv


SHIFT = {dummy: (0.0, 1.0), native: (0.0, 1.0), normalized: (1.0, 2.0)}


def batch_of_exact_critics(make, terminates, limit, steps, end_saves_cost=True):
    agent = agents.PPOLag(
        "MlpPolicy",
        make(terminates, limit),
        n_steps=steps,
        gamma=GAMMA,
        cost_gamma=COST_GAMMA,
        policy_kwargs={"net_arch": []},
        normalize_observation=False,
        seed=0,
    )
    _, callback = agent._setup_learn(1, None)
    shift, scale = SHIFT[make]
    with torch.no_grad():
        for row, (first, discount) in enumerate(((2.0, GAMMA), (3.0, COST_GAMMA))):
            intercept, slope = endless_value(first, discount)
            exact = torch.tensor([slope * scale, intercept + slope * shift])
            agent.policy.value_net.weight[row] = exact
        agent.policy.value_net.scale.fill_(1.0)
    agent.collect_rollouts(agent.env, callback, None, steps)
    batch, explained = agent._rollout.batch(
        agent.policy,
        np.array([GAMMA, COST_GAMMA]),
        np.array([0.95, 0.5]),
        end_saves_cost=end_saves_cost,
    )
    advantages = batch.advantages.numpy().reshape(steps, 2, 2)
    return advantages, batch.targets.numpy().reshape(steps, 2, 2), explained


@pytest.mark.parametrize("make", [dummy, native, normalized])
def test_truncation_continues_from_the_last_observation_of_the_episode(make):
    """With exact critics no step is better than expected: a reset observation would show.

    Bootstrapping from the value at time 0 instead of 4 would put the rewards off by
    0.9 * 4 / 0.1 = 36.
    """
    advantages, targets, explained = batch_of_exact_critics(
        make, terminates=False, limit=4, steps=10
    )
    np.testing.assert_allclose(advantages, 0.0, atol=2e-3)
    np.testing.assert_allclose(explained, 1.0, atol=1e-6)
    times = np.arange(10) % 4
    for i, (first, discount) in enumerate(((2.0, GAMMA), (3.0, COST_GAMMA))):
        intercept, slope = endless_value(first, discount)
        expected = np.repeat((intercept + slope * times)[:, None], 2, axis=1)
        np.testing.assert_allclose(targets[..., i], expected, rtol=1e-5)


@pytest.mark.parametrize("make", [dummy, native, normalized])
def test_termination_is_worth_nothing(make):
    """Only the last step is surprising: its successor is worth 0, not the endless value at 4."""
    advantages, _, _ = batch_of_exact_critics(make, terminates=True, limit=100, steps=8)
    settings = ((2.0, GAMMA, 0.95), (3.0, COST_GAMMA, 0.5))
    for i, (first, discount, lam) in enumerate(settings):
        intercept, slope = endless_value(first, discount)
        surprise = -discount * (intercept + slope * 4.0)
        expected = surprise * (discount * lam) ** np.array([3, 2, 1, 0, 3, 2, 1, 0])
        np.testing.assert_allclose(advantages[..., i].T, [expected] * 2, rtol=1e-4)


@pytest.mark.parametrize("make", [dummy, native, normalized])
def test_an_end_need_not_save_the_costs_that_would_have_followed(make):
    """The last step's successor is worth the state at 3, one slope less than the exact one at 4.

    The reward is as before: its end is worth nothing.
    """
    advantages, _, _ = batch_of_exact_critics(make, True, 100, 8, end_saves_cost=False)
    before, _, _ = batch_of_exact_critics(make, True, 100, 8)
    np.testing.assert_array_equal(advantages[..., 0], before[..., 0])
    _, slope = endless_value(3.0, COST_GAMMA)
    expected = -COST_GAMMA * slope * (COST_GAMMA * 0.5) ** np.array([3, 2, 1, 0, 3, 2, 1, 0])
    np.testing.assert_allclose(advantages[..., 1].T, [expected] * 2, rtol=1e-3)


def test_costs_that_go_on_need_a_discount():
    agent = agents.PPOLag("MlpPolicy", dummy(True, 100), end_saves_cost=False, cost_gamma=1.0)
    with pytest.raises(ValueError, match="cost_gamma is 1 and end_saves_cost is False"):
        agent.learn(10)


def test_termination_at_the_time_limit_is_termination():
    """Both at once is the end: Gymnasium reports terminated and truncated."""
    advantages, _, _ = batch_of_exact_critics(dummy, terminates=True, limit=4, steps=4)
    intercept, slope = endless_value(2.0, GAMMA)
    expected = np.full(2, -GAMMA * (intercept + slope * 4.0))
    np.testing.assert_allclose(advantages[-1, :, 0], expected, rtol=1e-4)


def test_signals_of_a_step():
    infos = [{"costs": np.array([1.0, 2.0])}, {"costs": [0.0, 0.5]}]
    found = checked_signals(np.array([3.0, -4.0], np.float32), infos, 2, "step 1")
    assert found.dtype == np.float64
    assert found.tolist() == [[3.0, 1.0, 2.0], [-4.0, 0.0, 0.5]]
    assert checked_signals(np.array([3.0]), [{}], 0, "step 1").tolist() == [[3.0]]


@pytest.mark.parametrize(
    ("infos", "message"),
    [
        ([{"cost": 1.0}, {}], "step 7: info of environment 1 has no 'cost'"),
        ([{"cost": 1.0}, {"cost": float("nan")}], r"step 7: environment 1: the cost is \[nan\]"),
        ([{"cost": float("inf")}, {"cost": 1.0}], r"step 7: environment 0: the cost is \[inf\]"),
        ([{"cost": 1.0}, {"cost": -0.5}], r"step 7: environment 1: the cost is \[-0.5\]"),
        ([{"cost": [1.0, 2.0]}, {"cost": [1.0, 2.0]}], "step 7: .*expected 1 cost each"),
        ([{"cost": 1.0}, {"cost": [1.0, 2.0]}], "step 7: "),
        ([{"cost": 1.0}, {"cost": "high"}], "step 7: .*could not convert"),
        ([{"cost": 1.0}], "step 7: 1 info was given for 2 environments"),
    ],
)
def test_costs_that_break_the_contract(infos, message):
    with pytest.raises(CostSignalError, match=message):
        checked_signals(np.zeros(2), infos, 1, "step 7")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_rewards_that_are_not_finite(value):
    infos = [{"cost": 0.0}] * 3
    with pytest.raises(NonFiniteEnvError, match=f"environment 2, step 7: the reward is {value}"):
        checked_signals(np.array([0.0, 1.0, value]), infos, 1, "step 7")


@pytest.mark.parametrize("large", ["observations", "rewards", "cost"])
def test_numbers_whose_squares_overflow_are_finite(large):
    """The quick test of all numbers at once says nothing of them; the exact one lets them pass."""
    observations, rewards, cost = np.ones((2, 3), np.float32), np.ones(2), 1.0
    if large == "observations":
        observations *= np.float32(3e38)
    elif large == "rewards":
        rewards *= -1e200
    else:
        cost = 1e200
    rollout = Rollout(1, 2, 1)
    infos, dones = [{"cost": cost}, {"cost": 0.0}], np.array([True, False])
    assert rollout.check(observations, rewards, infos, dones, 7) == {}
    observations[1, 2] = np.nan
    with pytest.raises(NonFiniteEnvError, match="environment 1, step 7 of training: the obs"):
        rollout.check(observations, rewards, infos, dones, 7)


# Advantage estimates against the definition, summed term by term.
STEPS, ENVS = 23, 4
DISCOUNTS = np.array([0.97, 1.0, 0.8])
LAMBDAS = np.array([0.95, 1.0, 0.3])


@pytest.fixture
def recorded():
    """Random signals and values in which episodes terminate, are cut off, and last one step."""
    rng = np.random.default_rng(3)
    signals, values, next_values = rng.normal(size=(3, STEPS, ENVS, len(DISCOUNTS)))
    ended = rng.random((STEPS, ENVS)) < 0.25
    ended[5:7, 0] = True
    ended[-1, 1] = True
    terminated = ended & (rng.random((STEPS, ENVS)) < 0.5)
    next_values[terminated] = 0.0
    # Within an episode the next state's value is the value at the next step.
    going_on = ~ended[:-1]
    next_values[:-1][going_on] = values[1:][going_on]
    return signals, values, next_values, ended


def last_step_of_episode(ended, t, env):
    while t < STEPS - 1 and not ended[t, env]:
        t += 1
    return t


def test_equals_the_sum_of_temporal_differences(recorded):
    signals, values, next_values, ended = recorded
    found = generalized_advantages(*recorded, DISCOUNTS, LAMBDAS)
    for t, env, i in np.ndindex(STEPS, ENVS, len(DISCOUNTS)):
        expected = 0.0
        for later in range(t, last_step_of_episode(ended, t, env) + 1):
            at = (later, env, i)
            difference = signals[at] + DISCOUNTS[i] * next_values[at] - values[at]
            expected += (DISCOUNTS[i] * LAMBDAS[i]) ** (later - t) * difference
        assert found[t, env, i] == pytest.approx(expected, abs=1e-12)


def test_lambda_one_is_the_bootstrapped_return_minus_the_value(recorded):
    signals, values, next_values, ended = recorded
    found = generalized_advantages(*recorded, DISCOUNTS, np.ones(3))
    for t, env, i in np.ndindex(STEPS, ENVS, len(DISCOUNTS)):
        last = last_step_of_episode(ended, t, env)
        powers = DISCOUNTS[i] ** np.arange(last - t + 2)
        rewards = [*signals[t : last + 1, env, i], next_values[last, env, i]]
        assert found[t, env, i] == pytest.approx(powers @ rewards - values[t, env, i], abs=1e-12)


def test_lambda_zero_is_one_temporal_difference(recorded):
    signals, values, next_values, _ = recorded
    found = generalized_advantages(*recorded, DISCOUNTS, np.zeros(3))
    np.testing.assert_allclose(found, signals + DISCOUNTS * next_values - values, atol=1e-15)
