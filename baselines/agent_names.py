"""The agents that can be compared, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from agents.tabular.lin_npg_pd import lin_npg_pd
from agents.tabular.lin_ppo_lag import lin_ppo_lag
from agents.tabular.lin_reload import lin_reload
from agents.tabular.npg_dd import npg_dd
from agents.tabular.npg_pd import npg_pd
from agents.tabular.ppo_lag import ppo_lag
from agents.tabular.ppqa_alm import ppqa_alm
from agents.tabular.pqa_alm import pqa_alm
from agents.tabular.reload_pd import reload_pd
from agents.tabular.rpg_pd import rpg_pd
from agents.tabular.solver_trace import SolverTrace
from baselines.unknown_name import unknown_name

Solver = Callable[..., SolverTrace]

SOLVERS: dict[str, Solver] = {
    "pqa_alm": pqa_alm,
    "npg_pd": npg_pd,
    "rpg_pd": rpg_pd,
    "npg_dd": npg_dd,
    "reload_pd": reload_pd,
    "ppo_lag": ppo_lag,
    "ppqa_alm": ppqa_alm,
    "lin_npg_pd": lin_npg_pd,
    "lin_reload": lin_reload,
    "lin_ppo_lag": lin_ppo_lag,
}

STARTING_POINTS = ("initial_policy", "initial_parameters")  # set by the runner from the seed


def solver_named(agent: str) -> Solver:
    """Return the solver of that name.

    Raises:
        ValueError: if there is none, with the known names and the closest one.
    """
    if agent not in SOLVERS:
        raise ValueError(unknown_name("agent", agent, SOLVERS))
    return SOLVERS[agent]


def default_hyperparameters(agent: str) -> dict[str, Any]:
    """Return the solver's keyword-only arguments and their defaults, without starting points."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(solver_named(agent)).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name not in STARTING_POINTS
    }


def takes_parameters(agent: str) -> bool:
    """Return whether the agent starts from feature parameters rather than from a policy."""
    return "initial_parameters" in inspect.signature(solver_named(agent)).parameters
