"""Limits can be set at any time, may follow the progress, and what is known counts against them."""

import io

import gymnasium as gym
import numpy as np
import pytest

import agents
from agents.cost_limits import schedule_of
from agents.named_agents import NAMED_AGENTS

SMALL = {"n_steps": 20, "n_epochs": 1, "policy_kwargs": {"net_arch": [4]}}


class Costly(gym.Env):
    """Costs 1 per step, and 2 of another kind; ten steps; the reward is the first observation."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, kinds=1):
        self.costs = np.array([1.0, 2.0])[:kinds]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.np_random.normal(size=1).astype(np.float32), {
            "cost": 0.0,
            "costs": 0 * self.costs,
        }

    def step(self, action):
        self.steps += 1
        info = {"cost": float(self.costs.sum()), "costs": self.costs}
        reward = float(action[0])
        return (
            self.np_random.normal(size=1).astype(np.float32),
            reward,
            False,
            self.steps == 10,
            info,
        )


def made(name="PPOLag", limit=5.0, kinds=1, **settings):
    kind = getattr(agents, name)
    return kind("MlpPolicy", Costly(kinds), cost_limit=limit, seed=0, **(SMALL | settings))


def measured(agent):
    return agent.episodes.last.violation.tolist()


@pytest.mark.parametrize(
    "limit", [7, 7.0, np.float32(7), np.array(7), np.array([7.0]), [7], (7.0,)]
)
def test_every_form_of_one_limit(limit):
    agent = made().learn(20)
    assert measured(agent) == [5.0]
    agent.cost_limit = limit
    found = agent.cost_limit
    assert found.tolist() == [7.0]
    assert found.dtype == np.float64
    assert [one.limit for one in agent.constraints] == [7.0]
    agent.learn(20)
    assert measured(agent) == [3.0]


@pytest.mark.parametrize(
    "limit", [[7, 9], np.array([7.0, 9.0]), lambda p: [7, 9], [lambda p: 7.0, 9.0]]
)
def test_every_form_of_two_limits(limit):
    agent = made(limit=[1.0, 2.0], kinds=2).learn(20)
    assert measured(agent) == [9.0, 18.0]
    agent.cost_limit = limit
    assert agent.cost_limit.tolist() == [7.0, 9.0]
    agent.learn(20)
    assert measured(agent) == [3.0, 11.0]


@pytest.mark.parametrize(
    "limit", [[1, 2], "much", np.nan, lambda p: np.nan, lambda p: [1, 2], [[1]]]
)
def test_wrong_limits_are_refused_and_change_nothing(limit):
    agent = made()
    with pytest.raises(ValueError, match="cost_limit.* (pass|has 2 entries)"):
        agent.cost_limit = limit
    assert agent.cost_limit.tolist() == [5.0]


def schedule(progress):
    return 2.0 + 6.0 * progress


@pytest.mark.parametrize("given", ["constructor", "later", "load"])
def test_a_schedule_is_followed(given):
    """Four updates, whose rollouts start with 1, 3/4, 1/2 and 1/4 of the training remaining."""
    agent = made(limit=schedule if given == "constructor" else 5.0)
    if given == "later":
        agent.cost_limit = schedule
    if given == "load":
        file = io.BytesIO()
        agent.save(file)
        agent = agents.load(file, Costly(), cost_limit=schedule)
    assert agent.cost_limit.tolist() == [8.0]
    seen = []
    update = agent._update.update

    def spy(policy, batch, measurement, progress):
        seen.append((progress, agent.cost_limit.tolist(), measurement.violation.tolist()))
        return update(policy, batch, measurement, progress)

    agent._update.update = spy
    agent.learn(80)
    assert len({progress for progress, _, _ in seen}) == 4
    for progress, limit, violation in seen:
        assert limit == [pytest.approx(schedule(progress))]
        assert violation == [pytest.approx(10.0 - schedule(progress))]


def test_a_schedule_ends_where_a_number_is_set():
    agent = made(limit=schedule)
    agent.cost_limit = 3.0
    assert agent.limit_schedule is None
    agent.learn(40)
    assert agent.cost_limit.tolist() == [3.0]


def test_schedules_that_are_data_are_in_the_file():
    agent = made(limit=agents.LinearDecay(8.0, 2.0)).learn(20)
    file = io.BytesIO()
    agent.save(file)
    loaded = agents.load(file, Costly())
    assert loaded.limit_schedule.at(0.5).tolist() == [5.0]
    loaded.learn(40)


@pytest.mark.parametrize("name", [name for name in NAMED_AGENTS if name not in ("PPO", "SCPO")])
def test_what_is_known_counts_against_the_new_limit_at_once(name):
    """The next rollout is too short for an episode to end, and the last costs are used again."""
    agent = made(name, limit=50.0).learn(20)
    file = io.BytesIO()
    agent.save(file)
    loaded = agents.load(file, Costly(), n_steps=5, cost_limit=1.0)
    agent.cost_limit, agent.n_steps = 1.0, 5
    for one in (agent, loaded):
        one.learn(5)
        assert measured(one) == [9.0]
    without = agents.load(file, Costly(), n_steps=5)
    without.learn(5)
    assert measured(without) == [-40.0]


def test_limits_that_are_numbers_are_no_schedule():
    assert schedule_of(None) is schedule_of(3.0) is schedule_of([1.0, 2.0]) is None
    assert schedule_of(np.array([1.0])) is None
