"""What clients ask of bridged tasks: NumPy infos, the genuine objects, vector forms, arguments."""

import gymnasium as gym
import mujoco
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

from safe_envs import read_costs
from safe_envs.contract.transition_values import plain_entries
from safe_envs.contract.vector_env import AutoresetMode
from safe_envs.safety_gymnasium_bridge import make

INFOS = [
    ("SafetyPointGoal2-v0", True),
    ("SafetyPointGoal2-v0", False),
    ("SafetyCarButton1-v0", True),
    ("SafetyPointRace1-v0", False),
]  # and whether each type is a constraint
OLD = pytest.mark.filterwarnings("ignore:.*is out of date.*:DeprecationWarning")


@pytest.mark.parametrize(("task_id", "per_constraint"), INFOS)
def test_navigation_infos_are_numpys_with_the_packages_numbers(
    make_env, genuine_env, task_id, per_constraint
):
    env = make_env(task_id, per_constraint=per_constraint, max_episode_steps=30)
    genuine = genuine_env(task_id)
    genuine.reset(seed=5)
    infos, ended = [env.reset(seed=5)[1]], False
    env.action_space.seed(0)
    while not ended:
        action = env.action_space.sample()
        _, _, cost, _, _, expected = genuine.step(action)
        _, _, terminated, ended, info = env.step(action)
        ended |= terminated
        assert {key: info[key] for key in expected} == expected
        assert info["cost"] == (info["costs"].sum() if per_constraint else cost)
        infos.append(info)
    infos.append(env.reset()[1])
    for info in infos:
        assert list(plain_entries(info)) == []
        assert isinstance(info["goal_met"], np.bool_)
        assert {type(v) for k, v in info.items() if "cost" in k} <= {np.float64, np.ndarray}


@OLD
@pytest.mark.parametrize("robot", ["Hopper", "Ant"])
def test_velocity_infos_are_numpys_with_the_packages_numbers(make_env, genuine_env, robot):
    task_id = f"Safety{robot}Velocity-v0"
    env, genuine = make_env(task_id, max_episode_steps=20), genuine_env(task_id)
    genuine.reset(seed=5)
    assert list(plain_entries(env.reset(seed=5)[1])) == []
    env.action_space.seed(0)
    for _ in range(20):
        action = env.action_space.sample().astype(np.float64)
        _, _, cost, _, _, expected = genuine.step(action)
        _, _, terminated, truncated, info = env.step(action)
        assert {key: info[key] for key in expected} == expected
        assert info["cost"] == cost
        assert list(plain_entries(info)) == []
        if terminated or truncated:
            break


@OLD
@pytest.mark.parametrize("task_id", ["SafetyPointGoal1-v0", "SafetyHopperVelocity-v0"])
def test_the_genuine_objects_are_at_hand_after_every_reset(make_env, task_id):
    env = make_env(task_id)
    own = env.unwrapped
    for seed in range(2):
        env.reset(seed=seed)
        inner = own._inner
        assert own.task is (inner.task if "Goal" in task_id else inner)
        assert isinstance(own.model, mujoco.MjModel)
        assert isinstance(own.data, mujoco.MjData)
        assert own.model is own.task.model
        assert own.data is own.task.data
        before = own.data.time
        env.step(env.action_space.sample())
        assert own.data.time > before
        assert own.data.qpos.shape == (own.model.nq,)


def test_there_is_no_scene_before_the_first_reset(make_env):
    own = make_env("SafetyPointGoal1-v0").unwrapped
    assert own.task.agent_name == "Point"
    with pytest.raises(gym.error.ResetNeeded, match="before asking for MuJoCo's model"):
        own.model  # noqa: B018
    with pytest.raises(gym.error.ResetNeeded, match="before asking for MuJoCo's model"):
        own.data  # noqa: B018


def as_member(mode):
    return AutoresetMode(mode)


@pytest.mark.parametrize("given", [str, as_member])
@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_vector_forms_take_a_mode_and_equal_single_environments(make_env, given, mode):
    """Row by row, over ends of episodes, with the terminal costs."""
    steps, rows = 8, 2
    venv = gym.make_vec(
        "SafetyPointGoal1-v0", num_envs=rows, autoreset_mode=given(mode), max_episode_steps=3
    )
    assert type(venv) is SyncVectorEnv
    assert venv.metadata["autoreset_mode"] == AutoresetMode(mode)
    singles = [make_env("SafetyPointGoal1-v0", max_episode_steps=3) for _ in range(rows)]
    seen, _ = venv.reset(seed=[5, 6])
    np.testing.assert_array_equal(seen, [e.reset(seed=5 + i)[0] for i, e in enumerate(singles)])
    venv.action_space.seed(1)
    ended = False
    for _ in range(steps):
        actions = venv.action_space.sample()
        if ended and mode == "Disabled":
            seen, _ = venv.reset(options={"reset_mask": np.ones(rows, dtype=np.bool_)})
            np.testing.assert_array_equal(seen, [env.reset()[0] for env in singles])
        seen, reward, _, truncated, infos = venv.step(actions)
        if ended and mode == "NextStep":
            expected = [(env.reset()[0], 0.0, False, False, {"cost": 0.0}) for env in singles]
        else:
            expected = [env.step(a) for env, a in zip(singles, actions, strict=True)]
        ended = expected[0][3]
        np.testing.assert_array_equal(reward, [e[1] for e in expected])
        np.testing.assert_array_equal(truncated, [e[3] for e in expected])
        costs = read_costs(infos, rows, 1)[:, 0]
        np.testing.assert_array_equal(costs, [e[4]["cost"] for e in expected])
        last = [e[0] for e in expected]
        if ended and mode == "SameStep":
            np.testing.assert_array_equal(list(infos["final_obs"]), last)
            last = [env.reset()[0] for env in singles]
        np.testing.assert_array_equal(seen, last)
    venv.close()


@OLD
def test_every_way_of_make_vec_is_obeyed():
    kinds = {None: SyncVectorEnv, "sync": SyncVectorEnv, "async": AsyncVectorEnv}
    for vectorization_mode, kind in kinds.items():
        venv = gym.make_vec(
            "SafetyPointGoal0-v0",
            num_envs=2,
            vectorization_mode=vectorization_mode,
            vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP} if vectorization_mode else {},
        )
        assert type(venv) is kind
        default = AutoresetMode.SAME_STEP if vectorization_mode else AutoresetMode.NEXT_STEP
        assert venv.metadata["autoreset_mode"] == default
        assert venv.spec.id == "SafetyPointGoal0-v0"
        assert venv.reset(seed=0)[0].shape[0] == 2
        venv.close()
    again = gym.make_vec(gym.make_vec("SafetyHopperVelocity-v0", autoreset_mode="SameStep").spec)
    assert again.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    with pytest.raises(ValueError, match="num_envs is 0; pass a whole number"):
        gym.make_vec("SafetyPointGoal0-v0", num_envs=0)
    with pytest.raises(ValueError, match="sometimes"):
        gym.make_vec("SafetyPointGoal0-v0", autoreset_mode="sometimes")


@OLD
@pytest.mark.parametrize(
    ("task_id", "given", "meant"),
    [
        ("SafetyPointGoal1-v0", "cost_limit", "cost_limits"),
        ("SafetyPointGoal1-v0", "congif", "config"),
        ("SafetyPointGoal1Vision-v0", "widht", "width"),
        ("SafetyHopperVelocity-v0", "cost_limit", "cost_limits"),
        ("SafetyHopperVelocity-v0", "reset_noise", "reset_noise_scale"),
    ],
)
def test_unknown_arguments_are_refused_with_the_closest(task_id, given, meant):
    for form in (gym.make, gym.make_vec, make):
        with pytest.raises(TypeError, match=f"'{given}'; did you mean '{meant}'\\? Known: .*fast"):
            form(task_id, **{given: 1})


def test_known_arguments_of_the_packages_classes_are_passed_on(make_env):
    env = make("SafetyHopperVelocity-v1", reset_noise_scale=0.0, disable_env_checker=True)
    first = env.reset(seed=0)[0]
    np.testing.assert_array_equal(first, env.reset(seed=1)[0])
    env.close()
