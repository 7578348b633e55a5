"""A task whose optimum is known ends there in any unit of its reward and its cost."""

import gymnasium as gym
import numpy as np
import pytest

import agents
from agents.gymnasium_vec_env import GymnasiumVecEnv
from agents.named_agents import NAMED_AGENTS
from agents.schedules import LinearDecay
from safe_envs import ConstraintSpec
from safe_envs.contract.dynamics import BatchStep
from safe_envs.contract.vector_env import NativeVectorEnv
from tests.agents.bare_dynamics import BareDynamics

STEPS, LIMIT = 20, 2.0
NAMES = [name for name in NAMED_AGENTS if name not in ("PPO", "SCPO")]


class Throttle(BareDynamics):
    """20 steps, each with reward a and cost max(a, 0) for an action a in [-1, 1]; limit 2.

    The return is at most the cost, so the best feasible return is 2: a = 0.1 at every step.
    """

    def __init__(self, reward=1.0, cost=1.0):
        self.reward, self.cost = reward, cost
        self.constraints = (ConstraintSpec("cost", LIMIT * cost),)
        self.reward_discount = 1.0
        self.cost_high = np.array([cost])
        self.single_observation_space = gym.spaces.Box(0.0, 1.0, (1,), np.float64)
        self.single_action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def initial_states(self, rng, count):
        return np.zeros(count)

    def step(self, states, actions, noise):
        push = actions[:, 0].astype(np.float64)
        ended = np.zeros(len(states), bool)
        costs = self.cost * np.maximum(push, 0.0)[:, None]
        return BatchStep(states + 1.0, self.reward * push, costs, ended, None)

    def observe(self, states):
        return states[:, None] / STEPS


SETTINGS = {
    "n_steps": STEPS,
    "batch_size": 320,
    "n_epochs": 5,
    "policy_kwargs": {"net_arch": {"pi": [], "vf": []}},
}
DESCENT = {"learning_rate": LinearDecay(0.005)}
TRUST = {"max_kl": 0.02, "cg_damping": 1e-3}


def trained(name, reward, cost, seed):
    own = TRUST if name.startswith("TRPO") or name == "CPO" else DESCENT
    venv = GymnasiumVecEnv(NativeVectorEnv(Throttle(reward, cost), 64, STEPS, "SameStep"))
    agent = getattr(agents, name)("MlpPolicy", venv, seed=seed, **SETTINGS, **own)
    return agent.learn(64 * STEPS * 100)


def outcome(agent):
    """Return mean return and cost of 640 fresh episodes of the stochastic policy, at scale 1."""
    venv = NativeVectorEnv(Throttle(), 640, STEPS, "SameStep")
    observations, _ = venv.reset(seed=99)
    returns, costs = np.zeros(640), np.zeros(640)
    for _ in range(STEPS):
        observations, rewards, _, _, infos = venv.step(agent.predict(observations)[0])
        returns += rewards
        costs += infos["cost"]
    return returns.mean(), costs.mean()


@pytest.mark.parametrize(("reward", "cost"), [(1e-3, 1e3), (1e3, 1e-3)])
@pytest.mark.parametrize("name", NAMES)
def test_ends_at_the_feasible_optimum(name, reward, cost):
    value, spent = outcome(trained(name, reward, cost, seed=0))
    assert spent <= 1.1 * LIMIT
    assert value >= 0.9 * LIMIT
