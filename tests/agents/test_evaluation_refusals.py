"""What evaluations refuse, and the words they refuse it with."""

import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv

import agents
from safe_envs import CostSignalError, NonFiniteEnvError
from tests.agents.evaluated import SMALL, FirstAction, Ticker, Undeclared

INTEGRATOR = "Safe/DoubleIntegrator-v0"


class Endless(Undeclared):
    """Never ends."""

    def reset(self, *, seed=None, options=None):
        observation = super().reset(seed=seed)
        self.length = -1
        return observation


class OneRow:
    """Ignores that it is given several observations."""

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return np.zeros((), np.int64), None


class NoMemory:
    """Returns actions alone."""

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return np.zeros(len(observation), np.int64)


@pytest.mark.parametrize(
    ("kind", "message", "agent", "env", "settings"),
    [
        (ValueError, "episodes is 0; pass", FirstAction(), INTEGRATOR, {"episodes": 0}),
        (ValueError, "seed is -1", FirstAction(), INTEGRATOR, {"seed": -1}),
        (ValueError, "n_envs is 0", FirstAction(), INTEGRATOR, {"n_envs": 0}),
        (ValueError, "n_envs is 2, but env is a Ticker", FirstAction(), Ticker(), {"n_envs": 2}),
        (TypeError, "not its class or its file", agents.PPOLag, INTEGRATOR, {}),
        (TypeError, "agent is 'model.zip'; pass a trained agent", "model.zip", INTEGRATOR, {}),
        (TypeError, "object with predict", lambda observation: 0, INTEGRATOR, {}),
        (TypeError, "env is 3; pass a Gymnasium id", FirstAction(), 3, {}),
        (RuntimeError, "not ended after 50 steps; give the environment a time limit", FirstAction(),
         Endless(), {"cost_limit": 1.0, "max_episode_steps": 50}),
        (ValueError, r"actions of shape \(\) for 2 observations; .* shape \(2,\)", OneRow(),
         DummyVecEnv([Undeclared] * 2), {"cost_limit": 1.0}),
        (TypeError, "predict returned a ndarray; it has to return two values", NoMemory(),
         DummyVecEnv([Undeclared] * 2), {"cost_limit": 1.0}),
    ],
)  # fmt: skip
def test_refusals(kind, message, agent, env, settings):
    with pytest.raises(kind, match=message):
        agents.evaluate(agent, env, **settings)


class Broken(Undeclared):
    """One signal of the second step is not a number."""

    def __init__(self, part):
        self.part = part

    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        bad = np.nan if self.t == 2 else 1.0
        return (
            observation * (bad if self.part == "observation" else 1.0),
            reward * (bad if self.part == "reward" else 1.0),
            terminated,
            truncated,
            {"cost": bad} if self.part == "cost" else info,
        )


@pytest.mark.parametrize("part", ["observation", "reward", "cost"])
def test_numbers_that_are_none_are_found_at_their_step(part):
    venv = DummyVecEnv([lambda: Broken("nothing"), lambda: Broken(part)])
    message = f"environment 1, step 2 of .* {part}|step 2 of .*: environment 1: .* {part}"
    with pytest.raises((NonFiniteEnvError, CostSignalError), match=message):
        agents.evaluate(FirstAction(), venv, 4, cost_limit=1.0)


def test_an_agent_with_other_actions_is_refused():
    agent = agents.PPOLag("MlpPolicy", INTEGRATOR, **SMALL)
    with pytest.raises(
        ValueError, match=r"actions are Box.* but the environment's are Discrete\(2\)"
    ):
        agents.evaluate(agent, Ticker())


def test_a_long_episode_is_not_taken_for_an_endless_one():
    result = agents.evaluate(FirstAction(), Undeclared(), 9, cost_limit=1.0, max_episode_steps=4)
    assert result.lengths.tolist() == [4] * 9
