"""Other distributions that have a package `agents`, such as openai-agents, in one environment."""

import base64
import hashlib
import shutil
import zipfile

import pytest

from tests.packaging.venvs import Venv

OTHER = {
    "agents/__init__.py": "from agents.run import Runner\n",
    "agents/run.py": "class Runner: ...\n",
    "agents/py.typed": "",
}


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A wheel that installs what openai-agents installs: a package `agents` of its own."""
    info = "openai_agents-9.9.dist-info"
    files = {
        **OTHER,
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: openai-agents\nVersion: 9.9\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [f"{name},sha256={digest(text)},{len(text)}" for name, text in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,"])
    wheel = tmp_path_factory.mktemp("other") / "openai_agents-9.9-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return wheel


def digest(text):
    hashed = hashlib.sha256(text.encode()).digest()
    return base64.urlsafe_b64encode(hashed).rstrip(b"=").decode()


def test_environments_leave_it_untouched(wheels, new_venv, other, tmp_path):
    venv = new_venv()
    venv.install(other, wheels["safe-envs"])
    assert {name: (venv.site / name).read_text() for name in OTHER} == OTHER
    program = (
        "import gymnasium, safe_envs, sys; gymnasium.make('Safe/CliffWorld-v0').reset(seed=0); "
        "from agents import Runner; print(safe_envs.__file__, 'torch' in sys.modules)"
    )
    code, printed = venv.run("python", "-c", program, cwd=tmp_path)
    assert code == 0, printed
    assert printed == f"{venv.site / 'safe_envs' / '__init__.py'} False\n"
    assert not (venv.folder / "bin" / "safe-envs").exists()


@pytest.mark.parametrize(
    ("files", "state"),
    [(OTHER, "belongs to another distribution"), ({}, "is missing")],
    ids=["installed", "and uninstalled"],
)
def test_agents_say_what_another_distribution_has_overwritten(installed, tmp_path, files, state):
    """pip overwrites a file of another distribution, and removes it with the one it uninstalls."""
    venv = Venv(tmp_path / "venv")
    shutil.copytree(installed.folder, venv.folder, symlinks=True)
    start = venv.site / "agents" / "__init__.py"
    start.unlink()
    for name, text in files.items():
        (venv.site / name).write_text(text)
    code, printed = venv.run("python", "-m", "leaderboard", "--help", cwd=tmp_path)
    assert code == 1
    last = printed.splitlines()[-1]
    assert last.startswith(f"ImportError: {start} {state}; openai-agents, for example, ")
    assert last.endswith("and reinstall safe-envs-agents in this one")


def test_a_folder_with_a_package_agents_is_refused(installed, tmp_path):
    """The script searches the current folder first, as `python -m` does."""
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "__init__.py").write_text("raise RuntimeError('was imported')")
    code, printed = installed.run("safe-envs", "train", "--help", cwd=tmp_path)
    assert code == 2
    assert printed.startswith("error: ")
    assert f"`import agents` finds {tmp_path / 'agents'}; run from a folder without" in printed


def test_another_baselines_is_refused(installed, tmp_path):
    (tmp_path / "baselines").mkdir()
    (tmp_path / "baselines" / "__init__.py").write_text("")
    code, printed = installed.run("python", "-m", "leaderboard", "--help", cwd=tmp_path)
    assert code == 1
    last = printed.splitlines()[-1]
    found = tmp_path / "baselines" / "__init__.py"
    assert f"needs this project's package baselines, but `import baselines` finds {found}; " in last
