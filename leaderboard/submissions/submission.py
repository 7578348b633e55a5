"""A submission: policies as ONNX files, their metadata and learning curves."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import gymnasium as gym

from leaderboard.boards.board import MOST_POLICIES, Board, board_of
from leaderboard.policy_files.canonical_form import canonical_digest
from leaderboard.policy_files.gate import check_graph
from leaderboard.policy_files.onnx_rules import LARGEST_MODEL
from leaderboard.sandbox.policy_signature import PolicySignature
from leaderboard.submissions.metadata import Metadata

LARGEST_CURVES = 512 * 1024  # [bytes]
MOST_POINTS = 500  # of one learning curve
MOST_CONSTRAINTS = 20
LARGEST_NUMBER = 1e100  # in a curve; averages of larger numbers may overflow
LARGEST_SUBMISSION = 32 * 1024 * 1024  # [bytes] in all


class SubmissionRefused(ValueError):
    """The submission is not accepted; the message says why."""


@dataclass(frozen=True)
class SubmittedCurve:
    """One training seed's learning curve as the submitter recorded it."""

    steps: tuple[float, ...]
    returns: tuple[float, ...]
    costs: tuple[tuple[float, ...], ...]  # (m, points) episode costs, per constraint


@dataclass(frozen=True)
class Submission:
    """What is sent."""

    metadata: Metadata
    policies: tuple[bytes, ...]
    curves: tuple[SubmittedCurve, ...] = ()  # one per policy, or none at all

    @property
    def board(self) -> Board:
        """The board it is for."""
        return board_of(self.metadata.env)

    @cached_property
    def canonical_sha256(self) -> tuple[str, ...]:
        """Digests of what each policy computes, whatever its form.

        Raises:
            SubmissionRefused: if a policy has no canonical form.
        """
        digests = []
        for position, content in enumerate(self.policies):
            try:
                digests.append(canonical_digest(content))
            except ValueError as refusal:
                raise SubmissionRefused(f"policy {position}: {refusal}") from None
        return tuple(digests)

    @property
    def content_sha256(self) -> str:
        """Digest of what the policies compute: neither their order nor their form matters."""
        return set_digest(self.canonical_sha256)

    @property
    def file_sha256(self) -> str:
        """Digest of the set of files; earlier versions kept it as the content's."""
        return set_digest(self.metadata.sha256)


@dataclass(frozen=True)
class Spaces:
    """The observations and actions of a board's policies."""

    observation: gym.Space
    action: gym.Space


@cache
def spaces_of(board: Board) -> Spaces:
    """Return the spaces of a board's environment."""
    env = gym.make(board.env, disable_env_checker=True)
    try:
        return Spaces(env.observation_space, env.action_space)
    finally:
        env.close()


def check_submission(submission: Submission) -> PolicySignature:
    """Return the policies' signature after all checks that do not run a policy.

    Raises:
        SubmissionRefused: if files and metadata do not belong together, or a policy is refused.
    """
    metadata, policies = submission.metadata, submission.policies
    if len(policies) != len(metadata.sha256):
        raise SubmissionRefused(
            f"there are {len(policies)} policy files but the metadata lists "
            f"{len(metadata.sha256)}; send each file once"
        )
    digests = [hashlib.sha256(content).hexdigest() for content in policies]
    for position, (found, told) in enumerate(zip(digests, metadata.sha256, strict=True)):
        if found != told:
            raise SubmissionRefused(
                f"policy {position} has SHA-256 {found} but the metadata says {told}; send it again"
            )
    if len(set(digests)) < len(digests):
        raise SubmissionRefused(
            "two policies are the same file; send one policy per training seed, each once"
        )
    if len(submission.curves) not in (0, len(policies)):
        raise SubmissionRefused(
            f"there are {len(submission.curves)} learning curves for {len(policies)} policies; "
            "send one for each or none"
        )
    constraints = len(submission.board.constraints)
    if any(len(curve.costs) != constraints for curve in submission.curves):
        raise SubmissionRefused(
            f"a learning curve has to have one list of costs per constraint, {constraints} in all"
        )
    signature = _checked_signature(submission)
    _check_distinct(submission.canonical_sha256)
    return signature


def _check_distinct(digests: Sequence[str]) -> None:
    """Raise SubmissionRefused if two policies differ in form only."""
    first: dict[str, int] = {}
    for position, digest in enumerate(digests):
        earlier = first.setdefault(digest, position)
        if earlier != position:
            raise SubmissionRefused(
                f"policies {earlier} and {position} are the same but for names, comments or the "
                "order of their parts; send one policy per training seed, each once"
            )


def set_digest(digests: Iterable[str]) -> str:
    """Return the SHA-256 of a set of digests, whatever their order."""
    return hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()


def _checked_signature(submission: Submission) -> PolicySignature:
    spaces = spaces_of(submission.board)
    signatures = []
    for position, content in enumerate(submission.policies):
        try:
            signatures.append(check_graph(content, spaces.observation, spaces.action))
        except ValueError as refusal:
            raise SubmissionRefused(f"policy {position}: {refusal}") from None
    signature = signatures[0]
    if any(other != signature for other in signatures):
        raise SubmissionRefused("the policies have different outputs; export all in the same way")
    if submission.metadata.stochastic and not signature.has_distribution:
        raise SubmissionRefused(
            "the metadata says stochastic but the files output only an action; export logits, or "
            "mean and log_std, or submit it as deterministic"
        )
    return signature


def parse_curves(content: bytes) -> tuple[SubmittedCurve, ...]:
    """Return the learning curves in a curves.json.

    The file is a list with one object per policy: {"steps": [...], "returns": [...],
    "costs": [[...]]}, up to 500 numbers each, with rising steps; costs has a list per constraint.

    Raises:
        SubmissionRefused: if it is anything else.
    """
    if len(content) > LARGEST_CURVES:
        raise SubmissionRefused(
            f"curves.json has {len(content):,} bytes; the limit is {LARGEST_CURVES:,}"
        )
    try:
        data = json.loads(content)
        return tuple(_curve(entry) for entry in _rows(data))
    except SubmissionRefused:
        raise
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        raise SubmissionRefused(
            'curves.json is not a list of {"steps": [...], "returns": [...], "costs": [[...]]}'
        ) from None


def curves_json(curves: Sequence[SubmittedCurve]) -> bytes:
    """Return the content of a curves.json."""
    data = [{"steps": c.steps, "returns": c.returns, "costs": c.costs} for c in curves]
    return json.dumps(data, allow_nan=False).encode()


def _rows(data: object) -> list[dict]:
    if not isinstance(data, list) or len(data) > MOST_POLICIES:
        raise SubmissionRefused(f"curves.json has to be a list of at most {MOST_POLICIES} curves")
    return data


def _curve(entry: dict) -> SubmittedCurve:
    if not isinstance(entry, dict) or set(entry) != {"steps", "returns", "costs"}:
        raise SubmissionRefused("a curve has the keys steps, returns and costs and no others")
    steps, returns = _numbers("steps", entry["steps"]), _numbers("returns", entry["returns"])
    if not isinstance(entry["costs"], list) or not 1 <= len(entry["costs"]) <= MOST_CONSTRAINTS:
        raise SubmissionRefused("the costs of a curve are one list per constraint")
    costs = tuple(_numbers("costs", line) for line in entry["costs"])
    lengths = {len(numbers) for numbers in (steps, returns, *costs)}
    if len(lengths) != 1 or not 1 <= len(steps) <= MOST_POINTS:
        raise SubmissionRefused(
            f"the lists of a curve have equally many numbers, 1 to {MOST_POINTS}"
        )
    if any(b <= a for a, b in itertools.pairwise(steps)):
        raise SubmissionRefused("the steps of a curve have to rise from point to point")
    return SubmittedCurve(steps, returns, costs)


def _numbers(name: str, values: object) -> tuple[float, ...]:
    if not isinstance(values, list):
        raise SubmissionRefused(f"{name} of a curve is not a list")
    if any(type(value) not in (int, float) or not abs(value) <= LARGEST_NUMBER for value in values):
        raise SubmissionRefused(
            f"{name} of a curve has an entry that is not a number up to {LARGEST_NUMBER:g}"
        )
    return tuple(float(value) for value in values)


def check_size(count: int) -> None:
    """Raise SubmissionRefused if a policy file of this many bytes is too large."""
    if count > LARGEST_MODEL:
        raise SubmissionRefused(
            f"a policy file has {count:,} bytes; the limit is {LARGEST_MODEL:,}; submit a "
            "smaller network"
        )
