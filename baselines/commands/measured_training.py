"""What the option --diagnostics adds to trainings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from baselines.diagnostics.measured_files import FOLDER

if TYPE_CHECKING:
    from stable_baselines3.common.callbacks import BaseCallback  # PyTorch


def measured(folder: Path, *others: BaseCallback) -> BaseCallback:
    """Return a callback that measures a training; jobs that train nothing ignore it.

    Args:
        folder: of the run.
        *others: callbacks to call before.
    """
    from stable_baselines3.common.callbacks import CallbackList  # PyTorch

    from baselines.diagnostics.diagnostics_callback import DiagnosticsCallback

    return CallbackList([*others, DiagnosticsCallback(folder, only_warn=True)])


def tell_unmeasured(finished: Sequence[Path], console: Console) -> None:
    """Say which finished runs have no diagnostics and will get none.

    Args:
        finished: folders of runs that are kept.
        console: to print to.
    """
    bare = [folder for folder in finished if not (folder / FOLDER).is_dir()]
    if bare:
        console.print(
            f"[yellow]note:[/] {len(bare)} finished runs have no diagnostics, which are measured "
            f"in training: pass another folder to train them again (first: {escape(str(bare[0]))})",
            soft_wrap=True,
        )
