"""The one training loop of all deep agents, on Stable-Baselines3's on-policy machinery."""

from __future__ import annotations

from collections import deque
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import MaybeCallback, Schedule
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv

from agents.actor_critic import CnnPolicy, MlpPolicy, MultiInputPolicy
from agents.agent_settings import PolicyUpdate, Recipe
from agents.batch import Measurement, mean_costs, measurement
from agents.gymnasium_vec_env import rows_awaiting_reset
from agents.rollout import Rollout, check_observations, checked_signals
from agents.saved_agents import attributes_changed, saved_data
from agents.signatures import Argument, arguments_of, docstring_of, signature_of
from agents.training_env import (
    USUAL_DISCOUNT,
    AnyEnv,
    Contract,
    advantage_discount,
    as_vec_env,
    check_copies,
    contract_of,
    declared_by,
    step_of,
    undeclared_constraints,
)
from safe_envs.contract.argument_checks import check_number
from safe_envs.contract.cost_signal import ConstraintSpec, CostLimits
from safe_envs.contract.episode_totals import Episode, EpisodeTotals
from safe_envs.contract.transition_values import kept

SelfAgent = TypeVar("SelfAgent", bound="ConstrainedAgent")
USUAL_LEARNING_RATE = 3e-4
WINDOW = 100  # episodes that the logged averages cover


class ConstrainedAgent(OnPolicyAlgorithm):
    """An on-policy agent that maximizes the return subject to limits on expected costs.

    Every update takes `n_steps` steps of each environment, estimates the advantages of the reward
    and of all m costs, and passes them to the agent's own update together with the constraints'
    violation: mean cost - limit over the episodes that ended since the last update, measured with
    the declared discounts. If none ended, the update gets None instead.

    With several environments and rollouts shorter than an episode, the first episodes to end are
    the short ones, which tend to have low costs. Keep `n_steps` at least as long as an episode, and
    use fewer environments rather than shorter rollouts.

    Args:
        policy: "MlpPolicy", "CnnPolicy", "MultiInputPolicy" or a subclass of
            `agents.actor_critic.MlpPolicy`.
        env: Gymnasium id, environment, Gymnasium vector environment, or VecEnv. One without
            declared constraints needs `cost_limit` and is read from `info["cost"]`.
        cost_limit: None for the declared limits, one number, or one per constraint.
        n_envs: copies to make if `env` is an id.
        learning_rate: of Adam, or a function of the remaining progress, 1 to 0; None is 3e-4, as
            in Stable-Baselines3, or the recipe's own.
        n_steps: steps per environment and update.
        gamma: discount of the advantages of the reward; None takes the declared discount if that
            is below 1, else 0.99.
        cost_gamma: the same for the costs.
        gae_lambda: lambda of the reward's advantage estimates.
        cost_gae_lambda: lambda of the costs' advantage estimates.
        stats_window_size: episodes that Stable-Baselines3's own averages cover.
        tensorboard_log: folder of TensorBoard's files.
        policy_kwargs: arguments of the policy.
        verbose: 0 prints nothing, 1 prints the log.
        seed: of all random numbers.
        device: "cpu" unless the observations are images.
        **settings: arguments of the agent's parts; see the class.

    Raises:
        TypeError: for an unknown argument.
        ValueError: for a setting out of range or a wrong number of limits.
        CostSignalError: if the environment declares no constraints and no limit is given; in
            `learn`, at a step whose cost breaks the contract.
        NonFiniteEnvError: in `learn`, at a step whose reward or observation is not finite.
        NonFiniteLossError: in `learn`, if a loss is not finite.
    """

    recipe: ClassVar[Recipe]
    needs_constraints: ClassVar[bool] = True
    policy: MlpPolicy
    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": MlpPolicy,
        "CnnPolicy": CnnPolicy,
        "MultiInputPolicy": MultiInputPolicy,
    }
    _update: PolicyUpdate

    def __init_subclass__(cls) -> None:
        """Give an agent with a recipe a constructor and a docstring that list all arguments."""
        super().__init_subclass__()
        if "recipe" not in vars(cls) or "__init__" in vars(cls):
            return

        def __init__(self: ConstrainedAgent, *given: Any, **named: Any) -> None:
            super(cls, self).__init__(*given, **named)

        arguments = cls._all_arguments()
        __init__.__signature__ = signature_of(ConstrainedAgent, arguments)  # type: ignore[attr-defined]
        cls.__init__ = __init__  # type: ignore[method-assign]
        cls.__doc__ = docstring_of(cls.__doc__ or "", ConstrainedAgent, arguments)

    def __init__(
        self,
        policy: str | type[MlpPolicy],
        env: AnyEnv | None,
        *,
        cost_limit: CostLimits = None,
        n_envs: int = 1,
        learning_rate: float | Schedule | None = None,
        n_steps: int = 2048,
        gamma: float | None = None,
        cost_gamma: float | None = None,
        gae_lambda: float = 0.95,
        cost_gae_lambda: float = 0.95,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "cpu",
        _init_setup_model: bool = True,
        **settings: Any,
    ) -> None:
        self.settings = self.recipe.settings(settings, [*self.arguments(), "env"])
        check_number("n_steps", n_steps, low=1)
        for name, value in (("gae_lambda", gae_lambda), ("cost_gae_lambda", cost_gae_lambda)):
            check_number(name, value, low=0.0, high=1.0)
        if isinstance(policy, type) and not issubclass(policy, MlpPolicy):
            raise TypeError(
                f"policy is {policy.__name__}; pass a name of {sorted(self.policy_aliases)} or a "
                "subclass of agents.actor_critic.MlpPolicy, which has the critics of the costs"
            )
        prepared = None
        if env is not None:
            check_copies(env, n_envs, self.arguments()["n_envs"])
            prepared = as_vec_env(env, n_envs, undeclared_constraints(cost_limit))
        super().__init__(
            policy,
            prepared,  # type: ignore[arg-type]
            learning_rate=self._learning_rate() if learning_rate is None else learning_rate,
            n_steps=int(n_steps),
            gamma=USUAL_DISCOUNT,
            gae_lambda=gae_lambda,
            ent_coef=0.0,
            vf_coef=0.0,
            max_grad_norm=0.0,
            use_sde=False,
            sde_sample_freq=-1,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            policy_kwargs=policy_kwargs,
            verbose=verbose,
            seed=seed,
            device=device,
            _init_setup_model=False,
        )
        for unused in ("ent_coef", "vf_coef", "max_grad_norm"):
            delattr(self, unused)  # where they apply, they are settings of the parts
        self.cost_gae_lambda = cost_gae_lambda
        if self.env is not None and _init_setup_model:
            contract = contract_of(self.env, cost_limit, self.needs_constraints)
            self._hold_to(contract, gamma, cost_gamma)
            self._update = self.recipe.build(self.settings, len(self.constraints))
            self._setup_model()

    @classmethod
    def arguments(cls) -> dict[str, Any]:
        """Return the names and defaults of all arguments except policy and env."""
        return {one.name: one.default for one in cls._all_arguments()}

    def constraint_state(self) -> dict[str, np.ndarray]:
        """Return the weights of the costs, the multipliers and whatever else is logged of them.

        Each array holds one number per constraint, or a single number; "weight" is the price w.
        """
        return self._update.log()

    @property
    def cost_limit(self) -> np.ndarray:
        """The cost limits in force, (m,)."""
        return np.array([constraint.limit for constraint in self.constraints])

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
        return super().learn(
            total_timesteps,
            callback,
            log_interval,
            type(self).__name__ if tb_log_name is None else tb_log_name,
            reset_num_timesteps,
            progress_bar,
        )

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
        rollout = Rollout()
        check_observations(self._last_obs, "before the rollout")
        self._last_obs = kept(self._last_obs)  # environments may reuse their arrays
        waiting = rows_awaiting_reset(env)
        callback.on_rollout_start()
        for _ in range(n_rollout_steps):
            with torch.no_grad():
                seen = obs_as_tensor(self._last_obs, self.device)  # type: ignore[arg-type]
                actions = self.policy.sample_actions(seen).cpu().numpy()
            new_obs, rewards, dones, infos = step_of(env, self._within_bounds(actions))
            stepped, waiting = ~waiting, rows_awaiting_reset(env)  # the others were only reset
            new_obs, dones = kept(new_obs), dones & stepped
            self.num_timesteps += int(np.count_nonzero(stepped))
            callback.update_locals(locals())
            if not callback.on_step():
                return False
            ended = np.flatnonzero(dones)
            self._update_info_buffer([infos[row] for row in ended], dones[ended])
            where = f"step {self.num_timesteps // env.num_envs} of training"
            signals = checked_signals(rewards, infos, len(self.constraints), where)
            rollout.add(
                self._last_obs,  # type: ignore[arg-type]
                actions,
                signals,
                dones,
                infos,
                new_obs,
                where,
                stepped,
            )
            self._count(self._unscaled(signals), dones, stepped)
            self._last_obs = new_obs  # type: ignore[assignment]
            self._last_episode_starts = dones
        self._rollout = rollout
        self._log_episodes()
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def train(self) -> None:
        """Update the policy on the last rollout."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        m = len(self.constraints)
        batch, explained = self._rollout.batch(
            self.policy,
            np.array([self.gamma] + [self.cost_gamma] * m),
            np.array([self.gae_lambda] + [self.cost_gae_lambda] * m),
        )
        self.policy.value_net.track(batch.targets)
        measured = self._measure()
        report = self._update.update(self.policy, batch, measured, self._current_progress_remaining)
        self.num_timesteps += int(report.pop("environment_steps", 0.0))
        self._n_updates += 1
        self._log_update(report, explained, measured)

    def set_env(self, env: AnyEnv, force_reset: bool = True) -> None:
        """Replace the environments; the new ones must have as many constraints as the agent."""
        prepared = as_vec_env(env, self.n_envs, self.constraints)
        super().set_env(prepared, force_reset)
        assert self.env is not None
        self._check_same_number(self.env)
        self._forget_episodes()

    @classmethod
    def load(
        cls: type[SelfAgent],
        path: Any,
        env: AnyEnv | None = None,
        device: torch.device | str = "cpu",
        custom_objects: dict[str, Any] | None = None,
        print_system_info: bool = False,
        force_reset: bool = True,
        **kwargs: Any,
    ) -> SelfAgent:
        """Load an agent; `env` is as in the constructor, `kwargs` replace shared arguments.

        Raises:
            ValueError: if an earlier version saved it, or `kwargs` change a part's argument.
        """
        data = saved_data(path, device, custom_objects)
        changed = attributes_changed(data, kwargs, path)
        prepared = None if env is None else as_vec_env(env, data["n_envs"], data["constraints"])
        model = super().load(
            path, prepared, device, custom_objects, print_system_info, force_reset, **changed
        )
        if model.env is not None:
            model._check_same_number(model.env)
        return model

    @classmethod
    def _learning_rate(cls) -> float:
        return float(cls.recipe.defaults.get("learning_rate", USUAL_LEARNING_RATE))

    @classmethod
    def _all_arguments(cls) -> list[Argument]:
        defaults = {"learning_rate": USUAL_LEARNING_RATE, **cls.recipe.defaults}
        return arguments_of(ConstrainedAgent, cls.recipe, defaults)

    def _hold_to(self, contract: Contract, gamma: float | None, cost_gamma: float | None) -> None:
        self.constraints: tuple[ConstraintSpec, ...] = contract.constraints
        self.reward_discount = contract.reward_discount
        self.gamma = advantage_discount(gamma, contract.reward_discount)
        lowest = min((c.discount for c in contract.constraints), default=1.0)
        self.cost_gamma = advantage_discount(cost_gamma, lowest)
        for name, value in (("gamma", self.gamma), ("cost_gamma", self.cost_gamma)):
            check_number(name, value, low=0.0, high=1.0)
        self.policy_kwargs = {**self.policy_kwargs, "num_costs": len(contract.constraints)}

    def _setup_model(self) -> None:
        """Create the policy. There is no buffer: the rollout keeps the steps as they came."""
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        self.policy = self.policy_class(  # type: ignore[assignment]
            self.observation_space, self.action_space, self.lr_schedule, **self.policy_kwargs
        ).to(self.device)
        self.rollout_buffer = None  # type: ignore[assignment]
        self._rollout = Rollout()
        self._forget_episodes()

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_rollout", "_totals", "_fresh", "_recent"]

    def _check_same_number(self, env: VecEnv) -> None:
        declared = declared_by(env, with_limits=False)
        if declared and len(declared) != len(self.constraints):
            noun = "constraint" if len(declared) == 1 else "constraints"
            raise ValueError(
                f"the environment declares {len(declared)} {noun} but the agent was made for "
                f"{len(self.constraints)}; make a new agent"
            )

    def _within_bounds(self, actions: np.ndarray) -> np.ndarray:
        if isinstance(self.action_space, spaces.Box):
            return np.clip(actions, self.action_space.low, self.action_space.high)
        return actions.copy()  # environments may write into it

    def _unscaled(self, signals: np.ndarray) -> np.ndarray:
        """Return the signals with the unscaled reward if VecNormalize scales rewards."""
        if self._vec_normalize_env is None or not self._vec_normalize_env.norm_reward:
            return signals
        raw = self._vec_normalize_env.get_original_reward()
        return np.column_stack((raw, signals[:, 1:]))

    def _forget_episodes(self) -> None:
        self._totals: EpisodeTotals | None = None  # of the episodes in progress
        self._fresh: list[Episode] = []  # ended since the last update
        self._recent: deque[Episode] = deque(maxlen=WINDOW)

    def _count(self, signals: np.ndarray, dones: np.ndarray, stepped: np.ndarray) -> None:
        """Add one step's reward and costs, (N, 1 + m), and keep the episodes that it ended."""
        if self._totals is None:
            discounts = [constraint.discount for constraint in self.constraints]
            self._totals = EpisodeTotals(len(signals), self.reward_discount, discounts)
        ended = [one.episode for one in self._totals.add(signals, dones)]
        if not stepped.all():
            self._totals.close(np.flatnonzero(~stepped))
        self._fresh += ended
        self._recent += ended

    def _measure(self) -> Measurement | None:
        """Return the violation over the episodes that ended since the last call."""
        fresh, self._fresh = self._fresh, []
        return measurement(fresh, self.cost_limit)

    def _log_episodes(self) -> None:
        if not self._recent:
            return
        self._record("rollout/ep_cost_mean", mean_costs(self._recent))
        values = [episode.value for episode in self._recent]
        self.logger.record("rollout/ep_value_mean", float(np.mean(values)))

    def _log_update(
        self, report: dict[str, float], explained: np.ndarray, measured: Measurement | None
    ) -> None:
        for name, number in report.items():
            self.logger.record(f"train/{name}", number)
        self.logger.record("train/explained_variance", explained[0])
        self._record("train/cost_explained_variance", explained[1:])
        if isinstance(self.action_space, spaces.Box):
            self.logger.record("train/std", float(self.policy.log_std.detach().exp().mean()))
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("constraint/episodes", 0 if measured is None else measured.episodes)
        self.logger.record("constraint/held", int(measured is None))
        if measured is not None:
            self._record("constraint/violation", measured.violation)
        for name, numbers in self.constraint_state().items():
            self._record(f"constraint/{name}", numbers)

    def _record(self, key: str, numbers: np.ndarray) -> None:
        """Record one number per constraint, or a single number."""
        if len(numbers) == 1:
            self.logger.record(key, float(numbers[0]))
            return
        for constraint, number in zip(self.constraints, numbers, strict=True):
            self.logger.record(f"{key}/{constraint.name}", float(number))
