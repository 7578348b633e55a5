"""Fixtures of the tests that run jobs."""

import pytest


@pytest.fixture(scope="session")
def run_here():
    """Does in this process what `run_in_processes` does in workers, which take time to start."""

    def run(function, items, workers, job_timeout=None, on_leaving=None):
        for item in items:
            yield item, function(item) or ""

    return run


@pytest.fixture
def jobs_run_here(monkeypatch, run_here):
    """The jobs of a comparison run in this process."""
    monkeypatch.setattr("baselines.commands.compare.run_in_processes", run_here)


@pytest.fixture
def printed(capfd):
    """Returns what was printed since it was last asked, as one line; a traceback is an error."""

    def read():
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        assert "Exception ignored" not in out + err
        return " ".join((out + err).split())

    return read
