"""Solvers for CMDPs with a known model: the linear program and first-order methods.

Every first-order method returns a `SolverTrace`: one row per exact policy evaluation, and the last
policy. The `lin_` solvers and `ppqa_alm` search the log-linear policies of given features, the
others all policies. All of them raise an error if no policy meets the limits, and none depends on
the units of rewards and costs: their settings are numbers in the problem's own units.
"""

from agents.tabular.features import one_hot, tile_coding
from agents.tabular.lin_npg_pd import lin_npg_pd
from agents.tabular.lin_ppo_lag import lin_ppo_lag
from agents.tabular.lin_reload import lin_reload
from agents.tabular.linear_program import Optimum, least_cost, linear_program
from agents.tabular.multiplier_warnings import MultiplierCapWarning, MultiplierGrowthWarning
from agents.tabular.npg_dd import npg_dd
from agents.tabular.npg_pd import npg_pd
from agents.tabular.own_units import Units, own_units
from agents.tabular.ppo_lag import ppo_lag
from agents.tabular.ppqa_alm import ppqa_alm
from agents.tabular.pqa_alm import pqa_alm
from agents.tabular.reload_pd import reload_pd
from agents.tabular.rpg_pd import rpg_pd
from agents.tabular.solver_trace import SolverTrace, random_policy

__all__ = [
    "MultiplierCapWarning",
    "MultiplierGrowthWarning",
    "Optimum",
    "SolverTrace",
    "Units",
    "least_cost",
    "lin_npg_pd",
    "lin_ppo_lag",
    "lin_reload",
    "linear_program",
    "npg_dd",
    "npg_pd",
    "one_hot",
    "own_units",
    "ppo_lag",
    "ppqa_alm",
    "pqa_alm",
    "random_policy",
    "reload_pd",
    "rpg_pd",
    "tile_coding",
]
