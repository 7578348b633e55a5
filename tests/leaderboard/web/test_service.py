"""The service as its users see it, on a SQLite store in a temporary folder."""

import hashlib
import re
import time
from urllib.parse import urljoin, urlsplit

import pytest
import sqlalchemy as sa

from leaderboard.evaluation.episodes import EpisodeSums
from leaderboard.evaluation.worker import evaluate_next
from leaderboard.store import submission_store
from leaderboard.store.accounts import BASELINES, Scope, revoke_tokens
from leaderboard.store.episode_store import keep_episodes
from leaderboard.store.leases import claim
from leaderboard.store.request_limits import Limits
from leaderboard.store.seasons import HIDDEN, close_season, episode_seeds, reveal_season
from leaderboard.store.submission_store import keep_submission, stored_submissions
from leaderboard.store.tables import policy, request_count, submission
from leaderboard.submissions.submission import Submission
from leaderboard.web.api import address_of
from leaderboard.web.service import create_app
from tests.leaderboard.app_client import AppClient, client_of, send
from tests.leaderboard.submissions import (
    QUICK,
    SECRET,
    a_form,
    a_store,
    a_submission,
    header_of,
    policy_for,
)

CONTACT = "not-to-be-shown@example.org"
BOARD = "boards/Safe_ConstrainedRegression-v0"


def detail(answer):
    return answer.json()["detail"]


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A store with one evaluated submission of five policies, and the answer to it."""
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

    def test_the_numbers_are_those_of_the_stored_episodes_rounded(self, scored):
        database, _ = scored
        with client_of(database) as client:
            told = client.get("/api/v1/submissions/1").json()["statistics"]
        with database.reading() as connection:
            query = "select avg(total_return), avg(length) from episode"
            mean_return, length = connection.exec_driver_sql(query).one()
        half_width = told["mean_return"]["high"] - told["mean_return"]["value"]
        assert 0 < abs(told["plain_mean_return"] - mean_return) < half_width / 2
        assert told["mean_length"] == length
        assert told["costs"][0]["worst"] is None

    def test_no_answer_shows_the_contact(self, scored):
        database, _ = scored
        with client_of(database) as client:
            for path, answer in everything(client).items():
                assert CONTACT not in answer.text, path

    def test_waiting_and_progress_are_only_counts(self, store, client):
        send(client, header_of(store, "ada"), count=2)
        status = client.get("/api/v1/submissions/1").json()
        assert (status["state"], status["episodes_done"], status["episodes_total"]) == (
            "queued", 0, 200,
        )  # fmt: skip
        assert claim(store, "a worker") is not None
        with store.writing() as connection:
            number = connection.execute(sa.select(policy.c.id)).scalars().first()
            sums = EpisodeSums(-87654.5, (12345.25,), -87654.5, (12345.25,), 1)
            keep_episodes(connection, number, HIDDEN, dict.fromkeys(range(120), sums))
        with client_of(store) as client:
            status = client.get("/api/v1/submissions/1").json()
            assert (status["state"], status["episodes_done"]) == ("running", 100)  # whole policies
            assert (status["statistics"], status["rank"], status["tier"]) == (None, None, None)
            assert "100 of 200 episodes" in client.get("/submissions/1.html").text
            for path, answer in everything(client).items():
                assert not re.search("[^0-9a-f](87,?654|12,?345)[^0-9a-f]", answer.text), path


class TestDuplicates:
    def test_another_account_is_redirected_to_the_first(self, store, client):
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
                "message": "already submitted as 1", "id": 1, "status": "/api/v1/submissions/1",
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

    def test_a_token_in_the_address_or_a_cookie_does_not_count(self, store, client):
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
        assert (refused.status_code, detail(refused)) == (
            403,
            "submission 1 belongs to another account",
        )
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
    def test_five_a_day_with_the_time_to_wait(self, store, client):
        ada = header_of(store, "ada")
        bad = a_form(a_submission(), meta=b"{}")
        for seed in range(5):
            assert client.post("/api/v1/submissions", files=bad, headers=ada).status_code == 422
            assert send(client, ada, first_seed=seed).status_code == 202
            assert send(client, ada, first_seed=seed).status_code == 409
        answer = send(client, ada, first_seed=5)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "86400")
        assert detail(answer) == "at most 5 submissions in 24 hours are allowed; try again later"
        assert (
            send(client, ada, first_seed=4).status_code == 409
        )  # the answer has the link all the same
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
        assert detail(answer) == "at most 50 submissions per season are allowed; wait for the next"

    def test_the_account_of_the_baselines_has_no_quota(self, store, client):
        header = header_of(store, BASELINES)
        assert [send(client, header, first_seed=s).status_code for s in range(7)] == [202] * 7

    def test_without_a_season_nothing_is_accepted(self, store, client):
        close_season(store, "test")
        answer = send(client, header_of(store, "ada"))
        assert answer.status_code == 409
        assert detail(answer) == "no season is open; ask an administrator to open one: open-season"


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
    """Return the answers to all addresses that can be found by following links."""
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


class TestLimitsOfTheService:
    def test_reads_are_limited_by_address(self, store):
        with client_of(store, Limits(reads=3)) as client:
            statuses = [client.get("/api/v1/boards").status_code for _ in range(4)]
            assert statuses == [200, 200, 200, 429]
            refused = client.get("/api/v1/seasons")
            assert 1 <= int(refused.headers["retry-after"]) <= 61
            assert detail(refused).startswith(
                "at most 3 requests (reads) per 60 s are allowed; wait"
            )
            assert client.get("/").status_code == 200  # pages are not limited
        with AppClient(create_app(store, limits=Limits(reads=3)), "10.0.0.9") as other:
            assert other.get("/api/v1/boards").status_code == 200

    def test_writes_are_limited_by_account(self, store):
        with client_of(store, Limits(writes=2)) as client:
            ada, eve = header_of(store, "ada"), header_of(store, "eve")
            assert [send(client, ada).status_code for _ in range(3)] == [202, 409, 429]
            more = send(client, header_of(store, "ada"))  # a second token of the same account
            assert more.status_code == 429
            assert detail(more).startswith("at most 2 requests (writes) per 60 s are allowed")
            assert send(client, eve, first_seed=1).status_code == 202

    def test_wrong_tokens_lead_to_waiting_but_a_right_one_is_accepted(self, store):
        with client_of(store, Limits(wrong_tokens=10)) as client:
            wrong = [{"Authorization": f"Bearer slb_{number}"} for number in range(100)]
            statuses = [send(client, header).status_code for header in wrong]
            assert statuses == [401] * 10 + [429] * 90
            last = send(client, wrong[0])
            assert detail(last).startswith(
                "at most 10 requests (wrong tokens) per 60 s are allowed"
            )
            assert send(client, header_of(store, "ada")).status_code == 202
            with store.reading() as connection:
                counted = connection.execute(sa.select(request_count.c.requests)).scalars().all()
            assert max(counted) <= 11  # refused requests write nothing

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


def test_a_page_is_rendered_again_after_a_change(store, client):
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
