"""Reads the pages' data from the store."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from leaderboard.boards.board import (
    EPISODES_PER_POLICY,
    MOST_POLICIES,
    RANKED_POLICIES,
    Board,
    board_of,
    boards,
)
from leaderboard.policy_files.onnx_rules import LARGEST_MODEL, OPERATORS
from leaderboard.scores.aggregate_board import (
    COUNTED,
    Entry,
    EnvironmentResult,
    aggregate_scores,
)
from leaderboard.scores.ranked_row import Feasibility
from leaderboard.store import seasons
from leaderboard.store.accounts import BASELINES
from leaderboard.store.audit import Event, history
from leaderboard.store.board_rows import BoardRows, StoredRow
from leaderboard.store.database import Database
from leaderboard.store.episode_store import count_episodes, scored_episodes
from leaderboard.store.seasons import HIDDEN, episode_seeds
from leaderboard.store.submission_store import PER_DAY, PER_SEASON, State, stored_curves
from leaderboard.submissions.submission import LARGEST_SUBMISSION
from leaderboard.web import page_data

SEED_RULE = (
    "seed i = first 8 bytes, big-endian, of HMAC-SHA256(secret, "
    '"environment|board version|i"); policy j plays the seeds from '
    f"{EPISODES_PER_POLICY} j to {EPISODES_PER_POLICY} j + {EPISODES_PER_POLICY - 1}"
)
HAPPENED = {  # by action in the audit log
    "submit": "submitted",
    "evaluate": "evaluation started",
    "interrupt": "evaluation interrupted by a fault of the machine",
    "scored": "evaluated",
    "invalid": "found invalid",
    "failed": "not evaluated, through no fault of the policies",
    "requeue": "queued again by an administrator",
    "rescore": "statistics computed again by an administrator",
    "withdraw": "withdrawn",
}
REPLAY = "python -m leaderboard verify RUN_DIR... --secret {secret}"


class StoreSource:
    """A PageSource that reads the store, again whenever it has changed; safe to use in threads.

    Args:
        database: the store.
        url: of the service, for the page on how to submit.
    """

    def __init__(self, database: Database, url: str = "") -> None:
        self._database = database
        self._url = url
        self._rows = BoardRows(database)

    def revision(self) -> int:
        """Return a number that grows with every change in the store."""
        return self._rows.revision()

    def boards(self) -> Sequence[Board]:
        """Return all boards in the order they are shown."""
        return list(boards().values())

    def seasons(self) -> Sequence[page_data.ShownSeason]:
        """Return all seasons, oldest first."""
        return [_season(found) for found in reversed(seasons.all_seasons(self._database))]

    def board_page(self, env: str, season: int, feasibility: Feasibility) -> page_data.BoardPage:
        """Return a board of a season."""
        rows = [self._shown(row) for row in self._rows.rows(env, season, feasibility)]
        return page_data.BoardPage(board_of(env), self._season(season), feasibility, tuple(rows))

    def submission_ids(self) -> Sequence[int]:
        """Return the number of every submission."""
        return sorted(self._rows.submissions())

    def submission_page(self, submission_id: int) -> page_data.SubmissionPage | None:
        """Return a submission, None if there is none with this number."""
        row = self._rows.row(submission_id)
        if row is None:
            return None
        found, shown = row.submission, self._shown(row)
        season = self._season(found.season)
        board = board_of(found.env)
        curves = self.curves([submission_id]).get(submission_id, ())
        with self._database.reading() as connection:
            events = _history(history(connection, submission_id))
            page = page_data.SubmissionPage(board, season, shown, curves, history=events)
            if season.secret is None or found.state is not State.SCORED:
                return page
            episodes = scored_episodes(connection, submission_id, HIDDEN)
        seeds = episode_seeds(bytes.fromhex(season.secret), board, range(episodes.returns.size))
        return replace(page, episodes=episodes, episode_seeds=tuple(seeds))

    def curves(self, submission_ids: Sequence[int]) -> Mapping[int, tuple[page_data.Curve, ...]]:
        """Return the learning curves of the submissions that have some."""
        stored = stored_curves(self._database, list(submission_ids))
        known = self._rows.submissions()
        return {
            number: tuple(
                page_data.Curve(seed, curve.steps, curve.returns, curve.costs)
                for seed, curve in zip(known[number].metadata.training_seeds, curves, strict=True)
            )
            for number, curves in stored.items()
        }

    def score_difference(self, first: int, second: int) -> tuple[float, float] | None:
        """Return the interval of the second minus the first score, None if there is none."""
        return self._rows.score_difference(first, second)

    def aggregate_page(self, season: int) -> page_data.AggregatePage:
        """Return all boards of a season together."""
        latest: dict[Entry, dict[str, StoredRow]] = {}
        for env, rows in self._rows.season_rows(season).items():
            for row in sorted(rows, key=_number):
                if row.ranked is not None and row.ranked.rank is not None:
                    entry = Entry(row.submission.account, row.submission.metadata.algorithm)
                    latest.setdefault(entry, {})[env] = row
        return page_data.AggregatePage(
            self._season(season), tuple(self.boards()), _aggregate_rows(latest, self.boards())
        )

    def submission_rules(self) -> page_data.SubmissionRules:
        """Return the rules for submissions."""
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

    def _season(self, number: int) -> page_data.ShownSeason:
        return _season(seasons.season_of(self._database, number))

    def _shown(self, row: StoredRow) -> page_data.BoardRow:
        found = row.submission
        total = len(found.metadata.training_seeds) * EPISODES_PER_POLICY
        done = total
        if found.state is State.RUNNING:
            with self._database.reading() as connection:
                done = count_episodes(connection, found.id, HIDDEN)
            done -= done % EPISODES_PER_POLICY  # where a policy fails tells about its episodes
        elif found.state is State.QUEUED:
            done = 0
        shown = page_data.ShownSubmission(
            id=found.id,
            season=found.season,
            metadata=found.metadata,
            submitted_at=found.submitted_at,
            state=found.shown_state,
            episodes_done=done,
            episodes_total=total,
            reason=found.reason,
            is_baseline=found.account == BASELINES,
        )
        return page_data.BoardRow(shown, row.ranked)


def _history(events: Sequence[Event]) -> tuple[page_data.HistoryEntry, ...]:
    """Return the entries that are shown: an evaluation that goes on elsewhere does not start."""
    shown, last = [], ""
    for event in events:
        goes_on = event.action == "evaluate" and last in ("evaluate", "interrupt")
        if not goes_on and event.action != last:
            shown.append(page_data.HistoryEntry(event.at, HAPPENED[event.action], event.reason))
        if not goes_on:
            last = event.action
    return tuple(shown)


def _season(found: seasons.Season) -> page_data.ShownSeason:
    secret = found.revealed_secret
    return page_data.ShownSeason(
        number=found.number,
        state=found.state,
        opened_at=found.opened_at,
        closed_at=found.closed_at,
        secret_sha256=found.secret_sha256,
        secret=None if secret is None else secret.hex(),
        seed_rule=SEED_RULE,
        replay_command=REPLAY.format(secret="SECRET" if secret is None else secret.hex()),
    )


def _aggregate_rows(
    latest: Mapping[Entry, Mapping[str, StoredRow]], shown: Sequence[Board]
) -> tuple[page_data.AggregateRow, ...]:
    results = {
        entry: {env: _result(row) for env, row in rows.items()} for entry, rows in latest.items()
    }
    return tuple(
        page_data.AggregateRow(
            algorithm=score.entry.algorithm,
            authors=_latest_authors(latest[score.entry].values()),
            rank=score.rank,
            rank_interval=score.rank_interval,
            score=score.score,
            cells={env: _cell(row) for env, row in latest[score.entry].items()},
        )
        for score in aggregate_scores(results, shown)
    )


def _latest_authors(rows: Collection[StoredRow]) -> tuple[str, ...]:
    return tuple(max(rows, key=_number).submission.metadata.authors)


def _number(row: StoredRow) -> int:
    return row.submission.id


def _result(row: StoredRow) -> EnvironmentResult:
    assert row.ranked is not None  # it has a rank
    score = row.ranked.candidate.score
    return EnvironmentResult(row.ranked.tier, score.statistics if score else None)


def _cell(row: StoredRow) -> page_data.AggregateCell:
    assert row.ranked is not None  # it has a rank
    score = row.ranked.candidate.score
    assert score is not None
    return page_data.AggregateCell(
        submission_id=row.submission.id,
        score=score.statistics.score.value,
        feasible=row.ranked.tier in COUNTED,
    )
