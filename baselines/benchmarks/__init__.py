"""Benchmarks of cost; each is a command: `python -m baselines.benchmarks.tabular`."""
