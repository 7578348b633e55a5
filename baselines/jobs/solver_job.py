"""A tabular solver's run on a problem with a known model, measured against the linear program."""

from __future__ import annotations

import io
import time
import warnings
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from threadpoolctl import threadpool_limits

from agents.tabular.features import feature_table
from agents.tabular.linear_program import linear_program
from agents.tabular.solver_trace import SolverTrace, random_policy
from agents.tabular.tabular_policy import TabularPolicy
from baselines.atomic_files import write_atomically
from baselines.jobs.job import (
    Category,
    Effort,
    Outcome,
    Player,
    RunRecord,
    SectionName,
    common_config,
)
from baselines.jobs.run_folder import open_run, read_outcome, versions
from baselines.jobs.stored_result import DamagedFile, checked_result, write_result
from baselines.measures.episode_statistics import check_lengths
from baselines.names.agents import solver_named, takes_parameters
from baselines.names.environments import (
    EnvironmentName,
    environment_in,
    find_tabular_observations,
    tabular_model_of,
)
from safe_envs.tabular.model import TabularCMDP

if TYPE_CHECKING:
    from stable_baselines3.common.callbacks import BaseCallback  # PyTorch

PACKAGES = ("safe-envs", "gymnasium", "numpy", "scipy")
PARAMETER_SPREAD = 0.1  # standard deviation; small against logits that matter
# between the trace's last row and the policy's own evaluation, of the largest possible value
LARGEST_DISAGREEMENT = 1e-9
TRACE_FILE = "trace.npz"
TRACE_ARRAYS = ("value", "violation", "multipliers", "policy", "largest_costs")


@dataclass(frozen=True)
class SolverJob:
    """Everything that determines the result of a tabular solver."""

    env: EnvironmentName
    agent: str
    seed: int  # of the starting point
    evaluations: int  # of policies, exact
    hyperparameters: dict[str, Any]

    section: ClassVar[SectionName] = "solvers"
    category: ClassVar[Category] = "solver"

    @classmethod
    def check(cls, env: EnvironmentName, agent: str, settings: dict[str, Any]) -> None:
        """Raise ValueError if the environment has no tabular model."""
        tabular_model_of(env)

    @classmethod
    def planned(
        cls, env: EnvironmentName, agent: str, seed: int, settings: dict[str, Any], effort: Effort
    ) -> SolverJob:
        """Return the job of a solver with all of its hyperparameters."""
        return cls(env, agent, seed, effort.evaluations, settings)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SolverJob:
        """Return the job of a config.json."""
        return cls(
            env=environment_in(config["env"]),
            agent=config["agent"],
            seed=config["seed"],
            evaluations=config["evaluations"],
            hyperparameters=config["hyperparameters"],
        )

    @property
    def record(self) -> RunRecord:
        """What identifies its folder."""
        config = {
            **common_config(self),
            "evaluations": self.evaluations,
            "hyperparameters": self.hyperparameters,
        }
        return RunRecord(config, files=(TRACE_FILE,))

    def run(self, folder: Path, command: str, callback: BaseCallback | None = None) -> None:
        """Solve, and write the trace and then the result, which marks the job as done."""
        open_run(folder, self)
        with threadpool_limits(1), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            trace, result = solve(self)
        messages = [f"{item.category.__name__}: {item.message}" for item in caught]
        result.warnings.extend(dict.fromkeys(messages))
        _write_trace(folder, trace)
        write_result(folder, result, self.record.files)

    def outcome(self, folder: Path) -> SolverOutcome:
        """Return the result in the folder, or why there is none."""
        return read_outcome(folder, self, SolverResult.from_json)

    def player(self, folder: Path, seed: int) -> Player:
        """Return the last policy, as `Job.player` says."""
        from baselines.jobs.settings import contract_in_force  # PyTorch

        seen = find_tabular_observations(self.env)
        if seen is None:
            raise ValueError(
                f"{self.env} does not say what an agent observes in each state of its model, so "
                f"the policy in {folder} cannot act; give the environment a method "
                "tabular_observations()"
            )
        policy = TabularPolicy(read_trace(folder).policy, seen, seed)
        return Player(policy, contract_in_force(self.env, None))


@dataclass(frozen=True)
class SolverResult:
    """What a finished job measured, as it stands in result.json."""

    value: float  # V_r of the last policy
    costs: list[float]  # (m,) V_c of the last policy
    violation: list[float]  # (m,) costs - limits; feasible if <= 0
    multipliers: list[float]  # (m,) the last ones
    gap: float  # optimal value - value
    tail_error: float  # worst of |gap| and violation over the last 20 percent of the evaluations
    optimum: dict[str, Any]  # value, costs, multipliers of the linear program
    evaluations: int
    cpu_seconds: float
    seed: int
    hyperparameters: dict[str, Any]
    warnings: list[str]
    versions: dict[str, str]

    def __post_init__(self) -> None:
        """Raise ValueError if the lists do not fit together."""
        check_lengths(
            len(self.costs), "constraints", violation=self.violation, multipliers=self.multipliers
        )

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> SolverResult:
        """Return the result that `dataclasses.asdict` turned into JSON.

        Raises:
            ValueError: if the data is damaged.
        """
        return checked_result(cls, data)


SolverOutcome = Outcome[SolverJob, SolverResult]


def solve(job: SolverJob) -> tuple[SolverTrace, SolverResult]:
    """Return the trace of a job's solver and its result against the linear program.

    The value, the costs and so the gap come from a separate evaluation of the last policy, not
    from the solver's own record.

    Raises:
        ValueError: if the trace is not finite or does not belong to the last policy.
    """
    cmdp = tabular_model_of(job.env)
    optimum = linear_program(cmdp)
    start = starting_point(job, cmdp)
    began = time.process_time()
    trace = solver_named(job.agent)(cmdp, job.evaluations, **job.hyperparameters, **start)
    cpu_seconds = time.process_time() - began
    final = cmdp.evaluate(trace.policy)
    _check_trace(trace, job.evaluations, final.value, cmdp)
    return trace, SolverResult(
        value=final.value,
        costs=final.costs.tolist(),
        violation=(final.costs - cmdp.limits).tolist(),
        multipliers=trace.multipliers[-1].tolist(),
        gap=optimum.value - final.value,
        tail_error=trace.tail_error(optimum.value),
        optimum={
            "value": optimum.value,
            "costs": optimum.costs.tolist(),
            "multipliers": optimum.multipliers.tolist(),
        },
        evaluations=job.evaluations,
        cpu_seconds=cpu_seconds,
        seed=job.seed,
        hyperparameters=job.hyperparameters,
        warnings=[],
        versions=versions(PACKAGES),
    )


def starting_point(job: SolverJob, cmdp: TabularCMDP) -> dict[str, Any]:
    """Return the solver's starting argument, the only thing that the seed determines.

    Seed 0 is the uniform policy, as in arXiv 2605.11694. Other seeds draw every row of the policy
    uniformly from the simplex; for a log-linear policy, normal parameters of `PARAMETER_SPREAD`.
    """
    if job.seed == 0:
        return {}
    if takes_parameters(job.agent):
        size = feature_table(cmdp, job.hyperparameters["features"]).shape[2]
        rng = np.random.default_rng(job.seed)
        return {"initial_parameters": rng.normal(0.0, PARAMETER_SPREAD, size)}
    return {"initial_policy": random_policy(cmdp, job.seed)}


def read_trace(folder: Path) -> SolverTrace:
    """Return the trace of a finished job.

    Raises:
        DamagedFile: if it cannot be read.
    """
    path = folder / TRACE_FILE
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return SolverTrace(**{name: arrays[name] for name in TRACE_ARRAYS if name in arrays})
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        told = f"{path} is damaged: {error}; delete {folder} and run the comparison again"
        raise DamagedFile(told) from error


def _write_trace(folder: Path, trace: SolverTrace) -> None:
    buffer = io.BytesIO()
    arrays = {name: getattr(trace, name) for name in TRACE_ARRAYS}
    np.savez_compressed(buffer, **{name: a for name, a in arrays.items() if a is not None})
    write_atomically(folder / TRACE_FILE, buffer.getvalue())


def _check_trace(
    trace: SolverTrace, evaluations: int, final_value: float, cmdp: TabularCMDP
) -> None:
    if len(trace.value) != evaluations:
        raise ValueError(f"the trace has {len(trace.value)} rows for {evaluations} evaluations")
    rows = np.column_stack([trace.value, trace.violation, trace.multipliers])
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        raise ValueError(
            f"the solver diverged: row {bad[0]} of its trace is not finite; lower its step sizes"
        )
    largest_value = np.abs(cmdp.reward).max() / (1.0 - cmdp.discount)
    if not abs(trace.value[-1] - final_value) <= LARGEST_DISAGREEMENT * largest_value:
        raise ValueError(
            f"the last row of the trace has value {trace.value[-1]} but the last policy has "
            f"{final_value}; the solver returned another policy than it measured"
        )
