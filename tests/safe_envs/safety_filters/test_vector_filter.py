"""The filter in native vector form against the single form, on both environments that offer it."""

import gymnasium as gym
import numpy as np
import pytest

from safe_envs.contract.vector_env import AutoresetMode
from safe_envs.safety_filters import (
    SafetyFilter,
    VectorSafetyFilter,
    double_integrator_barrier,
)

pytestmark = pytest.mark.skipif(
    AutoresetMode is None, reason="native vector environments need Gymnasium 1.1"
)

EASY = double_integrator_barrier()


def heavier_with_speed(state, reference):
    return np.eye(len(reference)) * (1.0 + state[1] ** 2)


@pytest.mark.parametrize(
    ("filtered_id", "barrier", "metric"),
    [
        ("Safe/DoubleIntegrator-v0", None, "lqr"),
        ("Safe/DoubleIntegrator-v0", EASY, "euclidean"),
        ("Safe/DoubleIntegrator-v0", lambda *point: EASY(*point), heavier_with_speed),
        ("Safe/Quadrotor-v0", None, "lqr"),
        ("Safe/QuadrotorColumn-v0", None, heavier_with_speed),
    ],
)
def test_rows_are_those_of_single_environments(filtered_id, barrier, metric):
    vector = VectorSafetyFilter(gym.make_vec(filtered_id, num_envs=1), barrier, metric)
    single = SafetyFilter(gym.make(filtered_id), barrier, metric)
    vector.reset(seed=5)
    single.reset(seed=5)
    rng = np.random.default_rng(5)
    shape = single.action_space.shape
    active = 0
    for _ in range(120):
        action = np.clip(0.4 + 0.3 * rng.standard_normal(shape), -1.0, 1.0)
        seen, reward, terminated, truncated, info = single.step(action)
        batch_seen, batch_reward, _, _, infos = vector.step(action[None])
        np.testing.assert_allclose(batch_seen[0], seen, atol=1e-9)
        assert batch_reward[0] == pytest.approx(reward, abs=1e-9)
        assert infos["filter_active"][0] == info["filter_active"]
        for key in ("action_ref", "action_safe", "filter_slack"):
            np.testing.assert_allclose(infos[key][0], info[key], atol=1e-9)
        active += info["filter_active"]
        if terminated or truncated:
            break
    assert active > 0


def test_it_has_to_be_reset_first_and_refuses_changed_actions():
    vector = gym.make_vec("Safe/DoubleIntegrator-v0", num_envs=2)
    with pytest.raises(gym.error.ResetNeeded, match="call reset"):
        VectorSafetyFilter(vector).step(np.zeros((2, 1)))
    rescaled = gym.wrappers.vector.RescaleAction(vector, np.float32([0.0]), np.float32([1.0]))
    with pytest.raises(ValueError, match="a wrapper changes the environment's actions"):
        VectorSafetyFilter(rescaled)
