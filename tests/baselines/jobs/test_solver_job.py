"""One job: its numbers, its starting points and what it does with a misbehaving solver."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest

from agents.tabular import npg_pd, random_policy
from baselines.jobs.job import job_folder
from baselines.jobs.run_folder import is_done, run_job
from baselines.jobs.solver_job import SolverJob, read_trace, starting_point
from baselines.names.agents import SOLVERS
from baselines.names.environments import parse_environment_name, tabular_model_of
from baselines.names.hyperparameters import hyperparameters_for

CLIFF_OPTIMUM = 0.53344782  # of the occupancy program, slip 0.2 and limit 0.175


def job_for(agent, env="Safe/CliffWorld-v0", seed=0, evaluations=40):
    name = parse_environment_name(env)
    return SolverJob(name, agent, seed, evaluations, hyperparameters_for(agent, name.id))


def run_in(out, job):
    run_job(job, job_folder(out, job), "the command")


def values_by_hand(cmdp, policy):
    """V_r and V_c from (I - discount P_pi) V = f_pi, written out."""
    system = np.eye(cmdp.num_states)
    signals = np.zeros((cmdp.num_states, 1 + cmdp.num_constraints))
    for s in range(cmdp.num_states):
        for a in range(cmdp.num_actions):
            system[s] -= cmdp.discount * policy[s, a] * cmdp.P[s, a]
            signals[s] += policy[s, a] * np.array([cmdp.reward[s, a], *cmdp.costs[:, s, a]])
    return cmdp.initial @ np.linalg.solve(system, signals)


@pytest.mark.parametrize("seed", [0, 3])
def test_result_is_that_of_the_last_policy(tmp_path, seed):
    job = job_for("npg_pd", seed=seed)
    run_in(tmp_path, job)
    result = job.outcome(job_folder(tmp_path, job)).result
    trace = read_trace(job_folder(tmp_path, job))
    cmdp = tabular_model_of(job.env)
    value, cost = values_by_hand(cmdp, trace.policy)
    assert result.value == pytest.approx(value, abs=1e-12)
    assert result.violation == [pytest.approx(cost - 0.175, abs=1e-12)]
    assert result.gap == pytest.approx(CLIFF_OPTIMUM - value, abs=1e-8)
    assert result.optimum["value"] == pytest.approx(CLIFF_OPTIMUM, abs=1e-8)
    assert len(trace.value) == result.evaluations == 40
    tail = [
        max(abs(CLIFF_OPTIMUM - v), *excess, 0.0)
        for v, excess in zip(trace.value[-8:], trace.violation[-8:].tolist(), strict=True)
    ]
    assert result.tail_error == pytest.approx(max(tail), abs=1e-8)


def test_seed_zero_starts_uniform_and_others_at_random_policies(tmp_path):
    cmdp = tabular_model_of(parse_environment_name("Safe/CliffWorld-v0"))
    first_values = []
    for seed in (0, 1, 2):
        job = job_for("npg_pd", seed=seed, evaluations=1)
        run_in(tmp_path, job)
        first_values.append(read_trace(job_folder(tmp_path, job)).value[0])
    starts = [cmdp.uniform_policy(), random_policy(cmdp, 1), random_policy(cmdp, 2)]
    np.testing.assert_allclose(first_values, [values_by_hand(cmdp, start)[0] for start in starts])


def test_log_linear_agents_start_from_small_random_parameters():
    job = job_for("lin_npg_pd", "Safe/RandomCMDP-v0?states=5&actions=3", seed=1)
    cmdp = tabular_model_of(job.env)
    start = starting_point(job, cmdp)["initial_parameters"]
    assert start.shape == (15,)  # one feature per state and action
    assert 0 < np.abs(start).max() < 1
    assert starting_point(replace(job, seed=0), cmdp) == {}


def test_same_job_twice_gives_identical_arrays(tmp_path):
    job = job_for("ppqa_alm", seed=2)
    for part in ("a", "b"):
        run_in(tmp_path / part, job)
    one, other = (read_trace(job_folder(tmp_path / part, job)) for part in ("a", "b"))
    for name in ("value", "violation", "multipliers", "policy"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_warnings_are_kept_and_repeated_ones_only_once(tmp_path, monkeypatch):
    def loud(cmdp, evaluations, *, step_size=1.0):
        for _ in range(3):
            warnings.warn("the multipliers grow", RuntimeWarning, stacklevel=1)
        return npg_pd(cmdp, evaluations)

    monkeypatch.setitem(SOLVERS, "loud", loud)
    job = job_for("loud")
    run_in(tmp_path, job)
    result = job.outcome(job_folder(tmp_path, job)).result
    assert result.warnings == ["RuntimeWarning: the multipliers grow"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda trace: replace(trace, value=trace.value * np.nan), "row 0 of its trace is not"),
        (lambda trace: replace(trace, value=trace.value[1:]), "39 rows for 40 evaluations"),
        (lambda trace: replace(trace, value=trace.value + 1e-6), "another policy than it measured"),
    ],
)
def test_a_trace_that_cannot_be_trusted_fails_the_job(tmp_path, monkeypatch, spoil, message):
    def broken(cmdp, evaluations, *, step_size=1.0):
        return spoil(npg_pd(cmdp, evaluations))

    monkeypatch.setitem(SOLVERS, "broken", broken)
    job = job_for("broken")
    run_in(tmp_path, job)
    outcome = job.outcome(job_folder(tmp_path, job))
    assert outcome.result is None
    assert message in outcome.reason
    assert "Traceback" in outcome.error


def test_infeasible_problem_fails_with_the_reason(tmp_path):
    job = job_for("npg_pd", "Safe/CliffWorld-v0?cost_limits=0.001")
    run_in(tmp_path, job)
    assert "no policy meets the limits" in job.outcome(job_folder(tmp_path, job)).reason


def test_a_job_is_done_only_with_its_own_configuration_and_all_files(tmp_path):
    job = job_for("npg_pd")
    folder = job_folder(tmp_path, job)
    assert not is_done(folder, job)
    run_in(tmp_path, job)
    assert is_done(folder, job)
    assert not is_done(folder, replace(job, evaluations=41))
    config = json.loads((folder / "config.json").read_text())
    assert config["hyperparameters"]["step_size"] == 0.1
    for name in ("config.json", "trace.npz", "result.json"):
        content = (folder / name).read_bytes()
        (folder / name).unlink()
        assert not is_done(folder, job)
        (folder / name).write_bytes(content)
    (folder / "config.json").write_bytes(b'{"env"')  # cut short
    assert not is_done(folder, job)


def test_a_rerun_that_fails_does_not_leave_the_old_result(tmp_path):
    job = job_for("npg_pd")
    run_in(tmp_path, job)
    changed = replace(job, hyperparameters={**job.hyperparameters, "step_size": -1.0})
    run_in(tmp_path, changed)
    outcome = changed.outcome(job_folder(tmp_path, job))
    assert outcome.result is None
    assert "step_size is -1.0" in outcome.reason
    assert not is_done(job_folder(tmp_path, job), job)
