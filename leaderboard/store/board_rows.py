"""The rows of the boards: every submission with its place, for pages and commands alike."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from leaderboard.boards.board import boards
from leaderboard.scores.near_copies import CopyFindings
from leaderboard.scores.ranked_row import Candidate, Feasibility, RankedRow
from leaderboard.scores.ranking import rank_rows
from leaderboard.scores.row_score import RowScore
from leaderboard.store.audit import revision
from leaderboard.store.copy_store import copy_findings
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
    copy_findings: Mapping[int, CopyFindings]  # by number of the submission


@dataclass(frozen=True)
class _Ranking:
    """The places on a board, and what they were computed from."""

    candidates: tuple[tuple[int, bool, CopyFindings | None], ...]  # number, whether it is withdrawn
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
        self._scores: dict[int, RowScore] = {}  # never change once computed
        self._snapshot = _Snapshot(-1, {}, {})
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
                self._snapshot = _Snapshot(found, known, copy_findings(self._database))
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
        compared = self._snapshot.copy_findings
        candidates = tuple(
            (found.id, found.withdrawn_at is not None, compared.get(found.id)) for found in ended
        )
        known = self._rankings.get(key)
        if known is None or known.candidates != candidates:
            self._read_scores([found.id for found in ended])
            ranked = rank_rows([self._candidate(found) for found in ended], feasibility)
            places = {row.candidate.id: row for row in ranked}
            known = self._rankings[key] = _Ranking(candidates, places)
        return known.places

    def _candidate(self, found: StoredSubmission) -> Candidate:
        return Candidate(
            id=found.id,
            score=self._scores.get(found.id),
            training_steps=found.metadata.training_steps,
            submitted_at=found.submitted_at,
            withdrawn=found.withdrawn_at is not None,
            copies=self._snapshot.copy_findings.get(found.id),
        )

    def _read_scores(self, ids: list[int]) -> None:
        unknown = [number for number in ids if number not in self._scores]
        if unknown:
            self._scores |= row_scores(self._database, unknown)
