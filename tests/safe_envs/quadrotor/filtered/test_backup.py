"""The quadrotor's safe controller against the filter it stands for, and in flight."""

import gymnasium as gym
import numpy as np
import pytest

import safe_envs
from safe_envs.contract.backup_policy import BackupPolicy
from safe_envs.contract.vector_env import AutoresetMode
from safe_envs.quadrotor.filtered_env import make
from safe_envs.quadrotor.geometric_controller import GeometricLaw
from safe_envs.quadrotor.vector_env import QuadrotorVectorEnv

needs_vectors = pytest.mark.skipif(
    AutoresetMode is None, reason="native vector environments need Gymnasium 1.1"
)


@pytest.mark.parametrize("scene", ["spheres", "column"])
def test_it_takes_the_actions_of_the_filtered_controller(scene):
    env = make(scene=scene)
    flight = env.unwrapped
    policy = flight.backup_policy()
    assert isinstance(policy, BackupPolicy)
    pilot = GeometricLaw(flight.vehicle, flight.reference, flight.control_dt)
    seen, _ = env.reset(seed=3)
    changed = 0
    for _ in range(200):
        expected = flight.action_of(pilot(flight.state, flight.time))
        chosen = policy(seen)
        seen, _, _, _, info = env.step(expected)
        np.testing.assert_allclose(chosen, info["action_safe"], atol=2e-4)
        changed += info["filter_active"]
    assert changed > 20


@needs_vectors
def test_it_meets_no_sphere_in_either_scene():
    for env_id in ("Safe/Quadrotor-v0", "Safe/QuadrotorColumn-v0"):
        env = gym.make_vec(env_id, num_envs=8)
        assert isinstance(env, QuadrotorVectorEnv)
        policy = env.backup_policy()
        seen, _ = env.reset(seed=1)
        for _ in range(599):
            seen, _, terminated, _, info = env.step(policy(seen).astype(np.float32))
            assert not terminated.any()
            assert not info["cost"].any()


def test_rows_of_a_batch_are_those_of_single_observations():
    env = gym.make("Safe/Quadrotor-v0")
    policy = env.unwrapped.backup_policy()
    seen = np.stack([env.reset(seed=seed)[0] for seed in range(6)])
    actions = policy(seen.reshape(2, 3, -1))
    assert actions.shape == (2, 3, 4)
    for row, action in zip(seen, actions.reshape(6, 4), strict=True):
        np.testing.assert_allclose(policy(row), action, atol=1e-12)
    assert policy(seen[:0]).shape == (0, 4)
    assert (policy.residual_share(seen) == np.ones(6)).all()
    assert safe_envs.BackupPolicy is BackupPolicy
