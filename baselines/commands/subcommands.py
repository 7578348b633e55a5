"""Runs the subcommands of `python -m baselines` and of the packages above it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import tyro
from rich.console import Console

from baselines.report.printable import plain
from baselines.report.terminal_table import terminal_console
from baselines.shell_command import shell_command

Command = tuple[type, Callable[..., int]]  # its options, and what runs them: (options, console)


def run_subcommand(
    commands: Mapping[str, Command], package: str, description: str, arguments: list[str] | None
) -> int:
    """Run a subcommand and return its exit code: 2 for a refused argument, 1 for a failed file.

    Args:
        commands: by name; each has its own options.
        package: what follows `python -m`.
        description: shown by `--help`.
        arguments: of the command line; those of this process if None.
    """
    words = sys.argv[1:] if arguments is None else arguments
    options = _parsed(commands, shell_command(package), description, words)
    run = dict(commands.values())[type(options)]
    console = terminal_console()
    try:
        return run(options, console)
    except ValueError as error:
        _print_error(console, str(error))
        return 2
    except OSError as error:
        _print_error(console, _told(error))
        return 1


def _print_error(console: Console, text: str) -> None:
    line = f"[red]error:[/] {plain(text)}"
    try:
        console.print(line, soft_wrap=True)
    except OSError:  # the output is redirected to a full disk
        terminal_console(stderr=True).print(line, soft_wrap=True)


def _told(error: OSError) -> str:
    """Return what an operating system's error says: the path, and what is wrong with it."""
    if error.strerror is None:
        return f"{type(error).__name__}: {error}"
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror


def _parsed(commands: Mapping[str, Command], prog: str, description: str, words: list[str]) -> Any:
    """Return the options of the subcommand; print and exit for `--help` and for errors."""
    if words and words[0] in commands:
        # Parsed alone, because among subcommands tyro's hints cut `prog` at its first space.
        return tyro.cli(commands[words[0]][0], prog=f"{prog} {words[0]}", args=words[1:])
    return tyro.extras.subcommand_cli_from_dict(
        {name: kind for name, (kind, _) in commands.items()},
        prog=prog,
        description=description,
        args=words,
    )
