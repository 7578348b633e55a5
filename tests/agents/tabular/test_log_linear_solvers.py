"""The log-linear solvers against finite differences, least squares and the tabular solvers."""

import warnings

import numpy as np
import pytest

from agents.tabular import (
    MultiplierGrowthWarning,
    lin_npg_pd,
    lin_ppo_lag,
    lin_reload,
    npg_pd,
    ppo_lag,
    ppqa_alm,
    random_policy,
    reload_pd,
    rpg_pd,
    tile_coding,
)
from agents.tabular.clip_surrogate import clip_surrogate, clip_surrogate_gradient
from agents.tabular.log_linear import LogLinearPolicies
from agents.tabular.softmax_policy import log_softmax
from safe_envs.tabular.cliff_world import cliff_world_model
from safe_envs.tabular.deep_sea_treasure import deep_sea_treasure_model
from safe_envs.tabular.random_cmdp import random_cmdp

CLIFF, DEEP_SEA = cliff_world_model(), deep_sea_treasure_model()
OPTIMAL_VALUE = {id(CLIFF): 0.5334478198893817, id(DEEP_SEA): 0.3737059555555556}
RANDOM = random_cmdp(states=6, actions=3, constraints=2, seed=4)


def central_differences(function, point, width=1e-6):
    gradient = np.empty(point.size)
    for i in range(point.size):
        shift = np.zeros(point.size)
        shift[i] = width
        shift = shift.reshape(point.shape)
        gradient[i] = (function(point + shift) - function(point - shift)) / (2 * width)
    return gradient.reshape(point.shape)


def some_features(rng, columns=7):
    """Features with two dependent columns and one that is never used."""
    table = rng.normal(size=(6, 3, columns))
    table[:, :, 4] = table[:, :, 1] - 2 * table[:, :, 2]
    table[:, :, 5] = 0.0
    return table


def softmax_rows(logits):
    weights = np.exp(logits)
    return weights / weights.sum(axis=1, keepdims=True)


def test_projection_gradient_is_that_of_the_divergence():
    rng = np.random.default_rng(0)
    features, target = some_features(rng), random_policy(RANDOM, seed=5)
    state_weights = rng.dirichlet(np.ones(6))
    theta = rng.normal(size=7)

    def divergence(theta):
        ratio = np.log(target / softmax_rows(features @ theta))
        return float(state_weights @ (target * ratio).sum(axis=1))

    policies = LogLinearPolicies(RANDOM, features)
    reduced = policies.starting_parameters(theta)
    assert reduced.shape == (5,)
    np.testing.assert_allclose(
        np.exp(policies.log_policy(reduced)), softmax_rows(features @ theta), rtol=1e-12
    )
    gradient = policies.basis @ policies.projection_gradient(reduced, target, state_weights)
    np.testing.assert_allclose(gradient, central_differences(divergence, theta), atol=1e-8)

    # One step of the projection is one gradient step in the original parameters,
    step_size = 1.0 / (features**2).sum(axis=2).max()
    projected = policies.project(reduced, target, state_weights, steps=1)
    expected = softmax_rows(features @ (theta - step_size * gradient))
    np.testing.assert_allclose(np.exp(policies.log_policy(projected)), expected, rtol=1e-10)
    # and this step size never raises the divergence.
    course = [divergence(theta)]
    for _ in range(30):
        reduced = policies.project(reduced, target, state_weights, steps=1)
        course.append(divergence(policies.basis @ reduced))
    assert (np.diff(course) < 0).all()


def test_projection_recovers_a_policy_of_the_class():
    rng = np.random.default_rng(1)
    features = some_features(rng)
    target = softmax_rows(features @ rng.normal(size=7))
    policies = LogLinearPolicies(RANDOM, features)
    start = policies.starting_parameters(None)
    found = policies.project(start, target, np.full(6, 1 / 6), steps=20_000)
    np.testing.assert_allclose(np.exp(policies.log_policy(found)), target, atol=1e-8)


def test_clip_surrogate_gradient():
    rng = np.random.default_rng(2)
    old = log_softmax(rng.normal(size=(6, 3)))
    logits = old + 0.15 * rng.normal(size=(6, 3))
    state_weights, advantages = rng.random(6), rng.normal(size=(6, 3))

    def surrogate(logits):
        return clip_surrogate(log_softmax(logits), old, state_weights, advantages, 0.1)

    ratio = np.exp(log_softmax(logits) - old)
    assert 3 < ((ratio > 1.1) | (ratio < 0.9)).sum() < 15  # some clipped, some not
    gradient = clip_surrogate_gradient(log_softmax(logits), old, state_weights, advantages, 0.1)
    np.testing.assert_allclose(gradient, central_differences(surrogate, logits), atol=1e-8)


def test_surrogate_of_the_current_policy_has_the_policy_gradient():
    logits = np.random.default_rng(3).normal(size=(6, 3))
    prices = np.array([0.7, 0.2])

    def lagrangian(logits):
        evaluation = RANDOM.evaluate(softmax_rows(logits))
        return evaluation.value - prices @ evaluation.costs

    evaluation = RANDOM.evaluate(softmax_rows(logits))
    old = log_softmax(logits)
    gradient = clip_surrogate_gradient(
        old, old, evaluation.state_occupancy, evaluation.priced_advantage(prices), 0.1
    )
    np.testing.assert_allclose(gradient, central_differences(lagrangian, logits), atol=1e-7)


def test_natural_direction_is_the_least_norm_regression():
    rng = np.random.default_rng(6)
    features, policy = some_features(rng), random_policy(RANDOM, seed=7)
    state_weights, advantages = rng.random(6), rng.normal(size=(6, 3))
    rows, values = [], []
    for s in range(6):
        mean = sum(policy[s, a] * features[s, a] for a in range(3))
        for a in range(3):
            weight = np.sqrt(state_weights[s] * policy[s, a])
            rows.append(weight * (features[s, a] - mean))
            values.append(weight * advantages[s, a])
    expected = np.linalg.lstsq(np.array(rows), np.array(values), rcond=1e-10)[0]
    policies = LogLinearPolicies(RANDOM, features)
    direction = policies.natural_direction(policy, state_weights, advantages)
    np.testing.assert_allclose(policies.basis @ direction, expected, atol=1e-12)


def test_one_hot_direction_is_the_advantage_up_to_a_constant_per_state():
    policy = random_policy(RANDOM, seed=8)
    evaluation = RANDOM.evaluate(policy)
    advantages = evaluation.priced_advantage(np.array([0.3, 0.9]))
    policies = LogLinearPolicies(RANDOM, "one_hot")
    direction = policies.natural_direction(policy, evaluation.state_occupancy, advantages)
    difference = policies.logits(direction) - advantages
    np.testing.assert_allclose(difference - difference[:, :1], 0.0, atol=1e-10)


@pytest.mark.parametrize(
    ("log_linear", "tabular", "scale", "arguments"),
    [
        (lin_npg_pd, npg_pd, 1.0 - RANDOM.discount, {}),  # npg_pd divides by 1 - discount
        (lin_npg_pd, rpg_pd, 1.0, {"entropy_coefficient": 0.05}),
        (lin_reload, reload_pd, 1.0, {}),
        (lin_ppo_lag, ppo_lag, 1.0, {}),
    ],
)
def test_one_hot_features_give_the_tabular_solver(log_linear, tabular, scale, arguments):
    found = log_linear(
        RANDOM, 40, features="one_hot", step_size=0.2, dual_step_size=0.1, **arguments
    )
    expected = tabular(RANDOM, 40, step_size=0.2 * scale, dual_step_size=0.1, **arguments)
    np.testing.assert_allclose(found.policy, expected.policy, atol=1e-9)
    np.testing.assert_allclose(found.multipliers, expected.multipliers, atol=1e-9)


@pytest.mark.parametrize("solver", [ppqa_alm, lin_npg_pd, lin_reload, lin_ppo_lag])
def test_first_row_is_the_given_start(solver):
    rng = np.random.default_rng(9)
    features, theta = some_features(rng), rng.normal(size=7)
    trace = solver(RANDOM, 1, features=features, initial_parameters=theta)
    np.testing.assert_allclose(trace.policy, softmax_rows(features @ theta), rtol=1e-12)


@pytest.mark.parametrize(
    ("problem", "early", "late", "multiplier"),
    [
        (CLIFF, (-4.6e-3, 8.1e-3), (-7.14e-5, 3.02e-4), 0.816),
        (DEEP_SEA, (5.6e-3, -1.9e-4), (5.70e-4, -1.39e-6), 1.004),
    ],
)
def test_ppqa_alm_is_nearly_feasible_and_optimal(problem, early, late, multiplier):
    trace = ppqa_alm(problem, 2_000)  # tile coding of (x, y); measured elsewhere with numpy
    gap = OPTIMAL_VALUE[id(problem)] - trace.value
    assert [gap[199], trace.violation[199, 0]] == pytest.approx(early, rel=0.02)
    assert [gap[-1], trace.violation[-1, 0]] == pytest.approx(late, rel=0.005)
    assert trace.multipliers[-1, 0] == pytest.approx(multiplier, abs=6e-4)
    assert abs(gap[-1]) < 1e-3
    assert trace.violation[-1, 0] < 1e-3


@pytest.mark.parametrize(
    ("entropy_coefficient", "gap", "violation"),
    [(0.0, 3.62e-3, -3.94e-3), (1e-3, 3.31e-3, -3.59e-3)],
)
def test_lin_npg_pd_agrees_with_the_measured_figures(entropy_coefficient, gap, violation):
    trace = lin_npg_pd(CLIFF, 2_000, entropy_coefficient=entropy_coefficient)
    reached = [OPTIMAL_VALUE[id(CLIFF)] - trace.value[-1], trace.violation[-1, 0]]
    assert reached == pytest.approx([gap, violation], rel=0.002)


def test_lin_reload_approaches_the_optimum_of_the_deep_sea():
    trace = lin_reload(DEEP_SEA, 1_500)
    assert trace.tail_error(OPTIMAL_VALUE[id(DEEP_SEA)], 0.1) < 1e-3


def test_a_stalled_projection_warns_and_the_run_goes_on():
    along_a_line = tile_coding(np.arange(25), 2, size=80, tilings=5, tiles=3)
    with pytest.warns(MultiplierGrowthWarning, match="multipliers have grown to .* violation st"):
        trace = ppqa_alm(DEEP_SEA, 500, features=along_a_line)
    assert len(trace.value) == 500
    assert trace.multipliers[-1, 0] > 10 * 1.0022  # far above the optimal multiplier
    assert trace.violation[-1, 0] > 6e-2


def test_a_class_without_feasible_policy_warns_once():
    same_for_all_actions = np.ones((21, 4, 1))  # only the uniform policy, V_c 0.70 > 0.175
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ppqa_alm(CLIFF, 60, features=same_for_all_actions, primal_steps=2, projection_steps=1)
    assert [warning.category for warning in caught] == [MultiplierGrowthWarning]
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("problem", "arguments"),
    [
        (DEEP_SEA, {"penalty": 1.0}),  # lambda climbs for ten dual steps at a constant violation
        (DEEP_SEA, {"penalty": 100.0, "primal_steps": 5}),  # overshoots and circles
        (CLIFF, {"penalty": 1.0, "step_size": 0.1}),
        (CLIFF, {"penalty": 100.0, "primal_steps": 1}),
        (RANDOM, {"features": "one_hot", "step_size": 0.1, "penalty": 1.0}),
    ],
)
def test_slow_or_oscillating_runs_do_not_warn(problem, arguments):
    ppqa_alm(problem, 300, projection_steps=20, **arguments)  # a warning would be an error
