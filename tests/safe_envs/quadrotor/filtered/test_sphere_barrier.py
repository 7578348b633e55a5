"""The sphere barrier's rows against derivatives along simulated flights."""

import numpy as np
import pytest

from safe_envs.quadrotor.dynamics import step
from safe_envs.quadrotor.vehicle import CRAZYFLIE, GRAVITY, HUMMINGBIRD
from safe_envs.safety_filters import SphereZCBF, hover_metric, project

TIME_STEP = 0.01
LOADED = CRAZYFLIE.with_payload(0.004, (0.012, 0.008, -0.03))  # its inertia has products
VEHICLES = pytest.mark.parametrize("vehicle", [CRAZYFLIE, HUMMINGBIRD, LOADED])


def random_state(rng):
    state = rng.normal(size=13)
    state[6:10] /= np.linalg.norm(state[6:10])
    state[10:] *= 2.0
    return state


def random_spheres(rng, count=3):
    return rng.normal(size=(count, 3)), rng.uniform(0.2, 0.5, count)


def barrier_values(state, centers, radii):
    away = np.asarray(state)[:3] - centers
    return (away * away).sum(axis=1) - radii**2


def time_derivatives(vehicle, state, u, centers, radii):
    """Return h, h', h'', h''' of every sphere by a polynomial through h along the flight."""
    times = np.linspace(-4.0, 4.0, 9) * 2e-3
    values = []
    for time in times:
        reached = step(vehicle, state.tolist(), u.tolist(), float(time), 4)
        values.append(barrier_values(reached, centers, radii))
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
        state, (centers, radii) = random_state(rng), random_spheres(rng)
        rows = SphereZCBF(2, gains=(2.0, 5.0)).around(vehicle, TIME_STEP, centers, radii)
        u = rng.uniform(0.1, 0.9, 4)
        h, first, second, _ = time_derivatives(vehicle, state, u, centers, radii)
        expected = second + 7.0 * first + 10.0 * h
        np.testing.assert_allclose(
            left_side(rows, state, rng.uniform(size=4), u), expected, rtol=1e-6, atol=1e-5
        )


@VEHICLES
def test_order_3_is_the_sum_of_the_barriers_true_derivatives_if_the_step_is_short(vehicle):
    rng = np.random.default_rng(1)
    for _ in range(10):
        state, (centers, radii) = random_state(rng), random_spheres(rng)
        rows = SphereZCBF(3, gains=(1.0, 2.0, 4.0)).around(vehicle, 0.0, centers, radii)
        u = rng.uniform(0.1, 0.9, 4)
        h, first, second, third = time_derivatives(vehicle, state, u, centers, radii)
        expected = third + 7.0 * second + 14.0 * first + 8.0 * h
        np.testing.assert_allclose(left_side(rows, state, u, u), expected, rtol=1e-4, atol=1e-2)


def rotation(q):
    w, v = q[0], q[1:]
    cross = np.array([[0.0, -v[2], v[1]], [v[2], 0.0, -v[0]], [-v[1], v[0], 0.0]])
    return np.eye(3) + 2.0 * w * cross + 2.0 * cross @ cross


def third_order_sum(vehicle, state, u, centers, radii, gains):
    """Return h''' + c2 h'' + c1 h' + c0 h with the rates at the end of the step, not linearized."""
    inertia, wrench = vehicle.inertia_matrix, vehicle.mixer @ u
    velocity, rates = state[3:6], state[10:]
    turn = wrench[1:] - np.cross(rates, inertia @ rates)
    rates = rates + TIME_STEP * np.linalg.solve(inertia, turn)
    attitude = rotation(state[6:10])
    push = wrench[0] / vehicle.mass
    acceleration = push * attitude[:, 2] - [0.0, 0.0, GRAVITY]
    jerk = push * attitude @ np.cross(rates, [0.0, 0.0, 1.0])
    away = state[:3] - centers
    first = 2.0 * away @ velocity
    second = 2.0 * velocity @ velocity + 2.0 * away @ acceleration
    third = 6.0 * velocity @ acceleration + 2.0 * away @ jerk
    a, b, c = gains
    lower = (a * b + a * c + b * c) * first + a * b * c * barrier_values(state, centers, radii)
    return third + (a + b + c) * second + lower


@VEHICLES
def test_order_3_is_the_linearization_of_the_barriers_sum(vehicle):
    rng = np.random.default_rng(2)
    gains = (6.0, 6.0, 10.0)
    for _ in range(10):
        state, (centers, radii) = random_state(rng), random_spheres(rng)
        rows = SphereZCBF(3, margin=0.02).around(vehicle, TIME_STEP, centers, radii)
        reference = rng.uniform(0.2, 0.8, 4)

        def exact(u, state=state, centers=centers, grown=radii + 0.02):
            return third_order_sum(vehicle, state, u, centers, grown, gains)

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
    centers = rng.normal(size=(5, 3) if shared else (5, 3, 20))
    rows = SphereZCBF(order).around(CRAZYFLIE, TIME_STEP, centers, np.full(5, 0.3))
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
        state, (centers, radii) = random_state(rng), random_spheres(rng, 4)
        reference = rng.uniform(size=4)
        rows, _ = SphereZCBF(order).around(CRAZYFLIE, TIME_STEP, centers, radii)(state, reference)
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"order": 4}, "order is 4; pass 2 or 3"),
        ({"order": 2, "gains": (1.0, 2.0, 3.0)}, "pass 2 positive numbers for order 2"),
        ({"gains": (1.0, -2.0, 3.0)}, "pass 3 positive numbers"),
        ({"margin": -0.1}, "margin is -0.1; pass a number >= 0"),
        ({"margin": "wide"}, "margin is 'wide'; pass a number >= 0"),
        ({"gains": "abc"}, "gains are 'abc'; pass 3 positive numbers for order 3"),
    ],
)
def test_refuses_barriers_that_make_no_sense(arguments, message):
    with pytest.raises(ValueError, match=message):
        SphereZCBF(**arguments)
