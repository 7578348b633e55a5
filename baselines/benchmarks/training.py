"""Training speed of the deep agents, where the time goes, and OmniSafe's PPO-Lag for comparison.

`python -m baselines.benchmarks.training [--omnisafe-python PATH]`. Every figure is CPU time with
one torch thread, for the same number of samples, passes and minibatches; ours and the peer take
turns and the least time of each counts, so that a busy machine slows them equally. The floor is
MuJoCo alone: raw `mj_step`, `frame_skip` times per step.

The peer needs an environment of its own, Python 3.10 with:

    pip install torch==1.12.1 "numpy<1.24"
    pip install gymnasium==0.28.1 pygame==2.1.0 mujoco==2.3.3 xmltodict pyyaml imageio jax-jumpy \
        farama-notifications Jinja2
    pip install --no-deps safety-gymnasium==1.0.0 gymnasium-robotics==1.2.2 pettingzoo==1.24.3 \
        omnisafe==0.5.0
    pip install tensorboard typer rich seaborn pandas==2.0.3 matplotlib "moviepy<2" wandb gdown
    pip install --no-deps gymnasium==0.28.1
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecNormalize
from threadpoolctl import threadpool_limits

import agents
from agents.constrained_agent import ConstrainedAgent
from baselines.shell_command import shell_command
from safe_envs.velocity.physics import robot_physics

PEER_SCRIPT = Path(__file__).parent / "peers" / "omnisafe_speed.py"


@dataclass(frozen=True)
class TrainingArguments:
    """Print training steps per CPU second, their parts, and the ratio to OmniSafe's PPO-Lag."""

    omnisafe_python: Path | None = None
    """Interpreter with OmniSafe 0.5.0; without it only our agents run."""
    agent_names: tuple[str, ...] = ("PPO", "PPOLag", "PPOALM", "SPMAALM", "TRPOLag", "CPO")
    """Agents of the second table."""
    repeats: int = 2
    """Turns of every part; the fastest counts."""
    num_envs: int = 8
    """Environments that our agents step together."""


class TrainingSetting(NamedTuple):
    """What both sides run."""

    env_id: str
    steps: int  # samples per update
    updates: int
    passes: int
    batch_size: int


class Spent(NamedTuple):
    """CPU seconds of a training."""

    stepping: float
    inference: float
    update: float
    steps: int

    @property
    def total(self) -> float:
        """All CPU seconds."""
        return self.stepping + self.inference + self.update


PEER_SETTINGS = (
    TrainingSetting("SafetyHalfCheetahVelocity-v1", 20_000, 1, 40, 64),
    TrainingSetting("SafetyHopperVelocity-v1", 2_048, 4, 40, 64),
)
OWN_SETTING = TrainingSetting("SafetyHopperVelocity-v1", 2_048, 4, 10, 64)


class TimedVecEnv(VecEnvWrapper):
    """Adds up the CPU time spent in stepping."""

    def __init__(self, venv: VecEnv) -> None:
        super().__init__(venv)
        self.seconds = 0.0

    def reset(self) -> Any:
        """Reset all environments."""
        return self.venv.reset()

    def step_wait(self) -> Any:
        """Step all environments and time it."""
        began = time.process_time()
        outcome = self.venv.step_wait()
        self.seconds += time.process_time() - began
        return outcome


def train_ours(name: str, setting: TrainingSetting, num_envs: int) -> Spent:
    """Train one of our agents for a setting and return where the time went."""
    kind: type[ConstrainedAgent] = getattr(agents, name)
    timed = TimedVecEnv(agents.make_vec_env(setting.env_id, num_envs))
    agent = kind(
        "MlpPolicy",
        VecNormalize(timed, norm_reward=False),
        n_steps=setting.steps // num_envs,
        n_epochs=setting.passes,
        batch_size=setting.batch_size,
        seed=0,
    )
    agent._setup_learn(setting.steps)  # what learn() does before its first rollout
    callback = agent._init_callback(None)
    update = 0.0
    timed.seconds = 0.0
    began = time.process_time()
    for _ in range(setting.updates):
        agent.collect_rollouts(timed, callback, None, agent.n_steps)
        before = time.process_time()
        agent.train()
        update += time.process_time() - before
    total = time.process_time() - began
    agent.env.close()  # type: ignore[union-attr]
    steps = setting.steps * setting.updates
    return Spent(timed.seconds, total - timed.seconds - update, update, steps)


def train_peer(python: Path, setting: TrainingSetting) -> Spent:
    """Train OmniSafe's PPO-Lag in its own interpreter.

    Raises:
        RuntimeError: if it fails, with the end of its output.
    """
    numbers = (setting.steps, setting.updates, setting.passes, setting.batch_size)
    command = [str(python), str(PEER_SCRIPT), setting.env_id, *map(str, numbers)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{python} could not train OmniSafe's PPO-Lag:\n{done.stderr[-2000:]}")
    spent = json.loads(done.stdout.strip().splitlines()[-1])
    return Spent(0.0, spent["total"] - spent["update"], spent["update"], spent["steps"])


def physics_floor(env_id: str, steps: int = 2000) -> float:
    """Return CPU seconds per environment step of raw mj_step with random controls."""
    import mujoco

    physics = robot_physics(gym.spec(env_id).kwargs["robot"])
    model, frame_skip = physics.model, physics.robot.frame_skip
    data = mujoco.MjData(model)
    controls = np.random.default_rng(0).uniform(-1, 1, (steps, model.nu))
    began = time.process_time()
    for control in controls:
        data.ctrl[:] = control
        mujoco.mj_step(model, data, frame_skip)
    return (time.process_time() - began) / steps


def fastest(runs: Sequence[Spent]) -> Spent:
    """Return the run with the least CPU time."""
    return min(runs, key=lambda run: run.total)


def peer_table(arguments: TrainingArguments, python: Path) -> Table:
    """Return our PPO-Lag next to the peer's."""
    table = Table(title="PPO-Lag: environment steps per CPU second, one torch thread")
    for heading in ("samples / passes / batch", "OmniSafe 0.5.0", "ours", "ratio"):
        table.add_column(heading, justify="right")
    table.add_column("update ratio", justify="right")
    for setting in PEER_SETTINGS:
        ours, theirs = [], []
        for _ in range(arguments.repeats):
            theirs.append(train_peer(python, setting))
            ours.append(train_ours("PPOLag", setting, arguments.num_envs))
        us, them = fastest(ours), fastest(theirs)
        table.add_row(
            f"{setting.env_id}\n{setting.steps} / {setting.passes} / {setting.batch_size}",
            f"{them.steps / them.total:.0f}",
            f"{us.steps / us.total:.0f}",
            f"[bold]{them.total / us.total * us.steps / them.steps:.1f}x[/]",
            f"{them.update / us.update:.1f}x",
        )
    return table


def own_table(arguments: TrainingArguments) -> Table:
    """Return where the time of each of our agents goes."""
    setting = OWN_SETTING
    floor = min(physics_floor(setting.env_id) for _ in range(arguments.repeats))
    table = Table(
        title=f"CPU microseconds per step on {setting.env_id}, {setting.steps} samples, "
        f"{setting.passes} passes, batch {setting.batch_size}; physics alone {floor * 1e6:.0f}"
    )
    for heading in ("agent", "stepping", "inference", "update", "total", "times physics"):
        table.add_column(heading, justify="left" if heading == "agent" else "right")
    for name in arguments.agent_names:
        best = fastest(
            [train_ours(name, setting, arguments.num_envs) for _ in range(arguments.repeats)]
        )
        parts = (best.stepping, best.inference, best.update, best.total)
        cells = [f"{part / best.steps * 1e6:.0f}" for part in parts]
        table.add_row(name, *cells, f"{best.total / best.steps / floor:.1f}x")
    return table


def main(arguments: TrainingArguments) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    console = Console(width=110)
    with threadpool_limits(1):
        console.print(own_table(arguments))
        if arguments.omnisafe_python is not None:
            console.print(peer_table(arguments, arguments.omnisafe_python))
        else:
            console.print("pass --omnisafe-python PATH to compare with OmniSafe's PPO-Lag")


if __name__ == "__main__":
    main(
        tyro.cli(
            TrainingArguments,
            prog=shell_command("baselines.benchmarks.training"),
            description=__doc__,
        )
    )
