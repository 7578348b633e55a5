"""The command `submit`: sends policies to a leaderboard, in a local store or at a URL."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from baselines.report.terminal_table import print_table
from baselines.shell_command import shell_command
from leaderboard.boards.board import board_of
from leaderboard.commands.row_table import contents_table, score_table, told_copies
from leaderboard.evaluation.evaluate import Tried, tried_policies
from leaderboard.evaluation.worker import POLL_SECONDS, evaluate_next, worker_name
from leaderboard.sandbox.policy import SandboxUnavailable
from leaderboard.scores.published import numbers_of
from leaderboard.store.accounts import LOCAL, account_id_of
from leaderboard.store.board_rows import BoardRows
from leaderboard.store.database import Database, embedded_url, open_database
from leaderboard.store.leases import LeaseLost
from leaderboard.store.seasons import ensure_season
from leaderboard.store.submission_store import State, keep_submission, stored_submission
from leaderboard.submissions.from_runs import submission_of
from leaderboard.submissions.submission import Submission


@dataclass(frozen=True)
class SubmitOptions:
    """Submit the policies of finished runs and print what the leaderboard measures."""

    run_dirs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of runs, one per training seed, or a folder that contains them; or one folder with
    meta.json and policy_0.onnx, policy_1.onnx, ..."""
    db: str = embedded_url()
    """Store to submit to directly; the evaluation runs in this process, without quotas."""
    url: str = ""
    """Address of a running leaderboard; takes precedence over --db."""
    token_file: Path | None = None
    """File with the token for --url."""
    deterministic: bool = False
    """Evaluate the most likely actions; otherwise policies act as they were trained."""
    algorithm: str = ""
    """Name on the board; the agent's name if empty."""
    authors: tuple[str, ...] = ()
    """Names on the board."""
    metadata: Path | None = None
    """JSON file with further fields of the metadata; see docs/leaderboard.md."""
    dry_run: bool = False
    """Check and show everything, but send nothing."""


def submit(options: SubmitOptions, console: Console) -> int:
    """Check, show and send a submission, and print the result.

    Returns:
        The exit code: 0, or 1 if the submission is invalid.

    Raises:
        ValueError: if the submission or an option is refused.
    """
    if not options.run_dirs:
        train = shell_command("baselines", "train")
        raise ValueError(f"no folder was given; pass folders that `{train}` wrote")
    submission = submission_of(
        options.run_dirs, stochastic=not options.deterministic, fields=_fields(options)
    )
    print_table(console, contents_table(submission))
    if not options.url and not options.dry_run:
        open_database(options.db).close()  # a store that cannot be used is told before the trial
    with tried_policies(submission) as tried:
        console.print("checked: every policy passes the gate and the trial")
        if options.dry_run:
            console.print("dry run: nothing was sent")
            return 0
        if not options.url:
            return submit_here(options.db, submission, tried, console)
    from leaderboard.commands.http_client import submit_to

    return submit_to(options.url, options.token_file, submission, console)


def submit_here(url: str, submission: Submission, tried: Tried, console: Console) -> int:
    """Submit to a store, evaluate, and print the row; for a duplicate, print the existing row.

    Args:
        url: of the store.
        submission: that is submitted.
        tried: its policies, from `tried_policies`.
        console: to print to.
    """
    database = open_database(url)
    try:
        return _submit_to_store(database, submission, tried, console)
    finally:
        database.close()


def _submit_to_store(
    database: Database, submission: Submission, tried: Tried, console: Console
) -> int:
    ensure_season(database, LOCAL)
    with database.writing() as connection:
        account = account_id_of(connection, LOCAL)
    kept = keep_submission(database, submission, account, quota=False)
    if not kept.is_new:
        console.print(f"these policies are already submission {kept.id}")
    evaluate_here(database, kept.id, tried, console)
    return _print_row(database, kept.id, console)


def _print_row(database: Database, number: int, console: Console) -> int:
    """Print a submission's rank and numbers; return the exit code, 1 if it is invalid."""
    row = BoardRows(database).row(number)
    assert row is not None
    found, ranked = row.submission, row.ranked
    statistics = None if ranked is None else numbers_of(ranked)
    if ranked is None or statistics is None:
        console.print(f"submission {number}: {found.shown_state.value}. {escape(found.reason)}")
        return 1 if found.shown_state in (State.INVALID, State.FAILED) else 0
    print_table(console, score_table(board_of(found.env), statistics, found.metadata.claim))
    place = "without a rank" if ranked.rank is None else f"rank {ranked.rank}"
    if ranked.rank_interval:
        place += " (95 %: {} to {})".format(*ranked.rank_interval)
    console.print(f"submission {number} on {escape(found.env)}: {place}, tier {ranked.tier.value}")
    for line in told_copies(ranked):
        console.print(line, soft_wrap=True)
    return 0


def evaluate_here(database: Database, number: int, tried: Tried, console: Console) -> None:
    """Evaluate a submission here, or wait for the worker that has its lease.

    Args:
        database: the store.
        number: of the submission.
        tried: its policies, if this process has checked and started them.
        console: shows the progress.
    """
    columns = TextColumn("evaluating"), BarColumn(), MofNCompleteColumn(), TextColumn("episodes")
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        while _is_undecided(database, number):
            try:
                if evaluate_next(database, worker_name(), number, show, tried) is None:
                    time.sleep(POLL_SECONDS)
            except LeaseLost:
                console.print("another worker continues the evaluation")
            except SandboxUnavailable as fault:
                console.print(f"{escape(str(fault))}; it is tried again later", soft_wrap=True)


def _is_undecided(database: Database, number: int) -> bool:
    found = stored_submission(database, number)
    assert found is not None
    return found.state in (State.QUEUED, State.RUNNING)


def _fields(options: SubmitOptions) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if options.metadata is not None:
        try:
            fields = json.loads(options.metadata.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise ValueError(f"{options.metadata} cannot be read as JSON: {error}") from error
        if not isinstance(fields, dict):
            raise ValueError(f"{options.metadata} is not a JSON object; see docs/leaderboard.md")
    if options.algorithm:
        fields["algorithm"] = options.algorithm
    if options.authors:
        fields["authors"] = list(options.authors)
    return fields
