"""The command `demo`: tabular solvers on five small problems, and deep agents on one of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from baselines.commands.compare import Comparison, run_comparison
from baselines.commands.comparison_plan import CompareOptions, Plan, plan
from baselines.shell_command import shell_command

DEEP_SEA = "Safe/DeepSeaTreasure-v0"
GRID_WORLDS = ("Safe/CliffWorld-v0", DEEP_SEA)
RANDOM_PROBLEMS = (
    "Safe/RandomCMDP-v0?constraints=1&model_seed=1",
    "Safe/RandomCMDP-v0?constraints=2&model_seed=2",
    "Safe/RandomCMDP-v0?constraints=3&model_seed=3",
)
EVALUATIONS = 3_000  # the tail, which counts, begins at 2,400; PQA-ALM settles before 1,000
SOLVERS = ("pqa_alm", "npg_pd", "rpg_pd", "npg_dd", "reload_pd", "ppo_lag")
# It takes as long as three others, and its tile coding needs states with coordinates.
FEATURE_SOLVERS = ("ppqa_alm",)
UNCONSTRAINED = ("PPO",)
CONSTRAINED = ("PPOLag", "SPMAALM")
TIMESTEPS = 100_000  # ten dual steps of SPMAALM; ten seconds of one core
EVALUATION_EPISODES = 2_000  # of two steps on average
SEEDS = (0, 1)
CONSTRAINED_SEEDS = (0, 1, 2, 3, 4)  # as many as a rank on the leaderboard needs
TITLE = "Demo: constrained agents on problems with a known optimum"


@dataclass(frozen=True)
class DemoOptions:
    """Compare constrained agents on five small problems and write a report, in two minutes."""

    out: Path = Path("runs/demo")
    """Folder of the results; a second run with the same folder runs only what is missing."""
    workers: int = 2
    """Worker processes, one thread each."""

    def command(self) -> str:
        """Return the shell command with these options."""
        words = ["--out", str(self.out), "--workers", str(self.workers)]
        return shell_command("baselines", "demo", *words)


def demo(options: DemoOptions, console: Console) -> int:
    """Run the demo's comparison and return its exit code."""
    how = Comparison(options.out, options.workers, TITLE, options.command())
    return run_comparison(demo_plan(options.out), how, console)


def demo_plan(out: Path) -> Plan:
    """Return all jobs of the demo, the longest first."""
    constrained = CompareOptions(
        envs=(DEEP_SEA,),
        agents=CONSTRAINED,
        out=out,
        seeds=CONSTRAINED_SEEDS,
        total_timesteps=TIMESTEPS,
        eval_episodes=EVALUATION_EPISODES,
    )
    unconstrained = replace(constrained, agents=UNCONSTRAINED, seeds=SEEDS)
    with_features = CompareOptions(
        envs=GRID_WORLDS, agents=FEATURE_SOLVERS, out=out, seeds=SEEDS, evaluations=EVALUATIONS
    )
    solvers = replace(with_features, envs=(*GRID_WORLDS, *RANDOM_PROBLEMS), agents=SOLVERS)
    plans = [plan(options) for options in (constrained, unconstrained, with_features, solvers)]
    return Plan([job for one in plans for job in one.jobs], plans[-1].models)
