"""Rollouts of the original packages; a script for an interpreter of their time.

    python3.10 -I legacy_rollouts.py --versions
    python3.10 -I legacy_rollouts.py JOB.json

It prints the versions that it finds as JSON, or does one job and writes its arrays. From this
project it imports only `rollout_policies.py`, by the path given in the job.
"""

from __future__ import annotations

import importlib.util
import json
import platform
import sys
import warnings
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = ("safety-gymnasium", "gymnasium", "mujoco", "numpy")


class GenuineSide:
    """The genuine six-tuple environment of an id."""

    def __init__(self, task_id: str) -> None:
        self._env = importlib.import_module("safety_gymnasium").make(task_id)

    def reset(self, seed: int) -> Any:
        """Return the first observation of an episode."""
        return self._env.reset(seed=seed)[0]

    def step(self, action: Any) -> tuple[Any, float, float, bool]:
        """Return observation, reward, cost, and whether the episode is over."""
        observation, reward, cost, terminated, truncated, _ = self._env.step(action)
        return observation, reward, cost, terminated or truncated


def found_versions() -> dict[str, str | None]:
    """Return the versions of Python and of the packages, None for those not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def do_job(job: dict[str, Any]) -> None:
    """Roll out the job and write its arrays to the job's file."""
    import numpy as np

    spec = importlib.util.spec_from_file_location("rollout_policies", job["policies"])
    if spec is None or spec.loader is None:
        raise ValueError(f"job names {job['policies']!r}; name the path of rollout_policies.py")
    policies = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(policies)
    side = GenuineSide(job["task_id"])
    if job["actions"] is None:
        arrays = policies.totals(side, job["seeds"], job["policy"], job["steps"])
    else:
        arrays = policies.trajectories(side, job["seeds"], np.load(job["actions"])["actions"])
    np.savez(job["out"], **arrays)


def main(argument: str) -> None:
    """Print versions, or do the job in a file."""
    if argument == "--versions":
        print(json.dumps(found_versions()))
        return
    warnings.simplefilter("ignore")  # from packages that no longer change
    with open(argument, encoding="utf-8") as file:
        do_job(json.load(file))


if __name__ == "__main__":
    main(sys.argv[1])
