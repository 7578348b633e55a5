"""Lists the commands of a package by reading its files; importing them would take seconds."""

from __future__ import annotations

import ast
from pathlib import Path

TABLE = "COMMANDS"


def listed_commands(package: Path) -> dict[str, str]:
    """Return the names of a package's commands, in order, and what each of them does.

    The table `COMMANDS` in its `__main__.py` is a literal of (options, function) by name; the first
    line of the options' docstring says what the command does.

    Args:
        package: its folder.

    Raises:
        ValueError: if the table is written in another way.
    """
    file = package / "__main__.py"
    tree = _tree(file)
    imports = _imports(tree)
    return {
        name: _summary(package.parent, _full_name(options, imports))
        for name, options in _table(tree, file).items()
    }


def _table(tree: ast.Module, file: Path) -> dict[str, str]:
    """Return what the options are called in the file, by the commands' names."""
    tables = [
        node.value
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == TABLE
    ]
    if len(tables) != 1 or not isinstance(tables[0], ast.Dict):
        raise ValueError(f"{file} needs one literal {TABLE}: dict[str, Command] = {{...}}")
    found = {}
    for key, row in zip(tables[0].keys, tables[0].values, strict=True):
        if not (isinstance(key, ast.Constant) and isinstance(row, ast.Tuple)):
            raise ValueError(f"{file}: {ast.unparse(row)} in {TABLE} is not (options, function)")
        found[str(key.value)] = ast.unparse(row.elts[0])
    return found


def _summary(root: Path, full_name: str) -> str:
    """Return the first line of a class's docstring, up to a semicolon and without a period."""
    module, _, name = full_name.rpartition(".")
    file = root.joinpath(*module.split(".")).with_suffix(".py")
    tree = _tree(file)
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            line = (ast.get_docstring(node) or "").partition("\n")[0]
            return line.partition(";")[0].rstrip(".")
    imports = _imports(tree)
    if name not in imports:
        raise ValueError(f"{file} has no class {name}")
    return _summary(root, imports[name])


def _full_name(name: str, imports: dict[str, str]) -> str:
    first, dot, rest = name.partition(".")
    return f"{imports.get(first, first)}{dot}{rest}"


def _imports(tree: ast.Module) -> dict[str, str]:
    """Return the full names of what a file imports."""
    return {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text("utf-8"), str(file))
