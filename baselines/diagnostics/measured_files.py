"""The files of a training's diagnostics.

    diagnostics/
        measures.csv            one row per measurement, columns as in docs/diagnostics.md
        step_000000004096.npz   arrays of one moment: parameters, eigenvalues, a landscape
        path.npz                the plane of the training's own path, written at its end

A training that goes on from a checkpoint drops what was measured after it and measures it again.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from agents.atomic_files import write_atomically

FOLDER = "diagnostics"  # in that of a run
TABLE, PATH = "measures.csv", "path.npz"
STEPS = "time/total_timesteps"  # the column that other files of a run have too


class MeasuredFiles:
    """Writes diagnostics into the folder of a run.

    Args:
        folder: of the run; it is made if there is none.
        timesteps: where the training is: rows and files of later steps are dropped.
    """

    def __init__(self, folder: Path, timesteps: int = 0) -> None:
        self._folder = folder / FOLDER
        self._folder.mkdir(parents=True, exist_ok=True)
        kept = read_table(folder) if timesteps else {}
        rows = _rows(kept)
        self._columns = list(kept)
        self._lines = [row for row in rows if float(row[STEPS]) <= timesteps]
        for file in self._folder.glob("*.npz"):
            if file.name == PATH or step_of(file) > timesteps:
                file.unlink()
        self._write()

    def add(self, numbers: Mapping[str, float]) -> None:
        """Append a row; new columns are empty in the rows before."""
        self._columns += [name for name in numbers if name not in self._columns]
        self._lines.append({name: repr(float(value)) for name, value in numbers.items()})
        self._write()

    def moment(self, timesteps: int, arrays: Mapping[str, Any]) -> None:
        """Write the arrays of one moment."""
        self._arrays(f"step_{timesteps:012d}.npz", arrays)

    def path(self, arrays: Mapping[str, Any]) -> None:
        """Write the arrays of the training's path."""
        self._arrays(PATH, arrays)

    def _write(self) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._lines)
        write_atomically(self._folder / TABLE, text.getvalue().encode())

    def _arrays(self, name: str, arrays: Mapping[str, Any]) -> None:
        data = io.BytesIO()
        np.savez_compressed(data, **arrays)
        write_atomically(self._folder / name, data.getvalue())


def read_table(run: Path) -> dict[str, np.ndarray]:
    """Return the columns of a run's measures.csv, (rows,) each; NaN where nothing was measured.

    Args:
        run: folder of the run.

    Raises:
        ValueError: if the table is not one of numbers.
    """
    file = run / FOLDER / TABLE
    if not file.exists():
        return {}
    with file.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    names = list(rows[0]) if rows else []
    try:
        return {name: np.array([float(row[name] or "nan") for row in rows]) for name in names}
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file} is damaged ({error}); delete it, or train again") from error


def read_moment(file: Path) -> dict[str, np.ndarray]:
    """Return the arrays of one moment, or of the path.

    Raises:
        ValueError: if the file is damaged.
    """
    try:
        with np.load(file, allow_pickle=False) as found:
            return {name: found[name] for name in found.files}
    except (OSError, ValueError, zipfile.BadZipFile, KeyError) as error:
        raise ValueError(f"{file} is damaged ({error}); delete it, or train again") from error


def moment_files(run: Path) -> list[Path]:
    """Return the files of a run's moments, in order."""
    return sorted((run / FOLDER).glob("step_*.npz"))


def step_of(file: Path) -> int:
    """Return the steps taken until a moment, from the name of its file; 0 for other files."""
    digits = file.stem.removeprefix("step_")
    return int(digits) if digits.isdigit() else 0


def _rows(columns: Mapping[str, np.ndarray]) -> list[dict[str, str]]:
    count = len(next(iter(columns.values()), ()))
    return [
        {name: "" if np.isnan(each[k]) else repr(float(each[k])) for name, each in columns.items()}
        for k in range(count)
    ]
