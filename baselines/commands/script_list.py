"""Lists the scripts of a folder by reading their files; nothing is imported."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.markup import escape

from baselines.shell_command import shell_command

CALL_OF_MAIN = 'if __name__ == "__main__": main(...)'


class Script(NamedTuple):
    """A file that `python -m` runs."""

    name: str
    summary: str  # first line of its docstring


def list_scripts(package: str, folder: Path) -> int:
    """Print the scripts of a package's folder and return the exit code; 2 if one is incomplete.

    Args:
        package: as `python -m` takes it.
        folder: of the package.
    """
    console = Console()
    if sys.argv[1:] not in ([], ["-h"], ["--help"]):
        console.print(
            f"[red]error:[/] the list takes no arguments; run {shell_command(f'{package}.NAME')} "
            f"for a NAME that {shell_command(package)} lists",
            soft_wrap=True,
            highlight=False,
        )
        return 2
    try:
        scripts = scripts_in(folder)
    except ValueError as error:
        console.print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        return 2
    width = max((len(script.name) for script in scripts), default=0)
    for script in scripts:
        line = f"[bold]{script.name:<{width}}[/]  {escape(script.summary)}"
        console.print(line, soft_wrap=True, highlight=False)
    command = shell_command(f"{package}.NAME", "--help")
    console.print(f"\n{escape(command)}", soft_wrap=True, highlight=False)
    return 0


def scripts_in(folder: Path) -> list[Script]:
    """Return the scripts of a folder by name.

    Every file directly in the folder is one; code that several scripts share goes in a subfolder.

    Raises:
        ValueError: if a file has no docstring, or no function `main` that it calls when it is run.
    """
    files = sorted(file for file in folder.glob("*.py") if not file.name.startswith("__"))
    return [_script(file) for file in files]


def _script(file: Path) -> Script:
    tree = ast.parse(file.read_text("utf-8"), str(file))
    docstring = ast.get_docstring(tree)
    if not docstring:
        raise ValueError(
            f"{file} has no docstring; start the file with one whose first line says in one "
            "sentence what it does"
        )
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    if "main" not in functions:
        raise ValueError(
            f"{file} has no function main; write one, and end the file with {CALL_OF_MAIN}; "
            "move a file that is not to be run into a subfolder"
        )
    guards = [ast.unparse(node.test) for node in tree.body if isinstance(node, ast.If)]
    if "__name__ == '__main__'" not in guards:
        raise ValueError(f"{file} does not call its main; end the file with {CALL_OF_MAIN}")
    return Script(file.stem, docstring.splitlines()[0])
