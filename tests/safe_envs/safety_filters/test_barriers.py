"""The barriers' rows against derivatives along simulated flights, and the metrics' figures."""

import numpy as np
import pytest
from scipy.linalg import solve_discrete_are

from safe_envs.quadrotor.dynamics import step
from safe_envs.quadrotor.vehicle import CRAZYFLIE, GRAVITY, HUMMINGBIRD
from safe_envs.safety_filters import (
    AffineBarrier,
    SphereZCBF,
    double_integrator_barrier,
    hover_metric,
    project,
)
from safe_envs.safety_filters.metrics import hover_dynamics, resolved_metric

TIME_STEP = 0.01
VEHICLES = pytest.mark.parametrize("vehicle", [CRAZYFLIE, HUMMINGBIRD])


def random_state(rng):
    state = rng.normal(size=13)
    state[6:10] /= np.linalg.norm(state[6:10])
    state[10:] *= 2.0
    return state


def random_spheres(rng, count=3):
    return rng.normal(size=(count, 3)), rng.uniform(0.2, 0.5, count)


def barrier_values(state, centres, radii):
    away = np.asarray(state)[:3] - centres
    return (away * away).sum(axis=1) - radii**2


def time_derivatives(vehicle, state, u, centres, radii):
    """Return h, h', h'', h''' of every sphere by a polynomial through h along the flight."""
    times = np.linspace(-4.0, 4.0, 9) * 2e-3
    values = []
    for time in times:
        reached = step(vehicle, state.tolist(), u.tolist(), float(time), 4)
        values.append(barrier_values(reached, centres, radii))
    powers = np.polynomial.polynomial.polyfit(times, np.array(values), 8)
    return powers[:4] * np.array([1.0, 1.0, 2.0, 6.0])[:, None]


def left_side(rows, state, reference, u):
    """Return A u - b, which stands for the barrier's sum."""
    matrix, bounds = rows(state, reference)
    return matrix @ u - bounds


@VEHICLES
def test_order_2_is_the_sum_of_the_barriers_true_derivatives(vehicle):
    rng = np.random.default_rng(0)
    for _ in range(10):
        state, (centres, radii) = random_state(rng), random_spheres(rng)
        rows = SphereZCBF(2, gains=(2.0, 5.0)).around(vehicle, TIME_STEP, centres, radii)
        u = rng.uniform(0.1, 0.9, 4)
        h, first, second, _ = time_derivatives(vehicle, state, u, centres, radii)
        expected = second + 7.0 * first + 10.0 * h
        np.testing.assert_allclose(
            left_side(rows, state, rng.uniform(size=4), u), expected, rtol=1e-6, atol=1e-5
        )


@VEHICLES
def test_order_3_is_the_sum_of_the_barriers_true_derivatives_if_the_step_is_short(vehicle):
    rng = np.random.default_rng(1)
    for _ in range(10):
        state, (centres, radii) = random_state(rng), random_spheres(rng)
        rows = SphereZCBF(3, gains=(1.0, 2.0, 4.0)).around(vehicle, 0.0, centres, radii)
        u = rng.uniform(0.1, 0.9, 4)
        h, first, second, third = time_derivatives(vehicle, state, u, centres, radii)
        expected = third + 7.0 * second + 14.0 * first + 8.0 * h
        np.testing.assert_allclose(left_side(rows, state, u, u), expected, rtol=1e-4, atol=1e-2)


def rotation(q):
    w, v = q[0], q[1:]
    cross = np.array([[0.0, -v[2], v[1]], [v[2], 0.0, -v[0]], [-v[1], v[0], 0.0]])
    return np.eye(3) + 2.0 * w * cross + 2.0 * cross @ cross


def third_order_sum(vehicle, state, u, centres, radii, gains):
    """Return h''' + c2 h'' + c1 h' + c0 h with the rates at the end of the step, not linearised."""
    inertia, wrench = np.array(vehicle.inertia), vehicle.mixer @ u
    velocity, rates = state[3:6], state[10:]
    turn = wrench[1:] - np.cross(rates, inertia * rates)
    rates = rates + TIME_STEP * turn / inertia
    attitude = rotation(state[6:10])
    push = wrench[0] / vehicle.mass
    acceleration = push * attitude[:, 2] - [0.0, 0.0, GRAVITY]
    jerk = push * attitude @ np.cross(rates, [0.0, 0.0, 1.0])
    away = state[:3] - centres
    first = 2.0 * away @ velocity
    second = 2.0 * velocity @ velocity + 2.0 * away @ acceleration
    third = 6.0 * velocity @ acceleration + 2.0 * away @ jerk
    a, b, c = gains
    lower = (a * b + a * c + b * c) * first + a * b * c * barrier_values(state, centres, radii)
    return third + (a + b + c) * second + lower


@VEHICLES
def test_order_3_is_the_linearisation_of_the_barriers_sum(vehicle):
    rng = np.random.default_rng(2)
    gains = (6.0, 6.0, 10.0)
    for _ in range(10):
        state, (centres, radii) = random_state(rng), random_spheres(rng)
        rows = SphereZCBF(3, margin=0.02).around(vehicle, TIME_STEP, centres, radii)
        reference = rng.uniform(0.2, 0.8, 4)

        def exact(u, state=state, centres=centres, grown=radii + 0.02):
            return third_order_sum(vehicle, state, u, centres, grown, gains)

        matrix, bounds = rows(state, reference)
        np.testing.assert_allclose(matrix @ reference - bounds, exact(reference), rtol=1e-9)
        steps = 1e-4 * np.eye(4)
        slopes = [(exact(reference + d) - exact(reference - d)) / 2e-4 for d in steps]
        np.testing.assert_allclose(matrix, np.transpose(slopes), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("shared", [True, False])
def test_batches_are_equal_to_single_rows(order, shared):
    rng = np.random.default_rng(3)
    states = np.stack([random_state(rng) for _ in range(20)], axis=1)
    references = rng.uniform(size=(4, 20))
    centres = rng.normal(size=(5, 3) if shared else (5, 3, 20))
    rows = SphereZCBF(order).around(CRAZYFLIE, TIME_STEP, centres, np.full(5, 0.3))
    matrices, bounds = rows.batch(states, references)
    assert matrices.shape == (20, 5, 4)
    assert bounds.shape == (20, 5)
    for i in range(20):
        matrix, bound = rows.of(i)(states[:, i], references[:, i])
        np.testing.assert_allclose(matrices[i], matrix, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(bounds[i], bound, rtol=1e-9, atol=1e-9)


def differences_of_the_metrics(order, rng, count=50):
    """Return max |u_E - u_W| for rows that random references break, no action bound active."""
    metric = hover_metric(CRAZYFLIE, TIME_STEP)
    for _ in range(count):
        state, (centres, radii) = random_state(rng), random_spheres(rng, 4)
        reference = rng.uniform(size=4)
        rows, _ = SphereZCBF(order).around(CRAZYFLIE, TIME_STEP, centres, radii)(state, reference)
        rows = rows[rows.sum(axis=1) > 0.0][:2]  # such that one direction of thrust serves all
        missing = rng.uniform(0.05, 0.3, len(rows)) * np.linalg.norm(rows, axis=1)
        euclidean, weighted = (
            project(w, reference, rows, rows @ reference + missing, -10.0, 10.0, slack_weight=1e12)
            for w in (np.eye(4), metric)
        )
        assert euclidean.active == weighted.active == (len(rows) > 0)
        yield np.abs(euclidean.action - weighted.action).max()


def test_at_order_2_the_metric_makes_no_difference_on_a_symmetric_vehicle():
    assert max(differences_of_the_metrics(2, np.random.default_rng(4))) <= 1e-6


def test_at_order_3_the_metric_does_make_a_difference():
    assert np.median(list(differences_of_the_metrics(3, np.random.default_rng(5)))) > 0.01


def test_the_hover_metric_has_its_known_figures():
    signs = [np.ones(4), CRAZYFLIE.rotor_y, -np.array(CRAZYFLIE.rotor_x), CRAZYFLIE.spin]
    basis = np.stack([row / np.linalg.norm(row) for row in signs])  # thrust, roll, pitch, yaw
    metric = basis @ hover_metric(CRAZYFLIE, TIME_STEP) @ basis.T
    np.testing.assert_allclose(metric, np.diag(metric.diagonal()), atol=1e-12)
    known = [0.0440, 0.0825, 0.0825, 0.0586]
    np.testing.assert_allclose(metric.diagonal(), known, atol=5e-5)
    shares = 4.0 * metric.diagonal() / metric.trace()
    np.testing.assert_allclose(shares, [0.658, 1.233, 1.233, 0.876], atol=5e-4)


def test_the_hover_metric_is_the_curvature_of_the_discounted_return():
    """By rolling out the best linear controller after a first action."""
    discount, steps = 0.99, 1500
    a, b = hover_dynamics(CRAZYFLIE, TIME_STEP)
    state_cost = np.diag(np.repeat([10.0, 1.0, 0.5, 0.02], 3)) * TIME_STEP
    thrust_cost = np.eye(4) * 2.0 * TIME_STEP
    root = discount**0.5
    value = solve_discrete_are(root * a, root * b, state_cost, discount * thrust_cost)
    gain = np.linalg.solve(
        thrust_cost + b.T @ value @ b, b.T @ value @ a
    )  # of u = -K x at the state reached
    hessian, reach = 2.0 * thrust_cost, b.copy()
    for k in range(steps):  # state after k further steps, as a matrix times the first action
        hessian = hessian + 2.0 * discount**k * reach.T @ state_cost @ reach
        later = gain @ reach
        hessian = hessian + 2.0 * discount ** (k + 1) * later.T @ thrust_cost @ later
        reach = (a - b @ gain) @ reach
    np.testing.assert_allclose(hessian, hover_metric(CRAZYFLIE, TIME_STEP), rtol=1e-6, atol=1e-9)


@VEHICLES
def test_the_hover_dynamics_are_those_of_the_simulated_flight(vehicle):
    a, b = hover_dynamics(vehicle, TIME_STEP)
    hover = np.full(4, vehicle.hover_thrust)

    def flown(small, change):
        angles = 0.5 * small[6:9]
        state = np.concatenate([small[:6], [np.sqrt(1.0 - angles @ angles)], angles, small[9:]])
        reached = np.array(step(vehicle, state.tolist(), (hover + change).tolist(), TIME_STEP, 8))
        return np.concatenate([reached[:6], 2.0 * reached[7:10], reached[10:]])

    size = 1e-4
    for columns, matrix in ((np.eye(12), a), (None, b)):
        for i in range(matrix.shape[1]):
            small, change = np.zeros(12), np.zeros(4)
            (change if columns is None else small)[i] = size
            slope = (flown(small, change) - flown(-small, -change)) / (2.0 * size)
            np.testing.assert_allclose(slope, matrix[:, i], rtol=1e-4, atol=1e-5)


def test_an_affine_barrier_bounds_how_fast_the_margin_is_used_up():
    barrier = double_integrator_barrier(decay=0.3)
    rng = np.random.default_rng(7)
    for _ in range(20):
        state, u = rng.normal(size=2), rng.normal(size=1)
        before = barrier.offsets - barrier.normals @ state
        after = barrier.offsets - barrier.normals @ (
            barrier.state_matrix @ state + barrier.input_matrix @ u
        )
        matrix, bounds = barrier(state, u)
        np.testing.assert_allclose(matrix @ u - bounds, after - 0.7 * before, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"order": 4}, "order is 4; pass 2 or 3"),
        ({"order": 2, "gains": (1.0, 2.0, 3.0)}, "pass 2 positive numbers for order 2"),
        ({"gains": (1.0, -2.0, 3.0)}, "pass 3 positive numbers"),
        ({"margin": -0.1}, "margin is -0.1; pass a number >= 0"),
    ],
)
def test_refuses_barriers_that_make_no_sense(arguments, message):
    with pytest.raises(ValueError, match=message):
        SphereZCBF(**arguments)


def test_refuses_affine_barriers_that_do_not_fit():
    good = [np.eye(2), np.ones((2, 1)), np.ones((3, 2)), np.ones(3)]
    for i, wrong in enumerate([np.eye(3), np.ones((3, 1)), np.ones((3, 1)), np.ones(2)]):
        with pytest.raises(ValueError, match="A, B, H and c have shapes .*; pass"):
            AffineBarrier(*(wrong if i == j else each for j, each in enumerate(good)))
    with pytest.raises(ValueError, match="decay is 0.0; pass a number in"):
        AffineBarrier(*good, decay=0.0)
    with pytest.raises(ValueError, match="max_speed is 16.0"):
        double_integrator_barrier(max_speed=16.0)


def test_unknown_metrics_are_refused_with_what_there_is():
    with pytest.raises(ValueError, match="'ppo' is not known; pass one of .*'lqr', 'fqi'"):
        resolved_metric("ppo", 4, CRAZYFLIE, TIME_STEP)
    with pytest.raises(ValueError, match="did you mean 'euclidean'"):
        resolved_metric("euclidian", 4, CRAZYFLIE, TIME_STEP)
    with pytest.raises(ValueError, match="'lqr' is for the quadrotor .*; pass 'euclidean', or"):
        resolved_metric("lqr", 1, None, TIME_STEP)
    with pytest.raises(ValueError, match=r"metric has shape \(2, 2\)"):
        resolved_metric(np.eye(2), 4, CRAZYFLIE, TIME_STEP)
    with pytest.raises(TypeError, match="metric is None; pass one of"):
        resolved_metric(None, 4, CRAZYFLIE, TIME_STEP)
