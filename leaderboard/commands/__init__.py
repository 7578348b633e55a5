"""The commands of `python -m leaderboard`."""
