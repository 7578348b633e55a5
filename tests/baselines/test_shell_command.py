"""Printed commands work as printed: in the shell that started the process, from the same folder."""

import os
import stat
import subprocess
import sys

import pytest

from baselines.shell_command import shell_command

# What pip makes of an entry point; it prints its own command.
SCRIPT = f"""#!{sys.executable}
import sys
from baselines.shell_command import shell_command

print(shell_command("leaderboard", *sys.argv[1:]))
print(shell_command("baselines.experiments.one"))
"""


@pytest.fixture
def folder(tmp_path):
    """A folder with the script in `bin`, and links to it elsewhere."""
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "safe-envs"
    script.write_text(SCRIPT)
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "safe-envs").symlink_to(script)
    (tmp_path / "links" / "renamed").symlink_to(script)
    return tmp_path


def run(line, folder, on_path=""):
    """The lines that a shell prints when it runs the line there."""
    path = os.pathsep.join([*([str(folder / on_path)] if on_path else []), "/usr/bin", "/bin"])
    env = {"PATH": path, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        ["sh", "-c", line], cwd=folder, env=env, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("typed", "on_path", "printed"),
    [
        ("safe-envs", "bin", "safe-envs"),
        ("safe-envs", "links", "safe-envs"),
        ("bin/safe-envs", "bin", "safe-envs"),
        ("bin/safe-envs", "", "bin/safe-envs"),
        ("cd bin; ./safe-envs", "", "./safe-envs"),
        ("links/renamed", "", f"{sys.executable} -m leaderboard"),
    ],
)
def test_script_prints_what_was_typed(folder, typed, on_path, printed):
    command, module = run(f"{typed} serve 'two words'", folder, on_path)
    assert command == f"{printed} serve 'two words'"
    assert module == f"{sys.executable} -m baselines.experiments.one"
    if "renamed" not in typed:
        place = "cd bin; " if "cd bin" in typed else ""
        assert run(place + command, folder, on_path)[0] == command  # it works as printed


def test_another_script_of_that_name_on_the_path(folder):
    (folder / "other").mkdir()
    other = folder / "other" / "safe-envs"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    assert run("bin/safe-envs serve", folder, "other")[0] == "bin/safe-envs serve"


def test_interpreter_keeps_the_name_it_was_called_by(folder):
    (folder / "links" / "python9").symlink_to(sys.executable)
    program = (
        "from baselines.shell_command import shell_command as s; print(s('baselines', 'train'))"
    )
    env = {"PYTHONHOME": sys.base_prefix, "PYTHONPATH": os.pathsep.join(sys.path)}
    for name, path in (("python9", folder / "links"), ("links/python9", "/bin")):
        done = subprocess.run(
            ["sh", "-c", f'{name} -c "{program}"'],
            cwd=folder,
            env={**env, "PATH": f"{path}:/bin:/usr/bin"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == f"{name} -m baselines train\n"


@pytest.mark.parametrize("arguments", [[], [""]])
def test_embedded_interpreter(monkeypatch, arguments):
    monkeypatch.setattr(sys, "argv", arguments)
    monkeypatch.setattr(sys, "orig_argv", arguments)
    assert shell_command("baselines") == f"{sys.executable} -m baselines"
