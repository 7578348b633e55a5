"""The trainings of a study, and what they reached."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from baselines.commands.comparison_plan import CompareOptions, plan
from baselines.experiments.learning.studies import Study
from baselines.experiments.learning.study_numbers import (
    PolicyNumbers,
    SeedNumbers,
    StudyNumbers,
    VariantNumbers,
)
from baselines.jobs.job import Job, job_folder
from baselines.measures.episode_statistics import EpisodeStatistics
from baselines.names.agents import label_of
from baselines.names.environments import parse_environment_name

DEPTH = 4  # of a run's folder in that of the studies
OF_A_SEED = ("env", "agent", "seed", "evaluation_seed")  # in a job's configuration


class StudyCase(NamedTuple):
    """What is trained from every seed."""

    env: str
    agent: str  # as tables show it
    variant: str


@dataclass(frozen=True)
class StudyTraining:
    """One run of one variant."""

    case: StudyCase
    job: Job
    folder: Path
    command: str

    @property
    def shown(self) -> str:
        """The training in words."""
        return f"{self.case.agent} on {self.case.env}, {self.case.variant}, seed {self.job.seed}"


def planned(study: Study, folder: Path, command: str) -> list[StudyTraining]:
    """Return the trainings of a study.

    Trainings with the same settings have the same folder, whichever study and variant they are of:
    a study trains only what no other has trained. A variant that changes nothing for an agent,
    compared with an earlier one, is left out for that agent.

    Args:
        study: from `chosen_study`.
        folder: of all studies.
        command: the shell command, for the runs' config.json.

    Raises:
        ValueError: for an unknown environment, a number out of range, or agents with different
            cost limits.
    """
    trainings: dict[Path, StudyTraining] = {}
    labels = {label_of(agent): study.label(agent) for agent in study.agents}
    for text in study.environments:
        env = parse_environment_name(text)
        for variant in study.variants:
            settings = {agent: study.settings(agent, env, variant) for agent in study.agents}
            for job in plan(_options(study, text, folder), settings).jobs:
                case = StudyCase(str(env), labels[job.agent], variant)
                own = job_folder(folder / "trainings" / _digest(job), job)
                trainings.setdefault(own, StudyTraining(case, job, own, command))
    return list(trainings.values())


def _options(study: Study, env: str, folder: Path) -> CompareOptions:
    return CompareOptions(
        envs=(env,),
        agents=study.agents,
        out=folder,
        seeds=study.seeds,
        total_timesteps=study.total_timesteps,
    )


def _digest(job: Job) -> str:
    """Return a name for the settings of a job, whatever its seed."""
    settings = {k: v for k, v in job.record.config.items() if k not in OF_A_SEED}
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]


def study_numbers(
    study: Study, trainings: Sequence[StudyTraining], failures: Mapping[Path, str]
) -> StudyNumbers:
    """Return what the trainings of a study reached.

    Args:
        study: that was trained.
        trainings: of the study.
        failures: why trainings failed, by folder.
    """
    by_case: dict[StudyCase, list[StudyTraining]] = {}
    for one in trainings:
        by_case.setdefault(one.case, []).append(one)
    variants = [_variant_numbers(case, own, failures) for case, own in by_case.items()]
    return StudyNumbers(study.name, study.question, study.total_timesteps, variants)


def _variant_numbers(
    case: StudyCase, trainings: Sequence[StudyTraining], failures: Mapping[Path, str]
) -> VariantNumbers:
    names: list[str] = []
    limits: list[float] = []
    seeds: list[SeedNumbers] = []
    failed: dict[str, str] = {}
    for one in trainings:
        result = one.job.outcome(one.folder).result
        if result is None:
            failed[str(one.job.seed)] = failures[one.folder]
            continue
        names, limits = result.constraint_names, result.limits
        modes = (_policy_numbers(result.stochastic), _policy_numbers(result.deterministic))
        own = one.folder.relative_to(one.folder.parents[DEPTH])
        seeds.append(SeedNumbers(one.job.seed, own.as_posix(), *modes))
    return VariantNumbers(*case, names, limits, seeds, failed)


def _policy_numbers(episodes: EpisodeStatistics) -> PolicyNumbers:
    claim = episodes.claim
    errors = [0.0] * len(claim.costs) if claim.is_exact else episodes.standard_errors[1:]
    return PolicyNumbers(claim.value, claim.costs, errors, episodes.mean_length)
