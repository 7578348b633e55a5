"""Takes snapshots of a training between rollouts and decides when they are written."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from stable_baselines3.common.callbacks import BaseCallback

from agents.running_training import AGENT, TRAINING, Snapshot, snapshot, write_snapshot
from agents.saving.object_walks import NotRestorableError
from baselines.jobs.checkpoints import INTERVAL, Checkpoints
from baselines.jobs.interruption import Interruption

SNAPSHOT_SHARE = 0.005  # of the time that snapshots in memory may take
WRITING_SHARE = 0.01  # of the time that writing may take
PROGRESS = "progress.csv"
FILES = (AGENT, TRAINING, PROGRESS)  # of a checkpoint, beside its manifest


class _Taken(NamedTuple):
    timesteps: int
    snapshot: Snapshot
    progress: bytes
    extra: dict[str, Any]


class Checkpointing(BaseCallback):
    """Keeps the state before the current rollout in memory and writes it from time to time.

    A signal to stop writes that state and stops at once, so at most the current rollout is lost.
    Where a snapshot takes long, fewer are taken, and a signal waits for the next update.

    Args:
        checkpoints: where they go.
        interruption: tells of signals.
        extra: returns further entries of the manifest.
        give_up: is told why the environments cannot be kept any more, if that happens.
        progress: returns progress.csv so far.
        with_environments: False if the environments cannot be restored.
        seconds_before: that the training took in other processes.
        interval: seconds between checkpoints; None for `INTERVAL`, or more where writing is slow.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        interruption: Interruption,
        extra: Callable[[], dict[str, Any]],
        give_up: Callable[[str], None],
        progress: Callable[[], bytes],
        with_environments: bool,
        seconds_before: float = 0.0,
        interval: float | None = None,
    ) -> None:
        super().__init__()
        self._checkpoints, self._interruption = checkpoints, interruption
        self._extra, self._progress, self._give_up = extra, progress, give_up
        self._with_environments = with_environments
        self._seconds_before = seconds_before
        self._interval = interval
        self._last: _Taken | None = None
        self._is_current = False  # the last one is that before the current rollout
        self._cost_of_snapshot = self._cost_of_writing = 0.0  # [s]
        self._taken_at = self._written_at = time.perf_counter()
        self._written_timesteps = -1

    def _on_training_start(self) -> None:
        self._written_at = time.perf_counter()
        self.model.start_time -= int(self._seconds_before * 1e9)  # the log counts all of it
        self.model._num_timesteps_at_start = 0

    def _on_rollout_start(self) -> None:
        now = time.perf_counter()
        self._is_current = False
        stops = self._interruption.requested is not None
        due = now - self._written_at >= self._seconds_between()
        if stops or due or now - self._taken_at >= self._cost_of_snapshot / SNAPSHOT_SHARE:
            self._take()
        if stops:
            self._save_and_stop()
        if due:
            self.write()

    def _on_step(self) -> bool:
        if self._interruption.requested is not None and self._is_current:
            self._save_and_stop()
        return True

    def _on_training_end(self) -> None:
        self._take()
        self.write()

    def write(self) -> None:
        """Write the last snapshot, unless that was done before."""
        taken = self._last
        if taken is None or taken.timesteps == self._written_timesteps:
            return
        began = time.perf_counter()

        def fill(folder: Path) -> None:
            write_snapshot(folder, taken.snapshot)
            (folder / PROGRESS).write_bytes(taken.progress)

        try:
            self._checkpoints.write(taken.timesteps, taken.extra, fill)
        except (TypeError, ValueError) as error:  # what the environments hold is no data
            if not (self._with_environments and self._is_current):
                raise
            self._without_environments(str(error))
            self.write()
            return
        self._written_timesteps = taken.timesteps
        self._written_at = time.perf_counter()
        self._cost_of_writing = self._written_at - began

    def _seconds_between(self) -> float:
        if self._interval is not None:
            return self._interval
        return max(INTERVAL, self._cost_of_writing / WRITING_SHARE)

    def _take(self) -> None:
        began = time.perf_counter()
        try:
            state = snapshot(self.model, self._with_environments)  # type: ignore[arg-type]
        except NotRestorableError as error:
            if not self._with_environments:
                raise
            self._without_environments(str(error))
            return
        self._last = _Taken(self.model.num_timesteps, state, self._progress(), self._extra())
        self._is_current = True
        self._taken_at = time.perf_counter()
        self._cost_of_snapshot = self._taken_at - began

    def _without_environments(self, reason: str) -> None:
        """Go on without the state of the environments, which has become too much for a file."""
        self._with_environments = False
        self._give_up(reason)
        self._take()

    def _save_and_stop(self) -> None:
        try:
            self.write()
        except OSError as error:
            warnings.warn(f"the last checkpoint could not be written: {error}", stacklevel=2)
        self._interruption.stop()
