"""The one training loop of all deep agents, on Stable-Baselines3's on-policy machinery."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import MaybeCallback, Schedule
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_normalize

from agents.actor_critic import CnnPolicy, MlpPolicy, MultiInputPolicy
from agents.adjustable_agent import AdjustableAgent
from agents.agent_settings import plain
from agents.batch import Batch
from agents.cost_limits import LimitSetting, checked_schedule, limits_at_start
from agents.episode_record import EpisodeRecord
from agents.exchanged_env import check_exchange, is_normalized
from agents.repair_count import RepairCount
from agents.repair_head import Head, argument_of_policy, checked_head
from agents.rollout import Rollout, check_observations, plain_rewards
from agents.schedules import LinearDecay
from agents.sequential_vec_env import in_sequence
from agents.shared_arguments import (
    check_end,
    check_memory,
    check_policy_class,
    check_shared,
    check_spaces,
    checked_device,
    without_no_ops,
)
from agents.signatures import Argument, arguments_of, docstring_of, signature_of
from agents.training_env import (
    USUAL_DISCOUNT,
    AnyEnv,
    Contract,
    advantage_discount,
    as_vec_env,
    check_copies,
    contract_of,
    declared_limits_of,
    errors_named,
    lowest_discount,
    step_of,
    undeclared_constraints,
)
from agents.training_log import TrainingLog
from agents.training_warnings import TrainingWatch
from agents.update_kernel.blas_thread import one_blas_thread
from agents.update_kernel.rollout_actor import rollout_actor
from safe_envs.contract.cost_signal import ConstraintSpec, with_limits
from safe_envs.contract.transition_values import kept

SelfAgent = TypeVar("SelfAgent", bound="ConstrainedAgent")
USUAL_LEARNING_RATE = LinearDecay(1e-3)


class ConstrainedAgent(AdjustableAgent):
    """An on-policy agent that maximizes the return subject to limits on expected costs.

    Every update takes `n_steps` steps of each environment, estimates the advantages of the reward
    and of all m costs, and passes them to the agent's own update together with the constraints'
    violation: mean cost - limit over the episodes that ended since then, with declared discounts.

    With several environments and rollouts shorter than an episode, the first episodes to end are
    the short and cheap ones: keep `n_steps` at least as long as an episode.

    Args:
        policy: "MlpPolicy", "CnnPolicy", "MultiInputPolicy" or a subclass of
            `agents.actor_critic.MlpPolicy`.
        env: Gymnasium id, environment, Gymnasium vector environment, or VecEnv. One without
            declared constraints needs `cost_limit` and is read from `info["cost"]`.
        cost_limit: None for the declared limits, one number, or one per constraint; each may be a
            function of the remaining progress, 1 to 0.
        n_envs: copies to make of an id; of no use where `env` is already made.
        learning_rate: of Adam, or a function of the remaining progress, 1 to 0.
        n_steps: steps per environment and update.
        gamma: discount of the advantages of the reward; None takes the declared discount if that
            is below 1, else 0.995.
        cost_gamma: the same for the costs.
        gae_lambda: lambda of the reward's advantage estimates.
        cost_gae_lambda: lambda of the costs' advantage estimates.
        end_saves_cost: whether an end saves the costs that would have followed. False, with a
            cost_gamma below 1, lets the cost critics go on there from the last state's value.
        normalize_observation: standardize Box observations (not images and one-hot vectors) by
            their running mean and deviation, which belong to the agent: `predict` takes raw
            observations. A VecNormalize that does the same is not doubled.
        stats_window_size: most episodes in `ep_info_buffer` and in the logged success rate. Other
            averages cover the last rollout's episodes, or the last ten if that is more.
        tensorboard_log: folder of TensorBoard's files.
        policy_kwargs: arguments of the policy.
        head: None, or "wrapper" to repair every action by the environment's `action_constraint()`,
            in training and in `predict`; the log-probability is the proposed action's.
        verbose: 0 prints nothing, 1 prints the log.
        seed: of all random numbers.
        device: "cpu" unless the observations are images.
        **settings: arguments of the agent's parts; see the class.

    Raises:
        TypeError: for an unknown argument.
        ValueError: for a setting out of range, in `learn` a schedule's, or too many or few limits.
        CostSignalError: if the environment declares no constraints and no limit is given; in
            `learn`, at a step whose cost breaks the contract.
        NonFiniteEnvError, NonFiniteLossError: in `learn`, at numbers that are not finite.
    """

    needs_constraints: ClassVar[bool] = True
    differentiates: ClassVar[bool] = False  # whether it learns through a head
    policy: MlpPolicy
    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": MlpPolicy,
        "CnnPolicy": CnnPolicy,
        "MultiInputPolicy": MultiInputPolicy,
    }

    def __init_subclass__(cls) -> None:
        """Give an agent with a recipe a constructor and a docstring that list all arguments."""
        super().__init_subclass__()
        if "recipe" not in vars(cls):
            return
        arguments = cls.all_arguments()
        cls.defaults = {one.name: one.default for one in arguments}
        if "__init__" in vars(cls):
            return
        shared = {one.name: one.default for one in arguments if one.module == __name__}

        def __init__(self: ConstrainedAgent, *given: Any, **named: Any) -> None:
            super(cls, self).__init__(*given, **{**shared, **named})

        __init__.__signature__ = signature_of(ConstrainedAgent, arguments)  # type: ignore[attr-defined]
        cls.__init__ = __init__  # type: ignore[method-assign]
        cls.__doc__ = docstring_of(cls.__doc__ or "", ConstrainedAgent, arguments)

    def __init__(
        self,
        policy: str | type[MlpPolicy],
        env: AnyEnv | None,
        *,
        cost_limit: LimitSetting = None,
        n_envs: int = 1,
        learning_rate: float | Schedule | None = None,
        n_steps: int = 2048,
        gamma: float | None = None,
        cost_gamma: float | None = None,
        gae_lambda: float = 0.95,
        cost_gae_lambda: float = 0.95,
        end_saves_cost: bool = True,
        normalize_observation: bool = True,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        head: Head = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "cpu",
        _init_setup_model: bool = True,
        **settings: Any,
    ) -> None:
        settings = without_no_ops(settings)
        self.settings = self.recipe.settings(settings, [*self.arguments(), "env"])
        if learning_rate is None:
            learning_rate = self.arguments()["learning_rate"]
        check_shared({name: value for name, value in locals().items() if name != "self"})
        check_policy_class(policy, MlpPolicy, self.policy_aliases)
        check_copies(env, n_envs, self.arguments()["n_envs"])
        limits, prepared = limits_at_start(cost_limit), None
        if env is not None:
            prepared = as_vec_env(env, n_envs, undeclared_constraints(limits))
        super().__init__(
            policy,
            None,  # type: ignore[arg-type]
            learning_rate=plain(learning_rate),
            n_steps=int(n_steps),
            gamma=USUAL_DISCOUNT,
            gae_lambda=gae_lambda,
            ent_coef=0.0,
            vf_coef=0.0,
            max_grad_norm=0.0,
            use_sde=False,
            sde_sample_freq=-1,
            stats_window_size=int(stats_window_size),
            tensorboard_log=tensorboard_log,
            policy_kwargs=policy_kwargs,
            verbose=int(verbose),
            seed=None if seed is None else int(seed),
            device=checked_device(device),
            _init_setup_model=False,
        )
        if prepared is not None:
            check_spaces(policy, prepared.observation_space, prepared.action_space)
            self._attach_env(prepared)
        for unused in ("ent_coef", "vf_coef", "max_grad_norm"):
            delattr(self, unused)  # where they apply, they are settings of the parts
        self.cost_gae_lambda, self.end_saves_cost = cost_gae_lambda, bool(end_saves_cost)
        self.normalize_observation = bool(normalize_observation)
        self.head = checked_head(head, self.differentiates)
        if self.env is not None and _init_setup_model:
            contract = contract_of(self.env, limits, self.needs_constraints)
            self._hold_to(contract, gamma, cost_gamma)
            self.limit_schedule = checked_schedule(self, cost_limit)
            self._update = self.recipe.build(self.settings, len(self.constraints))
            self._setup_model()
            self.check_settings(self.settings)
            self.is_made = True

    def constraint_state(self) -> dict[str, np.ndarray]:
        """Return the weights of the costs, the multipliers and whatever else is logged of them.

        Each array holds one number per constraint, or a single number; "weight" is the price w.
        """
        return self._update.log()

    def learn(
        self: SelfAgent,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str | None = None,
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> SelfAgent:
        """Train for at least this many steps, as in Stable-Baselines3."""
        name = type(self).__name__ if tb_log_name is None else tb_log_name
        given = (total_timesteps, callback, log_interval, name, reset_num_timesteps, progress_bar)
        with errors_named(self.env, self.seed), one_blas_thread():
            return super().learn(*given)

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        rollout_buffer: Any,
        n_rollout_steps: int,
    ) -> bool:
        """Take `n_rollout_steps` steps of every environment; False if a callback stopped it."""
        assert self._last_obs is not None, "learn() resets the environments first"
        self.policy.set_training_mode(False)
        callback.on_rollout_start()
        policy, head = self.policy, self.policy.repair_head
        repairs = RepairCount()
        self._rollout = rollout = Rollout(n_rollout_steps, env.num_envs, len(self.constraints))
        actor = rollout_actor(policy, n_rollout_steps, env.num_envs, self._acts_in_numpy())
        statistics = policy.normalizer.in_rollout(env.num_envs)
        seen = statistics.standardize(self._last_obs)
        try:
            for n_steps in range(1, n_rollout_steps + 1):  # noqa: B007 callbacks look the name up
                actions = actor.actions(seen)
                clipped_actions = policy.taken(self._last_obs, actions)
                new_obs, fresh, rewards, dones, infos, stepped = step_of(env, clipped_actions)
                if head is not None:
                    repairs.add(head.told(infos), stepped)
                self.num_timesteps += int(np.count_nonzero(stepped))
                callback.update_locals(locals())
                goes_on = callback.on_step()  # the step is taken and counts, whatever it answers
                if np.count_nonzero(dones):
                    ended = np.flatnonzero(dones)
                    self._update_info_buffer([infos[row] for row in ended], dones[ended])
                step = self.num_timesteps // env.num_envs
                truncated = rollout.check(new_obs, rewards, infos, dones, step)
                statistics.update(fresh)
                new_seen = statistics.standardize(new_obs)
                last_seen = {row: statistics.standardize(last) for row, last in truncated.items()}
                plain = plain_rewards(self._vec_normalize_env)
                rollout.add(seen, actions, dones, last_seen, new_seen, stepped, plain)
                self._last_obs, self._last_episode_starts, seen = new_obs, dones, new_seen
                if not goes_on:
                    return False
        finally:
            rollout.record(self.episodes)
        self._log().episodes(self.episodes, repairs.share())
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def last_batch(self) -> tuple[Batch, np.ndarray]:
        """Return the last rollout to learn from, and each critic's explained variance, (1 + m,)."""
        counts = (1, len(self.constraints))
        discounts = np.repeat([self.gamma, self.cost_gamma], counts)
        lambdas = np.repeat([self.gae_lambda, self.cost_gae_lambda], counts)
        in_numpy, saves = self._acts_in_numpy(), self.end_saves_cost
        return self._rollout.batch(self.policy, discounts, lambdas, in_numpy, saves)

    def train(self) -> None:
        """Update the policy on the last rollout."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        batch, explained = self.last_batch()
        self.policy.value_net.track(batch.targets)
        measured = self.episodes.measure(self.cost_limit)
        report = self._update.update(self.policy, batch, measured, self._current_progress_remaining)
        self.num_timesteps += int(report.pop("environment_steps", 0.0))
        self._n_updates += 1
        if isinstance(self.action_space, spaces.Box):
            report["std"] = float(self.policy.log_std.detach().exp().mean())
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        state = self.constraint_state()
        self._log().update(report, explained, measured, state)
        at_bounds = self.policy.action_scaling.share_at_bounds(batch.actions.cpu().numpy())
        self._watch.update(measured, state.get("weight", np.zeros(0)), batch, at_bounds)

    def set_env(self, env: AnyEnv, force_reset: bool = True) -> None:
        """Replace the environments; the new ones must have as many constraints as the agent.

        If they declare other limits than the ones before, a warning says which limits apply: the
        agent's own, until `agent.cost_limit` is set.

        Raises:
            ValueError: if spaces or the number of constraints differ.
        """
        given = in_sequence(as_vec_env(env, self.n_envs, self.constraints))
        prepared = self._wrap_env(given, self.verbose)
        check_exchange(self, prepared)
        self.policy.attach(prepared)
        vars(self)["n_envs"] = prepared.num_envs
        super().set_env(prepared, force_reset)
        self.observations_normalized = is_normalized(prepared)
        self._new_episodes()
        self.parts_are_ready()

    @classmethod
    def all_arguments(cls) -> list[Argument]:
        """Return all arguments except policy and env."""
        defaults = {"learning_rate": USUAL_LEARNING_RATE, **cls.recipe.defaults}
        return arguments_of(ConstrainedAgent, cls.recipe, defaults)

    def _hold_to(self, contract: Contract, gamma: float | None, cost_gamma: float | None) -> None:
        self.constraints: tuple[ConstraintSpec, ...] = contract.constraints
        self.reward_discount = contract.reward_discount
        self.gamma = advantage_discount(gamma, contract.reward_discount)
        self.cost_gamma = advantage_discount(cost_gamma, lowest_discount(contract.constraints))
        self.observations_normalized = is_normalized(self.env)
        self.declared_limits = declared_limits_of(self.env)
        standardizes = self.normalize_observation and not self.observations_normalized
        own = argument_of_policy(self.head, self.policy_kwargs)
        own |= {"num_costs": len(contract.constraints), "normalize_observation": standardizes}
        self.policy_kwargs = {**self.policy_kwargs, **own}
        check_memory(
            self.n_steps * self.n_envs, self.observation_space, 1 + len(contract.constraints)
        )

    def _attach_env(self, env: VecEnv | gym.Env) -> None:
        """Wrap and keep the environments; Stable-Baselines3 refuses Box actions without bounds."""
        self.env = self._wrap_env(in_sequence(env), self.verbose)
        self.observation_space = self.env.observation_space
        self.action_space = self.env.action_space
        self.n_envs = self.env.num_envs
        self._vec_normalize_env = unwrap_vec_normalize(self.env)

    def _setup_model(self) -> None:
        """Create the policy. There is no buffer: the rollout keeps the steps as they came."""
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        self.policy = self.policy_class(  # type: ignore[assignment]
            self.observation_space, self.action_space, self.lr_schedule, **self.policy_kwargs
        ).to(self.device)
        self.policy.attach(self.env)
        self.rollout_buffer = None  # type: ignore[assignment]
        self._rollout = Rollout(0, self.n_envs, len(self.constraints))
        self._watch = TrainingWatch([constraint.name for constraint in self.constraints])
        self._new_episodes()

    def _setup_learn(self, *args: Any, **kwargs: Any) -> Any:
        """Reset the environments if asked to; the first observations count as all others do."""
        check_end(self.end_saves_cost, self.cost_gamma)
        before = self._last_obs
        result = super()._setup_learn(*args, **kwargs)
        if self._last_obs is not before:
            assert self._last_obs is not None
            self._last_obs = kept(self._last_obs)  # environments may reuse their arrays
            check_observations(self._last_obs, "after the reset")
            self.policy.normalizer.update(self._last_obs)
            self._new_episodes()
        return result

    def _update_current_progress_remaining(self, num_timesteps: int, total_timesteps: int) -> None:
        """Set the progress before the last rollout: a training of one update is not at its end."""
        before = max(num_timesteps - self.n_steps * self.n_envs, 0)
        super()._update_current_progress_remaining(before, total_timesteps)
        self._current_progress_remaining = max(self._current_progress_remaining, 0.0)
        if self.limit_schedule is not None:
            limits = self.limit_schedule.at(self._current_progress_remaining)
            self.constraints = with_limits(self.constraints, limits.tolist(), "cost_limit")

    def _new_episodes(self) -> None:
        before = vars(self).get("episodes")
        self.episodes = EpisodeRecord(self.constraints, self.reward_discount, before)

    def _acts_in_numpy(self) -> bool:
        return self.descends_actor and self.backend_in_use == "numpy"

    def _log(self) -> TrainingLog:
        return TrainingLog(self.logger, [constraint.name for constraint in self.constraints])


load = ConstrainedAgent.load  # of the files of all agents
