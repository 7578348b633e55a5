"""A child process that exchanges bytes: no more than asked for, and always by a deadline."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import baselines
import leaderboard
from leaderboard.sandbox.sandbox_protocol import Settings

# Empty stand-ins for the packages, so that the child imports nothing but the modules it needs.
FOLDERS = {one.__name__: str(Path(one.__path__[0]).resolve()) for one in (baselines, leaderboard)}
PACKAGES = f"""
import sys, types
for name, folder in {FOLDERS!r}.items():
    package = types.ModuleType(name)
    package.__path__ = [folder]
    sys.modules[name] = package
"""
PROGRAM = PACKAGES + "from leaderboard.sandbox.sandbox_child import main\nmain()\n"
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # The C library fills memory before each use: nothing of earlier rows is left in it.
    "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.perturb=165",
}
_CHUNK = 65_536
_SIGNALS = {int(each) for each in signal.Signals}


class ProcessFault(RuntimeError):
    """The process ended or did not answer; the message continues "the policy ..."."""


class ConfinedProcess:
    """A running `sandbox_child`, which ends at the latest with the thread that starts it.

    Args:
        settings: for the child; their `parent` is this process.

    Raises:
        OSError: if the system cannot start another process.
    """

    def __init__(self, settings: Settings) -> None:
        command = [sys.executable, "-I", "-c", PROGRAM, json.dumps(settings)]
        folder = tempfile.mkdtemp(prefix="policy-")
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=folder,  # removed at once: no file can be created in it
                env=ENVIRONMENT,
                close_fds=True,
                start_new_session=True,
            )
        finally:
            os.rmdir(folder)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests = self._process.stdin.fileno()
        self._answers = self._process.stdout.fileno()
        os.set_blocking(self._requests, False)
        os.set_blocking(self._answers, False)
        self._writable, self._readable = select.poll(), select.poll()
        self._writable.register(self._requests, select.POLLOUT)
        self._readable.register(self._answers, select.POLLIN)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def send(self, content: bytes, deadline: float) -> None:
        """Write a request.

        Raises:
            ProcessFault: if the process has ended, wrote without being asked, or does not read.
        """
        if self._readable.poll(0):
            if os.read(self._answers, 1):
                raise ProcessFault("answered without being asked")
            raise self._ended()
        rest = memoryview(content)
        while rest:
            _wait(self._writable, deadline)
            try:
                rest = rest[os.write(self._requests, rest[:_CHUNK]) :]
            except BrokenPipeError:
                raise self._ended() from None

    def receive(self, size: int, deadline: float) -> bytes:
        """Return the next bytes of the answer.

        Raises:
            ProcessFault: if the process ends or the deadline passes before all have arrived.
        """
        content = bytearray()
        while len(content) < size:
            _wait(self._readable, deadline)
            part = os.read(self._answers, min(size - len(content), _CHUNK))
            if not part:
                raise self._ended()
            content += part
        return bytes(content)

    def close(self) -> None:
        """End the process, if it is still running, and close the pipes."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def _ended(self) -> ProcessFault:
        """Return why the process ended; it closed its pipe, so it ends by itself or is killed."""
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return ProcessFault("closed its pipe")
        if code == -signal.SIGXCPU:
            return ProcessFault("ran out of CPU time")
        if code < 0:
            named = signal.Signals(-code).name if -code in _SIGNALS else f"signal {-code}"
            return ProcessFault(f"crashed ({named})")
        return ProcessFault(f"ended (exit code {code})")


def _wait(poll: select.poll, deadline: float) -> None:
    if not poll.poll(max(deadline - time.monotonic(), 0.0) * 1000):
        raise ProcessFault("did not answer in time")
