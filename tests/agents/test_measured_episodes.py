"""What is measured of episodes, and which episodes are measured."""

import inspect

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv

import agents
from agents.batch import mean_costs, measurement
from agents.episode_record import WINDOW, EpisodeRecord
from safe_envs import ConstraintSpec
from safe_envs.contract.episode_totals import Episode


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


def test_mean_costs_and_violation():
    rng = np.random.default_rng(0)
    costs, horizons = rng.random((2, 20, 3))
    episodes = [Episode(0.0, c, 0.0, c, h, 1) for c, h in zip(costs, horizons, strict=True)]
    assert mean_costs(episodes) == pytest.approx(costs.mean(0))
    limits = np.array([0.1, 0.2, 0.3])
    measured = measurement(episodes, limits)
    assert measured.violation == pytest.approx(costs.mean(0) - limits)
    assert measured.horizon == pytest.approx(horizons.mean(0))
    assert measured.episodes == 20
    assert measurement([], limits) is None


def test_an_episode_is_measured_once():
    record = EpisodeRecord(MortalEnv.constraints, 1.0)
    for over in (True, False, True):
        record.add(np.array([[0.0, 2.0]]), np.array([over]))
    assert [episode.costs.tolist() for episode in record.recent] == [[2.0], [4.0]]
    measured = record.measure(np.array([0.5]))
    assert (measured.episodes, measured.violation.tolist()) == (2, [2.5])
    assert record.measure(np.array([0.5])) is None
    assert len(record.recent) == 2


def test_averages_cover_the_last_rollout_or_the_last_ten_episodes():
    """Episodes of one step, the i-th of which costs i."""
    record = EpisodeRecord(MortalEnv.constraints, 1.0)
    assert record.averages() is None

    def play(first, last):
        for cost in range(first, last):
            record.add(np.array([[-float(cost), float(cost)]]), np.array([True]))

    def covers(first, last):
        costs, found = np.arange(first, last, dtype=float), record.averages()
        assert found.episodes == last - first
        assert found.costs[0] == found.plain_costs[0] == -found.value == costs.mean()
        assert found.length == 1.0
        if len(costs) == 1:
            return np.isnan([found.value_error, *found.cost_errors]).all()
        error = costs.std(ddof=1) / len(costs) ** 0.5
        return [found.value_error, *found.cost_errors] == pytest.approx([error, error])

    play(0, 1)
    assert covers(0, 1)
    play(1, 130)
    assert covers(0, 130)  # all of one rollout
    record.measure(np.array([0.5]))
    play(130, 133)
    assert covers(123, 133)  # three and the seven before
    record.measure(np.array([0.5]))
    assert covers(123, 133)  # none has ended
    play(133, 144)
    assert covers(133, 144)  # eleven are more than ten
    assert len(record.recent) == WINDOW == 10


def test_averages_hold_plain_and_discounted_sums_by_name():
    """Two episodes with rewards 1 and 2, then 3 and 4; costs are ten times as much."""
    record = EpisodeRecord([ConstraintSpec("harm", 1.0, discount=0.5)], 0.1)
    for reward, over in ((1.0, False), (2.0, True), (3.0, False), (4.0, True)):
        record.add(np.array([[reward, 10 * reward]]), np.array([over]))
    found = record.averages()
    assert (found.episodes, found.length) == (2, 2.0)
    assert (found.plain_value, found.plain_costs.tolist()) == (5.0, [50.0])
    assert found.value == pytest.approx((1.2 + 3.4) / 2)
    assert found.costs == pytest.approx([(20 + 50) / 2])
    assert found.value_error == pytest.approx(1.1)  # half the difference of two numbers
    assert found.cost_errors == pytest.approx([15.0])


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
        measured = agent.episodes.measure(agent.cost_limit)
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
