"""No two trainings share evaluation episodes, and no evaluation shares any with a training."""

import json

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from rich.console import Console

import agents
from agents.evaluation import MOST_COPIES
from agents.training_env import Contract
from baselines.commands.evaluate import evaluated_again
from baselines.commands.train import TrainOptions, train
from baselines.jobs.episodic_job import FIRST_EVALUATION_SEED, LARGEST_SEED, evaluation_seed
from baselines.measures.episode_sampling import BLOCK, sample_episodes, seeds_of

TRAININGS = [*range(2_000), 99_999, 2**20, 2**24 + 1, FIRST_EVALUATION_SEED - 1]
EXPLICIT = [*range(2_000), 12_345, 2**20, FIRST_EVALUATION_SEED - 1]


def used(seed):
    """Return the numbers that an evaluation with as many copies as there may be starts from."""
    first, policy = seeds_of(seed)
    return [*range(first, first + BLOCK - 1), policy]


@pytest.mark.parametrize("bits", [32, 64])
def test_no_number_is_used_twice(bits):
    """Not even by environments that take seeds modulo 2**32, as PyTorch's generator does."""
    seeds = [evaluation_seed(training) for training in TRAININGS] + EXPLICIT
    numbers = [number % 2**bits for seed in seeds for number in used(seed)]
    assert len(set(numbers)) == len(seeds) * BLOCK
    assert min(numbers) > LARGEST_SEED + 2**20  # the last training's copies
    assert max(numbers) < 2**32  # larger ones are refused by NumPy's older generators


def test_the_largest_training_seeds_have_their_own_episodes():
    seeds = [evaluation_seed(LARGEST_SEED - i) for i in range(100)] + [evaluation_seed(0)]
    numbers = [number for seed in seeds for number in used(seed)]
    assert len(set(numbers)) == len(numbers)
    assert min(number % 2**32 for number in numbers) > LARGEST_SEED + 2**20
    torch.Generator().manual_seed(max(numbers))


def test_an_evaluation_has_seeds_for_all_of_its_copies():
    assert MOST_COPIES < BLOCK
    venv = agents.make_vec_env("Safe/CliffWorld-v0", BLOCK)
    contract = Contract((), 1.0)
    with pytest.raises(ValueError, match=f"are {BLOCK} copies .* make at most {BLOCK - 1}"):
        sample_episodes(object(), venv, contract, BLOCK, seed=0, deterministic=True)


class Starts(gym.Env):
    """One step from a random start, which is the reward; costs nothing."""

    observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float64)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.start = self.np_random.normal()
        return np.array([self.start]), {}

    def step(self, action):
        return np.zeros(1), self.start, True, False, {"cost": 0.0}


def starts_of(folder, mode="stochastic"):
    return json.loads((folder / "result.json").read_text())[mode]["returns"]


def test_runs_share_episodes_across_agents_and_modes_but_not_across_seeds(tmp_path):
    """The starts depend on the environments' seeds alone, so equal ones are equal episodes."""
    gym.register("Starts-v0", Starts)
    try:
        for agent in ("PPOLag", "PPOALM"):
            for seed in (0, 1):
                overrides = ("cost_limit=1.0", "n_envs=1", "n_steps=32", "n_epochs=1")
                folder = tmp_path / f"{agent}_{seed}"
                options = TrainOptions(agent, "Starts-v0", folder, 32, seed, overrides, 25)
                assert train(options, Console(quiet=True)) == 0
        again = evaluated_again(tmp_path / "PPOLag_0", 40, None)
        other = evaluated_again(tmp_path / "PPOLag_0", 40, 1)
    finally:
        del gym.registry["Starts-v0"]
    own, next_one = starts_of(tmp_path / "PPOLag_0"), starts_of(tmp_path / "PPOLag_1")
    assert (
        own == starts_of(tmp_path / "PPOALM_0") == starts_of(tmp_path / "PPOLag_0", "deterministic")
    )
    assert len({*own, *next_one}) == 50
    assert {*own} < {*again.stochastic.returns}  # the same, and more
    assert not {*other.stochastic.returns} & {*own, *next_one}
