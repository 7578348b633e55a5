"""Actions of every shape and bound, against what the environment is meant to get."""

import gymnasium as gym
import numpy as np
import pytest

import agents
from agents.action_scaling import ActionScaling
from safe_envs import ConstraintSpec

Box = gym.spaces.Box
SMALL = {"n_steps": 64, "batch_size": 32, "n_epochs": 4, "seed": 0}


class Aim(gym.Env):
    """One step: the reward is minus the squared distance of the action, flat and in shares of
    its range, from a target; every action costs 1."""

    observation_space = Box(0.0, 1.0, (1,), np.float32)
    constraints = (ConstraintSpec("harm", limit=2.0),)
    reward_discount = 1.0

    def __init__(self, action_space, middle=0.0, half=1.0):
        self.action_space, self.middle, self.half = action_space, middle, half

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {"cost": 0.0}

    def step(self, action):
        assert self.action_space.contains(np.asarray(action)), action
        assert np.shape(action) == self.action_space.shape
        share = (np.asarray(action, np.float64).ravel() - self.middle) / self.half
        target = np.linspace(-0.5, 0.5, share.size)
        reward = -float(np.square(share - target).sum())
        return np.zeros(1, np.float32), reward, True, False, {"cost": 1.0}


def trained(env, **settings):
    return agents.PPOLag("MlpPolicy", env, **(SMALL | settings)).learn(64 * 12)


@pytest.mark.parametrize("shape", [(), (1,), (2, 2), (3, 1, 2)])
def test_every_shape_learns_alike(shape):
    """The reward depends on the flat action alone: shapes of one size give one policy."""
    size = int(np.prod(shape))
    flat = trained(Aim(Box(-1.0, 1.0, (size,), np.float32)))
    shaped = trained(Aim(Box(-1.0, 1.0, shape, np.float32)))
    seen = np.zeros(1, np.float32)
    ours, theirs = (agent.predict(seen, deterministic=True)[0] for agent in (shaped, flat))
    assert ours.shape == shape
    np.testing.assert_array_equal(np.ravel(ours), theirs)
    batch, _ = shaped.predict(np.zeros((5, 1), np.float32))
    assert batch.shape == (5, *shape)
    assert batch.dtype == np.float32


def test_bounds_are_shares_of_the_range():
    """Bounds 300 and 1,700 of a float64 Box: the same policy, in the environment's units."""
    plain = trained(Aim(Box(-1.0, 1.0, (2,), np.float64)))
    wide = trained(Aim(Box(300.0, 1700.0, (2,), np.float64), 1000.0, 700.0))
    seen = np.zeros(1, np.float32)
    ours, theirs = (agent.predict(seen, deterministic=True)[0] for agent in (wide, plain))
    np.testing.assert_allclose((ours - 1000.0) / 700.0, theirs, atol=1e-6)


@pytest.mark.parametrize(
    "space",
    [
        Box(-np.inf, np.inf, (2,), np.float32),
        Box(np.array([0.0, -np.inf]), np.array([np.inf, 3.0]), dtype=np.float64),
        Box(np.finfo(np.float32).min, np.finfo(np.float32).max, (2,), np.float32),
    ],
)
def test_infinite_bounds_stay_raw(space):
    """Half-open ones too: the policy's numbers are the environment's, within the bounds."""
    scaling = ActionScaling(space)
    raw = np.array([[0.25, -7.0], [-2.0, 9.0]])
    found = scaling.to_environment(raw)
    np.testing.assert_allclose(found, np.clip(raw, space.low, space.high))
    agent = trained(Aim(space), policy_kwargs={"log_std_init": -1.0})
    action, _ = agent.predict(np.zeros(1, np.float32), deterministic=True)
    assert np.isfinite(action).all()


def test_whole_numbers_are_rounded():
    scaling = ActionScaling(Box(0, 10, (2,), np.int64))
    found = scaling.to_environment(np.array([[-1.0, 0.21], [5.0, 0.0]]))
    assert found.tolist() == [[0, 6], [10, 5]]
    assert found.dtype == np.int64
    trained(Aim(Box(0, 10, (2,), np.int64), 5.0, 5.0))


@pytest.mark.parametrize(
    "space", [gym.spaces.Discrete(3, start=5), Box(-3.0, 5.0, (2,), np.float64)]
)
def test_to_policy_undoes_to_environment(space):
    scaling = ActionScaling(space)
    space.seed(0)
    actions = np.array([space.sample() for _ in range(20)])
    found = scaling.to_environment(scaling.to_policy(actions))
    np.testing.assert_allclose(found, actions, rtol=1e-12)
    assert all(space.contains(action) for action in found)


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (gym.spaces.Tuple([Box(0, 1)]), "actions are Tuple.*pass Box, Discrete"),
        (gym.spaces.MultiBinary([2, 2]), "actions are MultiBinary.*of one dimension"),
        (
            gym.spaces.MultiDiscrete([[2, 3], [2, 2]]),
            "(?s)actions are MultiDiscrete.*of one dimension",
        ),
    ],
)
def test_action_spaces_without_a_policy_are_refused(actions, message):
    with pytest.raises(ValueError, match=message):
        agents.PPOLag("MlpPolicy", Aim(actions))


@pytest.mark.parametrize("space", [Box(0.0, 1.0, (), np.float32), gym.spaces.Text(3)])
def test_observation_spaces_without_a_policy_are_refused(space):
    env = Aim(Box(-1.0, 1.0, (1,), np.float32))
    env.observation_space = space
    with pytest.raises(ValueError, match=r"observations are .*FlattenObservation"):
        agents.PPOLag("MlpPolicy", env)


def test_integers_without_a_bound_are_not_scaled():
    """Gymnasium stores a missing bound of integers as their extreme, 2^63 - 1."""
    scaling = ActionScaling(Box(0, np.inf, (2,), np.int64))
    units = np.array([[2.6, 0.4], [-3.0, 9.0]], np.float32)
    np.testing.assert_array_equal(scaling.to_environment(units), [[3, 0], [0, 9]])
