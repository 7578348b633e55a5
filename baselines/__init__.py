"""Runs agents on environments and compares them: `python -m baselines --help`.

`baselines.tuned("PPOLag", "Safe/DeepSeaTreasure-v0", seed=0)` makes an agent with tuned settings;
`baselines.load_run(folder)` returns what a finished run left.
"""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

OURS = "from agents.named_agents import"  # a line of this project's agents/__init__.py


def check_agents_is_neighbor(folder: Path) -> None:
    """Raise ImportError if `agents` is not this project's package of that name next to `folder`.

    The name is common: the distribution openai-agents installs a package `agents` too. In the same
    environment it replaces files of this one, and takes them away when it is uninstalled.
    """
    expected = folder.resolve().parent / "agents"
    spec = find_spec("agents")
    found = [Path(place).resolve() for place in (spec and spec.submodule_search_locations) or ()]
    if expected not in found:
        origin = spec.origin if spec is not None else None
        seen = found[0] if found else origin or "nowhere"
        raise ImportError(
            f"baselines in {folder.resolve()} needs the package agents in {expected}, but "
            f"`import agents` finds {seen}; run from a folder without a package of that name, such "
            "as the root of the repository (openai-agents installs one of the same name)"
        )
    start = expected / "__init__.py"
    if not start.is_file() or OURS not in start.read_text("utf-8"):
        state = "belongs to another distribution" if start.is_file() else "is missing"
        raise ImportError(
            f"{start} {state}; openai-agents, for example, installs and removes such a file. "
            "Use another virtual environment for it, and reinstall safe-envs-agents in this one"
        )


check_agents_is_neighbor(Path(__file__).parent)

__all__ = ["load_run", "tuned"]

_HOMES = {"load_run": "baselines.loaded_run", "tuned": "baselines.tuned_agent"}  # import PyTorch


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'baselines' has no attribute {name!r}; it has {__all__}")
    return getattr(import_module(_HOMES[name]), name)
