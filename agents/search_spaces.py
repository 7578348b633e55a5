"""Search spaces for hyperparameters: one per part, from which every agent's space is assembled.

An agent's space combines those of all agents, of its policy and of its parts, so a new combination
of parts needs no space of its own. The values come from an Optuna trial, or any object with its
`suggest_...` methods; Optuna itself is not imported.

No space contains what defines the problem rather than the agent: limits, discounts, and
`normalize_advantage`, which sets the units of a price.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from torch import nn

from agents.actor_critic import MlpPolicy
from agents.constrained_agent import ConstrainedAgent
from agents.cost_margin import MarginSetting
from agents.cpo import ViolationScale
from agents.critic_descent import CriticDescent
from agents.dual.augmented_lagrangian import AugmentedLagrangian
from agents.dual.lagrangian import Lagrangian
from agents.dual.pid import PID
from agents.exploration_noise import NoiseCeiling
from agents.minibatch_descent import MinibatchDescent
from agents.primal.ppo import ClippedSurrogate
from agents.primal.spma import MirrorAscentSurrogate
from agents.primal.trpo import TrustRegionStep
from agents.primal_dual import AdvantageScaling, NoDual
from agents.scpo.agent import SafetySettings
from agents.scpo.residual_policy import ResidualPolicy
from agents.scpo.scpo_update import ScpoSettings


class SearchTrial(Protocol):
    """The methods of a trial that a space uses; `optuna.Trial` has them."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Return a number between the bounds, both included."""
        ...

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """Return a whole number between the bounds, both included."""
        ...

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Return one of the choices."""
        ...

    def set_user_attr(self, key: str, value: Any) -> None:
        """Store a value to show with the trial's parameters."""
        ...


class Dimension(NamedTuple):
    """One argument to search.

    Args:
        argument: of the agent.
        label: name of the parameter in the study; differs from the argument if its values do.
        suggest: returns the parameter's value, given the trial and the label.
        value: maps the parameter's value to the argument's.
    """

    argument: str
    label: str
    suggest: Callable[[SearchTrial, str], Any]
    value: Callable[[Any], Any]


Space = tuple[Dimension, ...]


def scale(argument: str, low: float, high: float) -> Dimension:
    """Return a positive number searched on a logarithmic scale."""
    return Dimension(
        argument, argument, lambda t, n: t.suggest_float(n, low, high, log=True), _same
    )


def below_one(argument: str, low: float, high: float) -> Dimension:
    """Return a number 1 - x, with x searched on a logarithmic scale."""

    def suggest(trial: SearchTrial, name: str) -> float:
        return trial.suggest_float(name, low, high, log=True)

    return Dimension(argument, f"one_minus_{argument}", suggest, lambda x: 1.0 - x)


def whole(argument: str, low: int, high: int) -> Dimension:
    """Return a whole number."""
    return Dimension(argument, argument, lambda t, n: t.suggest_int(n, low, high), _same)


def power_of_two(argument: str, low: int, high: int) -> Dimension:
    """Return 2^x, with x a whole number between the bounds."""
    label = f"{argument}_pow"
    return Dimension(argument, label, lambda t, n: t.suggest_int(n, low, high), lambda x: 2**x)


def one_of(argument: str, *choices: Any) -> Dimension:
    """Return one of a few values."""
    return Dimension(argument, argument, lambda t, n: t.suggest_categorical(n, choices), _same)


def named(argument: str, label: str, values: Mapping[str, Any]) -> Dimension:
    """Return one of a few values that the study knows by name."""
    names = tuple(values)
    return Dimension(
        argument, label, lambda t, n: t.suggest_categorical(n, names), lambda name: values[name]
    )


def _same(value: Any) -> Any:
    return value


NETWORKS = MappingProxyType(
    {
        f"{size}_{activation.__name__.lower()}": {
            "net_arch": {"pi": widths, "vf": widths},
            "activation_fn": activation,
        }
        for size, widths in (("tiny", [64]), ("small", [64, 64]), ("medium", [256, 256]))
        for activation in (nn.Tanh, nn.ReLU)
    }
)

# "Zoo" below is RL Baselines3 Zoo 2.9 (its space of PPO, or of TRPO), whose ranges are taken over
# where the argument is the same, so that searches are comparable.
SPACES: Mapping[type, Space] = MappingProxyType(
    {
        ConstrainedAgent: (
            scale("learning_rate", 1e-5, 2e-3),  # Zoo
            # The Zoo's lower end, 2^5, is left out: with rollouts much shorter than an episode,
            # agents measure the violation on short episodes only (see `ConstrainedAgent`).
            power_of_two("n_steps", 8, 12),
            below_one("gae_lambda", 1e-4, 0.1),  # Zoo
            below_one("cost_gae_lambda", 1e-4, 0.1),  # as the reward's
        ),
        MlpPolicy: (named("policy_kwargs", "network", NETWORKS),),  # Zoo
        # Its settings (the scale of observations, the exploration) belong to the controller that
        # the network is added to.
        ResidualPolicy: (),
        CriticDescent: (
            # The Zoo's comment says 2^5; minibatches of 4 rows, its code's, take 16 times as long.
            power_of_two("batch_size", 5, 10),
            one_of("n_epochs", 1, 5, 10, 20),  # Zoo
            scale("max_grad_norm", 0.5, 40.0),  # from Stable-Baselines3's default to OmniSafe's
        ),
        MinibatchDescent: (scale("ent_coef", 1e-8, 0.1),),  # Zoo
        AdvantageScaling: (),
        MarginSetting: (),  # these two decide which policy is wanted
        NoiseCeiling: (),
        ClippedSurrogate: (one_of("clip_range", 0.1, 0.2, 0.3, 0.4),),  # Zoo
        # The search of the ALM paper, arXiv 2605.11694, appendix F, without .001 and .01, at which
        # the policy hardly moves within a search's short runs.
        MirrorAscentSurrogate: (one_of("step_size", 0.1, 0.3, 0.5, 0.7, 0.9),),
        TrustRegionStep: (
            scale("max_kl", 1e-3, 0.1),  # Zoo's target_kl
            whole("cg_iterations", 5, 30),  # Zoo's cg_max_steps
            scale("cg_damping", 1e-2, 0.5),  # the values that the Zoo lists, not searched there
        ),
        NoDual: (),
        Lagrangian: (
            # Pure numbers (`agents.price_units`): about the defaults, 0.05 and 1, on any task.
            scale("multiplier_lr", 3e-3, 1.0),
            scale("damping", 0.03, 3.0),
            one_of("multiplier_optimizer", "adam", "ascent"),
        ),
        PID: (
            # Pure numbers (`agents.price_units`): a decade to either side of the defaults.
            scale("proportional_gain", 0.03, 3.0),
            scale("integral_gain", 3e-3, 1.0),
            scale("derivative_gain", 0.01, 1.0),
            below_one("smoothing", 0.01, 0.5),  # memories of 2 to 100 updates
        ),
        AugmentedLagrangian: (
            # A pure number (`agents.price_units`): a decade to either side of the default. The ALM
            # paper's 1e-3 to 1e-1 are in units of reward per squared cost.
            scale("penalty", 0.03, 3.0),
            one_of("primal_steps_per_dual_step", 1, 3, 10, 30),  # 10 in the ALM paper
        ),
        # From the paper's problem to OmniSafe's, which in effect multiplies by an episode's length.
        ViolationScale: (
            scale("violation_gain", 1.0, 1000.0),
            one_of("recovery_share", 0.25, 0.5, 0.75, 1.0),  # 1 in the paper
        ),
        ScpoSettings: (
            scale("actor_learning_rate", 1e-4, 1e-2),  # about 1e-3, the default
            whole("actor_steps", 5, 40),  # about 20, the default
            one_of("clip_range", 0.1, 0.2, 0.3, 0.4),  # as PPO's
            whole("groups", 0, 8),  # each costs a measurement of the validation set
        ),
        SafetySettings: (),  # these define what is safe
    }
)


class SearchSpace:
    """The search space of an agent.

    Args:
        agent: the class.

    Raises:
        LookupError: if a part of the agent is not in `SPACES`; the error names it.
    """

    def __init__(self, agent: type[ConstrainedAgent]) -> None:
        policy: type = agent.policy_aliases["MlpPolicy"]
        parts: list[type] = [ConstrainedAgent, policy, *agent.recipe.all_parts()]
        for part in parts:
            if part not in SPACES:
                raise LookupError(
                    f"{agent.__name__} has a part without a search space, {part.__module__}."
                    f"{part.__name__}; add it to SPACES in agents/search_spaces.py, with () if "
                    "none of its arguments should be searched"
                )
        self.dimensions = tuple(one for part in parts for one in SPACES[part])

    def sample(self, trial: SearchTrial) -> dict[str, Any]:
        """Return the agent's arguments drawn by the trial, which shows those under other labels."""
        drawn = {one.label: one.suggest(trial, one.label) for one in self.dimensions}
        arguments = self.arguments(drawn)
        for one in self.dimensions:
            if one.label != one.argument and one.argument != "policy_kwargs":
                trial.set_user_attr(one.argument, arguments[one.argument])
        return arguments

    def arguments(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return the agent's arguments for the parameters of a trial, as a study keeps them."""
        return {one.argument: one.value(parameters[one.label]) for one in self.dimensions}
