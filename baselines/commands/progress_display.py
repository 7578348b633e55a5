"""Shows the progress of one training run on a terminal: return, cost and limit."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from stable_baselines3.common.callbacks import BaseCallback

from baselines.measures.learning_curve import (
    EPISODE_COST,
    EPISODE_RETURN,
    EPISODES,
    cost_columns,
)


class ProgressDisplay(BaseCallback):
    """A bar over the timesteps with averages over the last rollout's episodes, or the last ten.

    Returns and costs have the discounts that the environment declares, and are named so.

    Args:
        console: where it is drawn; nothing is drawn unless it is a terminal.
        title: in front of the bar.
        total: timesteps.
    """

    def __init__(self, console: Console, title: str, total: int) -> None:
        super().__init__()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[measured]}"),
        )
        self._progress = Progress(*columns, TimeRemainingColumn(), console=console, transient=True)
        self._progress.disable = not console.is_terminal
        self._task = self._progress.add_task(escape(title), total=total, measured="")

    def _on_training_start(self) -> None:
        self._progress.start()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self._progress.update(self._task, completed=self.num_timesteps, measured=self._measured())

    def _on_training_end(self) -> None:
        self._progress.stop()

    def stop(self) -> None:
        """Release the terminal, also after a failure."""
        self._progress.stop()

    def _measured(self) -> str:
        logged = self.logger.name_to_value
        if "constraints" not in vars(self.model):  # of another library, which logs no costs
            return ""
        if EPISODE_RETURN not in logged:
            return "no episode has ended yet"
        count = int(logged[EPISODES])
        discount: float = self.model.reward_discount  # type: ignore[attr-defined]
        gain = f"{_named('return', discount)} {_short(logged[EPISODE_RETURN])}"
        words = [f"{count} episode{'s' * (count != 1)}: {gain}"]
        constraints = self.model.constraints  # type: ignore[attr-defined]
        names = [constraint.name for constraint in constraints]
        for constraint, column in zip(constraints, cost_columns(names), strict=True):
            cost = logged[column]
            label = _named("cost", constraint.discount) + column.removeprefix(EPISODE_COST)
            color = "green" if cost <= constraint.limit else "red"
            shown = f"[{color}]{_short(cost)}[/] (limit {constraint.limit:g})"
            words.append(f"{escape(label.replace('/', ' '))} {shown}")
        return "  ".join(words)


def _named(what: str, discount: float) -> str:
    return what if discount == 1.0 else f"discounted {what}"


def _short(number: float) -> str:
    """Return a number with one decimal, or three digits if it is small."""
    return f"{number:.1f}" if abs(number) >= 10 else f"{number:.3g}"
