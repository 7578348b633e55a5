"""Stores with a service in front of them, and the browser that tests of pages share."""

import pytest

from tests.chromium import open_browser
from tests.leaderboard.app_client import client_of
from tests.leaderboard.submissions import (
    a_store,
)


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
    with open_browser() as opened:
        yield opened
