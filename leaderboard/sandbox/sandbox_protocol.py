"""The messages between a sandboxed policy's process and its parent, in bytes.

All numbers are little-endian; -> is sent by the parent, <- by the process.

    -> settings (JSON, the first argument of the process)
    <- READY, whether the network is cut off, whether system calls are filtered (1 byte each)
    -> length (8 bytes), model
    <- answer, output (1 byte each)
    -> rows (4 bytes), observations (float32)
    <- answer, output; if the answer is OK: row by row, all outputs one after the other (float64)

The last exchange is repeated. After an answer other than OK the process ends.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, TypedDict

READY = b"R"


class Answer(IntEnum):
    """How a request ended; the byte after it is the position of the output concerned."""

    OK = 0
    NOT_LOADED = 1
    FAILED = 2
    OUT_OF_MEMORY = 3
    WRONG_TYPE = 4
    WRONG_SHAPE = 5


class Settings(TypedDict):
    """What the parent sets."""

    parent: int  # process id
    memory_bytes: int
    cpu_seconds: float  # once ONNX Runtime is loaded
    observation_size: int
    outputs: list[dict[str, Any]]  # the fields of each `PolicyOutput`
