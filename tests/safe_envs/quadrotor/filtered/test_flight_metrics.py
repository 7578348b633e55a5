"""The figures of the metric "lqr", and of the model linearized at hover behind it."""

import numpy as np
import pytest
from scipy.linalg import solve_discrete_are

from safe_envs.quadrotor.dynamics import step
from safe_envs.quadrotor.filtered.flight_metrics import hover_dynamics, hover_metric
from safe_envs.quadrotor.vehicle import CRAZYFLIE, HUMMINGBIRD

TIME_STEP = 0.01


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


@pytest.mark.parametrize("vehicle", [CRAZYFLIE, HUMMINGBIRD])
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
