"""A child process that exchanges bytes: no more than asked for, and always by a deadline."""

from __future__ import annotations

import json
import math
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
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
_END_SECONDS = 5.0  # for a process that has closed its pipe
_LOOK_SECONDS = 0.25  # between looks at the processor time of a process that is waited for
_SIGNALS = {int(each) for each in signal.Signals}
_LIMIT_SIGNALS = {  # of the limit on processor time, and the least share used if it sent them
    int(signal.SIGXCPU): 0.8,  # the system samples the time that it compares with the limit
    int(signal.SIGKILL): 1.0,  # comes a second later, if SIGXCPU was ignored
}
_CRASHES = {  # what the processor and the C library raise when a program goes wrong
    signal.SIGABRT,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGSEGV,
    signal.SIGSYS,
    signal.SIGTRAP,
}


class ProcessFault(RuntimeError):
    """The process failed by what it did itself; the message continues "the policy ..."."""


class MachineFault(RuntimeError):
    """The machine ended the process or kept it waiting; the message continues like the other."""


@dataclass(frozen=True)
class Deadline:
    """When a process has to have answered.

    Args:
        wall: on the clock of `time.monotonic`.
        cpu_seconds: of the process, by `ConfinedProcess.cpu_seconds`.
    """

    wall: float
    cpu_seconds: float = math.inf


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
        self._cpu_seconds = self._cpu_before = 0.0
        self._cpu_allowed = math.inf
        os.set_blocking(self._requests, False)
        os.set_blocking(self._answers, False)
        self._writable, self._readable = select.poll(), select.poll()
        self._writable.register(self._requests, select.POLLOUT)
        self._readable.register(self._answers, select.POLLIN)

    def cpu_seconds(self) -> float:
        """Return the processor time that the process has used, also after its end."""
        if self._process.returncode is None:
            # The clock of another process, by the layout of clock ids in Linux; see CPUCLOCK_SCHED.
            self._cpu_seconds = time.clock_gettime((~self._process.pid << 3) | 2)
        return self._cpu_seconds

    def allow_cpu_seconds(self, seconds: float) -> None:
        """Tell apart, from here on, an end by the limit on processor time and one from outside."""
        self._cpu_before, self._cpu_allowed = self.cpu_seconds(), seconds

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def send(self, content: bytes, deadline: Deadline) -> None:
        """Write a request.

        Raises:
            ProcessFault: if the process has ended, wrote without being asked, or does not read.
            MachineFault: if the machine ended it or kept it from reading.
        """
        if self._readable.poll(0):
            if os.read(self._answers, 1):
                raise ProcessFault("answered without being asked")
            raise self._ended()
        rest = memoryview(content)
        while rest:
            self._wait(self._writable, deadline)
            try:
                rest = rest[os.write(self._requests, rest[:_CHUNK]) :]
            except BrokenPipeError:
                raise self._ended() from None

    def receive(self, size: int, deadline: Deadline) -> bytes:
        """Return the next bytes of the answer.

        Raises:
            ProcessFault: if the process ends, or uses its processor time, before all have arrived.
            MachineFault: if the machine ended it or gave it too little time.
        """
        content = bytearray()
        while len(content) < size:
            self._wait(self._readable, deadline)
            part = os.read(self._answers, min(size - len(content), _CHUNK))
            if not part:
                raise self._ended()
            content += part
        return bytes(content)

    def close(self) -> None:
        """End the process, if it is still running, and close the pipes."""
        self._process.kill()
        self._wait_for_end(math.inf)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def _wait(self, poll: select.poll, deadline: Deadline) -> None:
        """Wait for a pipe; a process that uses little processor time is not late by itself."""
        while True:
            rest = deadline.wall - time.monotonic()
            if poll.poll(max(min(rest, _LOOK_SECONDS), 0.0) * 1000):
                return
            if self.cpu_seconds() >= deadline.cpu_seconds:
                raise ProcessFault("did not answer in time")
            if rest <= 0.0:
                raise MachineFault("did not answer in time, but used little processor time")

    def _ended(self) -> ProcessFault | MachineFault:
        """Return why the process ended; it closed its pipe, so it ends by itself or is killed."""
        if not self._wait_for_end(_END_SECONDS):
            return ProcessFault("closed its pipe")
        used = self.cpu_seconds() - self._cpu_before
        code = self._process.wait()
        if code >= 0:
            return ProcessFault(f"ended (exit code {code})")
        if used >= _LIMIT_SIGNALS.get(-code, math.inf) * self._cpu_allowed:
            return ProcessFault("ran out of CPU time")
        named = signal.Signals(-code).name if -code in _SIGNALS else f"signal {-code}"
        if -code in _CRASHES:
            return ProcessFault(f"crashed ({named})")
        return MachineFault(f"was ended from outside ({named})")

    def _wait_for_end(self, seconds: float) -> bool:
        """Return whether the process ends in this time; its processor time can still be read."""
        last_moment = time.monotonic() + seconds
        options = os.WEXITED | os.WNOWAIT | (os.WNOHANG if math.isfinite(seconds) else 0)
        while self._process.returncode is None:
            if os.waitid(os.P_PID, self._process.pid, options) is not None:
                self.cpu_seconds()
                return True
            if time.monotonic() > last_moment:
                return False
            time.sleep(0.002)
        return True
