"""A row's place on a board."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from leaderboard.scores.near_copies import CopyFindings
from leaderboard.scores.row_score import RowScore


class Tier(str, Enum):
    """First key of the ranking, best first."""

    SAFE = "safe"  # the upper bound of every constraint's mean cost is within its limit
    FEASIBLE = "feasible"  # every mean cost is within its limit
    VIOLATING = "violating"
    INVALID = "invalid"  # a policy failed: not finite, wrong shape, out of time


class Feasibility(str, Enum):
    """The statistic that has to be within the limit."""

    MEAN = "mean"
    P95 = "p95"  # the ranking by tails


@dataclass(frozen=True)
class Candidate:
    """An evaluated submission, to be ranked."""

    id: int
    score: RowScore | None  # None if the submission is invalid
    training_steps: int  # of one policy
    submitted_at: float  # [s] since 1970
    withdrawn: bool = False
    copies: CopyFindings | None = None  # None if its policies are not compared with others yet


@dataclass(frozen=True)
class RankedRow:
    """A candidate with its rank; previews, withdrawn and invalid ones have none."""

    candidate: Candidate
    tier: Tier
    preview: bool  # fewer than five policies, or some of them act like earlier ones
    rank: int | None  # 1 is best
    rank_interval: tuple[int, int] | None  # 95 %
