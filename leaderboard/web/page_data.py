"""The data that each page shows, and the interface that the pages get it from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from leaderboard.boards.board import Board
from leaderboard.scores.published import PublishedRow
from leaderboard.scores.ranked_row import Feasibility
from leaderboard.scores.row_score import Interval
from leaderboard.scores.scored_episodes import ScoredEpisodes
from leaderboard.store.seasons import SeasonState
from leaderboard.store.submission_store import State
from leaderboard.submissions.metadata import Metadata


@dataclass(frozen=True)
class ShownSeason:
    """A season as pages show it: all of its submissions play the same hidden episodes."""

    number: int  # 1, 2, ...
    state: SeasonState
    opened_at: float  # [s] since 1970
    closed_at: float | None  # [s] since 1970
    secret_sha256: str
    secret: str | None  # None until it is revealed
    seed_rule: str  # how an episode's seed is computed from the secret, one sentence
    replay_command: str  # repeats the evaluation once the secret is known


@dataclass(frozen=True)
class ShownSubmission:
    """A submission as pages show it, without its score."""

    id: int
    season: int
    metadata: Metadata  # its contact is never shown
    submitted_at: float  # [s] since 1970
    state: State
    episodes_done: int = 0
    episodes_total: int = 0
    reason: str = ""  # why it is invalid or failed
    is_baseline: bool = False  # of the account that only this project's baselines have


@dataclass(frozen=True)
class BoardRow:
    """A row of a board."""

    submission: ShownSubmission
    ranked: PublishedRow | None  # None while it is queued or running, and if it failed


@dataclass(frozen=True)
class BoardPage:
    """One board in one season; rows are in the order of the ranking, unranked ones last."""

    board: Board
    season: ShownSeason
    feasibility: Feasibility
    rows: tuple[BoardRow, ...]


@dataclass(frozen=True)
class Curve:
    """The learning curve of one policy as reported by the submitter."""

    seed: int
    steps: tuple[float, ...]  # (n,) increasing
    returns: tuple[float, ...]  # (n,)
    costs: tuple[tuple[float, ...], ...]  # (m, n), one line per constraint


@dataclass(frozen=True)
class HistoryEntry:
    """What happened to a submission."""

    at: float  # [s] since 1970
    text: str
    reason: str = ""  # of an administrator


@dataclass(frozen=True)
class SubmissionPage:
    """One submission; its row is ranked by mean cost, as on the main board."""

    board: Board
    season: ShownSeason
    row: BoardRow
    curves: tuple[Curve, ...] = ()
    episodes: ScoredEpisodes | None = None  # None until the season's secret is revealed
    episode_seeds: tuple[int, ...] = ()  # (k * n,) in the order of ScoredEpisodes
    history: tuple[HistoryEntry, ...] = ()  # the oldest first


@dataclass(frozen=True)
class AggregateCell:
    """An entry's row on one board."""

    submission_id: int
    score: float  # normalized return; counts as 0 unless feasible
    feasible: bool


@dataclass(frozen=True)
class AggregateRow:
    """One algorithm over all boards."""

    algorithm: str
    authors: tuple[str, ...]
    rank: int
    rank_interval: tuple[int, int] | None  # 95 %
    score: Interval  # interquartile mean over boards and policies
    cells: Mapping[str, AggregateCell]  # by environment id, without boards that have no row

    @property
    def feasible(self) -> int:
        """The number of boards on which the entry is feasible."""
        return sum(cell.feasible for cell in self.cells.values())

    @property
    def entered_mean(self) -> float:
        """The mean score over the entered boards; 0 on one where the entry is not feasible."""
        scores = [cell.score if cell.feasible else 0.0 for cell in self.cells.values()]
        return sum(scores) / len(scores) if scores else 0.0


@dataclass(frozen=True)
class AggregatePage:
    """All boards of a season together."""

    season: ShownSeason
    boards: tuple[Board, ...]
    rows: tuple[AggregateRow, ...]  # best first


@dataclass(frozen=True)
class SubmissionRules:
    """The rules for submissions."""

    policies_for_a_rank: int
    most_policies: int
    largest_policy: int  # [bytes]
    largest_submission: int  # [bytes]
    per_day: int  # submissions of one account
    per_season: int
    operators: tuple[str, ...]  # of ONNX
    url: str = ""  # of a running server; empty if there is none


class PageSource(Protocol):
    """The source of the pages' data."""

    def boards(self) -> Sequence[Board]:
        """Return all boards in the order they are shown."""

    def seasons(self) -> Sequence[ShownSeason]:
        """Return all seasons, oldest first; the boards of the last one are under boards/."""

    def board_page(self, env: str, season: int, feasibility: Feasibility) -> BoardPage:
        """Return a board of a season; both exist."""

    def submission_ids(self) -> Sequence[int]:
        """Return the number of every submission that has a page."""

    def submission_page(self, submission_id: int) -> SubmissionPage | None:
        """Return a submission, None if there is none with this number."""

    def curves(self, submission_ids: Sequence[int]) -> Mapping[int, tuple[Curve, ...]]:
        """Return the learning curves of the submissions that have some."""

    def score_difference(self, first: int, second: int) -> tuple[float, float] | None:
        """Return the interval of the second minus the first score, None if there is none."""

    def aggregate_page(self, season: int) -> AggregatePage:
        """Return all boards together."""

    def submission_rules(self) -> SubmissionRules:
        """Return the rules for submissions."""
