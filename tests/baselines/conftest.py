"""Fixtures of the tests that run jobs."""

import pytest


@pytest.fixture
def run_here():
    """Does in this process what `run_in_processes` does in workers, which take time to start."""

    def run(function, items, workers):
        for item in items:
            function(item)
            yield item, ""

    return run


@pytest.fixture
def jobs_run_here(monkeypatch, run_here):
    """The jobs of a comparison run in this process."""
    monkeypatch.setattr("baselines.commands.compare.run_in_processes", run_here)
