"""How a run of the imitation experiment is evaluated, and its files."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from agents.flat_parameters import set_flat_values
from baselines.atomic_files import write_atomically, write_json
from baselines.experiments.scpo.imitation_problem import (
    AdvantageConstraint,
    ImitatingPolicy,
    evaluation_samples,
    imitation_loss,
    new_policy,
    parameters_of,
    safe_advantage,
    state_grid,
)
from baselines.experiments.scpo.imitation_training import ImitationRun, Training, train
from safe_envs.control.double_integrator_reference import in_safe_set, reaches_target, safe_value
from safe_envs.control.double_integrator_sampling import sample_safe_states

PAPER_GRID, FINE_GRID = 50, 101  # states per axis of the reachable sets
BETWEEN_STATES = 5000  # of R_safe, in which the constraint is checked off the grid


@dataclass(frozen=True)
class ImitationResult:
    """The evaluation of a run; an infinite constraint is None in the file.

    Args:
        loss: imitation loss on the evaluation samples.
        largest_constraint: over all accepted iterates and grid states.
        largest_last: over the grid states, at the end.
        violated_between: share of random states of R_safe in which the final policy violates the
            constraint: off the grid nothing is guaranteed.
        reachable: grid states from which the final policy reaches the target, 50 x 50 grid.
        lost, gained: states of R_safe it does not reach the target from, and others it does.
        fine_lost, fine_gained: the same on the 101 x 101 grid.
        loss_increases, null_steps, projected, evaluations, rollout_steps, constraint_steps,
            cpu_seconds: see `Training`.
    """

    loss: float
    largest_constraint: float
    largest_last: float
    violated_between: float
    reachable: int
    lost: int
    gained: int
    fine_lost: int
    fine_gained: int
    loss_increases: int
    null_steps: int
    projected: int
    evaluations: int
    rollout_steps: int
    constraint_steps: int
    cpu_seconds: float


def largest_constraints(run: ImitationRun, iterates: list[torch.Tensor]) -> np.ndarray:
    """Return the largest g_j at each of the parameters, measured with a new network."""
    policy = new_policy(run.form, run.seed + 1)
    constraint = AdvantageConstraint(policy, run.grid, run.alpha_scale)
    parameters = list(policy.network.parameters())
    largest = []
    for theta in iterates:
        set_flat_values(parameters, theta)
        largest.append(constraint().max())
    return np.array(largest)


def measure(run: ImitationRun, policy: ImitatingPolicy, training: Training) -> ImitationResult:
    """Return the evaluation of a trained policy."""
    largest = largest_constraints(run, training.iterates)
    reached, lost, gained = reached_lost_gained(policy, PAPER_GRID)
    _, fine_lost, fine_gained = reached_lost_gained(policy, FINE_GRID)
    return ImitationResult(
        loss=imitation_loss(policy, evaluation_samples(run.expert_noise_std)),
        largest_constraint=float(largest.max()),
        largest_last=float(largest[-1]),
        violated_between=violated_between(policy, run.alpha_scale),
        reachable=reached,
        lost=lost,
        gained=gained,
        fine_lost=fine_lost,
        fine_gained=fine_gained,
        loss_increases=training.loss_increases,
        null_steps=training.null_steps,
        projected=training.projected,
        evaluations=training.evaluations,
        rollout_steps=training.rollout_steps,
        constraint_steps=training.constraint_steps,
        cpu_seconds=training.cpu_seconds,
    )


def reached_lost_gained(policy: ImitatingPolicy, grid_size: int) -> tuple[int, int, int]:
    """Return the sizes of R_theta, of R_safe without R_theta and of R_theta without R_safe."""
    states = state_grid(grid_size)
    reaches, safe = reaches_target(policy, states), in_safe_set(states)
    return int(reaches.sum()), int((safe & ~reaches).sum()), int((reaches & ~safe).sum())


def violated_between(policy: ImitatingPolicy, alpha_scale: float) -> float:
    """Return the share of random states of R_safe in which the constraint is violated."""
    states = sample_safe_states(np.random.default_rng(0), BETWEEN_STATES)
    advantages = safe_advantage(states, policy(states), safe_value(states))
    return float(np.mean(advantages > alpha_scale * (states**2).sum(axis=1)))


def run_and_save(run: ImitationRun, folder: Path) -> None:
    """Train, measure and write `<name>.npy` with the parameters, then `<name>.json`."""
    torch.set_num_threads(1)
    with threadpool_limits(1):
        policy, training = train(run)
        result = measure(run, policy, training)
    folder.mkdir(parents=True, exist_ok=True)
    theta = BytesIO()
    np.save(theta, parameters_of(policy).numpy())
    write_atomically(_parameter_file(run, folder), theta.getvalue())
    entries = {k: v if math.isfinite(v) else None for k, v in asdict(result).items()}
    write_json(_result_file(run, folder), {"run": asdict(run), "result": entries})


def saved_result(run: ImitationRun, folder: Path) -> ImitationResult | None:
    """Return the result of a finished run, or None."""
    file = _result_file(run, folder)
    if not file.exists():
        return None
    saved = json.loads(file.read_text("utf-8"))["result"]
    entries: dict[str, Any] = {k: math.inf if v is None else v for k, v in saved.items()}
    return ImitationResult(**entries)


def saved_policy(run: ImitationRun, folder: Path) -> ImitatingPolicy:
    """Return the trained policy of a finished run."""
    policy = new_policy(run.form, run.seed)
    theta = torch.from_numpy(np.load(_parameter_file(run, folder), allow_pickle=False))
    set_flat_values(list(policy.network.parameters()), theta)
    return policy


def _result_file(run: ImitationRun, folder: Path) -> Path:
    return folder / f"{run.name}.json"


def _parameter_file(run: ImitationRun, folder: Path) -> Path:
    return folder / f"{run.name}.npy"
