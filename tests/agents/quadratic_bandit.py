"""A constrained bandit whose optimum is that of a quadratic program."""

import gymnasium as gym
import numpy as np

from safe_envs import ConstraintSpec
from safe_envs.contract.dynamics import BatchStep
from tests.agents.bare_dynamics import BareDynamics


class QuadraticBandit(BareDynamics):
    """One question, one answer: reward -|a - a0|^2, costs C a + 5, which are >= 0 in the box.

    With limits b on the mean costs the best mean answer solves a quadratic program. Where both
    constraints are active: 2 (a0 - a) = C^T lambda and C a + 5 = b.
    """

    target = np.array([1.0, 0.5])
    offset = 5.0

    def __init__(self, slopes, active_at):
        self.slopes, self.active_at = np.array(slopes), np.array(active_at)
        limits = self.offset + self.active_at
        self.constraints = tuple(
            ConstraintSpec(f"cost_{i}", float(limit)) for i, limit in enumerate(limits)
        )
        self.reward_discount = 1.0
        self.cost_high = np.full(len(limits), 10.0)
        self.single_observation_space = gym.spaces.Box(0.0, 1.0, (1,), np.float64)
        self.single_action_space = gym.spaces.Box(-2.0, 2.0, (2,), np.float32)

    def optimum(self):
        """Return the best mean answer and the multipliers, all constraints active."""
        gram = self.slopes @ self.slopes.T
        multipliers = np.linalg.solve(gram, 2 * (self.slopes @ self.target - self.active_at))
        return self.target - self.slopes.T @ multipliers / 2, multipliers

    def initial_states(self, rng, count):
        return np.ones(count)

    def step(self, states, actions, noise):
        rewards = -np.square(actions - self.target).sum(1)
        costs = actions @ self.slopes.T + self.offset
        return BatchStep(states.copy(), rewards, costs, np.ones(len(states), bool), None)

    def observe(self, states):
        return states[:, None].copy()


ONE = QuadraticBandit([[1.0, 1.0]], [0.5])
TWO = QuadraticBandit([[1.0, 0.5], [-0.2, 1.0]], [0.4, 0.0])
