"""Evaluates submitted policies and ranks them: `python -m leaderboard --help`."""

import baselines  # raises ImportError unless the packages found are this one's neighbors

__all__ = ["baselines"]
