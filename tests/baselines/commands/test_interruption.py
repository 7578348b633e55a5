"""A comparison that is killed or interrupted keeps its finished jobs and leaves no processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from baselines.__main__ import main

ROOT = Path(__file__).parents[3]
JOBS = 8
COMMAND = (
    *("compare", "--envs", "Safe/CliffWorld-v0", "--agents", "npg_pd", "--workers", "2"),
    *("--seeds", *map(str, range(JOBS)), "--evaluations", "1000"),
)


@pytest.mark.usefixtures("jobs_run_here")
@pytest.mark.skipif(not Path("/proc").exists(), reason="reads the process table of Linux")
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_finished_jobs_survive(tmp_path, sign, capsys):
    """The rest of the jobs runs in this process."""
    command = [*COMMAND, "--out", str(tmp_path / "out")]
    baselines = [sys.executable, "-m", "baselines"]
    first = subprocess.Popen(
        [*baselines, *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,
    )
    wait_until(lambda: results(tmp_path))
    children = children_of(first.pid)
    assert len(children) >= 2
    first.send_signal(sign)
    output, _ = first.communicate(timeout=30)
    wait_until(lambda: not any(map(is_running, children)))
    if sign == signal.SIGINT:
        assert first.returncode == 130
        assert "finished jobs are kept" in output
        assert "python -m baselines compare" in output
    kept = {path: path.stat().st_mtime_ns for path in results(tmp_path)}
    assert 0 < len(kept) < JOBS
    assert main(command) == 0
    assert f"{JOBS} jobs: ran {JOBS - len(kept)}, kept {len(kept)}" in capsys.readouterr().out
    assert len(results(tmp_path)) == JOBS
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in kept.items())


def heed_interrupts():
    """Undo what a shell does to the programs it starts in the background: they ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def results(folder):
    return list(folder.rglob("result.json"))


def children_of(process):
    return Path(f"/proc/{process}/task/{process}/children").read_text().split()


def is_running(process):
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"  # ended, waiting to be collected


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_another_package_called_agents_is_refused(tmp_path):
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "__init__.py").write_text("raise RuntimeError('was imported')")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    refused = subprocess.run(
        [sys.executable, "-c", "import baselines"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert refused.returncode == 1
    last = refused.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ")
    assert str(tmp_path / "agents") in last
    assert str(ROOT / "agents") in last
    assert "run from a folder without a package of that name" in last
