"""The charts of a training: which columns they show, and what high and low mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from baselines.diagnostics.measured_files import STEPS
from baselines.diagnostics.measured_run import MeasuredRun

MOST_POINTS = 500  # of a curve; more are averaged in groups
WINDOW = 10  # measurements that running means of signal and noise cover


class TrainingCurve(NamedTuple):
    """One line of a chart."""

    name: str
    steps: np.ndarray  # (k,)
    values: np.ndarray  # (k,)


class CurveChart(NamedTuple):
    """A chart with lines over the steps of a training; the first curve stands for it."""

    id: str
    title: str
    guide: str  # what high and low mean, and what to try
    curves: tuple[TrainingCurve, ...]
    lines: tuple[tuple[float, str], ...] = ()  # horizontal, with their names
    log: bool = False


class _Plan(NamedTuple):
    id: str
    title: str
    guide: str
    curves: Callable[[MeasuredRun], Iterator[TrainingCurve]]
    lines: Callable[[MeasuredRun], Sequence[tuple[float, str]]] = lambda run: ()
    log: bool = False


def charts_of(run: MeasuredRun) -> list[CurveChart]:
    """Return the charts for which a training has numbers, in the order of the page."""
    charts = []
    for plan in PLANS:
        curves = tuple(_thinned(one) for one in plan.curves(run) if len(one.steps))
        if curves:
            lines = tuple(plan.lines(run))
            charts.append(CurveChart(plan.id, plan.title, plan.guide, curves, lines, plan.log))
    return charts


def _column(
    run: MeasuredRun, column: str, name: str = "", low: float = -np.inf
) -> Iterator[TrainingCurve]:
    """Yield the curve of a column, if there are numbers; those at or below `low` are left out."""
    steps, values = run.series(column)
    kept = np.isfinite(values) & (values > low)
    if kept.any():
        yield TrainingCurve(name or column.rpartition("/")[2], steps[kept], values[kept])


def _columns(**columns: str) -> Callable[[MeasuredRun], Iterator[TrainingCurve]]:
    """Return a function that yields the curves of columns, by the names of the lines."""

    def curves(run: MeasuredRun) -> Iterator[TrainingCurve]:
        for name, column in columns.items():
            yield from _column(run, column, name.replace("_", " "))

    return curves


def _each_constraint(column: str, what: str) -> Callable[[MeasuredRun], Iterator[TrainingCurve]]:
    """Return a function that yields the curve of each constraint."""

    def curves(run: MeasuredRun) -> Iterator[TrainingCurve]:
        for name, own in run.per_constraint(column):
            yield from _column(run, own, f"{what} {name}".strip())

    return curves


def _critics(run: MeasuredRun) -> Iterator[TrainingCurve]:
    yield from _column(run, "train/explained_variance", "reward")
    yield from _each_constraint("train/cost_explained_variance", "cost")(run)


def _cosines(run: MeasuredRun) -> Iterator[TrainingCurve]:
    for column in run.measures:
        if column.startswith("cosine/"):
            yield from _column(run, column, column.removeprefix("cosine/").replace("/", " and "))


def _noise_scales(run: MeasuredRun) -> Iterator[TrainingCurve]:
    """Yield running means of the noise over running means of the signal."""
    for column in run.measures:
        if not column.startswith("noise_signal"):
            continue
        part = column.removeprefix("noise_signal").lstrip("/") or "loss"
        signal, noise = run.measures[column], run.measures[column.replace("signal", "noise")]
        window = np.ones(min(WINDOW, len(signal)))
        means = [np.convolve(one, window, "valid") for one in (signal, noise)]
        known = means[0] > 0.0
        steps = run.measures[STEPS][len(window) - 1 :]
        yield TrainingCurve(part, steps[known], means[1][known] / means[0][known])


def _eigenvalues(run: MeasuredRun) -> Iterator[TrainingCurve]:
    for place in (1, 2, 3):
        yield from _column(run, f"hessian/value_{place}", f"eigenvalue {place}")


def _rollout(run: MeasuredRun) -> list[tuple[float, str]]:
    sizes = run.all("batch/steps")
    return [(float(np.median(sizes)), "rollout")] if len(sizes) else []


def _full_rank(run: MeasuredRun) -> list[tuple[float, str]]:
    full = run.all("rank/full")
    return [(float(full[0]), "highest possible")] if len(full) else []


def _layer_ranks(run: MeasuredRun) -> Iterator[TrainingCurve]:
    yield from _column(run, "layer_rank/effective", "layer")
    yield from _column(run, "layer_rank/of_a_projection", "a projection")


PLANS: tuple[_Plan, ...] = (
    _Plan(
        "layer_gap", "Gap to the optimum",
        "After the repair; it should fall by orders of magnitude, and a rise while the loss falls "
        "means that the layer hides where the network is going.",
        lambda run: _column(run, "layer/gap", "gap", low=0.0), log=True,
    ),
    _Plan(
        "layer_violation", "Violation in front of the layer",
        "Of the raw outputs: growth means that they drift away behind the layer's back; add "
        "raw_weight or soft_steps.",
        lambda run: _column(run, "layer/raw_violation", "violation", low=0.0), log=True,
    ),
    _Plan(
        "layer_rank", "Directions that the layer passes on",
        "Effective rank of its Jacobian, beside what a true projection passes on: below it the "
        "network cannot learn in all directions that are free.",
        _layer_ranks,
    ),
    _Plan(
        "layer_iterations", "Steps of the layer",
        "More steps mean that outputs start farther away.",
        _columns(steps="layer/iterations"),
    ),
    _Plan(
        "return", "Return",
        "Rises while the agent learns; a fall together with the length below means that "
        "episodes end early.",
        _columns(episode_return="rollout/ep_value_mean", undiscounted="rollout/ep_rew_mean"),
    ),
    _Plan(
        "violation", "Violation of the limits",
        "Mean cost less its limit: it should come down to 0 and stay around or below it; if it "
        "stays above while the price grows, the limit may be out of reach.",
        _each_constraint("constraint/violation", "cost - limit"), lambda run: [(0.0, "limit")],
    ),
    _Plan(
        "price", "Price",
        "Rises while a limit is broken and falls below it; a price that stands still has not "
        "been told of any finished episode.",
        _each_constraint("constraint/weight", "price"),
    ),
    _Plan(
        "share", "What the costs weigh",
        "The price beside the reward: far below 1 it changes little (raise multiplier_lr or "
        "penalty), far above 1 the reward no longer counts.",
        _each_constraint("price_share", "cost"), lambda run: [(1.0, "as much as the reward")],
    ),
    _Plan(
        "length", "Length of episodes",
        "A fall is good where the task can be finished, and a warning where ending early is "
        "only cheap.",
        _columns(steps="rollout/ep_len_mean"),
    ),
    _Plan(
        "cosine", "Conflict of gradients",
        "At 1 reward and cost pull the same way, at -1 each step for one undoes the other: then "
        "only the price decides, and its noise.",
        _cosines, lambda run: [(0.0, "no conflict above")],
    ),
    _Plan(
        "noise", "Noise scale",
        "The batch at which signal and noise are alike: far above the rollout, raise n_steps or "
        "the number of copies; far below, fewer samples would do. Gaps: no signal could be "
        "told.",
        _noise_scales, _rollout, log=True,
    ),
    _Plan(
        "rank", "Rank of the actor",
        "In how many directions of the observation the action changes: near 1 units are "
        "saturated or dead, or too few; lower the rate or widen the network.",
        _columns(mean="rank/effective", lowest="rank/lowest"), _full_rank,
    ),
    _Plan(
        "critics", "What the critics explain",
        "1 is perfect, 0 no better than a constant: then advantages are mostly noise; check "
        "that the observation tells how an episode goes on.",
        _critics, lambda run: [(0.0, "a constant")],
    ),
    _Plan(
        "divergence", "Size of the updates",
        "The divergence of the new policy from the old: below 1e-5 nothing moves, above 0.1 the "
        "rollout no longer tells about the policy; change learning_rate.",
        lambda run: _column(run, "train/approx_kl", "divergence", low=0.0), log=True,
    ),
    _Plan(
        "deviation", "Noise of the actions",
        "Shrinks as the policy becomes sure; near 0 too early it has stopped trying, and growth "
        "means that noise costs nothing.",
        _columns(deviation="train/std"),
    ),
    _Plan(
        "curvature", "Curvature of the loss",
        "Large eigenvalues are steep walls: steps across them overshoot.",
        _eigenvalues,
    ),
    _Plan(
        "sharpness", "Sharpness times learning rate",
        "Gradient descent diverges above 2 along the steepest direction; with Adam its own "
        "scale counts. Well below 2 a higher rate is possible.",
        _columns(plain="hessian/sharpness_rate", with_Adam="hessian/adam_sharpness_rate"),
        lambda run: [(2.0, "edge of stability")],
    ),
    _Plan(
        "observation", "Observations at their clip",
        "Should be near 0: large rare numbers squeeze the usual ones together; bound or "
        "transform the observation.",
        _columns(at_the_clip="observation/clipped", flattened="observation/flat"),
    ),
)  # fmt: skip


def _thinned(curve: TrainingCurve) -> TrainingCurve:
    """Return a curve of at most `MOST_POINTS`, as means of neighbors."""
    count = len(curve.steps)
    if count <= MOST_POINTS:
        return curve
    groups = np.array_split(np.arange(count), MOST_POINTS)
    steps, values = (
        np.array([table[group].mean() for group in groups]) for table in (curve.steps, curve.values)
    )
    return TrainingCurve(curve.name, steps, values)
