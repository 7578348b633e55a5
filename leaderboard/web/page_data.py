"""What each page shows, as plain data, and where the pages get it from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from leaderboard.boards.board import Board
from leaderboard.scores.ranked_row import Feasibility, RankedRow
from leaderboard.scores.row_score import Interval
from leaderboard.scores.scored_episodes import ScoredEpisodes
from leaderboard.store.seasons import SeasonState
from leaderboard.store.submission_store import State
from leaderboard.submissions.metadata import Metadata


@dataclass(frozen=True)
class ShownSeason:
    """A span of time in which all submissions meet the same hidden episodes."""

    number: int  # 1, 2, ...
    state: SeasonState
    opened_at: float  # [s] since 1970
    closed_at: float | None  # [s] since 1970
    secret_sha256: str
    secret: str | None  # None until it is revealed
    seed_rule: str  # how an episode's seed follows from the secret, one sentence
    replay_command: str  # what repeats the evaluation once the secret is known


@dataclass(frozen=True)
class ShownSubmission:
    """What is known of a submission without its score."""

    id: int
    season: int
    metadata: Metadata  # its contact is shown nowhere
    submitted_at: float  # [s] since 1970
    state: State
    episodes_done: int = 0
    episodes_total: int = 0
    reason: str = ""  # why it is invalid or failed


@dataclass(frozen=True)
class BoardRow:
    """A line of the table."""

    submission: ShownSubmission
    ranked: RankedRow | None  # None while it is queued or running


@dataclass(frozen=True)
class BoardPage:
    """One board in one season; rows stand in the order of the ranking, unranked ones last."""

    board: Board
    season: ShownSeason
    feasibility: Feasibility
    rows: tuple[BoardRow, ...]


@dataclass(frozen=True)
class Curve:
    """The training of one policy as its submitter reported it."""

    seed: int
    steps: tuple[float, ...]  # (n,) rising
    returns: tuple[float, ...]  # (n,)
    costs: tuple[tuple[float, ...], ...]  # (m, n), one line per constraint


@dataclass(frozen=True)
class SubmissionPage:
    """One submission; its row counts by mean cost, as on the main board."""

    board: Board
    season: ShownSeason
    row: BoardRow
    curves: tuple[Curve, ...] = ()
    episodes: ScoredEpisodes | None = None  # None until the season's secret is revealed
    episode_seeds: tuple[int, ...] = ()  # (k * n,) as ScoredEpisodes counts them


@dataclass(frozen=True)
class AggregateCell:
    """An entry's row on one board."""

    submission_id: int
    score: float  # normalised return; counts as 0 unless feasible
    feasible: bool


@dataclass(frozen=True)
class AggregateRow:
    """One algorithm over all boards."""

    algorithm: str
    authors: tuple[str, ...]
    rank: int
    rank_interval: tuple[int, int] | None  # 95 %
    score: Interval  # interquartile mean over boards and policies
    cells: Mapping[str, AggregateCell]  # by environment id; a board without a row is absent


@dataclass(frozen=True)
class AggregatePage:
    """All boards of a season together."""

    season: ShownSeason
    boards: tuple[Board, ...]
    rows: tuple[AggregateRow, ...]  # best first


@dataclass(frozen=True)
class SubmissionRules:
    """What may be submitted."""

    policies_for_a_rank: int
    most_policies: int
    largest_policy: int  # [bytes]
    largest_submission: int  # [bytes]
    per_day: int  # submissions of one token
    per_season: int
    operators: tuple[str, ...]  # of ONNX
    url: str = ""  # of a running server; empty if there is none


class PageSource(Protocol):
    """Where the pages get their data from."""

    def boards(self) -> Sequence[Board]:
        """Return all boards in the order they are shown."""

    def seasons(self) -> Sequence[ShownSeason]:
        """Return all seasons, oldest first; the last one is shown under boards/."""

    def board_page(self, env: str, season: int, feasibility: Feasibility) -> BoardPage:
        """Return a board; env and season are ones of those above."""

    def submission_ids(self) -> Sequence[int]:
        """Return the number of every submission that has a page."""

    def submission_page(self, submission_id: int) -> SubmissionPage | None:
        """Return a submission, None if there is none of that number."""

    def curves(self, submission_ids: Sequence[int]) -> Mapping[int, tuple[Curve, ...]]:
        """Return the learning curves of those submissions that came with some."""

    def aggregate_page(self, season: int) -> AggregatePage:
        """Return all boards together."""

    def submission_rules(self) -> SubmissionRules:
        """Return what may be submitted."""
