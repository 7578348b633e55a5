"""Both wheels, installed without the checkout, work from an empty folder."""

import shlex

import imageio.v3
import pytest

from leaderboard.store.accounts import Scope, create_token
from leaderboard.store.database import embedded_url, open_database
from tests.leaderboard.server import free_port, wait_until_healthy

RUN = "runs/one"
# In this order, in one empty folder.
COMMANDS = (
    f"safe-envs train --agent PPOLag --env Safe/DeepSeaTreasure-v0 --out {RUN} --eval-episodes 2 "
    "--total-timesteps 32 --set n_envs=2 n_steps=16",
    "safe-envs compare --agents pqa_alm --envs Safe/CliffWorld-v0 --evaluations 20 --workers 1 "
    "--out runs/compared",
    f"safe-envs play {RUN} --video runs/one.mp4",
)


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("empty")


@pytest.fixture(scope="module")
def printed(installed, folder):
    """What each command printed, by its name."""
    found = {}
    for line in COMMANDS:
        words = shlex.split(line)
        code, found[words[1]] = installed.run(*words, cwd=folder)
        assert code == 0, found[words[1]]
    return found


def test_runs_and_reports_are_written(printed, folder):
    assert (folder / RUN / "policy.onnx").is_file()
    assert (folder / "runs" / "compared" / "report.html").is_file()
    assert "report: runs/compared/report.html" in printed["compare"]
    assert imageio.v3.immeta(folder / "runs" / "one.mp4")["codec"] == "h264"
    assert {path.name for path in folder.iterdir()} <= {"runs", ".cache", ".config"}


def test_recorded_command_is_that_of_the_script(printed, folder):
    assert (
        '"command": "safe-envs train --agent PPOLag' in (folder / RUN / "config.json").read_text()
    )


def test_submission_to_a_served_leaderboard(printed, installed, folder):
    database = open_database(embedded_url(folder / "store.sqlite"))
    (folder / "token").write_text(create_token(database, "me", Scope.SUBMIT, "administrator"))
    database.close()
    port = free_port()
    serve = shlex.split(f"safe-envs serve --db sqlite:///store.sqlite --port {port}")
    with installed.start(*serve, cwd=folder) as server:
        try:
            wait_until_healthy(port, server)
            url = f"http://127.0.0.1:{port}"
            words = shlex.split(f"safe-envs submit {RUN} --url {url} --token-file token")
            code, told = installed.run(*words, cwd=folder)
        finally:
            server.terminate()
        addresses, _ = server.communicate(timeout=30)
    assert code == 0, told
    assert f"submission 1: {url}/submissions/1.html" in told
    assert url in addresses
