"""The pages of the deep agents, from the docstrings of the parts they are made of."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import Any

import agents
from agents.constrained_agent import ConstrainedAgent
from baselines.names.hyperparameters import FOLDER

OWN_ARGUMENTS = "How the loop works, and the arguments all agents share"


def deep_agent_names() -> list[str]:
    """Return the names of the agents that have a page."""
    exported = (getattr(agents, name) for name in agents.__all__)
    kinds = (one for one in exported if inspect.isclass(one) and issubclass(one, ConstrainedAgent))
    return sorted(kind.__name__ for kind in kinds if kind is not ConstrainedAgent)


def deep_agent_page(name: str) -> str:
    """Return the page of one agent as Markdown."""
    agent: type[ConstrainedAgent] = getattr(agents, name)
    parts = agent.recipe.all_parts()
    lines = [
        f"# agents.{name}",
        "",
        inspect.getdoc(agent) or "",
        "",
        "```python",
        "import agents",
        "",
        f"agent = agents.{name}({_example_arguments(agent)}, seed=0)",
        "agent.learn(1_000_000)",
        "```",
        "",
        "## What it is made of",
        "",
    ]
    for part in parts:
        lines += [f"### {part.__name__}", "", "```text", _module_text(part), "```", ""]
    lines += ["## Arguments of its own", "", "| argument | default | meaning and origin |"]
    lines += ["|---|---|---|"]
    lines += _rows(agent.recipe.arguments(), parts)
    lines += ["", f"## {OWN_ARGUMENTS}", "", "```text", inspect.getdoc(ConstrainedAgent) or ""]
    lines += ["```", "", "## Tuned settings", "", *_tuned(name), ""]
    return "\n".join(lines)


def _example_arguments(agent: type[ConstrainedAgent]) -> str:
    if agent is agents.SCPO:  # it needs an environment with a safe controller
        return '"MlpPolicy", "Safe/DoubleIntegrator-v0"'
    limit = ", cost_limit=25.0" if agent.needs_constraints else ""
    return f'"MlpPolicy", "SafetyHopperVelocity-v1"{limit}'


def described_arguments(documented: Any) -> dict[str, str]:
    """Return the text of each entry of a docstring's Args section."""
    text = inspect.getdoc(documented) or ""
    section = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", text, re.DOTALL | re.MULTILINE)
    if section is None:
        return {}
    entries = re.split(r"^ {4}(?=\w+:)", section[1], flags=re.MULTILINE)
    pairs = (entry.split(":", 1) for entry in entries if ":" in entry)
    return {name.strip(): " ".join(meaning.split()) for name, meaning in pairs}


def _rows(defaults: dict[str, Any], parts: Sequence[type]) -> list[str]:
    meanings = {name: text for part in parts for name, text in described_arguments(part).items()}
    return [
        f"| `{name}` | `{default!r}` | {meanings.get(name, '').replace('|', chr(92) + '|')} |"
        for name, default in defaults.items()
    ]


def _module_text(part: type) -> str:
    return inspect.getdoc(inspect.getmodule(part)) or ""


def _tuned(name: str) -> list[str]:
    path = FOLDER / f"{name}.toml"
    if not path.exists():
        return ["None: the runner uses the defaults above."]
    return [
        f"`python -m baselines train --agent {name}` uses these, each with where it comes from:",
        "",
        "```toml",
        path.read_text().strip(),
        "```",
    ]
