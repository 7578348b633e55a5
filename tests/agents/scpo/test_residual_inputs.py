"""What a residual policy knows about observations: statistics, exactness, and refusals."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents import SCPO
from agents.action_scaling import ActionScaling
from agents.scpo.residual_inputs import ResidualInputs
from safe_envs.contract.backup_policy import LinearFeedback, as_backup_policy
from safe_envs.contract.cost_signal import ConstraintSpec
from safe_envs.contract.one_hot_box import OneHotBox

RNG = np.random.default_rng(0)
UNBOUNDED = spaces.Box(-np.inf, np.inf, (3,), np.float64)
SCALING = ActionScaling(spaces.Box(np.array([0.0, -4.0]), np.array([10.0, 4.0]), dtype=np.float64))
GAIN = RNG.normal(size=(2, 3))
FEEDBACK = LinearFeedback(GAIN, 0.0, 4.0, full_share_radius=2.0)


def inputs(space=UNBOUNDED, scale=None, backup=FEEDBACK, clip_backup=False):
    return ResidualInputs(space, SCALING, backup, clip_backup, scale)


def frozen(observations, **settings):
    made = inputs(**settings)
    record = made.moments()
    for rows in np.array_split(observations, 5):
        record.update(rows)
    made.freeze(record)
    return made


def test_all_parts_by_their_formulas():
    x = 5.0 + np.array([1.0, 30.0, 1e-4]) * RNG.normal(size=(400, 3))
    made = frozen(x)
    z, base, share, raw = np.split(made.standardize(x), [3, 5, 6], axis=1)
    np.testing.assert_allclose(z, (x - x.mean(0)) / x.std(0), rtol=0, atol=1e-9)
    # middle 5 and 0, half the range 5 and 4
    np.testing.assert_allclose(base, (-x @ GAIN.T - [5.0, 0.0]) / [5.0, 4.0])
    np.testing.assert_allclose(share[:, 0], np.minimum(np.linalg.norm(x, axis=1) / 2.0, 1.0))
    np.testing.assert_array_equal(raw, x)
    seen = made(torch.from_numpy(x))
    np.testing.assert_array_equal(seen, made.standardize(x))
    np.testing.assert_array_equal(made.raw(seen), x)
    np.testing.assert_array_equal(made.network_inputs(seen), z)


def test_far_observations_are_clipped_unless_the_scale_was_given():
    x = RNG.normal(size=(100, 3))
    far = np.array([[1e6, 0.0, -1e6]])
    np.testing.assert_array_equal(frozen(x).standardize(far)[0, [0, 2]], [10.0, -10.0])
    np.testing.assert_array_equal(inputs(scale=2.0).standardize(far)[0, :3], far[0] / 2)
    np.testing.assert_array_equal(
        inputs(scale=[1.0, 2.0, 4.0]).standardize(far)[0, :3], far[0] / [1.0, 2.0, 4.0]
    )


def test_the_controller_gets_the_observations_exactly():
    """Numbers that single precision cannot hold arrive bit for bit, in the policy as well."""
    got = []

    def controller(x):
        got.append(np.array(x))
        return np.zeros((len(x), 1))

    model = SCPO(
        "MlpPolicy", "Safe/DoubleIntegrator-v0", safe_policy=controller, validation_states=2
    )
    x = np.array([[1.0 + 2.0**-50, -1e9 - 2.0**-20], [0.1, 1 / 3]])
    model.predict(x, deterministic=True)
    np.testing.assert_array_equal(got[-1], x)
    seen = torch.from_numpy(model.policy.normalizer.standardize(x))
    np.testing.assert_array_equal(got[-1], x)
    model.policy.sample_actions(seen)
    assert len(got) == 2  # rollouts keep what the controller said


def test_a_clipped_controller_stays_within_the_range():
    x = 100.0 * RNG.normal(size=(50, 3))
    base = inputs(scale=1.0, clip_backup=True).standardize(x)[:, 3:5]
    np.testing.assert_allclose(base, (np.clip(-x @ GAIN.T, 0.0, 4.0) - [5.0, 0.0]) / [5.0, 4.0])


def test_entries_that_do_not_vary():
    """A finite width stands in; without one the entry is not seen, and a warning comes later."""
    ends = np.array([[-np.inf, 1.0, -np.inf], [np.inf, 7.0, np.inf]], dtype=np.float32)
    space = spaces.Box(*ends, dtype=np.float32)
    x = np.column_stack((RNG.normal(size=200), np.full(200, 0.3), np.full(200, 0.3)))
    made = frozen(x.astype(np.float32), space=space)
    np.testing.assert_allclose(made.scale[1:], [3.0, 0.0])
    made.update(x.astype(np.float32))
    assert made.standardize(x + 1.0)[0, 2] == 0.0
    with pytest.warns(UserWarning, match="vary in the entries 2, but did not .*observation_scale"):
        made.update(x + 1.0)
    made.update(x + 1.0)  # once


def test_one_hot_vectors_stay_as_they_are():
    made = inputs(space=OneHotBox(3))
    assert made.is_frozen
    np.testing.assert_array_equal(made.standardize(np.eye(3))[:, :3], np.eye(3))


@pytest.mark.parametrize(
    ("controller", "message"),
    [
        (lambda x: np.zeros((len(x), 1)), r"actions of shape \(4, 1\) .* have to be \(4, 2\)"),
        (lambda x: np.zeros((2, len(x))), r"actions of shape \(2, 4\)"),
        (lambda x: 0.0, r"actions of shape \(\)"),
        (lambda x: np.full((len(x), 2), np.nan), r"actions \[nan, nan\], which are not finite"),
    ],
)
def test_controllers_that_do_not_answer(controller, message):
    with pytest.raises(ValueError, match=message):
        inputs(scale=1.0, backup=as_backup_policy(controller)).standardize(np.ones((4, 3)))


@pytest.mark.parametrize("scale", [0.0, -1.0, [1.0, 2.0], [1.0, np.nan, 1.0]])
def test_scales_that_cannot_be(scale):
    with pytest.raises(ValueError, match="observation_scale"):
        inputs(scale=scale)


class OtherSpaces(gym.Env):
    constraints, reward_discount = (ConstraintSpec("cost", 1.0),), 1.0

    def __init__(self, observations, actions=None):
        self.observation_space = observations
        self.action_space = spaces.Box(-1.0, 1.0, (1,)) if actions is None else actions


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (OtherSpaces(spaces.Discrete(3)), "observations are Discrete.*FlattenObservation"),
        (OtherSpaces(spaces.Box(0, 255, (36, 36, 3), np.uint8)), "that are no images"),
        (OtherSpaces(UNBOUNDED, spaces.Discrete(2)), "the actions are Discrete"),
    ],
)
def test_spaces_that_no_controller_takes(env, message):
    with pytest.raises(TypeError, match=message):
        SCPO("MlpPolicy", env, safe_policy=lambda x: x[:, :1])


def test_dictionaries_of_observations_are_refused_whatever_the_policy():
    env = OtherSpaces(spaces.Dict(x=UNBOUNDED))
    with pytest.raises(TypeError, match="FlattenObservation"):
        SCPO("MultiInputPolicy", env, safe_policy=lambda x: x[:, :1])
