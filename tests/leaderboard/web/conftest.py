"""Stores with a service in front of them, and the browser that tests of pages share."""

from pathlib import Path

import pytest

from tests.leaderboard.app_client import client_of
from tests.leaderboard.submissions import (
    a_store,
)

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture
def store(tmp_path):
    database = a_store(tmp_path / "store.sqlite")
    yield database
    database.close()


@pytest.fixture
def client(store):
    with client_of(store) as client:
        yield client


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """A client of an empty store that no test writes to."""
    database = a_store(tmp_path_factory.mktemp("quiet") / "store.sqlite")
    with client_of(database) as client:
        yield client
    database.close()


@pytest.fixture(scope="module")
def browser():
    """A browser; an event loop runs while it is open, so it is closed before other modules run."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs `pip install playwright`")
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is missing; install Debian's package chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()
