"""Statistics of observations against NumPy's moments, and while a rollout is under way."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback

import agents
from agents.observation_normalizer import CLIP, ObservationNormalizer
from safe_envs import ConstraintSpec

spaces = gym.spaces


class Drifting(gym.Env):
    """Observations around (time, 10^6, 3), the last of which never varies."""

    observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float64)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    constraints = (ConstraintSpec("harm", limit=1.0),)
    reward_discount = 1.0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self._seen(), {"cost": 0.0}

    def step(self, action):
        self.time += 1
        return self._seen(), 0.0, False, self.time == 7, {"cost": 0.0}

    def _seen(self):
        noise = np.append(self.np_random.normal(size=2), 0.0)
        return noise + np.array([self.time, 1e6, 3.0])


class Watching(BaseCallback):
    """Keeps all observations and compares what the policy knows of them at every step."""

    def __init__(self):
        super().__init__()
        self.seen, self.compared = [], 0

    def _on_step(self):
        normalizer, rows = self.model.policy.normalizer, np.concatenate(self.seen)
        assert float(normalizer.count) == len(rows)
        np.testing.assert_allclose(normalizer.mean, rows.mean(0), rtol=1e-12)
        np.testing.assert_allclose(normalizer.deviation(), rows.std(0), rtol=1e-6)
        state = self.model.policy.state_dict()
        assert torch.equal(state["normalizer.mean"], normalizer.mean)
        raw = self.seen[-1]
        networks_see = normalizer(torch.from_numpy(raw)).numpy()
        np.testing.assert_allclose(networks_see, self.locals["seen"], rtol=1e-6)
        self.seen.append(np.array(self.locals["new_obs"]))
        self.compared += 1
        return True


@pytest.mark.parametrize("copies", [1, 3])
def test_a_callback_finds_the_current_statistics(copies):
    venv = agents.make_vec_env(Drifting, copies)
    agent = agents.PPOLag("MlpPolicy", venv, n_steps=20, batch_size=20, n_epochs=1, seed=0)
    watching = Watching()
    _, callback = agent._setup_learn(1, watching)
    watching.seen.append(np.array(agent._last_obs))
    for _ in range(2):
        agent.collect_rollouts(agent.env, callback, None, 20)
    assert watching.compared == 40


@pytest.mark.parametrize("offset", [0.0, 1e7])
def test_moments_do_not_depend_on_how_observations_come(offset):
    space = spaces.Box(-np.inf, np.inf, (4,), np.float64)
    rng = np.random.default_rng(0)
    rows = offset + rng.normal(size=(60, 4)) * [1.0, 1e-3, 1e3, 0.0]
    for sizes in ([60], [1] * 60, [3, 1, 8, 8, 20, 12, 8]):
        normalizer = ObservationNormalizer(space)
        statistics = normalizer.in_rollout(8)
        for part in np.split(rows, np.cumsum(sizes)[:-1]):
            statistics.update(part)
        np.testing.assert_allclose(normalizer.mean, rows.mean(0), rtol=1e-12, atol=1e-15)
        # Rounding of the observations themselves is what limits the smallest deviation.
        rtol = 1e-11 if offset == 0.0 else 1e-5
        np.testing.assert_allclose(normalizer.deviation(), rows.std(0), rtol=rtol)
        expected = np.divide(
            rows - rows.mean(0), rows.std(0), out=np.zeros((60, 4)), where=rows.std(0) > 0
        )
        seen = statistics.standardize(rows)
        assert seen.dtype == np.float32
        np.testing.assert_allclose(seen, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(normalizer.standardize(rows), seen)
        np.testing.assert_allclose(normalizer(torch.from_numpy(rows)), seen, rtol=1e-6)


@pytest.mark.parametrize("spread", [1e-13, 3e-12, 1e-9, 1.0])  # rounding is 1e-12 of the mean
@pytest.mark.parametrize("copies", [1, 3])
def test_a_rollout_knows_when_an_entry_stops_to_vary(copies, spread):
    normalizer = ObservationNormalizer(spaces.Box(-np.inf, np.inf, (2,), np.float64))
    statistics = normalizer.in_rollout(copies)
    rng = np.random.default_rng(0)
    for step in range(200):
        rows = np.ones((copies, 2)) + [1.0, spread] * rng.normal(size=(copies, 2)) * (step < 4)
        rows[:, 0] += 1e6 * (step == 100)
        statistics.update(rows)
        seen = statistics.standardize(rows + spread)
        mean, squares, count = (
            one.numpy() for one in (normalizer.mean, normalizer.squares, normalizer.count)
        )
        deviation = np.sqrt(squares / count)
        varies = deviation > 1e-12 * np.abs(mean)
        off = (rows + spread - mean) / np.where(varies, deviation, np.inf)
        np.testing.assert_array_equal(seen, np.clip(off, -CLIP, CLIP).astype(np.float32))


def test_a_rollout_notices_new_statistics():
    normalizer = ObservationNormalizer(spaces.Box(-np.inf, np.inf, (1,), np.float64))
    statistics = normalizer.in_rollout(2)
    for _ in range(3):
        statistics.update(np.array([[0.0], [2.0]]))
        assert statistics.standardize(np.array([[2.0]])).tolist() == [[1.0]]
    normalizer.set_moments(np.array([1.0]), np.array([0.0]))
    assert statistics.standardize(np.array([[2.0]])).tolist() == [[0.0]]


def test_what_is_far_off_is_clipped():
    normalizer = ObservationNormalizer(spaces.Box(-np.inf, np.inf, (2,), np.float32))
    statistics = normalizer.in_rollout(2)
    statistics.update(np.array([[0.0, 0.0], [2.0, 4.0]], np.float32))
    far = np.array([[1e30, -1e30]], np.float32)
    assert statistics.standardize(far).tolist() == [[CLIP, -CLIP]]
