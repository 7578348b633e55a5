"""The port between filter and environment: both that ship with one, and one made here."""

import gymnasium as gym
import numpy as np
import pytest

from safe_envs.contract.vector_env import AutoresetMode
from safe_envs.safety_filters import (
    AffineBarrier,
    FilterPlant,
    SafetyFilter,
    SphereZCBF,
    floored,
    hover_metric,
)
from safe_envs.safety_filters.filter_plant import OffersFilterPlant

TRUE_STATES = {  # of those that ship with a plant, the state as the environment knows it
    "Safe/DoubleIntegrator-v0": lambda env, observation: observation,
    "Safe/Quadrotor-v0": lambda env, observation: env.state,
    "Safe/QuadrotorColumn-v0": lambda env, observation: env.state,
}


@pytest.mark.parametrize("offering", TRUE_STATES)
def test_the_plant_describes_the_environment(offering):
    env = gym.make(offering)
    inner = env.unwrapped
    assert isinstance(inner, OffersFilterPlant)
    plant = inner.filter_plant()
    rng = np.random.default_rng(0)
    observation, _ = env.reset(seed=0)
    for _ in range(5):
        action = rng.uniform(-1.0, 1.0, env.action_space.shape)
        u = plant.decoded(action)
        np.testing.assert_allclose(plant.encoded(u), action, atol=1e-6)
        assert ((plant.low <= u) & (u <= plant.high)).all()
        assert np.array_equal(plant.state(observation), TRUE_STATES[offering](inner, observation))
        rows, bounds = plant.barrier.rows_on(plant)()(plant.state(observation), u)
        assert rows.shape == (len(bounds), len(u))
        observation = env.step(action)[0]
    for edge, end in ((env.action_space.low, plant.low), (env.action_space.high, plant.high)):
        np.testing.assert_allclose(plant.decoded(edge.astype(np.float64)), end)
    count = len(plant.low)
    for metric in plant.metrics.values():
        assert metric().shape == (count, count)
        assert np.linalg.eigvalsh(metric())[0] > 0.0


@pytest.mark.skipif(AutoresetMode is None, reason="native vector forms need Gymnasium 1.1")
@pytest.mark.parametrize("offering", TRUE_STATES)
def test_the_vector_form_offers_the_same_by_columns(offering):
    vector, single = gym.make_vec(offering, num_envs=3), gym.make(offering)
    plant, one = vector.unwrapped.filter_plant(), single.unwrapped.filter_plant()
    observations, _ = vector.reset(seed=0)
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, vector.action_space.shape)
    states, u = plant.state(observations), plant.decoded(actions)
    rows = plant.barrier.rows_on(plant)()
    matrices, bounds = rows.batch(states, u)
    assert matrices.shape == (3, bounds.shape[1], len(u))
    for i in range(3):
        np.testing.assert_array_equal(u[:, i], one.decoded(actions[i]))
        np.testing.assert_allclose(plant.encoded(u)[i], one.encoded(u[:, i]), atol=1e-7)
        matrix, bound = rows.of(i)(states[:, i].copy(), u[:, i].copy())
        np.testing.assert_allclose(matrices[i], matrix, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(bounds[i], bound, rtol=1e-9, atol=1e-9)
    assert plant.metrics.keys() == one.metrics.keys()


def test_defaults_are_the_environments_own_barrier_and_metric():
    left_out = SafetyFilter(gym.make("Safe/Quadrotor-v0"))
    given = SafetyFilter(gym.make("Safe/Quadrotor-v0"), SphereZCBF(3, margin=0.03), "lqr")
    vehicle = given.unwrapped.vehicle
    assert np.array_equal(left_out.metric, floored(hover_metric(vehicle, 0.01)))
    assert left_out.barrier == given.barrier
    for env in (left_out, given):
        env.reset(seed=4)
    for _ in range(60):
        ours, theirs = (env.step(np.full(4, 0.1)) for env in (left_out, given))
        assert np.array_equal(ours[0], theirs[0])
    assert left_out.spec.additional_wrappers[-1].kwargs["barrier"] is None
    assert len(SafetyFilter(gym.make("Safe/DoubleIntegrator-v0")).barrier.offsets) == 156


class Cart(gym.Env):
    """x' = x + 0.1 u in [-1, 1], driven by percentages of a speed of 2 and seen as a text."""

    observation_space = gym.spaces.Text(20)
    action_space = gym.spaces.Box(-100.0, 100.0, (1,), np.float64)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = 0.0
        return str(self.x), {}

    def step(self, action):
        self.x += 0.1 * float(action[0]) / 50.0
        return str(self.x), 0.0, False, False, {}

    def filter_plant(self):
        one = np.ones((1, 1))
        wall = AffineBarrier(one, 0.1 * one, np.array([[1.0], [-1.0]]), np.ones(2))
        return FilterPlant(
            low=np.array([-2.0]),
            high=np.array([2.0]),
            barrier=wall,
            metrics={"flat": lambda: 3.0 * one},
            state=lambda observation: np.array([float(observation)]),
            decoded=lambda action: action / 50.0,
            encoded=lambda u: 50.0 * u,
        )


def test_any_environment_can_offer_a_plant():
    env = SafetyFilter(Cart(), metric="flat")
    env.reset(seed=0)
    infos = [env.step(np.array([70.0]))[4] for _ in range(12)]
    assert [info["filter_active"] for info in infos[:7]] == [False] * 7  # x = 0.98 after these
    assert infos[7]["action_safe"] == pytest.approx([10.0], abs=0.1)  # 0.02 are left
    assert env.unwrapped.x == pytest.approx(1.0, abs=1e-4)
    with pytest.raises(ValueError, match="'lqr' is not known here; pass 'euclidean', 'flat', a"):
        SafetyFilter(Cart())
    with pytest.raises(ValueError, match="no value can be fitted for this environment; pass a"):
        env.fit(None)


def test_an_environment_without_a_plant_is_filtered_in_its_actions():
    def gently(state, reference):
        assert state.shape == (2,)
        return np.array([[-1.0]]), np.array([-0.5])

    env = SafetyFilter(gym.make("MountainCarContinuous-v0"), gently, "euclidean")
    env.reset(seed=0)
    assert env.step([1.0])[4]["action_safe"] == pytest.approx([0.5], abs=1e-4)
    assert env.step([0.4])[4]["action_safe"] == pytest.approx([0.4])
    with pytest.raises(ValueError, match="no barrier of its own; pass an AffineBarrier"):
        SafetyFilter(gym.make("MountainCarContinuous-v0"), metric="euclidean")
