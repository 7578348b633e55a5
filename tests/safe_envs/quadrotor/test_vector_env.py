"""The native vector form of the quadrotor against single ones, and flights of many."""

import gymnasium as gym
import numpy as np
import pytest

from safe_envs import read_costs
from safe_envs.contract.vector_env import AutoresetMode
from safe_envs.quadrotor.env import QuadrotorEnv
from safe_envs.quadrotor.geometric_controller import GeometricLaw

if AutoresetMode is None:
    pytest.skip("this Gymnasium has no autoreset modes", allow_module_level=True)

from safe_envs.quadrotor.vector_env import QuadrotorVectorEnv

N = 4
OPTIONS = [
    {"per_constraint": True},
    {"scene": "column", "terminate_on_collision": True},
    {"wind": (0.01, 0.0, -0.02), "mass_scale": 0.9, "motor_lag": 0.04, "vehicle": "hummingbird"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=["per constraint", "column", "disturbed"])
def test_many_rows_equal_many_environments(options):
    """Injected starts; every row until its episode ends, whatever the others do."""
    rng = np.random.default_rng(2)
    singles = [QuadrotorEnv(**options) for _ in range(N)]
    venv = QuadrotorVectorEnv(num_envs=N, **options)
    states = np.zeros((N, 13))
    states[:, :3] = rng.uniform([-1, -0.5, 0.5], [1, 0.5, 1.5], size=(N, 3))
    states[:, 3:6], states[:, 6:] = rng.normal(size=(N, 3)), rng.normal(size=(N, 7))
    states[:, 6] += 4.0
    times = rng.uniform(0, 6, size=N)
    shifts = rng.uniform(-0.06, 0.06, size=(N, 2 if "scene" in options else 4, 2))
    given = {"state": states, "time": times, "offsets": shifts}
    seen, _ = venv.reset(seed=0, options={"state": given})
    for i, env in enumerate(singles):
        single, _ = env.reset(seed=0, options={name: part[i] for name, part in given.items()})
        np.testing.assert_array_equal(single, seen[i])
        np.testing.assert_array_equal(env.centers, venv.centers[:, :, i])
    running, compared = list(range(N)), 0
    for _ in range(150):
        actions = np.clip(rng.normal(-0.1, 0.15, size=(N, 4)), -1, 1)
        seen, rewards, terminated, _, infos = venv.step(actions)
        costs = read_costs(infos, N, len(venv.constraints))
        for i in list(running):
            single = singles[i].step(actions[i])
            np.testing.assert_array_equal(single[0], seen[i])
            assert single[1:3] == (rewards[i], terminated[i])
            np.testing.assert_array_equal(single[4].get("costs", [single[4]["cost"]]), costs[i])
            margins = infos["constraint_values"][i]
            np.testing.assert_array_equal(single[4]["constraint_values"], margins)
            np.testing.assert_array_equal(single[4]["state"], venv.states[:, i])
            assert singles[i].time == venv.times[i]
            compared += 1
            if terminated[i]:
                running.remove(i)
        if not running:
            break
    assert compared > 40


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_one_row_equals_one_environment_over_many_episodes(mode):
    """The same seed, gusts included, through terminations, truncations and drawn starts."""
    options = {"gust": 0.02, "max_episode_steps": 50}
    env = gym.make("Safe/Quadrotor-v0", disable_env_checker=True, **options)
    venv = gym.make_vec("Safe/Quadrotor-v0", num_envs=1, autoreset_mode=mode, **options)
    seen, _ = venv.reset(seed=9)
    single, _ = env.reset(seed=9)
    np.testing.assert_array_equal(single, seen[0])
    rng, over, ends = np.random.default_rng(0), False, []
    for _ in range(300):
        action = rng.uniform(-0.6, 0.4, size=(1, 4))
        if over and mode == "NextStep":
            single, _ = env.reset()
            seen = venv.step(action)[0]
            over = False
            np.testing.assert_array_equal(single, seen[0])
            continue
        single, reward, terminated, truncated, info = env.step(action[0])
        seen, *values, infos = venv.step(action)
        assert [reward, terminated, truncated] == [value[0] for value in values]
        assert info["cost"] == read_costs(infos, 1, 1)[0, 0]
        over = terminated or truncated
        if over:
            ends.append((terminated, truncated))
        if over and mode == "SameStep":
            np.testing.assert_array_equal(infos["final_obs"][0], single)
            single, _ = env.reset()
        np.testing.assert_array_equal(single, seen[0])
    assert {(True, False), (False, True)} <= set(ends)


def test_unfiltered_flights_are_unsafe():
    """An independent implementation: 48.7 % of all steps inside a sphere, clearance -0.28 m."""
    venv = QuadrotorVectorEnv(num_envs=16, max_episode_steps=600)
    controller = GeometricLaw(venv.vehicle, venv.reference, venv.control_dt)
    venv.reset(seed=0)
    deepest = np.empty((600, 16))
    for row in deepest:
        u = controller.batch(venv.states, venv.times)
        _, _, terminated, truncated, infos = venv.step(venv.actions_of(u))
        row[:] = infos["constraint_values"].max(axis=1)
        assert not terminated.any()
    assert truncated.all()
    assert (infos["episode_cost"] > 0).all()
    assert (deepest > 0).mean() == pytest.approx(0.487, abs=0.01)
    assert -deepest.max() == pytest.approx(-0.28, abs=0.015)


def test_controller_of_one_and_of_many():
    controller = GeometricLaw(QuadrotorEnv().vehicle, QuadrotorEnv().reference, 0.01)
    rng = np.random.default_rng(0)
    states, times = rng.normal(size=(13, 50)) * 0.3, rng.uniform(0, 6, 50)
    states[6] += 1.0
    states[6:10] /= np.linalg.norm(states[6:10], axis=0)
    many = controller.batch(states, times)
    one = np.stack([controller(states[:, i], times[i]) for i in range(50)], axis=1)
    np.testing.assert_allclose(one, many, rtol=0, atol=1e-12)
    assert many.min() == 0.0
    assert many.max() == 1.0


def test_diverged_rows_end_and_leave_the_others_alone():
    venv = QuadrotorVectorEnv(num_envs=2)
    states = np.tile([0.0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0], (2, 1))
    states[1, 10:12] = 1e30
    venv.reset(seed=0, options={"state": states})
    seen, reward, terminated, _, _ = venv.step(np.full((2, 4), -1 / 9))
    assert terminated.tolist() == [False, True]
    assert np.isfinite(reward).all()
    assert np.isfinite(seen).all()
    np.testing.assert_array_equal(venv.states[:, 1], states[1])


def test_refuses_states_that_mean_nothing():
    venv = QuadrotorVectorEnv(num_envs=3)
    with pytest.raises(gym.error.ResetNeeded, match="call reset"):
        _ = venv.states
    with pytest.raises(ValueError, match=r"pass an array of shape \(3, 13\)"):
        venv.reset(seed=0, options={"state": np.zeros((2, 13))})
    assert venv.thrusts_of(np.full((3, 4), 9.0)).tolist() == [[1.0] * 3] * 4
