"""The command line: `python -m baselines train|evaluate|compare|demo`."""

from __future__ import annotations

import sys

import tyro
from rich.console import Console
from rich.markup import escape

from baselines.compare import CompareOptions, compare
from baselines.demo import DemoOptions, demo
from baselines.evaluate import EvaluateOptions, evaluate
from baselines.train import TrainOptions, train

Options = TrainOptions | EvaluateOptions | CompareOptions | DemoOptions


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand and return its exit code; 2 for a refused argument."""
    options: Options = tyro.extras.subcommand_cli_from_dict(
        {
            "train": TrainOptions,
            "evaluate": EvaluateOptions,
            "compare": CompareOptions,
            "demo": DemoOptions,
        },
        prog="python -m baselines",
        description=__doc__,
        args=arguments,
    )
    console = Console()
    try:
        return _run(options, console)
    except ValueError as error:
        console.print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        return 2


def _run(options: Options, console: Console) -> int:
    if isinstance(options, TrainOptions):
        return train(options, console)
    if isinstance(options, EvaluateOptions):
        return evaluate(options, console)
    if isinstance(options, CompareOptions):
        return compare(options, console)
    return demo(options, console)


if __name__ == "__main__":
    sys.exit(main())
