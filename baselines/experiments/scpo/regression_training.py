"""The learners of the regression within a band, measured by a second network.

Source: Cao and Borrelli, SCPO (arXiv 2512.13788), section VI-A. All reported values are measured
with a second network, which receives the learner's parameters after every iteration.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch

from agents.flat_parameters import flat_values, set_flat_values
from agents.scpo.certificate import certify
from agents.scpo.residual_network import ResidualNetwork
from baselines.atomic_files import write_json
from baselines.experiments.scpo import variants
from baselines.jobs.processes import run_in_processes
from safe_envs.control.constrained_regression import BOUND, CONSTRAINED, target

Method = Literal["literal", "ours", "soft", "unconstrained"]
ConstraintForm = Literal["each", "max", "count"]

SAMPLES = 64  # of a minibatch
ITERATIONS = {"literal": 800, "ours": 600, "soft": 600, "unconstrained": 600}
SGD_RATE, ADAM_RATE = 0.02, 1e-3
PENALTY = 1.0  # lambda of equation 31
COUNTED, COUNT_LIMIT = 1.3, 0.05  # of the discontinuous constraint
TRACED = 10  # iterations between measurements of the loss
OFF_GRID_POINTS, CURVE_POINTS = 6_001, 601
SMALLEST_CELL = 2.0 * CONSTRAINED / 2**16  # of the certificate
LABELS = {
    "literal": "SCPO as printed",
    "ours": "SCPO, ours",
    "soft": "soft penalty",
    "unconstrained": "unconstrained",
}


@dataclass(frozen=True)
class RegressionSetting:
    """One run."""

    method: Method
    seed: int = 0  # of the initial weights and the samples
    iterations: int = 600  # minibatches
    grid: int = 64  # points on [-3, 3] at which the constraint is measured
    margin: float = 0.0  # narrows the band where the constraint is measured
    bank_size: int = 16  # m of SCPO
    form: ConstraintForm = "each"  # see `constraint_values`
    groups: int = 8  # of a minibatch, for our variant
    momentum: bool = True  # of our variant's optimizer

    @property
    def stem(self) -> str:
        """File name without its ending; different for different settings."""
        return "-".join(f"{value}" for value in asdict(self).values())

    @property
    def label(self) -> str:
        """Name in tables: the method, and what differs from the paper."""
        names = {"grid": "grid", "margin": "margin", "bank_size": "m", "form": "g:"}
        names |= {"groups": "groups", "momentum": "momentum"}
        this, usual = asdict(self), asdict(RegressionSetting(self.method))
        parts = [f"{names[key]} {this[key]}" for key in names if this[key] != usual[key]]
        return ", ".join([LABELS[self.method], *parts])


@dataclass(frozen=True)
class Run:
    """What the second network measured in one run."""

    setting: RegressionSetting
    loss: float  # of the last parameters over the population, by quadrature
    max_constraint: float  # largest entry of g after any iteration, the margin included
    violations: int  # iterations after which g was positive somewhere
    increases: int  # iterations that raised the loss on their own minibatch
    null_steps: int  # iterations that changed nothing
    projected: int  # iterations whose step was not the raw one
    evaluations: int  # of g
    env_steps: int  # samples drawn and points at which g was evaluated
    off_grid: float  # largest |y| - 1.4 on 6,001 points of [-3, 3] at the end
    certified: float  # share of [-3, 3] on which |y| <= 1.4 is proven at the end
    seconds: float  # CPU time of the learner
    losses: list[float]  # over the population, every 10 iterations
    violation: list[float]  # ||relu(g)||_1 / points of the grid, after every iteration
    curve: list[float]  # y at the end, on 601 points of [-4, 4]


def grid_points(count: int) -> np.ndarray:
    """Return evenly spaced x on [-3, 3], (count,)."""
    return np.linspace(-CONSTRAINED, CONSTRAINED, count)


def constraint_values(answers: np.ndarray, margin: float, form: ConstraintForm) -> np.ndarray:
    """Return g from the answers y on the grid (n,); |y| - 1.4 + margin for each (equation 29)."""
    each = np.abs(answers) - BOUND + margin
    if form == "each":
        return each
    worst = each.max()
    if form == "max":
        return np.array([worst])
    return np.array([np.mean(np.abs(answers) > COUNTED) - COUNT_LIMIT, worst])


def population_loss(answer: Callable[[np.ndarray], np.ndarray], points: int = 24_001) -> float:
    """Return E[(f(x) - y(x))^2] over x ~ N(0, 1), by quadrature on [-6, 6]."""
    x = np.linspace(-6.0, 6.0, points)
    mass = np.exp(-0.5 * x * x)
    return float(mass @ (target(x) - answer(x)) ** 2 / mass.sum())


def answers(network: ResidualNetwork, x: np.ndarray) -> np.ndarray:
    """Return y for x, both (n,)."""
    with torch.no_grad():
        found: np.ndarray = network(torch.from_numpy(x)[:, None])[:, 0].numpy()
    return found


class ProjectedLearner:
    """SCPO, with the settings of `variants`."""

    def __init__(self, setting: RegressionSetting, network: ResidualNetwork) -> None:
        if setting.method == "literal":
            self._variant = variants.literal(SGD_RATE, setting.bank_size)
        else:
            self._variant = variants.ours(
                setting.groups, ADAM_RATE, setting.bank_size, setting.momentum
            )
        self._network = network
        grid = grid_points(setting.grid)
        self._projection = self._variant.make(
            network.parameters(),
            lambda: constraint_values(answers(network, grid), setting.margin, setting.form),
        )
        self.evaluations = self._projection.evaluations

    def step(self, x: torch.Tensor, y: torch.Tensor) -> tuple[bool, bool]:
        """Take a safe step."""

        def loss(index: torch.Tensor | slice = slice(None)) -> torch.Tensor:
            return (self._network(x[index]) - y[index]).square().mean()

        report = self._projection.step(loss, self._variant.parts(x[:, 0]))
        self.evaluations = self._projection.evaluations
        return report.accepted, report.projected


class PenaltyLearner:
    """Adam on the loss plus lambda 1' relu(g) (SCPO, equation 31), or on the loss alone."""

    def __init__(self, setting: RegressionSetting, network: ResidualNetwork) -> None:
        self._network = network
        self._grid = torch.from_numpy(grid_points(setting.grid))[:, None]
        self._bound = BOUND - setting.margin
        self._is_penalized = setting.method == "soft"
        self._optimizer = torch.optim.Adam(network.parameters(), ADAM_RATE)
        self.evaluations = 0

    def step(self, x: torch.Tensor, y: torch.Tensor) -> tuple[bool, bool]:
        """Take a step of Adam."""
        loss = (self._network(x) - y).square().mean()
        if self._is_penalized:
            outside = torch.relu(self._network(self._grid).abs() - self._bound)
            loss = loss + PENALTY * outside.sum()
            self.evaluations += 1
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        return True, False


def run(setting: RegressionSetting) -> Run:
    """Learn, measure after every iteration, and return the measurements."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(setting.seed)
        network, second = ResidualNetwork(1, 1).double(), ResidualNetwork(1, 1).double()
    samples = torch.Generator().manual_seed(1000 + setting.seed)
    is_scpo = setting.method in ("literal", "ours")
    learner = (ProjectedLearner if is_scpo else PenaltyLearner)(setting, network)
    audit, grid = partial(answers, second), grid_points(setting.grid)
    counts = {"violations": 0, "increases": 0, "null_steps": 0, "projected": 0}
    _load(second, network)
    losses, violation, worst, seconds = [population_loss(audit, 1_201)], [], -np.inf, 0.0
    for iteration in range(1, setting.iterations + 1):
        x = torch.randn(SAMPLES, 1, dtype=torch.float64, generator=samples)
        asked, told = x[:, 0].numpy(), target(x[:, 0].numpy())
        before = np.square(audit(asked) - told).mean()
        started = time.process_time()
        moved, projected = learner.step(x, torch.from_numpy(told)[:, None])
        seconds += time.process_time() - started
        _load(second, network)
        largest = constraint_values(audit(grid), setting.margin, setting.form).max()
        each = constraint_values(audit(grid), setting.margin, "each")
        worst = max(worst, float(largest))
        violation.append(float(np.maximum(each, 0.0).mean()))
        counts["violations"] += int(largest > 0.0)
        counts["increases"] += int(np.square(audit(asked) - told).mean() > before)
        counts["null_steps"] += not moved
        counts["projected"] += projected
        if iteration % TRACED == 0:
            losses.append(population_loss(audit, 1_201))
    ends = torch.tensor([[-CONSTRAINED], [CONSTRAINED]], dtype=torch.float64)
    return Run(
        setting,
        loss=population_loss(audit),
        max_constraint=worst,
        **counts,
        evaluations=learner.evaluations,
        env_steps=setting.iterations * SAMPLES + learner.evaluations * setting.grid,
        off_grid=float(np.abs(audit(grid_points(OFF_GRID_POINTS))).max() - BOUND),
        certified=certify(second, ends[:1], ends[1:], BOUND, SMALLEST_CELL).certified_share,
        seconds=seconds,
        losses=losses,
        violation=violation,
        curve=audit(np.linspace(-4.0, 4.0, CURVE_POINTS)).tolist(),
    )


def finished_runs(settings: Sequence[RegressionSetting], out: Path, workers: int = 1) -> list[Run]:
    """Return a run for each setting, from its file in `out` or, if there is none, made now.

    Raises:
        RuntimeError: if a run fails in a worker process.
    """
    out.mkdir(parents=True, exist_ok=True)
    files = {setting: out / f"{setting.stem}.json" for setting in settings}
    missing = [_Work(setting, file) for setting, file in files.items() if not file.exists()]
    if workers > 1:
        for work, reason in run_in_processes(_run_in_worker, missing, workers):
            if reason:
                raise RuntimeError(f"the run {work.file.stem} failed: {reason}")
    else:
        for work in missing:
            _run_into(work)
    stored = [json.loads(files[setting].read_text()) for setting in settings]
    return [Run(**(each | {"setting": RegressionSetting(**each["setting"])})) for each in stored]


def _load(second: ResidualNetwork, network: ResidualNetwork) -> None:
    set_flat_values(list(second.parameters()), flat_values(list(network.parameters())))


class _Work(NamedTuple):
    setting: RegressionSetting
    file: Path


def _run_in_worker(work: _Work) -> None:
    torch.set_num_threads(1)
    _run_into(work)


def _run_into(work: _Work) -> None:
    write_json(work.file, asdict(run(work.setting)))
