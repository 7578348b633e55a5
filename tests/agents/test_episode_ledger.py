"""What is measured of episodes, and which episodes are measured."""

import inspect

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv

import agents
from agents.episode_ledger import WINDOW, EpisodeLedger, mean_costs
from safe_envs import ConstraintSpec


def test_discounted_sums():
    """Each signal with its own discount, against sums over episodes cut out of the whole."""
    rng = np.random.default_rng(0)
    steps, envs, discounts = 60, 3, np.array([0.9, 1.0, 0.5])
    signals = rng.random((steps, envs, 3))
    ended = rng.random((steps, envs)) < 0.15
    ledger = EpisodeLedger(envs, discounts[0], discounts[1:])
    for signal, over in zip(signals, ended, strict=True):
        ledger.add(signal, over)
    expected = []
    for env in range(envs):
        start = 0
        for end in np.flatnonzero(ended[:, env]) + 1:
            powers = discounts[None] ** np.arange(end - start)[:, None]
            sums = (powers * signals[start:end, env]).sum(0)
            expected.append((end, env, sums, powers.sum(0), end - start))
            start = end
    expected.sort(key=lambda one: one[:2])
    episodes = ledger.take()
    assert len(episodes) == len(expected) > 15
    for episode, (_, _, sums, horizons, length) in zip(episodes, expected, strict=True):
        assert [episode.value, *episode.costs] == pytest.approx(sums)
        assert episode.horizon == pytest.approx(horizons[1:])
        assert episode.length == length
    assert mean_costs(episodes) == pytest.approx(np.mean([e[2][1:] for e in expected], axis=0))
    assert ledger.take() == []
    assert list(ledger.recent) == episodes


def test_recent_episodes_are_the_last_hundred():
    ledger = EpisodeLedger(1, 1.0, [1.0])
    for step in range(WINDOW + 30):
        ledger.add(np.array([[0.0, float(step)]]), np.array([True]))
    assert len(ledger.recent) == WINDOW == 100
    assert mean_costs(list(ledger.recent))[0] == np.arange(30, WINDOW + 30).mean()


class MortalEnv(gym.Env):
    """Half the episodes die at step 5, the others last 200 steps; every step costs 1."""

    observation_space = gym.spaces.Box(0.0, 1.0, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)
    constraints = (ConstraintSpec("harm", limit=0.0),)
    reward_discount = 1.0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 5 if self.np_random.random() < 0.5 else 200
        return np.zeros(1, np.float32), {"cost": 0.0}

    def step(self, action):
        self.left -= 1
        return np.zeros(1, np.float32), 0.0, self.left == 0, False, {"cost": 1.0}


TRUE_COST, DEVIATION = 102.5, 97.5  # of 5 and 200, equally likely


def first_measured_costs(n_envs, n_steps, updates, seed):
    """Return mean cost and number of episodes of those updates whose rollout ended any."""
    agent = agents.PPO(
        "MlpPolicy",
        DummyVecEnv([MortalEnv] * n_envs),
        n_steps=n_steps,
        n_epochs=1,
        batch_size=2048,
        policy_kwargs={"net_arch": []},
        seed=seed,
    )
    _, callback = agent._setup_learn(updates * n_envs * n_steps, None)
    found = []
    for _ in range(updates):
        agent.collect_rollouts(agent.env, callback, None, n_steps)
        measured = agent._measure(agent._ledger.take())
        if measured is not None:
            found.append((measured.violation[0], measured.episodes))
    return np.array(found)


def test_long_rollouts_of_one_environment_measure_the_true_cost():
    runs = np.concatenate([first_measured_costs(1, 2048, 2, seed) for seed in range(3)])
    costs, episodes = runs.T
    mean = (costs * episodes).sum() / episodes.sum()
    assert episodes.sum() > 80
    assert abs(mean - TRUE_COST) < 3 * DEVIATION / episodes.sum() ** 0.5


def test_short_rollouts_of_many_environments_see_the_early_deaths_first():
    """As many steps, but the long episodes are still under way in the first updates."""
    costs, episodes = first_measured_costs(32, 64, 3, 0).T
    assert (costs < TRUE_COST - 3 * DEVIATION / episodes**0.5).all()
    assert set(costs) == {5.0}


def test_one_environment_is_the_default():
    for name in ("PPOLag", "PPOALM", "SPMAALM"):
        defaults = getattr(agents, name).arguments()
        assert (defaults["n_envs"], defaults["n_steps"]) == (1, 2048)
    assert inspect.signature(agents.make_vec_env).parameters["n_envs"].default == 1
