"""The registered filtered quadrotor: copies, speed, and the arguments that reach the filter."""

import copy
import pickle

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec

from safe_envs.quadrotor.env import QuadrotorEnv
from safe_envs.quadrotor.filtered.transitions import collect_transitions
from safe_envs.quadrotor.filtered_env import make
from safe_envs.safety_filters import SafetyFilter, SphereZCBF

ID = "Safe/QuadrotorZCBF-v0"
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


def test_its_spec_makes_it_again():
    """From JSON, with an array as the metric, and with a fitted metric, as other libraries do."""
    env = gym.make(ID, order=2)
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    curved = gym.make(ID, metric=np.diag([1.0, 2.0, 3.0, 4.0]))
    copied = gym.make(curved.spec)
    fitted = gym.make(ID)
    fitted.get_wrapper_attr("fit")(collect_transitions(episodes=8, steps=60))
    refitted = gym.make(fitted.spec)
    for first, second in ((env, again), (curved, copied), (fitted, refitted)):
        first.reset(seed=1)
        second.reset(seed=1)
        for _ in range(60):
            action = first.action_space.sample()
            one, other = first.step(action), second.step(action)
            np.testing.assert_array_equal(one[0], other[0])
            assert one[1] == other[1]
    assert again.get_wrapper_attr("barrier").order == 2
    assert fitted.get_wrapper_attr("metric") is not None
