"""Nothing is looked up, and nothing is written under HOME, from training to the leaderboard."""

import ctypes
import json
import os
import platform
import re
import signal
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest

ROOT = Path(__file__).resolve().parents[1]
ONLY_PLACE = ROOT / "baselines" / "onnx_runtime.py"
IS_FILTERED = platform.system() == "Linux" and platform.machine() == "x86_64"
ENV = "Safe/DeepSeaTreasure-v0"
TRAINING = ["--total-timesteps", "256", "--eval-episodes", "4"]


def python_files():
    folders = ("agents", "baselines", "leaderboard", "safe_envs", "tests")
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def test_onnx_runtime_is_imported_in_one_place():
    """Which switches its telemetry off before; after the import it is too late."""
    importing = re.compile(r"^\s*(import|from) onnxruntime\b|import_module\(.onnxruntime", re.M)
    found = [path for path in python_files() if importing.search(path.read_text("utf-8"))]
    assert found == [ONLY_PLACE]
    text = ONLY_PLACE.read_text("utf-8")
    assert text.index('os.environ["ORT_DISABLE_TELEMETRY"] = "1"') < text.index("from onnxruntime")


def keep_to_permissions():
    """Let root, too, write only where permissions allow it; runs in the child."""
    drop, dac_override = 24, 1  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE
    ctypes.CDLL(None).prctl(drop, dac_override, 0, 0, 0)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """An empty folder that cannot be written to."""
    folder = tmp_path_factory.mktemp("home")
    folder.chmod(0o500)
    yield folder
    folder.chmod(0o700)


def run(home, *words):
    """Run Python without network; matplotlib gets the fonts that it has found before."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "ORT_", "PYTEST_"))}
    paths = os.pathsep.join([str(ROOT / "tests" / "refused_network"), str(ROOT)])
    own = {"HOME": str(home), "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    own |= {"MPLCONFIGDIR": matplotlib.get_cachedir(), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *map(str, words)],
        env={**kept, **own},
        capture_output=True,
        text=True,
        timeout=300,
        preexec_fn=keep_to_permissions if platform.system() == "Linux" else None,
    )


SEVERAL = """
import json, sys
from {package}.__main__ import main
for words in json.loads(sys.argv[1]):
    assert main(words) == 0, words
"""


def commands(home, package, *several):
    """Run commands of a package one after the other in one process, which saves imports."""
    words = json.dumps([[str(word) for word in one] for one in several])
    done = run(home, "-c", SEVERAL.format(package=package), words)
    assert done.returncode == 0, done.stdout + done.stderr


def test_connections_are_refused_here(home):
    """Without this, the test below could pass for nothing."""
    done = run(home, "-c", "import socket; socket.create_connection(('127.0.0.1', 9))")
    assert "AssertionError: a connection or a lookup" in done.stderr
    if IS_FILTERED:
        opens = "import ctypes; ctypes.CDLL(None).socket(2, 1, 0)"  # as a compiled library would
        assert run(home, "-c", opens).returncode == -signal.SIGSYS
        child = (
            f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-Ic', '{opens}']))"
        )
        assert run(home, "-c", child).returncode % 256 == -signal.SIGSYS % 256
    write = f"open({str(home / 'file')!r}, 'w')"
    assert "PermissionError" in run(home, "-c", write).stderr


def test_from_training_to_the_leaderboard(home, tmp_path):
    out, db = tmp_path / "runs", f"sqlite:///{tmp_path / 'board.sqlite'}"
    training = out / "Safe_DeepSeaTreasure-v0" / "PPOLag" / "seed_0"  # where `compare` finds it
    agent = ["--agent", "PPOLag", "--env", ENV, "--out", training]
    settings = ["--agents", "PPOLag", "pqa_alm", "--envs", ENV, "--out", out]
    commands(
        home, "baselines",
        ["train", *agent, *TRAINING],
        ["evaluate", training, "--episodes", 4],
        ["compare", *settings, *TRAINING, "--evaluations", 20, "--workers", 1],
    )  # fmt: skip
    assert (training / "policy.onnx").exists()
    assert (out / "report.html").exists()
    commands(
        home, "leaderboard",
        ["submit", training, "--db", db],
        ["verify", training],
        ["export", tmp_path / "pages", "--db", db],
    )  # fmt: skip
    assert list((tmp_path / "pages").rglob("*.html"))
    assert not list(home.iterdir())
