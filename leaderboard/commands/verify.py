"""The command `verify`: evaluates policies as the leaderboard does, but sends nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from baselines.report.terminal_table import print_table
from baselines.shell_command import shell_command
from leaderboard.boards.board import EPISODES_PER_POLICY
from leaderboard.commands.row_table import contents_table, score_table
from leaderboard.evaluation.evaluate import PolicyFile, play_policy, seed_indices
from leaderboard.policy_files.policy_refused import PolicyRefused
from leaderboard.sandbox.policy import PolicyFailed, SandboxUnavailable
from leaderboard.scores.published import exactly
from leaderboard.scores.ranked_row import Feasibility
from leaderboard.scores.ranking import tier_of
from leaderboard.scores.row_score import RowScore
from leaderboard.scores.scored_episodes import EpisodeSums, episodes_of
from leaderboard.scores.scoring import score_row
from leaderboard.store.seasons import PUBLIC_SECRET, SECRET_SIZE
from leaderboard.submissions.from_runs import submission_of
from leaderboard.submissions.submission import Submission, check_submission


@dataclass(frozen=True)
class VerifyOptions:
    """Evaluate the policies of finished runs on the public seeds, or replay a revealed season."""

    run_dirs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """As for submit."""
    deterministic: bool = False
    """As for submit."""
    secret: str = ""
    """A season's revealed secret, 64 hexadecimal digits, to repeat its episodes bit for bit."""
    retrain: bool = False
    """Instead, repeat the training of one seed in a temporary folder, from the settings in its
    folder, and compare the policy that comes out with the submitted one."""
    seed: int | None = None
    """Training seed to repeat; the first run's if not given."""
    import_env: bool = False
    """Import the module or file of an environment of one's own, which runs its code."""
    import_agent: bool = False
    """Import the module or file of an agent of one's own, which runs its code."""


def verify(options: VerifyOptions, console: Console) -> int:
    """Evaluate policies and print the measured numbers next to the claim, or repeat a training.

    Returns:
        The exit code: 0, or 1 if a repeated training gave another policy.

    Raises:
        ValueError: if the submission or an option is refused.
    """
    if not options.run_dirs:
        train = shell_command("baselines", "train")
        raise ValueError(f"no folder was given; pass folders that `{train}` wrote")
    if options.retrain:
        return _retrain(options, console)
    secret = _secret(options.secret)
    submission = submission_of(options.run_dirs, stochastic=not options.deterministic, fields={})
    print_table(console, contents_table(submission))
    try:
        score = evaluate_submission(submission, secret)
    except (PolicyFailed, PolicyRefused) as failure:
        raise ValueError(f"the submission is invalid: {failure}") from failure
    except SandboxUnavailable as fault:
        raise ValueError(f"the submission cannot be evaluated here: {fault}") from fault
    numbers = exactly(score.statistics)  # of public episodes
    print_table(console, score_table(submission.board, numbers, submission.metadata.claim))
    split = "season of this secret" if options.secret else "public split"
    console.print(f"tier on the {split}: {tier_of(score, Feasibility.MEAN).value}")
    return 0


def _retrain(options: VerifyOptions, console: Console) -> int:
    from leaderboard.commands.retrain import retrain

    try:
        is_same = retrain(
            options.run_dirs,
            options.seed,
            console,
            import_env=options.import_env,
            import_agent=options.import_agent,
        )
    except PolicyFailed as failure:
        raise ValueError(f"the policies cannot be compared: {failure}") from failure
    return 0 if is_same else 1


def evaluate_submission(submission: Submission, secret: bytes) -> RowScore:
    """Return the score of a submission on the seeds of a secret.

    Raises:
        SubmissionRefused: if it does not pass the checks.
        PolicyFailed: if a policy fails.
        PolicyRefused: if a policy has a memory.
        SandboxUnavailable: if this machine cannot run the policies.
    """
    signature = check_submission(submission)
    board = submission.board
    episodes: list[EpisodeSums] = []
    for position, content in enumerate(submission.policies):
        file = PolicyFile(content, signature, submission.metadata.stochastic)
        for batch in play_policy(board, file, secret, list(seed_indices(position))):
            episodes += batch.values()
    assert len(episodes) == EPISODES_PER_POLICY * len(submission.policies)
    return score_row(board, episodes_of(episodes, len(submission.policies)))


def _secret(text: str) -> bytes:
    if not text:
        return PUBLIC_SECRET
    try:
        secret = bytes.fromhex(text)
    except ValueError:
        secret = b""
    if len(secret) != SECRET_SIZE:
        raise ValueError(f"--secret is {text!r}; pass {2 * SECRET_SIZE} hexadecimal digits")
    return secret
