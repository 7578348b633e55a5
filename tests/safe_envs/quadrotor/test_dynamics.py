"""Flight without a task: both paths, a fixed point, energy, and MuJoCo as the other opinion."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safe_envs.quadrotor.dynamics import BLOCK, CALM, step, step_batch
from safe_envs.quadrotor.mujoco_model import mujoco_text
from safe_envs.quadrotor.vehicle import CRAZYFLIE, GRAVITY, HUMMINGBIRD

VEHICLES = {"crazyflie": CRAZYFLIE, "hummingbird": HUMMINGBIRD}
HOVERING = [0.3, -0.2, 1.0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]


def random_states(rng, count):
    states = rng.normal(size=(13, count))
    states[6:10] /= np.linalg.norm(states[6:10], axis=0)
    states[10:] *= 10.0
    return states


def rotation(q):
    """R(q) as the quaternion's action on the axes, by two quaternion products."""

    def product(a, b):
        return np.array(
            [a[0] * b[0] - a[1:] @ b[1:], *(a[0] * b[1:] + b[0] * a[1:] + np.cross(a[1:], b[1:]))]
        )

    inverse = q * [1, -1, -1, -1]
    return np.stack(
        [product(product(q, np.array([0, *e])), inverse)[1:] for e in np.eye(3)], axis=1
    )


@pytest.mark.parametrize("vehicle", VEHICLES)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), substeps=st.integers(1, 3), windy=st.booleans())
def test_one_and_many_are_equal(vehicle, seed, substeps, windy):
    rng = np.random.default_rng(seed)
    states, u = random_states(rng, 20), rng.random((4, 20))
    wind = rng.normal(size=(3, 20)) if windy else None
    many = step_batch(VEHICLES[vehicle], states, u, 0.01, substeps, wind)
    for i in range(20):
        force = CALM if wind is None else tuple(wind[:, i].tolist())
        one = step(
            VEHICLES[vehicle], states[:, i].tolist(), u[:, i].tolist(), 0.01, substeps, force
        )
        np.testing.assert_array_equal(one, many[:, i])


def test_blocks_of_a_large_batch_are_equal_to_small_batches():
    rng = np.random.default_rng(0)
    count = 2 * BLOCK + 7
    states, u, wind = random_states(rng, count), rng.random((4, count)), rng.normal(size=(3, count))
    kept = states.copy()
    together = step_batch(CRAZYFLIE, states, u, 0.01, 2, wind)
    np.testing.assert_array_equal(states, kept)
    for part in (slice(0, 5), slice(BLOCK - 3, BLOCK + 3), slice(2 * BLOCK, count)):
        alone = step_batch(CRAZYFLIE, states[:, part], u[:, part], 0.01, 2, wind[:, part])
        np.testing.assert_array_equal(together[:, part], alone)


@pytest.mark.parametrize("vehicle", VEHICLES)
def test_hover_is_a_fixed_point(vehicle):
    state, u = HOVERING, [VEHICLES[vehicle].hover_thrust] * 4
    for _ in range(600):
        state = step(VEHICLES[vehicle], state, u, 0.01)
    np.testing.assert_allclose(state, HOVERING, rtol=0, atol=1e-12)


def test_free_fall_and_thrust_in_the_wind():
    """Constant accelerations are integrated exactly."""
    state = step(CRAZYFLIE, HOVERING, [0.0] * 4, 0.5, wind=(0.027, 0.0, 0.0))
    np.testing.assert_allclose(state[:3], [0.3 + 0.125, -0.2, 1.0 - GRAVITY / 8], atol=1e-12)
    np.testing.assert_allclose(state[3:6], [0.5, 0.0, -GRAVITY / 2], atol=1e-12)
    state = step(CRAZYFLIE, HOVERING, [1.0] * 4, 0.5)
    np.testing.assert_allclose(state[2], 1.0 + 1.25 * GRAVITY / 8, atol=1e-12)


def test_errors_shrink_with_the_fourth_power_of_the_step():
    rng = np.random.default_rng(3)
    states, u = random_states(rng, 50), rng.random((4, 50))
    states[10:] *= 0.5
    exact = step_batch(HUMMINGBIRD, states, u, 0.05, 256)
    errors = [np.abs(step_batch(HUMMINGBIRD, states, u, 0.05, n) - exact).max() for n in (4, 8, 16)]
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert (orders > 3.6).all()
    assert (orders < 4.6).all()


@pytest.mark.parametrize("vehicle", VEHICLES)
def test_energy_is_the_work_of_thrust_and_torque(vehicle):
    """dE/dt = T (R e3) . v + tau . w, by Simpson's rule over short steps."""
    body = VEHICLES[vehicle]
    rng = np.random.default_rng(1)
    inertia, h = np.array(body.inertia), 1e-3

    def energy(x):
        return body.mass * (x[3:6] @ x[3:6] / 2 + GRAVITY * x[2]) + inertia @ x[10:] ** 2 / 2

    for _ in range(4):
        x = random_states(rng, 1)[:, 0]
        start, work, scale = energy(x), 0.0, 0.0
        for _ in range(50):
            u = rng.random(4)
            wrench = body.mixer @ u
            middle = np.array(step(body, x.tolist(), u.tolist(), h / 2, 1))
            after = np.array(step(body, x.tolist(), u.tolist(), h, 2))
            power = [
                wrench[0] * rotation(y[6:10])[:, 2] @ y[3:6] + wrench[1:] @ y[10:]
                for y in (x, middle, after)
            ]
            work += h / 6 * (power[0] + 4 * power[1] + power[2])
            scale += h * abs(power[1])
            x = after
        assert energy(x) - start == pytest.approx(work, abs=1e-7 * scale)


@pytest.mark.parametrize("vehicle", VEHICLES)
def test_agrees_with_mujoco(vehicle):
    """One second of random thrusts against MuJoCo's Runge-Kutta on a free body with four motors."""
    mujoco = pytest.importorskip("mujoco")
    body = VEHICLES[vehicle]
    model = mujoco.MjModel.from_xml_string(mujoco_text(body, 0.005))
    for seed in range(3):
        rng, data = np.random.default_rng(seed), mujoco.MjData(model)
        mujoco.mj_resetData(model, data)
        state = [0, 0, 1.0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
        for _ in range(100):
            u = np.clip(body.hover_thrust + 0.05 * rng.normal(size=4), 0, 1)
            data.ctrl[:] = u
            mujoco.mj_step(model, data, 2)
            state = step(body, state, u.tolist(), 0.01)
        np.testing.assert_allclose(data.qpos[:3], state[:3], rtol=0, atol=1e-5)
        np.testing.assert_allclose(data.qvel[:3], state[3:6], rtol=0, atol=1e-4)
        assert abs(data.qpos[3:] @ state[6:10]) == pytest.approx(1, abs=1e-6)
        assert np.linalg.norm(state[:3]) > 0.1
