"""Runs an untrusted policy in a process that can only compute, and checks all of its answers.

The process gets the model and observations through one pipe and returns numbers through another. A
policy that breaks out of ONNX Runtime still has no files, network or other processes, and what it
writes to the pipe is checked like any other answer: the number of bytes is known in advance.
"""

from __future__ import annotations

import os
import struct
import sys
import time
from dataclasses import asdict, dataclass
from types import TracebackType

import numpy as np

from leaderboard.sandbox.confined_process import (
    ConfinedProcess,
    Deadline,
    MachineFault,
    ProcessFault,
)
from leaderboard.sandbox.machine_memory import memory_is_short
from leaderboard.sandbox.policy_signature import PolicySignature
from leaderboard.sandbox.sandbox_protocol import READY, Answer
from safe_envs.contract.argument_checks import check_positive

MOST_ROWS = 65_536  # in one call
_START_SECONDS = 60.0
_PATIENCE = 10.0  # wall time of a call on a busy machine, in its processor time


class PolicyFailed(RuntimeError):
    """The policy failed; the message contains no observations and no text from the policy."""


class SandboxUnavailable(RuntimeError):
    """The machine did not start the process, ended it or held it up; the policy is not to blame."""


@dataclass(frozen=True)
class SandboxLimits:
    """What a policy may use.

    Args:
        memory_bytes: address space, including about 150 MB for ONNX Runtime itself.
        cpu_seconds: processor time of all calls together, with loading the model and without
            starting ONNX Runtime.
        call_seconds: processor time of one call; the wall time is ten times that, so that a busy
            machine does not count as a slow policy.
        total_seconds: wall time of all calls together; the time between calls does not count.
    """

    memory_bytes: int = 2 * 1024**3
    cpu_seconds: float = 120.0
    call_seconds: float = 30.0
    total_seconds: float = 600.0

    def __post_init__(self) -> None:
        check_positive(**asdict(self))

    @classmethod
    def for_steps(cls, steps: int) -> SandboxLimits:
        """Return limits for an evaluation of this many environment steps."""
        seconds = 120 + steps * 20e-6
        return cls(cpu_seconds=int(seconds), total_seconds=600.0 + seconds)


@dataclass(frozen=True)
class Isolation:
    """What the system allowed beyond the limits, which always apply."""

    network_isolated: bool  # a network namespace without devices
    system_calls_filtered: bool  # no files, sockets, processes


class SandboxedPolicy:
    """A policy in a process of its own; each row is run by itself.

    The model sees one observation at a time, so an answer depends, bit for bit, on that observation
    alone: not on the other rows of a batch, its size or its order.

    Use it as a context manager and in one thread: the process ends when that thread does. After a
    failure the process is gone and all further calls fail too.

    Args:
        model_bytes: an ONNX file; see `gate.check_policy`.
        signature: its input size and outputs, as `check_policy` or `check_graph` returned it.
        limits: what it may use.
    """

    def __init__(
        self, model_bytes: bytes, signature: PolicySignature, limits: SandboxLimits | None = None
    ) -> None:
        self.signature = signature
        self.limits = limits or SandboxLimits()
        self._model = model_bytes
        self._process: ConfinedProcess | None = None
        self._isolation: Isolation | None = None
        self._seconds_left = self.limits.total_seconds
        self._cpu_before = self._cpu_seconds = 0.0
        self._width = sum(output.width for output in signature.outputs)

    def __enter__(self) -> SandboxedPolicy:
        """Start it; see `start`."""
        self.start()
        return self

    def another(self) -> SandboxedPolicy:
        """Return the same policy for a process of its own, not started."""
        return SandboxedPolicy(self._model, self.signature, self.limits)

    def start(self) -> None:
        """Start the process and load the model, unless it is running.

        Raises:
            PolicyFailed: if the model cannot be loaded.
            SandboxUnavailable: if the process cannot be started or the machine ends it.
        """
        if self._process is not None:
            return
        if not sys.platform.startswith("linux"):
            raise SandboxUnavailable(
                f"policies run on Linux only and this is {sys.platform}; use a Linux machine"
            )
        self._seconds_left = self.limits.total_seconds
        try:
            self._isolation = self._start_process()
            self._ask(struct.pack("<Q", len(self._model)) + self._model, 0)
        except BaseException:
            self.close()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the process."""
        self.close()

    @property
    def isolation(self) -> Isolation:
        """What the system allowed.

        Raises:
            RuntimeError: before the policy is started.
        """
        if self._isolation is None:
            raise RuntimeError("the policy is not started; use `with SandboxedPolicy(...)`")
        return self._isolation

    @property
    def cpu_seconds(self) -> float:
        """The processor time that the policy has used since it was started, also after its end."""
        if self._process:
            self._cpu_seconds = self._process.cpu_seconds() - self._cpu_before
        return self._cpu_seconds

    def close(self) -> None:
        """End the process, if there is one."""
        if self._process:
            self._process.close()
            self._cpu_seconds = self.cpu_seconds
            self._process = None

    def outputs(self, observations: np.ndarray) -> dict[str, np.ndarray]:
        """Return all outputs of the policy, each (rows, width).

        Args:
            observations: (rows, n) flat observations.

        Returns:
            Arrays by name: int64 for actions of whole numbers, whose range is not checked here;
            float64 for the others, whatever type the file computes in.

        Raises:
            PolicyFailed: if it crashes, exceeds a limit, or answers with a wrong shape or type or
                with numbers that are not finite.
            SandboxUnavailable: if the machine ends its process or gives it too little time.
            ValueError: if the observations are not (rows, n) finite numbers.
        """
        rows = self._rows(observations)
        content = self._ask(struct.pack("<I", len(rows)) + rows.tobytes(), len(rows) * self._width)
        answers = np.frombuffer(content, "<f8").reshape(len(rows), self._width)
        ends = np.cumsum([output.width for output in self.signature.outputs])
        parts = np.split(answers, ends[:-1], axis=1)
        named = {}
        for output, values in zip(self.signature.outputs, parts, strict=True):
            if not np.isfinite(values).all():
                raise self._fail(f"answered {output.name!r} with numbers that are not finite")
            if output.whole and (np.abs(values) > 2**53).any() | (values % 1 != 0).any():
                raise self._fail(
                    f"answered {output.name!r} with numbers that are not whole or exceed 2^53"
                )
            named[output.name] = values.astype(np.int64) if output.whole else values.copy()
        return named

    def _rows(self, observations: np.ndarray) -> np.ndarray:
        size = self.signature.observation_size
        rows = np.ascontiguousarray(observations, dtype="<f4")
        if rows.ndim != 2 or rows.shape[1] != size or not 1 <= len(rows) <= MOST_ROWS:
            raise ValueError(
                f"observations have shape {rows.shape}; the policy takes (rows, {size}) with 1 to "
                f"{MOST_ROWS:,} rows; flatten them with gymnasium.spaces.flatten"
            )
        if not np.isfinite(rows).all():
            raise ValueError("observations are not finite; check the environment")
        return rows

    def _start_process(self) -> Isolation:
        try:
            self._process = ConfinedProcess(
                {
                    "parent": os.getpid(),
                    "memory_bytes": self.limits.memory_bytes,
                    "cpu_seconds": self.limits.cpu_seconds,
                    "observation_size": self.signature.observation_size,
                    "outputs": [asdict(output) for output in self.signature.outputs],
                }
            )
            answer = self._process.receive(3, Deadline(time.monotonic() + _START_SECONDS))
            if answer[:1] != READY:
                raise ProcessFault("something other than the sandbox wrote to the pipe")
        except (OSError, ProcessFault, MachineFault) as error:
            raise SandboxUnavailable(
                f"the process for the policy could not be started: {error}; check the machine's "
                "memory and process limits"
            ) from None
        self._process.allow_cpu_seconds(self.limits.cpu_seconds)
        self._cpu_before = self._process.cpu_seconds()
        return Isolation(bool(answer[1]), bool(answer[2]))

    def _ask(self, request: bytes, numbers: int) -> bytes:
        """Send a request and return its answer, this many float64 numbers, as bytes."""
        if self._process is None:
            raise PolicyFailed("the policy is not running; use `with SandboxedPolicy(...)`")
        start, seconds = time.monotonic(), self.limits.call_seconds
        deadline = Deadline(
            start + min(_PATIENCE * seconds, self._seconds_left),
            self._process.cpu_seconds() + seconds,
        )
        content = b""
        try:
            self._process.send(request, deadline)
            code, position = self._process.receive(2, deadline)
            if code == Answer.OK:
                content = self._process.receive(numbers * 8, deadline)
        except ProcessFault as fault:
            raise self._fail(str(fault)) from None
        except MachineFault as fault:
            self.close()
            raise SandboxUnavailable(
                f"the process of the policy {fault}; check the machine's load and memory"
            ) from None
        finally:
            self._seconds_left -= time.monotonic() - start
        if self.cpu_seconds > self.limits.cpu_seconds:
            raise self._fail("ran out of CPU time")
        if code == Answer.OK:
            return content
        if code == Answer.OUT_OF_MEMORY and memory_is_short(self.limits.memory_bytes):
            self.close()
            raise SandboxUnavailable(
                "the machine has less memory left than a policy may use; free some"
            )
        raise self._fail(self._meaning(code, position))

    def _meaning(self, code: int, position: int) -> str:
        """Return the meaning of an answer other than OK, which may be garbage."""
        output = self.signature.outputs[min(position, len(self.signature.outputs) - 1)]
        kind = "int64 or int32" if output.whole else "float32 or float64"
        meanings: dict[int, str] = {
            Answer.NOT_LOADED: "cannot be loaded by ONNX Runtime",
            Answer.FAILED: "failed while it ran in ONNX Runtime",
            Answer.OUT_OF_MEMORY: "ran out of memory",
            Answer.WRONG_TYPE: f"answered {output.name!r} with a type other than {kind}",
            Answer.WRONG_SHAPE: (
                f"answered {output.name!r} with a shape other than (batch, {output.width})"
            ),
        }
        return meanings.get(code, "sent something that is not an answer")

    def _fail(self, reason: str) -> PolicyFailed:
        self.close()
        return PolicyFailed(f"the policy {reason}")
