"""The rows that every board opens with: which agents, how long they train, and what is exact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from leaderboard.boards.board import boards
from leaderboard.boards.toml_tables import checked_table, tables_in

AGENTS = ("PPO", "PPOLag", "PPOALM", "SPMAALM", "CPO")  # PPO does not know the constraint
FILE = "baselines.toml"
_Count = Annotated[int, Field(ge=1)]


class _BudgetTable(BaseModel):
    """A board's table in baselines.toml; `BaselineBudget` explains the fields."""

    model_config = ConfigDict(extra="forbid", strict=True)

    total_timesteps: _Count
    evaluation_episodes: _Count
    settings: list[str] = []
    exact: str = ""


@dataclass(frozen=True)
class BaselineBudget:
    """How the baselines of one board are made."""

    env: str  # Gymnasium id
    total_timesteps: int  # of each training
    evaluation_episodes: int  # of each trained policy, in each mode
    settings: tuple[str, ...]  # argument=value for all agents, or agent.argument=value
    exact: str  # a kind of `baselines.policy_export.exact_policies`, empty if there is none

    def overrides(self, agents: Sequence[str]) -> tuple[str, ...]:
        """Return the settings of these agents as agent.argument=value."""
        found = []
        for text in self.settings:
            agent, point, _ = text.partition("=")[0].rpartition(".")
            if not point:
                found += [f"{each}.{text}" for each in agents]
            elif agent in agents:
                found.append(text)
        return tuple(found)

    def scaled_timesteps(self, scale: float) -> int:
        """Return the steps of each training, at least one."""
        return max(1, round(scale * self.total_timesteps))


@cache
def baseline_budgets() -> dict[str, BaselineBudget]:
    """Return the budgets by environment id, in the order of the boards that have one.

    Raises:
        ValueError: if baselines.toml is wrong.
    """
    text = files("leaderboard.boards").joinpath(FILE).read_text("utf-8")
    found = parse_budgets(text)
    return {env: found[env] for env in boards() if env in found}


def budget_of(env: str) -> BaselineBudget:
    """Return the budget of a board.

    Raises:
        ValueError: if it has none.
    """
    found = baseline_budgets().get(env)
    if found is None:
        raise ValueError(
            f"{env!r} has no baselines; boards with baselines are {', '.join(baseline_budgets())}; "
            f"add a table to leaderboard/boards/{FILE}"
        )
    return found


def parse_budgets(text: str) -> dict[str, BaselineBudget]:
    """Return the budgets in the text of a baselines.toml, by environment id.

    Raises:
        ValueError: if an environment has no board, or a field is missing, unknown or wrong; it
            names the table and the field.
    """
    return {env: _budget(env, table) for env, table in tables_in(text, FILE).items()}


def _budget(env: str, table: Any) -> BaselineBudget:
    where = f"the table {env!r} in {FILE}"
    if env not in boards():
        raise ValueError(f"{where} is of no board; the boards are {', '.join(boards())}")
    given = checked_table(_BudgetTable, table, where)
    return BaselineBudget(
        env,
        given.total_timesteps,
        given.evaluation_episodes,
        tuple(given.settings),
        given.exact,
    )
