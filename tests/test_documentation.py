"""The documentation says what the code does: pages are current and snippets run."""

import importlib.util
import multiprocessing
import os
import re
import runpy
from functools import partial
from multiprocessing.forkserver import ensure_running
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HAND_WRITTEN = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


THIRD_PARTY = ["gymnasium", "torch._dynamo", "stable_baselines3"]  # slow to import


def snippets():
    """Every distinct text once; some stand on two pages."""
    places = {}
    for page in HAND_WRITTEN:
        blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
        for number, block in enumerate(blocks):
            places.setdefault(block, []).append(f"{page.name}-{number}")
    return [pytest.param(block, id=" ".join(ids)) for block, ids in places.items()]


@pytest.fixture(scope="module")
def interpreters():
    """Interpreters that have third-party packages in memory, and nothing of the repository."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(THIRD_PARTY)
    with pytest.MonkeyPatch.context() as patch:
        for name in set(os.environ) - {"LD_LIBRARY_PATH"}:
            patch.delenv(name)
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("PATH", "")
        patch.setenv("OMP_NUM_THREADS", "1")
        ensure_running()
    return context


@pytest.mark.parametrize("snippet", snippets())
def test_snippets_run_as_they_stand(snippet, interpreters, tmp_path):
    script = tmp_path / "snippet.py"
    script.write_text(snippet)
    run = partial(runpy.run_path, str(script), run_name="__main__")
    process = interpreters.Process(target=run)
    process.start()
    process.join()
    assert process.exitcode == 0, "see the captured stderr"


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
