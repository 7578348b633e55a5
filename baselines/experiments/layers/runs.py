"""Trainings of constraint layers in worker processes, each with its result in a file of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console

from baselines.atomic_files import write_json
from baselines.experiments.layers.measures import Quality
from baselines.experiments.layers.networks import NetworkSetting
from baselines.experiments.layers.problems import ProblemSetting
from baselines.experiments.layers.training import CurvePoint, LayerTraining, TrainingResult, train
from baselines.experiments.layers.watched_training import Measuring
from baselines.jobs.processes import run_in_processes


def result_file(setting: LayerTraining, folder: Path) -> Path:
    """Return the file of a training's result; equal settings have the same."""
    text = json.dumps(asdict(setting), sort_keys=True)
    return folder / "trainings" / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"


def diagnostics_of(setting: LayerTraining, folder: Path) -> Path:
    """Return the folder with a training's diagnostics, for the command `diagnose`."""
    return folder / "measured" / result_file(setting, folder).stem


def train_settings(
    settings: Sequence[LayerTraining],
    folder: Path,
    processes: int,
    console: Console,
    measurements: int = 0,
) -> dict[LayerTraining, str]:
    """Train what has no result yet; return why trainings failed.

    A second call does only the rest. With measurements, so many in each, also what has a
    result but none of them.
    """
    wanted = list(dict.fromkeys(settings))
    missing = [
        _Work(one, result_file(one, folder), _measuring(one, folder, measurements))
        for one in wanted
    ]
    missing = [work for work in missing if work.is_missing()]
    console.print(f"{len(wanted)} trainings, {len(missing)} of them missing")
    failures = {}
    with closing(run_in_processes(_train_into, missing, processes)) as running:
        for work, reason in running:
            setting = work.setting
            shown = f"{setting.problem.label}, {setting.layer}, {setting.head}, seed {setting.seed}"
            console.print(f"{shown}: {reason or 'done'}", soft_wrap=True, markup=False)
            if reason:
                failures[setting] = reason
    return failures


def stored_result(setting: LayerTraining, folder: Path) -> TrainingResult:
    """Return the result of a training that has ended."""
    return _read(json.loads(result_file(setting, folder).read_text()))


def _read(stored: dict[str, Any]) -> TrainingResult:
    given = stored["setting"]
    problem = given["problem"] | {"sizes": tuple(given["problem"]["sizes"])}
    setting = LayerTraining(
        **given
        | {"problem": ProblemSetting(**problem), "network": NetworkSetting(**given["network"])}
    )
    qualities = {
        name: Quality(**stored[name] | {"feasible": tuple(stored[name]["feasible"])})
        for name in ("raw", "repaired", "validation")
    }
    curve = [CurvePoint(*one) for one in stored["curve"]]
    return TrainingResult(**stored | qualities | {"setting": setting, "curve": curve})


def _measuring(setting: LayerTraining, folder: Path, rows: int) -> Measuring | None:
    return Measuring(diagnostics_of(setting, folder), rows) if rows else None


class _Work(NamedTuple):
    setting: LayerTraining
    file: Path
    measuring: Measuring | None

    def is_missing(self) -> bool:
        unmeasured = self.measuring is not None and not self.measuring.folder.exists()
        return unmeasured or not self.file.exists()


def _train_into(work: _Work) -> str:
    torch.set_num_threads(1)
    work.file.parent.mkdir(parents=True, exist_ok=True)
    found = train(work.setting, work.file.parents[1] / "optima", work.measuring)
    write_json(work.file, asdict(found))
    return ""
