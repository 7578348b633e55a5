"""The names of the package, with all arguments; written by agents/stub_writer.py."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch

from agents.actor_critic import MlpPolicy
from agents.constrained_agent import AnyEnv, LimitSetting, Schedule
from agents.constrained_agent import ConstrainedAgent as ConstrainedAgent
from agents.constrained_agent import load as load
from agents.critic_descent import UpdateBackend
from agents.eval_callback import ConstrainedEvalCallback as ConstrainedEvalCallback
from agents.evaluation import evaluate as evaluate
from agents.primal_dual import NormalizeAdvantage
from agents.saving.archive import SavedAgentError as SavedAgentError
from agents.schedules import LinearDecay as LinearDecay
from agents.scpo.agent import Controller
from agents.scpo.objectives import Expert
from agents.scpo.scpo_update import Metric, ObjectiveName
from agents.scpo.validation import Validation
from agents.training_env import make_vec_env as make_vec_env
from safe_envs.contract.backup_policy import BackupPolicy

__all__: list[str]

class PPO(ConstrainedAgent):
    """PPO that measures the costs and ignores them: the unconstrained reference."""

    def __init__(
        self,
        policy: str | type[MlpPolicy],
        env: AnyEnv | None,
        *,
        cost_limit: LimitSetting = None,
        n_envs: int = 1,
        learning_rate: float | Schedule | None = ...,
        n_steps: int = 2048,
        gamma: float | None = None,
        cost_gamma: float | None = None,
        gae_lambda: float = 0.95,
        cost_gae_lambda: float = 0.95,
        normalize_observation: bool = True,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "cpu",
        normalize_advantage: NormalizeAdvantage = True,
        normalize_lagrangian: bool = False,
        batch_size: int = 64,
        n_epochs: int = 10,
        max_grad_norm: float = 40.0,
        update_backend: UpdateBackend = "auto",
        ent_coef: float = 0.0,
        vf_coef: float = 0.5,
        target_kl: float | None = None,
        clip_range: float | Callable[[float], float] = 0.2,
    ) -> None: ...

class PPOLag(ConstrainedAgent):
    """PPO with Lagrange multipliers."""

    def __init__(
        self,
        policy: str | type[MlpPolicy],
        env: AnyEnv | None,
        *,
        cost_limit: LimitSetting = None,
        n_envs: int = 1,
        learning_rate: float | Schedule | None = ...,
        n_steps: int = 2048,
        gamma: float | None = None,
        cost_gamma: float | None = None,
        gae_lambda: float = 0.95,
        cost_gae_lambda: float = 0.95,
        normalize_observation: bool = True,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "cpu",
        normalize_advantage: NormalizeAdvantage = True,
        normalize_lagrangian: bool = False,
        batch_size: int = 64,
        n_epochs: int = 10,
        max_grad_norm: float = 40.0,
        update_backend: UpdateBackend = "auto",
        ent_coef: float = 0.0,
        vf_coef: float = 0.5,
        target_kl: float | None = None,
        clip_range: float | Callable[[float], float] = 0.2,
        multiplier_lr: float = 0.1,
        initial_multiplier: float = 0.001,
        multiplier_optimizer: Literal["adam", "ascent"] = "ascent",
        damping: float = 0.3,
        max_multiplier: float = ...,
    ) -> None: ...

class PPOPID(ConstrainedAgent):
    """PPO with PID-controlled multipliers."""

    def __init__(
        self,
        policy: str | type[MlpPolicy],
        env: AnyEnv | None,
        *,
        cost_limit: LimitSetting = None,
        n_envs: int = 1,
        learning_rate: float | Schedule | None = ...,
        n_steps: int = 2048,
        gamma: float | None = None,
        cost_gamma: float | None = None,
        gae_lambda: float = 0.95,
        cost_gae_lambda: float = 0.95,
        normalize_observation: bool = True,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "cpu",
        normalize_advantage: NormalizeAdvantage = True,
        normalize_lagrangian: bool = False,
        batch_size: int = 64,
        n_epochs: int = 10,
        max_grad_norm: float = 40.0,
        update_backend: UpdateBackend = "auto",
        ent_coef: float = 0.0,
        vf_coef: float = 0.5,
        target_kl: float | None = None,
        clip_range: float | Callable[[float], float] = 0.2,
        proportional_gain: float = 0.3,
        integral_gain: float = 0.05,
        derivative_gain: float = 0.1,
        smoothing: float = 0.8,
        derivative_delay: int = 10,
        max_weight: float = 100.0,
    ) -> None: ...

class PPOALM(ConstrainedAgent):
    """PPO with the augmented Lagrangian."""

    def __init__(
        self,
        policy: str | type[MlpPolicy],
        env: AnyEnv | None,
        *,
        cost_limit: LimitSetting = None,
        n_envs: int = 1,
        learning_rate: float | Schedule | None = 0.0003,
        n_steps: int = 2048,
        gamma: float | None = None,
        cost_gamma: float | None = None,
        gae_lambda: float = 0.95,
        cost_gae_lambda: float = 0.95,
        normalize_observation: bool = True,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "cpu",
        normalize_advantage: NormalizeAdvantage = True,
        normalize_lagrangian: bool = False,
        batch_size: int = 64,
        n_epochs: int = 10,
        max_grad_norm: float = 40.0,
        update_backend: UpdateBackend = "auto",
        ent_coef: float = 0.0,
        vf_coef: float = 0.5,
        target_kl: float | None = None,
        clip_range: float | Callable[[float], float] = 0.2,
        penalty: float = 0.3,
        primal_steps_per_dual_step: int = 10,
        initial_multiplier: float = 0.0,
        penalty_growth: float = 1.0,
    ) -> None: ...

class SPMALag(ConstrainedAgent):
    """Softmax policy mirror ascent with Lagrange multipliers."""

    def __init__(
        self,
        policy: str | type[MlpPolicy],
        env: AnyEnv | None,
        *,
        cost_limit: LimitSetting = None,
        n_envs: int = 1,
        learning_rate: float | Schedule | None = ...,
        n_steps: int = 2048,
        gamma: float | None = None,
        cost_gamma: float | None = None,
        gae_lambda: float = 0.95,
        cost_gae_lambda: float = 0.95,
        normalize_observation: bool = True,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "cpu",
        normalize_advantage: NormalizeAdvantage = True,
        normalize_lagrangian: bool = False,
        batch_size: int = 64,
        n_epochs: int = 10,
        max_grad_norm: float = 40.0,
        update_backend: UpdateBackend = "auto",
        ent_coef: float = 0.0,
        vf_coef: float = 0.5,
        target_kl: float | None = None,
        step_size: float = 0.7,
        multiplier_lr: float = 0.1,
        initial_multiplier: float = 0.001,
        multiplier_optimizer: Literal["adam", "ascent"] = "ascent",
        damping: float = 0.3,
        max_multiplier: float = ...,
    ) -> None: ...

class SPMAALM(ConstrainedAgent):
    """Softmax policy mirror ascent with the augmented Lagrangian."""

    def __init__(
        self,
        policy: str | type[MlpPolicy],
        env: AnyEnv | None,
        *,
        cost_limit: LimitSetting = None,
        n_envs: int = 1,
        learning_rate: float | Schedule | None = ...,
        n_steps: int = 2048,
        gamma: float | None = None,
        cost_gamma: float | None = None,
        gae_lambda: float = 0.95,
        cost_gae_lambda: float = 0.95,
        normalize_observation: bool = True,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "cpu",
        normalize_advantage: NormalizeAdvantage = True,
        normalize_lagrangian: bool = False,
        batch_size: int = 64,
        n_epochs: int = 10,
        max_grad_norm: float = 40.0,
        update_backend: UpdateBackend = "auto",
        ent_coef: float = 0.0,
        vf_coef: float = 0.5,
        target_kl: float | None = None,
        step_size: float = 0.7,
        penalty: float = 0.3,
        primal_steps_per_dual_step: int = 10,
        initial_multiplier: float = 0.0,
        penalty_growth: float = 1.0,
    ) -> None: ...

class TRPOLag(ConstrainedAgent):
    """TRPO with Lagrange multipliers."""

    def __init__(
        self,
        policy: str | type[MlpPolicy],
        env: AnyEnv | None,
        *,
        cost_limit: LimitSetting = None,
        n_envs: int = 1,
        learning_rate: float | Schedule | None = 0.001,
        n_steps: int = 2048,
        gamma: float | None = None,
        cost_gamma: float | None = None,
        gae_lambda: float = 0.95,
        cost_gae_lambda: float = 0.95,
        normalize_observation: bool = True,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "cpu",
        normalize_advantage: NormalizeAdvantage = True,
        normalize_lagrangian: bool = False,
        batch_size: int = 128,
        n_epochs: int = 10,
        max_grad_norm: float = 40.0,
        update_backend: UpdateBackend = "auto",
        max_kl: float = 0.01,
        cg_iterations: int = 15,
        cg_damping: float = 0.1,
        line_search_steps: int = 15,
        backtrack: float = 0.8,
        fisher_every: int = 1,
        multiplier_lr: float = 0.1,
        initial_multiplier: float = 0.001,
        multiplier_optimizer: Literal["adam", "ascent"] = "ascent",
        damping: float = 0.3,
        max_multiplier: float = ...,
    ) -> None: ...

class TRPOALM(ConstrainedAgent):
    """TRPO with the augmented Lagrangian."""

    def __init__(
        self,
        policy: str | type[MlpPolicy],
        env: AnyEnv | None,
        *,
        cost_limit: LimitSetting = None,
        n_envs: int = 1,
        learning_rate: float | Schedule | None = 0.001,
        n_steps: int = 2048,
        gamma: float | None = None,
        cost_gamma: float | None = None,
        gae_lambda: float = 0.95,
        cost_gae_lambda: float = 0.95,
        normalize_observation: bool = True,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "cpu",
        normalize_advantage: NormalizeAdvantage = True,
        normalize_lagrangian: bool = False,
        batch_size: int = 128,
        n_epochs: int = 10,
        max_grad_norm: float = 40.0,
        update_backend: UpdateBackend = "auto",
        max_kl: float = 0.01,
        cg_iterations: int = 15,
        cg_damping: float = 0.1,
        line_search_steps: int = 15,
        backtrack: float = 0.8,
        fisher_every: int = 1,
        penalty: float = 0.3,
        primal_steps_per_dual_step: int = 10,
        initial_multiplier: float = 0.0,
        penalty_growth: float = 1.0,
    ) -> None: ...

class CPO(ConstrainedAgent):
    """Constrained policy optimization."""

    def __init__(
        self,
        policy: str | type[MlpPolicy],
        env: AnyEnv | None,
        *,
        cost_limit: LimitSetting = None,
        n_envs: int = 1,
        learning_rate: float | Schedule | None = 0.001,
        n_steps: int = 2048,
        gamma: float | None = None,
        cost_gamma: float | None = None,
        gae_lambda: float = 0.95,
        cost_gae_lambda: float = 0.95,
        normalize_observation: bool = True,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "cpu",
        batch_size: int = 128,
        n_epochs: int = 10,
        max_grad_norm: float = 40.0,
        update_backend: UpdateBackend = "auto",
        max_kl: float = 0.01,
        cg_iterations: int = 15,
        cg_damping: float = 0.1,
        line_search_steps: int = 15,
        backtrack: float = 0.8,
        fisher_every: int = 1,
        violation_gain: float = 10.0,
    ) -> None: ...

class SCPO(ConstrainedAgent):
    """Sampling-based weight-space projection: every policy in training is measured to be safe."""

    def __init__(
        self,
        policy: str | type[MlpPolicy],
        env: AnyEnv | None,
        *,
        cost_limit: LimitSetting = None,
        n_envs: int = 8,
        learning_rate: float | Schedule | None = 0.0003,
        n_steps: int = 256,
        gamma: float | None = None,
        cost_gamma: float | None = None,
        gae_lambda: float = 0.95,
        cost_gae_lambda: float = 0.95,
        normalize_observation: bool = False,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "cpu",
        objective: ObjectiveName = "ppo",
        actor_learning_rate: float = 0.001,
        actor_steps: int = 20,
        clip_range: float | Callable[[float], float] = 0.2,
        groups: int = 4,
        bank_size: int = 16,
        metric: Metric = "auto",
        accept_measured: bool = True,
        armijo: float = 0.0001,
        max_tries: int = 12,
        safe_policy: BackupPolicy | Controller | None = None,
        measure: Literal["margins", "costs"] | None = None,
        validation_states: np.ndarray | int | None = None,
        validation_horizon: int | None = None,
        validation_seed: int = 0,
        validation: Validation | None = None,
        expert: Expert | None = None,
        batch_size: int = 256,
        n_epochs: int = 5,
        max_grad_norm: float = 40.0,
        update_backend: UpdateBackend = "auto",
    ) -> None: ...
