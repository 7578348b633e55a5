"""Measures the service under load: `python -m leaderboard.load_benchmark`.

It makes a temporary store with a large board and runs the server with one worker on loopback. While
submissions are evaluated, it views pages at a fixed rate: the large board, its other orders and its
CSV file, the start page, single submissions and a static file.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import sqlalchemy as sa
import tyro
from gymnasium.spaces.utils import flatdim
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from rich.table import Table

from baselines.shell_command import shell_command
from leaderboard.benchmarks.load_client import Answers, LoadClient
from leaderboard.boards.board import Board, board_of
from leaderboard.commands.http_client import send
from leaderboard.scores.scored_episodes import ScoredEpisodes
from leaderboard.scores.scoring import score_row
from leaderboard.store.accounts import Scope, account_id_of, create_token
from leaderboard.store.audit import record
from leaderboard.store.database import Database, embedded_url, open_database
from leaderboard.store.score_store import keep_score
from leaderboard.store.seasons import open_season
from leaderboard.store.tables import episode, policy, submission
from leaderboard.submissions.metadata import parse_metadata
from leaderboard.submissions.submission import Submission, spaces_of

HOST = "127.0.0.1"
SHOWN_ENV = "Safe/CliffWorld-v0"  # the large board
SCORED_ENV = "Safe/DoubleIntegrator-v0"  # evaluated meanwhile
SUBMISSIONS = 5  # evaluated meanwhile, one policy each; each that ends changes all pages
START_SECONDS = 60.0  # for the server to answer


@dataclass(frozen=True)
class LoadOptions:
    """Measure the latency of page views while submissions are evaluated."""

    rows: int = 500
    """Rows of the large board."""
    rate: float = 200.0
    """Page views per second."""
    seconds: float = 10.0
    """Duration of the measurement."""


@dataclass(frozen=True)
class LoadOutcome:
    """The measured latencies and the number of episodes before and after."""

    answers: Answers
    episodes_before: int
    episodes_after: int


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and return the exit code: 0, or 1 if a request failed."""
    options = tyro.cli(
        LoadOptions, args=arguments, prog=shell_command("leaderboard.load_benchmark")
    )
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        url = embedded_url(Path(folder) / "store.sqlite")
        database = open_database(url)
        try:
            console.print(f"writing {options.rows} rows ...")
            open_season(database, "load benchmark")
            fill_board(database, board_of(SHOWN_ENV), options.rows)
            outcome = _measure(database, url, options)
        finally:
            database.close()
    console.print(outcome_table(options, outcome))
    for error in sorted(set(outcome.answers.errors))[:5]:
        console.print(error, markup=False)
    return 1 if outcome.answers.errors else 0


def fill_board(database: Database, board: Board, rows: int) -> None:
    """Write scored rows of made-up episodes directly into the open season of a store."""
    rng = np.random.default_rng(0)
    with database.writing() as connection:
        account = account_id_of(connection, "load benchmark")
        for number in range(rows):
            digests = [hashlib.sha256(f"{number} {j}".encode()).hexdigest() for j in range(5)]
            values = {
                "season": 1,
                "account_id": account,
                "env": board.env,
                "board_version": board.version,
                "content_sha256": hashlib.sha256("".join(digests).encode()).hexdigest(),
                "meta": json.dumps(_fields(board, f"Algorithm {number}", digests)),
                "state": "scored",
                "reason": "",
                "submitted_at": time.time(),
                "scored_at": time.time(),
            }
            made = connection.execute(sa.insert(submission).values(**values))
            score = score_row(board, _episodes(board, rng))
            assert made.inserted_primary_key is not None
            keep_score(connection, made.inserted_primary_key[0], score)
        record(connection, "load benchmark", "fill", str(rows))


def outcome_table(options: LoadOptions, outcome: LoadOutcome) -> Table:
    """Return a table of the measured numbers."""
    answers = outcome.answers
    latencies = 1000 * np.array(answers.latencies or [np.nan])
    median, p95, p99, worst = np.quantile(latencies, [0.5, 0.95, 0.99, 1.0])
    count = len(answers.latencies) + len(answers.errors)
    table = Table(title=f"{options.rows} rows, {options.rate:g} views/s", show_header=False)
    rows = {
        "views": f"{count:,} in {answers.seconds:.1f} s",
        "rate": f"{count / answers.seconds:.0f} views/s",
        "median": f"{median:.1f} ms",
        "95 %": f"{p95:.1f} ms",
        "99 %": f"{p99:.1f} ms",
        "worst": f"{worst:.1f} ms",
        "received": f"{answers.received / 2**20:.0f} MB",
        "errors": f"{len(answers.errors)}",
        "episodes evaluated meanwhile": f"{outcome.episodes_after - outcome.episodes_before}",
    }
    for name, text in rows.items():
        table.add_row(name, text)
    return table


def _measure(database: Database, url: str, options: LoadOptions) -> LoadOutcome:
    token = create_token(database, "submitter", Scope.SUBMIT, "load benchmark")
    with _served(url) as port:
        with httpx.Client(base_url=f"http://{HOST}:{port}") as client:
            for seed in range(SUBMISSIONS):
                send(client, token, _small_submission(seed), Console(quiet=True))
        paths = _views(options)
        asyncio.run(LoadClient(HOST, port).run(sorted(set(paths)), 20.0))  # each page once
        before = _count_episodes(database)
        answers = asyncio.run(LoadClient(HOST, port).run(paths, options.rate))
        return LoadOutcome(answers, before, _count_episodes(database))


@contextmanager
def _served(url: str) -> Iterator[int]:
    """Run the server with one worker and yield its port."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "leaderboard", "serve", "--db", url, "--port", str(port)]
    command += ["--connections-per-address", "0"]  # one address stands for many visitors
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            _wait_for(port)
            yield port
        finally:
            process.terminate()


def _wait_for(port: int) -> None:
    last_moment = time.monotonic() + START_SECONDS
    while True:
        try:
            httpx.get(f"http://{HOST}:{port}/health").raise_for_status()
            return
        except httpx.HTTPError:
            if time.monotonic() > last_moment:
                raise
            time.sleep(0.2)


def _views(options: LoadOptions) -> list[str]:
    """Return the paths to view, in order."""
    folder = f"/boards/{board_of(SHOWN_ENV).slug}"
    fixed = ["/", f"{folder}/", f"{folder}/tails.html", f"{folder}/board.csv", "/static/sort.js"]
    numbers = range(1, options.rows + 1, max(1, options.rows // 40))
    others = [f"/submissions/{number}.html" for number in numbers]
    rng = np.random.default_rng(0)
    count = int(options.rate * options.seconds)
    kinds = rng.choice(6, count, p=[0.2, 0.3, 0.05, 0.05, 0.1, 0.3])
    return [fixed[kind] if kind < 5 else others[rng.integers(len(others))] for kind in kinds]


def _small_submission(seed: int) -> Submission:
    board = board_of(SCORED_ENV)
    spaces = spaces_of(board)
    shape = (flatdim(spaces.observation), flatdim(spaces.action))
    content = _linear_policy(shape, seed)
    fields = _fields(board, f"Linear {seed}", [hashlib.sha256(content).hexdigest()])
    return Submission(parse_metadata(json.dumps(fields).encode()), (content,))


def _linear_policy(shape: tuple[int, int], seed: int) -> bytes:
    """Return a policy that multiplies an observation with small random weights."""
    weights = np.random.default_rng(seed).normal(0.0, 0.01, shape).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["observation", "weights"], ["action"])],
        "policy",
        [helper.make_tensor_value_info("observation", TensorProto.FLOAT, ["batch", shape[0]])],
        [helper.make_tensor_value_info("action", TensorProto.FLOAT, ["batch", shape[1]])],
        [numpy_helper.from_array(weights, "weights")],
    )
    opsets = [helper.make_opsetid("", 20)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


def _fields(board: Board, algorithm: str, digests: list[str]) -> dict[str, object]:
    return {
        "env": board.env,
        "algorithm": algorithm,
        "authors": ["Ada Lovelace", "Emmy Noether"],
        "organisation": "load benchmark",
        "training_seeds": list(range(len(digests))),
        "training_steps": 1_000_000,
        "hyperparameters": {"learning_rate": 0.0003, "layers": [64, 64]},
        "stochastic": False,
        "sha256": digests,
        "consent": True,
    }


def _episodes(board: Board, rng: np.random.Generator, policies: int = 5) -> ScoredEpisodes:
    """Return made-up episodes whose quality differs between rows."""
    shape = (policies, 100)
    span = board.reference_return - board.random_return
    returns = board.random_return + span * (rng.uniform() + 0.2 * rng.standard_normal(shape))
    scales = np.array(board.cost_scales)
    costs = scales * rng.uniform(0.2, 1.5) * rng.exponential(size=(*shape, scales.size))
    lengths = rng.integers(1, board.longest_episode + 1, shape).astype(float)
    return ScoredEpisodes(returns, costs, returns, costs, lengths)


def _count_episodes(database: Database) -> int:
    query = sa.select(sa.func.count()).select_from(episode.join(policy))
    with database.reading() as connection:
        return int(connection.execute(query).scalar_one())
