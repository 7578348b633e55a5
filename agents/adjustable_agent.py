"""Agents whose arguments can change and whose files hold data: the face of settings and files."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.utils import get_system_info
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from agents.actor_critic import MlpPolicy
from agents.agent_settings import PolicyUpdate, Recipe
from agents.changed_settings import change
from agents.cost_limits import LimitSchedule
from agents.episode_record import EpisodeRecord
from agents.exploration_noise import check_ceiling
from agents.loading import load_agent
from agents.repair_head import check_same_head
from agents.saved_agent import SavedAgent, save_agent
from agents.saving.archive import SavedAgentError
from agents.saving.learned_state import checked_tensors, fitting_state
from agents.schedules import scheduled
from agents.signatures import Argument
from agents.training_env import AnyEnv, environment_spec
from agents.training_log import one_window
from agents.update_kernel.service import Backend, backend_of
from agents.warm_start import warm_start
from safe_envs.contract.cost_signal import ConstraintSpec

SelfAgent = TypeVar("SelfAgent", bound="AdjustableAgent")


class AdjustableAgent(OnPolicyAlgorithm):
    """The part of an agent that changes its settings, saves and loads it."""

    recipe: ClassVar[Recipe]
    follows_limits: ClassVar[bool] = True  # whether the limits may change in a training
    descends_actor: ClassVar[bool] = True  # or in a trust region; not by projected steps
    fixed_arguments: ClassVar[Mapping[str, str]] = {}  # that cannot change, and why
    defaults: ClassVar[Mapping[str, Any]] = {}  # of all arguments except policy and env
    policy: MlpPolicy
    settings: dict[str, Any]
    constraints: tuple[ConstraintSpec, ...]
    reward_discount: float
    cost_gamma: float
    episodes: EpisodeRecord
    limit_schedule: LimitSchedule | None = None
    declared_limits: list[float] | None = None  # by the environments
    observations_normalized: bool = False  # by a VecNormalize
    iterations: int = 0  # rollouts of the training so far
    iterations_before: int = 0  # those of them that another process took
    is_made: bool = False  # attributes with the name of an argument are changes from then on
    _update: PolicyUpdate

    @classmethod
    @abstractmethod
    def all_arguments(cls) -> list[Argument]:
        """Return all arguments except policy and env."""

    @classmethod
    def arguments(cls) -> dict[str, Any]:
        """Return the names and defaults of all arguments except policy and env."""
        return dict(cls.defaults)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; a new value of an argument takes effect, or is refused."""
        if self.is_made and name in self.defaults:
            change(self, {name: value})
        else:
            super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        """Return a setting of the agent's parts, such as `clip_range`."""
        if name in vars(self).get("settings", ()):
            return self.settings[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        """Return the class, the environments, the constraints and the steps trained."""
        shown = [f"{one.name} <= {one.limit:g}" for one in vars(self).get("constraints", ())]
        limits = ", ".join(shown) or "no constraints"
        spec = None if self.env is None else environment_spec(self.env)
        env = "no registered environment" if spec is None else f"{self.n_envs} x {spec.id}"
        return f"{type(self).__name__}({env}; {limits}; {self.num_timesteps:,} steps trained)"

    @property
    def cost_limit(self) -> np.ndarray:
        """The cost limits in force, (m,)."""
        return np.array([constraint.limit for constraint in self.constraints])

    @property
    def uses_model(self) -> bool:
        """Whether the agent is told the environment's equations: here by a head's constraint."""
        return vars(self).get("head") is not None

    @property
    def backend_in_use(self) -> Backend:
        """What computes the updates, which is what "auto" chose if `update_backend` is that."""
        return self.check_backend(self.settings)

    def check_backend(self, settings: Mapping[str, Any]) -> Backend:
        """Return what computes the updates with these settings.

        Raises:
            ValueError: if it is "numpy", which cannot update this policy.
        """
        chosen, rows = settings["update_backend"], settings["batch_size"]
        return backend_of(self.policy, chosen, rows, self.descends_actor)

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Raise ValueError if the policy cannot be updated with these settings."""
        self.check_backend(settings)
        check_ceiling(settings.get("final_noise"), self.action_space)

    def save(
        self,
        path: Any,
        exclude: Iterable[str] | None = None,
        include: Iterable[str] | None = None,
    ) -> None:
        """Write the agent to a file that holds data only: JSON and safetensors in a zip.

        It holds all arguments, the policy with its observation statistics, the optimizer, what the
        duals remember, the counters and the states of the random numbers. Functions and classes of
        your own are not data: `load` then asks for them. The file is complete or not there.

        Args:
            path: ".zip" is added to a name without suffix. Or a binary file.
            exclude: "optimizer", "random_states", "tensorboard_log" or "seed", to leave them out.
            include: what not to exclude after all.

        Raises:
            ValueError: if `exclude` or `include` has another name.
        """
        save_agent(self, path, exclude, include)

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
        """Return the agent in a file, which cannot run code; random numbers stay as they are.

        Args:
            path: of the file, or a binary file.
            env: as in the constructor; None for an agent that only predicts.
            device: of the policy.
            custom_objects: values that a file cannot hold, by the argument's name, such as
                {"policy_class": MyPolicy}.
            print_system_info: print the versions of packages, here and in the file.
            force_reset: has to be True: files hold no environment in the middle of an episode.
            **kwargs: arguments to change, as setting the attributes would.

        Raises:
            SavedAgentError: if it is not the file of such an agent, or is broken.
            TypeError: for an unknown argument.
            ValueError: for an argument that cannot change, or a value out of range.
        """
        if not force_reset:
            raise ValueError("force_reset is False; files hold no running episode: pass True")
        if print_system_info:
            print("== CURRENT SYSTEM INFO ==")
            get_system_info()
            print("== SAVED AGENT SYSTEM INFO ==", SavedAgent(path).packages, sep="\n")
        agent = load_agent(cls, path, env, device, custom_objects, kwargs)
        agent.check_settings(agent.settings)
        return agent  # type: ignore[return-value]

    def set_parameters(
        self,
        load_path_or_dict: Any,
        exact_match: bool = True,
        device: torch.device | str = "auto",
    ) -> None:
        """Set parameters, as in Stable-Baselines3; from a dictionary, or the file of an agent."""
        if not isinstance(load_path_or_dict, dict):
            load_path_or_dict = self._parameters_in(load_path_or_dict)
        super().set_parameters(load_path_or_dict, exact_match, device)

    def warm_start(
        self: SelfAgent, source: Any, vec_normalize: VecNormalize | None = None
    ) -> SelfAgent:
        """Take over the policy of another agent, so that this one acts as the source does.

        The actor is taken over with the observation statistics and the units of the actions. So
        are the critics that fit: all of them from an agent with the same constraints, the reward's
        from others and from Stable-Baselines3. The optimizer and the duals start anew.

        A source from Stable-Baselines3 acts on raw observations. The agent then does so too, unless
        `vec_normalize` says how they were standardized: its statistics become the agent's. An agent
        that is itself behind a VecNormalize takes only sources that saw the same as it does. An
        agent with a head repairs the actions of whatever policy it takes over.

        Args:
            source: an agent, a model such as Stable-Baselines3's PPO or A2C, or the path of the
                file of either, which is read without running anything in it.
            vec_normalize: the VecNormalize that the source was trained behind; only a model that
                still has its environments knows it.

        Returns:
            The agent itself.

        Raises:
            TypeError: if the source is none of these.
            ValueError: if it cannot be the same policy: another space, shape, activation function
                or clipping of observations.
        """
        warm_start(self, source, vec_normalize)
        return self

    def dump_logs(self, iteration: int = 0) -> None:
        """Write the log, as Stable-Baselines3 does, but over the same episodes for everything.

        A resumed training goes on counting.
        """
        self.iterations = self.iterations_before + iteration
        with one_window(self, len(self.episodes.averaged())):
            super().dump_logs(self.iterations)

    def start_parts(self) -> None:
        """Make the parts anew, without a memory."""
        self._update = self.recipe.build(self.settings, len(self.constraints))
        self.parts_are_ready()

    def renew_parts(self, settings: dict[str, Any]) -> None:
        """Make the parts anew from settings; they take over what the old ones remember."""
        self.check_settings(settings)
        update = self.recipe.build(settings, len(self.constraints))
        update.load_state(self._update.state())
        self.settings, self._update = settings, update
        self.parts_are_ready()

    def parts_are_ready(self) -> None:
        """Called when the parts, the environments or the limits are new; for subclasses."""

    def policy_argument(self, name: str, what: str, env: VecEnv | None) -> Any:
        """Return an argument of the policy that a file could not hold; for subclasses.

        Args:
            name: of the argument.
            what: it was.
            env: the environments that `load` was given.
        """
        raise SavedAgentError(
            f"the policy's argument {name} was {what}, which a file cannot hold; pass it to load: "
            f"custom_objects={{'policy_kwargs': {{'{name}': ...}}}}"
        )

    def _parameters_in(self, path: Any) -> dict[str, Any]:
        saved = SavedAgent(path)
        check_same_head(saved.part("policy_kwargs", dict).get("head"), self.policy.head)
        return {
            "policy": checked_tensors(saved.part("parameters", dict), self.policy),
            "policy.optimizer": fitting_state(
                self.policy.optimizer, saved.part("optimizer", dict, type(None))
            ),
        }

    def _setup_lr_schedule(self) -> None:
        """Keep the rate as a function of the remaining progress that returns no wrong number."""
        self.lr_schedule = partial(scheduled, "learning_rate", self.learning_rate)
