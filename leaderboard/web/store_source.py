"""The pages' data out of the store."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from leaderboard.boards.board import (
    EPISODES_PER_POLICY,
    MOST_POLICIES,
    RANKED_POLICIES,
    Board,
    board_of,
    boards,
)
from leaderboard.policy_files.onnx_rules import LARGEST_MODEL, OPERATORS
from leaderboard.scores.aggregate_board import Entry, EnvironmentResult, aggregate_scores
from leaderboard.scores.ranked_row import Candidate, Feasibility, RankedRow
from leaderboard.scores.ranking import rank_rows
from leaderboard.scores.row_score import RowScore
from leaderboard.store import seasons, submission_store
from leaderboard.store.audit import revision
from leaderboard.store.database import Database
from leaderboard.store.episode_store import count_episodes, scored_episodes
from leaderboard.store.score_store import row_scores
from leaderboard.store.seasons import HIDDEN, episode_seeds
from leaderboard.store.submission_store import PER_DAY, PER_SEASON, StoredSubmission
from leaderboard.submissions.submission import LARGEST_SUBMISSION
from leaderboard.web import page_data

SEED_RULE = (
    "seed i = first 8 bytes, big-endian, of HMAC-SHA256(secret, "
    '"environment|board version|i"); policy j meets the seeds from '
    f"{EPISODES_PER_POLICY} j to {EPISODES_PER_POLICY} j + {EPISODES_PER_POLICY - 1}"
)
REPLAY = "python -m leaderboard verify RUN_DIR... --secret {secret}"
ENDED = (submission_store.State.SCORED, submission_store.State.INVALID)


@dataclass
class _Snapshot:
    """What was read at one revision."""

    revision: int
    submissions: dict[int, StoredSubmission]


@dataclass(frozen=True)
class _Ranking:
    """The rows of a board, and what they were ranked from."""

    candidates: tuple[tuple[int, bool], ...]  # number, and whether it is withdrawn
    rows: tuple[RankedRow, ...]


class StoreSource:
    """Reads the store, and again whenever something in it has changed; safe in threads.

    Args:
        database: the store.
        url: of the service, for the page that tells how to submit.
    """

    def __init__(self, database: Database, url: str = "") -> None:
        self._database = database
        self._url = url
        self._lock = threading.RLock()
        self._scores: dict[int, RowScore] = {}  # these never change
        self._snapshot = _Snapshot(-1, {})
        self._rankings: dict[tuple[str, int, Feasibility], _Ranking] = {}

    def revision(self) -> int:
        """Return a number that grows with every change in the store."""
        with self._database.reading() as connection:
            return revision(connection)

    def boards(self) -> Sequence[Board]:
        """Return all boards in the order they are shown."""
        return list(boards().values())

    def seasons(self) -> Sequence[page_data.Season]:
        """Return all seasons, oldest first."""
        return [_season(found) for found in reversed(seasons.all_seasons(self._database))]

    def board_page(self, env: str, season: int, feasibility: Feasibility) -> page_data.BoardPage:
        """Return a board of a season."""
        with self._lock:
            snapshot = self._current()
            ranking = self._ranking(snapshot, env, season, feasibility)
            rows = [
                page_data.BoardRow(self._shown(snapshot.submissions[row.candidate.id]), row)
                for row in ranking
            ]
            ranked = {row.candidate.id for row in ranking}
            rows += [
                page_data.BoardRow(self._shown(found), None)
                for found in snapshot.submissions.values()
                if (found.env, found.season) == (env, season) and found.id not in ranked
            ]
        return page_data.BoardPage(board_of(env), self._season(season), feasibility, tuple(rows))

    def submission_ids(self) -> Sequence[int]:
        """Return the number of every submission."""
        with self._lock:
            return sorted(self._current().submissions)

    def submission_page(self, submission_id: int) -> page_data.SubmissionPage | None:
        """Return a submission, None if there is none of that number."""
        with self._lock:
            snapshot = self._current()
            found = snapshot.submissions.get(submission_id)
            if found is None:
                return None
            ranking = self._ranking(snapshot, found.env, found.season, Feasibility.MEAN)
            places = {row.candidate.id: row for row in ranking}
            row = page_data.BoardRow(self._shown(found), places.get(submission_id))
        season = self._season(found.season)
        board = board_of(found.env)
        curves = self.curves([submission_id]).get(submission_id, ())
        if season.secret is None or found.state != submission_store.State.SCORED:
            return page_data.SubmissionPage(board, season, row, curves)
        with self._database.reading() as connection:
            episodes = scored_episodes(connection, submission_id, HIDDEN)
        seeds = episode_seeds(bytes.fromhex(season.secret), board, range(episodes.returns.size))
        return page_data.SubmissionPage(board, season, row, curves, episodes, tuple(seeds))

    def curves(self, submission_ids: Sequence[int]) -> Mapping[int, tuple[page_data.Curve, ...]]:
        """Return the learning curves of those submissions that came with some."""
        stored = submission_store.stored_curves(self._database, list(submission_ids))
        with self._lock:
            known = self._current().submissions
        return {
            number: tuple(
                page_data.Curve(seed, curve.steps, curve.returns, curve.costs)
                for seed, curve in zip(known[number].metadata.training_seeds, curves, strict=True)
            )
            for number, curves in stored.items()
        }

    def aggregate_page(self, season: int) -> page_data.AggregatePage:
        """Return all boards of a season together."""
        with self._lock:
            snapshot = self._current()
            latest: dict[Entry, dict[str, tuple[RankedRow, StoredSubmission]]] = {}
            for board in self.boards():
                ranking = self._ranking(snapshot, board.env, season, Feasibility.MEAN)
                for row in sorted(ranking, key=lambda row: row.candidate.id):
                    if row.rank is not None:
                        found = snapshot.submissions[row.candidate.id]
                        entry = Entry(found.account, found.metadata.algorithm)
                        latest.setdefault(entry, {})[board.env] = (row, found)
        return page_data.AggregatePage(
            self._season(season), tuple(self.boards()), _aggregate_rows(latest, self.boards())
        )

    def submission_rules(self) -> page_data.SubmissionRules:
        """Return what may be submitted."""
        return page_data.SubmissionRules(
            policies_for_a_rank=RANKED_POLICIES,
            most_policies=MOST_POLICIES,
            largest_policy=LARGEST_MODEL,
            largest_submission=LARGEST_SUBMISSION,
            per_day=PER_DAY,
            per_season=PER_SEASON,
            operators=tuple(sorted(OPERATORS)),
            url=self._url,
        )

    def _season(self, number: int) -> page_data.Season:
        return _season(seasons.season_of(self._database, number))

    def _current(self) -> _Snapshot:
        found = self.revision()
        if found != self._snapshot.revision:
            stored = submission_store.stored_submissions(self._database)
            known = {one.id: one for one in stored if one.env in boards()}
            self._snapshot = _Snapshot(found, known)
        return self._snapshot

    def _ranking(
        self, snapshot: _Snapshot, env: str, season: int, feasibility: Feasibility
    ) -> tuple[RankedRow, ...]:
        ended = [
            found
            for found in snapshot.submissions.values()
            if (found.env, found.season) == (env, season) and found.state in ENDED
        ]
        key = (env, season, feasibility)
        candidates = tuple((found.id, found.withdrawn_at is not None) for found in ended)
        known = self._rankings.get(key)
        if known is None or known.candidates != candidates:
            self._read_scores([found.id for found in ended])
            rows = rank_rows([self._candidate(found) for found in ended], feasibility)
            known = self._rankings[key] = _Ranking(candidates, tuple(rows))
        return known.rows

    def _candidate(self, found: StoredSubmission) -> Candidate:
        return Candidate(
            id=found.id,
            score=self._scores.get(found.id),
            training_steps=found.metadata.training_steps,
            submitted_at=found.submitted_at,
            withdrawn=found.withdrawn_at is not None,
        )

    def _read_scores(self, ids: list[int]) -> None:
        unknown = [number for number in ids if number not in self._scores]
        if unknown:
            self._scores |= row_scores(self._database, unknown)

    def _shown(self, found: StoredSubmission) -> page_data.Submission:
        total = len(found.metadata.training_seeds) * EPISODES_PER_POLICY
        done = total
        if found.state == submission_store.State.RUNNING:
            with self._database.reading() as connection:
                done = count_episodes(connection, found.id, HIDDEN)
        elif found.state == submission_store.State.QUEUED:
            done = 0
        state = page_data.State(found.state.value)
        return page_data.Submission(
            id=found.id,
            season=found.season,
            metadata=found.metadata,
            submitted_at=found.submitted_at,
            state=page_data.State.WITHDRAWN if found.withdrawn_at is not None else state,
            episodes_done=done,
            episodes_total=total,
            reason=found.reason,
        )


def _season(found: seasons.Season) -> page_data.Season:
    secret = found.revealed_secret
    return page_data.Season(
        number=found.number,
        state=page_data.SeasonState(found.state),
        opened_at=found.opened_at,
        closed_at=found.closed_at,
        secret_sha256=found.secret_sha256,
        secret=None if secret is None else secret.hex(),
        seed_rule=SEED_RULE,
        replay_command=REPLAY.format(secret="SECRET" if secret is None else secret.hex()),
    )


def _aggregate_rows(
    latest: Mapping[Entry, Mapping[str, tuple[RankedRow, StoredSubmission]]],
    shown: Sequence[Board],
) -> tuple[page_data.AggregateRow, ...]:
    results = {
        entry: {
            env: EnvironmentResult(
                row.tier, row.candidate.score.statistics if row.candidate.score else None
            )
            for env, (row, _) in rows.items()
        }
        for entry, rows in latest.items()
    }
    return tuple(
        page_data.AggregateRow(
            algorithm=score.entry.algorithm,
            authors=tuple(max(latest[score.entry].values(), key=_number)[1].metadata.authors),
            rank=score.rank,
            rank_interval=score.rank_interval,
            score=score.score,
            cells={env: _cell(row) for env, (row, _) in latest[score.entry].items()},
        )
        for score in aggregate_scores(results, shown)
    )


def _number(pair: tuple[RankedRow, StoredSubmission]) -> int:
    return pair[1].id


def _cell(row: RankedRow) -> page_data.AggregateCell:
    assert row.candidate.score is not None  # it has a rank
    return page_data.AggregateCell(
        submission_id=row.candidate.id,
        score=row.candidate.score.statistics.score.value,
        feasible=row.tier.value in ("safe", "feasible"),
    )
