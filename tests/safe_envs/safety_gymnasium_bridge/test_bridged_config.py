"""Custom layouts and settings of navigation tasks, by the package's own names."""

import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest

from safe_envs.safety_gymnasium_bridge.task_config import settings_of
from safe_envs.safety_gymnasium_bridge.task_ids import TASKS

PLACES = [(0.9, 0.9), (-0.9, 0.2)]
LAYOUT = {
    "agent.locations": [(0.0, -1.0)],
    "goal.locations": [(0.0, 1.0)],
    "hazards.num": 2,
    "hazards.locations": PLACES,
    "hazards.size": 0.3,
    "hazards.keepout": 0.3,
}
ALL_TASKS = [
    task.id
    for task in TASKS.values()
    if task.group in ("navigation", "race") and task.id.startswith("SafetyPoint")
]


def places(env, kind):
    return np.array(vars(env.unwrapped.task)[kind].pos)[:, :2]


def rolled(env, steps=25, seed=3):
    env.action_space.seed(seed)
    rows = [env.reset(seed=seed)[0]]
    for _ in range(steps):
        observation, reward, *_, info = env.step(env.action_space.sample())
        rows.append(np.append(observation, (reward, info["cost"])))
    return np.concatenate(rows)


def test_the_layout_is_the_one_asked_for(make_env):
    env = make_env("SafetyPointGoal1-v0", config=LAYOUT)
    for seed in range(3):
        env.reset(seed=seed)
        np.testing.assert_allclose(places(env, "hazards"), PLACES, atol=1e-8)
        task = env.unwrapped.task
        np.testing.assert_allclose(task.agent.pos[:2], (0.0, -1.0), atol=1e-8)
        np.testing.assert_allclose(task.goal.pos[:2], (0.0, 1.0), atol=1e-8)
        assert task.model.geom("hazard0").size[0] == 0.3


def test_costs_come_from_the_own_layout(make_env):
    """Driving straight ahead into a hazard: the cost starts at its rim."""
    wall = {"agent.locations": [(0.0, 0.0)], "agent.rot": 0.0, "agent.keepout": 0.3}
    wall |= {"hazards.num": 1, "hazards.locations": [(0.9, 0.0)], "hazards.size": 0.3}
    env = make_env("SafetyPointGoal1-v0", config=wall)
    env.reset(seed=0)
    costs = []
    for _ in range(200):
        info = env.step(np.array([1.0, 0.0]))[4]
        inside = np.hypot(*(env.unwrapped.task.agent.pos[:2] - (0.9, 0.0))) <= 0.3
        assert info["cost"] == info["cost_hazards"] == float(inside)
        costs.append(info["cost"])
    assert {0.0, 1.0} == set(costs)


@pytest.mark.parametrize("task_id", ALL_TASKS)
def test_every_task_takes_its_own_settings(make_env, task_id):
    """Each setting as it is: applied, it changes nothing."""
    plain = make_env(task_id)
    settings = settings_of(plain.unwrapped.task)
    config = {name: copy.copy(value) for name, value in settings.items()}
    assert {"num_steps", "agent.locations", "lidar_conf.num_bins"} <= set(config)
    configured = make_env(task_id, config=config)
    assert configured.observation_space == plain.observation_space
    np.testing.assert_array_equal(configured.reset(seed=1)[0], plain.reset(seed=1)[0])
    action = plain.action_space.sample()
    np.testing.assert_array_equal(configured.step(action)[0], plain.step(action)[0])


def test_settings_that_decide_what_is_built(make_env):
    bins = make_env("SafetyPointGoal1-v0", config={"lidar_conf.num_bins": 10})
    assert bins.observation_space.shape == (60 - 3 * 6,)
    car = make_env("SafetyPointGoal1-v0", config={"agent_name": "Car"})
    assert car.observation_space == make_env("SafetyCarGoal1-v0").observation_space
    short = make_env("SafetyPointGoal1-v0", config={"num_steps": 2})
    short.reset(seed=0)
    assert [short.step(np.zeros(2))[3] for _ in range(2)] == [False, True]
    summed = make_env("SafetyPointGoal1-v0", config={"cost_conf.constrain_indicator": False})
    assert summed.unwrapped.cost_space.high.tolist() == [np.inf]
    walls = make_env("SafetyPointCircle1-v0", config={"sigwalls.locate_factor": 0.7})
    walls.reset(seed=0)
    assert walls.unwrapped.data.body("sigwall0").xpos[0] == pytest.approx(0.7)


def test_a_fixed_layout_takes_seeds(make_env):
    """The package refuses a seed then; Gymnasium's users pass one to the first reset."""
    env = make_env("SafetyPointGoal1-v0", config={"mechanism_conf.randomize_layout": False})
    np.testing.assert_array_equal(env.reset(seed=1)[0], env.reset(seed=2)[0])


@pytest.mark.parametrize("flatten", [True, False])
def test_images_that_config_asks_for_are_drawn(make_env, opengl, flatten):
    config = {"observe_vision": True, "observation_flatten": flatten}
    config["vision_env_conf.vision_size"] = (40, 30)
    env = make_env("SafetyPointGoal1-v0", config=config, render_mode="rgb_array", plain_sky=True)
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    assert env.render().shape == (30, 40, 3)
    assert env.render().dtype == np.uint8
    assert env.unwrapped.metadata["render_modes"] == ["rgb_array"]
    if not flatten:
        np.testing.assert_array_equal(env.render(), observation["vision"])


def test_environments_share_no_state_and_leave_the_callers_config_alone(make_env):
    alone = rolled(make_env("SafetyPointGoal1-v0"))
    config = copy.deepcopy(LAYOUT)
    one = make_env("SafetyPointGoal1-v0", config=config)
    expected = rolled(one)
    assert config == LAYOUT
    config["hazards.locations"][0] = (5.0, 5.0)
    np.testing.assert_array_equal(rolled(one), expected)
    np.testing.assert_array_equal(rolled(make_env("SafetyPointGoal1-v0")), alone)
    assert not np.array_equal(expected[:60], alone[:60])


def test_config_survives_copies_specifications_and_vector_forms(make_env):
    env = make_env("SafetyPointGoal1-v0", config=LAYOUT)
    expected = rolled(env)
    env.reset(seed=0)
    for twin in (copy.deepcopy(env), pickle.loads(pickle.dumps(env)), gym.make(env.spec)):
        np.testing.assert_array_equal(rolled(twin), expected)
    venv = gym.make_vec("SafetyPointGoal1-v0", num_envs=2, config=LAYOUT)
    observations, _ = venv.reset(seed=[3, 4])
    np.testing.assert_array_equal(observations[0], expected[:60])
    venv.close()


def test_walls_are_two_or_four(make_env):
    for number in (2, 4):
        env = make_env("SafetyPointCircle2-v0", config={"sigwalls.num": number})
        env.reset(seed=0)
        model = env.unwrapped.model
        assert sum("sigwall" in model.geom(i).name for i in range(model.ngeom)) == number
    with pytest.raises(ValueError, match=r"config\['sigwalls.num'\] is 3; pass 2 .* or 4"):
        make_env("SafetyPointCircle2-v0", config={"sigwalls.num": 3})


@pytest.mark.parametrize(
    ("task_id", "name", "value"),
    [
        ("SafetyPointGoal1-v0", "action_noise", 0.1),
        ("SafetyPointGoal1-v0", "reward_conf.reward_orientation", True),
        ("SafetyPointCircle2-v0", "sigwalls.is_lidar_observed", True),
    ],
)
def test_settings_with_which_the_package_fails_are_refused(make_env, task_id, name, value):
    with pytest.raises(ValueError, match=f"config.'{name}'. is {value}, with which the package"):
        make_env(task_id, config={name: value})
    env = make_env(task_id)  # the package's own behavior
    task = env.unwrapped.task
    part, _, field = name.rpartition(".")
    setattr(vars(task)[part] if part else task, field, value)
    if part == "sigwalls":
        task.build_observation_space()
    with pytest.raises((ValueError, AttributeError)):
        rolled(env, steps=1)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"hazard.num": 3}, "unknown entry of config 'hazard.num'; did you mean 'hazards.num'"),
        ({"hazards.nun": 3}, "did you mean 'hazards.num'"),
        ({"lidar.num_bins": 3}, "did you mean 'lidar_conf.num_bins'"),
        ({"num_step": 3}, "did you mean 'num_steps'"),
        ({"hazards.num": 2.5}, "config\\['hazards.num'\\] is 2.5; pass a whole number >= 0"),
        ({"hazards.num": 0}, "set 'hazards.is_lidar_observed' to False too"),
        ({"hazards.locations": [(0, 0, 0)]}, "has shape \\(1, 3\\); pass an array .* pairs"),
        ({"hazards.locations": 3}, "pass a list of pairs \\(x, y\\)"),
        ({"hazards.locations": PLACES * 5}, "has 10 places, but there is room for 8; set 'hazards"),
        ({"goal.locations": PLACES}, "has 2 places, but there is room for 1; pass one place"),
        ({"hazards.locations": [(0, 0), (0.1, 0)]}, "0.1 m apart, but their keepouts need 0.36 m"),
        ({"hazards.placements": [(0, 1)]}, "pass an array of shape \\(1, 4\\): rectangles"),
        ({"hazards.size": "big"}, "pass a number >= 0"),
        ({"hazards.cost": -1.0}, "pass a number >= 0"),
        ({"hazards.is_constrained": 1}, "pass a bool such as True"),
        ({"placements_conf.extents": [0, 1]}, "pass an array of shape \\(4,\\)"),
        ({"placements_conf.extents": (1, 1, -1, -1)}, "has the corners .* lowest first"),
        ({"hazards.placements": [(1, 0, -1, 2)]}, "has the corners .* lowest first"),
        ({"sim_conf.frameskip_binom_p": 1.5}, "pass a number >= 0 and <= 1"),
        ({"floor_conf.type": "sand"}, "pass one of 'mat', 'village'"),
        ({"agent_name": "Pont"}, "did you mean 'Point'"),
        ({"debug": 1}, "pass a bool"),
        ({3: 4}, "pass a dictionary such as"),
        ("hazards.num=3", "pass a dictionary such as"),
    ],
)
def test_wrong_entries_are_refused_in_words(make_env, config, message):
    with pytest.raises(ValueError, match=message):
        make_env("SafetyPointGoal1-v0", config=config)


@pytest.mark.parametrize(
    ("task_id", "name"),
    [
        ("SafetyPointButton1-v0", "goal.locations"),
        ("SafetyPointCircle1-v0", "circle.locations"),
        ("SafetyPointRace1-v0", "palcement_cal_factor"),
        ("SafetyPointGoal0-v0", "hazards.num"),
    ],
)
def test_entries_without_effect_are_refused(make_env, task_id, name):
    with pytest.raises(ValueError, match=f"unknown entry of config '{name}'"):
        make_env(task_id, config={name: 1})
