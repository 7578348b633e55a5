"""The table of named agents names every dual and primal, and makes ordinary classes."""

import ast
import pickle
from pathlib import Path

import pytest

import agents
from agents.named_agents import NAMED_AGENTS, named_agent

FOLDER = Path(agents.__file__).parent


def parts(folder, method):
    """Return "folder.file.Class" of every class in the folder that has the method."""
    found = []
    for path in sorted((FOLDER / folder).glob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and method in {
                one.name for one in node.body if isinstance(one, ast.FunctionDef)
            }:
                found.append(f"{folder}.{path.stem}.{node.name}")
    return found


@pytest.mark.parametrize("part", [*parts("dual", "weights"), *parts("primal", "improve")])
def test_every_dual_and_primal_is_in_the_table(part):
    used = {path for row in NAMED_AGENTS.values() for path in row if isinstance(path, str)}
    assert part in used, (
        f"no named agent uses agents.{part}; add a line to the table in agents/named_agents.py: "
        '"NAME": Pair("primal.FILE.CLASS", "dual.FILE.CLASS", "What it is."), and then run '
        "python -m agents.stub_writer"
    )


def test_the_parts_are_found():
    assert set(parts("dual", "weights")) >= {
        "dual.augmented_lagrangian.AugmentedLagrangian",
        "dual.lagrangian.Lagrangian",
        "dual.pid.PID",
    }
    assert len(parts("primal", "improve")) >= 3


@pytest.mark.parametrize("name", NAMED_AGENTS)
def test_classes_are_ordinary_ones(name):
    kind = getattr(agents, name)
    assert kind is named_agent(name)
    assert kind.__name__ == name
    assert issubclass(kind, agents.ConstrainedAgent)
    assert pickle.loads(pickle.dumps(kind)) is kind
    assert kind.needs_constraints == (name != "PPO")
