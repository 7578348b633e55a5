"""Errors are pages of the site for browsers, JSON for the API and a line for everybody else."""

import re

import pytest

from leaderboard.web.error_pages import LONGEST_PATH, error_page
from leaderboard.web.service import create_app
from tests.leaderboard.app_client import AppClient

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def heading(answer):
    assert answer.headers["content-type"].startswith("text/html")
    return re.search("<h1>(.*?)</h1>", answer.text)[1]


@pytest.mark.parametrize(
    ("method", "path", "status", "title", "line"),
    [
        ("GET", "/nothing", 404, "There is no such page", "there is no such page"),
        ("GET", "/submissions/7.html", 404, "There is no such page", "there is no such page"),
        ("POST", "/", 405, "This page can only be read", "pages are read only"),
        ("POST", "/compare", 405, "This page can only be read", "Method Not Allowed"),
        (
            "GET", "/compare?a=x&b=1", 422, "Unprocessable",
            "the address has a wrong number, or one is missing",
        ),
    ],
)  # fmt: skip
def test_pages(quiet, method, path, status, title, line):
    seen = quiet.request(method, path, headers=BROWSER)
    assert (seen.status_code, heading(seen).startswith(title)) == (status, True)
    assert line[1:] in seen.text
    plain = quiet.request(method, path)
    assert (plain.status_code, plain.text) == (status, line)
    assert plain.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("/api/v1/nothing", 404, "there is no such address"),
        ("/api/v1/submissions/7", 404, "there is no submission 7"),
        ("/api/v1/submissions", 405, "Method Not Allowed"),
    ],
)
def test_the_api_answers_in_json_even_to_browsers(quiet, path, status, detail):
    answer = quiet.get(path, headers=BROWSER)
    assert (answer.status_code, answer.json()) == (status, {"detail": detail})


def test_a_refused_body_and_a_failure_are_pages_too(store):
    with AppClient(create_app(store), raises=False) as client:
        packed = client.post("/", content=b"x", headers=BROWSER | {"Content-Encoding": "gzip"})
        assert (packed.status_code, heading(packed)) == (415, "Unsupported Media Type")
        large = client.post("/", content=b"x", headers=BROWSER | {"Content-Length": "9" * 12})
        assert (large.status_code, heading(large)) == (413, "The request is too large")
        with store.writing() as connection:
            connection.exec_driver_sql("drop table audit")
        failed = client.get("/", headers=BROWSER)
        assert (failed.status_code, heading(failed)) == (500, "The server failed")


@pytest.mark.parametrize("path", ["/x", "/a/b/c", "/a%2fb/c", "/boards//x/", "/../../x"])
def test_links_lead_back_to_the_top(quiet, path):
    page = quiet.get(path, headers=BROWSER)
    assert page.status_code == 404
    up = "../" * (page.request.url.raw_path.count(b"/") - 1)
    assert f'href="{up}static/pages.css"' in page.text
    assert f'href="{up}index.html"' in page.text


def test_a_page_is_not_larger_than_the_request_is_long(quiet):
    page = quiet.get("/x" + "/" * 5000, headers=BROWSER)
    assert page.text.count("../") < 10 * LONGEST_PATH


def test_text_is_escaped(quiet):
    page = error_page(404, "<b>", "</main><script>alert(1)</script>")
    assert "<script>alert" not in page
    assert "&lt;b&gt;" in page
