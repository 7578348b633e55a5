"""The documentation says what the code does: pages are current and snippets run."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HAND_WRITTEN = sorted(
    [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "clients").glob("*.md")]
)
# The snippets of these pages need libraries that are not installed here; `make clients` runs them.
OF_CLIENTS = {
    *("cleanrl", "minari", "rl_zoo", "rl_zoo_ppo", "rllib", "sbx", "skrl", "tianshou", "torchrl")
}
RUN_HERE = [p for p in HAND_WRITTEN if p.parent.name != "clients" or p.stem not in OF_CLIENTS]


# Third-party packages, which are slow to import, are preloaded; nothing of the repository is. Each
# script runs in its own fork, which returns its exit code.
INTERPRETER = """
import os, runpy, sys
import gymnasium, stable_baselines3, torch._dynamo

for line in sys.stdin:
    script = line.strip()
    child = os.fork()
    if child == 0:
        for stream in (1, 2):
            os.dup2(os.open(script + f".{stream}", os.O_WRONLY | os.O_CREAT), stream)
        sys.argv, sys.path[0] = [script], os.path.dirname(script)
        os.chdir(sys.path[0])  # snippets may write files
        runpy.run_path(script, run_name="__main__")
        sys.exit()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def snippets():
    """Every distinct text once; some are on two pages."""
    places = {}
    for page in RUN_HERE:
        blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
        for number, block in enumerate(blocks):
            places.setdefault(block, []).append(f"{page.name}-{number}")
    return [pytest.param(block, id=" ".join(ids)) for block, ids in places.items()]


@pytest.fixture(scope="module")
def interpreter():
    with subprocess.Popen(
        [sys.executable, "-c", INTERPRETER],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.stdin.close()


@pytest.mark.parametrize("snippet", snippets())
def test_snippets_run_as_written(snippet, interpreter, tmp_path):
    script = tmp_path / "snippet.py"
    script.write_text(snippet)
    print(script, file=interpreter.stdin, flush=True)
    exit_code = int(interpreter.stdout.readline())
    assert exit_code == 0, (tmp_path / "snippet.py.2").read_text()


def test_make_clients_runs_the_other_pages():
    """Every page of a client has a check that runs its snippets, and every client has a page."""
    folder = ROOT / "tests" / "clients"
    listed = subprocess.run(
        [sys.executable, folder / "run.py", "--list"], capture_output=True, text=True, check=True
    )
    assert set(listed.stdout.split()) == OF_CLIENTS
    assert {p.stem.removeprefix("check_") for p in folder.glob("check_*.py")} == OF_CLIENTS
    assert {p.stem for p in HAND_WRITTEN if p.parent.name == "clients"} == OF_CLIENTS | {"README"}
    for client in OF_CLIENTS:
        assert f'names_of("{client}")' in (folder / f"check_{client}.py").read_text()


@pytest.fixture(scope="module")
def generator():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_pages_are_current(generator):
    stale = [p.name for p, text in generator.pages().items() if p.read_text() != text]
    assert stale == [], "run `make docs`"


def test_every_environment_has_a_picture(generator):
    missing = [
        env_id
        for env_id in generator.environment_ids()
        if not (ROOT / "docs" / "images" / f"{generator.page_name(env_id)}.png").is_file()
    ]
    assert missing == []


@pytest.mark.parametrize("page", HAND_WRITTEN, ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    broken = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert broken == []


def test_environment_docstrings_have_the_headings(generator):
    headings = ["Description", "Action Space", "Observation Space", "Rewards", "Costs"]
    headings += ["Starting State", "Episode End", "Reference Optimum", "Arguments"]
    for env_id in generator.environment_ids():
        page = generator.environment_page(env_id)
        assert [h for h in headings if f"## {h}\n" not in page] == [], env_id
