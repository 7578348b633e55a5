"""SCPO as a Stable-Baselines3 agent: its safe controller and its definition of safety.

    pi_theta(x) = clip(base(x) + share(x) phi_theta(x), low, high),   phi = 0 at first
    g_j(theta) <= 0 for every rollout j of a fixed validation set, from the first policy on

Source: Cao and Borrelli, SCPO (arXiv 2512.13788), section V-D and algorithm 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_normalize

from agents.agent_settings import Recipe, make_part
from agents.constrained_agent import ConstrainedAgent
from agents.critic_descent import CriticDescent
from agents.saving.archive import SavedAgentError
from agents.saving.data_values import described
from agents.scpo.objectives import Expert
from agents.scpo.residual_policy import ResidualPolicy
from agents.scpo.scpo_update import Attached, ScpoSettings, ScpoUpdate
from agents.scpo.validation import SeededEpisodes, StateRollouts, Validation, gives_margins
from agents.training_env import environment_spec
from agents.training_warnings import TrainingWatch
from safe_envs.contract.argument_checks import check_choice
from safe_envs.contract.backup_policy import BackupPolicy, Controller, as_backup_policy
from safe_envs.contract.cost_signal import ConstraintSpec

USUAL_STATES = 64
USUAL_EPISODES = 8


@dataclass(frozen=True)
class SafetySettings:
    """The safe controller an SCPO agent starts from, and how its safety is measured.

    Args:
        safe_policy: the controller to add to, a function from observations (..., n) to actions
            (..., a) or a `safe_envs.BackupPolicy`; None takes the environment's
            `backup_policy()`.
        measure: "margins" requires that no rollout's signed margin is ever positive, "costs" that
            no episode's cost exceeds the limit. None is "margins" where the environment has them
            and all limits are 0, else "costs".
        validation_states: states (k, ...) to start rollouts from, or how many starts to draw;
            None draws 64 for margins and 8 for costs.
        validation_horizon: steps per rollout; None takes the time limit.
        validation_seed: of the starts and of all random numbers in the rollouts.
        validation: a `Validation` that replaces the four arguments above.
        expert: for the objective "imitation": anything with Stable-Baselines3's `predict`.
    """

    safe_policy: BackupPolicy | Controller | None = None
    measure: Literal["margins", "costs"] | None = None
    validation_states: np.ndarray | int | None = None
    validation_horizon: int | None = None
    validation_seed: int = 0
    validation: Validation | None = None
    expert: Expert | None = None

    def __post_init__(self) -> None:
        if self.measure is not None:
            check_choice("measure", self.measure, ("margins", "costs"))

    def usual_validation(self, env: VecEnv, constraints: Sequence[ConstraintSpec]) -> Validation:
        """Return the validation these settings describe, on copies of the environment."""
        spec = environment_spec(env)
        if spec is None:
            raise ValueError(
                "the environment has no Gymnasium id to make validation copies from; make it with "
                "gym.make, or pass validation"
            )
        given, horizon, seed = self.validation_states, self.validation_horizon, self.validation_seed
        measure = self.measure
        if measure is None:
            strict = all(constraint.limit == 0.0 for constraint in constraints)
            measure = "margins" if strict and gives_margins(spec) else "costs"
        if measure == "margins":
            return StateRollouts(spec, USUAL_STATES if given is None else given, horizon, seed)
        if isinstance(given, np.ndarray):
            raise ValueError(
                f"validation_states is an array of {len(given)} states, but costs are measured on "
                "seeded episodes; pass their number, or measure='margins'"
            )
        return SeededEpisodes(
            spec,
            [constraint.limit for constraint in constraints],
            [constraint.discount for constraint in constraints],
            USUAL_EPISODES if given is None else given,
            horizon,
            seed,
        )


def _build(settings: Mapping[str, Any], num_constraints: int) -> ScpoUpdate:
    if settings["objective"] == "imitation" and settings["expert"] is None:
        raise ValueError(
            "the objective is 'imitation' but expert is None; pass a model or controller "
            "with Stable-Baselines3's predict"
        )
    return ScpoUpdate(make_part(ScpoSettings, settings), make_part(CriticDescent, settings))


class SCPO(ConstrainedAgent):
    """Sampling-based weight-space projection: every policy in training is measured to be safe.

    The actor is a safe controller plus a network that is zero at first (`ResidualPolicy`). Each
    update takes some steps of an optimizer on a rollout's batch and projects them, so that the
    deterministic policy stays safe on a fixed validation set: margins of rollouts from given
    states, or costs of seeded episodes. An update that finds no safe step leaves the actor
    unchanged. The rollouts themselves explore with the policy's noise, and the guarantee does not
    cover them.

    The environment steps of the validation count in `num_timesteps`, and thus in every budget and
    curve; only loading an agent that measures as it did before costs nothing.

    Units do not matter. The network's addition and the noise are shares of the actions' ranges, and
    costs are relative to their limits. The inputs of all networks are standardized by mean and
    deviation of the observations while the safe controller is first measured; they are frozen
    then, so `normalize_observation` has to be False.

    `policy_kwargs` may hold `observation_scale` (replaces those statistics), `width`, `blocks`,
    `clip_backup` and `log_std_init` (how widely the rollouts explore; 0 is half of every range,
    the default for one or two dimensions).

    Source: Cao and Borrelli, "Constrained Policy Optimization via Sampling-Based Weight-Space
    Projection" (arXiv 2512.13788), algorithm 1 and section V-D.

    Differs from the paper: as `WeightSpaceProjection` and `ResidualPolicy` do; the paper has no
    objective for rewards.

    Raises:
        ValueError: if the environment offers no `backup_policy()` and none is given, if
            observations are standardized elsewhere, or if "imitation" lacks an expert.
        InfeasibleStartError: in `learn`, if the policy is not safe on the validation set.
    """

    recipe = Recipe(
        (ScpoSettings, SafetySettings, CriticDescent),
        _build,
        {
            "normalize_observation": False,  # frozen statistics instead, see above
            # Stable-Baselines3's PPO, of the critics; the actor's rate is actor_learning_rate.
            "learning_rate": 3e-4,
            # This project's own runs on the double integrator; the paper gives no settings.
            "n_envs": 8,
            "n_steps": 256,
            "batch_size": 256,
            "n_epochs": 5,
        },
    )
    policy_aliases = {"MlpPolicy": ResidualPolicy, "MultiInputPolicy": ResidualPolicy}
    follows_limits = False
    descends_actor = False
    differentiates = True
    fixed_arguments = {"safe_policy": "the network has learned to add to it; make a new agent"}
    policy: ResidualPolicy
    _update: ScpoUpdate

    @property
    def uses_model(self) -> bool:
        """Always: the safe controller is made from the environment's equations."""
        return True

    def _setup_model(self) -> None:
        """Create the policy from the safe controller, and the validation."""
        if self.normalize_observation:
            raise ValueError(
                "normalize_observation is True, but statistics that keep changing would change the "
                "policy that was measured to be safe; leave it False: SCPO standardizes by mean "
                "and deviation of the observations while the safe controller is first measured"
            )
        if not issubclass(self.policy_class, ResidualPolicy):
            raise TypeError(
                f"policy is {self.policy_class.__name__}; SCPO adds a network to a safe "
                "controller: pass 'MlpPolicy' or a subclass of "
                "agents.scpo.residual_policy.ResidualPolicy"
            )
        if "backup" not in self.policy_kwargs:
            given = self.settings["safe_policy"]
            backup = _backup_of(self.env) if given is None else given
            self.policy_kwargs = {**self.policy_kwargs, "backup": as_backup_policy(backup)}
        super()._setup_model()
        # Warnings about what rollouts cost do not apply: only the validation's constraints matter.
        self._watch = TrainingWatch([])
        self.parts_are_ready()

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Raise ValueError if the policy cannot be updated with these settings."""
        super().check_settings(settings)
        if self.head == "differentiable" and settings["objective"] != "imitation":
            raise ValueError(
                f"head is 'differentiable', but the objective {settings['objective']!r} learns "
                "from the log-probability of the proposed action, which no gradient of the repair "
                "enters; pass head='wrapper', or objective='imitation'"
            )

    def parts_are_ready(self) -> None:
        """Give the update its policy and validation: the update, a limit or the environment is new.

        Raises:
            ValueError: if observations are standardized elsewhere.
        """
        safety = make_part(SafetySettings, self.settings)
        if self.env is None:
            return
        normalizer = unwrap_vec_normalize(self.env)
        if normalizer is not None and normalizer.norm_obs:
            raise ValueError(
                "VecNormalize standardizes the observations, but the safe controller takes them as "
                "the environment returns them, and SCPO standardizes the networks' inputs itself; "
                "pass VecNormalize(..., norm_obs=False)"
            )
        validation = safety.validation
        if validation is None:
            validation = safety.usual_validation(self.env, self.constraints)
        self._update.attach(Attached(self.policy, self._act, validation, safety.expert))

    def policy_argument(self, name: str, what: str, env: VecEnv | None) -> Any:
        """Return the safe controller where it is code, from the settings or the environment."""
        if name != "backup":
            return super().policy_argument(name, what, env)
        given = self.settings["safe_policy"]
        if given is None and (env is None or not env.has_attr("backup_policy")):
            raise SavedAgentError(
                f"the safe controller was {what}, which a file cannot hold; pass to load an "
                "environment that has it, or custom_objects={'safe_policy': ...}"
            )
        backup = as_backup_policy(_backup_of(env) if given is None else given)
        if described(backup) != what:
            raise SavedAgentError(
                f"the safe controller was {what}, and the one here is {described(backup)}; the "
                "network has learned to add to the first: pass that one as "
                "custom_objects={'safe_policy': ...}"
            )
        return backup

    def _setup_learn(self, *args: Any, **kwargs: Any) -> Any:
        """Measure the first policy before anything is learned."""
        result = super()._setup_learn(*args, **kwargs)
        self.num_timesteps += self._update.begin()
        return result

    def _act(self, observations: np.ndarray) -> np.ndarray:
        """Return the deterministic actions at the environments' own observations."""
        return self.policy.predict(observations, deterministic=True)[0]


def _backup_of(env: VecEnv | None) -> BackupPolicy:
    """Return the environment's own safe controller."""
    if env is None or not env.has_attr("backup_policy"):
        raise ValueError(
            "the environment offers no backup_policy(), and safe_policy is None; pass a safe "
            "controller, a function from observations (..., n) to actions (..., a)"
        )
    found: BackupPolicy = env.env_method("backup_policy", indices=0)[0]
    return found
