"""Bodies and headers that are too large, too slow or compressed, against a real server."""

import json
import time

import pytest

from leaderboard.web.service import create_app
from tests.leaderboard.server import FILE_HEAD, HOST, LIMITS, MEGABYTE, PATH, send_raw, served
from tests.leaderboard.submissions import (
    a_store,
    header_of,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The port of a real server, and a header with a token."""
    database = a_store(tmp_path_factory.mktemp("server") / "store.sqlite")
    with served(create_app(database, limits=LIMITS)) as port:
        yield port, header_of(database, "eve")["Authorization"]
    database.close()


def head_of(token, *lines, path=PATH):
    fields = [f"POST {path} HTTP/1.1", f"Host: {HOST}", f"Authorization: {token}", *lines]
    return "\r\n".join([*fields, "", ""]).encode()


FORM_TYPE = "Content-Type: multipart/form-data; boundary=xyz"


def answer_of(raw):
    """Return status, headers and body of a raw answer."""
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), headers, body


class Endless:
    """A body of a hundred chunks of a megabyte; counts how many were read."""

    def __init__(self, head, chunk_head=b"100000\r\n", chunk_end=b"\r\n"):
        self.head, self.chunk_head, self.chunk_end = head, chunk_head, chunk_end
        self.taken = 0

    def __iter__(self):
        yield self.head
        first = FILE_HEAD
        for _ in range(100):
            yield self.chunk_head + first + bytes(MEGABYTE - len(first)) + self.chunk_end
            first = b""
            self.taken += 1


class TestBodies:
    def test_a_large_body_in_chunks_is_not_read_to_its_end(self, server):
        port, token = server
        body = Endless(head_of(token, FORM_TYPE, "Transfer-Encoding: chunked"))
        status, headers, content = answer_of(send_raw(port, body))
        assert status == 413
        assert json.loads(content) == {
            "detail": "the body is larger than the allowed 1,048,576 bytes"
        }
        assert headers["connection"] == "close"
        assert "content-security-policy" in headers
        assert body.taken < 20  # two are read, the rest is in the sockets' buffers

    def test_a_declared_length_too_large_is_refused_at_once(self, server):
        port, token = server
        body = Endless(head_of(token, FORM_TYPE, "Content-Length: 104857600"), b"", b"")
        status, _, _ = answer_of(send_raw(port, body))
        assert status == 413
        assert body.taken < 20

    def test_a_false_length_does_not_help(self, server):
        port, token = server
        short = [head_of(token, FORM_TYPE, "Content-Length: 10"), FILE_HEAD * 100]
        status, _, content = answer_of(send_raw(port, short))  # the body ends after ten bytes
        assert (status, b"the form has 0 parts named 'meta'" in content) == (422, True)
        both = head_of(token, FORM_TYPE, "Content-Length: 5", "Transfer-Encoding: chunked")
        assert answer_of(send_raw(port, Endless(both)))[0] in (400, 413)
        for wrong in ("-1", "0x10", "1e3", "", "5, 6", "9" * 30):
            raw = send_raw(port, [head_of(token, FORM_TYPE, f"Content-Length: {wrong}")])
            assert answer_of(raw)[0] == 400, wrong

    def test_a_slow_body_is_abandoned(self, server):
        port, token = server
        start = time.monotonic()

        def slowly():
            yield head_of(token, FORM_TYPE, "Content-Length: 100000") + FILE_HEAD
            while time.monotonic() < start + 1.5:
                yield b"x"
                time.sleep(0.05)

        status, _, content = answer_of(send_raw(port, slowly()))
        assert (status, json.loads(content)) == (408, {"detail": "the body took longer than 1 s"})
        assert time.monotonic() < start + 6

    def test_a_body_that_stops_is_abandoned(self, server):
        port, token = server
        parts = [head_of(token, FORM_TYPE, "Content-Length: 100000") + FILE_HEAD]
        assert answer_of(send_raw(port, parts))[0] == 408

    def test_headers_that_do_not_end_are_abandoned(self, server, monkeypatch):
        monkeypatch.setattr("leaderboard.web.timed_protocol.HEADER_SECONDS", 0.3)
        start = time.monotonic()

        def slowly():
            yield b"GET / HTTP/1.1\r\n"
            while time.monotonic() < start + 1.0:
                yield b"X: y\r\n"
                time.sleep(0.05)

        assert send_raw(server[0], slowly()) == b""
        assert send_raw(server[0], []) == b""  # nor is a client that says nothing
        assert time.monotonic() < start + 5

    def test_an_answer_reaches_a_client_that_is_still_sending(self, server):
        port, token = server
        body = [head_of(f"{token}x", FORM_TYPE, "Content-Length: 1000000"), bytes(1_000_000)]
        status, headers, content = answer_of(send_raw(port, body))
        assert (status, headers["connection"]) == (401, "close")
        assert b"pass a valid token" in content

    @pytest.mark.parametrize("coding", ["gzip", "GZIP", "deflate", "br", "gzip, identity"])
    def test_compressed_bodies_are_refused(self, server, coding):
        port, token = server
        head = head_of(token, FORM_TYPE, f"Content-Encoding: {coding}", "Content-Length: 4")
        status, _, content = answer_of(send_raw(port, [head, b"\x1f\x8b\x08\x00"]))
        assert status == 415
        assert json.loads(content)["detail"].startswith("compressed bodies are not accepted")

    def test_the_server_still_answers(self, server):
        raw = send_raw(server[0], [b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"])
        status, headers, content = answer_of(raw)
        assert (status, json.loads(content)["status"]) == (200, "ok")
        assert "server" not in headers
