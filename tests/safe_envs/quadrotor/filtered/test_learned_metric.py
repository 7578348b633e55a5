"""The filter in a metric fitted to flights: its mean and the curvature of each state."""

import pickle
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest

from safe_envs.contract.vector_env import AutoresetMode
from safe_envs.quadrotor.env import QuadrotorEnv
from safe_envs.quadrotor.filtered.action_value import StateMetric
from safe_envs.quadrotor.filtered.fitted_q import fit_q
from safe_envs.quadrotor.filtered.transitions import collect_transitions
from safe_envs.quadrotor.geometric_controller import GeometricLaw
from safe_envs.quadrotor.reference import FIGURE_EIGHTS
from safe_envs.quadrotor.task import CONTROL_DT
from safe_envs.quadrotor.vector_env import QuadrotorVectorEnv
from safe_envs.quadrotor.vehicle import CRAZYFLIE
from safe_envs.safety_filters import (
    SafetyFilter,
    SphereZCBF,
    VectorSafetyFilter,
    double_integrator_barrier,
    floored,
    project,
)
from safe_envs.safety_filters.metrics import SMALLEST_SHARE

BARRIER = SphereZCBF(margin=0.03)
PILOT = GeometricLaw(CRAZYFLIE, FIGURE_EIGHTS["crazyflie"], CONTROL_DT)


@pytest.fixture(scope="module")
def transitions():
    return collect_transitions(episodes=20, steps=100, seed=1)


@pytest.fixture(scope="module")
def fitted(transitions):
    return fit_q(transitions)


@pytest.fixture(scope="module")
def penalized(transitions):
    return fit_q(transitions, state_dependent=True, psd_weight=1e-8, third_weight=1e-6)


def flight(env, steps=600):
    """Return the actions taken, the last info and how often the filter was active."""
    env.reset(seed=0)
    taken, active = [], 0
    for _ in range(steps):
        action = env.unwrapped.action_of(PILOT(env.unwrapped.state, env.unwrapped.time))
        info = env.step(action)[4]
        taken.append(info["action_safe"])
        active += info["filter_active"]
    return np.array(taken), info, active


def test_a_filter_fits_its_metric_to_flights(transitions, fitted):
    env = SafetyFilter(QuadrotorEnv(), BARRIER, "euclidean")
    euclidean = flight(env, 200)[0]
    assert np.array_equal(env.fit(transitions).theta, fitted.theta)
    assert np.array_equal(env.metric, floored(fitted.metric()))
    given = SafetyFilter(QuadrotorEnv(), BARRIER, fitted)
    matrix = SafetyFilter(QuadrotorEnv(), BARRIER, fitted.metric())
    learned = flight(env, 200)[0]
    for other in (given, matrix, pickle.loads(pickle.dumps(env))):
        assert np.array_equal(flight(other, 200)[0], learned)
    assert not np.array_equal(euclidean, learned)


def test_a_fitted_metric_is_part_of_the_spec(transitions):
    env = SafetyFilter(gym.make("Safe/Quadrotor-v0"), BARRIER, "euclidean")
    assert env.spec.additional_wrappers[-1].kwargs["metric"] == "euclidean"
    env.fit(transitions)
    assert np.array_equal(gym.make(env.spec).get_wrapper_attr("metric"), env.metric)


@pytest.mark.skipif(AutoresetMode is None, reason="native vector forms need Gymnasium 1.1")
def test_the_vector_form_takes_a_fitted_value(fitted):
    actions = np.full((3, 4), 0.2, dtype=np.float32)
    taken = []
    for metric in (fitted, fitted.metric()):
        env = VectorSafetyFilter(QuadrotorVectorEnv(3), BARRIER, metric)
        env.reset(seed=0)
        infos = [env.step(actions)[4] for _ in range(30)]
        taken.append(np.array([info["action_safe"] for info in infos]))
    assert np.array_equal(*taken)


def test_a_metric_of_the_state_is_the_floored_curvature(transitions, penalized):
    metric = penalized.state_metric()
    states, times = transitions.states[:, :50], transitions.times[:50]
    weights, found = penalized.hessian(states, times), metric.batch(states, times)
    floor = SMALLEST_SHARE * np.linalg.norm(penalized.metric(), 2)
    definite = np.linalg.eigvalsh(weights).min(axis=1) > floor
    assert definite.any()
    np.testing.assert_allclose(found[definite], weights[definite], atol=1e-14)
    np.testing.assert_allclose(
        np.linalg.eigvalsh(found), np.maximum(np.linalg.eigvalsh(weights), floor), atol=1e-14
    )
    for n in range(50):
        np.testing.assert_allclose(metric.at(states[:, n], times[n]), found[n], atol=1e-14)
    convex = replace(penalized, theta=-penalized.theta).state_metric().batch(states, times)
    flat = np.tile(floor * np.eye(4), (definite.sum(), 1, 1))
    np.testing.assert_allclose(convex[definite], flat, atol=1e-14)
    with pytest.raises(ValueError, match="no positive eigenvalue: .*; fit it to more transitions"):
        StateMetric(replace(penalized, mean_weight=-penalized.mean_weight))


def test_the_filter_flies_without_cost_in_the_metric_of_the_state(penalized):
    metric = penalized.state_metric()
    env = SafetyFilter(QuadrotorEnv(), BARRIER, metric)
    scene = env.unwrapped
    env.reset(seed=0)
    rows = BARRIER.around(scene.vehicle, scene.control_dt, scene.centers, scene.radii)
    active = 0
    for _ in range(600):
        state, now = scene.state, scene.time
        reference = PILOT(state, now)
        info = env.step(scene.action_of(reference))[4]
        if info["filter_active"]:
            nearest = project(metric.at(state, now), reference, *rows(state, reference), 0.0, 1.0)
            expected = scene.action_of(nearest.action)
            np.testing.assert_allclose(info["action_safe"], expected, atol=1e-6)
            active += 1
    assert info["episode_cost"] == 0.0
    assert active > 20


def test_a_value_of_another_vehicle_is_refused(transitions, fitted):
    message = "are for the vehicle 'crazyflie' at 0.01 s, .* does not use; pass those of"
    for metric in (fitted, fitted.state_metric()):
        with pytest.raises(ValueError, match=message):
            SafetyFilter(QuadrotorEnv(vehicle="hummingbird"), BARRIER, metric)
    with pytest.raises(ValueError, match=message):
        SafetyFilter(QuadrotorEnv(vehicle="hummingbird"), BARRIER).fit(transitions)
    bare = gym.make("Safe/DoubleIntegrator-v0")
    env = SafetyFilter(bare, double_integrator_barrier(), "euclidean")
    with pytest.raises(ValueError, match="no value can be fitted .*; pass a metric that is a"):
        env.fit(transitions)
    message = "are of the quadrotor 'crazyflie' and this environment is not one; pass a metric"
    with pytest.raises(ValueError, match=message):
        SafetyFilter(bare, double_integrator_barrier(), fitted.state_metric())
