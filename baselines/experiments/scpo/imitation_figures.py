"""Figures 4 and 5 of SCPO: trajectories and backward reachable sets of three policies."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from baselines.experiments.scpo.imitation_problem import state_grid
from baselines.report.plots import write_png
from baselines.report.style import AGENT_STYLES, LIMIT_COLOR, LIMIT_DASHES
from safe_envs.control.double_integrator_reference import (
    BOX,
    TARGET_RADIUS,
    Policy,
    in_controllable_set,
    inside_box,
    malicious_expert,
    next_states,
    reaches_target,
    safe_controller,
)

SAFE, LEARNED, EXPERT = "safe controller", "learned policy", "expert"
LINES: Mapping[str, dict[str, Any]] = {
    SAFE: {"color": "#555555", "linestyle": (0, (4.0, 2.0)), "linewidth": 1.6},
    LEARNED: {"color": AGENT_STYLES["SCPO"].color, "linestyle": "-", "linewidth": 2.6},
    EXPERT: {"color": AGENT_STYLES["PPOLag"].color, "linestyle": (0, (1.0, 1.2)), "linewidth": 2.2},
}
SETS = {SAFE: r"$R_{safe}$", LEARNED: r"$R_\theta$", EXPERT: r"$R_\beta$"}
CONTROLLABLE_COLOR = "#E4E8EE"
STARTS = ((-11.0, 0.0), (-11.0, 6.5))  # in R_safe; the expert leads the second out of the box
LONGEST = 1000  # steps of a trajectory
SET_GRID = 151  # states per axis


class Trajectory(NamedTuple):
    """States from a start until the target, or the first one outside the box."""

    states: np.ndarray  # (n, 2)
    cost: float  # sum of x'x + u^2, inf outside the box


def draw_trajectories(policy: Policy, file: Path) -> None:
    """Write a PNG with the trajectories of safe controller, policy and noise-free expert."""
    figure = Figure(figsize=(11.0, 5.2), layout="constrained")
    figure.suptitle("Trajectories until |x| <= 0.01", fontweight="bold")
    for axes, start in zip(figure.subplots(1, 2), STARTS, strict=True):
        for name, one in _policies(policy).items():
            trajectory = follow(one, np.array(start))
            label = f"{name}: cost {trajectory.cost:,.0f}"
            if math.isinf(trajectory.cost):
                label = f"{name}: leaves the box"
                axes.plot(*trajectory.states[-1], "x", color=LINES[name]["color"], markersize=11)
            axes.plot(*trajectory.states.T, label=label, **LINES[name])
        axes.plot(*start, "o", color="black", markersize=6)
        axes.plot(0.0, 0.0, "+", color="black", markersize=11)
        axes.set_title(f"from position {start[0]:g}, velocity {start[1]:g}", fontsize=11)
        axes.set(xlim=(-16.0, 18.0), ylim=(-8.0, 8.0))
        _decorate(axes)
        axes.legend(loc="lower left", fontsize=9, framealpha=1.0)
    write_png(figure, file, dpi=150)


def draw_reachable_sets(policy: Policy, file: Path) -> None:
    """Write a PNG with the sets from which each policy reaches the target inside the box."""
    states = state_grid(SET_GRID)
    sets = {name: reaches_target(one, states) for name, one in _policies(policy).items()}
    x, y = states.reshape(SET_GRID, SET_GRID, 2).transpose(2, 0, 1)
    figure = Figure(figsize=(8.0, 5.6), layout="constrained")
    axes = figure.subplots()
    controllable = in_controllable_set(states).reshape(x.shape).astype(np.float64)
    axes.contourf(x, y, controllable, levels=[0.5, 1.5], colors=[CONTROLLABLE_COLOR])
    handles: list[Any] = [Patch(color=CONTROLLABLE_COLOR, label=r"$C_\infty$: can be kept inside")]
    for name in (LEARNED, EXPERT, SAFE):
        line = LINES[name]
        inside = sets[name].reshape(x.shape).astype(np.float64)
        axes.contour(
            x,
            y,
            inside,
            levels=[0.5],
            colors=[line["color"]],
            linestyles=[line["linestyle"]],
            linewidths=[line["linewidth"]],
        )
        lost = int((sets[SAFE] & ~sets[name]).sum())
        gained = int((sets[name] & ~sets[SAFE]).sum())
        size = f"{int(inside.sum()):,} states" if name == SAFE else f"{lost} lost, {gained} gained"
        label = f"{SETS[name]}, {name}: {size}"
        handles.append(Line2D([], [], label=label, **line))
    axes.plot(0.0, 0.0, "+", color="black", markersize=11)
    axes.set(xlim=(-BOX - 1.0, BOX + 1.0), ylim=(-9.5, 12.5))
    _decorate(axes)
    axes.set_title(
        f"States that reach the target inside the box, of a {SET_GRID} x {SET_GRID} grid",
        fontweight="bold",
    )
    axes.legend(handles=handles, loc="upper right", fontsize=9, ncols=2, framealpha=1.0)
    write_png(figure, file, dpi=150)


def follow(policy: Policy, start: np.ndarray) -> Trajectory:
    """Return the trajectory from a start (2,) with its cost."""
    path, cost = [start], 0.0
    while np.hypot(*path[-1]) > TARGET_RADIUS and len(path) <= LONGEST:
        x = path[-1][None]
        action = policy(x)
        cost += float((x * x).sum() + action[0] ** 2)
        path.append(next_states(x, action)[0])
        if not inside_box(path[-1][None])[0]:
            cost = math.inf
            break
    return Trajectory(np.array(path), cost)


def _policies(policy: Policy) -> dict[str, Policy]:
    return {SAFE: safe_controller, LEARNED: policy, EXPERT: malicious_expert}


def _decorate(axes: Axes) -> None:
    box = Rectangle((-BOX, -BOX), 2 * BOX, 2 * BOX, fill=False, ec=LIMIT_COLOR, ls=LIMIT_DASHES)
    axes.add_patch(box)
    axes.set(xlabel="position [m]", ylabel="velocity [m/s]")
    axes.grid(True, color="#EEEEEE", linewidth=0.8)
    axes.set_axisbelow(True)
