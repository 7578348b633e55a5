"""The process that runs one stranger's policy, and answers its parent over a pipe.

It imports the standard library, NumPy and ONNX Runtime alone.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from typing import BinaryIO

from leaderboard.confinement import (
    die_with_parent,
    isolate_network,
    limit_resources,
    renounce_privileges,
)
from leaderboard.sandbox_protocol import READY, Answer, Settings
from leaderboard.system_call_filter import filter_system_calls


def main() -> None:
    """Confine this process, then serve; what libraries print does not reach the parent."""
    settings: Settings = json.loads(sys.argv[1])
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    isolated = isolate_network()  # while there is one thread
    die_with_parent(settings["parent"])
    limit_resources(settings["memory_bytes"], settings["cpu_seconds"])
    import leaderboard.single_row_policy  # noqa: F401  # the last files to be opened

    renounce_privileges()
    filtered = filter_system_calls()
    _send(answers, READY + bytes([isolated, filtered]))
    serve(settings, sys.stdin.buffer, answers)
    os._exit(0)


def serve(settings: Settings, requests: BinaryIO, answers: BinaryIO) -> None:
    """Load the model that arrives first, then answer batches until the parent hangs up."""
    import numpy as np

    from leaderboard.single_row_policy import SingleRowPolicy

    (length,) = struct.unpack("<Q", _read(requests, 8))
    content = _read(requests, length)
    try:
        policy = SingleRowPolicy(content, settings["outputs"])
    except Exception as error:
        _send(answers, _failure(error, Answer.NOT_LOADED))
        return
    _send(answers, bytes([Answer.OK, 0]))
    size = settings["observation_size"]
    while True:
        (rows,) = struct.unpack("<I", _read(requests, 4))
        content = _read(requests, rows * size * 4)
        try:
            found = policy.answers(np.frombuffer(content, "<f4").reshape(rows, size))
        except Exception as error:
            _send(answers, _failure(error, Answer.FAILED))
            return
        _send(answers, bytes([Answer.OK, 0]) + found)


def _failure(error: Exception, otherwise: Answer) -> bytes:
    """Return the answer that stands for an error; its text stays here."""
    from leaderboard.single_row_policy import WrongOutput

    if isinstance(error, WrongOutput):
        return bytes([error.answer, error.position])
    if isinstance(error, MemoryError) or "alloc" in str(error):  # std::bad_alloc, "allocate"
        return bytes([Answer.OUT_OF_MEMORY, 0])
    return bytes([otherwise, 0])


def _read(requests: BinaryIO, size: int) -> bytes:
    content = requests.read(size)
    if len(content) < size:
        os._exit(0)  # the parent hung up
    return content


def _send(answers: BinaryIO, content: bytes) -> None:
    try:
        answers.write(content)
        answers.flush()
    except BrokenPipeError:
        os._exit(0)
