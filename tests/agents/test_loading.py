"""Loading changes what it is asked to change, or says that it cannot."""

import pytest
import torch
from stable_baselines3.common.utils import ConstantSchedule

import agents
from agents.critic_descent import NonFiniteLossError

TREASURE = "Safe/DeepSeaTreasure-v0"
SMALL = {"n_steps": 64, "n_epochs": 1, "multiplier_optimizer": "ascent", "multiplier_lr": 0.5}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("saved") / "agent.zip")
    agents.PPOLag("MlpPolicy", TREASURE, seed=0, **SMALL).learn(128).save(path)
    return path


def test_the_limit_can_be_changed(saved):
    """The multiplier then moves by 0.5 (cost - limit), with a mean cost between 0 and 1."""
    before = agents.PPOLag.load(saved).constraint_state()["multiplier"]
    agent = agents.PPOLag.load(saved, TREASURE, cost_limit=-3.0)
    assert agent.cost_limit.tolist() == [-3.0]
    agent.learn(64)
    gained = agent.constraint_state()["multiplier"] - before
    assert 0.5 * 3.0 <= gained[0] <= 0.5 * 4.0
    assert agents.PPOLag.load(saved, cost_limit=None).cost_limit.tolist() == [0.15]
    with pytest.raises(ValueError, match="cost_limit has 2 entries"):
        agents.PPOLag.load(saved, cost_limit=[0.1, 0.2])


def test_shared_arguments_can_be_changed(saved):
    changes = {"n_steps": 32, "gae_lambda": 0.5, "learning_rate": 1e-5, "seed": 3, "gamma": None}
    agent = agents.PPOLag.load(saved, TREASURE, **changes).learn(32)
    assert agent.num_timesteps == 32
    assert agent.gae_lambda == 0.5
    assert agent.gamma == agents.PPOLag.load(saved).gamma == 0.9
    assert agent.policy.optimizer.param_groups[0]["lr"] == 1e-5


def test_a_parts_argument_cannot(saved):
    with pytest.raises(ValueError, match="n_epochs is 1 in .*cannot change it to 5; leave it out"):
        agents.PPOLag.load(saved, n_epochs=5)
    with pytest.raises(ValueError, match="clip_range is 0.2 in .*cannot change it to"):
        agents.PPOLag.load(saved, clip_range=ConstantSchedule(0.3))
    same = {"n_epochs": 1, "multiplier_optimizer": "ascent", "target_kl": None}
    agents.PPOLag.load(saved, **same, clip_range=ConstantSchedule(0.2))


def test_equal_schedules_are_no_change(tmp_path):
    path = str(tmp_path / "agent.zip")
    schedule = ConstantSchedule(0.1)
    agents.PPO("MlpPolicy", TREASURE, clip_range=schedule).save(path)
    agents.PPO.load(path, clip_range=ConstantSchedule(0.1))
    agents.PPO.load(path, clip_range=0.1)
    with pytest.raises(ValueError, match="clip_range is Constant.* cannot change it to"):
        agents.PPO.load(path, clip_range=ConstantSchedule(0.3))


def test_an_unknown_argument_is_refused(saved):
    with pytest.raises(TypeError, match="unknown argument 'n_step'; did you mean 'n_steps'?"):
        agents.PPOLag.load(saved, n_step=32)


def test_scpo_takes_a_schedule_of_its_clip_range():
    """A constant one leads to the same parameters, and none is asked beyond the end."""

    def trained(clip_range):
        small = {"n_steps": 150, "n_epochs": 1, "actor_steps": 2, "validation_states": 2}
        agent = agents.SCPO(
            "MlpPolicy", "Safe/DoubleIntegrator-v0", clip_range=clip_range, seed=0, **small
        ).learn(700)
        return agent.policy.state_dict()

    asked = []

    def constant(progress):
        asked.append(progress)
        return 0.2

    number, schedule = trained(0.2), trained(constant)
    assert all(torch.equal(number[name], schedule[name]) for name in number)
    assert asked == [0.0]  # measuring the first policy used half of the budget
    with pytest.raises(ValueError, match="clip_range is 0.0; pass a number > 0"):
        agents.SCPO("MlpPolicy", "Safe/DoubleIntegrator-v0", clip_range=0.0)


def test_searches_take_a_loss_that_is_not_finite_for_a_failed_trial():
    """RL Zoo prunes trials that raise a ValueError, and stops at anything else."""
    assert issubclass(NonFiniteLossError, ValueError)
    assert issubclass(NonFiniteLossError, RuntimeError)
