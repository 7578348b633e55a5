"""The boards: one per environment, with the fixed numbers that its scores are computed from.

Normalized return = (J - random_return) / (reference_return - random_return), not clipped. The
numbers are in boards.toml, with their source, and never change within a version: a change of
dynamics, costs or references makes a new version, which has new hidden seeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from baselines.names.environments import EnvironmentName, parse_environment_name
from leaderboard.boards.toml_tables import checked_table, tables_in
from safe_envs.contract.cost_signal import ConstraintSpec

EPISODES_PER_POLICY = 100  # hidden episodes of each training seed's policy
RANKED_POLICIES = 5  # with fewer training seeds a submission is shown as a preview
MOST_POLICIES = 10
_Number = Annotated[float, Field(allow_inf_nan=False)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=1)]


class _ConstraintTable(BaseModel):
    """One entry of `constraints` in a board's table."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    limit: _Number
    discount: _Positive
    cost_scale: _Positive


class _BoardTable(BaseModel):
    """A board's table in boards.toml; `Board` explains the fields."""

    model_config = ConfigDict(extra="forbid", strict=True)

    title: str
    version: _Count
    reward_discount: _Positive
    longest_episode: _Count
    random_return: _Number
    reference_return: _Number
    reference: str
    source: str
    about: Annotated[str, Field(min_length=1, max_length=600)]
    constraints: Annotated[list[_ConstraintTable], Field(min_length=1)]


@dataclass(frozen=True)
class Board:
    """One environment's board."""

    env: str  # Gymnasium id
    title: str
    version: int
    constraints: tuple[ConstraintSpec, ...]  # (m,) as the environment declares them
    reward_discount: float
    longest_episode: int  # [steps]
    random_return: float  # of uniformly random actions
    reference_return: float
    reference: str  # what the reference is
    source: str  # where both numbers come from
    cost_scales: tuple[float, ...]  # (m,) divisors of the excess cost
    about: str = ""  # what the task is, one paragraph

    @property
    def slug(self) -> str:
        """The board's name in paths."""
        return EnvironmentName(self.env).slug

    def normalized(self, value: float) -> float:
        """Return a return on the scale where 0 is random and 1 is the reference."""
        return (value - self.random_return) / (self.reference_return - self.random_return)


@cache
def boards() -> dict[str, Board]:
    """Return all boards by environment id, in the order they are shown.

    Raises:
        ValueError: if boards.toml is wrong.
    """
    return parse_boards(files("leaderboard.boards").joinpath("boards.toml").read_text("utf-8"))


def board_of(env: str) -> Board:
    """Return the board of an environment.

    Raises:
        ValueError: if there is none.
    """
    found = boards().get(env)
    if found is None:
        raise ValueError(
            f"{env!r} has no board; the boards are {', '.join(boards())}; evaluate on one of them"
        )
    return found


def parse_boards(text: str) -> dict[str, Board]:
    """Return the boards in the text of a boards.toml, by environment id.

    Raises:
        ValueError: if an environment is not registered, or a field is missing, unknown or wrong;
            it names the board and the field.
    """
    return {env: _board(env, table) for env, table in tables_in(text, "boards.toml").items()}


def _board(env: str, table: dict[str, Any]) -> Board:
    where = f"the board {env!r} in boards.toml"
    try:
        name = parse_environment_name(env)
    except ValueError as error:
        raise ValueError(f"{where} is wrong: {error}") from None
    given = checked_table(_BoardTable, table, where)
    try:
        constraints = tuple(
            ConstraintSpec(each.name, each.limit, each.discount) for each in given.constraints
        )
    except ValueError as error:
        raise ValueError(f"{where} is wrong: {error}") from None
    if not given.reference_return > given.random_return:
        raise ValueError(
            f"{where} has reference_return {given.reference_return} and random_return "
            f"{given.random_return}; the reference has to be better than random actions"
        )
    if not 0.0 < given.reward_discount <= 1.0:
        raise ValueError(
            f"{where} has reward_discount {given.reward_discount}; pass a number in (0, 1]"
        )
    if name.kwargs:
        raise ValueError(f"{where} gives its environment arguments; name a registered id alone")
    return Board(
        env=env,
        title=given.title,
        version=given.version,
        constraints=constraints,
        reward_discount=given.reward_discount,
        longest_episode=given.longest_episode,
        random_return=given.random_return,
        reference_return=given.reference_return,
        reference=given.reference,
        source=given.source,
        cost_scales=tuple(each.cost_scale for each in given.constraints),
        about=given.about,
    )
