"""The command `seed-baselines`: the rows that every board opens with.

The policies are trained by the machinery of `baselines compare`, or are those shipped here, and
they are submitted as anybody's, but by an account of their own, which marks their rows. Everything
is kept as soon as it is there, so a second call does only what is missing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console
from rich.markup import escape

from baselines.jobs.job import job_folder
from baselines.report.terminal_table import print_table
from baselines.shell_command import shell_command
from leaderboard.boards.baseline_plan import AGENTS, BaselineBudget, baseline_budgets, budget_of
from leaderboard.boards.board import MOST_POLICIES, RANKED_POLICIES, board_of
from leaderboard.commands.printed_board import printed_board
from leaderboard.commands.submit import evaluate_here
from leaderboard.evaluation.evaluate import tried_policies
from leaderboard.scores.ranked_row import Feasibility
from leaderboard.store.accounts import BASELINES, LOCAL, account_id_of
from leaderboard.store.board_rows import BoardRows
from leaderboard.store.database import Database, embedded_url, open_database, without_password
from leaderboard.store.seasons import ensure_season, open_season_number
from leaderboard.store.submission_store import (
    State,
    StoredSubmission,
    keep_submission,
    stored_submissions,
)
from leaderboard.submissions.baseline_submissions import (
    exact_submission,
    shipped_submissions,
    trained_submission,
    write_submission,
)
from leaderboard.submissions.metadata import Metadata
from leaderboard.submissions.submission import Submission
from safe_envs.contract.argument_checks import check_number

if TYPE_CHECKING:
    from baselines.commands.comparison_plan import Plan

TITLE = "Baselines of the leaderboard"
INTERRUPTED = (130, 143)  # exit codes
DECIDED = (State.SCORED, State.INVALID, State.FAILED)
_Policies = tuple[str, int, tuple[str, ...]]  # environment, board version, digests


@dataclass(frozen=True)
class SeedBaselinesOptions:
    """Submit the baselines of every board, the shipped ones or trained here; only what is missing.

    Trained here are PPO, PPOLag, PPOALM, SPMAALM and CPO, with the budgets of
    leaderboard/boards/baselines.toml. Boards with a known optimum or controller get that, too.
    """

    runs: Annotated[Path | None, tyro.conf.Positional] = None
    """Folder of the trainings, one per agent, board and seed; what is missing in it is trained. If
    it is left out, the shipped policies are submitted and nothing is trained."""
    boards: tuple[str, ...] = ()
    """Environment ids; all boards that have baselines if it is left out."""
    scale: float = 1.0
    """Factor on the steps of every training."""
    seeds: int = RANKED_POLICIES
    """Training seeds of each agent: 0, 1, ...; a rank needs five."""
    workers: int = 2
    """Processes that train, one thread each."""
    policies_to: Path | None = None
    """Folder to write the submissions to as well: BOARD/AGENT/meta.json, policy_0.onnx, ..."""
    db: str = embedded_url()
    """Store to submit to; the evaluation runs in this process."""
    url: str = ""
    """Address of a running leaderboard; takes precedence over --db."""
    token_file: Path | None = None
    """File with the token for --url, of the account that marks baselines."""

    def command(self) -> str:
        """Return the shell command with these options; no password."""
        words = [] if self.runs is None else [str(self.runs)]
        words += ["--boards", *self.boards] if self.boards else []
        words += ["--scale", str(self.scale), "--seeds", str(self.seeds)]
        words += ["--workers", str(self.workers)]
        words += [] if self.policies_to is None else ["--policies-to", str(self.policies_to)]
        words += [] if self.db == embedded_url() else ["--db", without_password(self.db)]
        words += ["--url", self.url] if self.url else []
        words += [] if self.token_file is None else ["--token-file", str(self.token_file)]
        return shell_command("leaderboard", "seed-baselines", *words)


def seed_baselines(options: SeedBaselinesOptions, console: Console) -> int:
    """Train what is missing, submit what is missing, and print the boards.

    Returns:
        The exit code: 0, 1 if a training failed or a policy is invalid, 130 or 143 if interrupted.

    Raises:
        ValueError: if an option is refused.
    """
    budgets = _chosen(options)
    if options.runs is None:
        code, submissions = 0, [one for each in budgets for one in shipped_submissions(each.env)]
    else:
        plans = {budget: _plan(options.runs, options, budget) for budget in budgets}
        code = _train(options.runs, options, list(plans.values()), console)
        if code in INTERRUPTED:
            return code
        submissions = _trained(options.runs, plans)
    if options.policies_to is not None:
        for submission in submissions:
            write_submission(submission, options.policies_to)
    if options.url:
        return max(code, _submit_to_server(options, submissions, console))
    return max(code, submit_baselines(options.db, submissions, console))


def submit_baselines(url: str, submissions: Sequence[Submission], console: Console) -> int:
    """Submit to a store what its open season does not have yet, evaluate, and print the boards.

    Args:
        url: of the store.
        submissions: of the baselines.
        console: to print to.

    Returns:
        The exit code: 0, or 1 if one of the submissions is invalid.
    """
    database = open_database(url)
    try:
        ensure_season(database, LOCAL)
        known = _in_season(database)
        numbers = [
            _kept(database, each, known.get(_policies(each.metadata, each.board.version)), console)
            for each in submissions
        ]
        return _print_boards(database, numbers, console)
    finally:
        database.close()


def _chosen(options: SeedBaselinesOptions) -> list[BaselineBudget]:
    """Return the budgets of the boards that are meant."""
    if not 0.0 < options.scale < math.inf:
        raise ValueError(f"scale is {options.scale:g}; pass a number above 0")
    check_number("seeds", options.seeds, low=1, high=MOST_POLICIES)
    check_number("workers", options.workers, low=1)
    if options.url:
        from leaderboard.commands.http_client import read_token

        read_token(options.token_file)  # before hours of training
    named = list(dict.fromkeys(options.boards))
    budgets = [budget_of(env) for env in named] or list(baseline_budgets().values())
    if options.runs is not None:
        return budgets
    without = [each.env for each in budgets if not shipped_submissions(each.env)]
    if named and without:
        raise ValueError(
            f"no policies are shipped for {', '.join(without)}; pass a folder, in which they are "
            "trained: seed-baselines RUNS"
        )
    return [each for each in budgets if each.env not in without]


def _plan(runs: Path, options: SeedBaselinesOptions, budget: BaselineBudget) -> Plan:
    """Return the trainings of a board."""
    from baselines.commands.comparison_plan import CompareOptions, plan

    return plan(
        CompareOptions(
            envs=(budget.env,),
            agents=AGENTS,
            out=runs,
            seeds=tuple(range(options.seeds)),
            total_timesteps=budget.scaled_timesteps(options.scale),
            eval_episodes=budget.evaluation_episodes,
            overrides=budget.overrides(AGENTS),
        )
    )


def _train(
    runs: Path, options: SeedBaselinesOptions, plans: Sequence[Plan], console: Console
) -> int:
    """Run the trainings that are missing and return the comparison's exit code."""
    from baselines.commands.compare import Comparison, run_comparison  # seconds: it draws plots
    from baselines.commands.comparison_plan import Plan

    jobs = [job for one in plans for job in one.jobs]
    models = {env: model for one in plans for env, model in one.models.items()}
    how = Comparison(runs, options.workers, TITLE, options.command())
    return run_comparison(Plan(jobs, models), how, console)


def _trained(runs: Path, plans: Mapping[BaselineBudget, Plan]) -> list[Submission]:
    """Return the submissions of all agents whose runs are finished, and the exact ones."""
    found = []
    for budget, planned in plans.items():
        for agent in AGENTS:
            jobs = [job for job in planned.jobs if job.agent == agent]
            folders = [job_folder(runs, job) for job in jobs]
            if all(job.outcome(folder).result for job, folder in zip(jobs, folders, strict=True)):
                found.append(trained_submission(folders))
        if budget.exact:
            found.append(exact_submission(budget))
    return found


def _kept(
    database: Database, submission: Submission, known: StoredSubmission | None, console: Console
) -> int:
    """Submit and evaluate what the season does not have yet; return the submission's number.

    Args:
        database: the store.
        submission: of a baseline.
        known: the season's submission of the same policies, if there is one.
        console: to print to.
    """
    name = f"{submission.metadata.algorithm} on {submission.metadata.env}"
    if known is None:
        with tried_policies(submission) as tried:
            with database.writing() as connection:
                account = account_id_of(connection, BASELINES)
            number = keep_submission(database, submission, account, quota=False).id
            evaluate_here(database, number, tried, console)
        told = "submitted"
    else:
        number = known.id
        told = "there already" if known.state in DECIDED else "evaluated"
        evaluate_here(database, number, {}, console)
    console.print(f"submission {number}: {escape(name)}, {told}", soft_wrap=True)
    return number


def _in_season(database: Database) -> dict[_Policies, StoredSubmission]:
    """Return the submissions of the open season by their policies."""
    with database.reading() as connection:
        season = open_season_number(connection)
    stored = stored_submissions(database, season=season)
    return {_policies(one.metadata, one.board_version): one for one in stored}


def _policies(metadata: Metadata, version: int) -> _Policies:
    """Return what two submissions of the same policies to a version of a board have in common."""
    return metadata.env, version, tuple(sorted(metadata.sha256))


def _print_boards(database: Database, numbers: Sequence[int], console: Console) -> int:
    """Print the boards of these submissions; return the exit code, 1 if one of them is invalid."""
    rows = BoardRows(database)
    submissions = rows.submissions()
    mine = [submissions[number] for number in numbers]
    for env, season in dict.fromkeys((found.env, found.season) for found in mine):
        ordered = rows.rows(env, season, Feasibility.MEAN)
        print_table(console, printed_board(board_of(env), ordered))
    foreign = [found for found in mine if found.account != BASELINES]
    for found in foreign:
        told = f"submission {found.id}, with the same policies, is of {found.account}"
        console.print(f"[yellow]no baseline:[/] {escape(told)}", soft_wrap=True)
    wrong = [found for found in mine if found.state in (State.INVALID, State.FAILED)]
    for found in wrong:
        told = f"submission {found.id} is {found.state.value}: {found.reason}"
        console.print(f"[red]failed:[/] {escape(told)}", soft_wrap=True)
    return 1 if wrong else 0


def _submit_to_server(
    options: SeedBaselinesOptions, submissions: Sequence[Submission], console: Console
) -> int:
    """Submit one after the other to a server, which knows duplicates itself."""
    from leaderboard.commands.http_client import submit_to

    codes = [submit_to(options.url, options.token_file, each, console) for each in submissions]
    return max(codes, default=0)
