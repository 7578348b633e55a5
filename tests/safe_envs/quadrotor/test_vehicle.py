"""Custom vehicles: inertia, hover, flight against independent integrators, and refusals."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from safe_envs.contract.vector_env import AutoresetMode
from safe_envs.quadrotor.dynamics import step, step_batch
from safe_envs.quadrotor.filtered.flight_metrics import hover_dynamics, hover_metric
from safe_envs.quadrotor.geometric_controller import GeometricLaw
from safe_envs.quadrotor.mujoco_model import mujoco_text
from safe_envs.quadrotor.reference import FigureEight
from safe_envs.quadrotor.rigid_body import coriolis
from safe_envs.quadrotor.vehicle import CRAZYFLIE, GRAVITY, HUMMINGBIRD, Vehicle
from safe_envs.safety_filters import SafetyFilter, floored, project

native = pytest.mark.skipif(
    AutoresetMode is None, reason="native vector environments need Gymnasium 1.1"
)

OFF_CENTER = CRAZYFLIE.with_center_of_mass(0.008, 0.003)
LOADED = CRAZYFLIE.with_payload(0.004, (0.012, 0.008, -0.03))
TUMBLING = HUMMINGBIRD.with_payload(0.15, (0.08, -0.05, 0.1))
OWN = pytest.mark.parametrize("vehicle", [OFF_CENTER, LOADED, TUMBLING])
HOVERING = [0.3, -0.2, 1.0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]


def random_states(rng, count):
    states = rng.normal(size=(13, count))
    states[6:10] /= np.linalg.norm(states[6:10], axis=0)
    return states


def rotation(q):
    w, v = q[0], q[1:]
    cross = np.array([[0.0, -v[2], v[1]], [v[2], 0.0, -v[0]], [-v[1], v[0], 0.0]])
    return np.eye(3) + 2.0 * w * cross + 2.0 * cross @ cross


def newton_euler(vehicle, state, u, duration):
    """Return the state after a time, from each rotor's force and place, by scipy's DOP853."""
    push = vehicle.largest_thrust * np.asarray(u)
    arms = np.stack([vehicle.rotor_x, vehicle.rotor_y, np.zeros(4)], axis=1)
    forces = np.outer(push, [0.0, 0.0, 1.0])
    torque = np.cross(arms, forces).sum(axis=0)
    torque[2] += vehicle.torque_ratio * (np.array(vehicle.spin) @ push)

    def slope(_, x):
        q, w = x[6:10] / np.linalg.norm(x[6:10]), x[10:]
        acceleration = rotation(q) @ [0, 0, push.sum()] / vehicle.mass - [0, 0, GRAVITY]
        quaternion = 0.5 * np.array([-q[1:] @ w, *(q[0] * w + np.cross(q[1:], w))])
        turning = torque - np.cross(w, vehicle.inertia_matrix @ w)
        turning = np.linalg.solve(vehicle.inertia_matrix, turning)
        return np.concatenate([x[3:6], acceleration, quaternion, turning])

    found = solve_ivp(slope, (0.0, duration), state, "DOP853", rtol=1e-11, atol=1e-12)
    return found.y[:, -1]


def test_a_payload_moves_the_center_of_mass_and_adds_inertia():
    """Against sums over point masses that stand for the body."""
    rng = np.random.default_rng(0)
    points, masses = rng.normal(size=(40, 3)) * 0.02, rng.uniform(0.1, 1.0, 40)
    masses *= CRAZYFLIE.mass / masses.sum()
    points -= masses @ points / masses.sum()

    def inertia_about_the_center(points, masses):
        away = points - masses @ points / masses.sum()
        total = (masses @ (away**2).sum(axis=1)) * np.eye(3)
        return total - np.einsum("n,ni,nj->ij", masses, away, away)

    body = replace(CRAZYFLIE, inertia=inertia_about_the_center(points, masses))
    place = np.array([0.02, -0.01, -0.03])
    loaded = body.with_payload(0.005, place)
    points, masses = np.vstack([points, place]), np.append(masses, 0.005)
    np.testing.assert_allclose(loaded.mass, masses.sum())
    np.testing.assert_allclose(loaded.inertia_matrix, inertia_about_the_center(points, masses))
    moved = masses @ points / masses.sum()
    np.testing.assert_allclose(loaded.rotor_x, np.array(body.rotor_x) - moved[0])
    np.testing.assert_allclose(loaded.rotor_y, np.array(body.rotor_y) - moved[1])
    assert loaded.radius == pytest.approx(body.radius + np.linalg.norm(moved))
    far = CRAZYFLIE.with_payload(0.002, (0.0, 0.0, -0.2))  # hangs below the body's sphere
    assert far.radius == pytest.approx(0.2 * 27 / 29)


def test_products_of_rates_are_the_coriolis_torque():
    rng = np.random.default_rng(1)
    factor = rng.normal(size=(3, 3))
    inertia, w = factor @ factor.T, rng.normal(size=3)
    products = [w[1] * w[2], w[2] * w[0], w[0] * w[1], *(w * w)]
    np.testing.assert_allclose(coriolis(inertia) @ products, np.cross(w, inertia @ w))
    np.testing.assert_allclose(
        LOADED.rate_products @ np.array(products),
        -np.linalg.solve(LOADED.inertia_matrix, np.cross(w, LOADED.inertia_matrix @ w)),
    )
    diagonal = np.zeros((3, 6))
    diagonal[:, :3] = np.diag(CRAZYFLIE.gyroscopic)
    np.testing.assert_array_equal(CRAZYFLIE.rate_products, diagonal)


def test_a_diagonal_matrix_is_the_same_vehicle():
    same = replace(CRAZYFLIE, inertia=np.diag(CRAZYFLIE.inertia))
    assert same == CRAZYFLIE
    assert not same.has_products
    assert LOADED.has_products
    assert not OFF_CENTER.has_products


@OWN
def test_hover_carries_the_weight_and_turns_nothing(vehicle):
    wrench = vehicle.mixer @ vehicle.hover_thrusts
    np.testing.assert_allclose(wrench, [vehicle.mass * GRAVITY, 0, 0, 0], atol=1e-14)
    assert np.mean(vehicle.hover_thrusts) == pytest.approx(vehicle.hover_thrust)
    state = HOVERING
    for _ in range(200):
        state = step(vehicle, state, vehicle.hover_thrusts, 0.01)
    np.testing.assert_allclose(state, HOVERING, rtol=0, atol=1e-10)


def test_hover_thrusts_by_hand():
    """u_i = u_h (1 + (x_i c_x + y_i c_y) / reach^2) for a cross with its mass at c."""
    reach, (x, y) = CRAZYFLIE.rotor_x[0], (0.008, 0.003)
    arms = np.stack([CRAZYFLIE.rotor_x, CRAZYFLIE.rotor_y])
    expected = CRAZYFLIE.hover_thrust * (1.0 + np.array([x, y]) @ arms / reach**2)
    np.testing.assert_allclose(OFF_CENTER.hover_thrusts, expected)
    assert CRAZYFLIE.hover_thrusts == (CRAZYFLIE.hover_thrust,) * 4


@OWN
def test_flight_agrees_with_an_integration_of_every_rotors_force(vehicle):
    rng = np.random.default_rng(2)
    for state in random_states(rng, 4).T:
        u = rng.uniform(0.3, 0.7, 4)
        reached = step(vehicle, state.tolist(), u.tolist(), 0.05, 100)
        np.testing.assert_allclose(
            reached, newton_euler(vehicle, state, u, 0.05), rtol=1e-7, atol=1e-8
        )


@OWN
def test_one_and_many_are_equal(vehicle):
    rng = np.random.default_rng(3)
    states, u, wind = random_states(rng, 30), rng.random((4, 30)), 0.1 * rng.normal(size=(3, 30))
    many = step_batch(vehicle, states, u, 0.01, wind=wind)
    for i in range(30):
        one = step(vehicle, states[:, i].tolist(), u[:, i].tolist(), 0.01, wind=tuple(wind[:, i]))
        np.testing.assert_array_equal(one, many[:, i])


@OWN
def test_flight_agrees_with_mujoco(vehicle):
    mujoco = pytest.importorskip("mujoco")
    model = mujoco.MjModel.from_xml_string(mujoco_text(vehicle, 0.005))
    data, rng = mujoco.MjData(model), np.random.default_rng(4)
    state = [0, 0, 1.0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    for _ in range(50):
        u = np.clip(np.array(vehicle.hover_thrusts) + 0.03 * rng.normal(size=4), 0, 1)
        data.ctrl[:] = u
        mujoco.mj_step(model, data, 2)
        state = step(vehicle, state, u.tolist(), 0.01)
    np.testing.assert_allclose(data.qpos[:3], state[:3], rtol=0, atol=2e-5)
    np.testing.assert_allclose(data.qvel[:3], state[3:6], rtol=0, atol=2e-4)
    assert abs(data.qpos[3:] @ state[6:10]) == pytest.approx(1, abs=1e-6)


@OWN
def test_the_hover_dynamics_are_the_linearization(vehicle):
    """By central differences of the flight around hover, in its own hover thrusts."""
    _, b = hover_dynamics(vehicle, 0.01)
    for i, d in enumerate(1e-4 * np.eye(4)):
        ends = [
            np.array(step(vehicle, HOVERING, (vehicle.hover_thrusts + s * d).tolist(), 0.01, 4))
            for s in (1, -1)
        ]
        slope = (ends[0] - ends[1]) / 2e-4
        small = np.concatenate([slope[:6], 2.0 * slope[7:10], slope[10:]])
        np.testing.assert_allclose(small, b[:, i], rtol=1e-4, atol=1e-8)


def test_the_metric_matters_for_one_row_only_if_the_mass_is_off_center():
    """A correction of the total thrust: 1 - (a'a)^2 / ((a'Wa)(a'W^-1a)) less of the value lost."""
    row = np.ones(4)
    saved = []
    for vehicle in (CRAZYFLIE, OFF_CENTER):
        metric, hover = hover_metric(vehicle, 0.01), np.array(vehicle.hover_thrusts)
        changes = [
            project(each, hover, row[None], np.array([row @ hover + 0.2]), 0.0, 1.0).action - hover
            for each in (np.eye(4), floored(metric))
        ]
        changes = [change / (row @ change) for change in changes]  # without the slack
        lost = [change @ metric @ change for change in changes]
        saved.append(1.0 - lost[1] / lost[0])
    assert saved[0] == pytest.approx(0.0, abs=1e-9)
    metric = hover_metric(OFF_CENTER, 0.01)
    by_hand = 1.0 - 16.0 / ((row @ metric @ row) * (row @ np.linalg.solve(metric, row)))
    assert saved[1] == pytest.approx(by_hand, abs=1e-9)
    assert saved[1] > 0.02


@native
@OWN
@pytest.mark.parametrize("name", ["Safe/Quadrotor-v0", "Safe/QuadrotorZCBF-v0"])
def test_flights_in_both_forms(vehicle, name):
    """Equal bit for bit, the reward recomputed from its formula, and no crash of the controller."""
    reference = FigureEight(2.0, 1.0, 1.0, 8.5) if vehicle is TUMBLING else None
    arguments = {"vehicle": vehicle, "reference": reference}
    one, many = gym.make(name, **arguments), gym.make_vec(name, num_envs=1, **arguments)
    flight = one.unwrapped
    law = GeometricLaw(flight.vehicle, flight.reference, flight.control_dt)
    seen, _ = one.reset(seed=5)
    rows, _ = many.reset(seed=5)
    np.testing.assert_array_equal(seen, rows[0])
    for _ in range(120):
        action = flight.action_of(law(flight.state, flight.time))
        np.testing.assert_allclose(
            law(flight.state, flight.time),
            law.batch(flight.state[:, None], np.array([flight.time]))[:, 0],
            atol=1e-12,
        )
        seen, reward, terminated, _, info = one.step(action)
        rows, rewards, _, _, infos = many.step(action[None])
        np.testing.assert_array_equal(seen, rows[0])
        assert reward == rewards[0]
        for key in ("cost", "constraint_values", "state"):
            np.testing.assert_array_equal(info[key], infos[key][0])
        assert not terminated
        u = 0.5 * (np.clip(info.get("action_safe", action), -1, 1).astype(np.float64) + 1.0)
        x, wanted = flight.state, flight.reference.at(flight.time)
        cost = 10 * ((x[:3] - wanted.position) ** 2).sum() + ((x[3:6] - wanted.velocity) ** 2).sum()
        cost += 2 * (x[7:10] ** 2).sum() + 0.02 * (x[10:] ** 2).sum()
        cost += 2 * ((u - vehicle.hover_thrusts) ** 2).sum()
        assert reward == pytest.approx(-0.01 * cost, rel=1e-9)
    if name == "Safe/Quadrotor-v0":
        assert np.linalg.norm(flight.state[:3] - wanted.position) < 0.02


@native
def test_single_precision_arguments_do_not_lower_the_precision_of_flights():
    """NumPy keeps float32 in sums with Python's floats, but not in those with float64 arrays."""
    mass, scale = np.float32(0.027), np.float32(1.1)
    reference = FigureEight(period=np.float32(6.1))
    same = {"vehicle": replace(CRAZYFLIE, mass=float(mass)), "mass_scale": float(scale)}
    given = {"vehicle": replace(CRAZYFLIE, mass=mass), "mass_scale": scale, "reference": reference}
    same["reference"] = FigureEight(period=float(np.float32(6.1)))
    envs = [gym.make("Safe/QuadrotorZCBF-v0", **one) for one in (same, given)]
    batch = gym.make_vec("Safe/QuadrotorZCBF-v0", num_envs=1, **given)
    start = {"state": np.array([0.9, 0.4, 1.0, *np.zeros(3), 1.0, *np.zeros(6)]), "time": 1.0}
    for env in envs:
        env.reset(options=start)
    batch.reset(options={"state": {name: np.array([part]) for name, part in start.items()}})
    for _ in range(20):
        action = np.array([0.1, -0.1, 0.0, -0.2], dtype=np.float32)
        expected, found = (env.step(action) for env in envs)
        rows = batch.step(action[None])
        assert type(found[1]) is type(expected[1])
        assert found[1] == expected[1] == rows[1][0]
        for state in (found[4]["state"], rows[4]["state"][0]):
            assert np.array_equal(state, expected[4]["state"])


def test_learned_metrics_are_refused_for_own_vehicles():
    with pytest.raises(ValueError, match="'fqi' was learned with the Crazyflie.*pass 'lqr'"):
        gym.make("Safe/QuadrotorZCBF-v0", vehicle=LOADED, metric="fqi")
    env = SafetyFilter(gym.make("Safe/Quadrotor-v0", vehicle=LOADED))
    np.testing.assert_array_equal(env.metric, floored(hover_metric(LOADED, 0.01)))


GIVEN = {
    "mass": 0.03, "inertia": (1.4e-5, 1.4e-5, 2.2e-5), "rotor_x": (0.03, -0.03, -0.03, 0.03),
    "rotor_y": (-0.03, -0.03, 0.03, 0.03), "spin": (-1, 1, -1, 1), "torque_ratio": 0.02,
    "largest_thrust": 0.15, "radius": 0.06,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"mass": 0.0}, "mass is 0.0; pass a positive number"),
        ({"torque_ratio": -1.0}, "torque_ratio is -1.0; pass a positive number"),
        ({"radius": -1.0}, "radius is -1.0; pass a number >= 0"),
        ({"inertia": (1.0, 2.0)}, r"inertia is \[1.0, 2.0\]; pass three moments, or a symmetric"),
        ({"inertia": "flat"}, "inertia is 'flat' .*; pass three moments"),
        ({"inertia": (1e-5, 1e-5, 3e-5)}, "none can exceed the sum of the other two"),
        ({"inertia": (1e-5, -1e-5, 1e-5)}, "has a principal moment of -1e-05"),
        ({"inertia": np.eye(3) + np.eye(3, k=1)}, "is not symmetric"),
        ({"inertia": np.eye(3), "products": (1, 0, 0)}, "leave out products"),
        ({"rotor_x": (0.1, 0.2)}, r"rotor_x has shape \(2,\); pass an array of shape \(4,\)"),
        ({"spin": (1, 2, 1, 1)}, "pass 1 or -1 for each rotor"),
        ({"spin": (-1, -1, 1, 1)}, "cannot set thrust and the torques"),
        ({"rotor_y": (0.0, 0.0, 0.0, 0.0)}, "cannot set thrust and the torques"),
    ],
)
def test_impossible_vehicles_are_refused(changed, message):
    Vehicle(**GIVEN)
    with pytest.raises(ValueError, match=message):
        Vehicle(**(GIVEN | changed))


def test_vehicles_that_cannot_hover_are_refused():
    with pytest.raises(ValueError, match="the four rotors lift 0.4 N together, but the vehicle"):
        gym.make("Safe/Quadrotor-v0", vehicle=replace(Vehicle(**GIVEN), largest_thrust=0.1, mass=1))
    too_far = CRAZYFLIE.with_center_of_mass(0.03, 0.0)
    with pytest.raises(ValueError, match="would need -.*; move the center of mass closer"):
        gym.make("Safe/Quadrotor-v0", vehicle=too_far)
    weak = replace(CRAZYFLIE, largest_thrust=0.08).with_center_of_mass(0.01, 0.0)
    with pytest.raises(ValueError, match="would need 1.* of its largest thrust"):
        gym.make("Safe/Quadrotor-v0", vehicle=weak)
    with pytest.raises(ValueError, match="did you mean 'crazyflie'.*or a Vehicle"):
        gym.make("Safe/Quadrotor-v0", vehicle="crazyfly")
    with pytest.raises(ValueError, match="reference is 'eight'; pass a FigureEight"):
        gym.make("Safe/Quadrotor-v0", reference="eight")
    with pytest.raises(ValueError, match="period is 0; pass a positive number"):
        FigureEight(period=0)


def test_own_vehicles_are_drawn():
    for vehicle in (OFF_CENTER, TUMBLING):
        env = gym.make("Safe/Quadrotor-v0", vehicle=vehicle, render_mode="rgb_array", obstacles=[])
        env.reset(seed=0)
        assert env.render().dtype == np.uint8
