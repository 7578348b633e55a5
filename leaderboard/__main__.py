"""The command line: `python -m leaderboard submit|verify|serve|export|...`."""

from __future__ import annotations

import sys

from baselines.subcommands import Command, run_subcommand
from leaderboard import administration
from leaderboard.administration import administer
from leaderboard.demo import LeaderboardDemoOptions, leaderboard_demo
from leaderboard.export import ExportOptions, export
from leaderboard.serve import ServeOptions, WorkerOptions, run_worker, serve
from leaderboard.submit import SubmitOptions, submit
from leaderboard.verify import VerifyOptions, verify

COMMANDS: dict[str, Command] = {
    "submit": (SubmitOptions, submit),
    "verify": (VerifyOptions, verify),
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
}


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand and return its exit code; 2 for a refused argument."""
    return run_subcommand(COMMANDS, "leaderboard", __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
