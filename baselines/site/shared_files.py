"""The files that pages load, and data in them that cannot end its script element."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from markupsafe import Markup

STATIC = Path(__file__).parent / "static"
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'"
)
"""The policy in every page: it may load nothing but its own site's files."""

_IN_SCRIPT = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def script_json(data: Any) -> Markup:
    """Return data as JSON that cannot end its script element.

    Raises:
        ValueError: if a number is not finite.
    """
    text = json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.translate(_IN_SCRIPT))  # every <, > and & is escaped


def files_under(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Return the files in a folder and below that have one of the suffixes, by relative path."""
    return {
        file.relative_to(folder).as_posix(): file
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.suffix in suffixes
    }
