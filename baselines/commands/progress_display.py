"""Shows the progress of one training run on a terminal: return, cost and limit."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from stable_baselines3.common.callbacks import BaseCallback

from baselines.measures.learning_curve import EPISODE_COST, cost_columns


class ProgressDisplay(BaseCallback):
    """A bar over the timesteps with averages over recently finished episodes.

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
        ended = self.model.ep_info_buffer
        if not ended:
            return "no episode has ended yet"
        words = [f"return {sum(episode['r'] for episode in ended) / len(ended):.1f}"]
        constraints = self.model.constraints  # type: ignore[attr-defined]
        names = [constraint.name for constraint in constraints]
        for constraint, column in zip(constraints, cost_columns(names), strict=True):
            cost = self.logger.name_to_value.get(column)
            label = column.replace(EPISODE_COST, "cost").replace("/", " ")
            if cost is not None:
                color = "green" if cost <= constraint.limit else "red"
                words.append(f"{escape(label)} [{color}]{cost:.2f}[/] (limit {constraint.limit:g})")
        return "  ".join(words)
