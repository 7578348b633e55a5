"""The rows of the boards: every submission with its place, for pages and commands alike."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from leaderboard.boards.board import boards
from leaderboard.scores.ranked_row import Candidate, Feasibility, RankedRow
from leaderboard.scores.ranking import rank_rows
from leaderboard.scores.row_score import RowScore
from leaderboard.store.audit import revision
from leaderboard.store.database import Database
from leaderboard.store.score_store import row_scores
from leaderboard.store.submission_store import State, StoredSubmission, stored_submissions

ENDED = (State.SCORED, State.INVALID)


@dataclass(frozen=True)
class StoredRow:
    """A submission and its place on its board."""

    submission: StoredSubmission
    ranked: RankedRow | None  # None until it is evaluated, and if the evaluation failed


@dataclass(frozen=True)
class _Snapshot:
    """What was read at one revision."""

    revision: int
    submissions: Mapping[int, StoredSubmission]


@dataclass(frozen=True)
class _Ranking:
    """The places on a board, and what they were computed from."""

    candidates: tuple[tuple[int, float | None, bool], ...]  # number, scoring time, withdrawn
    places: Mapping[int, RankedRow]  # by number, in their order


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
        self._snapshot = _Snapshot(-1, {})
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
                self._snapshot = _Snapshot(found, known)
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
    ) -> Mapping[int, RankedRow]:
        ended = [
            found
            for found in submissions.values()
            if (found.env, found.season) == (env, season) and found.state in ENDED
        ]
        key = (env, season, feasibility)
        candidates = tuple(
            (found.id, found.scored_at, found.withdrawn_at is not None) for found in ended
        )
        known = self._rankings.get(key)
        if known is None or known.candidates != candidates:
            self._read_scores(ended)
            readable = [found for found in ended if self._has_verdict(found)]
            ranked = rank_rows([self._candidate(found) for found in readable], feasibility)
            places = {row.candidate.id: row for row in ranked}
            known = self._rankings[key] = _Ranking(candidates, places)
        return known.places

    def _has_verdict(self, found: StoredSubmission) -> bool:
        """Return whether it is invalid or its score is known, which another release may deny."""
        return found.state is State.INVALID or (found.id, found.scored_at) in self._scores

    def _candidate(self, found: StoredSubmission) -> Candidate:
        return Candidate(
            id=found.id,
            score=self._scores.get((found.id, found.scored_at)),
            training_steps=found.metadata.training_steps,
            submitted_at=found.submitted_at,
            withdrawn=found.withdrawn_at is not None,
        )

    def _read_scores(self, ended: list[StoredSubmission]) -> None:
        keys = {found.id: (found.id, found.scored_at) for found in ended}
        unknown = [number for number, key in keys.items() if key not in self._scores]
        if unknown:
            found = row_scores(self._database, unknown)
            self._scores |= {keys[number]: score for number, score in found.items()}
