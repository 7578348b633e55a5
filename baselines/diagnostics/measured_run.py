"""What is known of a training: its log, its diagnostics and its settings."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from baselines.diagnostics.measured_files import STEPS, read_table
from baselines.names.environments import environment_in

PROGRESS, CONFIG = "progress.csv", "config.json"
LATE = 0.5  # the part of a training, from its end, that is judged


@dataclass(frozen=True)
class MeasuredRun:
    """The columns of a run's files.

    Columns of one constraint have no name behind them, as "constraint/violation"; those of several
    have, as "constraint/violation/velocity". `per_constraint` finds both.
    """

    log: Mapping[str, np.ndarray]  # of progress.csv, (updates,); NaN where nothing is written
    measures: Mapping[str, np.ndarray]  # of diagnostics, (rows,); empty without any
    settings: Mapping[str, Any] = field(default_factory=dict)  # hyperparameters
    name: str = ""

    def late(self, column: str, part: float = LATE) -> np.ndarray:
        """Return the numbers of a column in the last part of the training, without NaN."""
        steps, numbers = self.series(column)
        if not len(steps):
            return numbers
        found: np.ndarray = numbers[steps > (1.0 - part) * steps[-1]]
        return found[np.isfinite(found)]

    def series(self, column: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the steps and numbers of a column of the log or of the measures, with its NaN."""
        table = self.log if column in self.log else self.measures
        if column not in table:
            return np.empty(0), np.empty(0)
        return table[STEPS], table[column]

    def all(self, column: str) -> np.ndarray:
        """Return the numbers of a column, without NaN."""
        return self.late(column, 1.0)

    def per_constraint(self, column: str) -> Iterator[tuple[str, str]]:
        """Yield each constraint's name, "" if there is one, and its column."""
        for table in (self.log, self.measures):
            for name in table:
                if name == column:
                    yield "", name
                elif name.startswith(f"{column}/"):
                    yield name.removeprefix(f"{column}/"), name


def read_measured_run(folder: Path) -> MeasuredRun:
    """Return what a run's folder holds.

    Raises:
        ValueError: if there is no progress.csv, or a file is damaged; the message names it.
    """
    measures = read_table(folder)
    if not (folder / PROGRESS).is_file() and not measures:
        raise ValueError(
            f"{folder} has no {PROGRESS} and no diagnostics; pass the folder of a training, which "
            "`train` writes, or that of one run of `compare`"
        )
    log = _read_log(folder / PROGRESS) if (folder / PROGRESS).is_file() else {}
    settings: Mapping[str, Any] = {}
    shown = str(folder)
    if (folder / CONFIG).is_file():
        try:
            config = json.loads((folder / CONFIG).read_text("utf-8"))
            settings = config.get("hyperparameters", {})
            env = environment_in(config["env"])
            shown = f"{config['agent']} on {env}, seed {config['seed']}"
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{folder / CONFIG} is damaged: {error}") from error
    return MeasuredRun(log, measures, settings, shown)


def _read_log(file: Path) -> dict[str, np.ndarray]:
    with file.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    if not rows or STEPS not in rows[0]:
        raise ValueError(f"{file} has no rows with {STEPS}; the training has not logged anything")
    return {name: np.array([_number(row[name]) for row in rows]) for name in rows[0]}


def _number(cell: str | None) -> float:
    try:
        return float(cell) if cell else float("nan")
    except ValueError:
        return float("nan")
