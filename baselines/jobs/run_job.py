"""Runs one job from its starting point to its result file."""

from __future__ import annotations

import time
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from agents.tabular.features import feature_table
from agents.tabular.linear_program import linear_program
from agents.tabular.solver_trace import SolverTrace, random_policy
from baselines.jobs.job import Job, JobResult
from baselines.jobs.run_folder import close_run, open_run, write_error
from baselines.jobs.versions import versions
from baselines.names.agents import solver_named, takes_parameters
from baselines.names.environments import tabular_model_of
from safe_envs.tabular.model import TabularCMDP

PACKAGES = ("safe-envs", "gymnasium", "numpy", "scipy")
PARAMETER_SPREAD = 0.1  # standard deviation; small against logits that matter
LARGEST_DISAGREEMENT = 1e-9  # between the trace's last row and the policy's own evaluation


def run_job(job: Job, out: Path) -> None:
    """Run a job and write its files; an exception ends up in the job's error.txt."""
    folder = job.folder(out)
    try:
        open_run(folder, job)
        with threadpool_limits(1), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            trace, result = solve(job)
        messages = [f"{item.category.__name__}: {item.message}" for item in caught]
        result.warnings.extend(dict.fromkeys(messages))
        close_run(folder, trace, result)
    except Exception:
        write_error(folder, traceback.format_exc())


def solve(job: Job) -> tuple[SolverTrace, JobResult]:
    """Return the trace of a job's solver and its result against the linear program.

    The value, the costs and hence the gap come from an evaluation of the last policy of our own,
    not from what the solver wrote down.

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
    _check_trace(trace, job.evaluations, final.value)
    return trace, JobResult(
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


def starting_point(job: Job, cmdp: TabularCMDP) -> dict[str, Any]:
    """Return the solver's starting argument, which is all that the seed decides.

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


def _check_trace(trace: SolverTrace, evaluations: int, final_value: float) -> None:
    if len(trace.value) != evaluations:
        raise ValueError(f"the trace has {len(trace.value)} rows for {evaluations} evaluations")
    rows = np.column_stack([trace.value, trace.violation, trace.multipliers])
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        raise ValueError(
            f"the solver diverged: row {bad[0]} of its trace is not finite; lower its step sizes"
        )
    if not abs(trace.value[-1] - final_value) <= LARGEST_DISAGREEMENT:
        raise ValueError(
            f"the last row of the trace has value {trace.value[-1]} but the last policy has "
            f"{final_value}; the solver returned another policy than it measured"
        )
