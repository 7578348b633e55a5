"""Compare the bridge with the original packages, with the same seeds and actions.

    python3.10 -m venv legacy
    legacy/bin/pip install safety-gymnasium==1.0.0 gymnasium-robotics==1.2.2 "numpy<1.24"
    python -m safe_envs.safety_gymnasium_bridge.parity --legacy-python legacy/bin/python

prints two tables. The first compares trajectories with given actions: the largest differences of
observations after reset and after one step, the step at which they differ by more than 1e-6
(versions of MuJoCo round differently, and contacts are chaotic), and the steps with different
costs. The second compares return, cost and length over episodes of a random policy and of one that
seeks reward, with standard deviations in parentheses, and z of the difference. No Welch's z should
exceed 3. The paired z is more sensitive, but it is also large where all episodes differ by the same
rounding alone.

With `--out FOLDER` results are kept in files of ten episodes each, and a second call only does what
is missing.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from safe_envs.safety_gymnasium_bridge.making import make
from safe_envs.safety_gymnasium_bridge.parity.figures import (
    Divergence,
    divergence,
    paired_z,
    z_of_difference,
)
from safe_envs.safety_gymnasium_bridge.parity.policies import (
    given_actions,
    random_definition,
    seeking_definition,
)
from safe_envs.safety_gymnasium_bridge.parity.sides import (
    LegacySide,
    LegacySideError,
    RolloutJob,
    bridged_rollouts,
    bridged_versions,
)
from safe_envs.safety_gymnasium_bridge.task_ids import VELOCITY_MODULES, find_task

DEFAULT_TASKS = (
    *(f"Safety{robot}Velocity-v1" for robot in VELOCITY_MODULES),
    "SafetyPointGoal1-v0",
    "SafetyCarGoal1-v0",
    "SafetyPointButton1-v0",
    "SafetyPointPush1-v0",
    "SafetyPointCircle1-v0",
    "SafetyAntCircle1-v0",
    "SafetyDoggoPush1-v0",
)
POLICIES = {"random": lambda task_id, env: random_definition(env), "seeking": seeking_definition}
TRAJECTORIES = "trajectories"
SIDES = ("genuine", "bridge")
EPISODES_AT_A_TIME = 10  # at most these are lost if the command is stopped
LARGEST_Z = 3.0
Comparison = dict[str, Any]  # what a file of `--out` holds


def main(arguments: Sequence[str] | None = None) -> int:
    """Print both tables; return 1 if a |z| is beyond 3 or a rollout failed, 2 if nothing ran."""
    options = _parser().parse_args(arguments)
    try:
        for task_id in options.tasks:
            find_task(task_id)
        legacy = LegacySide(options.legacy_python)
    except (ValueError, LegacySideError) as error:
        print(error, file=sys.stderr)
        return 2
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
    print(f"genuine: {legacy.versions}\nbridge:  {bridged_versions()}", flush=True)
    done, failed = [], 0
    for kinds, header in (((TRAJECTORIES,), TRAJECTORY_HEADER), (tuple(POLICIES), TOTALS_HEADER)):
        print(f"\n{header}")
        for task_id in options.tasks:
            for kind in kinds:
                try:
                    done.append(_compared(task_id, kind, options, legacy))
                    print(_line(done[-1]), flush=True)
                except LegacySideError as error:
                    failed += 1
                    print(f"{task_id} {kind}: {error}", file=sys.stderr, flush=True)
    print("\n" + "\n".join(_verdict(done)))
    if options.json:
        content = [c | {"z": dict(_all_z([c]))} for c in done]
        options.json.write_text(json.dumps(content, indent=1) + "\n")
    return 1 if failed or any(abs(z) > LARGEST_Z for _, z in _all_z(done)) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m safe_envs.safety_gymnasium_bridge.parity",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--legacy-python",
        required=True,
        metavar="PATH",
        help="python3.10 of the original packages",
    )
    parser.add_argument("--tasks", nargs="+", default=DEFAULT_TASKS, metavar="ID")
    parser.add_argument("--seeds", type=_count, default=5, help="trajectories per task (5)")
    parser.add_argument("--episodes", type=_count, default=50, help="per policy (50)")
    parser.add_argument("--steps", type=_count, help="at most, per episode (the task's)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="keep and reuse results here")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything here")
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 2:
        raise argparse.ArgumentTypeError(f"{number} is too few; pass a whole number >= 2")
    return number


def _compared(
    task_id: str, kind: str, options: argparse.Namespace, legacy: LegacySide
) -> Comparison:
    """Return one comparison, a few episodes at a time."""
    env = make(task_id, disable_env_checker=True)
    count = options.seeds if kind == TRAJECTORIES else options.episodes
    parts = []
    for first in range(0, count, EPISODES_AT_A_TIME):
        seeds = list(range(first, min(first + EPISODES_AT_A_TIME, count)))
        job = _job(task_id, kind, env, seeds, options.steps)
        file = options.out / f"{task_id}.{kind}.{first}.json" if options.out else None
        parts.append(_part(job, kind, file, legacy))
    env.close()
    whole = parts[0]
    for part in parts[1:]:
        whole["settings"]["seeds"] += part["settings"]["seeds"]
        if kind == TRAJECTORIES:
            whole["rows"] += part["rows"]
            continue
        for side in SIDES:
            for name, values in part[side].items():
                whole[side][name] += values
    return whole


def _job(task_id: str, kind: str, env: gym.Env, seeds: list[int], steps: int | None) -> RolloutJob:
    longest = find_task(task_id).max_episode_steps
    steps = min(steps or longest, longest)
    if kind == TRAJECTORIES:
        return RolloutJob(task_id, seeds, steps, actions=given_actions(env, seeds, steps))
    return RolloutJob(task_id, seeds, steps, POLICIES[kind](task_id, env))


def _part(job: RolloutJob, kind: str, file: Path | None, legacy: LegacySide) -> Comparison:
    """Return the comparison of a job, from its file if the settings are the same."""
    settings = {
        "task": job.task_id,
        "kind": kind,
        "seeds": job.seeds,
        "steps": job.steps,
        "policy": job.policy,
        "genuine": legacy.versions,
        "bridge": bridged_versions(),
    }
    if file is not None and file.exists():
        kept: Comparison = json.loads(file.read_text())
        if kept["settings"] == settings:
            return kept
    ours, theirs = bridged_rollouts(job), legacy.rollouts(job)
    part: Comparison = {"settings": settings}
    if kind == TRAJECTORIES:
        part["rows"] = [asdict(divergence(ours, theirs, row)) for row in range(len(job.seeds))]
    else:
        for side, found in zip(SIDES, (theirs, ours), strict=True):
            part[side] = {name: values.tolist() for name, values in found.items()}
    if file is not None:
        partial = file.with_suffix(".partial")
        partial.write_text(json.dumps(part) + "\n")
        partial.replace(file)
    return part


TRAJECTORY_HEADER = (
    f"{'task':28} {'at reset':>17} {'after one step':>17} {'reward':>8} {'parted at':>10} "
    "different costs before / in all, of steps"
)
TOTALS_HEADER = (
    f"{'task':28} {'policy':8} {'return, genuine':>18} {'bridge':>18} {'z':>6} {'paired':>6} "
    f"{'cost, genuine':>15} {'bridge':>15} {'z':>6} {'paired':>6} {'lengths':>15}"
)


def _line(comparison: Comparison) -> str:
    task_id, kind = comparison["settings"]["task"], comparison["settings"]["kind"]
    if kind == TRAJECTORIES:
        return f"{task_id:28} {_divergence_line([Divergence(**r) for r in comparison['rows']])}"
    genuine, bridge = _totals(comparison)
    line = f"{task_id:28} {kind:8}"
    for name, width in (("returns", 18), ("costs", 15)):
        for values in (genuine[name], bridge[name]):
            line += f" {f'{values.mean():.4g} ({values.std(ddof=1):.3g})':>{width}}"
        line += f" {z_of_difference(bridge[name], genuine[name]):6.2f}"
        line += f" {paired_z(bridge[name], genuine[name]):6.2f}"
    lengths = f"{genuine['lengths'].mean():.1f} {bridge['lengths'].mean():.1f}"
    return f"{line} {lengths:>15}"


def _divergence_line(rows: list[Divergence]) -> str:
    parted = sorted(math.inf if row.parted is None else row.parted for row in rows)
    span = "-".join(
        dict.fromkeys("never" if p == math.inf else f"{p:.0f}" for p in (parted[0], parted[-1]))
    )
    mismatches = f"{sum(r.mismatches_before for r in rows)} / {sum(r.mismatches for r in rows)}"
    return (
        f"{_range([r.at_reset for r in rows]):>17} {_range([r.at_first_step for r in rows]):>17} "
        f"{max(r.reward_at_first_step for r in rows):8.0e} {span:>10} "
        f"{mismatches}, of {sum(r.steps for r in rows)}"
    )


def _range(values: list[float]) -> str:
    return "..".join(dict.fromkeys(f"{v:.0e}" if v else "0" for v in (min(values), max(values))))


def _totals(comparison: Comparison) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    genuine, bridge = (
        {name: np.array(values) for name, values in comparison[side].items()} for side in SIDES
    )
    return genuine, bridge


def _all_z(comparisons: list[Comparison]) -> list[tuple[str, float]]:
    """Return a name and the z of every comparison of returns and costs."""
    found = []
    for comparison in comparisons:
        if comparison["settings"]["kind"] != TRAJECTORIES:
            genuine, bridge = _totals(comparison)
            name = f"{comparison['settings']['task']} {comparison['settings']['kind']}"
            for what in ("returns", "costs"):
                found.append((f"{name} {what}", z_of_difference(bridge[what], genuine[what])))
    return found


def _verdict(comparisons: list[Comparison]) -> list[str]:
    found = _all_z(comparisons)
    if not found:
        return ["no distributions were compared"]
    name, largest = max(found, key=lambda entry: abs(entry[1]))
    beyond = [f"{name} ({z:.2f})" for name, z in found if abs(z) > LARGEST_Z]
    return [
        f"largest |z| of {len(found)}: {abs(largest):.2f} ({name})",
        f"beyond {LARGEST_Z:g}: {', '.join(beyond) or 'none'}",
    ]
