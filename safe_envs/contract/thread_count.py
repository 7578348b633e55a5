"""How many threads vector environments use where nobody says: a setting of the process.

Processes that train side by side, one per processor, should use one thread each: a second thread
of MuJoCo costs about as much processor time per step as three steps of a small robot.
"""

from __future__ import annotations

import os

from safe_envs.contract.argument_checks import check_whole

_most: int | None = None  # threads; None for one per processor


def set_num_threads(count: int | None) -> None:
    """Set the threads of vector environments made from now on; None for one per processor.

    It holds where `num_threads` is not given, as `torch.set_num_threads` does for PyTorch.

    Raises:
        ValueError: if it is not a whole number >= 1.
    """
    global _most
    if count is not None:
        check_whole("count", count, low=1)
    _most = count


def usual_num_threads() -> int:
    """Return the number of threads that a vector environment uses at most."""
    return _most or os.cpu_count() or 1
