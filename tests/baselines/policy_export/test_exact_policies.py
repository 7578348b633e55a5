"""Exported optima and controllers act as what they stand for."""

import gymnasium as gym
import numpy as np
import pytest

import safe_envs  # noqa: F401
from agents.tabular import linear_program
from baselines.names.environments import parse_environment_name
from baselines.policy_export.exact_policies import exact_policy, table_policy
from baselines.policy_export.onnx_policy import OnnxPolicy
from baselines.policy_export.policy_graph import ExportRefusedError
from safe_envs.control.constrained_regression import optimal_loss, target


def exported(kind, env_id):
    """The policy of a file, the file's description and the environment."""
    found = exact_policy(kind, parse_environment_name(env_id), {})
    env = gym.make(env_id)
    return OnnxPolicy(found.content, env.observation_space, env.action_space, 0), found, env


@pytest.mark.parametrize("env_id", ["Safe/CliffWorld-v0", "Safe/DeepSeaTreasure-v0"])
def test_the_table_has_the_value_and_the_cost_of_the_linear_program(env_id):
    policy, found, env = exported("linear program", env_id)
    model = env.unwrapped.tabular_model()
    is_number = isinstance(env.observation_space, gym.spaces.Discrete)
    seen = np.arange(model.num_states) if is_number else np.eye(model.num_states)
    evaluation = model.evaluate(policy.probabilities(seen, deterministic=False))
    optimum = linear_program(model)
    assert evaluation.value == pytest.approx(optimum.value, abs=1e-6)
    assert evaluation.costs == pytest.approx(model.limits, abs=1e-6)
    assert (found.value, found.stochastic) == (optimum.value, True)
    assert found.costs == tuple(optimum.costs)


def test_the_backup_policy_is_the_environments_own():
    policy, found, env = exported("backup policy", "Safe/DoubleIntegrator-v0")
    states = np.random.default_rng(0).uniform(-15, 15, (200, 2))
    wanted = env.unwrapped.backup_policy()(states.astype(np.float32))
    assert np.abs(wanted).max() == 1.0  # some are clipped
    assert policy.predict(states)[0] == pytest.approx(wanted, abs=1e-6)
    assert not found.stochastic


def test_the_clipped_target_has_the_least_loss_and_no_cost():
    policy, _, env = exported("clipped target", "Safe/ConstrainedRegression-v0")
    x = np.linspace(-6.0, 6.0, 24_001)
    answers = policy.predict(x[:, None])[0][:, 0].astype(np.float64)
    density = np.exp(-0.5 * x * x)
    loss = ((target(x) - answers) ** 2) @ density / density.sum()
    assert loss == pytest.approx(optimal_loss(0.0), abs=1e-5)
    for place in (-3.0, 0.25, 2.0, 3.0):  # f(0.25) = 2.5
        env.reset(options={"state": [place]})
        answer = policy.predict(np.array([[place]]))[0][0]
        assert env.step(answer)[4]["cost"] == 0.0


def test_a_table_needs_observations_that_are_its_states():
    with pytest.raises(ExportRefusedError) as refusal:
        table_policy(np.full((3, 2), 0.5), np.ones((3, 2)), {})
    assert str(refusal.value) == (
        "the 3 states are observed as (3, 2) numbers that are not the rows of the identity matrix; "
        "export takes numbers of states, and such rows"
    )


def test_a_safe_policy_that_is_code_is_refused():
    env = parse_environment_name("Safe/QuadrotorZCBF-v0")
    with pytest.raises(ExportRefusedError) as refusal:
        exact_policy("backup policy", env, {})
    assert str(refusal.value) == (
        "the safe policy of Safe/QuadrotorZCBF-v0 is FilteredFlight, code that a file cannot hold; "
        "export takes safe_envs.LinearFeedback"
    )


def test_an_unknown_kind_is_refused():
    env = parse_environment_name("Safe/CliffWorld-v0")
    with pytest.raises(ValueError, match="unknown exact policy 'linear programm'.*linear program"):
        exact_policy("linear programm", env, {})
