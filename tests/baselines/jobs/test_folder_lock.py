"""One run per folder; a lock ends with its holder, and nothing else does."""

import json
import multiprocessing
import os
import signal
import socket
import time

import pytest

from baselines.jobs.folder_lock import FolderInUse, FolderUnusable, locked, read_holder


def hold(folder, command, connection):
    with locked(folder, command):
        connection.send("locked")
        connection.recv()


def start(target, *arguments):
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(*arguments, theirs))
    process.start()
    return process, ours


def test_a_folder_has_one_holder_who_is_named(tmp_path):
    process, connection = start(hold, tmp_path, "the first")
    assert connection.recv() == "locked"
    with pytest.raises(FolderInUse) as refused, locked(tmp_path, "the second"):
        pass
    who = rf"process {process.pid} on {socket.gethostname()}, since 20"
    assert who in str(refused.value)
    assert str(refused.value).count("the first") == 1
    assert read_holder(tmp_path).command == "the first"
    connection.send("leave")
    process.join()
    assert read_holder(tmp_path) is None
    with locked(tmp_path, "the second") as killed:
        assert killed is None
        with pytest.raises(FolderInUse, match="the second"), locked(tmp_path, "in this process"):
            pass
        assert read_holder(tmp_path).command == "the second"
    with locked(tmp_path, "the third") as killed:
        assert killed is None


def test_a_killed_holder_holds_nothing_even_if_its_children_live(tmp_path):
    process, connection = start(hold_with_child, tmp_path)
    child = connection.recv()
    try:
        process.kill()
        process.join()
        with locked(tmp_path, "the next") as killed:
            assert (killed.pid, killed.command) == (process.pid, "a parent")
    finally:
        os.kill(child, signal.SIGKILL)


def hold_with_child(folder, connection):
    with locked(folder, "a parent"):
        if os.fork() == 0:
            connection.send(os.getpid())
        time.sleep(600)


def test_an_orphan_that_saves_its_state_is_waited_for(tmp_path, monkeypatch):
    """The record of the lock names a comparison that has ended."""
    process, connection = start(hold, tmp_path, "a worker")
    assert connection.recv() == "locked"
    ended, _ = start(print_nothing)
    ended.join()
    record = json.loads((tmp_path / ".lock.json").read_text())
    assert record["parent"] == os.getpid()
    (tmp_path / ".lock.json").write_text(json.dumps({**record, "parent": ended.pid}))
    began = time.monotonic()
    monkeypatch.setattr("baselines.jobs.folder_lock.ORPHANS_TIME", 0.5)
    with pytest.raises(FolderInUse, match="a worker"), locked(tmp_path, "again"):
        pass
    assert time.monotonic() - began > 0.5
    monkeypatch.setattr("baselines.jobs.folder_lock.ORPHANS_TIME", 60.0)
    connection.send("leave")
    with locked(tmp_path, "again"):
        process.join()


def print_nothing(connection):
    connection.close()


def test_what_was_missing_and_stays_empty_is_removed(tmp_path):
    for name in ("kept", "empty"):
        with locked(tmp_path / "a" / name, "a command"):
            if name == "kept":
                (tmp_path / "a" / name / "file").touch()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["kept"]
    with locked(tmp_path / "a", "a command"):
        pass
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"kept", ".lock"}


@pytest.mark.parametrize("left", ["", "{", "[]", '{"pid": 3}', '{"pid": 3, "more": 4}'])
def test_a_record_that_cannot_be_read_hurts_nobody(left, tmp_path):
    (tmp_path / ".lock.json").write_text(left)
    (tmp_path / ".lock").write_text("whatever")
    with locked(tmp_path, "a command") as killed:
        assert killed is None


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / ".lock").mkdir()
    with pytest.raises(FolderUnusable, match=f"nothing can be written in {tmp_path}: Is a dir"):
        locked(tmp_path, "a command").__enter__()
