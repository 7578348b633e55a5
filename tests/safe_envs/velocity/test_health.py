"""The healthy ranges, for one state and for many, against Gymnasium's version 4."""

import numpy as np
import pytest

pytest.importorskip("mujoco")

from safe_envs.velocity.physics import robot_physics

ENDS = [0.2, 0.7, 0.8, 1.0, 2.0, -0.2, -1.0, 100.0, -100.0]  # of all robots' ranges
SPECIAL = [*ENDS, 1e300, np.inf, -np.inf, np.nan]


def states_around_the_ends(physics):
    """Return states (k, nq + nv): disturbed ones, and ones with a special number in one entry."""
    rng = np.random.default_rng(0)
    standing = physics.standing()
    disturbed = np.tile(standing, (300, 1))
    disturbed[:, :4] += rng.normal(scale=0.3, size=(300, 4))
    entries = [0, 1, 2, 3, physics.positions, len(standing) - 1]
    special = np.tile(standing, (len(entries), len(SPECIAL), 1))
    for states, entry in zip(special, entries, strict=True):
        states[:, entry] = SPECIAL
    return np.concatenate((disturbed, special.reshape(-1, len(standing))))


@pytest.mark.parametrize("robot", ["Ant", "Hopper", "Humanoid", "Walker2d"])
def test_healthy_ranges_are_those_of_version_4(robot, make_v4):
    physics, theirs = robot_physics(robot), make_v4(robot)
    states = states_around_the_ends(physics)
    expected = []
    for state in states:
        theirs.data.qpos[:], theirs.data.qvel[:] = np.split(state, [physics.positions])
        expected.append(bool(theirs.is_healthy))
    assert {*expected} == {True, False}
    rows = np.zeros((len(states), physics.width))
    rows[:, 1 : 1 + states.shape[1]] = states  # after the time
    np.testing.assert_array_equal(physics.start_of(rows), states)
    np.testing.assert_array_equal(physics.is_healthy(rows), expected)
    np.testing.assert_array_equal([physics.is_healthy(row) for row in rows], expected)
    theirs.close()
