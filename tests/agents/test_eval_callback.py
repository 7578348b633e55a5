"""The evaluation callback keeps the best feasible policy, and is otherwise Stable-Baselines3's."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import (
    BaseCallback,
    EvalCallback,
    StopTrainingOnNoModelImprovement,
    StopTrainingOnRewardThreshold,
)
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import agents
from agents import eval_callback
from agents.evaluation_result import EvaluationResult
from safe_envs import ConstraintSpec

PULLS, LIMIT = 10, 7.0
QUICK = {"n_steps": 128, "batch_size": 128, "n_epochs": 2, "learning_rate": 0.01, "seed": 0}


class TemptingBandit(gym.Env):
    """Ten pulls of two arms: one pays 1 and costs 1, the other neither. At most 7 are allowed."""

    observation_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = spaces.Discrete(2)
    constraints = (ConstraintSpec("pulls", LIMIT),)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(1, np.float32), {"cost": 0.0}

    def step(self, action):
        self.t += 1
        paid = float(action)
        return np.zeros(1, np.float32), paid, False, self.t == PULLS, {"cost": paid}


@pytest.fixture
def bandit_id():
    gym.register("TemptingBandit-v0", TemptingBandit)
    yield "TemptingBandit-v0"
    del gym.registry["TemptingBandit-v0"]


def expected_cost(model):
    """The exact expected cost of a policy: it sees the same at every pull."""
    distribution = model.policy.get_distribution(torch.zeros(1, 1)).distribution
    return PULLS * distribution.probs[0, 1].item()


@pytest.mark.parametrize("ours", [True, False])
def test_the_kept_policy_is_feasible_and_that_of_stable_baselines3_is_not(
    ours, bandit_id, tmp_path
):
    """Unconstrained training goes from 5 pulls through the limit to all 10."""
    kind = agents.PPO if ours else PPO
    model = kind("MlpPolicy", TemptingBandit(), device="cpu", **QUICK)
    assert expected_cost(model) < LIMIT - 1
    callback = agents.ConstrainedEvalCallback(
        bandit_id, n_eval_episodes=60, eval_freq=128, best_model_save_path=tmp_path / "ours",
        confidence=0.99, verbose=0,
    )  # fmt: skip
    theirs = EvalCallback(
        Monitor(TemptingBandit()), n_eval_episodes=10, eval_freq=256, verbose=0,
        best_model_save_path=tmp_path / "theirs", deterministic=False,
    )  # fmt: skip
    model.learn(128 * 20, [callback, theirs])
    assert expected_cost(model) > LIMIT + 2
    assert callback.best_is_feasible
    kept, kept_by_reward = (
        kind.load(tmp_path / who / "best_model", device="cpu") for who in ("ours", "theirs")
    )
    again = agents.evaluate(kept, bandit_id, 400, seed=12345)
    assert again.feasible
    assert again.mean_costs == pytest.approx([expected_cost(kept)], abs=0.3)
    assert LIMIT - 2 < expected_cost(kept) <= LIMIT
    assert not agents.evaluate(kept_by_reward, bandit_id, 100, seed=12345).feasible
    assert expected_cost(kept_by_reward) > LIMIT + 2
    # The mean of many evaluations is that of the policies; few were feasible, and the best is one.
    assert callback.best_mean_reward == max(
        one.mean_return for one in callback.evaluations if one.cost_upper_bounds(0.99) <= LIMIT
    )


# Which evaluation is the best, with given results


class Idle(gym.Env):
    """Episodes of one step without anything; the limits are given."""

    observation_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, limits=(1.0,)):
        self.constraints = tuple(ConstraintSpec(f"c{i}", limit) for i, limit in enumerate(limits))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {"cost": 0.0}

    def step(self, action):
        costs = np.zeros(len(self.constraints))
        return np.zeros(1, np.float32), 0.0, True, False, {"cost": 0.0, "costs": costs}


def result_of(value, costs, limits, episodes=2):
    returns, costs = np.full(episodes, float(value)), np.tile(np.array(costs, float), (episodes, 1))
    constraints = tuple(ConstraintSpec(f"c{i}", limit) for i, limit in enumerate(limits))
    ended = (np.ones(episodes, np.int64), np.zeros(episodes, np.bool_))
    return EvaluationResult(constraints, 1.0, 0, False, returns, costs, returns, costs, *ended)


class States(BaseCallback):
    """Writes down what the parent says after each evaluation."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def _on_step(self):
        known = self.parent
        best = known.evaluations_timesteps.index(known.best_timesteps)
        self.seen.append((best, known.best_is_feasible, known.best_mean_reward))
        return True


def replayed(monkeypatch, results, limits, **settings):
    """Return a callback after evaluations with these results."""
    coming = iter(results)
    monkeypatch.setattr(eval_callback, "evaluate", lambda *_, **__: next(coming))
    states = settings.pop("callback_after_eval", States())
    callback = agents.ConstrainedEvalCallback(
        Idle(limits), callback_after_eval=states, eval_freq=1, verbose=0, warn=False,
        n_eval_episodes=2, **settings,
    )  # fmt: skip
    agents.PPO("MlpPolicy", Idle(limits), n_steps=len(results), n_envs=1, batch_size=8).learn(
        len(results), callback
    )
    return callback


@pytest.mark.parametrize("seed", range(8))
def test_the_best_is_the_first_of_the_best_by_brute_force(monkeypatch, seed):
    rng = np.random.default_rng(seed)
    limits = [2.0, 5.0] if seed % 2 else [2.0]
    scale = 4.0 if seed < 4 else 1.5  # most are infeasible, or most feasible
    results = [
        result_of(rng.integers(5), scale * rng.random(len(limits)) * limits, limits)
        for _ in range(12)
    ]
    best = []
    for count in range(1, 13):
        seen = list(enumerate(results[:count]))
        feasible = [(one.mean_return, -i) for i, one in seen if one.feasible]
        relative = [(-max(one.violation / limits), one.mean_return, -i) for i, one in seen]
        best.append((-max(feasible)[-1], True) if feasible else (-max(relative)[-1], False))
    callback = replayed(monkeypatch, results, limits)
    assert [state[:2] for state in callback.callback.seen] == best
    rewards = [state[2] for state in callback.callback.seen]
    assert rewards == sorted(rewards)
    for (index, is_feasible), reward in zip(best, rewards, strict=True):
        if is_feasible:
            assert reward == results[index].mean_return
        else:
            assert reward == pytest.approx(-1e30 * max(results[index].violation / limits))
    assert callback.last_mean_reward == results[-1].mean_return
    assert callback.last_mean_cost.tolist() == results[-1].mean_costs.tolist()
    assert callback.best_mean_cost.tolist() == results[best[-1][0]].mean_costs.tolist()


def test_violations_of_a_limit_of_zero_are_in_units_of_the_first_cost(monkeypatch):
    """The same choices whatever the unit of the cost with limit 0."""
    costs = [[0.0, 30.0], [8.0, 15.0], [4.0, 14.0], [6.0, 12.0], [2.0, 19.0]]
    expected = [0, 1, 2, 2, 2]  # max(c0 / 8, (c1 - 10) / 10) is 2, 1, 0.5, 0.75, 0.9
    for unit in (1.0, 1e-6, 1e6):
        results = [result_of(0, [c0 * unit, c1], [0.0, 10.0]) for c0, c1 in costs]
        callback = replayed(monkeypatch, results, [0.0, 10.0])
        assert [state[0] for state in callback.callback.seen] == expected


def test_the_best_is_judged_by_the_limits_in_force(monkeypatch):
    """With limits that tighten from 3 to 1, a costly early policy does not stay the best."""
    rows = [(9.0, 2.5, 3.0), (5.0, 1.5, 2.0), (4.0, 0.9, 1.0), (8.0, 1.1, 1.0)]
    results = [result_of(value, [cost], [limit]) for value, cost, limit in rows]
    callback = replayed(monkeypatch, results, [3.0])
    assert [state[:2] for state in callback.callback.seen] == [
        (0, True), (1, True), (2, True), (2, True),
    ]  # fmt: skip


def test_confidence_demands_a_margin(monkeypatch):
    close = result_of(5.0, [0.9], [1.0])
    wide = replace(close, costs=np.array([[0.0], [1.8]]))  # same mean, a bound of 0.9 + 6.3 * 0.9
    for confidence, expected in ((None, [True, True]), (0.95, [False, True])):
        callback = replayed(monkeypatch, [wide, close], [1.0], confidence=confidence)
        assert [state[1] for state in callback.callback.seen] == expected


class Count(BaseCallback):
    """Counts its calls, and stops the training at one of them."""

    def __init__(self, last=99):
        super().__init__()
        self.last = last

    def _on_step(self):
        return self.n_calls < self.last


def test_callbacks_on_new_best_and_of_stable_baselines3(monkeypatch):
    rows = [
        (9, 4.0),
        (8, 3.0),
        (7, 3.5),
        (6, 2.0),
        (1, 1.0),
        (2, 0.5),
        (3, 2.0),
        (1, 0.0),
        (2, 1.0),
    ]
    results = [result_of(value, [cost], [1.0]) for value, cost in rows]
    on_best = Count()
    callback = replayed(monkeypatch, results, [1.0], callback_on_new_best=on_best)
    assert (on_best.n_calls, len(callback.evaluations)) == (5, 9)  # 0, 1, 3, 4, 5
    assert on_best.parent is callback
    stopped = replayed(monkeypatch, results, [1.0], callback_on_new_best=Count(3))
    assert len(stopped.evaluations) == 4
    # A smaller violation is an improvement; after evaluation 5 there is none.
    stop = StopTrainingOnNoModelImprovement(max_no_improvement_evals=1)
    assert len(replayed(monkeypatch, results, [1.0], callback_after_eval=stop).evaluations) == 8
    # The infeasible 9 does not pass for it; the first feasible 2 does.
    stop = StopTrainingOnRewardThreshold(reward_threshold=2)
    assert len(replayed(monkeypatch, results, [1.0], callback_after_eval=stop).evaluations) == 6


# Files, logs and the training itself


class Records(KVWriter):
    """An output of a logger that keeps everything."""

    def __init__(self):
        self.rows = []

    def write(self, key_values, key_excluded, step=0):
        self.rows.append((step, dict(key_values)))

    def close(self):
        pass


def test_evaluations_are_written_and_logged(tmp_path):
    """In the layout of Stable-Baselines3's, from which every number can be computed."""
    settings = {"max_episode_steps": 10}
    name = "Safe/DoubleIntegrator-v0"
    env = gym.make(name, per_constraint=True, **settings)
    agent = agents.PPOLag("MlpPolicy", env, cost_limit=[1.0, 2.0, 3.0, 4.0], **QUICK)
    records = Records()
    agent.set_logger(Logger(None, [records]))
    callback = agents.ConstrainedEvalCallback(
        gym.make(name, per_constraint=True, **settings), n_eval_episodes=3, eval_freq=50,
        log_path=tmp_path / "log", verbose=0, warn=False,
    )  # fmt: skip
    agent.learn(128, callback)
    with np.load(tmp_path / "log" / "evaluations.npz", allow_pickle=False) as written:
        logged = {key: written[key] for key in written.files}
    assert logged["timesteps"].tolist() == [50, 100] == callback.evaluations_timesteps
    assert logged["results"].tolist() == callback.evaluations_results
    assert logged["ep_lengths"].tolist() == callback.evaluations_length == [[10] * 3] * 2
    assert logged["costs"].shape == logged["plain_costs"].shape == (2, 3, 4)
    assert logged["limits"].tolist() == [[1.0, 2.0, 3.0, 4.0]] * 2
    means = logged["costs"].mean(axis=1)
    assert logged["feasible"].tolist() == (means <= logged["limits"]).all(axis=1).tolist()
    rows = [row for row in records.rows if "eval/mean_reward" in row[1]]
    assert [step for step, _ in rows] == [50, 100]
    for (_, row), k in zip(rows, range(2), strict=True):
        assert row["eval/mean_reward"] == pytest.approx(logged["results"][k].mean())
        assert row["eval/mean_ep_length"] == 10.0
        assert row["eval/feasible"] == int(logged["feasible"][k])
        for i, constraint in enumerate(logged["constraint_names"].tolist()):
            assert row[f"eval/mean_cost/{constraint}"] == pytest.approx(means[k, i])
            assert row[f"eval/cost_worst/{constraint}"] == logged["costs"][k, :, i].max()
            violation = means[k, i] - logged["limits"][k, i]
            assert row[f"eval/violation/{constraint}"] == pytest.approx(violation)
    assert len(set(logged["results"].ravel().tolist())) == 6  # fresh episodes each time


def test_training_is_the_same_bit_for_bit(bandit_id):
    def trained(*callbacks):
        return agents.PPOLag("MlpPolicy", TemptingBandit(), **QUICK).learn(256, [*callbacks])

    def callback():
        return agents.ConstrainedEvalCallback(bandit_id, n_eval_episodes=3, eval_freq=40, verbose=0)

    first, second = callback(), callback()
    alone, evaluated = trained(), trained(first)
    for name, parameters in alone.policy.state_dict().items():
        assert torch.equal(parameters, evaluated.policy.state_dict()[name]), name
    trained(second)  # and so are the evaluations: their seed is the agent's
    assert first.evaluations_results == second.evaluations_results
    assert first.seed == 0


class Shifted(TemptingBandit):
    """Observations are noise around 50."""

    observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        _, info = super().reset(seed=seed)
        return self._noise(), info

    def step(self, action):
        _, *rest = super().step(action)
        return self._noise(), *rest

    def _noise(self):
        return (50.0 + 10.0 * self.np_random.normal(size=1)).astype(np.float32)


@pytest.mark.parametrize("with_own", [True, False])
def test_statistics_of_vec_normalize_are_those_of_training(with_own, tmp_path):
    def copies():
        return VecNormalize(DummyVecEnv([Shifted]), norm_reward=True)

    agent = agents.PPOLag("MlpPolicy", copies(), **QUICK)
    eval_env = copies() if with_own else Shifted()
    callback = agents.ConstrainedEvalCallback(
        eval_env, n_eval_episodes=4, eval_freq=128, verbose=0, best_model_save_path=tmp_path
    )
    agent.learn(128, callback)
    result = callback.evaluations[0]
    assert result.returns.tolist() == result.costs[:, 0].tolist()  # unscaled
    saved = VecNormalize.load(tmp_path / "vecnormalize.pkl", DummyVecEnv([Shifted]))
    trained = agent.get_env()
    assert saved.obs_rms.count == trained.obs_rms.count == pytest.approx(129)
    kept = agents.PPOLag.load(tmp_path / "best_model")
    again = agents.evaluate(kept, saved, 4, seed=result.seed)
    assert again.returns.tolist() == result.returns.tolist()
    if with_own:
        assert eval_env.obs_rms.mean == trained.obs_rms.mean
        assert eval_env.training


def test_printed_lines_and_the_warning(capsys):
    agent = agents.PPO("MlpPolicy", TemptingBandit(), cost_limit=0.5, **QUICK)
    callback = agents.ConstrainedEvalCallback(TemptingBandit(), n_eval_episodes=2, eval_freq=64)
    with pytest.warns(UserWarning, match=r"none of 2 evaluations was feasible; the best has pulls"):
        agent.learn(128, callback)
    printed = capsys.readouterr().out
    assert "Eval num_timesteps=64, episode_reward=" in printed
    assert "(limit 0.5): not feasible" in printed
    assert "New best policy, not feasible" in printed
    agent.learn(
        64, agents.ConstrainedEvalCallback(TemptingBandit(), None, None, 2, 64, cost_limit=10)
    )
    assert "New best feasible policy!" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("message", "settings"),
    [
        ("n_eval_episodes is 0", {"n_eval_episodes": 0}),
        ("eval_freq is 2.5", {"eval_freq": 2.5}),
        ("confidence is 95; pass a number between 0 and 1", {"confidence": 95}),
        ("with 1 episode, which has no standard dev", {"confidence": 0.9, "n_eval_episodes": 1}),
        ("seed is -3", {"seed": -3}),
    ],
)
def test_refused_at_once(message, settings):
    with pytest.raises(ValueError, match=message):
        agents.ConstrainedEvalCallback(TemptingBandit(), **settings)
    with pytest.raises(TypeError, match="env is None; pass a Gymnasium id"):
        agents.ConstrainedEvalCallback(None)


def test_refused_before_the_first_step():
    def refused(callback, kind, message):
        agent = agents.PPOLag("MlpPolicy", env, **QUICK)
        with pytest.raises(kind, match=message):
            agent.learn(128, callback)
        assert agent.num_timesteps == 0

    env = TemptingBandit()
    own = agents.ConstrainedEvalCallback(env)
    refused(own, ValueError, "eval_env is an environment of training")
    two = agents.ConstrainedEvalCallback(TemptingBandit(), cost_limit=[1.0, 2.0])
    refused(two, ValueError, "cost_limit has 2 entries")
    other = agents.ConstrainedEvalCallback("Safe/DoubleIntegrator-v0")
    refused(other, ValueError, "actions are Discrete")
