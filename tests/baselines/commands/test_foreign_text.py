"""Text in the folder of somebody else's run never controls the terminal."""

import json
import shutil

import pytest

from baselines.__main__ import main

EVIL = "\x1b[31mred\x1b]0;title\x07 \x9b2J \x7f \u202e \r[bold]x[/]\n9 jobs: 9 finished"
FORBIDDEN = {*map(chr, range(32)), *map(chr, range(0x7F, 0xA0)), "\u202e"} - {"\n"}


def edit(file, change):
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))


@pytest.fixture
def run(sea, tmp_path):
    """A run with control characters in every field that can have them."""
    folder = shutil.copytree(sea / "Safe_DeepSeaTreasure-v0" / "PPOLag" / "seed_1", tmp_path / "r")
    edit(folder / "config.json", lambda c: c.update(command=EVIL, versions={EVIL: EVIL}))

    def spoil(result):
        result.update(agent=EVIL, env=EVIL, warnings=[EVIL], versions={EVIL: EVIL})
        result.update(constraint_names=[EVIL], policy_onnx_refused=EVIL)

    edit(folder / "result.json", spoil)
    return folder


def failed(folder):
    (folder / "result.json").unlink()
    (folder / "error.txt").write_text(EVIL.replace("\n", " "))


def with_env(folder):
    edit(folder / "config.json", lambda c: c["env"].update(id=EVIL, kwargs={EVIL: EVIL}))


def with_agent(folder):
    edit(folder / "config.json", lambda c: c.update(agent=EVIL))


def with_own_code(folder):
    code = {"kind": "deep agent", "place": f"{EVIL}.py", "name": EVIL, "sha256": EVIL}
    edit(folder / "config.json", lambda c: c.update(agent=EVIL, agent_code=code))


def with_settings(folder):
    edit(folder / "config.json", lambda c: c["hyperparameters"].update({EVIL: EVIL}))


def unchanged(folder):
    pass


@pytest.mark.parametrize(
    "spoil", [unchanged, failed, with_env, with_agent, with_own_code, with_settings]
)
@pytest.mark.parametrize("command", ["show", "evaluate", "play", "plot"])
@pytest.mark.parametrize("several", [False, True])
def test_no_control_character_is_printed(run, spoil, command, several, capsys):
    if several and command in ("evaluate", "play"):
        pytest.skip("these take one run")
    spoil(run)
    words = {"evaluate": ["--episodes", "1"], "plot": ["--out", str(run.parent / "x.png")]}
    main([command, str(run.parent if several else run), *words.get(command, [])])
    printed = capsys.readouterr()
    assert not FORBIDDEN & set(printed.out + printed.err)
    assert "\n9 jobs" not in printed.out
