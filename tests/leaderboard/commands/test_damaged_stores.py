"""Every command says in one line what is wrong with a store, and changes nothing in it."""

import json
import shutil
import sqlite3
import subprocess
from contextlib import closing

import pytest

from leaderboard.__main__ import COMMANDS, main
from leaderboard.store import database as database_file
from leaderboard.store.schema import newest_revision
from leaderboard.store.store_file import move_new
from tests.leaderboard.server import free_port
from tests.leaderboard.store_outages import locked, small_disk
from tests.leaderboard.submissions import QUICK, a_store, fields_for, policy_for

STORELESS = {"verify"}
DAMAGED = "; restore a backup, or save what is left with `sqlite3 STORE .recover`; "
DAMAGED += "`check-store` says more"


def words_of(command, folder, db):
    """Return the arguments that a command would run with on a good store."""
    given = {
        "submit": [folder / "own"],
        "demo": ["--out", folder / "demo"],
        "serve": ["--port", free_port(), "--workers", 0],
        "export": [folder / "site"],
        "create-token": ["ada"],
        "revoke-tokens": ["ada"],
        "reveal": [1],
        "withdraw": [1],
        "backup": [folder / "copy"],
        "requeue": [1, "--reason", "x"],
        "rescore": [1, "--reason", "x"],
    }
    return [command, *map(str, given.get(command, [])), "--db", f"sqlite:///{db}"]


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The file of a good store, without anybody using it."""
    path = tmp_path_factory.mktemp("good") / "store.sqlite"
    a_store(path).close()
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a submission of its own."""
    found = tmp_path_factory.mktemp("folder")
    (found / "own").mkdir()
    content = policy_for(QUICK)
    (found / "own" / "policy_0.onnx").write_bytes(content)
    fields = fields_for(QUICK, [content])
    del fields["sha256"]
    (found / "own" / "meta.json").write_text(json.dumps(fields))
    return found


def changed(path, *statements):
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def spoil(path, kind):
    """Spoil a good store in one of many ways, and return what is to be said about it."""
    content = path.read_bytes()
    if kind == "truncated":
        path.write_bytes(content[: len(content) // 2])
        sizes = f"{len(content) // 2:,} of {len(content):,} bytes are left"
        return f"the store {path} is damaged ({sizes}){DAMAGED}"
    if kind == "overwritten":
        path.write_bytes(content[:100] + b"\xa5" * 3996 + content[4096:])
        return f"the store {path} is damaged (database disk image is malformed){DAMAGED}"
    if kind == "a table is gone":
        changed(path, "DROP TABLE audit")
        return f"the store {path} is damaged (it has no table 'audit'){DAMAGED}"
    if kind == "text":
        path.write_text("hello\n" * 1000)
        return f"{path} is no store of a leaderboard: it is not a SQLite file"
    if kind == "empty":
        path.write_bytes(b"")
        return (
            f"{path} is empty, and a store never is; restore a backup, or remove the file and a "
            "new store is made"
        )
    if kind == "folder":
        path.unlink()
        path.mkdir()
        return f"{path} is a folder; pass the path of a store's file"
    if kind == "without tables":
        path.unlink()
        changed(path, "CREATE TABLE x (y)", "DROP TABLE x")
        return (
            f"the store {path} has no tables; if its -wal file was lost, restore a backup; if it "
            "never held anything, remove the file and a new store is made"
        )
    if kind == "another application's":
        path.unlink()
        changed(path, "CREATE TABLE songs (title)", "CREATE TABLE albums (title)")
        return (
            f"{path} is no store of a leaderboard: it holds other tables (albums, songs, ...); "
            "pass another file or database"
        )
    if kind == "another application with revisions":
        path.unlink()
        changed(
            path, "CREATE TABLE alembic_version (version_num)",
            "INSERT INTO alembic_version VALUES ('77')", "CREATE TABLE submission (x)",
        )  # fmt: skip
        return (
            f"{path} is no store of a leaderboard: it holds other tables (alembic_version, "
            "submission, ...); pass another file or database"
        )
    assert kind == "newer"
    changed(path, "UPDATE alembic_version SET version_num = '9999'")
    return (
        f"the store {path} has revision '9999'; this version of the leaderboard knows revisions up "
        f"to '{newest_revision()}'; install the newer version that wrote the store"
    )


KINDS = (
    "truncated", "overwritten", "a table is gone", "text", "empty", "folder", "without tables",
    "another application's", "another application with revisions", "newer",
)  # fmt: skip


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - STORELESS))
def test_every_command_says_it_in_one_line(command, good, folder, tmp_path, capsys):
    for kind in KINDS:
        path = tmp_path / f"{kind}.sqlite"
        shutil.copy(good, path)
        told = spoil(path, kind)
        before = path.read_bytes() if path.is_file() else b""
        code = main(words_of(command, folder, path))
        assert (code, capsys.readouterr().out.splitlines()[-1]) == (2, f"error: {told}"), kind
        assert (path.read_bytes() if path.is_file() else b"") == before, kind
        assert sorted(file.name for file in tmp_path.glob(f"*{path.name}*")) == [path.name], kind


WRITERS = ("create-token", "revoke-tokens", "open-season", "close-season", "withdraw", "submit")


@pytest.fixture
def impatient(monkeypatch):
    """Let commands wait only a moment for others."""
    opened = database_file.open_database
    for name in ("administration", "submit"):
        monkeypatch.setattr(
            f"leaderboard.commands.{name}.open_database", lambda url: opened(url, 0.05)
        )


def test_a_locked_store_can_be_read(good, folder, tmp_path, capsys, impatient):
    path = tmp_path / "store.sqlite"
    shutil.copy(good, path)
    told = f"error: the store {path} is locked by another process; try again, or end that process"
    with locked(path):
        for command in WRITERS:
            code = main(words_of(command, folder, path))
            assert (code, capsys.readouterr().out.splitlines()[-1]) == (1, told), command
        for command in ("export", "check-store", "backup"):
            assert main(words_of(command, tmp_path, path)) == 0, command


def test_a_read_only_disk(good, folder, tmp_path, capsys, impatient):
    with small_disk(tmp_path / "disk") as disk:
        path = disk / "store.sqlite"
        shutil.copy(good, path)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        for command in sorted(set(COMMANDS) - STORELESS):
            code = main(words_of(command, folder, path))
            last = capsys.readouterr().out.splitlines()[-1]
            assert code == 1, command
            assert last.startswith(f"error: the store {path} "), last
            assert "writable" in last or "may you write" in last


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
def test_postgresql_stores(store_url, folder, capsys):
    def told_after(*statements):
        with opened.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
        assert main(["export", str(folder / "site"), "--db", store_url]) == 2
        return capsys.readouterr().out

    opened = database_file.open_database(store_url)
    assert "has revision '9999'" in told_after("UPDATE alembic_version SET version_num = '9999'")
    assert "holds other tables" in told_after("DROP TABLE alembic_version")
    assert "has no table 'audit'" in told_after(
        "CREATE TABLE alembic_version (version_num varchar)", "DROP TABLE audit",
        f"INSERT INTO alembic_version VALUES ('{newest_revision()}')",
    )  # fmt: skip
    opened.close()


def test_a_new_store_without_hard_links(tmp_path, monkeypatch):
    def refused(old, new):
        raise PermissionError(1, "Operation not permitted", str(new))

    monkeypatch.setattr("os.link", refused)
    path = tmp_path / "store.sqlite"
    database_file.open_database(f"sqlite:///{path}").close()
    assert [file.name for file in tmp_path.iterdir()] == ["store.sqlite"]
    with pytest.raises(FileExistsError):
        move_new(tmp_path / "other", path)
