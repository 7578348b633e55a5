"""The console script `safe-envs`: the commands of `baselines` and `leaderboard` in one list.

Both have a command `demo`. The script runs the leaderboard's, which does everything that the other
does and then submits the best agent; `python -m baselines demo` leaves that out.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from baselines import check_agents_is_neighbor
from baselines.commands.command_list import listed_commands
from baselines.commands.subcommands import run_subcommand
from baselines.shell_command import SCRIPT

HEADINGS = {"baselines": "Train, evaluate, compare", "leaderboard": "Leaderboard"}
INSTALL = "pip install 'safe-envs-agents[leaderboard]'"
USAGE = f"""[bold]usage:[/] {SCRIPT} COMMAND ...
       {SCRIPT} COMMAND --help
       {SCRIPT} --version"""


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code; 2 for a refused argument."""
    words = sys.argv[1:] if arguments is None else arguments
    console = Console()
    try:
        search_current_folder()
    except ImportError as error:
        console.print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        return 2
    name = words[0] if words else ""
    if name in ("", "-h", "--help"):
        _print_help(console)
        return 0 if words else 2
    if name in ("-V", "--version"):
        from safe_envs import __version__  # takes as long as Gymnasium

        console.print(f"{SCRIPT} {__version__}", highlight=False)
        return 0
    return _run(words, console)


def search_current_folder() -> None:
    """Make the modules in the current folder importable, as `python -m` does.

    Raises:
        ImportError: if the folder has a package `agents` of its own.
    """
    if not getattr(sys.flags, "safe_path", False):  # -P, or PYTHONSAFEPATH, from Python 3.11
        sys.path.insert(0, os.getcwd())
        check_agents_is_neighbor(Path(__file__).parent)


def commands_of(package: str) -> dict[str, str]:
    """Return the names of the commands that the script takes from a package, and what they do."""
    root = Path(__file__).parents[1]
    found = listed_commands(root / package)
    above = listed_commands(root / "leaderboard") if package == "baselines" else {}
    return {name: summary for name, summary in found.items() if name not in above}


def _run(words: list[str], console: Console) -> int:
    packages = {name: package for package in HEADINGS for name in commands_of(package)}
    package = packages.get(words[0])
    if package is None:
        from safe_envs.contract.argument_checks import unknown_name  # takes as long as Gymnasium

        told = unknown_name("command", words[0], packages)
        console.print(f"[red]error:[/] {escape(told)}", soft_wrap=True)
        return 2
    try:
        commands = import_module(f"{package}.__main__").COMMANDS
    except ModuleNotFoundError as error:
        if package != "leaderboard":
            raise
        told = f"{words[0]} needs {error.name}, an extra: {INSTALL}"
        console.print(f"[red]error:[/] {escape(told)}", soft_wrap=True)
        return 2
    return run_subcommand(commands, package, "", words)


def _print_help(console: Console) -> None:
    console.print(USAGE, highlight=False)
    commands = {package: commands_of(package) for package in HEADINGS}
    width = max(len(name) for rows in commands.values() for name in rows)
    for package, rows in commands.items():
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(min_width=width + 2)
        for name, summary in rows.items():
            table.add_row(f"  [cyan]{name}[/]", escape(summary))
        console.print(f"\n[bold]{HEADINGS[package]}[/]")
        console.print(table)


if __name__ == "__main__":
    sys.exit(main())
