"""The agents that can be compared, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from typing import Any, Literal

import agents
from agents.named_agents import NAMED_AGENTS
from agents.schedules import LinearDecay
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
from baselines.names.own_agents import known_settings, own_agent, plain_name
from baselines.names.own_code import is_own_code, parse_own_code
from baselines.names.policy_files import is_policy_file, policy_label
from baselines.names.schedules import schedule_text
from safe_envs.contract.argument_checks import unknown_name

Solver = Callable[..., SolverTrace]
AgentKind = Literal["solver", "deep agent", "controller", "plain agent", "policy file"]

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

# Deep agents of the package `agents`, which are imported only when one is asked for: they need
# PyTorch, and the solvers do not.
DEEP_AGENTS = tuple(NAMED_AGENTS)

# Controllers of the package `agents.controllers`, made from an environment's model; they are
# imported only when one is asked for.
CONTROLLERS = ("GeometricController", "LQRController", "MPCController", "MaliciousExpert")

# Arguments of an agent that the runner sets itself, and settings of the runner beside them.
SET_BY_RUNNER = ("seed", "tensorboard_log", "verbose", "stats_window_size")
RUNNER_SETTINGS: dict[str, Any] = {
    "n_envs": 1,
    "policy": None,  # MultiInputPolicy for observations that are dictionaries, else MlpPolicy
}
CONTROLLER_SETTINGS: dict[str, Any] = {
    "cost_limit": None,  # that costs are compared with; None is the declared one
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


def controller_named(agent: str) -> Callable[..., Any]:
    """Return the class of a controller of `CONTROLLERS`, which is made from an environment."""
    from agents import controllers

    made_from_env: Callable[..., Any] = getattr(controllers, agent)
    return made_from_env


def kind_of(agent: str) -> AgentKind:
    """Return what kind of agent it is; "module:Class" and "file.py:Class" are imported.

    Raises:
        ValueError: if there is no agent of that name, with the known names and the closest one.
    """
    if is_policy_file(agent):
        return "policy file"
    if is_own_code(label_of(agent)):
        return own_agent(parse_own_code(agent)).kind
    agent = label_of(agent)
    if agent in SOLVERS:
        return "solver"
    if agent in DEEP_AGENTS:
        return "deep agent"
    if agent in CONTROLLERS:
        return "controller"
    known = unknown_name("agent", agent, [*SOLVERS, *DEEP_AGENTS, *CONTROLLERS])
    raise ValueError(
        f"{known}. A class of yours: module:Class or file.py:Class; a finished policy: FILE.onnx, "
        "or a folder with policy_0.onnx"
    )


def label_of(agent: str) -> str:
    """Return the name that tables and folders show: a file without its folder."""
    return policy_label(agent) if is_policy_file(agent) else plain_name(agent)


def default_hyperparameters(agent: str) -> dict[str, Any]:
    """Return all hyperparameters of an agent and their defaults.

    A solver's are its keyword-only arguments without starting points; a deep agent's are its
    arguments and `RUNNER_SETTINGS`; a controller's its arguments after the environment and
    `CONTROLLER_SETTINGS`; a policy file has only those. A class of one's own has only the settings
    of the runner: what is not set is not passed, so that its own defaults apply.
    """
    agent_kind, agent = kind_of(agent), label_of(agent)
    if agent_kind == "policy file":
        return dict(CONTROLLER_SETTINGS)
    if is_own_code(agent):
        return {**CONTROLLER_SETTINGS, **RUNNER_SETTINGS}
    if agent_kind == "controller":
        parameters = inspect.signature(controller_named(agent)).parameters
        own = {k: p.default for k, p in parameters.items() if k not in ("env", *SET_BY_RUNNER)}
        return {**own, **CONTROLLER_SETTINGS}
    if agent_kind == "deep agent":
        kind: type[agents.ConstrainedAgent] = getattr(agents, agent)
        own = {k: v for k, v in kind.arguments().items() if k not in SET_BY_RUNNER}
        return {**{k: _as_data(v) for k, v in own.items()}, **RUNNER_SETTINGS}
    return {
        name: parameter.default
        for name, parameter in inspect.signature(solver_named(agent)).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name not in STARTING_POINTS
    }


def hyperparameter_names(agent: str) -> Collection[str] | None:
    """Return the names of all hyperparameters of an agent; None if its class takes any."""
    defaults = default_hyperparameters(agent)
    if not is_own_code(label_of(agent)):
        return defaults
    own = known_settings(agent)
    return None if own is None else {*defaults, *own} - {*SET_BY_RUNNER}


def _as_data(default: Any) -> Any:
    """Return a default as it is written in files of hyperparameters."""
    return schedule_text(default) if isinstance(default, LinearDecay) else default


def takes_parameters(agent: str) -> bool:
    """Return whether the agent starts from feature parameters rather than from a policy."""
    return "initial_parameters" in inspect.signature(solver_named(agent)).parameters
