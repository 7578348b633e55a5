"""Wrong types in a config.json are named by their place."""

import json

import pytest
from rich.console import Console

import baselines
from baselines.__main__ import main
from baselines.commands.train import TrainOptions, train
from baselines.jobs.stored_config import DamagedConfig, check_config

CLIFF = {"id": "Safe/CliffWorld-v0", "kwargs": {}}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    overrides = ("n_steps=8", "n_envs=2", "batch_size=16")
    options = TrainOptions("PPOLag", CLIFF["id"], folder, 16, 0, overrides, 2)
    assert train(options, Console(quiet=True)) == 0
    return folder


WRONG = [
    ({"seed": "zero"}, "seed: a whole number >= 0 is needed, not 'zero'"),
    ({"seed": 1.5}, "seed: a whole number >= 0 is needed, not 1.5"),
    ({"seed": True}, "seed: a whole number"),
    ({"seed": -1}, "seed: a whole number"),
    ({"env": None}, "env: a JSON object is needed, not None"),
    ({"env": {**CLIFF, "id": 5}}, "env.id: a text is needed, not 5"),
    ({"env": {**CLIFF, "kwargs": []}}, "env.kwargs: a JSON object of numbers"),
    ({"env": {**CLIFF, "kwargs": {"x": [1]}}}, "env.kwargs: a JSON object of numbers"),
    ({"env": {**CLIFF, "code": 3}}, "env.code: a JSON object is needed"),
    ({"env": {**CLIFF, "code": {"place": 3}}}, "env.code.place: a text is needed"),
    ({"agent": ["PPOLag"]}, "agent: a text is needed, not ['PPOLag']"),
    ({"agent_code": {"kind": []}}, "agent_code.kind: a text is needed"),
    ({"agent_code": None}, "agent_code: a JSON object is needed"),
    ({"hyperparameters": 7}, "hyperparameters: a JSON object is needed"),
    ({"total_timesteps": "many"}, "total_timesteps: a whole number"),
    ({"evaluation_episodes": None}, "evaluation_episodes: a whole number"),
]


@pytest.mark.parametrize(("changes", "told"), WRONG)
def test_every_command_names_the_entry(run, changes, told, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("COLUMNS", "500")
    file = run / "config.json"
    content = file.read_text()
    file.write_text(json.dumps({**json.loads(content), **changes}))
    try:
        for command in ("evaluate", "play", "plot", "show"):
            words = ["--out", str(tmp_path / "x.png")] if command == "plot" else []
            assert main([command, str(run), *words]) == (1 if command == "show" else 2)
            assert f"{file} is damaged: {told}" in capsys.readouterr().out
        with pytest.raises(ValueError, match="is damaged"):
            baselines.load_run(run)
    finally:
        file.write_text(content)


def test_an_environment_that_refuses_its_arguments_is_named(run, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "500")
    file = run / "config.json"
    content = file.read_text()
    file.write_text(json.dumps({**json.loads(content), "env": {**CLIFF, "kwargs": {"x": 1}}}))
    try:
        for command in ("evaluate", "play"):
            assert main([command, str(run)]) == 2
            text = capsys.readouterr().out
            assert text.startswith("error: ")
            assert "Safe/CliffWorld-v0" in text
            assert "unexpected keyword argument 'x'" in text
    finally:
        file.write_text(content)


def test_what_is_written_passes(run):
    check_config(json.loads((run / "config.json").read_text()))
    check_config({})
    with pytest.raises(TypeError, match="no JSON object"):
        check_config([])
    with pytest.raises(DamagedConfig):
        check_config({"seed": "zero"})
