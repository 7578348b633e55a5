"""The written site is complete: every link and every file a page loads is there."""

import html.parser
from pathlib import PurePosixPath
from urllib.parse import unquote, urldefrag

import pytest

from leaderboard.commands.export import site_paths, write_site
from leaderboard.store.seasons import SeasonState
from tests.leaderboard.page_examples import CLIFF, ExampleSource, a_season


class Addresses(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found, self.ids = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids.add(values.get("id"))
        self.found += [values[name] for name in ("href", "src", "action") if name in values]


@pytest.fixture(scope="module")
def source():
    return ExampleSource(seasons=[a_season(1, SeasonState.REVEALED), a_season(2)])


@pytest.fixture(scope="module")
def folder(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    write_site(source, folder)
    return folder


def test_paths_are_distinct_and_written(source, folder):
    paths = list(site_paths(source))
    assert len(set(paths)) == len(paths)
    assert {
        file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()
    } == {*paths}
    assert f"boards/{CLIFF.slug}/tails-sort-p95.html" in paths
    assert f"season/1/{CLIFF.slug}/board.csv" in paths
    assert "compare/1-5.html" in paths


def test_every_link_leads_to_a_file(folder):
    pages = {file: Addresses(file.read_text("utf-8")) for file in folder.rglob("*.html")}
    reached = set()
    for page, addresses in pages.items():
        for address in addresses.found:
            if address.startswith("https://example.org/"):
                continue
            path, fragment = urldefrag(unquote(address))
            assert not PurePosixPath(path).is_absolute()
            target = (page.parent / path).resolve() if path else page
            assert target.is_relative_to(folder.resolve())
            assert target.is_file(), f"{page} links to {address}"
            assert not fragment or fragment in pages[target].ids
            reached.add(target)
    html_files = {file.resolve() for file in folder.rglob("*.html")}
    assert html_files - reached == set()


def test_writing_twice_gives_the_same_bytes(source, folder, tmp_path):
    again = write_site(source, tmp_path)
    for file in again:
        assert file.read_bytes() == (folder / file.relative_to(tmp_path)).read_bytes()
