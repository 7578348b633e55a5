"""The double integrator's invariant set by backward reachability, and the filter that keeps it."""

import gymnasium as gym
import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.spatial import ConvexHull, HalfspaceIntersection

from safe_envs.contract.vector_env import AutoresetMode
from safe_envs.control.double_integrator_plant import (
    INPUT_MATRIX,
    STATE_MATRIX,
    invariant_set_barrier,
    value_curvature,
)
from safe_envs.control.double_integrator_reference import (
    BOX,
    in_controllable_set,
    linear_quadratic_regulator,
    next_states,
)
from safe_envs.safety_filters import (
    CERTIFIED_SLACK,
    SafetyFilter,
    VectorSafetyFilter,
    double_integrator_barrier,
)
from safe_envs.safety_filters.quadratic_program import SLACK_WEIGHT

BARRIER = invariant_set_barrier()
STEPS = 150

needs_vectors = pytest.mark.skipif(
    AutoresetMode is None, reason="native vector environments need Gymnasium 1.1"
)


def corners(halfspaces):
    """Return the corners (v, 2) of the polygon a x + b y + c <= 0, around the origin."""
    points = HalfspaceIntersection(halfspaces, np.zeros(2)).intersections
    return points[ConvexHull(points).vertices]


CORNERS = corners(np.column_stack([BARRIER.normals, -BARRIER.offsets]))


def states_of_the_set(count, seed=0):
    rng = np.random.default_rng(seed)
    states = rng.uniform((-15.0, -7.8), (15.0, 7.8), size=(4 * count, 2))
    return states[(states @ BARRIER.normals.T <= BARRIER.offsets).all(axis=1)][:count]


def test_the_rows_are_the_fixed_point_of_backward_reachability():
    """S <- {x in the box: A x + B u in S for some |u| <= 1}, by sums of corners and clipping."""
    sides = np.array([[1.0, 0.0, -BOX], [-1.0, 0.0, -BOX], [0.0, 1.0, -BOX], [0.0, -1.0, -BOX]])
    reached = corners(sides)
    sizes = []
    for _ in range(100):
        push = INPUT_MATRIX[:, 0]
        before = np.vstack([reached + push, reached - push]) @ np.linalg.inv(STATE_MATRIX).T
        reached = corners(np.vstack([ConvexHull(before).equations, sides]))
        sizes.append(ConvexHull(reached).volume)
    assert sizes[-1] == pytest.approx(sizes[-20], rel=1e-12)  # reached after 77 steps
    assert sizes[0] > 1.05 * sizes[-1]
    assert len(reached) == len(CORNERS) == len(BARRIER.offsets) == 156  # no row is redundant
    apart = np.abs(reached[:, None] - CORNERS).max(axis=2)
    assert apart.min(axis=0).max() < 1e-9
    assert apart.min(axis=1).max() < 1e-9


def test_the_set_contains_all_states_that_braking_keeps_in_the_box():
    """An exact stop in the last step needs up to dt^2 / 4 = 0.0025 m more than C_inf."""
    axis = np.linspace(-BOX, BOX, 201)
    states = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    inside = (states @ BARRIER.normals.T <= BARRIER.offsets + 1e-12).all(axis=1)
    stopped = in_controllable_set(states)
    assert not (stopped & ~inside).any()
    well_inside = (states @ BARRIER.normals.T <= BARRIER.offsets - 0.0025).all(axis=1)
    assert not (well_inside & ~stopped).any()
    assert well_inside.sum() > 10_000


@needs_vectors
@pytest.mark.parametrize("policy", ["random", "outward"])
def test_the_filtered_system_never_leaves_the_box(policy):
    """From 1,000 states of C_inf and from its 156 corners, with the environment's own barrier."""
    starts = np.concatenate([states_of_the_set(1000), CORNERS])
    env = VectorSafetyFilter(
        gym.make_vec("Safe/DoubleIntegrator-v0", num_envs=len(starts), max_episode_steps=None)
    )
    rng = np.random.default_rng(1)
    seen, _ = env.reset(seed=0, options={"state": starts})
    changed = 0
    for _ in range(STEPS):
        outward = np.sign(seen[:, :1] + seen[:, 1:])
        random = rng.uniform(-1.0, 1.0, size=(len(starts), 1))
        seen, _, _, _, info = env.step(random if policy == "random" else outward)
        assert not info["cost"].any()
        assert info["filter_slack"].max() <= CERTIFIED_SLACK
        changed += info["filter_active"].sum()
    assert not info["episode_cost"].any()
    assert changed > 10_000


def test_single_environments_never_leave_the_box_either():
    env = SafetyFilter(gym.make("Safe/DoubleIntegrator-v0"))
    rng = np.random.default_rng(2)
    for start in np.concatenate([states_of_the_set(10), CORNERS[::13]]):
        env.reset(seed=0, options={"state": start})
        for _ in range(STEPS):
            info = env.step(rng.uniform(-1.0, 1.0, 1))[4]
            assert info["cost"] == 0.0
        assert info["episode_cost"] == 0.0


def test_the_slack_alone_would_leave_the_set():
    """Without the margin, a fast state ends outside the box because of the slack."""
    for margin, kept in ((0.0, False), (BARRIER.margin, True)):
        barrier = type(BARRIER)(
            STATE_MATRIX, INPUT_MATRIX, BARRIER.normals, BARRIER.offsets, 1.0, margin
        )
        env = SafetyFilter(gym.make("Safe/DoubleIntegrator-v0"), barrier)
        env.reset(seed=0, options={"state": [-14.0, 7.2]})
        cost = 0.0
        for _ in range(STEPS):
            cost += env.step([1.0])[4]["cost"]
        assert (cost == 0.0) == kept


def independent_action(state, reference, metric):
    """Return u of min 1/2 W (u - u_ref)^2 + 1/2 rho eps^2, by the zero of its derivative.

    eps is what the most broken row, at length one, lacks.
    """
    rows, bounds = BARRIER(state, reference)
    normals, limits = np.sign(rows[:, 0]), bounds / np.abs(rows[:, 0])
    weight = float(metric[0, 0] / metric.trace())  # metrics are scaled to trace m

    def slope(u):
        missing = limits - normals * u
        worst = np.argmax(missing)
        eps = max(missing[worst], 0.0)
        return weight * (u - reference[0]) - SLACK_WEIGHT * eps * normals[worst]

    if slope(-1.0) >= 0.0:
        return -1.0
    if slope(1.0) <= 0.0:
        return 1.0
    return brentq(slope, -1.0, 1.0, xtol=1e-14, rtol=1e-14)


def test_actions_are_those_of_an_independent_quadratic_program():
    env = SafetyFilter(gym.make("Safe/DoubleIntegrator-v0"))
    rng = np.random.default_rng(3)
    active = 0
    for start in states_of_the_set(60, seed=4):
        seen, _ = env.reset(seed=0, options={"state": start})
        toward = np.array([1.0 if start.sum() > 0.0 else -1.0])
        for _ in range(int(rng.integers(1, 60))):
            state, reference = seen, toward * rng.uniform(0.5, 1.0)
            seen, _, _, _, info = env.step(reference)
        expected = independent_action(state, reference, value_curvature())
        assert abs(info["action_safe"][0] - expected) <= 1e-8
        active += info["filter_active"]
    assert active > 20


def test_the_curvature_is_that_of_the_riccati_value():
    """By central differences of -(x'x + u^2) - V(x'), V from the Riccati equation."""
    value = linear_quadratic_regulator().value_matrix
    x = np.array([[0.3, -0.2]])

    def q(u):
        reached = next_states(x, np.array([u]))[0]
        return -(x[0] @ x[0] + u * u) - reached @ value @ reached

    second = (q(0.1) - 2.0 * q(0.0) + q(-0.1)) / 0.01
    np.testing.assert_allclose(value_curvature(), [[-second]], rtol=1e-9)
    env = SafetyFilter(gym.make("Safe/DoubleIntegrator-v0"), double_integrator_barrier())
    np.testing.assert_allclose(env.metric, value_curvature())


@pytest.mark.parametrize("scale", [1.0, 1.0 / 15.0])
def test_wrappers_may_change_the_observations_below_the_filter(scale):
    """The filter reads the environment's own state, which the caller cannot change either."""
    inner = gym.make("Safe/DoubleIntegrator-v0", disable_env_checker=True)
    seen = ScaledObservation(inner, scale)
    env = SafetyFilter(seen)
    observation, _ = env.reset(seed=0)
    cost, interventions = 0.0, 0
    for _ in range(STEPS):
        observation *= 0.0  # in place
        observation, *_, info = env.step(np.ones(1, np.float32))
        cost += info["cost"]
        interventions += info["filter_active"]
    assert cost == 0.0
    assert interventions > 50


class ScaledObservation(gym.ObservationWrapper):
    """Observations in other units."""

    def __init__(self, env, scale):
        super().__init__(env)
        self.scale = scale

    def observation(self, observation):
        return self.scale * observation
