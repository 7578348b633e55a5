"""What a sandboxed policy's process and its parent say to each other, in bytes.

All numbers are little-endian; the arrows are seen from the parent.

    -> settings (JSON, the first argument of the process)
    <- READY, whether the network is cut off, whether system calls are filtered (1 byte each)
    -> length (8 bytes), model
    <- answer, output (1 byte each)
    -> rows (4 bytes), observations (float32)
    <- answer, output; if the answer is OK: of each row all outputs one after the other (float64)

The last exchange is repeated. After an answer other than OK the process ends.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, TypedDict

READY = b"R"


class Answer(IntEnum):
    """How a request ended; the byte after it is the position of the output it is about."""

    OK = 0
    NOT_LOADED = 1
    FAILED = 2
    OUT_OF_MEMORY = 3
    WRONG_TYPE = 4
    WRONG_SHAPE = 5


class Settings(TypedDict):
    """What the parent decides."""

    parent: int  # process id
    memory_bytes: int
    cpu_seconds: int
    observation_size: int
    outputs: list[dict[str, Any]]  # the fields of each `PolicyOutput`
