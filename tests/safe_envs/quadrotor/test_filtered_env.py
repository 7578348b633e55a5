"""The registered filtered quadrotor: copies, speed, and the arguments that reach the filter."""

import copy
import pickle

import numpy as np

from safe_envs.quadrotor.env import QuadrotorEnv
from safe_envs.quadrotor.filtered_env import make
from safe_envs.safety_filters import SafetyFilter, SphereZCBF

HOVER = np.full(4, -0.111, dtype=np.float32)


def test_survives_copies_in_mid_flight():
    env = make(order=2, metric=np.diag([1.0, 2.0, 3.0, 4.0]))
    env.reset(seed=3)
    for _ in range(5):
        env.step(HOVER)
    for twin in (copy.deepcopy(env), pickle.loads(pickle.dumps(env))):
        ours, theirs = copy.deepcopy(env).step(HOVER), twin.step(HOVER)
        assert np.array_equal(ours[0], theirs[0])
        assert np.array_equal(ours[4]["action_safe"], theirs[4]["action_safe"])


def test_a_step_of_the_filter_is_fast():
    env = make()
    env.reset(seed=0)
    times = []
    for _ in range(300):
        info = env.step(HOVER)[4]
        times.append(info["filter_time"])
    assert np.median(times) < 2e-3  # 60 microseconds where nothing else runs


def test_the_filter_needs_no_registration():
    env = SafetyFilter(QuadrotorEnv(vehicle="hummingbird"), SphereZCBF(margin=0.05))
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    assert env.step(env.action_space.sample())[4]["filter_slack"] >= 0.0
