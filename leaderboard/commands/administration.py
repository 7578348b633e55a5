"""The commands of an administrator, which work directly on the store."""

from __future__ import annotations

import getpass
import time
from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.console import Console
from rich.markup import escape

from leaderboard.store.accounts import Scope, create_token, revoke_tokens
from leaderboard.store.database import Database, embedded_url, open_database
from leaderboard.store.leases import requeue
from leaderboard.store.score_store import rescore, scored_submissions
from leaderboard.store.seasons import Season, close_season, open_season, reveal_season
from leaderboard.store.submission_store import withdraw
from leaderboard.submissions.metadata import plain_text

LONGEST_REASON = 500  # characters


@dataclass(frozen=True)
class CreateTokenOptions:
    """Print a new token of an account; it is shown only this once."""

    account: Annotated[str, tyro.conf.Positional]
    """Name of the account; it is created if there is none."""
    scope: Scope = Scope.SUBMIT
    """submit, or admin, which may also withdraw any account's submissions."""
    db: str = embedded_url()
    """Store."""

    def run(self, database: Database, actor: str, console: Console) -> None:
        """Run the command."""
        token = create_token(database, self.account, self.scope, actor)
        console.print(token, soft_wrap=True, highlight=False, markup=False)


@dataclass(frozen=True)
class RevokeTokensOptions:
    """Revoke all tokens of an account."""

    account: Annotated[str, tyro.conf.Positional]
    """Name of the account."""
    db: str = embedded_url()
    """Store."""

    def run(self, database: Database, actor: str, console: Console) -> None:
        """Run the command."""
        console.print(f"{revoke_tokens(database, self.account, actor)} tokens revoked")


@dataclass(frozen=True)
class OpenSeasonOptions:
    """Open the next season, with new hidden seeds; the digest of their secret is published."""

    db: str = embedded_url()
    """Store."""

    def run(self, database: Database, actor: str, console: Console) -> None:
        """Run the command."""
        _print_season(open_season(database, actor), console)


@dataclass(frozen=True)
class CloseSeasonOptions:
    """Close the open season, which then takes no more submissions."""

    db: str = embedded_url()
    """Store."""

    def run(self, database: Database, actor: str, console: Console) -> None:
        """Run the command."""
        _print_season(close_season(database, actor), console)


@dataclass(frozen=True)
class RevealOptions:
    """Publish a closed season's secret, so that everyone can replay its episodes."""

    season: Annotated[int, tyro.conf.Positional]
    """Number of the season."""
    db: str = embedded_url()
    """Store."""

    def run(self, database: Database, actor: str, console: Console) -> None:
        """Run the command."""
        _print_season(reveal_season(database, self.season, actor), console)


@dataclass(frozen=True)
class WithdrawOptions:
    """Withdraw a submission: it loses its rank and stays visible."""

    submission: Annotated[int, tyro.conf.Positional]
    """Number of the submission."""
    db: str = embedded_url()
    """Store."""

    def run(self, database: Database, actor: str, console: Console) -> None:
        """Run the command."""
        withdraw(database, self.submission, actor)
        console.print(f"submission {self.submission} is withdrawn")


@dataclass(frozen=True)
class RequeueOptions:
    """Evaluate a submission again that is failed or invalid, after a fault of a machine.

    A failed one keeps its episodes and plays the missing ones; an invalid one plays all again.
    """

    submission: Annotated[int, tyro.conf.Positional]
    """Number of the submission."""
    reason: str
    """Why; everyone can read it on the submission's page."""
    from_scratch: bool = False
    """Play all episodes of a failed one again, too."""
    db: str = embedded_url()
    """Store."""

    def run(self, database: Database, actor: str, console: Console) -> None:
        """Run the command."""
        reason = _checked_reason(self.reason)
        kept = requeue(database, self.submission, actor, reason, from_scratch=self.from_scratch)
        console.print(f"submission {self.submission} is queued again and keeps {kept} episodes")


@dataclass(frozen=True)
class RescoreOptions:
    """Compute the statistics of scored submissions again from their stored episodes."""

    submissions: Annotated[tuple[int, ...], tyro.conf.Positional]
    """Numbers of submissions."""
    reason: str
    """Why; everyone can read it on the pages of the submissions whose statistics change."""
    all: bool = False
    """All scored submissions."""
    db: str = embedded_url()
    """Store."""

    def run(self, database: Database, actor: str, console: Console) -> None:
        """Run the command."""
        reason = _checked_reason(self.reason)
        if self.all == bool(self.submissions):
            raise ValueError("pass either numbers of submissions or --all")
        numbers = scored_submissions(database) if self.all else self.submissions
        for number in numbers:
            changed = rescore(database, number, actor, reason)
            told = "has new statistics" if changed else "has these statistics already"
            console.print(f"submission {number} {told}")


AdministrationOptions = (
    CreateTokenOptions
    | RevokeTokensOptions
    | OpenSeasonOptions
    | CloseSeasonOptions
    | RevealOptions
    | WithdrawOptions
    | RequeueOptions
    | RescoreOptions
)


def administer(options: AdministrationOptions, console: Console) -> int:
    """Run an administrator's command and return the exit code, 0.

    Raises:
        ValueError: if it is refused.
    """
    database = open_database(options.db)
    try:
        options.run(database, getpass.getuser(), console)
    finally:
        database.close()
    return 0


def _checked_reason(text: str) -> str:
    """Return a reason that pages can show.

    Raises:
        ValueError: if it is empty, too long, or has invisible characters.
    """
    try:
        reason = plain_text(text)
    except ValueError as error:
        raise ValueError(f"--reason {error}") from None
    if not 1 <= len(reason) <= LONGEST_REASON:
        raise ValueError(
            f"--reason has {len(reason)} characters; pass 1 to {LONGEST_REASON} that tell everyone "
            "why"
        )
    return reason


def _print_season(season: Season, console: Console) -> None:
    opened = time.strftime("%Y-%m-%d", time.gmtime(season.opened_at))
    console.print(f"season {season.number} is {season.state.value}, opened on {opened}")
    console.print(f"SHA-256 of its secret: {season.secret_sha256}", soft_wrap=True)
    if season.revealed_secret is not None:
        console.print(f"secret: {escape(season.revealed_secret.hex())}", soft_wrap=True)
