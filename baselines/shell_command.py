"""How the project's own commands are typed where this process was started."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

SCRIPT = "safe-envs"  # the console script, which has the commands of these packages
PACKAGES_OF_SCRIPT = ("baselines", "leaderboard")


def shell_command(package: str, *words: str) -> str:
    """Return a command as it can be pasted into the shell that started this process.

    If the console script started it, that is `safe-envs WORDS`, with the script's path if the shell
    would not find it or would find another one. Otherwise it is `python -m PACKAGE WORDS`, with the
    interpreter as it was called: `python3`, `.venv/bin/python`.

    Args:
        package: that `python -m` runs.
        words: its subcommand and arguments; they are quoted here.
    """
    script = _script() if package in PACKAGES_OF_SCRIPT else ""
    start = [script] if script else [_interpreter(), "-m", package]
    return shlex.join([*start, *words])


def _script() -> str:
    """Return the console script as it can be called again; empty if another program runs."""
    script = sys.argv[0] if sys.argv else ""
    if Path(script).stem != SCRIPT:
        return ""
    found = shutil.which(SCRIPT)
    is_found = found is not None and _folder(found) == _folder(script)
    return SCRIPT if is_found else script


def _folder(file: str) -> str:
    return os.path.realpath(os.path.dirname(file) or ".")


def _interpreter() -> str:
    return (sys.orig_argv[0] if sys.orig_argv else "") or sys.executable or "python"
