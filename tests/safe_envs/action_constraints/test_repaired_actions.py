"""Repaired batches against a solver, and the wrappers around environments."""

import pickle

import gymnasium as gym
import numpy as np
import pytest

from safe_envs.action_constraints import (
    ActionConstraint,
    QuadraticRows,
    RepairedActions,
    RepairSettings,
    VectorRepairedActions,
    at_least,
    repair_actions,
    violation,
)
from safe_envs.contract.vector_env import AutoresetMode

needs_vectors = pytest.mark.skipif(
    AutoresetMode is None, reason="native vector environments need Gymnasium 1.1"
)
KEYS = ("action_ref", "action_safe", "repair_active", "repair_correction", "repair_feasible")


def constraint(rows, n):
    """A constraint whose rows are the same for all observations, in the box [-1, 1]."""
    return ActionConstraint(-np.ones(n), np.ones(n), lambda observations: rows, "a test's rows")


def violation_of(rows, actions):
    return violation(rows.values(actions), rows.lower, rows.upper).max(axis=1)


def solved(cvxpy, rows, raw):
    """Return the nearest allowed action of each instance; None where there is none."""
    found = []
    for i, y in enumerate(raw):
        u = cvxpy.Variable(len(y))
        length = np.linalg.norm(rows.linear[i], axis=1)
        g, low, high = (
            (rows.linear[i].T / length).T @ u,
            rows.lower[i] / length,
            rows.upper[i] / length,
        )
        limits = [u >= -1.0, u <= 1.0]
        limits += [g[j] >= low[j] for j in np.flatnonzero(np.isfinite(low))]
        limits += [g[j] <= high[j] for j in np.flatnonzero(np.isfinite(high))]
        program = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(u - y)), limits)
        program.solve(solver=cvxpy.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10)
        found.append(u.value if program.status.startswith("optimal") else None)
    return found


@pytest.mark.parametrize(("n", "k"), [(1, 3), (2, 1), (4, 1), (3, 4)])
def test_linear_rows_against_a_solver(n, k):
    cvxpy = pytest.importorskip("cvxpy")
    pytest.importorskip("clarabel")
    rng = np.random.default_rng(10 * n + k)
    count = 25
    lower = rng.normal(size=(count, k)) - 0.7 * k
    upper = np.where(rng.random((count, k)) < 0.5, lower + 3.0 * rng.random((count, k)), np.inf)
    scale = 10.0 ** rng.uniform(-1.0, 3.0, size=(count, k))  # long and short rows
    linear = rng.normal(size=(count, k, n)) * scale[:, :, None]
    rows = QuadraticRows(linear, lower * scale, upper * scale)
    raw = 1.5 * rng.normal(size=(count, n))
    found = repair_actions(constraint(rows, n), np.zeros((count, 1)), raw)
    assert (np.abs(found.actions) <= 1.0).all()
    raw = np.clip(raw, -1.0, 1.0)  # as in an environment
    nearest = solved(cvxpy, rows, raw)
    exact = n == 1 or k == 1
    for i, best in enumerate(nearest):
        assert found.feasible[i] == (best is not None)
        if best is not None:
            kept = np.linalg.norm(found.actions[i] - raw[i])
            least = np.linalg.norm(best - raw[i])
            assert kept >= least - 1e-4  # the solver's accuracy
            assert not exact or np.allclose(found.actions[i], best, atol=1e-4)
            assert kept <= 1.2 * least + 1e-4  # of steps: not the nearest, but near
    assert sum(best is not None for best in nearest) >= 8
    worst = violation_of(rows, found.actions)
    np.testing.assert_array_equal(found.feasible, worst <= 1e-6)


def test_rows_with_squares_are_met():
    rng = np.random.default_rng(0)
    rows = QuadraticRows(
        rng.normal(size=(50, 2, 3)), np.full((50, 2), -np.inf), rng.uniform(0.0, 1.0, (50, 2)),
        rng.uniform(0.0, 2.0, size=(50, 2, 3)),
    )  # fmt: skip
    raw = 2.0 * rng.normal(size=(50, 3))
    found = repair_actions(constraint(rows, 3), np.zeros((50, 1)), raw)
    assert found.feasible.all()  # 0 meets them all
    assert violation_of(rows, found.actions).max() <= 1e-6
    again = repair_actions(constraint(rows, 3), np.zeros((50, 1)), found.actions)
    np.testing.assert_array_equal(again.actions, found.actions)


def test_what_cannot_be_repaired_is_flagged():
    """NaN actions, rows that are not numbers, and rows that no action in the box meets."""
    matrices = np.array([[[1.0, 0.0]]] * 6)
    matrices[2, 0, 0], matrices[4, 0, 0] = np.nan, np.inf
    bounds = np.array([[0.5], [0.5], [0.5], [7.0], [0.5], [np.inf]])
    rows = QuadraticRows(matrices, bounds, np.full((6, 1), np.inf))
    raw = np.array([[0.0, 0.3], [np.nan, 0.0], [2.0, 0.0], [0.0, -0.2], [0.0, 0.1], [0.5, 0.6]])
    found = repair_actions(constraint(rows, 2), np.zeros((6, 1)), raw)
    assert found.feasible.tolist() == [True, False, False, False, False, False]
    expected = [[0.5, 0.3], [np.nan, 0.0], [1.0, 0.0], [1.0, -0.2], [0.0, 0.1], [1.0, 0.6]]
    np.testing.assert_array_equal(found.actions, expected)


def test_no_rows_leave_the_box():
    rows = at_least(np.zeros((1, 0, 2)), np.zeros((1, 0)))
    found = repair_actions(constraint(rows, 2), np.zeros((2, 1)), [[3.0, 0.0], [np.nan, 0.0]])
    assert found.feasible.tolist() == [True, False]
    np.testing.assert_array_equal(found.actions[0], [1.0, 0.0])


def test_rows_of_other_units():
    """u = 50 a + 3 with u_1 + 2 u_2 >= 4, and the step to u >= 4 in one number."""
    rows = at_least(np.array([[[1.0, 2.0]]]), np.array([[4.0]]), 50.0, 3.0)
    for action in np.random.default_rng(0).uniform(-1.0, 1.0, size=(20, 2)):
        u = 50.0 * action + 3.0
        slack = rows.values(action[None])[0, 0] - rows.lower[0, 0]
        assert slack == pytest.approx(u[0] + 2.0 * u[1] - 4.0)
    assert rows.upper[0, 0] == np.inf


def test_the_settings_are_used():
    rng = np.random.default_rng(3)
    linear = rng.normal(size=(30, 4, 3))
    lower = (linear * rng.uniform(-1.0, 1.0, size=(30, 1, 3))).sum(axis=2)  # some action meets them
    rows = at_least(linear, lower)
    raw = rng.normal(size=(30, 3))
    one = RepairSettings(max_iterations=1, damping=10.0)
    seen = np.zeros((30, 1))
    assert repair_actions(constraint(rows, 3), seen, raw, one).feasible.mean() < 0.9
    patient = RepairSettings(max_iterations=2000)
    assert repair_actions(constraint(rows, 3), seen, raw, patient).feasible.all()


def test_shapes_that_do_not_fit():
    rows = at_least(np.ones((1, 1, 2)), np.zeros((1, 1)))
    wanted = r"shape \(3, 2\); pass one of 2 numbers for each of the 4 observations, shape \(4, 2\)"
    with pytest.raises(ValueError, match=wanted):
        repair_actions(constraint(rows, 2), np.zeros((4, 1)), np.zeros((3, 2)))


def rollout(env, steps, seed):
    env.action_space.seed(seed)
    infos = [env.reset(seed=seed)[1]]
    for _ in range(steps):
        _, _, terminated, truncated, info = env.step(env.action_space.sample())
        infos.append(info)
        if terminated or truncated:
            infos.append(env.reset()[1])
    return infos


IDS = ("Safe/DoubleIntegrator-v0", "Safe/UnicycleCBF-v0", "Safe/Quadrotor-v0")


@pytest.mark.parametrize("constrained_id", IDS)
def test_infos_of_the_single_form(constrained_id, make_env):
    infos = rollout(RepairedActions(make_env(constrained_id)), 60, 0)
    size = infos[0]["action_ref"].shape
    active = 0
    for info in infos:
        assert info["action_ref"].shape == info["action_safe"].shape == size
        assert info["action_ref"].dtype == info["action_safe"].dtype == np.float64
        assert isinstance(info["repair_active"], np.bool_)
        assert isinstance(info["repair_feasible"], np.bool_)
        assert isinstance(info["repair_correction"], np.float64)
        change = np.linalg.norm(info["action_safe"] - info["action_ref"])
        assert info["repair_correction"] == pytest.approx(change, abs=1e-15)
        assert info["repair_active"] == (change > 0.0)
        active += info["repair_active"]
    assert not infos[0]["repair_active"]
    assert infos[0]["repair_feasible"]


def test_the_environment_takes_the_repaired_action(make_env):
    repaired, plain = (make_env("Safe/UnicycleCBF-v0") for _ in range(2))
    repaired = RepairedActions(repaired)
    repaired.reset(seed=0)
    plain.reset(seed=0)
    active = 0
    for _ in range(55):
        observation, reward, *_, info = repaired.step([0.5, 0.0])
        expected, own_reward, *_ = plain.step(info["action_safe"])
        np.testing.assert_array_equal(observation, expected)
        assert reward == own_reward
        active += info["repair_active"]
    assert active > 10


@needs_vectors
@pytest.mark.parametrize("constrained_id", IDS)
@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_the_native_form_repairs_as_single_environments_do(constrained_id, mode, make_env):
    single = RepairedActions(make_env(constrained_id, max_episode_steps=20))
    vector = VectorRepairedActions(
        gym.make_vec(constrained_id, num_envs=1, max_episode_steps=20, autoreset_mode=mode)
    )
    single.action_space.seed(3)
    last, infos = single.reset(seed=3)[1], vector.reset(seed=3)[1]
    ended = False
    for _ in range(45):
        for key in KEYS:
            np.testing.assert_allclose(infos[key][0], last[key], atol=1e-9, err_msg=key)
            assert infos[f"_{key}"].shape == (1,)
        action = single.action_space.sample()
        if ended and mode == "NextStep":
            last, ended = single.reset()[1], False
        else:
            if ended:
                single.reset()
            *_, terminated, truncated, last = single.step(action)
            ended = terminated or truncated
        _, _, terminations, truncations, infos = vector.step(action[None])
        assert (terminations[0] or truncations[0]) == ended
        if ended and mode == "SameStep":
            infos = infos["final_info"]
    vector.close()


def test_nan_and_calls_before_reset_are_refused(make_env):
    env = RepairedActions(make_env("Safe/DoubleIntegrator-v0"))
    with pytest.raises(gym.error.ResetNeeded, match=r"call reset\(\) before step"):
        env.step([0.0])
    env.reset(seed=0)
    with pytest.raises(ValueError, match="contains NaN; pass numbers"):
        env.step([np.nan])
    with pytest.raises(ValueError, match=r"action has shape \(2,\); pass an array of shape \(1,\)"):
        env.step([0.0, 0.0])


@needs_vectors
def test_the_native_form_refuses_nan_and_environments_without_a_constraint():
    env = VectorRepairedActions(gym.make_vec("Safe/DoubleIntegrator-v0", num_envs=2))
    env.reset(seed=0)
    with pytest.raises(ValueError, match="contains NaN; pass numbers"):
        env.step([[0.0], [np.nan]])
    env.close()
    other = gym.make_vec("Safe/ConstrainedRegression-v0", num_envs=2)
    with pytest.raises(TypeError, match="has none; use gymnasium.vector.SyncVectorEnv over envir"):
        VectorRepairedActions(other)
    other.close()


def test_environments_that_do_not_fit(make_env):
    with pytest.raises(TypeError, match=r"has no method action_constraint\(\); pass an ActionCon"):
        RepairedActions(gym.make("MountainCarContinuous-v0"))
    with pytest.raises(TypeError, match="the repair needs a Box action space with one axis; this "):
        RepairedActions(make_env("Safe/CliffWorld-v0"))
    rows = at_least(np.ones((1, 1, 2)), np.zeros((1, 1)))
    with pytest.raises(ValueError, match="the constraint is on 2 numbers, and actions have 1; "):
        RepairedActions(make_env("Safe/DoubleIntegrator-v0"), constraint(rows, 2))
    env = gym.wrappers.RescaleAction(
        make_env("Safe/DoubleIntegrator-v0"), np.float32(-2.0), np.float32(2.0)
    )
    with pytest.raises(ValueError, match=r"a wrapper changes the environment's actions to Box\(-2"):
        RepairedActions(env)


def test_a_constraint_of_ones_own():
    """Around any environment: actions of at most 0.25."""
    rows = at_least(np.array([[[-1.0]]]), np.array([[-0.25]]))
    env = RepairedActions(gym.make("MountainCarContinuous-v0"), constraint(rows, 1))
    env.reset(seed=0)
    info = env.step(np.array([0.9], dtype=np.float32))[4]
    np.testing.assert_allclose(info["action_safe"], [0.25])
    assert info["repair_active"]
    assert not env.step(np.array([0.1], dtype=np.float32))[4]["repair_active"]


@pytest.mark.parametrize("constrained_id", IDS)
def test_copies_go_on_alike(constrained_id, make_env):
    env = RepairedActions(make_env(constrained_id))
    env.reset(seed=0)
    copy = pickle.loads(pickle.dumps(env))
    action = env.action_space.sample()
    np.testing.assert_array_equal(env.step(action)[0], copy.step(action)[0])
    again = gym.make(env.spec, disable_env_checker=True)
    assert isinstance(again, RepairedActions)
    again.close()
