"""Runs agents on environments and compares them: `python -m baselines --help`."""

from importlib.util import find_spec
from pathlib import Path


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
