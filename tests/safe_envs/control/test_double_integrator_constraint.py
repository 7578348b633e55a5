"""Repaired forces against the invariant set and against a Lyapunov function."""

import gymnasium as gym
import numpy as np
import pytest

from safe_envs.action_constraints import (
    OffersActionConstraint,
    RepairedActions,
    VectorRepairedActions,
    repair_actions,
)
from safe_envs.contract.vector_env import AutoresetMode
from safe_envs.control.double_integrator_constraint import double_integrator_constraint
from safe_envs.control.double_integrator_plant import invariant_set_barrier
from safe_envs.control.double_integrator_reference import (
    BOX,
    linear_quadratic_regulator,
    next_states,
    safe_controller,
)

BARRIER = invariant_set_barrier()
VALUE = linear_quadratic_regulator().value_matrix
needs_vectors = pytest.mark.skipif(
    AutoresetMode is None, reason="native vector environments need Gymnasium 1.1"
)


def states_of_the_set(count, seed=0):
    """Directions, drawn out to 97 to 100 % of the way to the set's boundary."""
    rng = np.random.default_rng(seed)
    ways = rng.uniform((-15.0, -7.8), (15.0, 7.8), size=(count, 2))
    edge = ways / (ways @ BARRIER.normals.T / BARRIER.offsets).max(axis=1, keepdims=True)
    return edge * rng.uniform(0.97, 1.0 - 1e-12, size=(count, 1))


def value(states):
    return np.einsum("ni,ij,nj->n", states, VALUE, states)


def test_the_next_state_stays_in_the_set():
    states = states_of_the_set(500)
    proposals = np.random.default_rng(1).uniform(-1.5, 1.5, size=(len(states), 1))
    found = repair_actions(double_integrator_constraint(), states, proposals)
    assert found.feasible.all()
    reached = next_states(states, found.actions[:, 0])
    assert (reached @ BARRIER.normals.T - BARRIER.offsets).max() < 1e-9
    clipped = np.clip(proposals, -1.0, 1.0)
    free = next_states(states, clipped[:, 0])
    safe = (free @ BARRIER.normals.T <= BARRIER.offsets).all(axis=1)
    np.testing.assert_array_equal(found.actions[safe], clipped[safe])
    assert (~safe).sum() > 20


def test_repaired_forces_are_nearest_in_a_grid():
    """All 2001 forces are tried, with the set's definition: can the box be kept forever?"""
    states = states_of_the_set(400, seed=2)
    proposals = np.random.default_rng(2).uniform(-1.0, 1.0, size=(len(states), 1))
    found = repair_actions(double_integrator_constraint(), states, proposals).actions[:, 0]
    grid = np.linspace(-1.0, 1.0, 2001)
    changed = np.flatnonzero(found != proposals[:, 0])
    assert len(changed) > 15
    for i in changed:
        reached = next_states(np.repeat(states[i : i + 1], len(grid), axis=0), grid)
        kept = np.ones(len(grid), dtype=bool)
        for side in (-1.0, 1.0):  # full force, either way
            x = side * reached
            for _ in range(200):
                kept &= x[:, 0] <= BOX + 1e-12
                x = next_states(x, -np.ones(len(grid)))
        allowed = grid[kept]
        nearest = allowed[np.abs(allowed - proposals[i, 0]).argmin()]
        assert abs(nearest - found[i]) <= 1.001e-3


@needs_vectors
def test_episodes_from_the_set_never_leave_it():
    """Random forces, repaired, for 150 steps: none of them costs anything."""
    states = states_of_the_set(64, seed=3)
    env = VectorRepairedActions(gym.make_vec("Safe/DoubleIntegrator-v0", num_envs=len(states)))
    env.reset(seed=0, options={"state": states})
    rng, active = np.random.default_rng(4), 0
    for _ in range(150):
        # pushing to one side for long
        actions = np.sign(states[:, :1]) * rng.uniform(-0.2, 1.0, size=(len(states), 1))
        seen, *_, infos = env.step(actions)
        assert not infos["cost"].any()
        assert infos["repair_feasible"].all()
        assert (seen @ BARRIER.normals.T - BARRIER.offsets).max() < 1e-9
        active += infos["repair_active"].sum()
    assert active > 1000
    env.close()


def test_without_repair_they_do(make_env):
    for wrapper, cost in ((lambda env: env, 1.0), (RepairedActions, 0.0)):
        env = wrapper(make_env("Safe/DoubleIntegrator-v0"))
        env.reset(options={"state": [10.0, 2.0]})
        total = sum(env.step([1.0])[4]["cost"] for _ in range(100))
        assert (total > 0.0) == (cost > 0.0)


def test_states_outside_the_set_are_flagged():
    found = repair_actions(double_integrator_constraint(), np.array([[14.0, 5.0]]), np.ones((1, 1)))
    assert not found.feasible[0]
    assert found.actions[0, 0] == -1.0  # brakes


@pytest.mark.parametrize("decay", [0.95, 0.999])
def test_the_value_falls(decay):
    states = np.random.default_rng(5).uniform(-1.0, 1.0, size=(500, 2))
    proposals = np.random.default_rng(6).uniform(-1.0, 1.0, size=(500, 1))
    constraint = double_integrator_constraint("lyapunov", decay)
    found = repair_actions(constraint, states, proposals)
    falls = value(next_states(states, found.actions[:, 0])) <= decay * value(states) + 1e-9
    np.testing.assert_array_equal(found.feasible, falls)
    settled = np.abs(states @ linear_quadratic_regulator().gain) <= 1.0  # |K x| <= 1
    assert found.feasible[settled].all()
    # The optimal controller meets the row, and no allowed force of a grid is nearer.
    own = safe_controller(states)
    same = repair_actions(constraint, states[settled], own[settled, None])
    np.testing.assert_allclose(same.actions[:, 0], own[settled], atol=1e-9)
    grid = np.linspace(-1.0, 1.0, 2001)
    distance = np.abs(found.actions - proposals)[:, 0]
    for i in np.flatnonzero(found.feasible)[:100]:
        reached = next_states(np.repeat(states[i : i + 1], len(grid), axis=0), grid)
        allowed = grid[value(reached) <= decay * value(states[i : i + 1])]
        if len(allowed):
            assert distance[i] <= np.abs(allowed - proposals[i, 0]).min() + 1e-12


def test_the_origin_is_reached_under_the_lyapunov_row(make_env):
    env = make_env("Safe/DoubleIntegrator-v0")
    env = RepairedActions(env, env.unwrapped.action_constraint(kind="lyapunov"))
    env.action_space.seed(0)
    seen, _ = env.reset(options={"state": [0.5, -0.3]})
    start = value(seen[None])[0]
    for step in range(1, 101):
        seen = env.step(env.action_space.sample())[0]
        assert value(seen[None])[0] <= 0.95**step * start + 1e-6
    assert np.abs(seen).max() < 0.05


def test_where_the_value_cannot_fall_it_rises_least():
    states = np.array([[14.0, 3.0]])
    found = repair_actions(double_integrator_constraint("lyapunov"), states, np.array([[0.7]]))
    grid = np.linspace(-1.0, 1.0, 2001)
    best = grid[value(next_states(np.repeat(states, len(grid), axis=0), grid)).argmin()]
    assert not found.feasible[0]
    assert found.actions[0, 0] == pytest.approx(best, abs=1e-3)


@needs_vectors
def test_both_forms_offer_it(make_env):
    env = make_env("Safe/DoubleIntegrator-v0").unwrapped
    venv = gym.make_vec("Safe/DoubleIntegrator-v0", num_envs=2)
    states = states_of_the_set(20)
    for kind in ("invariant_set", "lyapunov"):
        one, many = env.action_constraint(kind), venv.unwrapped.action_constraint(kind)
        assert one.meaning == many.meaning
        for ours, theirs in zip(one.rows(states)[:3], many.rows(states)[:3], strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert isinstance(env, OffersActionConstraint)
    assert isinstance(venv.unwrapped, OffersActionConstraint)
    venv.close()


def test_refuses_arguments(make_env):
    env = make_env("Safe/DoubleIntegrator-v0").unwrapped
    with pytest.raises(ValueError, match=r"kind is 'lyapunow'; did you mean 'lyapunov'\? pass one"):
        env.action_constraint(kind="lyapunow")
    with pytest.raises(ValueError, match=r"decay is 1.5; pass a number in \(0, 1\]"):
        env.action_constraint(kind="lyapunov", decay=1.5)
    with pytest.raises(ValueError, match=r"observations have shape \(3,\); pass a batch of the "):
        env.action_constraint().rows(np.zeros(3))
