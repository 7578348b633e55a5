"""The console script: every command of both packages, found without importing them."""

import subprocess
import sys
from pathlib import Path

import pytest

import baselines.__main__
import leaderboard.__main__
from baselines.commands.command_list import listed_commands
from leaderboard.console import commands_of, main
from safe_envs import __version__

ROOT = Path(__file__).parents[2]
TABLES = {"baselines": baselines.__main__.COMMANDS, "leaderboard": leaderboard.__main__.COMMANDS}
OF_BOTH = {"demo"}  # the script runs the leaderboard's


@pytest.fixture(autouse=True)
def _same_search_path(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.mark.parametrize("package", TABLES)
def test_listed_commands_are_those_of_the_table(package):
    table = TABLES[package]
    listed = listed_commands(ROOT / package)
    assert list(listed) == list(table)
    for name, summary in listed.items():
        first = (table[name][0].__doc__ or "").splitlines()[0]
        assert summary
        assert first.startswith(summary)


def test_names_that_both_packages_have(capsys):
    assert set(TABLES["baselines"]) & set(TABLES["leaderboard"]) == OF_BOTH
    assert set(commands_of("baselines")) == set(TABLES["baselines"]) - OF_BOTH
    assert set(commands_of("leaderboard")) == set(TABLES["leaderboard"])
    with pytest.raises(SystemExit):
        main(["demo", "--help"])
    assert "--db" in capsys.readouterr().out  # only the leaderboard's has it


def test_help_lists_every_command_without_importing_it():
    program = (
        "import sys; from leaderboard.console import main; code = main(['--help']); "
        "slow = {'torch', 'gymnasium', 'matplotlib', 'sqlalchemy', 'onnx'} & set(sys.modules); "
        "print('imported', sorted(slow), code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    words = done.stdout.split()
    assert set(words) >= {name for table in TABLES.values() for name in table}
    assert done.stdout.endswith("imported [] 0\n")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ([], 2, "usage: safe-envs COMMAND"),
        (["--version"], 0, f"safe-envs {__version__}\n"),
        (["trian"], 2, "unknown command 'trian'; did you mean 'train'? "),
        (["evaluate", "nowhere"], 2, "error: nowhere has no run"),
    ],
)
def test_answers(words, code, told, capsys):
    assert main(words) == code
    assert told in capsys.readouterr().out


def test_commands_of_the_leaderboard_name_the_extra_that_they_need(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "leaderboard.__main__")
    monkeypatch.delitem(sys.modules, "leaderboard.commands.submit")
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    for module in [name for name in sys.modules if name.startswith("leaderboard.store")]:
        monkeypatch.delitem(sys.modules, module)
    assert main(["submit", "runs"]) == 2
    told = "error: submit needs sqlalchemy, an extra: pip install 'safe-envs-agents[leaderboard]'"
    assert told in capsys.readouterr().out


def test_modules_in_the_current_folder_are_found_first(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["--version"])
    assert sys.path[0] == str(tmp_path)
