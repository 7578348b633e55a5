"""Regression within a band: SCPO, a soft penalty and no constraint at all.

    python -m baselines.experiments.constrained_regression --variant all --seeds 0 1 2 3 4

Learn f(x) = sin x + sin 3x + sin 7x from 64 fresh x ~ N(0, 1) per iteration, with |y| <= 1.4 on a
grid over [-3, 3], starting from y = 0. Source: Cao and Borrelli, SCPO (arXiv 2512.13788), section
VI-A and figures 2 and 3. What is reported is measured by a second network, which is loaded with the
learner's parameters after every iteration.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from agents.scpo.certificate import certify
from agents.scpo.residual_network import ResidualNetwork
from baselines.experiments import scpo_variants
from baselines.plot_style import LIMIT_COLOR, LIMIT_DASHES
from baselines.plots import clear_frame, label_ends
from safe_envs.constrained_regression import BOUND, CONSTRAINED, optimal_loss, target

Method = Literal["literal", "ours", "soft", "unconstrained"]
ConstraintForm = Literal["each", "max", "count"]

SAMPLES = 64  # of a minibatch
ITERATIONS = {"literal": 800, "ours": 600, "soft": 600, "unconstrained": 600}
SGD_RATE, ADAM_RATE = 0.02, 1e-3
GROUPS = 16  # of a minibatch, for our variant
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
COLORS = {"literal": "#0072B2", "ours": "#009E73", "soft": "#D55E00", "unconstrained": "#555555"}
FORMATS = {
    **{"its": "{:.0f}", "loss": "{:.4f}", "max g": "{:+.1e}", "violate": "{:.1f} %"},
    **{"loss rises": "{:.0f}", "null": "{:.0f}", "projected": "{:.0f}", "g evals": "{:,.0f}"},
    **{"env steps": "{:,.0f}", "off grid": "{:+.4f}", "certified": "{:.4f} %", "CPU s": "{:.0f}"},
}


@dataclass(frozen=True)
class Setting:
    """One run."""

    method: Method
    seed: int = 0  # of the first weights and the samples
    iterations: int = 600  # minibatches
    grid: int = 64  # points on [-3, 3] at which the constraint is measured
    margin: float = 0.0  # by which the band is narrowed where it is measured
    bank_size: int = 8  # m of SCPO
    form: ConstraintForm = "each"  # see `constraint_values`

    @property
    def stem(self) -> str:
        """File name without its ending; different for different settings."""
        return "-".join(f"{value}" for value in asdict(self).values())

    @property
    def label(self) -> str:
        """Name in tables: the method, and what is not as in the paper."""
        names = {"grid": "grid", "margin": "margin", "bank_size": "m", "form": "g:"}
        this, usual = asdict(self), asdict(Setting(self.method))
        parts = [f"{names[key]} {this[key]}" for key in names if this[key] != usual[key]]
        return ", ".join([LABELS[self.method], *parts])


@dataclass(frozen=True)
class Run:
    """What the second network measured in one run."""

    setting: Setting
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
    """SCPO, with the settings of `scpo_variants`."""

    def __init__(self, setting: Setting, network: ResidualNetwork) -> None:
        if setting.method == "literal":
            self._variant = scpo_variants.literal(SGD_RATE, setting.bank_size)
        else:
            self._variant = scpo_variants.ours(GROUPS, ADAM_RATE, setting.bank_size)
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
        return report.accepted, report.accepted and report.projected


class PenaltyLearner:
    """Adam on the loss plus lambda 1' relu(g) (SCPO, equation 31), or on the loss alone."""

    def __init__(self, setting: Setting, network: ResidualNetwork) -> None:
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


def run(setting: Setting) -> Run:
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


def finished_runs(settings: Sequence[Setting], out: Path, workers: int = 1) -> list[Run]:
    """Return a run for each setting, from its file in `out` or, if there is none, made now."""
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / f"{setting.stem}.json" for setting in settings]
    missing = [i for i, path in enumerate(paths) if not path.exists()]
    given = [settings[i] for i in missing], [paths[i] for i in missing]
    if workers > 1:
        spawn = get_context("spawn")
        with ProcessPoolExecutor(workers, spawn, torch.set_num_threads, (1,)) as pool:
            list(pool.map(_run_into, *given))
    else:
        list(map(_run_into, *given))
    stored = [json.loads(path.read_text()) for path in paths]
    return [Run(**(each | {"setting": Setting(**each["setting"])})) for each in stored]


def results_table(title: str, runs: Sequence[Run]) -> Table:
    """Return a row per run; before several seeds their means, but the largest of max g."""
    table = Table("method", title=title, box=MARKDOWN)
    for heading in ("seed", *FORMATS):
        table.add_column(heading, justify="right", no_wrap=True)
    groups: dict[Setting, list[Run]] = {}
    for each in runs:
        groups.setdefault(replace(each.setting, seed=0), []).append(each)
    for setting, group in groups.items():
        rows = np.array([_figures(each) for each in group])
        if len(group) > 1:
            mean = rows.mean(axis=0)
            mean[2] = rows[:, 2].max()
            table.add_row(setting.label, f"mean of {len(group)}", *_formatted(mean))
        for each, row in zip(group, rows, strict=True):
            table.add_row(setting.label, f"{each.setting.seed}", *_formatted(row))
    return table


def draw_curves(runs: Sequence[Run], path: Path) -> None:
    """Write figure 2: f, the band and what each method has learnt from its first seed."""
    x = np.linspace(-4.0, 4.0, CURVE_POINTS)
    first = {each.setting.method: each for each in reversed(runs)}
    figure = Figure(figsize=(8.2, 4.4), layout="constrained")
    axes = figure.subplots()
    axes.plot(x, target(x), color="#999999", lw=1.2, ls=(0, (1, 1)), label="f")
    for method in [name for name in LABELS if name in first]:
        axes.plot(x, first[method].curve, color=COLORS[method], lw=1.6, label=LABELS[method])
    for side in (-1.0, 1.0):
        ends, bounds = [-CONSTRAINED, CONSTRAINED], [side * BOUND] * 2
        axes.fill_between(ends, bounds, side * 3.0, color=LIMIT_COLOR, alpha=0.07, lw=0)
        axes.plot(ends, bounds, color=LIMIT_COLOR, ls=LIMIT_DASHES, lw=1.1)
    clear_frame(axes)
    axes.set(xlim=(-4.0, 4.0), ylim=(-3.0, 3.0), xlabel="x", ylabel="y")
    axes.set_title("Learnt with |y| <= 1.4 on [-3, 3], first seed", loc="left", fontsize=11)
    figure.legend(loc="outside lower center", ncols=5, frameon=False)
    figure.savefig(path, dpi=150)


def draw_traces(runs: Sequence[Run], path: Path) -> None:
    """Write figure 3: loss and violation over the iterations, mean and range over the seeds."""
    figure = Figure(figsize=(11.0, 3.9))
    figure.subplots_adjust(left=0.06, right=0.865, bottom=0.13, top=0.9, wspace=0.56)
    loss_axes, violation_axes = figure.subplots(1, 2)
    _draw_panel(loss_axes, {each.setting: each.losses for each in runs}, TRACED)
    _draw_panel(violation_axes, {each.setting: each.violation for each in runs}, 1)
    figure.savefig(path, dpi=150)


def _draw_panel(axes: Axes, traces: dict[Setting, list[float]], spacing: int) -> None:
    ends, colors = {}, {}
    for method in dict.fromkeys(setting.method for setting in traces):
        values = np.array([trace for setting, trace in traces.items() if setting.method == method])
        at = spacing * np.arange(values.shape[1]) + (spacing == 1)  # after the first step
        color, band = COLORS[method], (values.min(axis=0), values.max(axis=0))
        axes.fill_between(at, *band, color=color, alpha=0.15, lw=0)
        axes.plot(at, values.mean(axis=0), color=color, lw=1.6)
        ends[LABELS[method]], colors[LABELS[method]] = values[:, -1].mean(), color
    clear_frame(axes)
    axes.set(xlabel="iteration", xlim=(0, max(setting.iterations for setting in traces)))
    if spacing > 1:
        axes.set_title("loss over the population", loc="left", fontsize=10.5)
        axes.set_yscale("log")
        axes.axhline(optimal_loss(), color=LIMIT_COLOR, ls=LIMIT_DASHES, lw=1.1)
        ends["best in the band"], colors["best in the band"] = optimal_loss(), LIMIT_COLOR
    else:
        title = r"violation: $\|\,\mathrm{relu}(g)\,\|_1$ / points"
        axes.set_title(title, loc="left", fontsize=10.5)
        axes.set_yscale("symlog", linthresh=1e-3)
        axes.set_ylim(bottom=-2e-4)
    label_ends(axes, ends, colors, 0.07)


def _load(second: ResidualNetwork, network: ResidualNetwork) -> None:
    flat = parameters_to_vector(network.parameters()).detach().clone()
    vector_to_parameters(flat, second.parameters())


def _run_into(setting: Setting, path: Path) -> None:
    partly = path.with_suffix(".part")
    partly.write_text(json.dumps(asdict(run(setting))))
    partly.replace(path)


def _figures(run: Run) -> list[float]:
    """Return the numbers of a row of the table."""
    share = 100.0 / run.setting.iterations
    steps = [run.violations * share, run.increases, run.null_steps, run.projected]
    costs = [run.evaluations, run.env_steps, run.off_grid, 100.0 * run.certified, run.seconds]
    return [run.setting.iterations, run.loss, run.max_constraint, *steps, *costs]


def _formatted(row: Sequence[float]) -> list[str]:
    return [form.format(value) for form, value in zip(FORMATS.values(), row, strict=True)]


@dataclass(frozen=True)
class Arguments:
    """Learn the regression of SCPO's section VI-A, print a table and draw figures 2 and 3."""

    variant: Literal["literal", "ours", "all"] = "all"
    """The algorithm as printed, this project's, or both."""
    seeds: tuple[int, ...] = (0,)
    """Of the first weights and the samples."""
    iterations: int | None = None
    """Minibatches; 800 for the literal variant and 600 for all others if left out."""
    grid: int = 64
    """Points on [-3, 3] at which the constraint is measured."""
    margin: float = 0.0
    """By which the band is narrowed where it is measured."""
    baselines: bool = True
    """Whether to run the soft penalty and the unconstrained learner as well."""
    out: Path = Path("runs/constrained_regression")
    """Folder of the figures and of one JSON file per run; finished runs are not repeated."""
    workers: int = 1
    """Processes."""


def main(arguments: Arguments) -> None:
    """Run what is missing, print the table and draw the figures."""
    variants: list[Method] = ["literal", "ours"]
    methods = [name for name in variants if arguments.variant in ("all", name)]
    methods += ["soft", "unconstrained"] if arguments.baselines else []
    measured = arguments.grid, arguments.margin
    settings = [
        Setting(method, seed, arguments.iterations or ITERATIONS[method], *measured)
        for method in methods
        for seed in arguments.seeds
    ]
    runs = finished_runs(settings, arguments.out, arguments.workers)
    title = f"Regression within a band, in which the least loss is {optimal_loss():.5f}"
    Console(width=220).print(results_table(title, runs))
    draw_curves(runs, arguments.out / "learnt_curve.png")
    draw_traces(runs, arguments.out / "loss_and_violation.png")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(tyro.cli(Arguments))
