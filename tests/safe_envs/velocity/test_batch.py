"""The native vector form of the velocity tasks against the single form, bit for bit."""

import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest

from safe_envs.contract.vector_env import AutoresetMode

pytest.importorskip("mujoco")
if AutoresetMode is None:
    pytest.skip("this Gymnasium has no autoreset modes", allow_module_level=True)

from safe_envs.velocity.physics import robot_physics
from safe_envs.velocity.simulators import BatchSimulator, ThreadSimulator

N = 3
MODES = ["NextStep", "SameStep", "Disabled"]


def compare(robot, num_envs, mode, steps, length, num_threads):
    """Step both forms; whenever a row restarts, its state is passed to the single form."""
    env_id = f"Safety{robot}Velocity-v1"
    shared = {"max_episode_steps": length}
    venv = gym.make_vec(
        env_id, num_envs=num_envs, autoreset_mode=mode, num_threads=num_threads, **shared
    )
    envs = [gym.make(env_id, disable_env_checker=True, **shared) for _ in range(num_envs)]
    batch, info = venv.reset(seed=5)
    venv.action_space.seed(1)
    for i, env in enumerate(envs):
        first = env.reset(seed=5, options=None if num_envs == 1 else {"state": venv.state[i]})
        np.testing.assert_array_equal(first[0], batch[i])
        assert_says_the_same(first[1], info, i)
    restarts = 0
    over = np.zeros(num_envs, dtype=bool)
    for _ in range(steps):
        if mode == "Disabled" and over.any():
            batch, info = venv.reset(options={"reset_mask": over})
            restarts += restart(envs, over, venv, batch, info)
            over[:] = False
        actions = venv.action_space.sample()
        batch, reward, terminated, truncated, info = venv.step(actions)
        anew = over.copy() if mode == "NextStep" else np.zeros(num_envs, dtype=bool)
        over = terminated | truncated
        np.testing.assert_array_equal(info["_cost"], ~anew)
        for i in np.flatnonzero(~anew):
            seen = info["final_obs"][i] if mode == "SameStep" and over[i] else batch[i]
            said = info["final_info"] if mode == "SameStep" and over[i] else info
            single = envs[i].step(actions[i])
            np.testing.assert_array_equal(single[0], seen)
            assert single[1:4] == (reward[i], terminated[i], truncated[i])
            assert_says_the_same(single[4], said, i)
        if mode == "SameStep":  # the infos are still those of the last step
            restarts += restart(envs, over, venv, batch)
        else:
            restarts += restart(envs, anew, venv, batch, info)
    venv.close()
    return restarts


def restart(envs, rows, venv, batch, info=None):
    for i in np.flatnonzero(rows):
        options = None if len(envs) == 1 else {"state": venv.state[i]}
        observation, said = envs[i].reset(options=options)
        np.testing.assert_array_equal(observation, batch[i])
        if info is not None:
            assert_says_the_same(said, info, i)
    return int(rows.sum())


def assert_says_the_same(single, infos, row):
    """Compare a single form's info with one row of the native form's, entry by entry."""
    names = {name for name in infos if not name.startswith(("_", "final_"))}
    assert single.keys() == names
    for name in names:
        assert infos[name].dtype == single[name].dtype
        np.testing.assert_array_equal(single[name], infos[name][row])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("robot", "steps"),
    [("Ant", 420), ("HalfCheetah", 320), ("Hopper", 320), ("Humanoid", 80)],
)
def test_one_row_equals_the_single_form(robot, steps, mode):
    """With one row and one seed no state has to be passed, not even at resets."""
    assert compare(robot, 1, mode, steps, length=150, num_threads=None) >= 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("robot", "steps"),
    [("Ant", 100), ("HalfCheetah", 200), ("Hopper", 400), ("Swimmer", 100), ("Walker2d", 100)],
)
def test_many_rows_equal_many_environments(robot, steps, mode):
    assert compare(robot, N, mode, steps, length=90, num_threads=2) >= N


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda venv: pickle.loads(pickle.dumps(venv))])
@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
@pytest.mark.parametrize(("robot", "num_threads"), [("Hopper", 1), ("Hopper", 2), ("Humanoid", 2)])
def test_a_copy_in_mid_episode_continues_alike(robot, num_threads, mode, copied):
    """With MuJoCo's batch (Hopper) and Python's threads (Humanoid), through ends and restarts."""
    venv = gym.make_vec(
        f"Safety{robot}Velocity-v1", num_envs=3, autoreset_mode=mode, num_threads=num_threads
    )
    venv.reset(seed=0)
    venv.action_space.seed(0)
    for _ in range(12):
        venv.step(venv.action_space.sample())
    forms = [venv, copied(venv)]
    ends = 0
    for _ in range(40):
        action = venv.action_space.sample()
        ours, theirs = (form.step(action) for form in forms)
        last = [list(infos.pop("final_obs", ())) for *_, infos in (ours, theirs)]
        np.testing.assert_equal([*ours, last[0]], [*theirs, last[1]])
        ends += ours[2].sum()
    assert ends > 0
    np.testing.assert_equal(*(form.reset() for form in forms))
    for form in forms:
        form.close()


def test_details_of_a_step_stay_as_they_were():
    """They share no memory with the states, which go on."""
    venv = gym.make_vec("SafetyAntVelocity-v1", num_envs=2)
    venv.reset(seed=0)
    infos = [venv.step(np.full((2, 8), 0.5))[4] for _ in range(3)]
    kept = copy.deepcopy(infos)
    for _ in range(5):
        venv.step(np.full((2, 8), -0.5))
    venv.reset()
    np.testing.assert_equal(infos, kept)


def test_results_do_not_depend_on_the_number_of_threads():
    forms = [
        gym.make_vec("SafetyHumanoidVelocity-v1", num_envs=5, num_threads=n) for n in (1, 2, 5)
    ]
    first = [venv.reset(seed=0)[0] for venv in forms]
    forms[0].action_space.seed(0)
    for _ in range(40):
        actions = forms[0].action_space.sample()
        steps = [venv.step(actions) for venv in forms]
        for other in steps[1:]:
            for ours, theirs in zip(steps[0][:4], other[:4], strict=True):
                np.testing.assert_array_equal(ours, theirs)
    assert all(np.array_equal(first[0], other) for other in first[1:])
    for venv in forms:
        venv.close()


@pytest.mark.parametrize("robot", ["Ant", "Walker2d"])
@pytest.mark.parametrize("num_threads", [1, 3])
def test_both_ways_of_simulating_are_equal(robot, num_threads):
    pytest.importorskip("mujoco.batch", reason="this MuJoCo has no batch simulation")
    physics, rng = robot_physics(robot), np.random.default_rng(0)
    rows = np.empty((4, physics.width))
    for row in rows:
        physics.start(physics.new_data(), physics.draw_start(rng), row)
    ways = [BatchSimulator(physics, num_threads), ThreadSimulator(physics, num_threads)]
    for _ in range(60):
        actions = rng.uniform(-1.0, 1.0, (4, physics.model.nu))
        reached = [np.zeros_like(rows), np.zeros_like(rows)]
        for way, out in zip(ways, reached, strict=True):
            way.advance(rows, actions, out)
        np.testing.assert_array_equal(reached[0], reached[1])
        rows = reached[0]
    for way in ways:
        way.close()


@pytest.mark.parametrize("controls", range(1, 20))
def test_control_costs_of_one_row_round_as_those_of_many(controls):
    physics = robot_physics("Hopper")
    actions = np.random.default_rng(controls).normal(size=(50, controls))
    alone = [physics.control_cost(row) for row in actions]
    np.testing.assert_array_equal(alone, physics.control_cost(actions))
    np.testing.assert_array_equal(alone, physics.control_cost(np.asfortranarray(actions)))
    np.testing.assert_allclose(alone, 1e-3 * (actions * actions) @ np.ones(controls), rtol=1e-14)


def test_rows_that_were_not_reset_keep_their_margin():
    venv = gym.make_vec("SafetyHalfCheetahVelocity-v1", num_envs=2, autoreset_mode="Disabled")
    venv.reset(seed=0)
    _, _, _, _, before = venv.step(np.ones((2, 6)))
    _, info = venv.reset(options={"reset_mask": np.array([False, True])})
    assert info["constraint_values"][0] == before["constraint_values"][0] != -3.2096
    assert info["constraint_values"][1] == -3.2096


@pytest.mark.parametrize("given", [0, -1, 1.5, "two"])
def test_refuses_impossible_thread_counts(given):
    with pytest.raises(ValueError, match="num_threads is .*; pass a whole number >= 1, or None"):
        gym.make_vec("SafetyHopperVelocity-v1", num_envs=2, num_threads=given)


def test_refuses_impossible_states():
    venv = gym.make_vec("SafetyHopperVelocity-v1", num_envs=2)
    with pytest.raises(gym.error.ResetNeeded, match="before reading the state"):
        _ = venv.state
    with pytest.raises(ValueError, match=r"of shape \(2, 12\): qpos \(6\) and qvel \(6\)"):
        venv.reset(options={"state": np.zeros(12)})
