"""The command line: `python -m baselines train|evaluate|play|plot|show|diagnose|compare|demo`."""

from __future__ import annotations

import sys

from baselines.commands.compare import CompareOptions, compare
from baselines.commands.demo import DemoOptions, demo
from baselines.commands.diagnose import DiagnoseOptions, diagnose
from baselines.commands.evaluate import EvaluateOptions, evaluate
from baselines.commands.play import PlayOptions, play
from baselines.commands.plot import PlotOptions, plot
from baselines.commands.show import ShowOptions, show
from baselines.commands.subcommands import Command, run_subcommand
from baselines.commands.train import TrainOptions, train

COMMANDS: dict[str, Command] = {
    "train": (TrainOptions, train),
    "evaluate": (EvaluateOptions, evaluate),
    "play": (PlayOptions, play),
    "plot": (PlotOptions, plot),
    "show": (ShowOptions, show),
    "diagnose": (DiagnoseOptions, diagnose),
    "compare": (CompareOptions, compare),
    "demo": (DemoOptions, demo),
}


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand and return its exit code; 2 for a refused argument."""
    return run_subcommand(COMMANDS, "baselines", __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
