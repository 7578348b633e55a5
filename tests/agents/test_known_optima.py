"""Agents against optima known from linear programs, quadratic programs and probability."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback

import agents
from agents.gymnasium_vec_env import GymnasiumVecEnv
from agents.tabular import linear_program
from safe_envs.contract.vector_env import NativeVectorEnv
from safe_envs.tabular.deep_sea_treasure import deep_sea_treasure_model
from tests.agents.quadratic_bandit import ONE, TWO

LINEAR = {"net_arch": {"pi": [], "vf": []}}


class Track(BaseCallback):
    """Keeps a quantity of the policy, and the weights of the costs, after every rollout."""

    def __init__(self, quantity):
        super().__init__()
        self.quantity = quantity
        self.seen, self.seen_weights = [], []

    def _on_step(self):
        return True

    def _on_rollout_end(self):
        self.seen.append(self.quantity(self.model))
        self.seen_weights.append(self.model.constraint_state()["weight"])

    def last(self, share):
        return np.mean(self.seen[-int(share * len(self.seen)) :], axis=0)

    def weights(self, share):
        return np.mean(self.seen_weights[-int(share * len(self.seen)) :], axis=0)


BANDIT_AGENTS = {
    "PPOALM": {"penalty": 1.5, "primal_steps_per_dual_step": 2},
    "SPMAALM": {"penalty": 1.0, "primal_steps_per_dual_step": 2, "step_size": 0.5},
    "PPOLag": {"multiplier_lr": 1.0},
}


@pytest.mark.parametrize("problem", [ONE, TWO], ids=["one", "two"])
@pytest.mark.parametrize("name", BANDIT_AGENTS)
def test_bandit_with_a_quadratic_program_for_an_answer(name, problem):
    """The entropy bonus keeps the Gaussian from collapsing early; it does not move its mean."""
    agent = getattr(agents, name)(
        "MlpPolicy",
        GymnasiumVecEnv(NativeVectorEnv(problem, 256, None, "SameStep")),
        n_steps=2,
        batch_size=512,
        n_epochs=5,
        learning_rate=lambda remaining: 0.03 * remaining,
        ent_coef=0.8,
        policy_kwargs=LINEAR | {"log_std_init": -1.7},
        seed=0,
        **BANDIT_AGENTS[name],
    )
    track = Track(lambda agent: agent.predict(np.ones(1), deterministic=True)[0])
    agent.learn(512 * 70, callback=track)
    answer, multipliers = problem.optimum()
    assert (multipliers > 0).all()
    assert np.linalg.norm(track.last(0.2) - answer) < 0.05 * np.linalg.norm(answer)
    off = np.linalg.norm(track.weights(0.2) - multipliers)
    assert off < 0.05 * np.linalg.norm(multipliers)


DIVERS = {
    "PPOALM": {"penalty": 1.5, "primal_steps_per_dual_step": 10},
    "SPMAALM": {"penalty": 1.5, "primal_steps_per_dual_step": 10, "step_size": 0.5},
}


DEEP_SEA = deep_sea_treasure_model()


def visited(agent):
    """Return the exact value and cost of an agent's policy in the deep sea."""
    seen = agent.get_env().get_attr("dynamics")[0].observe(np.arange(DEEP_SEA.num_states))
    with torch.no_grad():
        states = torch.as_tensor(seen)
        policy = agent.policy.get_distribution(states).distribution.probs.double().numpy()
    evaluation = DEEP_SEA.evaluate(policy / policy.sum(axis=1, keepdims=True))
    return evaluation.value, evaluation.costs[0]


@pytest.mark.parametrize(("seed", "observation"), [(0, "index"), (1, "index"), (2, "one_hot")])
@pytest.mark.parametrize("name", DIVERS)
def test_deep_sea_ends_at_the_optimum_of_the_linear_program(name, seed, observation):
    """The weight is averaged, for it follows the noise of the measured cost."""
    agent = getattr(agents, name)(
        "MlpPolicy",
        agents.make_vec_env("Safe/DeepSeaTreasure-v0", 256, observation=observation),
        n_steps=16,
        batch_size=4096,
        n_epochs=5,
        learning_rate=lambda remaining: 0.03 * remaining,
        policy_kwargs=LINEAR,
        seed=seed,
        **DIVERS[name],
    )
    track = Track(visited)
    agent.learn(200_000, callback=track)
    value, cost = visited(agent)
    assert value == pytest.approx(0.37370596, abs=0.04)
    assert cost - 0.15 <= 0.03
    assert track.weights(0.2) == pytest.approx([1.0022], rel=0.15)


@pytest.mark.parametrize("seed", range(3))
def test_multipliers_alone_circle_around_the_optimum_of_the_deep_sea(seed):
    """Gradient ascent on the multiplier does not settle on a bilinear problem; its average does.

    The entropy bonus keeps the policy from saturating between the turns.
    """
    agent = agents.PPOLag(
        "MlpPolicy",
        "Safe/DeepSeaTreasure-v0",
        n_envs=64,
        n_steps=8,
        batch_size=512,
        n_epochs=5,
        learning_rate=0.03,
        ent_coef=0.25,
        multiplier_lr=0.1,
        policy_kwargs=LINEAR,
        seed=seed,
    )
    track = Track(visited)
    agent.learn(100_000, callback=track)
    value, cost = track.last(0.2)
    assert value == pytest.approx(0.37370596, abs=0.04)
    assert cost - 0.15 <= 0.03


def test_deep_sea_optimum():
    """The figures above are the linear program's."""
    optimum = linear_program(gym.make("Safe/DeepSeaTreasure-v0").unwrapped.tabular_model())
    assert optimum.value == pytest.approx(0.37370596, abs=1e-8)
    assert optimum.multipliers == pytest.approx([1.0022], abs=1e-4)


REGRESSION_AGENTS = {
    "PPOALM": {"primal_steps_per_dual_step": 2},
    "SPMAALM": {"primal_steps_per_dual_step": 2},
    "PPOLag": {},
    "PPO": {},
}


def regression_cost(name):
    """Train; return mean cost and mean reward of 8,192 fresh stochastic answers."""
    agent = getattr(agents, name)(
        "MlpPolicy",
        "Safe/ConstrainedRegression-v0",
        n_envs=256,
        n_steps=8,
        batch_size=512,
        n_epochs=3,
        learning_rate=lambda remaining: 3e-3 * remaining,
        policy_kwargs={"log_std_init": -2.4},
        seed=0,
        **REGRESSION_AGENTS[name],
    )
    agent.learn(2048 * 60)
    venv = agents.make_vec_env("Safe/ConstrainedRegression-v0", 1024)
    venv.seed(1)
    observations = venv.reset()
    costs, rewards = [], []
    for _ in range(8):
        actions, _ = agent.predict(observations)
        observations, reward, _, infos = venv.step(actions)
        costs += [info["cost"] for info in infos]
        rewards += reward.tolist()
    return np.mean(costs), np.mean(rewards)


@pytest.mark.parametrize("name", REGRESSION_AGENTS)
def test_regression(name):
    """Limit 0.05; the deviation of a mean of 8,192 costs is sqrt(0.05 0.95 / 8192) = 0.0024.

    Answering 0 everywhere is feasible too and earns -1.56767, the mean of -f^2.
    """
    cost, reward = regression_cost(name)
    assert reward > -1.4
    if name == "PPO":
        assert cost > 0.1
    else:
        assert cost < 0.05 + 3 * 0.0024
