"""The command `demo`: all tabular agents on two grid worlds and three random problems."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from baselines.compare import CompareOptions, compare

ENVIRONMENTS = (
    "Safe/CliffWorld-v0",
    "Safe/DeepSeaTreasure-v0",
    "Safe/RandomCMDP-v0?constraints=1&model_seed=1",
    "Safe/RandomCMDP-v0?constraints=2&model_seed=2",
    "Safe/RandomCMDP-v0?constraints=3&model_seed=3",
)
EVALUATIONS = 4_000  # PQA-ALM needs 2,500 on deep sea; ppqa_alm takes most of the time
AGENTS = ("pqa_alm", "npg_pd", "rpg_pd", "npg_dd", "reload_pd", "ppo_lag", "ppqa_alm")


@dataclass(frozen=True)
class DemoOptions:
    """Compare all tabular agents on five small problems and write a report, in two minutes."""

    out: Path = Path("runs/demo")
    """Folder of the results; a second run with the same folder does only what is missing."""
    workers: int = 2
    """Worker processes, one BLAS thread each."""


def demo(options: DemoOptions, console: Console) -> int:
    """Run the demo's comparison and return its exit code."""
    return compare(
        CompareOptions(
            envs=ENVIRONMENTS,
            agents=AGENTS,
            out=options.out,
            seeds=(0, 1),
            evaluations=EVALUATIONS,
            workers=options.workers,
            title="Demo: constrained agents on problems with a known optimum",
        ),
        console,
    )
