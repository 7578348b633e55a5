"""Runs the service on loopback for tests: in a thread, or as the command `serve`."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import httpx
import uvicorn
from fastapi import FastAPI

from leaderboard.commands.serve import server_config
from leaderboard.store.request_limits import Limits

MEGABYTE = 2**20
LIMITS = Limits(
    reads=10**6, writes=10**6, wrong_tokens=10**6, largest_body=MEGABYTE, body_seconds=1.0
)
PATH = "/api/v1/submissions"
FILE_HEAD = (
    b'--xyz\r\nContent-Disposition: form-data; name="policies"; filename="p"\r\n\r\n'  # and on
)
HOST = "127.0.0.1"


@contextmanager
def served(app: FastAPI, config: uvicorn.Config | None = None) -> Iterator[int]:
    """Serve an application in a thread, as the command does, and yield its port."""
    server = uvicorn.Server(config or server_config(app))
    listening = socket.create_server((HOST, 0))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


def start_worker(url: str) -> subprocess.Popen:
    """Start a worker as the server does, but without importing the other commands."""
    options = f"WorkerOptions(db={url!r}, until_input_ends=True)"
    return _start(f"from leaderboard.commands.serve import *; run_worker({options}, Console())")


def start_server(url: str, port: int) -> subprocess.Popen:
    """Start a server without workers as the command does."""
    options = f"ServeOptions(db={url!r}, port={port}, workers=0)"
    return _start(f"from leaderboard.commands.serve import *; serve({options}, Console())")


def _start(code: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def wait_until_healthy(port: int, process: subprocess.Popen, seconds: float = 60.0) -> None:
    """Wait until the server answers."""
    last_moment = time.monotonic() + seconds
    while True:
        assert process.poll() is None, "the server ended"
        try:
            if httpx.get(f"http://{HOST}:{port}/health").status_code == 200:
                return
        except httpx.HTTPError:
            assert time.monotonic() < last_moment
        time.sleep(0.05)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with closing(socket.create_server((HOST, 0))) as listening:
        return listening.getsockname()[1]


def send_raw(port: int, parts: Iterator[bytes] | list[bytes], seconds: float = 15.0) -> bytes:
    """Send bytes and return what comes back until the server hangs up."""
    with socket.create_connection((HOST, port), timeout=seconds) as connection:
        try:
            for part in parts:
                connection.sendall(part)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the server has hung up; its answer may be there all the same
        answer = b""
        try:
            while received := connection.recv(65536):
                answer += received
        except ConnectionResetError:
            pass
        return answer
