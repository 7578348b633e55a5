"""Submits to a leaderboard at a URL and waits for the result."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.markup import escape

from baselines.report.terminal_table import print_table
from leaderboard.boards.board import board_of
from leaderboard.commands.row_table import score_table
from leaderboard.scores.published import published_from_json
from leaderboard.submissions.metadata import Claim
from leaderboard.submissions.submission import Submission, curves_json

POLL_SECONDS = 3.0
TIMEOUT = 120.0  # [s] for the upload
MOST_TRIES = 20  # while the server is busy
LONGEST_WAIT = 60.0  # [s] between them
UNDECIDED = ("queued", "running")


class ServerRefused(ValueError):
    """The server refused the submission or could not be reached."""


def submit_to(url: str, token_file: Path | None, submission: Submission, console: Console) -> int:
    """Send a submission, wait until it is evaluated, and print the result.

    Returns:
        The exit code: 0, or 1 if the submission is invalid.

    Raises:
        ServerRefused: with what the server said.
    """
    token = read_token(token_file)
    with httpx.Client(base_url=url.rstrip("/"), timeout=TIMEOUT) as client:
        number = send(client, token, submission, console)
        page = f"{url.rstrip('/')}/submissions/{number}.html"
        console.print(f"submission {number}: {page}", soft_wrap=True, markup=False)
        row = wait_for(client, number, console)
    return _show(row, console)


def read_token(token_file: Path | None) -> str:
    """Return the token in a file.

    Raises:
        ValueError: if there is no file or no token in it.
    """
    if token_file is None:
        raise ValueError("--url needs --token-file; pass the file with your token")
    try:
        token = token_file.read_text("utf-8").strip()
    except OSError as error:
        raise ValueError(f"{token_file} cannot be read: {error.strerror}") from error
    if not token.isascii() or not token.isprintable() or not token or " " in token:
        raise ValueError(f"{token_file} has no token; it is one line, as printed by create-token")
    return token


def send(client: httpx.Client, token: str, submission: Submission, console: Console) -> int:
    """Send a submission and return its number; for a duplicate, the number of the earlier one."""
    files = [("meta", ("meta.json", submission.metadata.model_dump_json(), "application/json"))]
    parts: list[Any] = [
        *files,
        *(
            ("policies", (f"policy_{position}.onnx", content, "application/octet-stream"))
            for position, content in enumerate(submission.policies)
        ),
    ]
    if submission.curves:
        parts.append(("curves", ("curves.json", curves_json(submission.curves))))
    headers = {"Authorization": f"Bearer {token}"}
    answer = _request(client, "POST", "/api/v1/submissions", files=parts, headers=headers)
    data = _json(answer)
    if answer.status_code == 409 and isinstance(data.get("detail"), dict):
        number = int(data["detail"]["id"])
        console.print(f"these policies are already submission {number}")
        return number
    if answer.status_code != 202:
        raise ServerRefused(
            f"the server refused the submission ({answer.status_code}): {data.get('detail')}"
        )
    return int(data["id"])


def wait_for(client: httpx.Client, number: int, console: Console) -> dict[str, Any]:
    """Return the server's JSON for a submission once it is evaluated."""
    told = -1
    while True:
        answer = _request(client, "GET", f"/api/v1/submissions/{number}")
        if answer.status_code == 429:
            time.sleep(float(answer.headers.get("retry-after", POLL_SECONDS)))
            continue
        row = _json(answer)
        if answer.status_code != 200:
            raise ServerRefused(f"the server answered {answer.status_code}: {row.get('detail')}")
        if row["state"] not in UNDECIDED:
            return row
        if row["episodes_done"] != told:
            told = row["episodes_done"]
            console.print(f"{row['state']}: {told} of {row['episodes_total']} episodes")
        time.sleep(POLL_SECONDS)


def _show(row: dict[str, Any], console: Console) -> int:
    if row["statistics"] is None:
        console.print(f"{row['state']}: {escape(row['reason'])}")
        return 1

    claim = row["metadata"]["claim"]
    statistics = published_from_json(row["statistics"])
    board = board_of(row["env"])
    print_table(console, score_table(board, statistics, Claim(**claim) if claim else None))
    rank = "without a rank" if row["rank"] is None else f"rank {row['rank']}"
    console.print(f"{escape(row['env'])}: {rank}, tier {row['tier']}")
    for line in _told_copies(row):
        console.print(line, soft_wrap=True)
    return 0


def _told_copies(row: dict[str, Any]) -> list[str]:
    """Return the lines that `told_copies` has for a row of a store."""
    lines = [
        f"policy {near['policy']:d} acts like policy {near['original_policy']:d} of submission "
        f"{near['original_submission']:d} (distance {near['distance']:.2g})"
        for near in row.get("near_copies_of") or ()
    ]
    if row.get("near_copies"):
        lines.append(
            f"{row['near_copies']:d} of {len(row['metadata']['training_seeds'])} policies are "
            "near-copies; a row with near-copies has no rank"
        )
    return lines


def _json(answer: httpx.Response) -> dict[str, Any]:
    """Return the JSON object in an answer; a proxy may send something else."""
    try:
        data = answer.json()
    except ValueError:
        data = None
    if not isinstance(data, dict):
        raise ServerRefused(
            f"{answer.url} answered {answer.status_code} without a JSON object; is it a "
            "leaderboard's address?"
        )
    return data


def _request(client: httpx.Client, method: str, path: str, **content: Any) -> httpx.Response:
    """Return the answer to a request; a server that is busy is asked again for a while."""
    for _ in range(MOST_TRIES):
        try:
            answer = client.request(method, path, **content)
        except httpx.HTTPError as error:
            raise ServerRefused(
                f"{client.base_url} cannot be reached: {type(error).__name__}: {error}"
            ) from error
        if answer.status_code != 503:  # with 503 nothing was changed
            return answer
        time.sleep(_seconds_to_wait(answer))
    raise ServerRefused(
        f"{client.base_url} is busy or its store is not available (503); try again later"
    )


def _seconds_to_wait(answer: httpx.Response) -> float:
    given = answer.headers.get("retry-after", "")
    return min(float(given), LONGEST_WAIT) if given.isdecimal() else POLL_SECONDS
