"""ONNX Runtime without its telemetry; nothing else in the project imports it.

Its library reads the environment variable when it is loaded. Where that is not set, it looks up a
host and writes two files under the user's cache folder, whatever is called afterwards.
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before the import, and for child processes

from onnxruntime import (
    GraphOptimizationLevel,
    InferenceSession,
    SessionOptions,
)

__all__ = ["GraphOptimizationLevel", "InferenceSession", "SessionOptions"]
