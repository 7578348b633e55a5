"""Ranks policies that it has evaluated itself: `python -m leaderboard --help`."""

import baselines  # raises ImportError unless the neighbouring packages are the ones found

__all__ = ["baselines"]
