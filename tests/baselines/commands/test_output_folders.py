"""Output folders: two runs in one, bad paths, unusual names, full disks."""

import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from baselines.jobs.folder_lock import locked
from tests.baselines.commands.faulty_runs import SEA, SMALL, compare, train

ROOT = Path(__file__).parents[3]
FILLING = 4096  # bytes of one block


@pytest.fixture
def other(tmp_path):
    """Another process that has the folder of a job."""
    folder = tmp_path / "out" / "Safe_DeepSeaTreasure-v0" / "PPOLag" / "seed_0"
    code = f"""
import time
from pathlib import Path
from baselines.jobs.folder_lock import locked
with locked(Path({str(folder)!r}), "the other command"):
    print("locked", flush=True)
    time.sleep(600)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "locked\n"
    yield folder, process
    process.kill()
    process.communicate()


@pytest.mark.usefixtures("jobs_run_here")
def test_the_second_run_exits_and_names_the_first_which_may_be_killed(other, tmp_path, printed):
    folder, process = other
    first = f"in use by process {process.pid} on {os.uname().nodename}, since 20"
    began = time.monotonic()
    assert train(folder) == 2
    assert time.monotonic() - began < 10
    text = printed()
    assert text.startswith(f"error: {folder} is {first}")
    assert "the other command; wait until it has ended, end it, or pass another" in text
    settings = ["--set", *(f"PPOLag.{setting}" for setting in SMALL[:3])]
    agents = ["PPOLag", "npg_pd"]
    assert compare(tmp_path / "out", *settings, agents=agents, envs=[SEA], seeds=[0]) == 1
    text = printed()
    assert f"failed PPOLag on {SEA}, seed 0: {folder} is {first}" in text
    assert "2 jobs: ran 2, kept 0" in text
    assert {path.name for path in folder.iterdir()} == {".lock", ".lock.json"}
    process.kill()
    process.wait()
    assert train(folder) == 0
    assert "the last run here was killed" in printed()


@pytest.mark.usefixtures("jobs_run_here")
def test_two_comparisons_in_one_folder(tmp_path, printed):
    assert compare(tmp_path) == 0
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json")}
    printed()
    with locked(tmp_path, "the first command"):
        assert compare(tmp_path) == 2
        assert ": the first command; wait until it has ended" in printed()
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json")} == kept
    assert compare(tmp_path) == 0
    assert "ran 0, kept 2" in printed()


def a_file(tmp_path):
    (tmp_path / "file").write_text("precious")
    return tmp_path / "file"


BAD_PATHS = {
    "a file": (a_file, "Not a directory"),
    "below a file": (lambda tmp_path: a_file(tmp_path) / "out", "Not a directory"),
    "too long": (lambda tmp_path: tmp_path / ("x" * 300), "File name too long"),
    "no UTF-8": (lambda tmp_path: tmp_path / "a\udcffb", "which is not UTF-8"),
    "a null character": (lambda tmp_path: tmp_path / "a\0b", "embedded null"),
    "a device": (lambda _: Path("/dev/null"), "Not a directory"),
    "unwritable": (lambda _: Path("/proc/out"), "No such file or directory"),
}


@pytest.mark.skipif(sys.platform != "linux", reason="the words are those of Linux")
@pytest.mark.parametrize("case", BAD_PATHS)
def test_bad_paths_are_refused_before_anything_runs(case, tmp_path, printed):
    path, told = BAD_PATHS[case][0](tmp_path), BAD_PATHS[case][1]
    for command in (train, compare):
        assert command(path) == 2
        text = printed()
        assert text.startswith("error: ")
        assert told in text
    left = [one.name for one in tmp_path.iterdir()]
    assert left == ["file"] * len(left)
    assert all(one.read_text() == "precious" for one in tmp_path.iterdir())


@pytest.mark.usefixtures("jobs_run_here")
def test_spaces_unicode_and_markup_in_names(tmp_path, printed):
    out = tmp_path / "a b" / "größe 实验 [red]x[/]"
    assert compare(out) == 0
    assert f"report: {out / 'report.html'}" in printed()
    assert "größe 实验 [red]x[/]" in (out / "report.html").read_text()


@contextmanager
def small_disk(tmp_path, blocks):
    """Mount a file system with so many blocks and look at it from inside."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={blocks * FILLING}", "none", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize(
    ("free", "told"),
    [
        (0, r"\.lock\.json: No space left on device"),
        (1, r"config\.json'; error\.txt cannot be written either: "),
        (2, "; error\\.txt cannot be written either: "),  # the log of training
        # Two threads compete for the last space: TensorBoard's and the one of the checkpoints.
        (5, r"No space left on device( \(in |: '[^']*/checkpoint/\.writing_step_)"),
        (20, r"checkpoint/\.writing_step_"),
    ],
)
def test_training_on_a_full_disk(free, told, tmp_path, printed):
    with small_disk(tmp_path, free + 1) as disk:
        (disk / "filling").write_bytes(bytes(FILLING))
        assert train(disk / "run") == 1
        text = printed()
        assert "No space left on device" in text
        assert str(disk / "run") in text
        assert re.search(told, text)
        assert not (disk / "run" / "result.json").exists()


@pytest.mark.usefixtures("jobs_run_here")
def test_a_comparison_on_a_full_disk_keeps_what_it_has(tmp_path, printed):
    with small_disk(tmp_path, 200) as disk:
        out = disk / "out"
        assert compare(out, seeds=[0]) == 0
        kept = {p: p.read_bytes() for p in out.rglob("*") if p.is_file() and p.name != ".lock"}
        free = os.statvfs(disk).f_bavail
        (disk / "filling").write_bytes(bytes((free - 3) * FILLING))
        printed()
        assert compare(out, seeds=[0, 1]) == 1
        text = printed()
        assert "No space left on device" in text
        assert str(out) in text
        assert {path: path.read_bytes() for path in kept} == kept
        (disk / "filling").unlink()
        assert compare(out, seeds=[0, 1]) == 0
        assert "ran 1, kept 1" in printed()
