"""The table of named agents: each is a primal and a dual, or has a class in a file of its own.

A line here makes an agent. Its signature, its docstring and its name in `python -m baselines`
follow from the line. Reading the table needs no PyTorch: the parts are imported when an agent is
first asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from agents.schedules import LinearDecay

if TYPE_CHECKING:
    from agents.constrained_agent import ConstrainedAgent


class Pair(NamedTuple):
    """An agent made of a primal and a dual.

    Args:
        primal: file and class, below the folder agents.
        dual: the same.
        text: the agent's docstring without its arguments.
        defaults: of arguments, where they differ from the parts'.
        needs_constraints: whether the environment has to declare constraints.
    """

    primal: str
    dual: str
    text: str
    defaults: Mapping[str, Any] = MappingProxyType({})
    needs_constraints: bool = True

    def build(self, name: str) -> type[ConstrainedAgent]:
        """Return the class."""
        from agents.agent_settings import primal_dual
        from agents.constrained_agent import ConstrainedAgent

        body = {
            "__doc__": self.text,
            "__module__": "agents",
            "recipe": primal_dual(_class(self.primal), _class(self.dual), self.defaults),
            "needs_constraints": self.needs_constraints,
        }
        return type(name, (ConstrainedAgent,), body)


class OwnClass(NamedTuple):
    """An agent that has a class of its own.

    Args:
        home: file and class, below the folder agents.
    """

    home: str

    def build(self, name: str) -> type[ConstrainedAgent]:
        """Return the class."""
        return _class(self.home)


# Batches and rate, of the critics, are OmniSafe's. A step of a trust region fits the noise of
# its few samples, so the advantages look less far, and the last steps are small: what they leave is
# still what was measured.
TRPO_DEFAULTS = MappingProxyType(
    {
        "batch_size": 128,
        "learning_rate": 1e-3,
        "gae_lambda": 0.9,
        "max_kl": LinearDecay(0.02, part=0.2),
    }
)

NAMED_AGENTS: dict[str, Pair | OwnClass] = {
    "PPO": Pair(
        "primal.ppo.ClippedSurrogate",
        "primal_dual.NoDual",
        """PPO that measures the costs and ignores them: the unconstrained reference.

        It runs the loop of the constrained agents, critics of the costs included, so that the
        comparison is fair. Source: Schulman et al. (2017), "Proximal policy optimization
        algorithms".
        """,
        needs_constraints=False,
    ),
    "PPOLag": Pair(
        "primal.ppo.ClippedSurrogate",
        "dual.lagrangian.Lagrangian",
        """PPO with Lagrange multipliers.

        Source: Ray, Achiam and Amodei (2019), "Benchmarking safe exploration in deep reinforcement
        learning".

        Differs from OmniSafe's PPO-Lag: the combined advantage is standardized, not the reward's
        part alone, and is not divided by 1 + lambda (`normalize_advantage="separate"`,
        `normalize_lagrangian=True`); the violation comes from the episodes since the last update,
        not from the last hundred.
        """,
    ),
    "PPOPID": Pair(
        "primal.ppo.ClippedSurrogate",
        "dual.pid.PID",
        """PPO with PID-controlled multipliers.

        Source: Stooke, Achiam and Abbeel (2020), "Responsive safety in reinforcement learning by
        PID Lagrangian methods".
        """,
    ),
    "PPOALM": Pair(
        "primal.ppo.ClippedSurrogate",
        "dual.augmented_lagrangian.AugmentedLagrangian",
        """PPO with the augmented Lagrangian.

        Source: Lu, Lin, Chen and Vaswani (2026), "Augmented Lagrangian method for last-iterate
        convergence for constrained MDPs" (arXiv 2605.11694), appendix F.

        Differs from the paper: the dual step is the penalty itself, as in its equation 4, and not a
        separate step of Adam, and both are pure numbers (`agents.price_units`); the combined
        advantage is standardized.
        """,
    ),
    "SPMALag": Pair(
        "primal.spma.MirrorAscentSurrogate",
        "dual.lagrangian.Lagrangian",
        """Softmax policy mirror ascent with Lagrange multipliers.

        A combination of Asad et al. (2024), "Fast convergence of softmax policy mirror ascent",
        with the multipliers of PPO-Lag; no paper proposes it.
        """,
    ),
    "SPMAALM": Pair(
        "primal.spma.MirrorAscentSurrogate",
        "dual.augmented_lagrangian.AugmentedLagrangian",
        """Softmax policy mirror ascent with the augmented Lagrangian.

        Source: Lu, Lin, Chen and Vaswani (2026), "Augmented Lagrangian method for last-iterate
        convergence for constrained MDPs" (arXiv 2605.11694), appendix F.3.

        Differs from the paper: as `PPOALM` does, and the advantage is bounded below so that the
        surrogate has a minimum.
        """,
    ),
    "TRPOLag": Pair(
        "primal.trpo.TrustRegionStep",
        "dual.lagrangian.Lagrangian",
        """TRPO with Lagrange multipliers.

        Source: Ray, Achiam and Amodei (2019), "Benchmarking safe exploration in deep reinforcement
        learning"; Schulman et al. (2015), "Trust region policy optimization".
        """,
        TRPO_DEFAULTS,
    ),
    "TRPOALM": Pair(
        "primal.trpo.TrustRegionStep",
        "dual.augmented_lagrangian.AugmentedLagrangian",
        """TRPO with the augmented Lagrangian.

        Lu, Lin, Chen and Vaswani (2026, arXiv 2605.11694) name TRPO as one of the policy optimizers
        that their framework admits.
        """,
        TRPO_DEFAULTS,
    ),
    "CPO": OwnClass("cpo.CPO"),
    "SCPO": OwnClass("scpo.agent.SCPO"),
}


@cache
def named_agent(name: str) -> type[ConstrainedAgent]:
    """Return the class of an agent in the table; every call returns the same class."""
    return NAMED_AGENTS[name].build(name)


def _class(path: str) -> Any:
    """Return the class with this file and name below the folder agents."""
    file, _, name = path.rpartition(".")
    return vars(import_module(f"agents.{file}"))[name]
