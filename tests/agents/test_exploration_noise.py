"""How widely agents explore: the first deviation, and its ceiling toward the end."""

import gymnasium as gym
import numpy as np
import pytest

import agents
from agents.gymnasium_vec_env import GymnasiumVecEnv
from safe_envs.contract.vector_env import NativeVectorEnv
from tests.agents.quadratic_bandit import ONE


def env_with_actions(*shape):
    env = gym.make("Safe/DoubleIntegrator-v0")
    env.action_space = gym.spaces.Box(-3.0, 5.0, shape)
    return env


@pytest.mark.parametrize(
    ("shape", "square"), [((1,), 1.0), ((2,), 2.0), ((3,), 2.0), ((2, 4), 2.0)]
)
def test_the_first_noise_has_mean_square_2_in_all_dimensions_together_and_1_in_each(shape, square):
    policy = agents.PPO("MlpPolicy", env_with_actions(*shape), seed=0).policy
    observations = policy.obs_to_tensor(np.zeros((20_000, 2), np.float32))[0]
    distribution = policy.get_distribution(observations)
    off = (distribution.sample() - distribution.mode()).detach()
    assert float(off.square().sum(1).mean()) == pytest.approx(square, rel=0.03)


def test_a_given_noise_is_kept():
    agent = agents.PPO(
        "MlpPolicy", env_with_actions(3), policy_kwargs={"log_std_init": 0.25}, seed=0
    )
    assert agent.policy.log_std.tolist() == [0.25] * 3


@pytest.mark.parametrize("name", ["PPOLag", "CPO"])
def test_the_noise_ends_at_its_ceiling(name):
    """A bandit that rewards noise, through the entropy bonus where there is one."""
    bonus = {"ent_coef": 1.0} if name == "PPOLag" else {}
    agent = getattr(agents, name)(
        "MlpPolicy",
        GymnasiumVecEnv(NativeVectorEnv(ONE, 64, None, "SameStep")),
        n_steps=2,
        learning_rate=1e-2,
        final_noise=0.1,
        seed=0,
        **bonus,
    )
    first = agent.policy.log_std.exp().mean().item()
    agent.learn(128 * 20)
    last = agent.policy.log_std.exp().tolist()
    remaining = 1 / 20  # before the last rollout
    assert max(last) <= first * (0.1 + 0.9 * remaining) * (1 + 1e-6)
    if bonus:
        assert min(last) == pytest.approx(first * (0.1 + 0.9 * remaining), rel=1e-5)


@pytest.mark.parametrize("given", [0.0, 1.5, -0.1])
def test_a_ceiling_out_of_range_is_refused(given):
    with pytest.raises(ValueError, match="final_noise"):
        agents.PPO("MlpPolicy", "Safe/DoubleIntegrator-v0", final_noise=given)


def test_a_ceiling_of_actions_without_noise_is_refused():
    with pytest.raises(ValueError, match=r"final_noise is 0\.1, but the actions are Discrete"):
        agents.PPO("MlpPolicy", "Safe/DeepSeaTreasure-v0", final_noise=0.1)
