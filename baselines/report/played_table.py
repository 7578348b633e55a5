"""The table of played episodes: return, costs with their limits, and length of each."""

from __future__ import annotations

from rich.table import Table

from agents.evaluation_result import EvaluationResult
from baselines.report.printable import plain
from baselines.report.terminal_table import name_columns, number_columns


def played_table(result: EvaluationResult) -> Table:
    """Return a table with a row per episode and constraint, and the means of several episodes.

    Sums with declared discounts, to which limits refer, are named with them, and plain sums stand
    beside them.

    Args:
        result: the episodes.
    """
    rewards_discounted = result.reward_discount != 1.0
    discounts = [constraint.discount for constraint in result.constraints]
    costs_discounted = any(discount != 1.0 for discount in discounts)
    table = Table()
    table.add_column("episode", no_wrap=True)
    if len(discounts) > 1:
        name_columns(table, "constraint")
    heads = [_head("return", [result.reward_discount])]
    heads += ["plain\nreturn"] if rewards_discounted else []
    heads += [_head("cost", discounts)] + (["plain\ncost"] if costs_discounted else [])
    number_columns(table, *heads, "limit", "length")
    rows = [(str(i + 1), slice(i, i + 1)) for i in range(result.episodes)]
    rows += [("mean", slice(None))] if result.episodes > 1 else []
    several = len(discounts) > 1
    for label, chosen in rows:
        value = [f"{result.returns[chosen].mean():.5g}"]
        value += [f"{result.plain_returns[chosen].mean():.5g}"] if rewards_discounted else []
        length = f"{result.lengths[chosen].mean():.5g}"
        for i, constraint in enumerate(result.constraints):
            cost = float(result.costs[chosen, i].mean())
            color = "red" if cost > constraint.limit else "green"
            costs = [f"[{color}]{cost:.5g}[/]"]
            undiscounted = result.plain_costs[chosen, i].mean()
            costs += [f"{undiscounted:.5g}"] if costs_discounted else []
            names = [label, plain(constraint.name)] if several else [label]
            table.add_row(*names, *value, *costs, f"{constraint.limit:g}", length)
        if not discounts:
            table.add_row(label, *value, "-", "-", length)
    return table


def _head(name: str, discounts: list[float]) -> str:
    """Return the heading of a column with its discounts, if there are any."""
    different = sorted(set(discounts) - {1.0})
    return f"{name}\n(discount {', '.join(f'{d:g}' for d in different)})" if different else name
