"""progress.csv and TensorBoard's files of a training that may go on in another process."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import (
    KVWriter,
    TensorBoardOutputFormat,
    filter_excluded_keys,
)
from torch.utils.tensorboard import SummaryWriter

from baselines.atomic_files import write_atomically


class ProgressFile(KVWriter):
    """Writes one row of numbers per update, and goes on where the file ends.

    New columns come last and by name, so that equal trainings write equal files;
    Stable-Baselines3's order differs from process to process.

    Args:
        path: of the file; it is created if there is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        before = path.read_text("utf-8") if path.exists() else ""
        header = next(csv.reader(io.StringIO(before)), [])
        self._columns = header
        self._file = path.open("a", encoding="utf-8", newline="")

    def write(
        self,
        key_values: dict[str, Any],
        key_excluded: dict[str, tuple[str, ...]],
        step: int = 0,
    ) -> None:
        """Write a row; only numbers and texts have a place in it."""
        values = filter_excluded_keys(key_values, key_excluded, "csv")
        new = sorted(values.keys() - set(self._columns))
        if new:
            self._widen(new)
        self._file.write(_line([values.get(name, "") for name in self._columns]))
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _widen(self, new: list[str]) -> None:
        """Add columns, which are empty in the rows so far."""
        self._file.close()
        with self._path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))[1:]
        self._columns = [*self._columns, *new]
        lines = [_line(self._columns), *(_line(row + [""] * len(new)) for row in rows)]
        write_atomically(self._path, "".join(lines).encode())
        self._file = self._path.open("a", encoding="utf-8", newline="")


def tensorboard_files(folder: Path, timesteps: int) -> TensorBoardOutputFormat:
    """Return TensorBoard's format, whose curves leave out what was written after `timesteps`."""
    made = TensorBoardOutputFormat(str(folder))
    if timesteps:
        made.writer.close()
        made.writer = SummaryWriter(log_dir=str(folder), purge_step=timesteps + 1)
    return made


def _line(cells: list[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
