"""Half-open connections do not keep others out; broken-off requests leave no traceback."""

import logging
import random
import socket
import struct
import time
from contextlib import ExitStack, closing

import httpx
import pytest

from leaderboard.commands.serve import server_config
from leaderboard.web import open_connections, timed_protocol
from leaderboard.web.open_connections import OpenConnections
from leaderboard.web.service import create_app
from tests.leaderboard.server import HOST, LIMITS, PATH, served
from tests.leaderboard.submissions import a_form, a_store, a_submission, header_of

HALF = b"GET / HTTP/1.1\r\nHost: x\r\n"
WHOLE = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
OTHER = "127.0.0.2"  # another address of loopback


class Place:
    """A connection that notes that it was ended."""

    def __init__(self):
        self.ended = False

    def make_room(self):
        self.ended = True


class TestPlaces:
    def test_the_longest_waiting_makes_room(self):
        places = OpenConnections(most=3, per_address=0)
        first, second, third, fourth, fifth = (Place() for _ in range(5))
        for place in (first, second, third):
            assert places.admit(place, "a")
        places.note(first, waits=False)
        assert places.admit(fourth, "b")
        assert [place.ended for place in (first, second, third)] == [False, True, False]
        places.note(first, waits=True)  # it has waited for less long than the third
        assert places.admit(fifth, "c")
        assert (first.ended, third.ended) == (False, True)

    def test_an_address_displaces_its_own(self):
        places = OpenConnections(most=100, per_address=2)
        old, new, others = Place(), [Place() for _ in range(5)], [Place() for _ in range(3)]
        assert places.admit(old, "a")
        for place in others:
            assert places.admit(place, f"other {id(place)}")
        for place in new:
            assert places.admit(place, "a")
        assert old.ended
        assert [place.ended for place in new] == [True] * 3 + [False] * 2
        assert not any(place.ended for place in others)

    def test_no_place_while_all_are_answered(self):
        for places in (OpenConnections(2, 0), OpenConnections(100, 2)):
            busy, late = [Place(), Place()], Place()
            for place in busy:
                assert places.admit(place, "a")
                places.note(place, waits=False)
            assert not places.admit(late, "a")
            places.remove(late)  # it never had one
            places.remove(busy[0])
            assert places.admit(late, "a")
            assert not busy[1].ended

    def test_places_are_given_back(self):
        places = OpenConnections(most=5, per_address=5)
        for _ in range(100):
            place = Place()
            assert places.admit(place, "a")
            places.note(place, waits=False)
            places.remove(place)
            places.remove(place)
            assert not place.ended


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    database = a_store(tmp_path_factory.mktemp("server") / "store.sqlite")
    yield database, header_of(database, "eve")
    database.close()


@pytest.fixture
def app(store):
    """An application, which is for one event loop, and a header with a token."""
    database, header = store
    return create_app(database, limits=LIMITS), header


def answer_from(address, port, seconds=5.0):
    """Return the status that a visitor from this address gets, and how long it took."""
    start = time.monotonic()
    with closing(
        socket.create_connection((HOST, port), timeout=seconds, source_address=(address, 0))
    ) as visitor:
        visitor.sendall(WHOLE)
        head = visitor.recv(65_536)
    return int(head.split()[1]), time.monotonic() - start


def test_five_hundred_half_open_requests_of_one_address_stop_nobody(app):
    with served(app[0]) as port, ExitStack() as opened:
        for _ in range(520):
            half = socket.create_connection((HOST, port), timeout=5)
            opened.enter_context(closing(half))
            half.sendall(HALF)
        for address in (OTHER, HOST):
            status, seconds = answer_from(address, port)
            assert (status, seconds < 2.0) == (200, True), address


def test_half_open_requests_of_all_addresses_displace_each_other(app):
    with served(app[0], server_config(app[0], 0)) as port, ExitStack() as opened:
        for _ in range(open_connections.MOST_CONNECTIONS + 20):
            half = socket.create_connection((HOST, port), timeout=5)
            opened.enter_context(closing(half))
            half.sendall(HALF)
        status, seconds = answer_from(OTHER, port)
        assert (status, seconds < 2.0) == (200, True)


def test_an_address_with_too_many_requests_at_once_is_told(app):
    """Bodies that arrive slowly are answered, so their connections make no room."""
    most = open_connections.MOST_PER_ADDRESS
    token = app[1]["Authorization"]
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nContent-Length: 1000\r\n"
        "Content-Type: multipart/form-data; boundary=xyz\r\n\r\n"
    ).encode()
    with served(app[0]) as port, ExitStack() as opened:
        for _ in range(most):
            slow = socket.create_connection((HOST, port), timeout=5)
            opened.enter_context(closing(slow))
            slow.sendall(head)
        time.sleep(0.3)
        with closing(socket.create_connection((HOST, port), timeout=5)) as visitor:
            answer = visitor.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"\r\nRetry-After: 5\r\n" in answer
        assert answer_from(OTHER, port)[0] == 200
    # After `body_seconds` they are refused, and there is room again.


def test_a_client_that_does_not_read_is_cut_off(app, monkeypatch):
    monkeypatch.setattr(timed_protocol, "SEND_SECONDS", 0.3)

    async def large(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(20_000_000)})

    with served(large) as port, closing(socket.socket()) as visitor:
        visitor.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        visitor.settimeout(5)
        visitor.connect((HOST, port))
        visitor.sendall(WHOLE)
        time.sleep(1.0)
        received = 0
        try:
            while part := visitor.recv(1_000_000):
                received += len(part)
        except ConnectionResetError:
            pass
        assert received < 20_000_000


def a_request(app):
    """Return the bytes of a submission."""
    built = httpx.Request(
        "POST", f"http://{HOST}{PATH}", files=a_form(a_submission()), headers=app[1]
    )
    lines = [f"{name}: {value}" for name, value in built.headers.items()]
    return "\r\n".join([f"POST {PATH} HTTP/1.1", *lines, "", ""]).encode() + built.read()


def break_off(port, content, *, reset):
    """Send the beginning of a request and hang up."""
    with closing(socket.create_connection((HOST, port), timeout=5)) as visitor:
        visitor.sendall(content)
        if reset:
            visitor.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def wait_until_quiet(port):
    """Wait until the server has taken note of everything before."""
    time.sleep(0.3)
    assert answer_from(HOST, port)[0] == 200


def traces(caplog, capfd):
    text = capfd.readouterr()
    logged = [record for record in caplog.records if record.exc_info]
    return logged, [part for part in (text.out, text.err) if "Traceback" in part]


def test_broken_off_submissions_leave_a_line_each(app, caplog, capfd):
    whole = a_request(app)
    head = whole.index(b"\r\n\r\n") + 4
    rng = random.Random(1)
    inside = [head, head + 1, len(whole) - 1, *(rng.randrange(head, len(whole)) for _ in range(6))]
    with served(app[0]) as port, caplog.at_level(logging.WARNING):
        for end in inside:
            break_off(port, whole[:end], reset=False)
        last_moment = time.monotonic() + 10
        while len(caplog.records) < len(inside) and time.monotonic() < last_moment:
            time.sleep(0.05)
        wait_until_quiet(port)
        lines = [record.getMessage() for record in caplog.records]
        assert lines == ["a client broke off its POST request"] * len(inside)
        for end in inside:  # the system may throw away what the server has not read
            break_off(port, whole[:end], reset=True)
        for end in (0, 1, 20, head - 3, head - 1, len(whole)):  # before, and after its end
            break_off(port, whole[:end], reset=True)
            break_off(port, whole[:end], reset=False)
        wait_until_quiet(port)
        assert traces(caplog, capfd) == ([], [])


def test_what_is_not_http_leaves_no_traceback(app, caplog, capfd):
    """Also in the middle of an answer, where it is too late to refuse it."""
    rng = random.Random(2)
    token = app[1]["Authorization"].encode()
    chunked = b"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" % PATH.encode()
    form = b"Content-Type: multipart/form-data; boundary=xyz\r\n"
    known = chunked + b"Authorization: " + token + b"\r\n" + form + b"\r\n"
    unknown = chunked + form + b"\r\n"
    requests = [
        b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\r\n" * 100,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n\x00\xff\xfe garbage\r\n\r\n",
        known + b"xyz\r\n", known + b"5\r\nhello\r\nzzz\r\n", known + b"-1\r\n",
        unknown + b"xyz\r\n", unknown + b"5\r\nhelloXX\r\n", unknown + b"ffffffffffffffffffff\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcdeGET / HTTP/1.1\r\n:\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        *(rng.randbytes(200) for _ in range(10)),
    ]  # fmt: skip
    with served(app[0]) as port, caplog.at_level(logging.WARNING):
        for request in requests:
            for reset in (True, False):
                break_off(port, request, reset=reset)
            with closing(socket.create_connection((HOST, port), timeout=5)) as visitor:
                for part in (request[:-3], request[-3:]):  # now the answer may have begun
                    visitor.sendall(part)
                    time.sleep(0.02)
        wait_until_quiet(port)
        assert traces(caplog, capfd) == ([], [])


def test_a_connection_in_use_outlives_the_time_for_headers(app, monkeypatch):
    monkeypatch.setattr(timed_protocol, "HEADER_SECONDS", 0.3)
    with served(app[0]) as port, httpx.Client(base_url=f"http://{HOST}:{port}") as client:
        opened = set()
        for _ in range(8):
            answer = client.get("/health")
            opened.add(answer.extensions["network_stream"].get_extra_info("client_addr"))
            time.sleep(0.1)
    assert len(opened) == 1
