"""Stepping speed of the quadrotor, as ratios measured side by side in one run.

`python -m baselines.benchmarks.quadrotor`. For several numbers N of vehicles: the native vector
form with the full cost contract, and its dynamics alone; next to them one single environment,
its dynamics alone, and MuJoCo's Runge-Kutta integrator on the same vehicle, called from Python and
by `mujoco.rollout` for N vehicles. The parts take turns and the least CPU time of each counts.
The tables of `baselines.benchmarks.safety_filter` follow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

import safe_envs  # noqa: F401  registers the environments
from baselines.benchmarks import safety_filter
from baselines.benchmarks.environments import fastest_turns
from baselines.shell_command import shell_command
from safe_envs.quadrotor.dynamics import step, step_batch
from safe_envs.quadrotor.mujoco_model import mujoco_text
from safe_envs.quadrotor.task import CONTROL_DT
from safe_envs.quadrotor.vehicle import CRAZYFLIE, Vehicle
from safe_envs.rendering.mujoco_package import load_mujoco

ENV_ID = "Safe/Quadrotor-v0"
SUBSTEPS = 2
SINGLE_STEPS = 400  # in one turn of a part with one vehicle
VEHICLE_STEPS = 16384  # in one turn of a part with many
THRUST_NOISE = 0.02  # around hovering, so that few episodes end


@dataclass(frozen=True)
class QuadrotorArguments:
    """Print the speed of quadrotors, of MuJoCo and of the safety filter, and their ratios."""

    num_envs: tuple[int, ...] = (1, 64, 1024, 8192)
    """Vehicles stepped together."""
    repeats: int = 7
    """Turns of every part; the fastest counts."""


def main(arguments: QuadrotorArguments) -> None:
    """Measure and print the tables."""
    console = Console(width=140)
    with threadpool_limits(1):
        parts = single_parts(CRAZYFLIE)
        counts = [SINGLE_STEPS] * len(parts)
        for num_envs in arguments.num_envs:
            added = batch_parts(CRAZYFLIE, num_envs)
            parts += added
            counts += [max(VEHICLE_STEPS // num_envs, 1) * num_envs] * len(added)
        seconds = fastest_turns([(part, 1) for part in parts], arguments.repeats)
    rates = [count / time for count, time in zip(counts, seconds, strict=True)]
    print_rates(console, arguments.num_envs, rates)
    safety_filter.print_tables(console, safety_filter.SafetyFilterArguments())


def print_rates(console: Console, num_envs: tuple[int, ...], rates: list[float]) -> None:
    """Print steps per second and ratios."""
    env, floats, simulator = rates[:3]
    table = Table(title=f"{ENV_ID}: steps of {CONTROL_DT} s per second, one thread")
    table.add_column("one vehicle", no_wrap=True)
    table.add_column("steps/s", justify="right")
    table.add_row("environment", f"{env:,.0f}")
    table.add_row("dynamics in plain floats", f"{floats:,.0f}")
    table.add_row(f"MuJoCo, RK4, {SUBSTEPS} x mj_step", f"{simulator:,.0f}")
    console.print(table)
    table = Table(title="N vehicles")
    headings = ("N", "native form", "native / single", "dynamics", "dynamics / MuJoCo", "rollout")
    for heading in headings:
        table.add_column(heading, justify="right")
    for i, number in enumerate(num_envs):
        native, dynamics, rollout = rates[3 + 3 * i : 6 + 3 * i]
        best = max(simulator, rollout)
        ratios = (f"{native / env:.1f}x", f"{dynamics / best:.1f}x")
        cells = (f"{native:,.0f}", ratios[0], f"{dynamics:,.0f}", ratios[1], f"{rollout:,.0f}")
        table.add_row(str(number), *cells)
    console.print(table)
    console.print("dynamics / MuJoCo: over the faster of mj_step and mujoco.rollout")


def single_parts(vehicle: Vehicle) -> list[Callable[[], object]]:
    """Return functions that step one environment, one vehicle, and one vehicle in MuJoCo."""
    env = gym.make(ENV_ID, disable_env_checker=True)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    thrusts = vehicle.hover_thrust + THRUST_NOISE * rng.standard_normal((SINGLE_STEPS, 4))
    actions = (2.0 * thrusts - 1.0).astype(np.float32)
    mujoco = load_mujoco()
    model = mujoco.MjModel.from_xml_string(mujoco_text(vehicle, CONTROL_DT / SUBSTEPS))
    data = mujoco.MjData(model)

    def environment() -> None:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()

    def dynamics() -> None:
        state: tuple[float, ...] = (0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0) + 6 * (0.0,)
        for u in thrusts.tolist():
            state = step(vehicle, state, u, CONTROL_DT, SUBSTEPS)

    def simulator() -> None:
        mujoco.mj_resetData(model, data)
        for u in thrusts:
            data.ctrl[:] = u
            mujoco.mj_step(model, data, SUBSTEPS)

    return [environment, dynamics, simulator]


def batch_parts(vehicle: Vehicle, num_envs: int) -> list[Callable[[], object]]:
    """Return functions that step N environments, N vehicles, and N vehicles in MuJoCo."""
    venv = gym.make_vec(ENV_ID, num_envs=num_envs)
    venv.reset(seed=0)
    rng = np.random.default_rng(0)
    u = vehicle.hover_thrust + THRUST_NOISE * rng.standard_normal((4, num_envs))
    actions = np.ascontiguousarray(2.0 * u.T - 1.0).astype(np.float32)
    states = np.zeros((13, num_envs))
    states[6] = 1.0
    steps = range(max(VEHICLE_STEPS // num_envs, 1))

    def native() -> None:
        for _ in steps:
            venv.step(actions)

    def dynamics() -> None:
        for _ in steps:
            step_batch(vehicle, states, u, CONTROL_DT, SUBSTEPS)

    return [native, dynamics, mujoco_rollout(vehicle, u, len(steps))]


def mujoco_rollout(vehicle: Vehicle, u: np.ndarray, steps: int) -> Callable[[], object]:
    """Return a function that rolls N vehicles out in MuJoCo on one thread."""
    mujoco = load_mujoco()
    from mujoco import rollout

    model = mujoco.MjModel.from_xml_string(mujoco_text(vehicle, CONTROL_DT / SUBSTEPS))
    data = mujoco.MjData(model)
    kind = int(mujoco.mjtState.mjSTATE_FULLPHYSICS)
    start = np.empty(mujoco.mj_stateSize(model, kind))
    mujoco.mj_getState(model, data, start, kind)
    starts = np.tile(start, (u.shape[1], 1))
    control: Any = np.repeat(u.T[:, None], SUBSTEPS * steps, axis=1)  # (N, steps, 4)
    return lambda: rollout.rollout(model, [data], starts, control)


if __name__ == "__main__":
    main(tyro.cli(QuadrotorArguments, prog=shell_command("baselines.benchmarks.quadrotor")))
