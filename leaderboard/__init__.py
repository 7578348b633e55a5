"""Evaluates submitted policies and ranks them: `python -m leaderboard --help`."""

from pathlib import Path

import baselines  # raises ImportError unless `agents` is its neighbor

if not hasattr(baselines, "check_agents_is_neighbor"):
    _found = getattr(baselines, "__file__", None) or list(baselines.__path__)
    raise ImportError(
        f"leaderboard in {Path(__file__).parent} needs this project's package baselines, but "
        f"`import baselines` finds {_found}; run from a folder without a package of that name, and "
        "install safe-envs-agents in a virtual environment without another distribution that has it"
    )

__all__ = ["baselines"]
