"""The quadrotor task: reward, costs, starts, ends and options, recomputed from the states."""

import copy
import pickle
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest

from safe_envs.contract.checked_rollout import checked_rollout
from safe_envs.contract.vector_checks import check_native_form
from safe_envs.contract.vector_env import AutoresetMode
from safe_envs.quadrotor.dynamics import CALM, step
from safe_envs.quadrotor.env import QuadrotorEnv
from safe_envs.quadrotor.geometric_controller import GeometricLaw
from safe_envs.quadrotor.starts import keeps_clear
from safe_envs.quadrotor.vehicle import CRAZYFLIE, HUMMINGBIRD

LEVEL = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]


def on_reference(env, time=0.0):
    point = env.reference.at(time)
    return {"state": np.concatenate([point.position, point.velocity, LEVEL]), "time": time}


def fly(env, steps, controller=None):
    """Follow the reference; return rewards, infos, errors to the reference, and the last ends."""
    controller = controller or GeometricLaw(env.vehicle, env.reference, env.control_dt)
    rewards, infos, errors = [], [], []
    for _ in range(steps):
        _, reward, terminated, _, info = env.step(env.action_of(controller(env.state, env.time)))
        rewards.append(reward)
        infos.append(info)
        errors.append(np.linalg.norm(env.state[:3] - env.reference.at(env.time).position))
        if terminated:
            break
    return rewards, infos, np.array(errors), terminated


def test_numbers_of_the_vehicles():
    """Hover shares 1 / thrust-to-weight; largest accelerations by hand from the data sheets."""
    assert CRAZYFLIE.hover_thrust == pytest.approx(1 / 2.25)
    assert HUMMINGBIRD.hover_thrust == pytest.approx(1 / 4)
    largest = 2.25 * 0.027 * 9.81 / 4
    assert CRAZYFLIE.largest_thrust == pytest.approx(largest)
    roll = CRAZYFLIE.mixer @ [0, 0, 1, 1] / [1, *CRAZYFLIE.inertia]
    assert roll[1] == pytest.approx(2 * largest * 0.0397 / 2**0.5 / 1.4e-5)  # 597 rad/s^2
    assert roll[2] == pytest.approx(0, abs=1e-9)
    yaw = CRAZYFLIE.mixer @ [0, 1, 0, 1] / [1, *CRAZYFLIE.inertia]
    assert yaw[3] == pytest.approx(2 * largest * 7.94 / 316 / 2.17e-5)  # 345 rad/s^2
    with pytest.raises(ValueError, match="read-only"):
        CRAZYFLIE.mixer[0, 0] = 1.0


@pytest.mark.parametrize("vehicle", ["crazyflie", "hummingbird"])
def test_derivatives_of_the_reference(vehicle):
    reference = QuadrotorEnv(vehicle=vehicle).reference
    times, h = np.linspace(0, reference.period, 57), 1e-5
    before, point, after = (reference.at(times + shift) for shift in (-h, 0.0, h))
    for order in range(3):
        difference = (after[order] - before[order]) / (2 * h)
        np.testing.assert_allclose(difference, point[order + 1], atol=1e-8)
    w = 2 * np.pi / reference.period
    np.testing.assert_allclose(
        point.position.T,
        np.stack(
            [
                reference.length * np.sin(w * times),
                reference.width * np.sin(2 * w * times),
                np.ones(57),
            ],
            axis=1,
        ),
        atol=1e-12,
    )
    np.testing.assert_allclose(reference.at(times[3]).velocity, point.velocity[:, 3], atol=1e-12)


@pytest.mark.parametrize("scene", ["spheres", "column"])
def test_reward_costs_and_observation_from_the_state(scene):
    env = QuadrotorEnv(scene=scene, per_constraint=True)
    env.action_space.seed(1)
    total = 0.0
    for seed in range(3):
        env.reset(seed=seed)
        episode_cost = 0.0
        for k in range(1, 60):
            action = np.clip(0.3 * env.action_space.sample() - 0.1, -1, 1)
            observation, reward, terminated, _, info = env.step(action)
            x, point = info["state"], env.reference.at(env.time)
            e_p, e_v = x[:3] - point.position, x[3:6] - point.velocity
            u = (np.asarray(action, np.float64) + 1) / 2
            loss = 10 * e_p @ e_p + e_v @ e_v + 2 * x[7:10] @ x[7:10] + 0.02 * x[10:] @ x[10:]
            loss += 2 * ((u - 4 / 9) ** 2).sum()
            expected = -0.01 * loss - (terminated * (600 - k) * 0.01 * 40)
            assert reward == pytest.approx(expected, rel=1e-9, abs=1e-12)
            distances = np.linalg.norm(x[:3] - env.centers, axis=1)
            np.testing.assert_allclose(info["constraint_values"], 0.31 - distances, atol=1e-12)
            np.testing.assert_array_equal(info["costs"], distances < env.radii)
            assert info["cost"] == info["costs"].sum()
            episode_cost += info["cost"]
            assert info["episode_cost"] == episode_cost
            seen = [x[:6], x[6:10] * np.copysign(1, x[6]), x[10:], -e_p, -e_v]
            seen = np.concatenate([*seen, (env.centers - x[:3]).ravel(), env.radii])
            np.testing.assert_allclose(observation, seen, rtol=1e-6, atol=1e-6)
            if terminated:
                break
        total += episode_cost
    assert observation.shape == {"spheres": (35,), "column": (187,)}[scene]
    assert env.cost_space.shape == {"spheres": (4,), "column": (42,)}[scene]


def test_time_on_the_reference_is_exact():
    """The phase advances by rotations; after 600 of them it is still the analytic one."""
    env = QuadrotorEnv()
    env.reset(seed=0, options=on_reference(env, 1.234))
    fly(env, 600)
    assert env.time == pytest.approx(1.234 + 6.0, abs=1e-11)
    x, y, vx, vy, _ = env._scalar._target(env.current_state("this").phase)
    point = env.reference.at(env.time)
    np.testing.assert_allclose([x, y], point.position[:2], atol=1e-11)
    np.testing.assert_allclose([vx, vy], point.velocity[:2], atol=1e-11)


@pytest.mark.parametrize("vehicle", ["crazyflie", "hummingbird"])
def test_controller_follows_the_reference(vehicle):
    """An independent implementation reports a root mean square error of 0.0028 m (Crazyflie)."""
    env = QuadrotorEnv(vehicle=vehicle)
    env.reset(seed=0, options=on_reference(env))
    _, infos, errors, terminated = fly(env, 600)
    assert not terminated
    assert np.sqrt((errors**2).mean()) < 0.003
    assert infos[-1]["episode_cost"] > 100


@pytest.mark.parametrize("scene", ["spheres", "column"])
@pytest.mark.parametrize("vehicle", ["crazyflie", "hummingbird"])
def test_starts_are_clear_of_the_obstacles(scene, vehicle):
    """The condition again from finite differences of the barrier along the free straight flight."""
    env = QuadrotorEnv(scene=scene, vehicle=vehicle)
    for seed in range(25):
        env.reset(seed=seed)
        x, centers = env.state, env.centers
        np.testing.assert_array_equal(x[6:], LEVEL)

        def barrier(t, x=x, centers=centers):
            position = x[:3] + t * x[3:6]
            return ((position - centers) ** 2).sum(axis=1) - (env.radii + 0.03) ** 2

        h = 1e-4
        rate = (barrier(h) - barrier(-h)) / (2 * h)
        curvature = (barrier(h) - 2 * barrier(0) + barrier(-h)) / h**2
        assert (barrier(0) > 0.05).all()
        assert (rate + 4 * barrier(0) > -1e-6).all()
        assert (curvature + 8 * rate + 16 * barrier(0) > -1e-4).all()
        error = x[:3] - env.reference.at(env.time).position
        assert np.abs(error).max() < 6 * 0.03


def test_starts_without_the_condition_would_collide():
    """What the redraws leave out: a state that flies at a sphere half a meter ahead."""
    position, velocity = np.zeros((3, 1, 2)), np.zeros((3, 1, 2))
    velocity[0] = [[1.5, -1.5]]
    centers, radii = np.array([[[0.5], [0.0], [0.0]]]), np.array([0.31])
    assert keeps_clear(position, velocity, centers, radii).tolist() == [[False, True]]


def test_options_of_reset():
    env = QuadrotorEnv(scene="column")
    shifts = np.array([[0.05, -0.02], [-0.06, 0.06]])
    env.reset(seed=0, options={"offsets": shifts})
    shifted = env.centers
    env.reset(options={"state": [0, 0, 1, 0, 0, 0, -2, 0, 0, 0, 0, 0, 0], "offsets": 0 * shifts})
    moved = shifted - env.centers
    normals = np.array([moved[0] - [0, 0, -0.02], moved[21] - [0, 0, 0.06]]) / shifts[:, :1]
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0)
    for normal, share in zip(normals, (0.1, 0.6), strict=True):
        velocity = env.reference.at(share * 6.0).velocity
        assert normal @ velocity == pytest.approx(0, abs=1e-12)
        assert np.cross(velocity, normal)[2] > 0  # to the left
    np.testing.assert_array_equal(env.state[6:10], [-1, 0, 0, 0])  # normalized
    assert env.time == 0.0
    env.reset(seed=0, options={"time": 2.75})
    assert env.time == 2.75
    with pytest.raises(ValueError, match=r"no start clear .* at time 0\.6 .* pass another time"):
        env.reset(options={"time": 0.6})  # inside the first column


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"state": [0.0] * 12}, r"state has shape \(1, 12\); pass an array of shape \(1, 13\)"),
        ({"state": [0.0] * 13}, r"quaternion, entries 6 to 9, is zero; pass \(1, 0, 0, 0\)"),
        ({"state": [np.nan] * 13}, "state .* contains NaN or infinite entries"),
        ({"time": "noon"}, "time is 'noon', not numbers; pass"),
        ({"offsets": [0.0]}, r"offsets has shape .*; pass an array of shape \(1, 4, 2\)"),
    ],
)
def test_refuses_options_that_mean_nothing(options, message):
    with pytest.raises(ValueError, match=message):
        QuadrotorEnv().reset(seed=0, options=options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scene": "forest"}, "scene is 'forest'; pass one of 'spheres', 'column'"),
        ({"vehicle": "heron"}, "vehicle is 'heron'; pass one of 'crazyflie', 'hummingbird'"),
        ({"wind": (1.0, 2.0)}, r"wind has shape \(2,\); pass an array of shape \(3,\): a force"),
        ({"wind": 3.0}, r"wind has shape \(\); pass an array of shape \(3,\): a force"),
        ({"gust": -1.0}, "gust is -1.0; pass a number >= 0"),
        ({"gust": "0.1"}, "gust is '0.1'; pass a number >= 0"),
        ({"motor_lag": np.nan}, "motor_lag is nan; pass a number >= 0"),
        ({"mass_scale": 0.0}, "mass_scale is 0.0; pass a positive number"),
        ({"cost_limits": 0.0, "per_constraint": True}, "'obstacle_0'.* pass 4 numbers"),
    ],
)
def test_refuses_impossible_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        QuadrotorEnv(**arguments)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ([2.1, 0, 1, 0, 0, 0, *LEVEL], "far from the reference"),
        ([0, 0, 0.021, 0, 0, -1, *LEVEL], "on the ground"),
        ([0, 0, 1, 0, 0, 0, 0.499, 0.8666, 0, 0, 0, 0, 0], "120 degrees"),
        ([0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1e30, 1e30, 0], "diverged"),
    ],
)
def test_ends_of_episodes(state, reason):
    env = QuadrotorEnv()
    env.reset(seed=0, options={"state": state})
    observation, reward, terminated, truncated, _ = env.step(env.action_of([4 / 9] * 4))
    assert (terminated, truncated) == (True, False), reason
    assert -300 < reward < -599 * 0.4, reason
    if reason == "diverged":  # the last finite state stays
        np.testing.assert_array_equal(env.state, state)
    else:
        assert np.isfinite(observation).all()


def test_dying_early_never_beats_hovering():
    env = gym.make("Safe/Quadrotor-v0", disable_env_checker=True)
    inner = env.unwrapped
    hover = inner.action_of([inner.vehicle.hover_thrust] * 4)
    rng = np.random.default_rng(0)

    def episode(seed, policy):
        env.reset(seed=seed)
        total, steps, over = 0.0, 0, False
        while not over:
            _, reward, terminated, truncated, _ = env.step(policy())
            total, steps, over = total + reward, steps + 1, terminated or truncated
        return total, steps

    policies = [
        lambda: rng.uniform(-1, 1, 4),
        lambda: hover + rng.normal(0, 0.6, 4),
        lambda: hover + rng.normal(0, 0.2, 4),
        lambda: -np.ones(4),
        lambda: np.array([1.0, -1, -1, 1]),
    ]
    for seed in range(10):
        hovered, lasted = episode(seed, lambda: hover)
        for policy in policies:
            total, steps = episode(seed, policy)
            assert steps < lasted
            assert total < hovered


def test_wind_mass_and_lag():
    """One step against the dynamics with these disturbances put in by hand."""
    env = QuadrotorEnv(wind=(0.02, -0.01, 0.03), mass_scale=1.2, motor_lag=0.05)
    env.reset(seed=0, options=on_reference(env))
    x = env.state
    env.step(np.array([0.5, 0.2, -0.3, 0.1]))
    u = (np.array([1.5, 1.2, 0.7, 1.1]) / 2 - 4 / 9) * (1 - np.exp(-0.01 / 0.05)) + 4 / 9
    heavy = replace(CRAZYFLIE, mass=1.2 * 0.027)
    expected = step(heavy, x, u, 0.01, wind=(0.02, -0.01, 0.03))
    np.testing.assert_allclose(env.state, expected, rtol=1e-12, atol=1e-12)
    assert env.vehicle == CRAZYFLIE


def test_gusts_have_the_deviation_and_memory_they_are_given():
    env = QuadrotorEnv(gust=0.05)
    rng, gust, forces = np.random.default_rng(0), CALM, []
    for _ in range(40_000):
        gust, force = env._scalar._blow(gust, rng)
        forces.append(force)
    forces = np.array(forces)
    np.testing.assert_allclose(forces.std(axis=0), 0.05, rtol=0.1)
    np.testing.assert_allclose(forces.mean(axis=0), 0.0, atol=0.012)
    correlation = np.mean(forces[50:] * forces[:-50], axis=0) / forces.var(axis=0)
    np.testing.assert_allclose(correlation, np.exp(-1.0), atol=0.08)


def test_terminates_on_collision_if_asked():
    env = QuadrotorEnv(terminate_on_collision=True)
    env.reset(seed=0)
    _, infos, _, terminated = fly(env, 600)
    assert terminated
    assert infos[-1]["cost"] == infos[-1]["episode_cost"] == 1.0


def test_same_seed_same_episode_and_copies_go_on_alike():
    first, second = QuadrotorEnv(gust=0.01, motor_lag=0.02), QuadrotorEnv(gust=0.01, motor_lag=0.02)
    for env in (first, second):
        env.action_space.seed(3)
        env.reset(seed=5)
    for _ in range(20):
        a, b = (env.step(env.action_space.sample()) for env in (first, second))
        np.testing.assert_array_equal(a[0], b[0])
        assert a[1] == b[1]
    copies = [copy.deepcopy(first), pickle.loads(pickle.dumps(first))]
    for _ in range(10):
        action = second.action_space.sample()
        states = [(env.step(action), env.state)[1] for env in (second, first, *copies)]
        assert all(np.array_equal(state, states[0]) for state in states)


def test_keeps_the_contract_with_all_options():
    options = {"wind": (0.01, 0.0, 0.0), "gust": 0.01, "mass_scale": 1.1, "motor_lag": 0.03}
    options |= {"terminate_on_collision": True, "per_constraint": True, "vehicle": "hummingbird"}
    rollout = checked_rollout(gym.make("Safe/Quadrotor-v0", **options), seed=0, steps=250)
    assert sum(t.terminated for t in rollout) > 1
    if AutoresetMode is not None:
        assert len(check_native_form("Safe/Quadrotor-v0", options, rollout, 4)) == 2


@pytest.mark.parametrize(
    ("action", "message"),
    [(np.full(4, np.nan), "contains NaN"), (np.zeros(3), r"pass an array of shape \(4,\)")],
)
def test_refuses_actions_that_mean_nothing(action, message):
    env = QuadrotorEnv()
    with pytest.raises(gym.error.ResetNeeded, match="call reset"):
        env.step(np.zeros(4))
    env.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.step(action)
    assert env.thrusts_of(np.array([-3.0, -1.0, 0.0, 9.0])).tolist() == [0.0, 0.0, 0.5, 1.0]
    np.testing.assert_allclose(env.action_of([0.0, 0.25, 0.5, 1.0]), [-1.0, -0.5, 0.0, 1.0])


def test_picture_shows_contact():
    pytest.importorskip("pygame")
    from safe_envs.rendering.frames import HAZARD

    env = QuadrotorEnv(render_mode="rgb_array")
    env.reset(seed=0, options=on_reference(env, 1.5))
    clear = env.render()
    env.reset(seed=0, options=on_reference(env, 0.6))
    touching = env.render()
    red = [(frame == HAZARD).all(axis=2).sum() for frame in (clear, touching)]
    assert red[0] == 0
    assert red[1] > 1000
