"""Agents that maximise return subject to limits on expected costs.

`agents.PPOLag("MlpPolicy", env, cost_limit=25).learn(1_000_000)`; the tabular solvers are in
`agents.tabular`, controllers from models in `agents.controllers`. The deep agents need the extra
`train` and are imported when first asked for, so that the others run without PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agents.constrained_agent import ConstrainedAgent
    from agents.named_agents import (
        CPO,
        PPO,
        PPOALM,
        PPOPID,
        SPMAALM,
        TRPOALM,
        PPOLag,
        SPMALag,
        TRPOLag,
    )
    from agents.scpo.agent import SCPO
    from agents.training_env import make_vec_env

__all__ = [
    "CPO",
    "PPO",
    "PPOALM",
    "PPOPID",
    "SCPO",
    "SPMAALM",
    "TRPOALM",
    "ConstrainedAgent",
    "PPOLag",
    "SPMALag",
    "TRPOLag",
    "make_vec_env",
]

HOMES = {
    "CPO": "named_agents",
    "PPO": "named_agents",
    "PPOALM": "named_agents",
    "PPOLag": "named_agents",
    "PPOPID": "named_agents",
    "SCPO": "scpo.agent",
    "SPMAALM": "named_agents",
    "SPMALag": "named_agents",
    "TRPOALM": "named_agents",
    "TRPOLag": "named_agents",
    "ConstrainedAgent": "constrained_agent",
    "make_vec_env": "training_env",
}


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'agents' has no attribute {name!r}; it has {__all__}")
    try:
        return getattr(import_module(f"agents.{HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name in ("torch", "stable_baselines3"):
            raise ImportError(
                f"agents.{name} needs {error.name}: pip install 'safe-envs[train]'"
            ) from error
        raise
