"""The pages of the deep agents, generated from the docstrings of their parts."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import agents
from agents.constrained_agent import ConstrainedAgent
from agents.named_agents import NAMED_AGENTS
from agents.signatures import described_arguments, without_arguments
from baselines.names.hyperparameters import FOLDER

OWN_ARGUMENTS = "How the loop works, and the arguments all agents share"


def deep_agent_names() -> list[str]:
    """Return the names of the agents that have a page."""
    return sorted(NAMED_AGENTS)


def deep_agent_page(name: str) -> str:
    """Return the page of one agent as Markdown."""
    agent: type[ConstrainedAgent] = getattr(agents, name)
    parts = agent.recipe.all_parts()
    lines = [
        f"# agents.{name}",
        "",
        without_arguments(inspect.getdoc(agent) or ""),
        "",
        "```python",
        "import agents",
        "",
        f"agent = agents.{name}({_example_arguments(agent)}, seed=0)",
        "agent.learn(1_000_000)",
        "```",
        "",
        "## Its parts",
        "",
    ]
    texts = [_module_text(part) for part in parts]
    for number, part in enumerate(parts):
        text = texts[number]
        if text in texts[:number]:  # one module, two parts
            text = without_arguments(inspect.getdoc(part) or "")
        lines += [f"### {part.__name__}", "", "```text", text, "```", ""]
    lines += ["## Its own arguments", "", "| argument | default | meaning and origin |"]
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
        f"`python -m baselines train --agent {name}` uses these; comments give their origin:",
        "",
        "```toml",
        path.read_text().strip(),
        "```",
    ]
