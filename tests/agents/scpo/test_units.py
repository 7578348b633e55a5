"""An agent that sees the same problem in other units learns the same policy."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback

from agents import SCPO, make_vec_env
from agents.flat_parameters import flat_values
from safe_envs.contract.cost_signal import ConstraintSpec

ENV = "UnitsOfMeasurement-v0"
LIMIT = 0.85  # the safe controller costs at most 0.79: 0.1 (0.9 + 0.9^2 + ... + 0.9^20)
EDGE = 1.05
POWERS = {"reward": 2.0**-9, "costs": (2.0**7, 2.0**-11, 8.0), "seen": 2.0**-4, "done": 2.0**6}
SHIFTS = {"seen": 12.7, "seen_shift": -800.0, "done": 0.3, "done_shift": 3.1}


class Particle(gym.Env):
    """x' = x + u / 10 from a random start, with every number in a unit of its own."""

    def __init__(
        self, constraints=1, reward=1.0, costs=(1.0,) * 3, seen=1.0, seen_shift=0.0, done=1.0,
        done_shift=0.0,
    ):  # fmt: skip
        self.unit, self.costs = reward, np.array(costs)[:constraints]
        self.seen, self.seen_shift, self.done, self.done_shift = seen, seen_shift, done, done_shift
        limits = self.costs * LIMIT
        self.constraints = tuple(
            ConstraintSpec(f"cost_{i}", limit) for i, limit in enumerate(limits.tolist())
        )
        self.reward_discount = 1.0
        self.observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float64)
        ends = (done_shift + done * end for end in (-1.0, 1.0))
        self.action_space = spaces.Box(*ends, (3,), np.float64)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = self.np_random.uniform(-1.0, 1.0, size=3)
        return self.observe(), self.info(np.zeros_like(self.costs))

    def step(self, action):
        u = np.clip((action - self.done_shift) / self.done, -1.0, 1.0)
        self.x = self.x + 0.1 * u
        cost = self.costs * np.maximum(self.x[: len(self.costs)], 0.0) / 10
        reward = -self.unit * np.square(self.x - 2.0).sum()
        return self.observe(), reward, False, False, self.info(cost)

    def observe(self):
        return self.seen * self.x + self.seen_shift

    def info(self, cost):
        margins = self.costs * (self.x[: len(self.costs)] - EDGE)
        return {"cost": np.float64(cost.sum()), "costs": cost, "constraint_values": margins}

    def backup_policy(self):
        def controller(observation):
            u = -(observation - self.seen_shift) / self.seen
            return self.done * np.clip(u, -1.0, 1.0) + self.done_shift

        return controller


@pytest.fixture(autouse=True)
def registered():
    gym.register(ENV, Particle, max_episode_steps=20)
    yield
    del gym.registry[ENV]


class Updates(BaseCallback):
    """The policies of the first five updates, as actions in shares of the range and parameters."""

    def __init__(self, states):
        super().__init__()
        self.states, self.actions, self.parameters, self.projected = states, [], [], 0

    def _on_rollout_start(self):
        unit = self.training_env.envs[0].unwrapped
        seen = unit.seen * self.states + unit.seen_shift
        done = self.model.predict(seen, deterministic=True)[0]
        self.actions.append((done - unit.done_shift) / unit.done)
        self.parameters.append(flat_values(self.model.policy.actor_parameters()))
        self.projected += self.logger.name_to_value.get("train/projected", 0.0) > 0.0

    def _on_step(self):
        return len(self.parameters) < 6


def first_updates(measure, objective="ppo", settings=None, **units):
    usual = {"actor_learning_rate": 1e-2, "actor_steps": 20, "groups": 4}
    model = SCPO(
        "MlpPolicy",
        make_vec_env(ENV, 2, **units),
        objective=objective,
        measure=measure,
        expert=Upward(units),
        validation_states=4,
        n_steps=60,
        n_epochs=1,
        policy_kwargs={"blocks": 2},
        seed=0,
        **{**usual, **(settings or {})},
    )
    updates = Updates(np.random.default_rng(0).uniform(-2.0, 2.0, size=(50, 3)))
    model.learn(100_000, callback=updates)
    return updates


class Upward:
    """An expert that pushes every entry of x up, in the environment's units."""

    def __init__(self, units):
        self.action = 0.9 * units.get("done", 1.0) + units.get("done_shift", 0.0)

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return np.full((len(observation), 3), self.action), state


@pytest.mark.parametrize(("constraints", "measure"), [(1, "costs"), (3, "margins")])
def test_powers_of_two_change_no_bit(constraints, measure):
    plain = first_updates(measure, constraints=constraints)
    other = first_updates(measure, constraints=constraints, **POWERS)
    assert plain.projected + other.projected >= 2
    assert not np.array_equal(plain.actions[0], plain.actions[-1])
    for one, two in zip(plain.parameters, other.parameters, strict=True):
        assert torch.equal(one, two)
    np.testing.assert_array_equal(plain.actions, other.actions)


@pytest.mark.parametrize("objective", ["reinforce", "imitation"])
def test_powers_of_two_change_no_bit_of_other_objectives(objective):
    plain, other = (
        first_updates("costs", objective, constraints=3, **units) for units in ({}, POWERS)
    )
    assert not torch.equal(plain.parameters[0], plain.parameters[-1])
    assert torch.equal(plain.parameters[-1], other.parameters[-1])


@pytest.mark.parametrize("constraints", [1, 3])
def test_shifts_and_other_factors_change_rounding_only(constraints):
    """Of rewards times 300 the float32 advantages are rounded elsewhere.

    Adam divides by the root of its second moments, which at first are small for the network that
    was zero, and so makes the rounding larger; it grows with every update.
    """
    odd = {**SHIFTS, "reward": 300.0, "costs": (0.7, 1e-3, 90.0)}
    short = {"actor_learning_rate": 1e-3, "actor_steps": 5}
    plain, other = (
        first_updates("costs", settings=short, constraints=constraints, **units)
        for units in ({}, odd)
    )
    assert np.abs(plain.actions[1] - plain.actions[0]).max() > 0.01
    np.testing.assert_allclose(plain.actions[0], other.actions[0], rtol=0, atol=1e-14)
    np.testing.assert_allclose(plain.actions[1], other.actions[1], rtol=0, atol=2e-6)
    np.testing.assert_allclose(plain.actions, other.actions, rtol=0, atol=1e-3)
