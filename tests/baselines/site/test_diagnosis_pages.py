"""The pages of trainings in a browser, opened from the disk without a network."""

import csv
from pathlib import Path

import numpy as np
import pytest
from stable_baselines3.common.logger import Logger

import agents
from baselines.diagnostics.diagnostics_callback import DiagnosticsCallback
from baselines.diagnostics.doctor import findings
from baselines.diagnostics.measured_run import MeasuredRun, read_measured_run
from baselines.experiments.planted_faults import replayed
from baselines.jobs.progress_file import ProgressFile
from baselines.site.diagnosis_pages import Examined, write_pages
from baselines.site.training_curves import MOST_POINTS, charts_of
from tests.chromium import open_browser

ROOT = Path(__file__).parents[3]
RECORD = ROOT / "tests" / "baselines" / "diagnostics" / "planted_faults.json.gz"
CHECKS = (ROOT / "tests" / "page_checks.js").read_text()
WIDTHS = (360, 768, 1280)
TICKS = """Array.from(document.querySelectorAll('.small-multiples svg'), drawing =>
  Array.from(drawing.querySelectorAll('[aria-label="y-axis tick label"] text'),
    text => text.textContent).join())"""
HOSTILE = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A short training with diagnostics, whose log is a CSV file."""
    folder = tmp_path_factory.mktemp("run")
    model = agents.PPOLag("MlpPolicy", "Safe/DoubleIntegrator-v0", n_steps=256, n_epochs=2, seed=0)
    model.set_logger(Logger(str(folder), [ProgressFile(folder / "progress.csv")]))
    model.learn(2048, callback=DiagnosticsCallback(folder, points=9))
    model.logger.close()
    return folder


@pytest.fixture(scope="module")
def pages(trained, tmp_path_factory):
    out = tmp_path_factory.mktemp("pages")
    run = read_measured_run(trained)
    examined = [Examined(trained, run, findings(run))]
    for name, other in list(replayed(RECORD).items())[:3]:
        told = MeasuredRun(other.log, other.measures, other.settings, f"{name} {HOSTILE}")
        examined.append(Examined(Path("nowhere") / name, told, findings(told)))
    write_pages(examined, out)
    return out


@pytest.fixture(scope="module")
def browser():
    with open_browser() as opened:
        yield opened


@pytest.fixture(params=["light", "dark"])
def tab(browser, pages, request):
    context = browser.new_context(color_scheme=request.param)
    wrong, outside = [], []

    def only_files(route):
        if route.request.url.startswith("file:"):
            route.continue_()
        else:
            outside.append(route.request.url)
            route.abort()

    context.route("**/*", only_files)
    page = context.new_page()
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))

    def opened(path, width=1280):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto((pages / path).as_uri())
        page.wait_for_function(
            "Array.from(document.querySelectorAll('.plot')).every(box => box.childNodes.length)"
        )
        return page

    yield opened
    context.close()
    assert wrong == []
    assert outside == []


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_cut_off_and_everything_can_be_read(tab, width):
    for path in ("index.html", "run_1.html", "run_2.html"):
        assert tab(path, width).evaluate(CHECKS) == []


def test_the_cursor_is_shared_by_all_charts(tab):
    page = tab("run_1.html")
    places = "Array.from(document.querySelectorAll('.cursor-rule')).map(r => r.getAttribute('x1'))"
    before, told = page.evaluate(places), page.locator("#step").inner_text()
    assert told == "2,048"
    page.focus("#cursor")
    for _ in range(20):
        page.keyboard.press("PageDown")
    assert page.locator("#step").inner_text() == "0"
    assert len(before) >= 8
    assert all(a != b for a, b in zip(before, page.evaluate(places), strict=True))
    page.locator("[data-chart=return] svg").scroll_into_view_if_needed()
    page.locator("[data-chart=return] svg").hover()
    assert 0 < int(page.locator("#step").inner_text().replace(",", "")) < 2048
    shown = set(page.evaluate(places))
    assert len(shown) == 1  # charts of one width


def test_values_at_the_cursor_are_those_of_the_log(tab, trained):
    with (trained / "progress.csv").open() as file:
        last = list(csv.DictReader(file))[-1]
    page = tab("run_1.html")
    told = page.locator("[data-values=length]").inner_text()
    assert float(told.split()[-1]) == pytest.approx(float(last["rollout/ep_len_mean"]), rel=1e-2)


def test_the_slider_moves_through_the_landscapes(tab):
    page = tab("run_1.html")
    drawn = "document.querySelector('[data-landscape] svg image').getAttribute('href').length"
    picture = "document.querySelector('[data-landscape] svg').outerHTML"
    seen = set()
    assert page.evaluate(drawn) > 100
    page.focus("#moment")
    for _ in range(4):
        seen.add((page.locator("#moment-name").inner_text(), page.evaluate(picture)))
        page.keyboard.press("ArrowLeft")
    assert {name for name, _ in seen} == {
        "along the training's path", "at step 2,048", "at step 1,024", "at step 256"
    }  # fmt: skip
    assert len({picture for _, picture in seen}) == 4


def test_any_measurement_can_be_compared(tab):
    page = tab("index.html")
    for chosen in ("return", "noise", "rank"):
        page.select_option("#what", chosen)
        assert page.locator("[data-guide]:not([hidden])").get_attribute("data-guide") == chosen
        assert len(set(page.evaluate(TICKS))) == 1  # one scale for all
    page.select_option("#what", "curvature")
    assert page.locator(".small-multiples figure").count() == 4


def test_a_long_training_is_thinned_and_keeps_its_mean():
    steps = np.arange(1.0, 3001.0)
    log = {"time/total_timesteps": steps, "train/std": np.sin(steps)}
    (chart,) = charts_of(MeasuredRun(log, {}))
    assert len(chart.curves[0].steps) == MOST_POINTS
    assert chart.curves[0].values.mean() == pytest.approx(np.sin(steps).mean(), abs=1e-3)


def test_names_cannot_leave_their_place(pages):
    for file in pages.glob("*.html"):
        assert HOSTILE not in file.read_text()
