"""docs/add_your_board.md, followed literally: its table makes a board that takes a submission."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from agents.tabular import linear_program
from leaderboard.boards.board import parse_boards
from leaderboard.evaluation.episodes import check_board
from tests.leaderboard.tabular_policies import fields_for, table_policy

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs" / "add_your_board.md").read_text()
(TABLE,) = re.findall(r"^```toml\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)
((ENV, BOARD),) = parse_boards(TABLE).items()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the packages with the guide's table at the end of boards.toml."""
    folder = tmp_path_factory.mktemp("checkout")
    for package in ("safe_envs", "agents", "baselines", "leaderboard"):
        shutil.copytree(ROOT / package, folder / package)
    with (folder / "leaderboard" / "boards" / "boards.toml").open("a") as file:
        file.write("\n" + TABLE)
    return folder


def run(checkout, *commands):
    """Run some commands of the leaderboard in the copy, in one process."""
    words = [[str(word) for word in command] for command in commands]
    calls = f"from leaderboard.__main__ import main; print([main(words) for words in {words}])"
    return subprocess.run(
        [sys.executable, "-c", calls],
        cwd=checkout,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=True,
    )


def test_the_guides_board_takes_a_submission_and_is_exported(checkout, tmp_path):
    model = gym.make(ENV).unwrapped.tabular_model()
    content = table_policy(linear_program(model).policy)
    own = tmp_path / "own"
    own.mkdir()
    (own / "policy_0.onnx").write_bytes(content)
    (own / "meta.json").write_text(json.dumps(fields_for(ENV, [content], algorithm="Optimum")))
    db = f"sqlite:///{tmp_path / 'store.sqlite'}"

    site = tmp_path / "site"
    done = run(checkout, ("submit", own, "--db", db), ("export", site, "--db", db))
    assert done.stdout.endswith("[0, 0]\n")
    assert f"submission 1 on {ENV}: without a rank, tier" in done.stdout
    assert BOARD.title in (site / "index.html").read_text()
    page = (site / "boards" / BOARD.slug / "index.html").read_text()
    assert "Optimum" in page
    (row,) = json.loads((site / "boards" / BOARD.slug / "board.json").read_text())["rows"]
    assert row["score"] == pytest.approx(1.0, abs=0.25)  # 100 episodes of the optimum


def test_the_guides_numbers_are_those_of_the_environment():
    made = gym.make(ENV)
    check_board(BOARD, made)
    model = made.unwrapped.tabular_model()
    uniform = np.full((model.num_states, model.num_actions), 1.0 / model.num_actions)
    assert BOARD.random_return == pytest.approx(model.evaluate(uniform).value, abs=1e-12)
    assert BOARD.reference_return == pytest.approx(linear_program(model).value, abs=1e-12)
    assert BOARD.longest_episode == made.spec.max_episode_steps
    made.close()


FIELDS = re.findall(r"^(\w+) = ", TABLE, re.MULTILINE)


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_left_out_is_named_with_its_board(field):
    less = re.sub(rf"^{field} = .*\n", "", TABLE, flags=re.MULTILINE)
    with pytest.raises(ValueError, match=f"the board '{ENV}' .* is wrong: {field}: Field required"):
        parse_boards(less)


@pytest.mark.parametrize("field", ["name", "limit", "discount", "cost_scale"])
def test_a_constraints_field_left_out_is_named_with_its_board(field):
    less = re.sub(rf"\b{field} = [^,}}]+(, | (?=}}))", "", TABLE).replace(", }", " }")
    said = f"the board '{ENV}' .* is wrong: constraints.0.{field}: Field required"
    with pytest.raises(ValueError, match=said):
        parse_boards(less)


def test_other_mistakes_are_named_with_their_board():
    def refused(old, new):
        assert old in TABLE
        with pytest.raises(ValueError, match="the board '.*' in boards.toml ") as caught:
            parse_boards(TABLE.replace(old, new, 1))
        return str(caught.value)

    said = refused("RandomCMDP", "RandomCMPD")
    assert "unknown environment 'Safe/RandomCMPD-v0'; did you mean 'Safe/RandomCMDP-v0'?" in said
    assert "titel: Extra inputs are not permitted" in refused("title", "titel")
    assert "version: Input should be a valid integer" in refused("version = 1", 'version = "1"')
    assert "reward_discount: Input should be greater than 0" in refused("= 0.9", "= 0.0")
    with pytest.raises(ValueError, match="boards.toml cannot be read"):
        parse_boards(TABLE + "=")
    assert "name a registered id alone" in refused("-v0", "-v0?seed=1")
