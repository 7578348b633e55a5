"""A folder outside of the checkout: an environment with a known optimum, and agents."""

from pathlib import Path

# One step; action 1 earns 1 and costs 1, action 0 nothing. With probability p of action 1 the
# return is p and the cost is p, so that the best feasible policy has p = limit.
ENVIRONMENT = '''
import gymnasium as gym
import numpy as np

from safe_envs import ConstraintSpec, TabularCMDP


class Step(gym.Env):
    """Action 1 earns 1 and costs 1."""

    observation_space = gym.spaces.Discrete(1)
    action_space = gym.spaces.Discrete(2)
    cost_space = gym.spaces.Box(0.0, 1.0, (1,), np.float64)
    reward_discount = 1.0

    def __init__(self, limit=0.4):
        self.constraints = (ConstraintSpec("taken", limit),)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return 0, {"cost": np.float64(0.0)}

    def step(self, action):
        return 0, float(action), True, False, {"cost": np.float64(action)}


def make_step(limit=0.4):
    return Step(limit)


gym.register("Own/Step-v0", "own_step:Step")
'''

AGENTS = '''
import json

import numpy as np

import agents
from agents.agent_settings import primal_dual
from agents.dual.pid import PID
from agents.primal.spma import MirrorAscentSurrogate


class SPMAPID(agents.ConstrainedAgent):
    """SPMA with PID-controlled multipliers."""

    recipe = primal_dual(MirrorAscentSurrogate, PID)


class Constant:
    """Always takes the same action; it has the face of Stable-Baselines3 and no parent."""

    def __init__(self, policy, env, seed=None, action=1):
        self.env, self.action = env, action

    def learn(self, total_timesteps, callback=None):
        self.env.reset(seed=0)
        for _ in range(total_timesteps):
            if any(self.env.step(self.action)[2:4]):
                self.env.reset()

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return np.full(len(observation), self.action), None

    def save(self, path):
        path.write_text(json.dumps({"action": self.action}))

    @classmethod
    def load(cls, path):
        return cls(None, None, **json.loads(path.read_text()))
'''


def write_own_folder(folder: Path) -> Path:
    """Write the modules own_step and own_agents into a folder and return it."""
    (folder / "own_step.py").write_text(ENVIRONMENT)
    (folder / "own_agents.py").write_text(AGENTS)
    return folder
