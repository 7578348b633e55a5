"""Benchmark of the service under load."""
