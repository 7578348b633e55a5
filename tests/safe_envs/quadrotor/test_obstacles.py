"""Custom obstacles: forms, costs by hand, both forms of the environment, and refusals."""

import copy
import pickle
from functools import partial

import gymnasium as gym
import numpy as np
import pytest

from safe_envs import check_constrained_env
from safe_envs.contract.vector_env import AutoresetMode
from safe_envs.quadrotor.env import QuadrotorEnv
from safe_envs.quadrotor.geometric_controller import GeometricLaw
from safe_envs.quadrotor.obstacles import MovingSpheres, SphereColumns, Spheres, groups_of
from safe_envs.quadrotor.scene import COLUMN

native = pytest.mark.skipif(
    AutoresetMode is None, reason="native vector environments need Gymnasium 1.1"
)

SPHERES = [(0.9, 0.4, 1.0, 0.3), (-0.9, -0.4, 1.0, 0.2)]


def swing(time):
    return [[0.8, 0.3 + 0.2 * np.sin(time), 1.0], [-0.8, 0.3 * np.cos(time), 1.0]]


MIXED = [
    SphereColumns([(0.8, 0.3)], 0.2, top=2.0),
    MovingSpheres(swing, 0.2),
    [(-0.5, 0.4, 1.0, 0.1)],
]
SCENES = {
    "none": ([], 0, 0),
    "spheres": (SPHERES, 2, 0),
    "one radius": (np.array([[0.9, 0.4, 1.0]]), 1, 0),
    "mixed": (MIXED, 11 + 2 + 1, 2),
    "moving": (swing, 2, 2),
}
NAMES = pytest.mark.parametrize("scene", SCENES)


def pilot(env):
    return GeometricLaw(env.unwrapped.vehicle, env.unwrapped.reference, env.unwrapped.control_dt)


@native
@NAMES
@pytest.mark.parametrize("name", ["Safe/Quadrotor-v0", "Safe/QuadrotorZCBF-v0"])
def test_both_forms_are_equal_and_costs_are_those_of_the_distances(scene, name):
    obstacles, count, moving = SCENES[scene]
    one = gym.make(name, obstacles=obstacles)
    many = gym.make_vec(name, num_envs=1, obstacles=obstacles)
    assert one.observation_space.shape == (19 + 4 * count + 3 * moving,)
    assert one.unwrapped.cost_space.high == [count]
    flight, law = one.unwrapped, pilot(one)
    seen, info = one.reset(seed=1)
    rows, _ = many.reset(seed=1)
    np.testing.assert_array_equal(seen, rows[0])
    for step in range(150):
        action = flight.action_of(law(flight.state, flight.time))
        seen, reward, _, _, info = one.step(action)
        rows, rewards, _, _, infos = many.step(action[None])
        np.testing.assert_array_equal(seen, rows[0])
        assert reward == rewards[0]
        distance = np.linalg.norm(flight.centers - flight.state[:3], axis=1)
        np.testing.assert_allclose(info["constraint_values"], flight.radii - distance, atol=1e-12)
        assert info["cost"] == (distance < flight.radii).sum() == infos["cost"][0]
        np.testing.assert_array_equal(info["state"], infos["state"][0])
        np.testing.assert_array_equal(
            seen[19 + 3 * count : 19 + 4 * count], flight.radii.astype("f")
        )
        if step == 50:
            one = pickle.loads(pickle.dumps(one))
            flight, many = one.unwrapped, copy.deepcopy(many)


def test_where_own_obstacles_are():
    env = gym.make("Safe/Quadrotor-v0", obstacles=MIXED).unwrapped
    env.reset(seed=0)
    heights = 0.2 * np.arange(11)
    column = np.stack([0.0 * heights + 0.8, 0.0 * heights + 0.3, heights], axis=1)
    expected = np.vstack([column, swing(env.time), [(-0.5, 0.4, 1.0)]])
    np.testing.assert_allclose(env.centers, expected)
    np.testing.assert_allclose(env.radii, np.array([0.2] * 13 + [0.1]) + 0.06)
    assert env.moving == (11, 12)
    env.reset(options={"offsets": np.full((3, 3), 0.1), "time": 2.0})
    expected[11:13] = swing(2.0)
    np.testing.assert_allclose(env.centers, expected + 0.1)
    np.testing.assert_array_equal(env.motion[0, :11], 0.0)


def test_columns_are_those_of_the_column_scene():
    (group,) = groups_of(SphereColumns([(0.3, 0.4)]))
    assert group.heights == pytest.approx(np.array(COLUMN[0].heights) + 1.0)
    assert set(group.radii) == {0.25}


def test_observations_show_how_spheres_move():
    """The last entries are velocities minus the vehicle's, by differences of the path."""
    env = gym.make("Safe/Quadrotor-v0", obstacles=swing).unwrapped
    seen, _ = env.reset(seed=2)
    for _ in range(3):
        velocity = (np.array(swing(env.time + 1e-5)) - swing(env.time - 1e-5)) / 2e-5
        np.testing.assert_allclose(seen[27:], (velocity - env.state[3:6]).ravel(), atol=1e-5)
        seen = env.step(env.action_space.sample())[0]


@native
def test_own_obstacles_draw_nothing_and_offsets_move_them():
    env = gym.make("Safe/Quadrotor-v0", obstacles=SPHERES).unwrapped
    for seed in (0, 1):
        env.reset(seed=seed)
        np.testing.assert_array_equal(env.centers, np.array(SPHERES)[:, :3])
    offsets = [[0.1, 0.0, 0.0], [0.0, 0.2, -0.1]]
    env.reset(options={"offsets": offsets})
    np.testing.assert_allclose(env.centers, np.array(SPHERES)[:, :3] + offsets)
    with pytest.raises(ValueError, match=r"offsets has shape \(1, 2, 2\); pass .* \(1, 2, 3\)"):
        env.reset(options={"offsets": np.zeros((2, 2))})
    many = gym.make_vec("Safe/Quadrotor-v0", num_envs=2, obstacles=swing)
    states = np.zeros((2, 13))
    states[:, [2, 6]] = 1.0
    many.reset(options={"state": {"state": states, "time": [0.0, 1.0]}})
    centers = many.unwrapped.centers
    np.testing.assert_allclose(centers[..., 0], swing(0.0))
    np.testing.assert_allclose(centers[..., 1], swing(1.0))


@native
def test_many_flights_are_those_of_single_ones_with_the_same_starts():
    many = gym.make_vec("Safe/Quadrotor-v0", num_envs=3, obstacles=MIXED)
    many.reset(seed=3)
    states, times = many.unwrapped.states, many.unwrapped.times
    rng = np.random.default_rng(0)
    actions = rng.uniform(-0.3, 0.1, (20, 3, 4)).astype(np.float32)
    rows = [many.step(action)[0] for action in actions]
    for i in range(3):
        one = gym.make("Safe/Quadrotor-v0", obstacles=MIXED)
        one.reset(options={"state": states[:, i], "time": times[i]})
        for action, row in zip(actions, rows, strict=True):
            np.testing.assert_array_equal(one.step(action[i])[0], row[i])


def test_per_constraint_has_one_for_each_sphere():
    env = gym.make("Safe/Quadrotor-v0", obstacles=SPHERES, per_constraint=True).unwrapped
    assert [each.name for each in env.constraints] == ["obstacle_0", "obstacle_1"]
    with pytest.raises(ValueError, match="per_constraint=True declares one .*; pass obstacles"):
        gym.make("Safe/Quadrotor-v0", obstacles=[], per_constraint=True)


def test_no_free_start_is_an_error():
    env = gym.make("Safe/Quadrotor-v0", obstacles=[(0.0, 0.0, 1.0, 3.0)])
    with pytest.raises(ValueError, match="no start clear of the obstacles in .* draws"):
        env.reset(seed=0)


@pytest.mark.filterwarnings("ignore:.*A Box observation space")
def test_own_obstacles_keep_the_cost_contract():
    assert check_constrained_env(partial(QuadrotorEnv, obstacles=swing), steps=60)


@pytest.mark.parametrize(
    ("scene", "backend"),
    [*((name, "drawing") for name in SCENES), ("none", "mujoco"), ("mixed", "mujoco")],
)
def test_own_obstacles_are_drawn(scene, backend):
    if backend == "mujoco":
        pytest.importorskip("mujoco")
    env = gym.make(
        "Safe/Quadrotor-v0", obstacles=SCENES[scene][0], render_mode="rgb_array",
        render_backend=backend,
    )  # fmt: skip
    env.reset(seed=0)
    first = env.render()
    for _ in range(5):
        env.step(np.full(4, -0.111, dtype=np.float32))
    assert (first != env.render()).any()
    env.close()


@pytest.mark.parametrize(
    ("obstacles", "message"),
    [
        ("tree", "obstacles is 'tree', not numbers; pass an array"),
        ([(1.0, 2.0)], r"obstacles have shape \(1, 2\); pass an array \(k, 4\)"),
        ([(1.0, 2.0, np.nan)], "contains NaN or infinite entries"),
        ([(1.0, 2.0, 3.0, -0.1)], r"radii are \[-0.1\]; pass a positive number"),
        (lambda time: [1.0, 2.0], r"centers\(0.0\) has shape \(2,\); pass an array"),
        (lambda time: [[0, 0, 1]] * (1 + (time > 0)), r"of shape \(2, 3\); return finite numbers"),
    ],
)
def test_wrong_obstacles_are_refused(obstacles, message):
    with pytest.raises(ValueError, match=message):
        gym.make("Safe/Quadrotor-v0", obstacles=obstacles)


def test_wrong_parts_are_refused():
    with pytest.raises(ValueError, match=r"radii have shape \(3,\); pass a positive number, or 1"):
        Spheres([(0, 0, 1)], [0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match=r"places has shape \(1, 3\); pass .* \(k, 2\)"):
        SphereColumns([(0, 0, 1)])
    with pytest.raises(ValueError, match="top is 0; pass a positive number"):
        SphereColumns([(0, 0)], top=0)
    with pytest.raises(TypeError, match="centers is 3; pass a function of the time"):
        MovingSpheres(3)
    with pytest.raises(ValueError, match=r"derivatives\(0.0\) is .* of shape \(2, 3\); return"):
        MovingSpheres(swing, derivatives=swing)
    with pytest.raises(TypeError, match="argument 'obstacle'; did you mean 'obstacles'"):
        gym.make("Safe/QuadrotorZCBF-v0", obstacle=SPHERES)
    with pytest.raises(ValueError, match="scene is 'sphere'; did you mean 'spheres'"):
        gym.make("Safe/Quadrotor-v0", scene="sphere")
