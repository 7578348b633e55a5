"""Constrained learners."""
