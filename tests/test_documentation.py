"""The documentation says what the code does: pages are current and snippets run."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HAND_WRITTEN = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def snippets():
    for page in HAND_WRITTEN:
        blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
        for number, block in enumerate(blocks):
            yield pytest.param(block, id=f"{page.name}-{number}")


@pytest.mark.parametrize("snippet", list(snippets()))
def test_snippets_run_as_they_stand(snippet, tmp_path):
    script = tmp_path / "snippet.py"
    script.write_text(snippet)
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


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
