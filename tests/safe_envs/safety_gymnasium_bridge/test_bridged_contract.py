"""Bridged tasks follow the cost contract: one per robot and per family."""

import gymnasium as gym
import numpy as np
import pytest

from safe_envs import check_constrained_env
from safe_envs.contract.cost_signal import CostSignalError
from safe_envs.safety_gymnasium_bridge.hazard_types import costs_by_type

EXPECTED_WARNINGS = [
    "ignore:.*A Box observation space.*:UserWarning",
    "ignore:.*we recommend using a symmetric and normalized space.*:UserWarning",
    "ignore:.*is out of date.*:DeprecationWarning",
]
CHECKED = {
    "SafetyPointGoal2-v0": {"per_constraint": True},
    "SafetyCarGoal1Debug-v0": {},
    "SafetyDoggoPush1-v0": {},
    "SafetyRacecarCircle2-v0": {},
    "SafetyAntRun0-v0": {},
    "SafetyPointFadingHard0-v0": {},
    "SafetyHopperVelocity-v0": {},
}


@pytest.mark.filterwarnings(*EXPECTED_WARNINGS)
@pytest.mark.parametrize("task_id", CHECKED)
def test_keeps_the_cost_contract(task_id):
    report = check_constrained_env(
        task_id, steps=12, num_envs=2, max_episode_steps=5, **CHECKED[task_id]
    )
    assert "terminal costs" in report.passed
    assert "AsyncVectorEnv, SameStep autoreset" in report.passed


@pytest.mark.parametrize(
    ("task_id", "names"),
    [
        ("SafetyPointGoal0-v0", ()),
        ("SafetyPointGoal1-v0", ("hazards",)),
        ("SafetyCarButton1-v0", ("buttons", "hazards", "gremlins")),
        ("SafetyPointPush2-v0", ("hazards", "pillars")),
        ("SafetyPointCircle1-v0", ("out_of_boundary",)),
        ("SafetyPointRace1-v0", ("hazards", "static_geoms_contact")),
        ("SafetyPointFadingEasy2-v0", ("hazards", "vases_contact", "vases_velocity")),
        ("SafetyHopperVelocity-v0", ("velocity",)),
    ],
)
@pytest.mark.filterwarnings(*EXPECTED_WARNINGS)
def test_hazard_types_are_declared_before_any_reset(make_env, task_id, names):
    env = make_env(task_id, per_constraint=True).unwrapped
    assert env.hazard_types == names
    assert tuple(c.name for c in env.constraints) == (names or ("total",))
    assert all(c.limit == 25.0 for c in env.constraints)
    assert env.cost_space.shape == (len(env.constraints),)


def test_one_limit_on_the_total_by_default(make_env):
    env = make_env("SafetyPointGoal2-v0", cost_limits=10.0).unwrapped
    assert [(c.name, c.limit, c.discount) for c in env.constraints] == [("total", 10.0, 1.0)]
    assert env.reward_discount == 1.0
    with pytest.raises(ValueError, match="cost_limits has 2 entries but .* 3 constraints"):
        make_env("SafetyPointGoal2-v0", per_constraint=True, cost_limits=[1.0, 2.0])


def test_costs_per_type_and_their_total(make_env, straight_on):
    """The package counts a step once, per type it counts each type."""
    whole = make_env("SafetyPointGoal2-v0")
    parts = make_env("SafetyPointGoal2-v0", per_constraint=True)
    whole.reset(seed=7)
    _, info = parts.reset(seed=7)
    assert info["costs"].tolist() == [0.0, 0.0, 0.0]
    seen = []
    for _ in range(120):
        total, info = whole.step(straight_on)[4], parts.step(straight_on)[4]
        named = [info[f"cost_{name}"] for name in parts.unwrapped.hazard_types]
        assert info["costs"].tolist() == named
        assert info["cost"] == sum(named)
        assert total["cost"] == total["cost_sum"] == info["cost_sum"] == float(any(named))
        assert "costs" not in total
        seen.append(named)
    assert (np.sum(seen, axis=0) > 0).all()
    assert max(map(sum, seen)) == 3.0
    assert info["episode_cost"] == np.sum(seen)


def test_infos_have_the_same_keys_at_reset_and_step(make_env, straight_on):
    env = make_env("SafetyCarButton1-v0")
    _, at_reset = env.reset(seed=0)
    assert set(at_reset) == set(env.step(straight_on)[4])
    assert (at_reset["cost"], at_reset["episode_cost"], at_reset["goal_met"]) == (0.0, 0.0, False)


def test_a_cost_of_unknown_name_is_no_silent_loss():
    with pytest.raises(CostSignalError, match="holds \\['cost_lava'\\]"):
        costs_by_type({"cost_lava": 1.0}, ("hazards",))


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ([np.nan, 0.0], "contains NaN"),
        ([0.0], "has shape \\(1,\\); pass an array of shape \\(2,\\)"),
        ("left", "not numbers"),
    ],
)
def test_bad_actions_are_refused(make_env, action, message):
    env = make_env("SafetyPointGoal1-v0")
    env.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.step(action)


def test_steps_before_reset_and_after_the_end_are_refused(make_env):
    env = make_env("SafetyPointCircle1-v0", max_episode_steps=1000).unwrapped
    with pytest.raises(gym.error.ResetNeeded, match="call reset\\(\\) before step"):
        env.step(np.zeros(2))
    env.reset(seed=0)
    for step in range(1, 501):
        truncated = env.step(np.zeros(2))[3]
        assert truncated == (step == 500)
    with pytest.raises(gym.error.ResetNeeded, match="call reset\\(\\) before step"):
        env.step(np.zeros(2))


def test_out_of_range_actions_are_clipped(make_env):
    wild, clipped = make_env("SafetyPointGoal1-v0"), make_env("SafetyPointGoal1-v0")
    assert np.array_equal(wild.reset(seed=1)[0], clipped.reset(seed=1)[0])
    one, other = wild.step(np.array([7.0, -np.inf])), clipped.step(np.array([1.0, -1.0]))
    assert np.array_equal(one[0], other[0])
