"""Where the curve of a training ends, and what the run measured there."""

import csv
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from rich.console import Console

from baselines.commands.evaluate import evaluated_again
from baselines.commands.progress_display import ProgressDisplay
from baselines.commands.train import TrainOptions, train, training_job
from baselines.report.episodes_section import run_curve
from safe_envs import ConstraintSpec

STEPS = 20
SEEDS = (2, 3, 4)


class Tempting(gym.Env):
    """Twenty steps: the reward is the action, and a positive one costs as much; the limit is 2."""

    observation_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    constraints = (ConstraintSpec("push", limit=2.0),)
    reward_discount = 1.0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(1, np.float32), {"cost": 0.0}

    def step(self, action):
        self.t += 1
        push = float(action[0])
        info = {"cost": max(push, 0.0)}
        return np.zeros(1, np.float32), push, False, self.t == STEPS, info


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Trainings in which the cost falls until the end."""
    gym.register("Tempting-v0", Tempting)
    folder, done = tmp_path_factory.mktemp("falling"), []
    overrides = ("n_envs=1", "n_steps=200", "n_epochs=4", "learning_rate=1e-2")
    overrides += (
        "multiplier_lr=0.1",
        "damping=0.3",
        "cost_margin=0",
        "gamma=0.99",
        "cost_gamma=0.99",
    )  # the cost falls slowly
    for seed in SEEDS:
        options = TrainOptions(
            "PPOLag", "Tempting-v0", folder / f"{seed}", 2400, seed, overrides, 60
        )
        assert train(options, Console(quiet=True)) == 0
        done.append(options)
    yield done
    del gym.registry["Tempting-v0"]


def rows_of(run):
    rows = list(csv.DictReader((run.out / "progress.csv").read_text().splitlines()))
    return {key: np.array([float(row[key] or "nan") for row in rows]) for key in rows[0]}


def result_of(run):
    return training_job(run).outcome(run.out).result


def test_the_last_point_of_training_agrees_with_the_result(runs):
    """Within three standard errors of the difference, which the log and the result hold.

    The last rollout is one update older than the result; these seeds change little in it. A mean
    over a hundred episodes, ten points here, would be off by many more.
    """
    for run in runs:
        rows, episodes = rows_of(run), result_of(run).stochastic
        costs, errors = rows["rollout/ep_cost_value_mean"], rows["rollout/ep_cost_value_se"]
        assert rows["rollout/episodes"][-1] == 10
        measured, own_error = episodes.mean_costs[0], episodes.standard_errors[1]
        assert abs(costs[-1] - measured) < 3 * np.hypot(errors[-1], own_error)
        assert costs[-10:].mean() - measured > 6 * np.hypot(errors[-1], own_error)
        assert errors[-1] < 0.5  # the comparison means something
        assert costs[-1] < costs[2] / 2


def test_the_curve_ends_in_the_result_which_other_episodes_confirm(runs):
    for run in runs:
        result = result_of(run)
        curve = run_curve(run.out, result)
        end = curve.final
        assert not end.is_exact
        assert (end.timesteps, curve.timesteps[-1]) == (result.timesteps, result.timesteps)
        assert end.episode_cost.tolist() == result.stochastic.mean_costs
        assert end.episode_return == result.stochastic.mean_return
        costs = np.array(result.stochastic.costs)[:, 0]
        assert end.cost_errors == pytest.approx([costs.std(ddof=1) / len(costs) ** 0.5])
        other = evaluated_again(run.out, 50, seed=99).stochastic
        pairs = [(other.mean_costs[0] - end.episode_cost[0], end.cost_errors[0])]
        pairs.append((other.mean_return - end.episode_return, end.return_error))
        for (difference, error), others in zip(pairs, other.standard_errors[::-1], strict=True):
            assert abs(difference) < 3 * np.hypot(error, others)


def test_the_progress_display_says_what_it_averages_over(runs):
    """Its last line is the last point of training, over ten episodes."""
    run = runs[0]
    rows = rows_of(run)
    display = ProgressDisplay(Console(quiet=True), "title", 1)
    names = {key: values[-1] for key, values in rows.items()}
    display.model = SimpleNamespace(
        reward_discount=1.0,
        constraints=Tempting.constraints,
        logger=SimpleNamespace(name_to_value=names),
    )
    cost, gain = names["rollout/ep_cost_value_mean"], names["rollout/ep_value_mean"]
    shown = display._measured()
    assert shown.startswith(f"10 episodes: return {gain:.3g}")
    assert f"{cost:.3g}[/] (limit 2)" in shown
    display.model.reward_discount = 0.9
    display.model.constraints = (ConstraintSpec("push", 2.0, discount=0.5),)
    shown = display._measured()
    assert "10 episodes: discounted return" in shown
    assert "discounted cost [" in shown
