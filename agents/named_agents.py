"""The agents by name: each a primal and a dual."""

from __future__ import annotations

from agents.agent_settings import primal_dual
from agents.constrained_agent import ConstrainedAgent
from agents.cpo import cpo_recipe
from agents.dual.augmented_lagrangian import AugmentedLagrangian
from agents.dual.lagrangian import Lagrangian
from agents.dual.no_dual import NoDual
from agents.dual.pid import PID
from agents.primal.ppo import ClippedSurrogate
from agents.primal.spma import MirrorAscentSurrogate
from agents.primal.trpo import TrustRegionStep


class PPO(ConstrainedAgent):
    """PPO that measures the costs and ignores them: the unconstrained reference."""

    recipe = primal_dual(ClippedSurrogate, NoDual)
    needs_constraints = False


class PPOLag(ConstrainedAgent):
    """PPO with Lagrange multipliers (Ray, Achiam and Amodei, 2019)."""

    recipe = primal_dual(ClippedSurrogate, Lagrangian)


class PPOPID(ConstrainedAgent):
    """PPO with PID-controlled multipliers (Stooke, Achiam and Abbeel, 2020)."""

    recipe = primal_dual(ClippedSurrogate, PID)


class PPOALM(ConstrainedAgent):
    """PPO with the augmented Lagrangian (Lu, Lin, Chen and Vaswani, 2026)."""

    recipe = primal_dual(ClippedSurrogate, AugmentedLagrangian)


class SPMALag(ConstrainedAgent):
    """SPMA with Lagrange multipliers."""

    recipe = primal_dual(MirrorAscentSurrogate, Lagrangian)


class SPMAALM(ConstrainedAgent):
    """SPMA with the augmented Lagrangian (Lu, Lin, Chen and Vaswani, 2026)."""

    recipe = primal_dual(MirrorAscentSurrogate, AugmentedLagrangian)


class TRPOLag(ConstrainedAgent):
    """TRPO with Lagrange multipliers (Ray, Achiam and Amodei, 2019)."""

    recipe = primal_dual(TrustRegionStep, Lagrangian, batch_size=128)


class TRPOALM(ConstrainedAgent):
    """TRPO with the augmented Lagrangian of Lu, Lin, Chen and Vaswani (2026)."""

    recipe = primal_dual(TrustRegionStep, AugmentedLagrangian, batch_size=128)


class CPO(ConstrainedAgent):
    """Constrained policy optimisation, for one constraint (Achiam et al., 2017)."""

    recipe = cpo_recipe(batch_size=128)
