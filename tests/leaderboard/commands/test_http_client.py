"""The client of the service, given answers of all kinds."""

import httpx
import pytest
from rich.console import Console

from leaderboard.commands.http_client import ServerRefused, submit_to, wait_for
from leaderboard.commands.http_client import send as send_submission
from leaderboard.web.api import submission_json
from leaderboard.web.page_data import SubmissionPage
from tests.leaderboard.page_examples import CLIFF, a_season, scored_rows, some_metadata
from tests.leaderboard.submissions import (
    a_submission,
)

SPEC = (some_metadata(env=CLIFF.env), 0.4, 0.1)  # a row's metadata, return and cost


class TestSubmitting:
    """`http_client`, given answers of all kinds."""

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
            (
                httpx.Response(422, json={"detail": "no"}),
                "the server refused the submission (422): no",
            ),
            (
                httpx.Response(409, json={"detail": "closed"}),
                "the server refused the submission (409): closed",
            ),
            (httpx.Response(502, text="<html>"), "answered 502 without a JSON object"),
            (httpx.Response(200, json=[]), "answered 200 without a JSON object"),
            (httpx.Response(200, json={}), "the server refused the submission (200): None"),
        ],
    )
    def test_refusals_are_reported(self, answer, message):
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

    def test_a_server_out_of_reach_is_reported(self):
        with (
            httpx.Client(base_url="http://127.0.0.1:1") as client,
            pytest.raises(ServerRefused, match="http://127.0.0.1:1/? cannot be reached"),
        ):
            wait_for(client, 1, Console(quiet=True))


def test_near_copies_are_told(tmp_path, monkeypatch, capsys):
    near = {"policy": 0, "original_policy": 2, "original_submission": 9, "distance": 0.0012}
    row = submission_json(SubmissionPage(CLIFF, a_season(), scored_rows(CLIFF, [SPEC], 7)[0]))
    row |= {"env": "Safe/CliffWorld-v0", "rank": None, "near_copies": 1, "near_copies_of": [near]}
    client = TestSubmitting.client(
        httpx.Response(202, json={"id": 7}), httpx.Response(200, json=row)
    )
    monkeypatch.setattr(httpx, "Client", lambda **settings: client)
    token = tmp_path / "token.txt"
    token.write_text("slb_token\n")
    assert submit_to("http://board.example", token, a_submission(), Console(width=200)) == 0
    told = capsys.readouterr().out
    assert "policy 0 acts like policy 2 of submission 9 (distance 0.0012)" in told
    assert "1 of 5 policies are near-copies; a row with near-copies has no rank" in told


class TestBusyServers:
    """The server's store takes no changes at present."""

    def test_the_client_waits_as_long_as_it_is_told(self, monkeypatch):
        waits = []
        monkeypatch.setattr("time.sleep", waits.append)
        busy = [{"retry-after": "5"}, {}, {"retry-after": "soon"}, {"retry-after": "86400"}]
        answers = [httpx.Response(503, headers=headers) for headers in busy]
        client = TestSubmitting.client(*answers, httpx.Response(202, json={"id": 7}))
        with client:
            assert send_submission(client, "token", a_submission(), Console(quiet=True)) == 7
        assert waits == [5.0, 3.0, 3.0, 60.0]

    def test_it_gives_up_in_the_end(self, monkeypatch):
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        client = TestSubmitting.client(*[httpx.Response(503)] * 20)
        told = r"is busy or its store is not available \(503\); try again later"
        with client, pytest.raises(ServerRefused, match=told):
            wait_for(client, 1, Console(quiet=True))
