"""The process that runs one untrusted policy and answers its parent over a pipe.

It imports only the standard library, NumPy and ONNX Runtime.
"""

from __future__ import annotations

import json
import os
import sys

from leaderboard.sandbox.confinement import (
    die_with_parent,
    isolate_network,
    limit_processor,
    limit_resources,
    renounce_privileges,
)
from leaderboard.sandbox.sandbox_protocol import READY, Settings
from leaderboard.sandbox.system_call_filter import filter_system_calls


def main() -> None:
    """Confine this process, then serve; output of libraries does not reach the parent."""
    settings: Settings = json.loads(sys.argv[1])
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    isolated = isolate_network()  # while there is one thread
    die_with_parent(settings["parent"])
    limit_resources(settings["memory_bytes"])
    from leaderboard.sandbox.policy_service import (
        serve,
    )  # loads ONNX Runtime, the last files it opens

    limit_processor(settings["cpu_seconds"])  # loading ONNX Runtime is not the policy's work
    renounce_privileges()
    filtered = filter_system_calls()
    try:
        answers.write(READY + bytes([isolated, filtered]))
        answers.flush()
        serve(settings, sys.stdin.buffer, answers)
    except (BrokenPipeError, EOFError):
        pass  # the parent hung up
    os._exit(0)
