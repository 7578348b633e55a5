"""An environment and a job with faults, and the two commands that meet them."""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from baselines.__main__ import main
from baselines.atomic_files import write_json
from baselines.jobs.job import Outcome, RunRecord, common_config
from baselines.jobs.run_folder import open_run
from baselines.names.environments import EnvironmentName

CLIFF = "Safe/CliffWorld-v0"
SEA = "Safe/DeepSeaTreasure-v0"
SMALL = ("n_steps=8", "n_envs=1", "n_epochs=1", "cost_limit=1.0")
FAULTY = "Faulty-v0"
STEP = 12  # at which the environment has its fault


def compare(out, *more, agents=("npg_pd",), envs=(CLIFF,), seeds=(0, 1)):
    words = ["compare", "--envs", *envs, "--agents", *agents, "--seeds", *map(str, seeds)]
    words += ["--evaluations", "20", "--total-timesteps", "64", "--eval-episodes", "2"]
    return main([*words, "--out", str(out), *more])


def train(out, env=SEA):
    return main(train_words(out, env))


def train_words(out, env=SEA):
    words = ["train", "--agent", "PPOLag", "--env", env, "--total-timesteps", "64", "--seed", "3"]
    return [*words, "--eval-episodes", "2", "--set", *SMALL, "--out", str(out)]


class Faulty(gym.Env):
    """Episodes of five steps; one step has the fault.

    Args:
        fault: a name of `FAULTS`, "observation", "reward", "cost" (not finite) or "missing".
        unless: a file; while it exists there is no fault, which creates it.
    """

    observation_space = spaces.Box(-1, 1, (1,))
    action_space = spaces.Discrete(2)

    def __init__(self, fault="none", unless=""):
        self.fault, self.unless, self.steps = fault, unless, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        first = np.nan if self.fault == "reset" else 0.0
        return np.full(1, first, np.float32), {"cost": 0.0}

    def step(self, action):
        self.steps += 1
        signals = {"observation": 0.0, "reward": 0.0, "cost": 1.0}
        if self.steps == STEP and not (self.unless and Path(self.unless).exists()):
            if self.unless:
                Path(self.unless).touch()
            FAULTS.get(self.fault, nothing)()
            if self.fault in signals:
                signals[self.fault] = np.nan
            if self.fault == "missing":
                del signals["cost"]
        observation = np.full(1, signals.pop("observation"), np.float32)
        reward = signals.pop("reward")
        return observation, reward, self.steps % 5 == 0, False, signals


def nothing():
    """Do what a sound environment does."""


FAULTS = {
    "none": nothing,
    "sys_exit": lambda: sys.exit(0),
    "os_exit": lambda: os._exit(0),
    "hang": lambda: time.sleep(600),
}

gym.register(FAULTY, Faulty)


@dataclass(frozen=True)
class FaultyJob:
    """A job that starts in no time and has a fault, which is the name of its agent."""

    agent: str
    env: EnvironmentName
    seed: int = 0
    total_timesteps: int = 0
    evaluation_episodes: int = 1
    section = "episodes"
    category = "deep agent"

    @property
    def record(self):
        return RunRecord({**common_config(self), "hyperparameters": {}}, ("done.json",))

    def run(self, folder, command, callback=None):
        open_run(folder, self)
        FAULTS[self.agent]()
        write_json(folder / "done.json", {})

    def outcome(self, folder):
        """Return no result even of a sound job: this one is about the others."""
        error = folder / "error.txt"
        told = "it is done" if (folder / "done.json").exists() else "it left nothing"
        return Outcome(self, None, error.read_text() if error.exists() else told)
