"""The service as its users meet it, on a SQLite store in a temporary folder."""

import hashlib
import re
import time
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
import sqlalchemy as sa
from rich.console import Console

from leaderboard.episodes import EpisodeSums
from leaderboard.http_client import ServerRefused, wait_for
from leaderboard.http_client import send as send_submission
from leaderboard.store import submission_store
from leaderboard.store.accounts import Scope, revoke_tokens
from leaderboard.store.episode_store import keep_episodes
from leaderboard.store.leases import claim
from leaderboard.store.request_limits import Limits
from leaderboard.store.seasons import HIDDEN, close_season, episode_seeds, reveal_season
from leaderboard.store.submission_store import keep_submission, stored_submissions
from leaderboard.store.tables import policy, request_count, submission
from leaderboard.submission import Submission
from leaderboard.web.api import address_of
from leaderboard.web.page_answers import LONGEST_PATH
from leaderboard.web.service import create_app
from leaderboard.worker import evaluate_next
from tests.leaderboard.app_client import AppClient
from tests.leaderboard.submissions import (
    QUICK,
    SECRET,
    a_form,
    a_store,
    a_submission,
    header_of,
    policy_for,
)

MANY = Limits(reads=10**6, writes=10**6, wrong_tokens=10**6)
CONTACT = "not-to-be-shown@example.org"
BOARD = "boards/Safe_ConstrainedRegression-v0"
SECURITY = {
    "content-security-policy",
    "x-content-type-options",
    "referrer-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
}


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


def client_of(store, limits=MANY):
    # Never the cached page of a moment ago: a new application has an empty cache.
    return AppClient(create_app(store, "https://board.example", limits))


def send(client, header, given: Submission | None = None, **changes):
    given = given or a_submission(**changes)
    return client.post("/api/v1/submissions", files=a_form(given), headers=header)


def detail(answer):
    return answer.json()["detail"]


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A store with one evaluated submission of five policies, and the answer it was taken with."""
    database = a_store(tmp_path_factory.mktemp("scored") / "store.sqlite")
    with client_of(database) as client:
        header = header_of(database, "ada")
        answer = send(client, header, count=5, contact=CONTACT, url="https://example.org")
    assert evaluate_next(database, "a worker") == (1, submission_store.State.SCORED)
    yield database, answer
    database.close()


class TestWay:
    def test_from_the_form_to_the_rank(self, scored):
        database, answer = scored
        assert answer.status_code == 202
        links = {"id": 1, "status": "/api/v1/submissions/1", "page": "/submissions/1.html"}
        assert answer.json() == links
        with client_of(database) as client:
            status = client.get(links["status"]).json()
            assert (status["state"], status["rank"]) == ("scored", 1)
            assert status["rank_interval"] == [1, 1]
            assert status["statistics"]["policies"] == 5
            assert (status["episodes_done"], status["episodes_total"]) == (500, 500)
            page = client.get(links["page"]).text
            assert "Small network" in page
            assert re.search(r"rank\s+<?.*1", page)
            assert "submissions/1.html" in client.get(f"/{BOARD}/index.html").text

    def test_the_numbers_are_those_of_the_stored_episodes(self, scored):
        database, _ = scored
        with client_of(database) as client:
            told = client.get("/api/v1/submissions/1").json()["statistics"]
        with database.reading() as connection:
            query = "select avg(total_return), avg(length) from episode"
            mean_return, length = connection.exec_driver_sql(query).one()
        assert told["plain_mean_return"] == pytest.approx(mean_return, rel=1e-12)
        assert told["mean_length"] == length

    def test_no_answer_shows_the_contact(self, scored):
        database, _ = scored
        with client_of(database) as client:
            for path, answer in everything(client).items():
                assert CONTACT not in answer.text, path

    def test_waiting_and_progress_are_counts_alone(self, store, client):
        send(client, header_of(store, "ada"))
        status = client.get("/api/v1/submissions/1").json()
        assert (status["state"], status["episodes_done"], status["episodes_total"]) == (
            "queued", 0, 100,
        )  # fmt: skip
        assert claim(store, "a worker") is not None
        with store.writing() as connection:
            number = connection.execute(sa.select(policy.c.id)).scalar_one()
            sums = EpisodeSums(-87654.5, (12345.25,), -87654.5, (12345.25,), 1)
            keep_episodes(connection, number, HIDDEN, dict.fromkeys(range(20), sums))
        with client_of(store) as client:
            status = client.get("/api/v1/submissions/1").json()
            assert (status["state"], status["episodes_done"]) == ("running", 20)
            assert (status["statistics"], status["rank"], status["tier"]) == (None, None, None)
            assert "20 of 100 episodes" in client.get("/submissions/1.html").text
            for path, answer in everything(client).items():
                assert not re.search("[^0-9a-f](87,?654|12,?345)[^0-9a-f]", answer.text), path


class TestDuplicates:
    def test_another_account_is_led_to_the_first(self, store, client):
        given = a_submission(count=2)
        assert send(client, header_of(store, "ada"), given).status_code == 202
        again = Submission(
            given.metadata.model_copy(update={"sha256": given.metadata.sha256[::-1]}),
            given.policies[::-1],
            given.curves,
        )
        for header, sent in ((header_of(store, "ada"), given), (header_of(store, "eve"), again)):
            answer = send(client, header, sent)
            assert answer.status_code == 409
            assert answer.headers["location"] == "/submissions/1.html"
            assert detail(answer) == {
                "message": "submitted before as 1", "id": 1, "status": "/api/v1/submissions/1",
            }  # fmt: skip
        assert len(stored_submissions(store)) == 1


class TestTokens:
    def test_wrong_tokens_are_refused(self, store, client):
        revoked = header_of(store, "eve")
        revoke_tokens(store, "eve", "test")
        right = header_of(store, "ada")["Authorization"].removeprefix("Bearer ")
        wrong = [
            {}, revoked, {"Authorization": "Bearer slb_wrong"}, {"Authorization": f"Basic {right}"},
            {"Authorization": right}, {"Authorization": f"Bearer {right}x"},
        ]  # fmt: skip
        for header in wrong:
            answer = send(client, header)
            assert answer.status_code == 401, header
            assert detail(answer) == "pass a valid token: Authorization: Bearer TOKEN"
            assert answer.headers["www-authenticate"] == "Bearer"
            assert client.post("/api/v1/submissions/1/withdraw", headers=header).status_code == 401

    def test_a_token_in_the_address_or_a_cookie_is_none(self, store, client):
        token = header_of(store, "ada")["Authorization"].removeprefix("Bearer ")
        for name in ("token", "access_token", "authorization"):
            path = f"/api/v1/submissions?{name}={token}"
            assert client.post(path, files=a_form(a_submission())).status_code == 401
        cookie = {"Cookie": f"token={token}; Authorization={token}"}
        assert send(client, cookie).status_code == 401
        assert stored_submissions(store) == []

    def test_withdrawing_is_the_owners_and_the_administrators(self, store, client):
        ada, eve = header_of(store, "ada"), header_of(store, "eve")
        for seed in (0, 1):
            send(client, ada, first_seed=seed)
        refused = client.post("/api/v1/submissions/1/withdraw", headers=eve)
        assert (refused.status_code, detail(refused)) == (403, "submission 1 is another account's")
        admin = header_of(store, "root", Scope.ADMIN)
        for number, header in ((1, ada), (1, ada), (2, admin)):
            answer = client.post(f"/api/v1/submissions/{number}/withdraw", headers=header)
            assert answer.json() == {"id": number, "state": "withdrawn"}
        missing = client.post("/api/v1/submissions/3/withdraw", headers=admin)
        assert (missing.status_code, detail(missing)) == (404, "there is no submission 3")

    def test_a_withdrawn_submission_stays_visible_without_a_rank(self, store, client):
        ada = header_of(store, "ada")
        send(client, ada, algorithm="Taken back")
        client.post("/api/v1/submissions/1/withdraw", headers=ada)
        evaluate_next(store, "a worker")
        with client_of(store) as client:
            status = client.get("/api/v1/submissions/1").json()
            assert (status["state"], status["rank"]) == ("withdrawn", None)
            assert status["statistics"]["episodes"] == 100
            for page in ("submissions/1.html", f"{BOARD}/index.html"):
                assert "Taken back" in client.get(f"/{page}").text


class TestQuota:
    def test_five_a_day_told_with_the_time_to_wait(self, store, client):
        ada = header_of(store, "ada")
        bad = a_form(a_submission(), meta=b"{}")
        for seed in range(5):
            assert client.post("/api/v1/submissions", files=bad, headers=ada).status_code == 422
            assert send(client, ada, first_seed=seed).status_code == 202
            assert send(client, ada, first_seed=seed).status_code == 409
        answer = send(client, ada, first_seed=5)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "86400")
        assert detail(answer) == "5 submissions within 24 hours are allowed; come back later"
        assert send(client, ada, first_seed=4).status_code == 409  # the link is told all the same
        assert send(client, header_of(store, "eve"), first_seed=5).status_code == 202
        with store.writing() as connection:
            connection.execute(sa.update(submission).values(submitted_at=time.time() - 86_401))
        assert send(client, ada, first_seed=6).status_code == 202

    def test_fifty_a_season(self, store, client):
        header = header_of(store, "ada")
        given = [a_submission(first_seed=seed) for seed in range(50)]
        for each in given:
            keep_submission(store, each, 1, quota=False)
        with store.writing() as connection:
            connection.execute(sa.update(submission).values(submitted_at=time.time() - 86_401))
        answer = send(client, header, first_seed=50)
        assert answer.status_code == 429
        assert detail(answer) == "50 submissions a season are allowed; wait for the next one"

    def test_without_a_season_nothing_is_taken(self, store, client):
        close_season(store, "test")
        answer = send(client, header_of(store, "ada"))
        assert answer.status_code == 409
        assert detail(answer) == "no season is open; an administrator opens one: open-season"


class TestSecret:
    """The secret and the seeds are in no answer before they are revealed, and then they are."""

    def test_hidden_until_it_is_revealed(self, scored):
        database, _ = scored
        seeds = [str(seed) for seed in episode_seeds(SECRET, a_submission().board, range(500))]
        with client_of(database) as client:
            for path, answer in everything(client).items():
                assert SECRET not in answer.content, path
                assert SECRET.hex() not in answer.text.lower(), path
                assert not [seed for seed in seeds if seed in answer.text], path
        close_season(database, "test")
        reveal_season(database, 1, "test")
        with client_of(database) as client:
            answers = everything(client)
            assert answers["api/v1/seasons"].json()[0]["secret"] == SECRET.hex()
            assert SECRET.hex() in answers["season/1.html"].text
            assert all(seed in answers["submissions/1.html"].text for seed in seeds)


def everything(client):
    """Return the answers to all addresses that lead anywhere, found by following links."""
    waiting = ["", "health", "api/v1/boards", "api/v1/seasons", "api/v1/submissions/1"]
    waiting += ["openapi.json", "submissions/2.html", "compare/1-2.html", "compare?a=1&b=2"]
    answers = {}
    while waiting:
        path = waiting.pop()
        if path in answers or len(answers) > 200:
            continue
        answers[path] = client.get(f"/{path}")
        if answers[path].headers.get("content-type", "").startswith("text/html"):
            links = re.findall(r'(?:href|src|action)="([^"#:]+)"', answers[path].text)
            waiting += [urlsplit(urljoin(f"/{path}", link)).path[1:] for link in links]
    assert f"{BOARD}/board.csv" in answers
    return answers


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
            assert (broken.status_code, broken.json()) == (500, {"detail": "the server failed"})
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
    def test_paths_that_lead_out_lead_nowhere(self, quiet, path):
        assert quiet.get_untidied(path) == (404, b"there is no such page")


class TestLimitsOfTheService:
    def test_reads_are_limited_by_address(self, store):
        with client_of(store, Limits(reads=3)) as client:
            statuses = [client.get("/api/v1/boards").status_code for _ in range(4)]
            assert statuses == [200, 200, 200, 429]
            refused = client.get("/api/v1/seasons")
            assert 1 <= int(refused.headers["retry-after"]) <= 61
            assert detail(refused).startswith("3 requests (reads) within 60 s are allowed; wait")
            assert client.get("/").status_code == 200  # pages are not limited
        with AppClient(create_app(store, limits=Limits(reads=3)), "10.0.0.9") as other:
            assert other.get("/api/v1/boards").status_code == 200

    def test_writes_are_limited_by_account(self, store):
        with client_of(store, Limits(writes=2)) as client:
            ada, eve = header_of(store, "ada"), header_of(store, "eve")
            assert [send(client, ada).status_code for _ in range(3)] == [202, 409, 429]
            more = send(client, header_of(store, "ada"))  # a second token of the same account
            assert more.status_code == 429
            assert detail(more).startswith("2 requests (writes) within 60 s are allowed")
            assert send(client, eve, first_seed=1).status_code == 202

    def test_wrong_tokens_lead_to_waiting_but_a_right_one_is_let_through(self, store):
        with client_of(store, Limits(wrong_tokens=10)) as client:
            wrong = [{"Authorization": f"Bearer slb_{number}"} for number in range(100)]
            statuses = [send(client, header).status_code for header in wrong]
            assert statuses == [401] * 10 + [429] * 90
            last = send(client, wrong[0])
            assert detail(last).startswith("10 requests (wrong tokens) within 60 s are allowed")
            assert send(client, header_of(store, "ada")).status_code == 202
            with store.reading() as connection:
                counted = connection.execute(sa.select(request_count.c.requests)).scalars().all()
            assert max(counted) <= 11  # a flood of requests writes nothing

    @pytest.mark.parametrize(
        ("host", "address"),
        [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("fe80::1%eth0", "fe80::/64"),
            ("testclient", "testclient"),
        ],
    )
    def test_an_address_is_what_one_client_has(self, host, address):
        class Asked:
            class client:
                pass

        Asked.client.host = host
        assert address_of(Asked) == address


def test_a_page_is_rendered_anew_after_a_change(store, client):
    header = header_of(store, "ada")
    assert "Later" not in client.get(f"/{BOARD}/index.html").text
    send(client, header, algorithm="Later")
    last_moment = time.monotonic() + 5
    while "Later" not in client.get(f"/{BOARD}/index.html").text:
        assert time.monotonic() < last_moment
        time.sleep(0.1)


def test_policies_of_another_board_are_refused(store, client):
    wrong = policy_for("Safe/DeepSeaTreasure-v0")
    given = a_submission(QUICK)
    told = given.metadata.model_copy(update={"sha256": [hashlib.sha256(wrong).hexdigest()]})
    answer = send(client, header_of(store, "ada"), Submission(told, (wrong,), given.curves))
    assert answer.status_code == 422
    assert detail(answer).startswith("policy 0: ")


class TestSubmitting:
    """`http_client` against answers of all kinds."""

    @staticmethod
    def client(*answers):
        waiting = list(answers)
        transport = httpx.MockTransport(lambda request: waiting.pop(0))
        return httpx.Client(transport=transport, base_url="http://board.example")

    def test_a_new_submission_and_a_duplicate_have_a_number(self):
        given, console = a_submission(), Console(quiet=True)
        with self.client(httpx.Response(202, json={"id": 7})) as client:
            assert send_submission(client, "token", given, console) == 7
        duplicate = httpx.Response(409, json={"detail": {"message": "before", "id": 3}})
        with self.client(duplicate) as client:
            assert send_submission(client, "token", given, console) == 3

    @pytest.mark.parametrize(
        ("answer", "message"),
        [
            (httpx.Response(422, json={"detail": "no"}), "the server refused it (422): no"),
            (httpx.Response(409, json={"detail": "closed"}), "the server refused it (409): closed"),
            (httpx.Response(502, text="<html>"), "answered 502 and no JSON object"),
            (httpx.Response(200, json=[]), "answered 200 and no JSON object"),
            (httpx.Response(200, json={}), "the server refused it (200): None"),
        ],
    )
    def test_refusals_are_told(self, answer, message):
        with self.client(answer) as client, pytest.raises(ServerRefused) as caught:
            send_submission(client, "token", a_submission(), Console(quiet=True))
        assert message in str(caught.value)

    def test_it_waits_while_there_are_too_many_requests(self):
        answers = [
            httpx.Response(429, headers={"Retry-After": "0"}, json={"detail": "wait"}),
            httpx.Response(200, json={"state": "scored"}),
        ]
        with self.client(*answers) as client:
            assert wait_for(client, 1, Console(quiet=True)) == {"state": "scored"}

    def test_a_server_out_of_reach_is_told(self):
        with (
            httpx.Client(base_url="http://127.0.0.1:1") as client,
            pytest.raises(ServerRefused, match="http://127.0.0.1:1/? cannot be reached"),
        ):
            wait_for(client, 1, Console(quiet=True))
