"""The command line: `python -m baselines.benchmarks` lists the benchmarks."""

from __future__ import annotations

import sys
from pathlib import Path

from baselines.commands.script_list import list_scripts


def main() -> int:
    """Print the list and return the exit code."""
    return list_scripts("baselines.benchmarks", Path(__file__).parent)


if __name__ == "__main__":
    sys.exit(main())
