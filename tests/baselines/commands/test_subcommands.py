"""What a mistyped command line answers."""

import sys

import pytest

from baselines.__main__ import main


@pytest.fixture(autouse=True)
def _interpreter_called_python(monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", ["python", *sys.orig_argv[1:]])


def printed(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words)
    captured = capsys.readouterr()
    return ended.value.code, " ".join((captured.out + captured.err).split())


def test_hints_speak_of_the_command_as_it_is_typed(capsys):
    words = ["train", "--agent", "PPO", "--env", "x", "--out", "x", "--total-timesteps", "3"]
    code, text = printed([*words, "--see", "3"], capsys)
    assert code == 2
    assert "--seed" in text
    assert "run python -m baselines train --help" in text
    assert "in python" not in text


def test_help_and_unknown_commands_name_the_commands(capsys):
    for words, code in ((["--help"], 0), (["trian"], 2)):
        ended, text = printed(words, capsys)
        assert ended == code
        assert "python -m baselines" in text
        assert all(name in text for name in ("train", "evaluate", "compare", "demo"))
