"""Training speed of the agents beside OmniSafe, SB3, SBX and a floor, and where the time goes.

`python -m baselines.benchmarks.training [--omnisafe-python PATH] [--sbx-python PATH]`. Every figure
is CPU time with one thread. Learners take turns and the least time of each counts, so that a busy
machine slows them equally. Three parts, `--parts` chooses:

- peers: training with the same samples, passes and minibatches, networks 64-64 with tanh, and no
  early stopping. Ours is PPO-Lag (an actor and two critics) on the native form of the velocity
  task. OmniSafe's PPO-Lag (the same networks) steps one copy of its SafetyHopperVelocity-v1. The
  PPO of Stable-Baselines3 (an actor and one critic) steps a DummyVecEnv of our single
  SafetyHopperVelocity-v1, and that of SBX (the same two networks, in JAX) a DummyVecEnv of
  Gymnasium's Hopper-v5, which has no cost; both use VecNormalize. SBX's compilation is not counted.
  The floor is raw `mj_step` and the bare matrix products and tanh of our three networks.
- minibatches: a gradient step of PPO-Lag by width of the networks, number of costs and batch size,
  measured in updates of 2,048 samples and 10 passes; and its bare products and tanh.
- agents: where the time of each of our agents goes.

Each peer needs an environment of its own. SBX: `pip install sbx-rl "gymnasium[mujoco]"`. OmniSafe:
Python 3.10 with

    pip install torch==1.12.1 "numpy<1.24"
    pip install gymnasium==0.28.1 pygame==2.1.0 mujoco==2.3.3 xmltodict pyyaml imageio jax-jumpy \
        farama-notifications Jinja2
    pip install --no-deps safety-gymnasium==1.0.0 gymnasium-robotics==1.2.2 pettingzoo==1.24.3 \
        omnisafe==0.5.0
    pip install tensorboard typer rich seaborn pandas==2.0.3 matplotlib "moviepy<2" wandb gdown
    pip install --no-deps gymnasium==0.28.1
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch
import tyro
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from baselines.benchmarks.training_speed.floor import Floor, floor_of, physics_seconds
from baselines.benchmarks.training_speed.learners import (
    train_omnisafe,
    train_ours,
    train_ours_in_parts,
    train_sb3,
    train_sbx,
)
from baselines.benchmarks.training_speed.minibatches import (
    BACKENDS,
    SHAPES,
    MinibatchShape,
    minibatch_times,
)
from baselines.benchmarks.training_speed.settings import Spent, TrainingSetting, fastest
from baselines.shell_command import shell_command
from safe_envs.contract.thread_count import set_num_threads

Part = Literal["peers", "minibatches", "agents"]
Learner = Callable[[TrainingSetting], Spent]

OURS = "PPOLag"
PEER_SETTINGS = (
    TrainingSetting("Hopper", 2_048, 40, 64, updates=2),
    TrainingSetting("HalfCheetah", 20_000, 40, 64, updates=1),
    TrainingSetting("Hopper", 2_048, 10, 64),
    TrainingSetting("Hopper", 8_192, 10, 256, num_envs=16, updates=1),
)
OWN_SETTING = TrainingSetting("Hopper", 2_048, 10, 64)
MICRO = 1e6


@dataclass(frozen=True)
class TrainingArguments:
    """Print CPU time of training per step, beside other libraries and a floor, and its parts."""

    parts: tuple[Part, ...] = ("peers", "minibatches", "agents")
    """What to measure."""
    settings: tuple[Literal[1, 2, 3, 4], ...] = (1, 2, 3, 4)
    """Which of the peers' settings, in the order of the docs; the second takes minutes."""
    omnisafe_python: Path | None = None
    """Interpreter with OmniSafe 0.5.0; None: without it."""
    sbx_python: Path | None = None
    """Interpreter with SBX; None: without it."""
    agent_names: tuple[str, ...] = ("PPO", "PPOLag", "PPOALM", "SPMAALM", "TRPOLag", "CPO")
    """Agents whose time is taken apart."""
    minibatch_agent: str = OURS
    """Agent whose gradient steps are timed; one that descends in minibatches."""
    repeats: int = 2
    """Turns of every learner; the fastest counts."""


def learners_of(arguments: TrainingArguments) -> dict[str, Learner]:
    """Return the learners to compare, ours last; those of this process have been called once."""
    here: dict[str, Learner] = {"SB3 PPO": train_sb3}
    for backend in BACKENDS:
        here[f"ours, {backend}"] = partial(train_ours, OURS, backend)
    for learner in here.values():
        learner(PEER_SETTINGS[0].shortened())
    elsewhere: dict[str, Learner] = {}
    if arguments.omnisafe_python is not None:
        elsewhere["OmniSafe 0.5.0"] = partial(train_omnisafe, arguments.omnisafe_python)
    if arguments.sbx_python is not None:
        elsewhere["SBX PPO"] = partial(train_sbx, arguments.sbx_python)
    return {**elsewhere, **here}


def print_peers(arguments: TrainingArguments, console: Console) -> None:
    """Measure and print every learner in every setting."""
    learners = learners_of(arguments)
    for setting in (PEER_SETTINGS[number - 1] for number in arguments.settings):
        runs: dict[str, list[Spent]] = {name: [] for name in learners}
        floors = []
        for _ in range(arguments.repeats):
            for name, learner in learners.items():
                runs[name].append(learner(setting))
            floors.append(floor_of(setting))
        floor = Floor(*map(min, zip(*floors, strict=True)))
        console.print(peer_table(setting, {n: fastest(found) for n, found in runs.items()}, floor))
    if arguments.omnisafe_python is None:
        console.print("--omnisafe-python PATH adds OmniSafe's PPO-Lag")
    if arguments.sbx_python is None:
        console.print("--sbx-python PATH adds SBX's PPO")


def peer_table(setting: TrainingSetting, spent: dict[str, Spent], floor: Floor) -> Table:
    """Return a row for every learner, ours last, and one for the floor."""
    table = Table(title=f"CPU microseconds per step: {setting}")
    table.add_column("learner", no_wrap=True)
    for heading in ("rollout", "update", "total", "total / ours", "update / ours", "total / floor"):
        table.add_column(heading, justify="right")
    ours = list(spent.values())[-1]
    for name, run in spent.items():
        parts = [f"{run.per_step(part):.0f}" for part in (run.rollout, run.update, run.total)]
        ratios = (
            run.per_step(run.total) / ours.per_step(ours.total),
            run.per_step(run.update) / ours.per_step(ours.update),
            run.per_step(run.total) / (floor.total * MICRO),
        )
        table.add_row(name, *parts, *(f"{ratio:.2f}x" for ratio in ratios))
    bounds = [f"{part * MICRO:.0f}" for part in (*floor, floor.total)]
    table.add_section()
    table.add_row("floor: physics, arithmetic", *bounds, "", "", "1.00x")
    return table


def minibatch_table(agent_name: str, shapes: tuple[MinibatchShape, ...], repeats: int) -> Table:
    """Return a row for every shape."""
    table = Table(title=f"CPU microseconds per gradient step of {agent_name}, 11 inputs, 3 actions")
    headings = ("width", "costs", "batch", "arithmetic", *BACKENDS, "torch / numpy")
    for heading in (*headings, "numpy / arithmetic"):
        table.add_column(heading, justify="right")
    for shape in shapes:
        times = minibatch_times(agent_name, shape, repeats)
        cells = [f"{seconds * MICRO:.0f}" for seconds in times]
        ratios = (times.torch / times.numpy, times.numpy / times.arithmetic)
        table.add_row(*map(str, shape), *cells, *(f"{ratio:.1f}x" for ratio in ratios))
    return table


def own_table(arguments: TrainingArguments) -> Table:
    """Return where the time of each of our agents goes, with each backend."""
    setting = OWN_SETTING
    floor = min(physics_seconds(setting.robot) for _ in range(arguments.repeats))
    table = Table(title=f"CPU microseconds per step: {setting}; physics alone {floor * MICRO:.0f}")
    headings = ("agent", "backend", "stepping", "inference", "update", "total", "times physics")
    for heading in (*headings, "update, torch / numpy"):
        table.add_column(heading, justify="left" if heading in headings[:2] else "right")
    cases = [(name, backend) for name in arguments.agent_names for backend in BACKENDS]
    runs: dict[tuple[str, str], list[Spent]] = {case: [] for case in cases}
    for name, backend in cases:
        train_ours_in_parts(name, backend, setting.shortened())
    for _ in range(arguments.repeats):
        for (name, backend), own in runs.items():
            own.append(train_ours_in_parts(name, backend, setting))
    for (name, backend), own in runs.items():
        best = fastest(own)
        parts = (best.stepping, best.inference, best.update, best.total)
        cells = [f"{best.per_step(part):.0f}" for part in parts]
        ratio = fastest(runs[name, "torch"]).update / best.update
        times = f"{best.total / best.steps / floor:.1f}x"
        table.add_row(name, backend, *cells, times, f"{ratio:.1f}x")
    return table


def main(arguments: TrainingArguments) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    set_num_threads(1)
    console = Console(width=110)
    with threadpool_limits(1):
        if "peers" in arguments.parts:
            print_peers(arguments, console)
        if "minibatches" in arguments.parts:
            console.print(minibatch_table(arguments.minibatch_agent, SHAPES, arguments.repeats))
        if "agents" in arguments.parts:
            console.print(own_table(arguments))


if __name__ == "__main__":
    main(
        tyro.cli(
            TrainingArguments,
            prog=shell_command("baselines.benchmarks.training"),
            description=__doc__,
        )
    )
