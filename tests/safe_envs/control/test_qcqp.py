import gymnasium as gym
import numpy as np
import pytest

import safe_envs
from safe_envs.action_constraints import OffersActionConstraint, violation
from safe_envs.contract.vector_env import AutoresetMode
from safe_envs.control.qcqp import QCQPEnv, QuadraticBatch
from safe_envs.control.quadratic_families import QuadraticFamily

needs_vectors = pytest.mark.skipif(
    AutoresetMode is None, reason="native vector environments need Gymnasium 1.1"
)


@pytest.fixture
def small():
    """Two unknowns: y1 - y2 = x, y1^2 + y2^2 <= 0.5, f = y1^2/2 + y2^2/2 - y1 - y2."""
    return QuadraticFamily(
        curvature=np.ones(2),
        slope=-np.ones(2),
        sine=False,
        equalities=np.array([[1.0, -1.0]]),
        inequalities=np.zeros((1, 2)),
        bounds=np.array([0.5]),
        instances=np.zeros((1, 1)),
        squares=np.ones((1, 2)),
    )


@pytest.mark.parametrize(
    ("x", "y", "costs"),
    [
        (0.0, (0.5, 0.5), (0.0, 0.0)),
        (0.2, (0.5, 0.5), (0.0, 0.2)),
        (0.0, (1.0, 1.0), (1.5, 0.0)),
        (-0.5, (1.0, 0.0), (0.5, 1.5)),
        (0.00009, (0.0, 0.0), (0.0, 0.0)),  # within the tolerance
        (0.00011, (0.0, 0.0), (0.0, 0.00011)),
    ],
)
def test_costs_margins_and_reward_by_hand(small, x, y, costs):
    several = QuadraticBatch(small, per_constraint=True)
    assert [c.name for c in several.constraints] == ["inequality_0", "equality_0"]
    one = QuadraticBatch(small)
    states, actions = one.checked_states([[x]], 1), np.array([y])
    found, total = (d.step(states, actions, np.empty((1, 0))) for d in (several, one))
    np.testing.assert_allclose(found.costs, [costs], atol=1e-15)
    np.testing.assert_allclose(total.costs, [[sum(costs)]], atol=1e-15)
    left = y[0] ** 2 + y[1] ** 2 - 0.5, abs(y[0] - y[1] - x)
    np.testing.assert_allclose(found.margins, [np.array(left) - 1e-4], atol=1e-15)
    assert found.details["largest_violation"] == pytest.approx([max(0.0, *left)], abs=1e-15)
    assert found.reward == pytest.approx([-0.5 * (y[0] ** 2 + y[1] ** 2) + y[0] + y[1]])
    assert found.terminated.all()


def test_optimum_by_hand_is_cached_and_checked(small):
    dynamics = QuadraticBatch(small)
    found = dynamics.optimum(np.zeros(1))
    np.testing.assert_allclose(found.outputs, 0.5, atol=1e-8)
    assert found.value == pytest.approx(-0.75, abs=1e-8)
    assert dynamics.optimum([0.0]) is found
    with pytest.raises(ValueError, match=r"x has shape \(2,\); pass an array of shape \(1,\)"):
        dynamics.optimum(np.zeros(2))


def test_optimum_is_feasible_and_earns_the_most():
    """Nothing feasible earns more: A+ x, and repaired actions."""
    env = QCQPEnv(repair="active")
    env.action_space.seed(0)
    for seed in range(5):
        x, _ = env.reset(seed=seed)
        outputs, value = env.dynamics.optimum(x)
        assert np.abs(outputs).max() < env.dynamics.largest_action
        _, reward, *_, info = env.step(outputs.astype(np.float32))
        assert info["cost"] == 0.0
        assert reward == pytest.approx(-value, abs=1e-5)
        for action in (env.backup_policy()(x), env.action_space.sample()):
            env.reset(options={"state": x})
            _, reward, *_, info = env.step(action)
            assert info["cost"] == 0.0
            assert reward < -value + 1e-5


def test_mean_rewards_of_the_page():
    """Of A+ x over all instances, and of the optimum over 40 of them."""
    env = QCQPEnv()
    family = env.dynamics.family
    assert family.objective(family.shortest(family.instances)).mean() == pytest.approx(0.0296, 1e-2)
    best = [env.dynamics.optimum(x).value for x in family.instances[::250]]
    assert -np.mean(best) == pytest.approx(5.7655, abs=4 * np.std(best) / len(best) ** 0.5)


@needs_vectors
@pytest.mark.parametrize("rows", ["active", "all"])
def test_repaired_actions_meet_the_rows(rows):
    venv = gym.make_vec("Safe/QCQP-v0", num_envs=200, repair=rows)
    x, _ = venv.reset(seed=3)
    venv.action_space.seed(0)
    actions = venv.action_space.sample()
    infos = venv.step(actions)[4]
    reached = infos["repair_feasible"]
    assert reached.mean() == 1.0 if rows == "active" else reached.mean() > 0.9
    taken = infos["action_safe"]
    bounds = venv.action_constraint().rows(x)
    worst = violation(bounds.values(taken), bounds.lower, bounds.upper).max(axis=1)
    np.testing.assert_allclose(infos["largest_violation"], worst, rtol=1e-12)
    assert worst[reached].max() <= 1e-6
    assert (worst[~reached] > 1e-6).all()
    assert (infos["cost"][reached] == 0.0).all()
    np.testing.assert_allclose(infos["action_ref"], actions, rtol=1e-12)
    distance = np.linalg.norm(taken - actions, axis=1)
    np.testing.assert_allclose(infos["repair_correction"], distance, rtol=1e-6)
    assert (infos["repair_active"] == (distance > 0.0)).all()
    assert infos["repair_iterations"].min() > 0


def test_feasible_actions_stay_as_they_are():
    env = QCQPEnv(repair="active")
    x, _ = env.reset(seed=0)
    safe = env.backup_policy()(x).astype(np.float32)
    info = env.step(safe)[4]
    assert not info["repair_active"]
    assert (info["repair_correction"], info["repair_iterations"]) == (0.0, 0)
    np.testing.assert_array_equal(info["action_safe"], safe)


@needs_vectors
def test_rows_of_the_action_constraint_are_those_of_the_costs():
    """Actions inside of all rows cost nothing, others what they violate: random in and out."""
    env, venv = QCQPEnv(), gym.make_vec("Safe/QCQP-v0", num_envs=2)
    assert isinstance(env, OffersActionConstraint)
    assert isinstance(venv.unwrapped, OffersActionConstraint)
    constraint, family = env.action_constraint(), env.dynamics.family
    np.testing.assert_array_equal(constraint.high, env.action_space.high)
    np.testing.assert_array_equal(constraint.low, env.action_space.low)
    rng = np.random.default_rng(0)
    counts = {True: 0, False: 0}
    for _ in range(60):
        x, _ = env.reset(seed=int(rng.integers(2**31)))
        size = rng.choice([0.1, 1.0])
        safe = env.backup_policy()(x)
        action = np.float32(safe + size * family.null_space @ rng.normal(size=10))
        action = action if rng.random() < 0.7 else env.action_space.sample()
        rows = constraint.rows(x[None])
        answer = np.clip(action.astype(np.float64), constraint.low, constraint.high)[None]
        broken = violation(rows.values(answer), rows.lower, rows.upper)[0]
        cost = env.step(action)[4]["cost"]
        counts[cost == 0.0] += 1
        assert cost == pytest.approx(broken[broken > 1e-4].sum(), rel=1e-9)
    assert min(counts.values()) > 15


def test_backup_policy_is_feasible_everywhere():
    env = QCQPEnv()
    family, policy = env.dynamics.family, env.backup_policy()
    actions = policy(family.instances)
    assert np.abs(actions).max() < env.dynamics.largest_action
    rows = family.rows(family.instances)
    assert violation(rows.values(actions), rows.lower, rows.upper).max() < 1e-12
    shortest = np.linalg.lstsq(family.equalities, family.instances[3], rcond=None)[0]
    np.testing.assert_allclose(policy(family.instances[3]), shortest, atol=1e-12)


@needs_vectors
def test_many_rows_step_as_single_ones():
    venv = gym.make_vec("Safe/QCQP-v0", num_envs=6, per_constraint=True, repair="active")
    x, _ = venv.reset(seed=1)
    venv.action_space.seed(2)
    actions = venv.action_space.sample()
    _, rewards, ended, _, infos = venv.step(actions)
    assert ended.all()
    env = QCQPEnv(per_constraint=True, repair="active")
    for row in range(6):
        env.reset(options={"state": x[row]})
        _, reward, *_, info = env.step(actions[row])
        assert rewards[row] == pytest.approx(reward, rel=1e-9)
        for key, value in info.items():
            np.testing.assert_allclose(infos[key][row], value, rtol=1e-7, atol=1e-9, err_msg=key)


def test_costs_sum_to_the_cost_in_both_forms():
    one, several = QCQPEnv(), QCQPEnv(per_constraint=True)
    assert len(several.constraints) == 20
    for env in (one, several):
        env.action_space.seed(0)
        env.reset(seed=0)
    infos = [env.step(env.action_space.sample())[4] for env in (one, several)]
    assert infos[0]["cost"] == pytest.approx(infos[1]["costs"].sum(), rel=1e-12)
    assert infos[0]["cost"] == pytest.approx(infos[1]["cost"], rel=1e-12)
    assert safe_envs.declared_constraints(one)[0].limit == 0.0


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"equalities": 20}, "equalities is 20 and outputs is 20, .* pass equalities < 20"),
        ({"quadratic": 11}, "quadratic is 11, of 10 inequalities; pass at most 10"),
        ({"outputs": 0}, "outputs is 0; pass a whole number >= 1"),
        ({"quadratic": -1}, "quadratic is -1; pass a whole number >= 0"),
        ({"repair": "Active"}, "repair is 'Active'; did you mean 'active'"),
        ({"tolerance": -1.0}, "tolerance is -1.0; pass a number >= 0"),
        ({"largest_action": 0.0}, "largest_action is 0.0; pass a positive number"),
        ({"per_constraint": "yes"}, "per_constraint is 'yes'; pass True or False"),
        ({"family_seed": 0.5}, "family_seed is 0.5; pass a whole number >= 0"),
    ],
)
def test_refused_arguments(arguments, error):
    with pytest.raises(ValueError, match=error):
        QCQPEnv(**arguments)


def test_refused_states():
    env = QCQPEnv()
    with pytest.raises(ValueError, match=r"state has shape \(1, 3\); pass .* shape \(1, 10\)"):
        env.reset(options={"state": np.zeros(3)})
