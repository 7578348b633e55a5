"""The command line: `python -m baselines compare|demo`."""

from __future__ import annotations

import sys

import tyro
from rich.console import Console
from rich.markup import escape

from baselines.compare import CompareOptions, compare
from baselines.demo import DemoOptions, demo


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand and return its exit code; 2 for a refused argument."""
    options: CompareOptions | DemoOptions = tyro.extras.subcommand_cli_from_dict(
        {"compare": CompareOptions, "demo": DemoOptions},
        prog="python -m baselines",
        description=__doc__,
        args=arguments,
    )
    console = Console()
    try:
        if isinstance(options, CompareOptions):
            return compare(options, console)
        return demo(options, console)
    except ValueError as error:
        console.print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        return 2


if __name__ == "__main__":
    sys.exit(main())
