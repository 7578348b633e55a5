"""Small valid submissions for tests, and a store to send them to."""

import hashlib
import json
from pathlib import Path

from gymnasium import spaces

from leaderboard.boards.board import board_of
from leaderboard.store.accounts import Scope, create_token
from leaderboard.store.database import Database, embedded_url, open_database
from leaderboard.store.seasons import open_season
from leaderboard.submissions.metadata import parse_metadata
from leaderboard.submissions.submission import Submission, SubmittedCurve, curves_json, spaces_of
from tests.leaderboard.onnx_models import Network, network_policy

QUICK = "Safe/ConstrainedRegression-v0"  # episodes of one step
SECRET = bytes(range(100, 132))
Form = list[tuple[str, tuple[str, bytes, str]]]


def policy_for(env: str, seed: int = 0, hidden: int = 4) -> bytes:
    """Return a policy of a board; each seed has its own."""
    found = spaces_of(board_of(env))
    size = int(spaces.flatdim(found.observation))
    width = int(spaces.flatdim(found.action))
    is_discrete = isinstance(found.action, spaces.Discrete)
    network = Network.random(size, hidden, width, seed=seed)
    return network_policy(network, "logits" if is_discrete else "action")


def fields_for(env: str, policies: list[bytes], /, **changes) -> dict:
    """Return the content of a meta.json."""
    fields = {
        "env": env,
        "algorithm": "Small network",
        "authors": ["Ada Lovelace"],
        "training_seeds": list(range(len(policies))),
        "training_steps": 1000,
        "stochastic": False,
        "sha256": [hashlib.sha256(content).hexdigest() for content in policies],
        "consent": True,
    }
    return fields | changes


def a_curve(env: str, points: int = 3) -> SubmittedCurve:
    """Return a learning curve."""
    steps = tuple(float(step) for step in range(points))
    return SubmittedCurve(steps, steps, (steps,) * len(board_of(env).constraints))


def a_submission(env: str = QUICK, count: int = 1, first_seed: int = 0, **changes) -> Submission:
    """Return a submission of this many policies with learning curves."""
    policies = [policy_for(env, first_seed + position) for position in range(count)]
    metadata = parse_metadata(json.dumps(fields_for(env, policies, **changes)).encode())
    return Submission(metadata, tuple(policies), (a_curve(env),) * count)


def a_form(given: Submission, meta: bytes | None = None) -> Form:
    """Return the parts of the form that sends a submission, with other metadata if given."""
    told = given.metadata.model_dump_json().encode() if meta is None else meta
    form = [("meta", ("meta.json", told, "application/json"))]
    form += [
        ("policies", (f"policy_{position}.onnx", content, "application/octet-stream"))
        for position, content in enumerate(given.policies)
    ]
    return [*form, ("curves", ("curves.json", curves_json(given.curves), "application/json"))]


def a_store(path: Path, secret: bytes = SECRET) -> Database:
    """Return a new store with an open season."""
    database = open_database(embedded_url(path))
    open_season(database, "test", secret)
    return database


def header_of(database: Database, account: str, scope: Scope = Scope.SUBMIT) -> dict[str, str]:
    """Return the header with a new token of an account."""
    return {"Authorization": f"Bearer {create_token(database, account, scope, 'test')}"}
