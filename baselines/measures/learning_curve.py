"""The progress of one training run: return, costs and length of its episodes by timestep."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

TIMESTEPS = "time/total_timesteps"
# Sums with the declared discounts, which evaluations measure and limits bound.
EPISODE_RETURN = "rollout/ep_value_mean"
EPISODE_COST = "rollout/ep_cost_value_mean"  # followed by /name if there are several constraints
EPISODE_LENGTH = "rollout/ep_len_mean"
EPISODES = "rollout/episodes"  # that the averages cover

GRID_POINTS = 200  # of the mean and the band; evenly spaced


class NoEpisodeEnded(ValueError):
    """A training was too short for an episode to end, and has no curve."""


@dataclass(frozen=True)
class FinalPolicy:
    """The result of a run, where its curve ends: the policy after the last update, as evaluated.

    Errors are standard errors of means over sampled episodes; exact values have none.
    """

    timesteps: float
    episode_return: float
    episode_cost: np.ndarray  # (m,)
    episode_length: float  # [steps], sampled
    return_error: float
    cost_errors: np.ndarray  # (m,)
    is_exact: bool  # return and cost, by the environment's tabular model


@dataclass(frozen=True)
class LearningCurve:
    """Means over recently finished episodes, at k points of one training run.

    A point averages over the episodes that ended in the last rollout, or over the last ten if that
    is more; `episodes` has their number. They were played before the update of that point, by
    policies that still explored or learned; `final` is what came out.
    """

    agent: str
    seed: int
    timesteps: np.ndarray  # (k,), increasing
    episode_return: np.ndarray  # (k,)
    episode_cost: np.ndarray  # (k, m)
    episode_length: np.ndarray  # (k,) [steps]
    episodes: np.ndarray | None = None  # (k,) that each point averages over
    discounts: tuple[float, ...] | None = None  # of the return and of each cost; None: all 1
    final: FinalPolicy | None = None

    def __post_init__(self) -> None:
        """Raise ValueError if the arrays do not fit together or timesteps do not increase."""
        k = len(self.timesteps)
        shapes = [self.episode_return.shape, self.episode_cost.shape, self.episode_length.shape]
        if self.episode_cost.ndim != 2 or [(k,), (k, shapes[1][1]), (k,)] != shapes:
            raise ValueError(
                f"episode_return, episode_cost and episode_length have shapes {shapes} beside {k} "
                "timesteps; allowed: (k,), (k, m) and (k,); pass one entry per timestep"
            )
        if self.discounts is not None and len(self.discounts) != 1 + shapes[1][1]:
            raise ValueError(
                f"discounts has {len(self.discounts)} entries; pass one for the return and one for "
                f"each of {shapes[1][1]} costs"
            )
        if k == 0 or (np.diff(self.timesteps) <= 0).any():
            raise ValueError(
                f"timesteps has {k} entries and must be strictly increasing, with at least one; "
                "leave out the rows that a resumed run wrote twice"
            )


@dataclass(frozen=True)
class Band:
    """Mean and extremes over seeds on a common grid of timesteps."""

    timesteps: np.ndarray  # (g,)
    mean: np.ndarray  # (g,)
    lowest: np.ndarray  # (g,)
    highest: np.ndarray  # (g,)


def seed_band(
    timesteps: Sequence[np.ndarray], values: Sequence[np.ndarray], points: int = GRID_POINTS
) -> Band:
    """Return mean and extremes of the linearly interpolated curves of all seeds.

    The grid is even and reaches from the latest start to the earliest end, so that every point
    is a mean over the same seeds.

    Args:
        timesteps: one array (k,) per seed, increasing.
        values: one array (k,) per seed.
        points: of the grid.

    Raises:
        ValueError: if the seeds have no timestep in common.
    """
    start, end = max(t[0] for t in timesteps), min(t[-1] for t in timesteps)
    if start > end:
        raise ValueError(
            f"one seed starts at timestep {start:g}, after another ended at {end:g}; the seeds of "
            "an agent need timesteps in common; leave out the seed that stopped early"
        )
    grid = np.linspace(start, end, points)
    curves = np.stack([np.interp(grid, t, v) for t, v in zip(timesteps, values, strict=True)])
    return Band(grid, curves.mean(axis=0), curves.min(axis=0), curves.max(axis=0))


def read_learning_curve(
    progress_csv: Path,
    agent: str,
    seed: int,
    constraint_names: Sequence[str],
    discounts: Sequence[float] | None = None,
) -> LearningCurve:
    """Return the curve in a progress.csv, starting at the first row after an episode ended.

    A row in which a column is empty is left out: no episode has ended yet, or another writer,
    such as an evaluation, wrote the row. "nan" counts as empty until the first complete row.

    Args:
        progress_csv: file with the columns "time/total_timesteps", "rollout/episodes",
            "rollout/ep_value_mean", "rollout/ep_len_mean", and "rollout/ep_cost_value_mean" for a
            single constraint or "rollout/ep_cost_value_mean/NAME" for each of several. These are
            sums with the declared discounts.
        agent: name of the agent.
        seed: of the run.
        constraint_names: of the m constraints.
        discounts: the declared ones of the return and of each cost, (1 + m,); None if all are 1.

    Raises:
        ValueError: if a column is missing or a cell is not a finite number.
        NoEpisodeEnded: if no row is complete.
    """
    columns = [TIMESTEPS, EPISODE_RETURN, EPISODE_LENGTH, EPISODES, *cost_columns(constraint_names)]
    with progress_csv.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        _check_header(progress_csv, columns, reader.fieldnames or [])
        rows: list[list[float]] = []
        read = 0
        for read, cells in enumerate(reader, start=1):
            row = _numbers(f"row {read} of {progress_csv}", columns, cells, is_first=not rows)
            rows += [row] if row is not None else []
    if not rows:
        raise NoEpisodeEnded(
            f"{progress_csv} has {read} rows, none with all of {', '.join(columns)}; at least one "
            "is needed; train until an episode has ended"
        )
    table = np.array(rows)  # (k, 4 + m)
    return LearningCurve(
        agent=agent,
        seed=seed,
        timesteps=table[:, 0],
        episode_return=table[:, 1],
        episode_cost=table[:, 4:],
        episode_length=table[:, 2],
        episodes=table[:, 3],
        discounts=None if discounts is None else tuple(discounts),
    )


def cost_columns(constraint_names: Sequence[str]) -> list[str]:
    """Return the columns of the costs: one plain name, or one per constraint if several."""
    if not constraint_names:
        raise ValueError("constraint_names is empty; a cost has at least one; pass ['cost']")
    if len(constraint_names) == 1:
        return [EPISODE_COST]
    return [f"{EPISODE_COST}/{name}" for name in constraint_names]


def _check_header(file: Path, needed: Sequence[str], found: Sequence[str]) -> None:
    missing = [column for column in needed if column not in found]
    if missing:
        raise ValueError(
            f"{file} has no column {', '.join(missing)}; its columns are "
            f"{', '.join(found) or 'none'}; pass the constraint names the run was logged with, and "
            "train runs of earlier versions again"
        )


def _numbers(
    where: str, columns: Sequence[str], cells: Mapping[str, str | None], is_first: bool
) -> list[float] | None:
    """Return the numbers of a row, None if one is missing."""
    row: list[float] = []
    for column in columns:
        cell = (cells[column] or "").strip()  # None: the row is shorter than the header
        if not cell or (is_first and cell.lower() == "nan"):
            return None
        try:
            number = float(cell)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise ValueError(
                f"{where} has {column} = {cell!r}; every cell must be a finite number or empty; "
                "the run diverged or the file is damaged, so report the seed as failed"
            )
        row.append(number)
    return row
