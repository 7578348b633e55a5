"""Runs the subcommands of `python -m baselines` and of the packages above it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tyro
from rich.console import Console
from rich.markup import escape

Command = tuple[type, Callable[..., int]]  # its options, and what runs them: (options, console)


def run_subcommand(
    commands: Mapping[str, Command], package: str, description: str, arguments: list[str] | None
) -> int:
    """Run a subcommand and return its exit code; 2 for a refused argument.

    Args:
        commands: by name; every one has options of its own.
        package: what stands behind `python -m`.
        description: shown by `--help`.
        arguments: of the command line; those of this process if None.
    """
    options = tyro.extras.subcommand_cli_from_dict(
        {name: kind for name, (kind, _) in commands.items()},
        prog=f"python -m {package}",
        description=description,
        args=arguments,
    )
    run = dict(commands.values())[type(options)]
    console = Console()
    try:
        return run(options, console)
    except ValueError as error:
        console.print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        return 2
