"""A newcomer's path over HTTP: a token, a submission, the row in a browser."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from leaderboard.__main__ import main
from leaderboard.store.accounts import Scope, create_token
from leaderboard.store.database import open_database
from tests.leaderboard.tabular_policies import fields_for, random_tables, table_policy

ROOT = Path(__file__).parents[3]
SEA = "Safe/DeepSeaTreasure-v0"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Address and store of a running leaderboard."""
    folder = tmp_path_factory.mktemp("served")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    db, url = f"sqlite:///{folder / 'store.sqlite'}", f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "leaderboard", "serve", "--db", db, "--port", str(port)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    last_moment = time.monotonic() + 60
    while time.monotonic() < last_moment:
        try:
            if httpx.get(url + "/health").status_code == 200:
                break
        except httpx.TransportError:
            time.sleep(0.1)
    yield url, db, folder
    server.terminate()
    assert server.wait(30) == 0


@pytest.fixture(scope="module")
def submitted(served):
    """The address of a leaderboard with one scored submission, made by the command."""
    url, db, folder = served
    policies = [table_policy(table) for table in random_tables(25, 2, 5)]
    own = folder / "own"
    own.mkdir()
    for position, content in enumerate(policies):
        (own / f"policy_{position}.onnx").write_bytes(content)
    fields = fields_for(SEA, policies, algorithm="Random tables", authors=["N. Ewcomer"])
    del fields["sha256"]
    (own / "meta.json").write_text(json.dumps(fields))
    database = open_database(db)
    token = create_token(database, "newcomer", Scope.SUBMIT, "tester")
    database.close()
    (folder / "token").write_text(token + "\n")
    words = ["submit", str(own), "--url", url, "--token-file", str(folder / "token")]
    assert main(words) == 0
    assert main(words) == 0  # the same policies: the existing row
    return url


def test_the_command_submits_over_http(submitted):
    row = httpx.get(submitted + "/api/v1/submissions/1").json()
    assert (row["state"], row["rank"], row["rank_interval"]) == ("scored", 1, [1, 1])
    assert row["statistics"]["episodes"] == 100
    assert httpx.get(submitted + "/api/v1/submissions/2").status_code == 404


def test_the_row_is_seen_in_the_browser(submitted, browser):
    problems, foreign = [], []
    page = browser.new_page()
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith(submitted) else foreign.append(r.url))
    page.goto(submitted)
    page.get_by_role("link", name="Deep sea treasure").first.click()
    row = page.locator("tr[data-submission]", has_text="Random tables")
    assert "N. Ewcomer" in row.inner_text()
    page.locator("[data-chart] svg").first.wait_for()
    row.get_by_role("link", name="Random tables").click()
    page.locator("[data-chart] svg").first.wait_for()
    assert "rank 1" in page.locator("main").inner_text()
    page.close()
    assert (problems, foreign) == ([], [])
