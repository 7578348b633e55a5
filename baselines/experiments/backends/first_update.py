"""How far the parameters of two backends are apart after one update from the same start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from baselines.jobs.agent_job import AgentJob
from baselines.jobs.job import Job


class FirstUpdate(NamedTuple):
    """The largest of max |p_numpy - p_torch| / scale over the policy's tensors p, in one update."""

    of_parameters: float  # scale = max |p_torch|
    of_change: float  # scale = max |p_torch - p_before|


def measured_first_update(torch: Job, numpy: Job) -> FirstUpdate:
    """Return the distances after the first update of two jobs that differ in the backend only."""
    before, after = _around_first_update(torch)
    return compared_parameters(before, after, _around_first_update(numpy)[1])


def _around_first_update(job: Job) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the parameters before and after the update of the first rollout."""
    from baselines.jobs.learning import prepare_training  # PyTorch

    assert isinstance(job, AgentJob), "only agents of this project have two backends"
    prepared = prepare_training(job)

    def copies() -> list[np.ndarray]:
        parameters = prepared.model.policy.parameters()
        return [one.detach().double().numpy().copy() for one in parameters]

    before = copies()
    prepared.model.learn(1)  # rounded up to one rollout
    prepared.venv.close()
    return before, copies()


def compared_parameters(
    before: Sequence[np.ndarray], torch: Sequence[np.ndarray], numpy: Sequence[np.ndarray]
) -> FirstUpdate:
    """Return how far the parameters are apart; the same tensors in the same order."""
    apart = [_largest(ours - theirs) for ours, theirs in zip(numpy, torch, strict=True)]
    changes = [_largest(after - start) for after, start in zip(torch, before, strict=True)]
    tiny = np.finfo(np.float64).tiny
    return FirstUpdate(
        max(a / max(_largest(size), tiny) for a, size in zip(apart, torch, strict=True)),
        max(a / max(change, tiny) for a, change in zip(apart, changes, strict=True)),
    )


def _largest(values: np.ndarray) -> float:
    return float(np.abs(values).max(initial=0.0))
