"""The numbers of a study by seed, as they stand in summary.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from baselines.jobs.stored_result import DamagedFile, checked_result, read_json_object

PolicyMode = Literal["stochastic", "deterministic"]
MODES: tuple[PolicyMode, ...] = ("stochastic", "deterministic")


@dataclass(frozen=True)
class PolicyNumbers:
    """The evaluation of one policy: exact values where there are any, else means of episodes."""

    episode_return: float
    costs: list[float]  # (m,)
    cost_errors: list[float]  # (m,) standard errors of the evaluation, 0 of exact values
    length: float  # [steps] mean over the evaluation's episodes


@dataclass(frozen=True)
class SeedNumbers:
    """What one training reached."""

    seed: int
    folder: str  # of the run, from the folder of the studies
    stochastic: PolicyNumbers  # of the last policy as it was trained
    deterministic: PolicyNumbers  # of its most likely actions

    def policy(self, mode: PolicyMode) -> PolicyNumbers:
        """Return the evaluation in one mode."""
        return self.stochastic if mode == "stochastic" else self.deterministic


@dataclass(frozen=True)
class VariantNumbers:
    """What one agent reached on one environment with one variant of its settings."""

    env: str
    agent: str
    variant: str
    constraint_names: list[str]  # (m,); empty if every seed failed, as the limits
    limits: list[float]  # (m,)
    seeds: list[SeedNumbers]  # that did not fail
    failures: dict[str, str]  # why the others did, by seed

    def values(self, mode: PolicyMode) -> np.ndarray:
        """Return return and costs of every seed, (seeds, 1 + m)."""
        policies = [seed.policy(mode) for seed in self.seeds]
        return np.array([[one.episode_return, *one.costs] for one in policies])

    def cost_errors(self, mode: PolicyMode) -> np.ndarray:
        """Return the standard errors of every seed's costs, (seeds, m)."""
        return np.array([seed.policy(mode).cost_errors for seed in self.seeds])

    def lengths(self, mode: PolicyMode) -> np.ndarray:
        """Return the mean episode length of every seed, (seeds,) [steps]."""
        return np.array([seed.policy(mode).length for seed in self.seeds])


@dataclass(frozen=True)
class StudyNumbers:
    """What all trainings of a study reached."""

    study: str
    question: str
    total_timesteps: int
    variants: list[VariantNumbers]

    @classmethod
    def from_file(cls, path: Path) -> StudyNumbers:
        """Return the numbers in a summary.json.

        Raises:
            DamagedFile: if it is missing, or is no JSON object.
            ValueError: if it holds something else.
        """
        try:
            return checked_result(cls, read_json_object(path))
        except DamagedFile:
            raise
        except ValueError as error:
            raise ValueError(f"{path} is damaged: {error}; run the study again") from error
