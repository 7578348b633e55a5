"""Untrusted text stays text, and paths lead only to the site's own pages."""

import csv
import dataclasses
import hashlib
import io
import json
import re

import pytest

from leaderboard.scores.ranked_row import Feasibility
from leaderboard.store.submission_store import State
from leaderboard.web import safe_text
from leaderboard.web.board_table import board_csv
from leaderboard.web.pages import CONTENT_SECURITY_POLICY, PAGE_POLICY, render
from tests.leaderboard.page_examples import CLIFF, ExampleSource, scored_rows, some_metadata
from tests.leaderboard.parsed_page import Parsed, parsed, text_of

BOARD = f"boards/{CLIFF.slug}/index.html"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/index.html",
        "../pyproject.toml",
        "static/../pages.py",
        "static/../../pyproject.toml",
        "static/",
        "static/pages.css\n",
        "boards/../index.html",
        f"boards/{CLIFF.slug}/",
        f"boards/{CLIFF.slug}/sort-secret.html",
        f"boards/{CLIFF.slug}/index.html\n",
        "boards/Unknown-v0/index.html",
        "submissions/0.html",
        "submissions/01.html",
        "submissions/\N{ARABIC-INDIC DIGIT ONE}.html",
        "submissions/1.html/",
        "submissions/99999.html",
        "submissions/" + "9" * 400 + ".html",
        "compare/1-1.html",
        "compare/1-999.html",
        "compare/1-201.html",
        "season/9.html",
    ],
)
def test_other_paths_have_no_page(path):
    assert render(path, ExampleSource()) is None


HOSTILE = {
    "script": "<script>alert(1)</script>",
    "image": '"><img src=x onerror=alert(1)>',
    "template": "{{ 7 * 7 }}{% raw %}",
    "override": "abc\u202egnp.exe",
    "long": "x" * 10_000,
    "end": "</script><script>alert(2)</script>",
    "lines": "a\u2028b\u2029c\x00d",
    "formula": "=cmd|' /C calc'!A0",
}


def hostile_source(text):
    metadata = some_metadata(
        algorithm=text,
        authors=[text, text],
        organisation=text,
        family=text,
        hardware=text,
        url="javascript:alert(1)",
        code_url="JaVaScRiPt:alert(1)",
        code_revision=text,
        code_licence=text,
        citation=text,
        framework_versions={text: text},
        hyperparameters={text: [text, {"deep": text}]},
    )
    rows = scored_rows(CLIFF, [(metadata, 2000.0, 18.0), (metadata, 1900.0, 18.0)])
    submission = dataclasses.replace(rows[1].submission, state=State.INVALID, reason=text)
    broken = dataclasses.replace(rows[1], submission=submission)
    return ExampleSource(rows={CLIFF.env: [rows[0], rows[1], broken]}, boards=(CLIFF,))


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_stays_text(text):
    source = hostile_source(text)
    tame = hostile_source("tame")
    for path in (
        "index.html",
        BOARD,
        f"boards/{CLIFF.slug}/environment.html",
        "submissions/1.html",
        "compare/1-2.html",
        "aggregate.html",
    ):
        content = text_of(path, source)
        elements = [tag for tag, _ in Parsed(content).elements]
        assert elements == [tag for tag, _ in parsed(path, tame).elements]
        assert not re.search(r"[\u202a-\u202e\u2066-\u2069\u2028\u2029\x00]", content)
        for tag, attributes in Parsed(content).elements:
            assert not [name for name in attributes if name.startswith("on") or name == "style"]
            address = attributes.get("href", attributes.get("src", ""))
            assert not address.lower().startswith(("javascript", "data", "//")), tag
        for data in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', content):
            assert "<" not in data
            json.loads(data)


def test_untrusted_links():
    page = parsed("submissions/1.html")
    (link,) = [a for tag, a in page.elements if tag == "a" and a["href"].endswith("/paper")]
    assert link["rel"] == "nofollow noopener ugc"
    good = ["https://example.org", "https://example.org:8080/a?b=c#d"]
    bad = ["http://a.org", "javascript:alert(1)", "https://a.org/\n", "https://a b", "//a.org",
           'https://a.org/" onclick', "https://u@a.org/"]  # fmt: skip
    assert [safe_text.https_link(text) for text in good] == good
    assert [safe_text.https_link(text) for text in bad] == [""] * len(bad)


def test_contact_is_shown_nowhere():
    source = ExampleSource(revealed=True)
    folder = BOARD.removesuffix("index.html")
    for path in (BOARD, "submissions/1.html", folder + "board.csv", folder + "board.json"):
        assert "secret-contact" not in text_of(path, source)


def test_csv_parses_back_and_contains_no_formula():
    page = ExampleSource().board_page(CLIFF.env, 1, Feasibility.MEAN)
    records = list(csv.DictReader(io.StringIO(board_csv(page), newline="")))
    found = page.rows[0].ranked.candidate.score.statistics
    assert len(records) == len(page.rows)
    assert float(records[0]["score"]) == found.score.value
    assert float(records[0]["cost_speed_p95"]) == found.costs[0].p95.value
    assert records[-1]["score"] == ""
    for start in "=+-@\t\r":
        hostile = hostile_source(f"{start}1+1").board_page(CLIFF.env, 1, Feasibility.MEAN)
        record = next(csv.DictReader(io.StringIO(board_csv(hostile), newline="")))
        assert record["algorithm"].startswith("'")
    assert safe_text.csv_cell(-1.5) == -1.5


def test_policy_lets_nothing_in_from_elsewhere():
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert "http" not in CONTENT_SECURITY_POLICY
    metas = [a for tag, a in parsed(BOARD).elements if tag == "meta"]
    assert [a["content"] for a in metas if "http-equiv" in a] == [PAGE_POLICY]
    for tag, attributes in parsed("submissions/1.html").elements:
        if tag in ("script", "link", "img"):
            assert not attributes.get("src", attributes.get("href", "")).startswith("http")
        if tag == "script":
            assert "src" in attributes or attributes["type"] == "application/json"


def test_vendored_files_come_with_their_licenses():
    source = ExampleSource()
    for name in ("d3", "plot"):
        assert b"Copyright" in render(f"static/vendor/{name}-LICENSE.txt", source).content
        script = render(f"static/vendor/{name}.min.js", source).content
        assert hashlib.sha256(script).hexdigest() == VENDORED[name]


VENDORED = {
    "d3": "912111098ea99503a6f4967361d2bbdc9dbf58cf9c678c8e27e5b02d1a07f0c1",  # 7.9.2
    "plot": "4358086467740777dd788d6b27a95cebdbaefdd50c730a3060117073bd7134cb",  # 0.6.17
}
