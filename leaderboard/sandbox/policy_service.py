"""Answers requests for a policy's outputs by the protocol of `sandbox_protocol`."""

from __future__ import annotations

import struct
from typing import BinaryIO

import numpy as np

from leaderboard.sandbox.sandbox_protocol import Answer, Settings
from leaderboard.sandbox.single_row_policy import SingleRowPolicy, WrongOutput


def serve(settings: Settings, requests: BinaryIO, answers: BinaryIO) -> None:
    """Load the model that arrives first, then answer batches until one fails.

    Raises:
        EOFError: if there are no more requests.
        BrokenPipeError: if nobody reads the answers.
    """
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
    if isinstance(error, WrongOutput):
        return bytes([error.answer, error.position])
    if isinstance(error, MemoryError) or "alloc" in str(error):  # std::bad_alloc, "allocate"
        return bytes([Answer.OUT_OF_MEMORY, 0])
    return bytes([otherwise, 0])


def _read(requests: BinaryIO, size: int) -> bytes:
    content = requests.read(size)
    if len(content) < size:
        raise EOFError("the parent hung up")
    return content


def _send(answers: BinaryIO, content: bytes) -> None:
    answers.write(content)
    answers.flush()
