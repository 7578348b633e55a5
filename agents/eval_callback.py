"""Evaluates an agent during training and keeps its best feasible policy."""

from __future__ import annotations

import copy
import os
import warnings
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback, EventCallback
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_normalize

from agents.episode_sampling import LONGEST_EPISODE
from agents.evaluation import copies_of, evaluate, evaluation_env, shares_environments
from agents.evaluation_result import EvaluationResult, check_confidence
from agents.repair_head import head_in
from agents.training_env import AnyEnv, as_vec_env
from agents.training_log import TrainingLog
from safe_envs.contract.argument_checks import check_count, check_whole
from safe_envs.contract.cost_signal import CostLimits

# `best_mean_reward` is this times the violation until a policy is feasible: below every reward.
INFEASIBLE = -1e30


class _Rank(NamedTuple):
    """What policies are compared by, in this order."""

    feasible: bool
    closeness: float  # minus the relative violation; 0 if feasible
    value: float


class ConstrainedEvalCallback(EventCallback):
    """Evaluates during training as `agents.evaluate` does, and saves the best feasible agent.

    Among the evaluations whose mean costs are within the limits, the best is the one with the
    highest return. Until there is one, the best is the one with the least violation,

        max_i [mean cost_i - limit_i]+ / |limit_i|

    (for a limit of 0, in units of the first mean cost_i above 0), and `best_is_feasible` is False.
    Stable-Baselines3's `EvalCallback`, whose arguments and files these are, keeps the highest
    reward whatever it costs. If limits change during training, the best is judged by those in
    force.

    Each evaluation plays fresh episodes. The best of many is better than it will be again, because
    luck is part of why it was chosen: with few episodes, a chosen policy may be above the limit.
    Evaluate it again with `agents.evaluate` and more episodes, or demand a margin with
    `confidence`.

    Logged: eval/mean_reward and eval/mean_ep_length, as in Stable-Baselines3; eval/mean_value, the
    return with the declared discount; eval/mean_cost, violation, cost_p90, cost_p95, cost_cvar and
    cost_worst, followed by "/<constraint>" if there are several; eval/feasible and
    eval/best_is_feasible.

    Attributes:
        evaluations: all results so far.
        best: the best result so far; None before the first evaluation.
        best_timesteps: steps trained at that time.
        best_is_feasible: whether it is within the limits.
        best_mean_cost: its mean costs, (m,).
        best_mean_reward: its mean undiscounted reward. Until it is feasible, -1e30 times the
            relative violation, so that `StopTrainingOnRewardThreshold` does not stop on it, and
            `StopTrainingOnNoModelImprovement` takes a smaller violation as an improvement.
        last_mean_cost: mean costs of the last evaluation, (m,).
        last_mean_reward: its mean undiscounted reward.

    Args:
        eval_env: as `env` of `agents.evaluate`: an id, or environments other than those of
            training. The statistics of a VecNormalize are copied from training.
        callback_on_new_best: called when there is a new best.
        callback_after_eval: called after every evaluation.
        n_eval_episodes: of each evaluation.
        eval_freq: evaluate after so many calls of the callback, which are steps of each training
            environment; 0 never evaluates.
        log_path: folder for evaluations.npz: timesteps, results (undiscounted rewards) and
            ep_lengths, as in Stable-Baselines3, and also values, costs and plain_costs
            (evaluations, episodes, m), limits (evaluations, m), feasible and constraint_names.
        best_model_save_path: folder for best_model.zip, and for vecnormalize.pkl if the agent
            trains in a VecNormalize.
        deterministic: as in `agents.evaluate`; Stable-Baselines3's default is True.
        cost_limit: as in `agents.evaluate`.
        confidence: None compares mean costs with the limits; a number such as 0.95 compares their
            upper bounds of that confidence (`EvaluationResult.cost_upper_bounds`).
        seed: of all evaluations; None takes the agent's, or draws one if it has none.
        max_episode_steps: bound for episodes that do not end.
        verbose: 0 prints nothing, 1 prints each evaluation.
        warn: warn at the end of training if no evaluation was feasible.

    Raises:
        ValueError, TypeError, CostSignalError: at the start of training, as `agents.evaluate`; for
            the environments of training.
    """

    def __init__(
        self,
        eval_env: AnyEnv,
        callback_on_new_best: BaseCallback | None = None,
        callback_after_eval: BaseCallback | None = None,
        n_eval_episodes: int = 20,
        eval_freq: int = 10_000,
        log_path: str | os.PathLike[str] | None = None,
        best_model_save_path: str | os.PathLike[str] | None = None,
        deterministic: bool = False,
        cost_limit: CostLimits = None,
        confidence: float | None = None,
        seed: int | None = None,
        max_episode_steps: int = LONGEST_EPISODE,
        verbose: int = 1,
        warn: bool = True,
    ) -> None:
        super().__init__(callback_after_eval, verbose)
        check_count(n_eval_episodes=n_eval_episodes, max_episode_steps=max_episode_steps)
        check_whole("eval_freq", eval_freq, low=0)
        if seed is not None:
            check_whole("seed", seed, low=0)
        if confidence is not None:
            check_confidence(confidence, n_eval_episodes)
        self._copies = copies_of(eval_env, None, n_eval_episodes)
        self.callback_on_new_best = callback_on_new_best
        if callback_on_new_best is not None:
            callback_on_new_best.parent = self
        self.eval_env = eval_env
        self.n_eval_episodes = n_eval_episodes
        self.eval_freq = eval_freq
        self.log_path = None if log_path is None else os.path.join(log_path, "evaluations")
        self.best_model_save_path = best_model_save_path
        self.deterministic = deterministic
        self.cost_limit = cost_limit
        self.confidence = confidence
        self.seed = seed
        self.max_episode_steps = max_episode_steps
        self.warn = warn
        self.evaluations: list[EvaluationResult] = []
        self.evaluations_timesteps: list[int] = []
        self.best: EvaluationResult | None = None
        self.best_timesteps: int | None = None
        self.best_is_feasible = False
        self.best_mean_reward = self.last_mean_reward = -np.inf
        self._made: VecEnv | None = None  # of an id
        self._sizes = np.zeros(0)  # units of the violations, (m,)

    @property
    def best_mean_cost(self) -> np.ndarray | None:
        """Mean costs of the best evaluation, (m,)."""
        return None if self.best is None else self.best.mean_costs

    @property
    def last_mean_cost(self) -> np.ndarray | None:
        """Mean costs of the last evaluation, (m,)."""
        return self.evaluations[-1].mean_costs if self.evaluations else None

    @property
    def evaluations_results(self) -> list[list[float]]:
        """Undiscounted rewards of all evaluations' episodes, as in Stable-Baselines3."""
        return [result.plain_returns.tolist() for result in self.evaluations]

    @property
    def evaluations_length(self) -> list[list[int]]:
        """Lengths of all evaluations' episodes, as in Stable-Baselines3."""
        return [result.lengths.tolist() for result in self.evaluations]

    def _init_callback(self) -> None:
        super()._init_callback()
        if self.callback_on_new_best is not None:
            self.callback_on_new_best.init_callback(self.model)
        if shares_environments(self.training_env, self.eval_env):
            raise ValueError(
                "eval_env is an environment of training, whose episodes an evaluation would cut "
                "off; pass another one, such as the id"
            )
        for folder in (self.best_model_save_path, self.log_path and os.path.dirname(self.log_path)):
            if folder:
                os.makedirs(folder, exist_ok=True)
        if isinstance(self.eval_env, str):
            made = as_vec_env(self.eval_env, self._copies, ())
            assert isinstance(made, VecEnv)
            self._made = made
        if self.seed is None:
            drawn = int(np.random.SeedSequence().generate_state(1)[0])
            self.seed = drawn if self.model.seed is None else self.model.seed
        self._copy_statistics()
        playing = evaluation_env(self.model, self._played(), self.cost_limit, self._copies)
        with playing as prepared, head_in(self.model, prepared.venv):
            pass  # raises now what would end the training at the first evaluation

    def _on_step(self) -> bool:
        if self.eval_freq == 0 or self.n_calls % self.eval_freq != 0:
            return True
        self._copy_statistics()
        result = self._evaluate()
        is_new_best = self._compare(result)
        self._write()
        self._record(result)
        self._print(result, is_new_best)
        goes_on = True
        if is_new_best:
            self._save()
            if self.callback_on_new_best is not None:
                goes_on = self.callback_on_new_best.on_step()
        if self.callback is not None:
            goes_on = goes_on and self._on_event()
        return goes_on

    def _on_training_end(self) -> None:
        if self._made is not None:
            self._made.close()
            self._made = None
        if self.warn and self.best is not None and not self.best_is_feasible:
            warnings.warn(
                f"none of {len(self.evaluations)} evaluations was feasible; the best has "
                f"{_costs_in_words(self.best)}",
                stacklevel=2,
            )

    def _played(self) -> AnyEnv:
        return self.eval_env if self._made is None else self._made

    def _copy_statistics(self) -> None:
        """Give a VecNormalize of the evaluation the statistics of training's."""
        ours = self.model.get_vec_normalize_env()
        theirs = unwrap_vec_normalize(self.eval_env) if isinstance(self.eval_env, VecEnv) else None
        if ours is None or theirs is None:
            return
        if ours.norm_obs and theirs.norm_obs:
            theirs.obs_rms = copy.deepcopy(ours.obs_rms)
        theirs.ret_rms = copy.deepcopy(ours.ret_rms)

    def _evaluate(self) -> EvaluationResult:
        assert self.seed is not None, "_init_callback chose one"
        sequence = np.random.SeedSequence((self.seed, len(self.evaluations)))
        result = evaluate(
            self.model,
            self._played(),
            self.n_eval_episodes,
            self.deterministic,
            int(sequence.generate_state(1)[0]),
            self.cost_limit,
            max_episode_steps=self.max_episode_steps,
        )
        self.evaluations.append(result)
        self.evaluations_timesteps.append(self.num_timesteps)
        self.last_mean_reward = result.mean_plain_return
        return result

    def _compare(self, result: EvaluationResult) -> bool:
        """Keep a result that is better than the best, and return whether it is."""
        if not len(self._sizes):
            self._sizes = np.zeros(len(result.constraints))
        self._sizes = np.where(self._sizes > 0, self._sizes, result.mean_costs)
        if self.best is not None:  # limits may have changed since
            self.best = replace(self.best, constraints=result.constraints)
        is_new_best = self.best is None or self._rank(result) > self._rank(self.best)
        if is_new_best:
            self.best, self.best_timesteps = result, self.num_timesteps
        assert self.best is not None
        rank = self._rank(self.best)
        self.best_is_feasible = rank.feasible
        self.best_mean_reward = INFEASIBLE * -rank.closeness
        if rank.feasible:
            self.best_mean_reward = self.best.mean_plain_return
        return is_new_best

    def _rank(self, result: EvaluationResult) -> _Rank:
        costs = result.mean_costs
        if self.confidence is not None:
            costs = result.cost_upper_bounds(self.confidence)
        limits = result.limits
        units = np.where(limits == 0.0, np.where(self._sizes > 0, self._sizes, 1.0), np.abs(limits))
        excess = float(np.max((costs - limits) / units))
        return _Rank(excess <= 0.0, -max(excess, 0.0), result.mean_return)

    def _save(self) -> None:
        if self.best_model_save_path is None:
            return
        self.model.save(os.path.join(self.best_model_save_path, "best_model"))
        normalize = self.model.get_vec_normalize_env()
        if normalize is not None:
            normalize.save(os.path.join(self.best_model_save_path, "vecnormalize.pkl"))

    def _write(self) -> None:
        if self.log_path is None:
            return
        done = self.evaluations
        arrays: dict[str, Any] = {
            "timesteps": self.evaluations_timesteps,
            "results": self.evaluations_results,
            "ep_lengths": self.evaluations_length,
            "values": [one.returns for one in done],
            "costs": [one.costs for one in done],
            "plain_costs": [one.plain_costs for one in done],
            "limits": [one.limits for one in done],
            "feasible": [self._rank(one).feasible for one in done],
            "constraint_names": done[0].constraint_names,
        }
        successes = [one.successes for one in done]
        if all(one is not None for one in successes):
            arrays["successes"] = successes
        np.savez(self.log_path, **arrays)

    def _record(self, result: EvaluationResult) -> None:
        self.logger.record("eval/mean_reward", result.mean_plain_return)
        self.logger.record("eval/mean_value", result.mean_return)
        self.logger.record("eval/mean_ep_length", result.mean_length)
        log = TrainingLog(self.logger, result.constraint_names)
        log.per_constraint("eval/mean_cost", result.mean_costs)
        log.per_constraint("eval/violation", result.violation)
        tails = result.cost_tails
        log.per_constraint("eval/cost_p90", np.array([tail.p90 for tail in tails]))
        log.per_constraint("eval/cost_p95", np.array([tail.p95 for tail in tails]))
        log.per_constraint("eval/cost_cvar", np.array([tail.cvar for tail in tails]))
        log.per_constraint("eval/cost_worst", np.array([tail.worst for tail in tails]))
        self.logger.record("eval/feasible", int(self._rank(result).feasible))
        self.logger.record("eval/best_is_feasible", int(self.best_is_feasible))
        if result.successes is not None:
            self.logger.record("eval/success_rate", float(result.successes.mean()))
        self.logger.record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")
        self.logger.dump(self.num_timesteps)

    def _print(self, result: EvaluationResult, is_new_best: bool) -> None:
        if self.verbose < 1:
            return
        feasible = "feasible" if self._rank(result).feasible else "not feasible"
        print(
            f"Eval num_timesteps={self.num_timesteps}, "
            f"episode_reward={result.mean_plain_return:.2f} +/- {result.plain_returns.std():.2f}, "
            f"{_costs_in_words(result)}: {feasible}"
        )
        if is_new_best and self.best_is_feasible:
            print("New best feasible policy!")
        elif is_new_best:
            print("New best policy, not feasible: none was so far, and this one violates least")


def _costs_in_words(result: EvaluationResult) -> str:
    return ", ".join(
        f"{name} {cost:.4g} (limit {limit:.4g})"
        for name, cost, limit in zip(
            result.constraint_names, result.mean_costs, result.limits, strict=True
        )
    )
