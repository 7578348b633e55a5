"""Units do not matter: rewards, costs with their limits, actions and observations in any unit."""

import gymnasium as gym
import numpy as np
import pytest
import torch

import agents
from agents.named_agents import NAMED_AGENTS
from safe_envs import ConstraintSpec

NAMES = [name for name in NAMED_AGENTS if name != "SCPO"]


class Drift(gym.Env):
    """A point in the plane is pushed by an action in [-1, 1]^2; three costs of where it is.

    In other units: rewards times `reward`, cost i and its limit times `costs[i]`, actions in
    [low, high]^2, and observations times `seen` plus `shift`.
    """

    def __init__(
        self, reward=1.0, costs=(1.0,), low=-1.0, high=1.0, seen=1.0, shift=0.0, dtype=np.float32
    ):
        self.reward, self.costs = reward, np.array(costs)
        self.seen, self.shift = np.asarray(seen), shift
        limits = np.array([1.5, 0.7, 2.0])[: len(costs)] * self.costs
        self.constraints = tuple(
            ConstraintSpec(f"cost_{i}", float(limit)) for i, limit in enumerate(limits)
        )
        self.reward_discount = 1.0
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (3,), np.float64)
        self.action_space = gym.spaces.Box(low, high, (2,), dtype)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.place = 0, self.np_random.normal(size=2)
        return self._observed(), {"cost": 0.0, "costs": np.zeros(len(self.costs))}

    def step(self, action):
        assert self.action_space.contains(action)
        low, high = self.action_space.low.astype(float), self.action_space.high.astype(float)
        push = (action.astype(float) - (low + high) / 2) / ((high - low) / 2)
        self.place = self.place + 0.3 * push + 0.05 * self.np_random.normal(size=2)
        self.steps += 1
        x, y = self.place
        # Powers of two apart, so that the sum of the costs is exact in all units.
        every = np.array([max(x, 0.0), y * y, float(abs(x - y) > 1.0)]) * [1.0, 0.25, 1.0]
        costs = np.round(every[: len(self.costs)] * 2**20) / 2**20 * self.costs
        over = bool(np.abs(self.place).max() > 4.0)
        reward = float(np.float32(x + push[1] + y)) * self.reward
        info = {"cost": float(costs.sum()), "costs": costs}
        return self._observed(), reward, over, self.steps == 12, info

    def _observed(self):
        raw = np.array([*self.place, self.steps / 16])
        return self.seen * raw + self.shift


def trained(name, m, updates=5, **units):
    """Return an agent after some updates; `units` may hold more costs than m."""
    costs = units.pop("costs", (1.0, 1.0, 1.0))[:m]
    agent = getattr(agents, name)(
        "MlpPolicy",
        Drift(costs=costs, **units),
        n_steps=64,
        batch_size=32,
        n_epochs=2,
        learning_rate=3e-3,
        policy_kwargs={"net_arch": [8]},
        seed=0,
    )
    return agent.learn(64 * updates)


def actor(agent):
    return torch.cat([p.detach().flatten() for p in agent.policy.actor_parameters()])


def weights(agent, m):
    return agent.constraint_state().get("weight", np.zeros(m))


EVERYTHING = {
    "reward": 2.0**-7,
    "costs": (2.0**9, 2.0**-9, 2.0),
    "low": -8.0,
    "high": 8.0,
    "seen": 2.0**-20,
}
UNITS = {
    "rewards": {"reward": 2.0**-10},
    "large rewards": {"reward": 2.0**10},
    "costs": {"costs": (2.0**-10, 2.0**3, 2.0**10)},
    "large costs": {"costs": (2.0**10, 2.0**-20, 1.0)},
    "actions": {"low": -(2.0**10), "high": 2.0**10},
    "small actions": {"low": -(2.0**-10), "high": 2.0**-10},
    "observations": {"seen": np.array([2.0**-10, 2.0**10, 2.0**30])},
}


@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_powers_of_two_change_no_bit_of_the_policy(name, m):
    """The prices of the costs, in real units, follow the units exactly too."""
    plain, other = trained(name, m), trained(name, m, **EVERYTHING)
    assert torch.equal(actor(other), actor(plain))
    ratio = EVERYTHING["reward"] / np.array(EVERYTHING["costs"][:m])
    assert weights(other, m).tolist() == (weights(plain, m) * ratio).tolist()


@pytest.mark.parametrize("label", UNITS)
def test_each_unit_alone(label, plain_runs):
    for name, plain in plain_runs.items():
        assert torch.equal(actor(trained(name, 3, **UNITS[label])), actor(plain)), name


@pytest.fixture(scope="module")
def plain_runs():
    return {name: trained(name, 3) for name in ("PPOLag", "SPMAALM")}


def test_the_policies_do_change(plain_runs):
    """The comparisons above would hold of policies that learn nothing."""
    earlier = trained("PPOLag", 3, updates=4)
    assert (actor(plain_runs["PPOLag"]) - actor(earlier)).abs().max() > 1e-3
    assert (weights(plain_runs["PPOLag"], 3) > 0).any()


@pytest.mark.parametrize("name", NAMES)
def test_shifted_bounds_and_observations(name):
    """Shifts and other factors round signals and inputs by 1e-16, and networks see float32.

    Conjugate gradients in single precision amplify that: trust regions may be 2e-6 off.
    """
    units = {"low": 3.0, "high": 10.0, "seen": np.array([3e-2, 50.0, 7.0]), "shift": 10.0}
    units |= {"reward": 40.0, "costs": (1e-3, 1e3, 0.7), "dtype": np.float64}
    plain, other = trained(name, 3, dtype=np.float64), trained(name, 3, **units)
    atol = 2e-6 if name in ("TRPOLag", "TRPOALM", "CPO") else 1e-6
    np.testing.assert_allclose(actor(other), actor(plain), rtol=0, atol=atol)
