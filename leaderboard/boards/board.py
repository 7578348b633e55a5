"""The boards: one per environment, with the frozen numbers its scores are measured by.

Normalised return = (J - random_return) / (reference_return - random_return), not clipped. The
numbers stand in boards.toml with their source and never change under a version: a change of
dynamics, costs or references is a new version, which has other hidden seeds.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from baselines.names.environments import EnvironmentName
from safe_envs.contract.cost_signal import ConstraintSpec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

EPISODES_PER_POLICY = 100  # hidden episodes of each training seed's policy
RANKED_POLICIES = 5  # fewer training seeds are shown as a preview
MOST_POLICIES = 10


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
    cost_scales: tuple[float, ...]  # (m,) what excess cost is divided by

    @property
    def slug(self) -> str:
        """A file name for it."""
        return EnvironmentName(self.env).slug

    def normalised(self, value: float) -> float:
        """Return a return as part of the way from random to the reference."""
        return (value - self.random_return) / (self.reference_return - self.random_return)


@cache
def boards() -> dict[str, Board]:
    """Return all boards by environment id, in the order they are shown."""
    tables = tomllib.loads(files("leaderboard.boards").joinpath("boards.toml").read_text("utf-8"))
    return {env: _board(env, table) for env, table in tables.items()}


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


def _board(env: str, table: dict) -> Board:
    constraints = [
        ConstraintSpec(entry["name"], entry["limit"], entry["discount"])
        for entry in table["constraints"]
    ]
    return Board(
        env=env,
        title=table["title"],
        version=table["version"],
        constraints=tuple(constraints),
        reward_discount=table["reward_discount"],
        longest_episode=table["longest_episode"],
        random_return=table["random_return"],
        reference_return=table["reference_return"],
        reference=table["reference"],
        source=table["source"],
        cost_scales=tuple(entry["cost_scale"] for entry in table["constraints"]),
    )
