"""Runs agents on environments and compares them: `python -m baselines --help`.

`baselines.tuned("PPOLag", "Safe/DeepSeaTreasure-v0", seed=0)` makes an agent with tuned settings.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any


def check_agents_is_neighbor(folder: Path) -> None:
    """Raise ImportError if `agents` is not the package of that name next to `folder`.

    The name is common: the distribution openai-agents installs a package `agents` too.
    """
    expected = folder.resolve().parent / "agents"
    spec = find_spec("agents")
    found = [Path(place).resolve() for place in (spec and spec.submodule_search_locations) or ()]
    if expected not in found:
        origin = spec.origin if spec is not None else None
        seen = found[0] if found else origin or "nowhere"
        raise ImportError(
            f"baselines in {folder.resolve()} needs the package agents in {expected}, but "
            f"`import agents` finds {seen}; run from the repository root {expected.parent} "
            "(openai-agents installs a package of the same name)"
        )


check_agents_is_neighbor(Path(__file__).parent)

__all__ = ["tuned"]


def __getattr__(name: str) -> Any:
    if name != "tuned":
        raise AttributeError(f"module 'baselines' has no attribute {name!r}; it has {__all__}")
    from baselines.tuned_agent import tuned  # imports PyTorch

    return tuned
