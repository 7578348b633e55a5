"""Writes files that are complete whenever they exist, also after a kill at any moment."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that either keeps its old content or has the whole new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write JSON data atomically; ValueError if a number is not finite."""
    text = json.dumps(data, indent=2, allow_nan=False)
    write_atomically(path, (text + "\n").encode())
