"""What every answer of the service has: headers, validators, encodings."""

import pytest

from leaderboard.web.error_pages import LONGEST_PATH
from leaderboard.web.service import create_app
from tests.leaderboard.app_client import MANY, AppClient, client_of, send
from tests.leaderboard.submissions import (
    header_of,
)

BOARD = "boards/Safe_ConstrainedRegression-v0"
SECURITY = {
    "content-security-policy",
    "x-content-type-options",
    "referrer-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
}


class TestAnswers:
    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "", 200),
            ("GET", "static/pages.css", 200),
            ("GET", "nothing", 404),
            ("GET", "health", 200),
            ("GET", "openapi.json", 200),
            ("GET", "compare?a=1&b=2", 303),
            ("GET", "compare?a=x&b=2", 422),
            ("GET", "api/v1/boards", 200),
            ("GET", "api/v1/nothing", 404),
            ("GET", "api/v1/submissions/1", 404),
            ("GET", "api/v1/submissions/0", 422),
            ("GET", "api/v1/submissions", 405),
            ("POST", "api/v1/submissions", 401),
            ("POST", "", 405),
            ("DELETE", "index.html", 405),
            ("OPTIONS", "api/v1/boards", 405),
        ],
    )
    def test_security_headers_are_on_every_answer(self, quiet, method, path, status):
        answer = quiet.request(method, f"/{path}")
        assert answer.status_code == status
        assert set(answer.headers) >= SECURITY
        assert "set-cookie" not in answer.headers
        assert "access-control-allow-origin" not in answer.headers
        if status == 405:
            assert "allow" in answer.headers

    def test_and_on_refused_bodies_and_failures(self, store):
        app = create_app(store, limits=MANY)
        with AppClient(app, raises=False) as client:
            packed = client.post("/", content=b"x", headers={"Content-Encoding": "gzip"})
            assert packed.status_code == 415
            store.close()
            with store.engine.begin() as connection:
                connection.exec_driver_sql("drop table audit")
            broken = client.get("/")
            assert (broken.status_code, broken.text) == (500, "the server failed")
        for answer in (packed, broken):
            assert set(answer.headers) >= SECURITY

    @pytest.mark.parametrize("path", ["", "health", "api/v1/boards", "static/sort.js", "nothing"])
    def test_head_is_get_without_the_body(self, quiet, path):
        plain = {"Accept-Encoding": "identity"}
        head, got = (quiet.request(m, f"/{path}", headers=plain) for m in ("HEAD", "GET"))
        assert (head.status_code, head.content) == (got.status_code, b"")
        for name in ("content-length", "content-type"):
            assert head.headers[name] == got.headers[name]

    def test_an_unchanged_page_is_not_sent_again(self, store, client):
        etag = client.get("/").headers["etag"]
        for tag in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            again = client.get("/", headers={"If-None-Match": tag})
            assert (again.status_code, again.content) == (304, b""), tag
            assert again.headers["etag"] == etag
        for tag in ('"other"', etag[:-3] + '"', ""):
            assert client.get("/", headers={"If-None-Match": tag}).status_code == 200
        send(client, header_of(store, "ada"))
        with client_of(store) as client:
            changed = client.get(f"/{BOARD}/index.html", headers={"If-None-Match": etag})
            assert changed.status_code == 200

    def test_gzip_where_it_is_wanted(self, quiet):
        plain = quiet.get("/", headers={"Accept-Encoding": "identity"})
        for wanted in ("gzip", "br;q=1.0, gzip;q=0.8", "GZIP"):
            packed = quiet.get("/", headers={"Accept-Encoding": wanted})
            assert packed.headers["content-encoding"] == "gzip"
            assert packed.content == plain.content  # unpacked by the quiet
            assert int(packed.headers["content-length"]) < len(plain.content) / 2
            assert packed.headers["vary"] == "Accept-Encoding"
        for refused in ("", "identity", "gzip;q=0", "gzip; q=0.0", "xgzip"):
            answer = quiet.get("/", headers={"Accept-Encoding": refused})
            assert "content-encoding" not in answer.headers, refused

    @pytest.mark.parametrize(
        "path",
        [
            "/static/../../pyproject.toml",
            "/static/%2e%2e/%2e%2e/pyproject.toml",
            "/%2e%2e/%2e%2e/etc/passwd",
            "/static/..%2f..%2fpyproject.toml",
            "/static/..\\..\\pyproject.toml",
            "/static/..%5c..%5cpyproject.toml",
            "//etc/passwd",
            "/static//etc/passwd",
            "/static/%2fetc/passwd",
            "/static/pages.css%00.js",
            "/%00",
            "/static/",
            "/static/vendor/",
            "/templates/board.html.jinja",
            "/service.py",
            "/boards/Safe_ConstrainedRegression-v0/../../health",
            "/boards/Safe%2fConstrainedRegression-v0/index.html",
            "/boards/Safe_ConstrainedRegression-v0/index.html/",
            "/submissions/1.html%0a",
            "/submissions/0001.html",
            "/submissions/%D9%A1.html",  # an Arabic digit
            "/submissions/99999999999999999999.html",
            "/season/9.html",
            "/compare/1-1.html",
            "/%ff%fe",
            "/" + "a" * (LONGEST_PATH + 1),
            "/boards/" + "../" * 40 + "etc/passwd",
        ],
    )
    def test_paths_that_lead_outside_are_not_found(self, quiet, path):
        assert quiet.get_untidied(path) == (404, b"there is no such page")
