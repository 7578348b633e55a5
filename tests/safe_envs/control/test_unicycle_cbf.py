"""The unicycle's dynamics and barriers against finite differences, and controlled episodes."""

import gymnasium as gym
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from safe_envs.action_constraints import RepairedActions, VectorRepairedActions
from safe_envs.contract.vector_env import AutoresetMode
from safe_envs.control.unicycle_barrier import (
    ALPHA,
    KAPPA,
    SCENES,
    EllipseBarrier,
    nominal_control,
    rates,
)
from safe_envs.control.unicycle_cbf import MAX_ACCELERATION
from safe_envs.safety_filters import SafetyFilter

ID = "Safe/UnicycleCBF-v0"
needs_vectors = pytest.mark.skipif(
    AutoresetMode is None, reason="native vector environments need Gymnasium 1.1"
)
scenes = pytest.mark.parametrize("scene", SCENES)


def random_states(count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform((-10, -2, -4, -6, -5), (2, 8, 4, 6, 5), size=(count, 5)).T.copy()


def level(scene, state):
    """e of every ellipse, from its definition."""
    px, py, theta = state[:3]
    q = np.array([px + 0.1 * np.cos(theta), py + 0.1 * np.sin(theta)])
    return np.array([((q[0] - cx) / rx) ** 2 + ((q[1] - cy) / ry) ** 2 - 1.0
                     for cx, cy, rx, ry in SCENES[scene].ellipses])  # fmt: skip


def flow(state, control, time):
    """The state after a time under a constant control, by a Runge-Kutta method of order 8."""

    def slope(_, x):
        theta, speed, turn = x[2:]
        return [speed * np.cos(theta), speed * np.sin(theta), turn, *control]

    solved = solve_ivp(slope, (0.0, time), state, method="DOP853", rtol=1e-13, atol=1e-13)
    return solved.y[:, -1]


@scenes
def test_rows_against_finite_differences(scene):
    """h and A u - b = h' + alpha h, from differences of e along the dynamics."""
    barrier = EllipseBarrier(SCENES[scene].ellipses)
    states = random_states(12)
    controls = np.random.default_rng(1).uniform(-30.0, 30.0, size=(2, 12))
    matrices, bounds = barrier.batch(states, states)
    step = 2e-4
    for i in range(12):
        x, u = states[:, i], controls[:, i]
        before, now, after = (level(scene, flow(x, u, s)) for s in (-step, 0.0, step))
        change = (after - before) / (2.0 * step)
        bend = (after - 2.0 * now + before) / step**2
        np.testing.assert_allclose(barrier.levels(states)[:, i], now, atol=1e-12)
        h = change + KAPPA * now
        np.testing.assert_allclose(barrier.values(states)[:, i], h, rtol=1e-5, atol=1e-4)
        expected = bend + KAPPA * change + ALPHA * h
        found = matrices[i] @ u - bounds[i]
        size = np.abs(matrices[i]).max() * 30.0 + np.abs(bounds[i])
        assert (np.abs(found - expected) <= 2e-5 * size + 1e-3).all()
        alone = barrier(x, u)
        np.testing.assert_array_equal(alone[0], matrices[i])
        np.testing.assert_array_equal(alone[1], bounds[i])


def test_rates_are_those_of_the_flow():
    states = random_states(20)
    controls = np.random.default_rng(1).normal(size=(2, 20))
    for i in range(20):
        x, u = states[:, i], controls[:, i]
        expected = (flow(x, u, 1e-4) - flow(x, u, -1e-4)) / 2e-4
        np.testing.assert_allclose(rates(states, controls)[:, i], expected, atol=1e-5)


@scenes
def test_one_step_by_hand(scene, make_env):
    env = make_env(ID, scene=scene)
    state, action = np.array([-4.0, -1.0, 0.3, 1.5, -0.4]), np.array([0.2, -0.5])
    seen, _ = env.reset(options={"state": state})
    horizon = SCENES[scene].steps * SCENES[scene].time_step
    np.testing.assert_allclose(seen, [*state, horizon])
    seen, reward, terminated, _, info = env.step(action)
    dt, (px, py, theta, speed, turn) = SCENES[scene].time_step, state
    reached = [px + dt * 1.5 * np.cos(0.3), py + dt * 1.5 * np.sin(0.3), theta - dt * 0.4,
               speed + dt * 10.0, turn - dt * 25.0]  # fmt: skip
    np.testing.assert_allclose(seen, [*reached, horizon - dt], atol=1e-12)
    price = 100.0 * (16.0 + 1.0) + 0.1 * (1.5**2 + 0.4**2) + 0.1 * (10.0**2 + 25.0**2)
    assert reward == pytest.approx(-dt * price)
    assert not terminated
    np.testing.assert_allclose(info["constraint_values"], -0.001 - level(scene, reached))
    assert info["cost"] == 0.0


def test_the_last_step_pays_for_the_distance(make_env):
    rewards = {}
    for weight in (0.0, None, 10.0):
        env = make_env(ID, terminal_weight=weight)
        env.reset(options={"state": [1.0, 2.0, 0.0, 0.0, 0.0]})
        for step in range(1, 56):
            seen, reward, terminated, _, _ = env.step([0.0, 0.0])
            assert terminated == (step == 55)
        np.testing.assert_allclose(seen, [1.0, 2.0, 0.0, 0.0, 0.0, 0.0], atol=1e-12)
        rewards[weight] = reward
    assert rewards[0.0] == pytest.approx(-0.04 * 500.0)
    assert rewards[None] == pytest.approx(-0.04 * 500.0 - 5000.0)
    assert rewards[10.0] == pytest.approx(-0.04 * 500.0 - 50.0)


def test_costs_inside_an_ellipse(make_env):
    together, apart = make_env(ID), make_env(ID, per_constraint=True)
    assert [c.name for c in apart.unwrapped.constraints] == ["ellipse_0", "ellipse_1", "ellipse_2"]
    for number, (cx, cy, rx, _) in enumerate(SCENES["snarenet"].ellipses):
        for inside in (0.99, 1.01):  # q, 0.1 m ahead
            state = [cx + inside * rx - 0.1, cy, 0.0, 0.0, 0.0]
            for env in (together, apart):
                env.reset(options={"state": state})
                info = env.step([0.0, 0.0])[4]
                assert info["cost"] == float(inside < 1.0)
            expected = np.zeros(3)
            expected[number] = float(inside < 1.0)
            np.testing.assert_array_equal(info["costs"], expected)


@scenes
def test_starts(scene, make_env):
    env = make_env(ID, scene=scene)
    barrier = EllipseBarrier(SCENES[scene].ellipses)
    starts = np.array([env.reset(seed=seed)[0] for seed in range(200)])
    assert (starts[:, :5] >= SCENES[scene].low).all()
    assert (starts[:, :5] <= SCENES[scene].high).all()
    assert (barrier.values(starts[:, :5].T) >= 0.0).all()
    assert (starts[:, 3:5] == 0.0).all()
    spread = starts[:, :3].max(axis=0) - starts[:, :3].min(axis=0)
    assert (spread > 0.3).all()


@needs_vectors
@scenes
def test_the_law_with_repaired_actions_enters_nothing(scene):
    """Without repair it does. HardNet's authors report 948 for this controller in their scene."""
    totals = {}
    for repairs in (False, True):
        env = gym.make_vec(ID, num_envs=100, scene=scene, terminal_weight=0.0)
        env = VectorRepairedActions(env) if repairs else env
        seen, _ = env.reset(seed=0)
        rewards, costs = np.zeros(100), np.zeros(100)
        for _ in range(SCENES[scene].steps):
            actions = nominal_control(seen[:, :5].T).T / MAX_ACCELERATION
            seen, reward, terminated, _, infos = env.step(actions)
            rewards, costs = rewards + reward, costs + infos["cost"]
            if repairs:
                assert infos["repair_feasible"].all()
        assert terminated.all()
        totals[repairs] = -rewards.mean(), costs
        env.close()
    assert not totals[True][1].any()
    assert (totals[False][1] > 0.0).all()
    if scene == "hardnet":
        assert totals[True][0] == pytest.approx(948.0, rel=0.03)


def test_noisy_proposals_enter_nothing_either(make_env):
    env = RepairedActions(make_env(ID))
    backup = env.unwrapped.backup_policy()
    rng = np.random.default_rng(0)
    for seed in range(4):
        seen, _ = env.reset(seed=seed)
        for _ in range(55):
            action = np.clip(backup(seen) + 0.3 * rng.normal(size=2), -1.0, 1.0)
            seen, *_, info = env.step(action)
            assert info["repair_feasible"]
        assert info["episode_cost"] == 0.0


@needs_vectors
def test_the_constraint_the_filter_and_the_backup_agree(make_env):
    env, filtered = make_env(ID), SafetyFilter(make_env(ID), metric="euclidean")
    venv = gym.make_vec(ID, num_envs=1)
    backup = env.unwrapped.backup_policy()
    seen, _ = env.reset(seed=3)
    filtered.reset(seed=3)
    venv.reset(seed=3)
    active = 0
    for _ in range(54):
        action = nominal_control(seen[:5, None])[:, 0] / MAX_ACCELERATION
        safe = backup(seen)
        np.testing.assert_array_equal(venv.unwrapped.backup_policy()(seen[None])[0], safe)
        rows = env.unwrapped.action_constraint().rows(seen[None])
        assert (rows.values(safe[None]) >= rows.lower - 1e-9).all()
        plant = filtered.unwrapped.filter_plant()
        matrices, bounds = plant.barrier(plant.state(None), plant.decoded(action))
        np.testing.assert_allclose(rows.linear[0], MAX_ACCELERATION * matrices, rtol=1e-12)
        np.testing.assert_allclose(rows.lower[0], bounds, rtol=1e-12)
        info = filtered.step(action)[4]
        np.testing.assert_allclose(info["action_safe"], safe, atol=2e-3)
        active += info["filter_active"]
        # all continue from the same state
        seen = filtered.unwrapped.dynamics.observe(filtered.unwrapped.current_state("x"))[0]
    assert active > 20
    venv.close()


def test_refuses_arguments(make_env):
    with pytest.raises(ValueError, match=r"scene is 'hardnett'; did you mean 'hardnet'\? pass one"):
        make_env(ID, scene="hardnett")
    with pytest.raises(ValueError, match="terminal_weight is -1.0; pass a number >= 0"):
        make_env(ID, terminal_weight=-1.0)
    env = make_env(ID)
    with pytest.raises(ValueError, match="px, py, theta, v and omega"):
        env.reset(options={"state": [0.0, 0.0]})
    with pytest.raises(ValueError, match=r"observations have shape \(1, 5\); .* of shape \(B, 6\)"):
        env.unwrapped.action_constraint().rows(np.zeros((1, 5)))
