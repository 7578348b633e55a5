"""The commands `serve` and `worker`: the web server and the processes that evaluate."""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI
from rich.console import Console
from rich.markup import escape

from baselines.shell_command import shell_command
from leaderboard.commands.listening import listen
from leaderboard.evaluation.worker import stop_on_signals, work
from leaderboard.store.accounts import LOCAL
from leaderboard.store.database import Database, embedded_url, open_database, without_password
from leaderboard.store.seasons import ensure_season
from leaderboard.store.submission_store import has_submissions
from leaderboard.web.open_connections import MOST_PER_ADDRESS, OpenConnections
from leaderboard.web.service import create_app
from leaderboard.web.timed_protocol import timed_protocol
from safe_envs.contract.argument_checks import check_number

WORKER_NICENESS = 5  # of the workers of a server and of their policies: pages come first
SWITCH_SECONDS = 0.0005  # rendering threads yield to the one that answers; Python's default is 5 ms
RESTART_SECONDS = 5.0  # before an ended worker is started again
BUSY_SECONDS = 2.0  # how long a request waits for others' changes to the store; workers wait longer


@dataclass(frozen=True)
class ServeOptions:
    """Serve the leaderboard's pages and API, and evaluate submissions."""

    db: str = embedded_url()
    """Store; use PostgreSQL for several servers."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 8000
    """Port to listen on."""
    workers: int = 1
    """Processes that evaluate; 0 if workers are started elsewhere, by the command worker."""
    public_url: str = ""
    """Public address of the service, shown on the page on how to submit."""
    connections_per_address: int = MOST_PER_ADDRESS
    """Open connections of one address; 0 for no limit, as needed behind a proxy."""


@dataclass(frozen=True)
class WorkerOptions:
    """Evaluate the submissions in a store, until interrupted."""

    db: str = embedded_url()
    """Store."""
    until_input_ends: bool = False
    """End when standard input ends, so that a worker ends with its server, and let the server go
    first when both want the processor."""


def serve(options: ServeOptions, console: Console) -> int:
    """Serve until interrupted and return the exit code, 0.

    Raises:
        ValueError: if the store or the port cannot be opened or a number is out of range.
    """
    check_number("workers", options.workers, low=0)
    check_number("port", options.port, low=1, high=65_535)
    check_number("connections_per_address", options.connections_per_address, low=0)
    database = open_database(options.db, BUSY_SECONDS)
    try:
        ensure_season(database, LOCAL)
        _serve(database, options, console)
    finally:
        database.close()
    return 0


def _serve(database: Database, options: ServeOptions, console: Console) -> None:
    sockets = listen(options.host, options.port)
    try:
        _answer(sockets, database, options, console)
    finally:
        for each in sockets:
            each.close()


def _answer(
    sockets: list[socket.socket], database: Database, options: ServeOptions, console: Console
) -> None:
    address = options.public_url or f"http://{_in_url(options.host)}:{options.port}"
    console.print(f"leaderboard: {address}  (Ctrl-C to stop)", soft_wrap=True)
    _tell_if_empty(database, options.db, console)
    config = server_config(create_app(database, address), options.connections_per_address)
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.freeze()  # what is imported stays; looking through it would stop all answers for 90 ms
    crew = WorkerCrew(options.db, options.workers)
    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # uvicorn raises it again when it ends
    try:
        uvicorn.Server(config).run(sockets)
    except KeyboardInterrupt:
        pass
    finally:
        crew.end()


def _tell_if_empty(database: Database, db: str, console: Console) -> None:
    """Print the command that fills the boards if the store has no submissions."""
    if has_submissions(database):
        return
    words = [] if db == embedded_url() else ["--db", without_password(db)]
    command = shell_command("leaderboard", "seed-baselines", *words)
    console.print(escape(f"the boards are empty; fill them: {command}"), soft_wrap=True)


def server_config(app: FastAPI, connections_per_address: int = MOST_PER_ADDRESS) -> uvicorn.Config:
    """Return the server's configuration, with limits on connections and on their idle time."""
    connections = OpenConnections(per_address=connections_per_address)
    return uvicorn.Config(
        app,
        http=timed_protocol(connections),  # type: ignore[arg-type]  # called as a class would be
        ws="none",
        log_level="warning",
        timeout_keep_alive=5,
        server_header=False,
    )


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def run_worker(options: WorkerOptions, console: Console) -> int:
    """Evaluate until interrupted and return the exit code, 0."""
    stop = stop_on_signals()
    if options.until_input_ends:
        if sys.platform != "win32":
            os.nice(WORKER_NICENESS)
        threading.Thread(target=_end_with_input, daemon=True).start()
    database = open_database(options.db)
    try:
        work(database, stop, lambda text: console.print(text, markup=False, soft_wrap=True))
    except KeyboardInterrupt:
        pass
    finally:
        database.close()
    return 0


class WorkerCrew:
    """Worker processes; one that ends is started again."""

    def __init__(self, db: str, count: int) -> None:
        self._command = [sys.executable, "-m", "leaderboard", "worker", "--db", db]
        self._command += ["--until-input-ends"]
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._threads = [threading.Thread(target=self._keep_running) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """End all of them; the next worker continues their evaluations."""
        self._over.set()
        with self._lock:
            for process in self._processes:
                process.terminate()
        for thread in self._threads:
            thread.join()

    def _keep_running(self) -> None:
        while not self._over.is_set():
            with self._lock:
                if self._over.is_set():
                    return
                process = subprocess.Popen(
                    self._command, stdin=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}
                )
                self._processes.add(process)
            with process:
                process.wait()
            with self._lock:
                self._processes.discard(process)
            self._over.wait(RESTART_SECONDS)


def _end_with_input() -> None:
    while os.read(sys.stdin.fileno(), 1024):  # takes no lock that Python would wait for at its end
        pass
    os._exit(0)  # at once; the lease expires and another worker continues
