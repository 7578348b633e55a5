"""The penalties on a fitted value's curvature: gradients, bounds, minima and what they do."""

import numpy as np
import pytest

from safe_envs.quadrotor.filtered.action_value import action_coordinates
from safe_envs.quadrotor.filtered.curvature_penalties import (
    RADIUS,
    STABILITY,
    PenaltyWeights,
    definiteness_penalty,
    penalized_theta,
    quadratic_weights,
    third_derivative_bounds,
    third_order_penalty,
)
from safe_envs.quadrotor.filtered.fitted_q import fit_q, least_squares_value
from safe_envs.quadrotor.filtered.transitions import collect_transitions
from safe_envs.quadrotor.filtered.value_features import (
    DEVIATION_WIDTH,
    ActionValueFeatures,
    action_value_features,
    tracking_error,
)
from safe_envs.quadrotor.reference import FIGURE_EIGHTS
from safe_envs.quadrotor.task import CONTROL_DT

IDENTITY = -np.eye(4)[np.triu_indices(4)]  # curvatures with W_q = I
FEATURES = action_value_features()
SMALL = ActionValueFeatures(np.zeros((3, 12)), np.diag([0.1, 0.2, 0.3, 0.0])[:3])


@pytest.fixture(scope="module")
def transitions():
    return collect_transitions(episodes=20, steps=100, seed=1)


def central_differences(function, point, width=1e-6):
    steps = width * np.eye(point.size).reshape(point.size, *point.shape)
    slopes = [(function(point + h) - function(point - h)) / (2.0 * width) for h in steps]
    return np.reshape(slopes, point.shape)


@pytest.mark.parametrize("barrier_weight", [0.0, 0.1])
@pytest.mark.parametrize("level", [2.0, 0.3, -1.0])  # all definite, some, none
def test_the_gradient_of_the_first_penalty_is_its_slope(level, barrier_weight):
    rng = np.random.default_rng(0)
    factors = np.concatenate([np.ones((5, 1)), 0.3 * rng.standard_normal((5, 12))], axis=1)
    curvatures = 0.1 * rng.standard_normal((13, 10))
    curvatures[0] += level * IDENTITY
    gradient = definiteness_penalty(curvatures, factors, barrier_weight)[1]
    expected = central_differences(
        lambda c: definiteness_penalty(c, factors, barrier_weight)[0], curvatures
    )
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-5)


def test_the_first_penalty_is_the_papers():
    rng = np.random.default_rng(1)
    factors = np.concatenate([np.ones((7, 1)), 0.1 * rng.standard_normal((7, 12))], axis=1)
    curvatures = 0.1 * rng.standard_normal((13, 10))
    curvatures[0] += 2.0 * IDENTITY
    weights = quadratic_weights(curvatures, factors)
    determinants = np.linalg.slogdet(weights + STABILITY * np.eye(4))[1]
    value = definiteness_penalty(curvatures, factors, 0.5)[0]
    assert value == pytest.approx(-0.5 * determinants.mean())
    one_negative = np.diag([1.0, 2.0, 3.0, -0.7])[np.triu_indices(4)]
    assert definiteness_penalty(-one_negative[None], np.ones((1, 1)), 0.0)[0] == pytest.approx(0.49)


def test_the_gradient_of_the_second_penalty_is_its_slope():
    rng = np.random.default_rng(2)
    heights, bounds = rng.standard_normal(20), rng.uniform(0.5, 2.0, 20)
    value, gradient = third_order_penalty(np.abs(heights), bounds)
    assert value == pytest.approx((np.abs(heights) @ bounds) ** 2)
    expected = central_differences(
        lambda h: third_order_penalty(np.abs(h), bounds)[0], heights, width=1e-5
    )
    np.testing.assert_allclose(gradient * np.sign(heights), expected, rtol=1e-6)


def third_derivatives(bump, error, deviations, directions, width=1e-4):
    """Return one Gaussian's third derivatives along unit vectors (N, 4), by differences, (N,)."""
    only = np.zeros(bump.count)
    only[-1] = 1.0
    errors = np.tile(error, (len(deviations), 1))
    ahead, behind = (
        bump.hessians(only, errors, deviations + h * directions) for h in (width, -width)
    )
    return np.einsum("na,nab,nb->n", directions, ahead - behind, directions) / (2.0 * width)


@pytest.mark.parametrize("radius", [0.05, RADIUS, 2.0])
def test_the_bounds_are_the_largest_third_derivatives(radius):
    rng = np.random.default_rng(3)
    errors = rng.standard_normal((4, 12))
    bounds = third_derivative_bounds(FEATURES, errors, radius)
    # The largest is on the line through 0 and c_d, for a direction at some angle to it.
    line, angle = np.meshgrid(np.linspace(-radius, radius, 400), np.linspace(0.0, np.pi / 2, 30))
    for j in range(3):
        center = FEATURES.deviation_centres[j]
        bump = ActionValueFeatures(FEATURES.error_centres[j : j + 1], center[None])
        along = center / np.linalg.norm(center)
        across = np.linalg.svd(along[None])[2][1]
        deviations = line.reshape(-1, 1) * along
        directions = np.cos(angle).reshape(-1, 1) * along + np.sin(angle).reshape(-1, 1) * across
        random = rng.standard_normal((2, 2000, 4))
        random /= np.linalg.norm(random, axis=2, keepdims=True)
        inside = radius * rng.uniform(0.0, 1.0, (2000, 1)) * random[0]
        largest = 0.0
        for error in errors:
            found = np.abs(third_derivatives(bump, error, deviations, directions))
            largest = max(largest, found.max())
            found = np.abs(third_derivatives(bump, error, inside, random[1]))
            assert found.max() <= bounds[j] * (1.0 + 1e-5)
        assert largest == pytest.approx(bounds[j], rel=2e-3)


def test_no_bound_is_above_that_of_the_closed_form():
    t = np.linspace(0.0, 10.0, 1_000_001)
    steepest = np.abs((3.0 * t - t**3) * np.exp(-0.5 * t * t)).max()
    assert steepest == pytest.approx(1.3801, abs=5e-5)
    closed_form = steepest / DEVIATION_WIDTH**3
    errors = 3.0 * np.random.default_rng(4).standard_normal((5, 12))
    assert (third_derivative_bounds(FEATURES, errors) < closed_form).all()
    at_centres = third_derivative_bounds(FEATURES, FEATURES.error_centres, 2.0)
    np.testing.assert_allclose(at_centres, closed_form, rtol=1e-9)


def test_the_second_penalty_alone_shrinks_heights_by_a_common_threshold():
    # min sum h (t - a)^2 + lam L^2, L = sum B |t|, has |t| = max(|a| - lam L B / h, 0).
    errors, weight = np.zeros((1, 12)), 0.01
    bounds = third_derivative_bounds(SMALL, errors)
    theta, curvature = np.zeros(SMALL.count), np.ones(SMALL.count)
    heights, stiffness = np.array([1.0, -2.0, 0.1]), np.array([1.0, 3.0, 2.0])
    theta[-3:], curvature[-3:] = heights, stiffness
    found = penalized_theta(
        theta, np.diag(curvature), np.ones(SMALL.count), SMALL, errors, PenaltyWeights(third=weight)
    )

    def shrunk(lipschitz):
        return np.maximum(np.abs(heights) - weight * lipschitz * bounds / stiffness, 0.0)

    low, high = 0.0, float(np.abs(heights) @ bounds)
    for _ in range(100):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if shrunk(middle) @ bounds > middle else (low, middle)
    assert shrunk(low).min() == 0.0
    np.testing.assert_allclose(found[-3:], np.sign(heights) * shrunk(low), atol=1e-6)
    assert not found[:-3].any()


def test_the_first_penalty_alone_raises_the_curvature_to_the_barriers_balance():
    # W_q = w I: min (w - w_0)^2 - lam beta log(w + eps), in each of the four diagonal entries.
    theta = np.zeros(SMALL.count)
    weights = PenaltyWeights(psd=0.5, barrier=0.2)
    for before in (1.0, 0.05):
        theta[SMALL.curvature] = before * IDENTITY
        arguments = (np.eye(SMALL.count), np.ones(SMALL.count), SMALL, np.zeros((1, 12)))
        found = penalized_theta(theta, *arguments, weights)
        w = np.roots([2.0, 2.0 * (STABILITY - before), -2.0 * before * STABILITY - 0.1]).max()
        np.testing.assert_allclose(found[SMALL.curvature], w * IDENTITY, atol=1e-6)


def test_what_is_concave_already_is_left_alone_without_a_barrier(transitions):
    plain = fit_q(transitions, psd_weight=0.0, third_weight=0.0)
    curvatures = plain.coefficients[plain.features.curvature].reshape(1, 10)
    assert np.linalg.eigvalsh(quadratic_weights(curvatures, np.ones((1, 1)))).min() > 0.0
    kept = fit_q(transitions, psd_weight=1.0, barrier_weight=0.0, third_weight=0.0)
    np.testing.assert_allclose(kept.theta, plain.theta, rtol=1e-12, atol=1e-15)


def test_without_penalties_the_fit_is_the_linear_systems(transitions):
    case = (transitions.vehicle, transitions.states, transitions.times, transitions.thrusts)
    errors, deviations = action_coordinates(*case)
    reached = tracking_error(
        transitions.next_states, transitions.times + CONTROL_DT, FIGURE_EIGHTS["crazyflie"]
    )
    now, then = FEATURES(errors, deviations), FEATURES(reached, np.zeros_like(deviations))
    scales = np.sqrt((now * now).mean(axis=0))
    theta = least_squares_value(now / scales, then / scales, transitions.rewards, 0.99, 1e-6)
    fitted = fit_q(transitions, psd_weight=0.0, barrier_weight=7.0, third_weight=0.0)
    assert np.array_equal(fitted.theta, theta)


def measures(fitted, transitions):
    """Return mu and L2 in the states of the data."""
    case = (transitions.vehicle, transitions.states, transitions.times, transitions.thrusts)
    errors = action_coordinates(*case)[0]
    heights = fitted.coefficients[fitted.features.curvature.stop :]
    smallest = np.linalg.eigvalsh(fitted.hessian(transitions.states, transitions.times)).min()
    return smallest, np.abs(heights) @ third_derivative_bounds(fitted.features, errors)


@pytest.mark.parametrize("state_dependent", [False, True])
def test_the_penalties_raise_mu_and_lower_l2(transitions, state_dependent):
    found = [
        measures(fit_q(transitions, state_dependent=state_dependent, **weights), transitions)
        for weights in (
            {"psd_weight": 0.0, "third_weight": 0.0},
            {"psd_weight": 1e-8, "third_weight": 1e-8},
            {"psd_weight": 1e-8, "third_weight": 1e-6},
        )
    ]
    mu, lipschitz = zip(*found, strict=True)
    assert mu[0] < 0.005 < mu[1]
    assert mu[2] > 0.005
    assert lipschitz[0] > 5.0 * lipschitz[1] > 25.0 * lipschitz[2]


def test_weights_out_of_range_are_refused(transitions):
    for name in ("psd", "barrier", "third"):
        for wrong in (-1.0, np.inf, np.nan):
            with pytest.raises(ValueError, match=f"{name}_weight is {wrong}; pass a number >= 0"):
                fit_q(transitions, **{f"{name}_weight": wrong})
