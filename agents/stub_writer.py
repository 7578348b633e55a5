"""Writes `agents/__init__.pyi`: the named agents with all of their arguments, for type checkers.

`python -m agents.stub_writer`, after a change to the table of named agents or to the arguments of
a part. A test compares the file with what this writes.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from agents.constrained_agent import ConstrainedAgent
from agents.named_agents import NAMED_AGENTS, named_agent
from agents.signatures import Argument

PATH = Path(__file__).with_name("__init__.pyi")
HEAD = '"""The names of the package, with all arguments; written by agents/stub_writer.py."""\n'
TAIL = "\n__all__: list[str]\n"
EXPORTS = (
    "from agents.constrained_agent import ConstrainedAgent as ConstrainedAgent",
    "from agents.eval_callback import ConstrainedEvalCallback as ConstrainedEvalCallback",
    "from agents.evaluation import evaluate as evaluate",
    "from agents.constrained_agent import load as load",
    "from agents.saving.archive import SavedAgentError as SavedAgentError",
    "from agents.schedules import LinearDecay as LinearDecay",
    "from agents.training_env import make_vec_env as make_vec_env",
)


def stub_text() -> str:
    """Return the text of the stub."""
    classes, imports = [], set(EXPORTS)
    for name in NAMED_AGENTS:
        kind = named_agent(name)
        arguments = [*_first_arguments(), *kind.all_arguments()]
        classes.append(_class_text(kind, arguments))
        for one in arguments:
            imports.update(_imports(_annotation(one), one.module))
    return "\n".join([HEAD, *_sorted_imports(imports), TAIL, *classes])


def _first_arguments() -> list[Argument]:
    parameters = inspect.signature(ConstrainedAgent.__init__).parameters.values()
    module = ConstrainedAgent.__module__
    return [
        Argument(p.name, p.annotation, p.empty, "", module)
        for p in parameters
        if p.kind is p.POSITIONAL_OR_KEYWORD and p.name != "self"
    ]


def _class_text(kind: type, arguments: Iterable[Argument]) -> str:
    summary = (kind.__doc__ or "").splitlines()[0]
    lines = [f"class {kind.__name__}(ConstrainedAgent):", f'    """{summary}"""', ""]
    lines += ["    def __init__(", "        self,"]
    entries = [_entry(one) for one in arguments]
    lines += [*entries[:2], "        *,", *entries[2:], "    ) -> None: ...", ""]
    return "\n".join(lines)


def _entry(one: Argument) -> str:
    shown = {str: '"{}"', float: "{!r}", int: "{!r}", bool: "{!r}", type(None): "{!r}"}
    if one.default is inspect.Parameter.empty:
        default = ""
    elif type(one.default) in shown and one.default != float("inf"):
        default = " = " + shown[type(one.default)].format(one.default)
    else:
        default = " = ..."
    return f"        {one.name}: {_annotation(one)}{default},"


def _annotation(one: Argument) -> str:
    text = one.annotation
    if not isinstance(text, str):
        text = inspect.formatannotation(text)
    return text.replace("'", '"')


def _imports(annotation: str, module: str) -> Iterable[str]:
    """Yield the lines that import the names in an annotation."""
    known: Mapping[str, Any] = vars(sys.modules[module])
    without_text = re.sub(r'"[^"]*"', "", annotation)
    for name in re.findall(r"(?<![\w.])[A-Za-z_]\w*", without_text):
        if name in vars(builtins):
            continue
        found = known[name]
        if isinstance(found, ModuleType):
            same = found.__name__ == name
            yield f"import {name}" if same else f"import {found.__name__} as {name}"
        else:
            yield f"from {_home(name, found, module)} import {name}"


def _home(name: str, found: Any, module: str) -> str:
    """Return the module that defines the name: one place, however many modules use it."""
    home = inspect.getmodule(found)
    if home is not None and vars(home).get(name) is found:
        return home.__name__
    for node in ast.parse(inspect.getsource(sys.modules[module])).body:  # an alias has no module
        if isinstance(node, ast.ImportFrom) and name in [one.name for one in node.names]:
            return str(node.module)
    return module


def _sorted_imports(lines: Iterable[str]) -> list[str]:
    """Return import lines, joined by module and sorted: standard library, others, ours."""
    joined: dict[str, list[str]] = {}
    for line in sorted(lines):
        start, _, name = line.partition(" import ")
        is_whole = not name or " as " in name
        joined.setdefault(line if is_whole else f"{start} import ", []).extend(
            [] if is_whole else [name]
        )
    groups: tuple[list[str], ...] = ([], [], [])
    for start in sorted(joined, key=lambda line: (line.startswith("from"), line.split()[1])):
        root = re.split(r"[ .]", start)[1]
        ours = root in ("agents", "safe_envs")
        group = 0 if root in sys.stdlib_module_names else 1 + ours
        groups[group].append(start + ", ".join(joined[start]))
    return "\n\n".join("\n".join(group) for group in groups if group).splitlines()


if __name__ == "__main__":
    PATH.write_text(stub_text())
    print(f"{PATH} is written")
