"""Writes JSON files that are complete whenever they exist, also after a kill at any moment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agents.atomic_files import write_atomically

__all__ = ["write_atomically", "write_json"]


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write JSON data atomically; ValueError if a number is not finite."""
    text = json.dumps(data, indent=2, allow_nan=False)
    write_atomically(path, (text + "\n").encode())
