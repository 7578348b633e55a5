"""Agents that maximize return subject to limits on expected costs.

`agents.PPOLag("MlpPolicy", env, cost_limit=25).learn(1_000_000)`; the tabular solvers are in
`agents.tabular`, controllers from models in `agents.controllers`. The deep agents are imported when
first asked for, so that the others run without PyTorch.

Type checkers and editors read `__init__.pyi`, which `python -m agents.stub_writer` writes.
"""

from importlib import import_module
from typing import Any

from agents.named_agents import NAMED_AGENTS, named_agent

HOMES = {
    "ConstrainedAgent": "constrained_agent",
    "ConstrainedEvalCallback": "eval_callback",
    "evaluate": "evaluation",
    "LinearDecay": "schedules",
    "SavedAgentError": "saving.archive",
    "load": "constrained_agent",
    "make_vec_env": "training_env",
}

__all__ = [*NAMED_AGENTS, *HOMES]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'agents' has no attribute {name!r}; it has {__all__}")
    try:
        if name in NAMED_AGENTS:
            return named_agent(name)
        return getattr(import_module(f"agents.{HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name in ("torch", "stable_baselines3"):
            raise ImportError(
                f"agents.{name} needs {error.name}: pip install torch stable-baselines3"
            ) from error
        raise


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
