"""The submissions of the baselines: of trained runs, of exact policies, and those shipped here.

The shipped ones were made by the command `seed-baselines RUNS --policies-to FOLDER` and are folders
as `submit` takes them, boards/baseline_policies/BOARD/AGENT.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from baselines.atomic_files import write_atomically
from baselines.jobs.run_folder import versions
from baselines.names.environments import parse_environment_name
from baselines.names.own_code import slug
from leaderboard.boards.baseline_plan import BaselineBudget
from leaderboard.boards.board import board_of
from leaderboard.submissions.from_runs import META, metadata_of, submission_of
from leaderboard.submissions.submission import Submission

SHIPPED = Path(__file__).parents[1] / "boards" / "baseline_policies"
AUTHORS = ["safe-envs"]
PACKAGES = ("safe-envs", "gymnasium", "numpy", "scipy", "onnx")


def trained_submission(runs: Sequence[Path]) -> Submission:
    """Return the submission of an agent's runs, one folder per seed.

    Raises:
        SubmissionRefused: if one of them is not finished, or they do not belong together.
    """
    return submission_of(runs, stochastic=True, fields={"authors": AUTHORS})


def exact_submission(budget: BaselineBudget) -> Submission:
    """Return the submission of the policy that is known without training, one file.

    Args:
        budget: of a board that has such a policy.
    """
    from baselines.policy_export.exact_policies import exact_policy  # PyTorch

    installed = versions(PACKAGES)
    told = {"env": budget.env, "safe_envs_version": installed["safe-envs"]}
    found = exact_policy(budget.exact, parse_environment_name(budget.env), told)
    fields = {
        "env": budget.env,
        "algorithm": found.name,
        "authors": AUTHORS,
        "training_seeds": [0],
        "training_steps": 0,
        "suite_version": installed["safe-envs"],
        "framework_versions": installed,
        "uses_model": True,
        "stochastic": found.stochastic,
        "consent": True,
        "sha256": [hashlib.sha256(found.content).hexdigest()],
    }
    if found.value is not None:
        claim = {"mean_return": found.value, "mean_costs": found.costs}
        fields["claim"] = {**claim, "episodes": 1, "exact": True}
    return Submission(metadata_of(fields), (found.content,))


def shipped_submissions(env: str) -> list[Submission]:
    """Return the shipped submissions to a board in the order of their names, perhaps none.

    Raises:
        ValueError: if there is no such board.
    """
    folder = SHIPPED / board_of(env).slug
    found = sorted(file.parent for file in folder.glob(f"*/{META}"))
    return [submission_of([each], stochastic=True, fields={}) for each in found]


def write_submission(submission: Submission, folder: Path) -> Path:
    """Write a submission as a folder that `submit` takes, and return the folder.

    Args:
        submission: that is written; without its learning curves.
        folder: of all boards; the submission's own one is BOARD/ALGORITHM below it.
    """
    name = submission.metadata.algorithm.partition(" (")[0].replace(" ", "_")
    own = folder / submission.board.slug / slug(name)
    own.mkdir(parents=True, exist_ok=True)
    for old in own.glob("policy_*.onnx"):
        old.unlink()
    for position, content in enumerate(submission.policies):
        write_atomically(own / f"policy_{position}.onnx", content)
    told = submission.metadata.model_dump_json(exclude_defaults=True, indent=1) + "\n"
    write_atomically(own / META, told.encode())
    return own
