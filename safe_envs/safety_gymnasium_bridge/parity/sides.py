"""The two sides of the parity command: the bridge here, the originals in another Python."""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from safe_envs.safety_gymnasium_bridge.making import make
from safe_envs.safety_gymnasium_bridge.parity import rollout_policies
from safe_envs.safety_gymnasium_bridge.parity.rollout_policies import Arrays, Definition

GENUINE_VERSIONS = {"safety-gymnasium": "1.0.0", "gymnasium": "0.28.1", "mujoco": "2.3.3"}
GENUINE_PYTHON = "3.10."
HOW_TO_MAKE = (
    "make such an environment with\n"
    "  python3.10 -m venv legacy\n"
    "  legacy/bin/pip install safety-gymnasium==1.0.0 gymnasium-robotics==1.2.2 'numpy<1.24'\n"
    "and pass --legacy-python legacy/bin/python"
)
SCRIPT = Path(__file__).with_name("legacy_rollouts.py")
LAST_LINES = 12  # of a failed rollout's output


class LegacySideError(RuntimeError):
    """The original packages' interpreter is missing, is the wrong one, or failed in a rollout."""


@dataclass(frozen=True)
class RolloutJob:
    """A rollout for both sides.

    Args:
        task_id: the task.
        seeds: one per episode.
        steps: the length of the longest episode, T.
        policy: a definition of `rollout_policies`; None if actions are given.
        actions: (seeds, T, actions); None if a policy is given.
    """

    task_id: str
    seeds: list[int]
    steps: int
    policy: Definition | None = None
    actions: np.ndarray | None = None


class BridgedSide:
    """A bridged environment as `rollout_policies` sees it."""

    def __init__(self, env: gym.Env) -> None:
        self._env = env

    def reset(self, seed: int) -> np.ndarray:
        """Return the first observation of an episode."""
        observation: np.ndarray = self._env.reset(seed=seed)[0]
        return observation

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, float, bool]:
        """Return observation, reward, cost, and whether the episode is over."""
        observation, reward, terminated, truncated, info = self._env.step(action)
        return observation, float(reward), info["cost"], terminated or truncated


def bridged_rollouts(job: RolloutJob) -> Arrays:
    """Return the job's arrays, rolled out with the bridge."""
    env = make(job.task_id, disable_env_checker=True)
    side = BridgedSide(env)
    if job.policy is not None:
        arrays = rollout_policies.totals(side, job.seeds, job.policy, job.steps)
    elif job.actions is not None:
        arrays = rollout_policies.trajectories(side, job.seeds, job.actions)
    else:
        raise ValueError(f"the job of {job.task_id} has neither policy nor actions; give one")
    env.close()
    return arrays


def bridged_versions() -> dict[str, str]:
    """Return the versions that the bridge's numbers depend on."""
    return {name: version(name) for name in ("gymnasium", "mujoco", "numpy")}


class LegacySide:
    """The genuine packages in their own interpreter.

    Args:
        python: path of the interpreter.

    Raises:
        LegacySideError: if it cannot be run or its packages have other versions.
    """

    def __init__(self, python: str) -> None:
        self._python = python
        self.versions: dict[str, str] = json.loads(self._run("--versions"))
        wrong = [
            f"{name} {self.versions[name] or '(not installed)'} instead of {expected}"
            for name, expected in GENUINE_VERSIONS.items()
            if self.versions[name] != expected
        ]
        if not self.versions["python"].startswith(GENUINE_PYTHON):
            wrong.append(f"Python {self.versions['python']} instead of {GENUINE_PYTHON}x")
        if wrong:
            raise LegacySideError(f"{python} has {', '.join(wrong)}; {HOW_TO_MAKE}")

    def rollouts(self, job: RolloutJob) -> Arrays:
        """Return the job's arrays, rolled out with the original packages.

        Raises:
            LegacySideError: if a rollout fails; the message holds the end of its output.
        """
        with tempfile.TemporaryDirectory() as folder:
            paths = {name: Path(folder) / name for name in ("job.json", "actions.npz", "out.npz")}
            content: dict[str, Any] = {
                "task_id": job.task_id,
                "seeds": job.seeds,
                "steps": job.steps,
                "policy": job.policy,
                "actions": None if job.actions is None else str(paths["actions.npz"]),
                "policies": rollout_policies.__file__,
                "out": str(paths["out.npz"]),
            }
            paths["job.json"].write_text(json.dumps(content))
            if job.actions is not None:
                np.savez(paths["actions.npz"], actions=job.actions)
            self._run(str(paths["job.json"]), folder, job.task_id)
            with np.load(paths["out.npz"]) as arrays:
                return dict(arrays)

    def _run(self, argument: str, folder: str | None = None, task_id: str = "") -> str:
        """Return what the script printed; `-I` isolates it from this folder and from variables."""
        command = [self._python, "-I", str(SCRIPT), argument]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        except OSError as error:
            raise LegacySideError(
                f"the interpreter {self._python!r} cannot be run ({error}); {HOW_TO_MAKE}"
            ) from error
        if done.returncode:
            lines = (done.stderr or done.stdout).strip().splitlines()[-LAST_LINES:]
            what = f"rolling out {task_id}" if task_id else "asking for versions"
            raise LegacySideError(
                f"{what} with {self._python} failed with exit code {done.returncode}; try "
                "another task with --tasks, or repair that environment. The end of its output:\n"
                + "\n".join(lines)
            )
        return done.stdout
