"""Scores and rankings, computed from episodes."""
