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
    """PPO that measures the costs and ignores them: the unconstrained reference.

    It runs the loop of the constrained agents, critics of the costs included, so that the price
    of safety is measured like with like. Source: Schulman et al. (2017), "Proximal policy
    optimization algorithms".
    """

    recipe = primal_dual(ClippedSurrogate, NoDual)
    needs_constraints = False


class PPOLag(ConstrainedAgent):
    """PPO with Lagrange multipliers.

    Source: Ray, Achiam and Amodei (2019), "Benchmarking safe exploration in deep reinforcement
    learning".

    Differs from OmniSafe's PPO-Lag: the combined advantage is standardised, not the reward's part
    alone, and is not divided by 1 + lambda (`normalize_advantage="separate"`,
    `normalize_lagrangian=True`); the violation comes from the episodes since the last update, not
    from the last hundred.
    """

    recipe = primal_dual(ClippedSurrogate, Lagrangian)


class PPOPID(ConstrainedAgent):
    """PPO with PID-controlled multipliers.

    Source: Stooke, Achiam and Abbeel (2020), "Responsive safety in reinforcement learning by PID
    Lagrangian methods".
    """

    recipe = primal_dual(ClippedSurrogate, PID)


class PPOALM(ConstrainedAgent):
    """PPO with the augmented Lagrangian.

    Source: Lu, Lin, Chen and Vaswani (2026), "Augmented Lagrangian method for last-iterate
    convergence for constrained MDPs" (arXiv 2605.11694), appendix F.

    Differs from the paper: the dual step is the penalty itself, as in its equation 4, and not a
    separate step of Adam; the combined advantage is standardised.
    """

    recipe = primal_dual(ClippedSurrogate, AugmentedLagrangian)


class SPMALag(ConstrainedAgent):
    """Softmax policy mirror ascent with Lagrange multipliers.

    A combination of Asad et al. (2024), "Fast convergence of softmax policy mirror ascent", with
    the multipliers of PPO-Lag; no paper proposes it.
    """

    recipe = primal_dual(MirrorAscentSurrogate, Lagrangian)


class SPMAALM(ConstrainedAgent):
    """Softmax policy mirror ascent with the augmented Lagrangian.

    Source: Lu, Lin, Chen and Vaswani (2026), "Augmented Lagrangian method for last-iterate
    convergence for constrained MDPs" (arXiv 2605.11694), appendix F.3.

    Differs from the paper: as `PPOALM` does, and the advantage is bounded below so that the
    surrogate has a minimum.
    """

    recipe = primal_dual(MirrorAscentSurrogate, AugmentedLagrangian)


class TRPOLag(ConstrainedAgent):
    """TRPO with Lagrange multipliers.

    Source: Ray, Achiam and Amodei (2019), "Benchmarking safe exploration in deep reinforcement
    learning"; Schulman et al. (2015), "Trust region policy optimization".
    """

    recipe = primal_dual(TrustRegionStep, Lagrangian, batch_size=128, learning_rate=1e-3)


class TRPOALM(ConstrainedAgent):
    """TRPO with the augmented Lagrangian.

    Lu, Lin, Chen and Vaswani (2026, arXiv 2605.11694) name TRPO as one of the policy optimisers
    that their framework admits.
    """

    recipe = primal_dual(TrustRegionStep, AugmentedLagrangian, batch_size=128, learning_rate=1e-3)


class CPO(ConstrainedAgent):
    """Constrained policy optimisation, for one constraint.

    Source: Achiam, Held, Tamar and Abbeel (2017), "Constrained policy optimization". Batch size
    and the critics' learning rate are OmniSafe's.
    """

    recipe = cpo_recipe(batch_size=128, learning_rate=1e-3)
