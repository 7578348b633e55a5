"""The rows of the boards: every submission with its place, for pages and commands alike.

Rows leave this file only as the public may see them: until a season's secret is revealed, their
numbers are those of `leaderboard.scores.published`. Ranks and tiers are decided by the full ones.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from leaderboard.boards.board import board_of, boards
from leaderboard.scores.near_copies import CopyFindings
from leaderboard.scores.published import (
    PublishedRow,
    PublishedStatistics,
    exactly,
    published_row,
    rounded,
    rounded_difference,
)
from leaderboard.scores.ranked_row import Candidate, Feasibility, RankedRow
from leaderboard.scores.ranking import rank_rows
from leaderboard.scores.row_score import RowScore
from leaderboard.scores.scoring import TWO_SIDED
from leaderboard.store.audit import revision
from leaderboard.store.copy_store import copy_findings
from leaderboard.store.database import Database
from leaderboard.store.score_store import row_scores
from leaderboard.store.seasons import SeasonState, all_seasons
from leaderboard.store.submission_store import State, StoredSubmission, stored_submissions

ENDED = (State.SCORED, State.INVALID)
# Of a candidate: its number, scoring time, whether it is withdrawn, and copies among its policies.
_Known = tuple[int, float | None, bool, CopyFindings | None]


@dataclass(frozen=True)
class StoredRow:
    """A submission and its place on its board."""

    submission: StoredSubmission
    ranked: PublishedRow | None  # None until it is evaluated, and if the evaluation failed


@dataclass(frozen=True)
class _Snapshot:
    """What was read at one revision."""

    revision: int
    submissions: Mapping[int, StoredSubmission]
    revealed: frozenset[int]  # seasons whose episodes are public
    copy_findings: Mapping[int, CopyFindings]  # by number of the submission


@dataclass(frozen=True)
class _Ranking:
    """The places on a board, and what they were computed from."""

    candidates: tuple[_Known, ...]
    is_revealed: bool
    places: Mapping[int, PublishedRow]  # by number, in their order


class BoardRows:
    """Reads rows from the store, again whenever the store has changed; safe to use in threads.

    Submissions to boards that no longer exist are left out.

    Args:
        database: the store.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.RLock()
        self._scores: dict[tuple[int, float | None], RowScore] = {}  # by number and scoring time
        self._rounded: dict[int, tuple[RowScore, PublishedStatistics]] = {}  # with what of
        self._snapshot = _Snapshot(-1, {}, frozenset(), {})
        self._rankings: dict[tuple[str, int, Feasibility], _Ranking] = {}

    def revision(self) -> int:
        """Return a number that grows with every change in the store."""
        with self._database.reading() as connection:
            return revision(connection)

    def submissions(self) -> Mapping[int, StoredSubmission]:
        """Return all submissions by number, in the order of submission."""
        with self._lock:
            found = self.revision()
            if found != self._snapshot.revision:
                stored = stored_submissions(self._database)
                known = {one.id: one for one in stored if one.env in boards()}
                seasons = all_seasons(self._database)
                revealed = [one.number for one in seasons if one.state is SeasonState.REVEALED]
                copies = copy_findings(self._database)
                self._snapshot = _Snapshot(found, known, frozenset(revealed), copies)
            return self._snapshot.submissions

    def rows(self, env: str, season: int, feasibility: Feasibility) -> list[StoredRow]:
        """Return the rows of a board in one season, best first, unevaluated ones last."""
        with self._lock:
            submissions = self.submissions()
            return self._rows(submissions, env, season, feasibility)

    def season_rows(self, season: int) -> dict[str, list[StoredRow]]:
        """Return the rows of all boards in one season, ranked by mean cost, by environment."""
        with self._lock:
            submissions = self.submissions()
            return {env: self._rows(submissions, env, season, Feasibility.MEAN) for env in boards()}

    def row(self, number: int) -> StoredRow | None:
        """Return a submission's row, ranked by mean cost, None if there is no such submission."""
        with self._lock:
            submissions = self.submissions()
            found = submissions.get(number)
            if found is None:
                return None
            places = self._places(submissions, found.env, found.season, Feasibility.MEAN)
            return StoredRow(found, places.get(number))

    def score_difference(self, first: int, second: int) -> tuple[float, float] | None:
        """Return the 95 % interval of the second minus the first score, from paired draws.

        None if they are of different boards or seasons, have unequal numbers of policies, or one
        has no score. As public as the scores are.
        """
        with self._lock:
            one, two = self.row(first), self.row(second)
            if one is None or two is None:
                return None
            a, b = one.submission, two.submission
            scores = [self._scores.get((found.id, found.scored_at)) for found in (a, b)]
            if scores[0] is None or scores[1] is None:
                return None
            draws = [score.draws.score for score in scores if score is not None]
            if (a.env, a.season) != (b.env, b.season) or draws[0].shape != draws[1].shape:
                return None
            low, high = np.quantile(draws[1] - draws[0], TWO_SIDED).tolist()
            if a.season in self._snapshot.revealed:
                return low, high
            return rounded_difference(board_of(a.env), scores[0], scores[1], (low, high))

    def _rows(
        self,
        submissions: Mapping[int, StoredSubmission],
        env: str,
        season: int,
        feasibility: Feasibility,
    ) -> list[StoredRow]:
        places = self._places(submissions, env, season, feasibility)
        others = [
            found
            for found in submissions.values()
            if (found.env, found.season) == (env, season) and found.id not in places
        ]
        return [StoredRow(submissions[number], place) for number, place in places.items()] + [
            StoredRow(found, None) for found in others
        ]

    def _places(
        self,
        submissions: Mapping[int, StoredSubmission],
        env: str,
        season: int,
        feasibility: Feasibility,
    ) -> Mapping[int, PublishedRow]:
        ended = [
            found
            for found in submissions.values()
            if (found.env, found.season) == (env, season) and found.state in ENDED
        ]
        key = (env, season, feasibility)
        compared = self._snapshot.copy_findings
        candidates = tuple(
            (found.id, found.scored_at, found.withdrawn_at is not None, compared.get(found.id))
            for found in ended
        )
        is_revealed = season in self._snapshot.revealed
        known = self._rankings.get(key)
        if known is None or (known.candidates, known.is_revealed) != (candidates, is_revealed):
            self._read_scores(ended)
            readable = [found for found in ended if self._has_verdict(found)]
            ranked = rank_rows([self._candidate(found) for found in readable], feasibility)
            places = {row.candidate.id: self._public(row, env, is_revealed) for row in ranked}
            known = self._rankings[key] = _Ranking(candidates, is_revealed, places)
        return known.places

    def _has_verdict(self, found: StoredSubmission) -> bool:
        """Return whether it is invalid or its score is known, which another release may deny."""
        return found.state is State.INVALID or (found.id, found.scored_at) in self._scores

    def _public(self, row: RankedRow, env: str, is_revealed: bool) -> PublishedRow:
        """Return a row as the public may see it now."""
        number, score = row.candidate.id, row.candidate.score
        if score is None:
            return published_row(row, None)
        if is_revealed:
            return published_row(row, exactly(score.statistics))
        kept = self._rounded.get(number)
        if kept is None or kept[0] is not score:
            kept = self._rounded[number] = (score, rounded(board_of(env), score.statistics))
        return published_row(row, kept[1])

    def _candidate(self, found: StoredSubmission) -> Candidate:
        return Candidate(
            id=found.id,
            score=self._scores.get((found.id, found.scored_at)),
            training_steps=found.metadata.training_steps,
            submitted_at=found.submitted_at,
            withdrawn=found.withdrawn_at is not None,
            copies=self._snapshot.copy_findings.get(found.id),
        )

    def _read_scores(self, ended: list[StoredSubmission]) -> None:
        keys = {found.id: (found.id, found.scored_at) for found in ended}
        unknown = [number for number, key in keys.items() if key not in self._scores]
        if unknown:
            scores = row_scores(self._database, unknown)
            self._scores |= {keys[number]: score for number, score in scores.items()}
