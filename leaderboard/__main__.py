"""The command line: `python -m leaderboard submit|verify|serve|export|...`."""

from __future__ import annotations

import sys

import tyro
from rich.console import Console
from rich.markup import escape

from leaderboard import administration
from leaderboard.administration import AdministrationOptions, administer
from leaderboard.demo import LeaderboardDemoOptions, leaderboard_demo
from leaderboard.export import ExportOptions, export
from leaderboard.serve import ServeOptions, WorkerOptions, run_worker, serve
from leaderboard.submit import SubmitOptions, submit
from leaderboard.verify import VerifyOptions, verify

ServiceOptions = LeaderboardDemoOptions | ServeOptions | WorkerOptions | ExportOptions
Options = SubmitOptions | VerifyOptions | ServiceOptions | AdministrationOptions


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand and return its exit code; 2 for a refused argument."""
    options: Options = tyro.extras.subcommand_cli_from_dict(
        {
            "submit": SubmitOptions,
            "verify": VerifyOptions,
            "demo": LeaderboardDemoOptions,
            "serve": ServeOptions,
            "worker": WorkerOptions,
            "export": ExportOptions,
            "create-token": administration.CreateTokenOptions,
            "revoke-tokens": administration.RevokeTokensOptions,
            "open-season": administration.OpenSeasonOptions,
            "close-season": administration.CloseSeasonOptions,
            "reveal": administration.RevealOptions,
            "withdraw": administration.WithdrawOptions,
        },
        prog="python -m leaderboard",
        description=__doc__,
        args=arguments,
    )
    console = Console()
    try:
        return _run(options, console)
    except ValueError as error:
        console.print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        return 2


def _run(options: Options, console: Console) -> int:
    if isinstance(options, SubmitOptions):
        return submit(options, console)
    if isinstance(options, VerifyOptions):
        return verify(options, console)
    if isinstance(options, LeaderboardDemoOptions):
        return leaderboard_demo(options, console)
    if isinstance(options, ServeOptions):
        return serve(options, console)
    if isinstance(options, WorkerOptions):
        return run_worker(options, console)
    if isinstance(options, ExportOptions):
        return export(options, console)
    return administer(options, console)


if __name__ == "__main__":
    sys.exit(main())
