"""The command line: `python -m leaderboard submit|verify|serve|export|...`."""

from __future__ import annotations

import sys

from baselines.commands.subcommands import Command, run_subcommand
from leaderboard.commands import administration
from leaderboard.commands.administration import administer
from leaderboard.commands.demo import LeaderboardDemoOptions, leaderboard_demo
from leaderboard.commands.export import ExportOptions, export
from leaderboard.commands.seed_baselines import SeedBaselinesOptions, seed_baselines
from leaderboard.commands.serve import ServeOptions, WorkerOptions, run_worker, serve
from leaderboard.commands.store_care import BackupOptions, CheckStoreOptions, backup, check
from leaderboard.commands.submit import SubmitOptions, submit
from leaderboard.commands.verify import VerifyOptions, verify

COMMANDS: dict[str, Command] = {
    "submit": (SubmitOptions, submit),
    "verify": (VerifyOptions, verify),
    "seed-baselines": (SeedBaselinesOptions, seed_baselines),
    "demo": (LeaderboardDemoOptions, leaderboard_demo),
    "serve": (ServeOptions, serve),
    "worker": (WorkerOptions, run_worker),
    "export": (ExportOptions, export),
    "create-token": (administration.CreateTokenOptions, administer),
    "revoke-tokens": (administration.RevokeTokensOptions, administer),
    "open-season": (administration.OpenSeasonOptions, administer),
    "close-season": (administration.CloseSeasonOptions, administer),
    "reveal": (administration.RevealOptions, administer),
    "withdraw": (administration.WithdrawOptions, administer),
    "requeue": (administration.RequeueOptions, administer),
    "rescore": (administration.RescoreOptions, administer),
    "check-store": (CheckStoreOptions, check),
    "backup": (BackupOptions, backup),
}


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand and return its exit code; 2 for a refused argument."""
    return run_subcommand(COMMANDS, "leaderboard", __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
