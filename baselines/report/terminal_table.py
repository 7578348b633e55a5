"""Tables on the terminal whose numbers are never cut: names are folded instead."""

from __future__ import annotations

import os

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from baselines.report.printable import PrintableOutput

LEAST_NAME = 13  # letters of a name on one line, however narrow the terminal is
PIPE_WIDTH = 200  # of pipes and log files, which have no width of their own
UNBOUNDED = 10_000  # a width that no cell has


def terminal_console(stderr: bool = False) -> Console:
    """Return the console of a command: as wide as the terminal, and wide if there is none.

    The variable COLUMNS determines the width, as in all programs that use Rich. Control characters
    in what is printed are replaced.

    Args:
        stderr: print to the standard error.
    """
    console = Console(stderr=stderr)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(stderr=stderr, width=PIPE_WIDTH)
    console.push_render_hook(PrintableOutput())
    return console


def number_columns(table: Table, *headings: str) -> None:
    """Add columns of numbers, which are shown whole by `print_table`."""
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)


def name_columns(table: Table, *headings: str) -> None:
    """Add columns of names, which are folded where there is too little room."""
    for heading in headings:
        table.add_column(heading, overflow="fold")


def print_table(console: Console, table: Table) -> None:
    """Print a table without cutting any number.

    If the console is narrower than the numbers and the folded names need, the lines are longer
    than it is wide.

    Args:
        console: of any width.
        table: whose columns with `no_wrap` are numbers.
    """
    options = console.options.update(width=UNBOUNDED)
    least = 1  # the border on the left
    for column in table.columns:
        cells = (column.header, *column.cells)
        widest = max(Measurement.get(console, options, cell).maximum for cell in cells)
        column.min_width = widest if column.no_wrap else min(widest, LEAST_NAME)
        least += column.min_width + 3  # with its padding and its border
    table.width = least if least > console.width else None
    console.print(table, crop=False)
