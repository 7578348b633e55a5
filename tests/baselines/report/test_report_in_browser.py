"""The report in a browser: narrow and wide, light and dark, without a network."""

import io

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from baselines.commands.compare import CompareOptions, compare
from tests.chromium import open_browser

WIDTHS = (360, 400, 768, 1280)
CONTRAST = """() => {
  const linear = part => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const luminance = color => {
    const [r, g, b] = color.map(value => linear(value / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = element => {
    for (; element; element = element.parentElement) {
      const color = parse(getComputedStyle(element).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || element.closest("script, style")) continue;
    const a = luminance(parse(getComputedStyle(element).color)), b = luminance(behind(element));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    found.push([ratio, element.outerHTML.slice(0, 100)]);
  }
  return found;
}"""
CUT_OFF = """() => Array.from(document.querySelectorAll(
  "img, p, h1, h2, h3, dl, summary, .result *")).filter(element => {
    const box = element.getBoundingClientRect();
    return box.left < -0.5 || box.right > document.documentElement.clientWidth + 0.5;
  }).map(element => element.outerHTML.slice(0, 100))"""
FOCUS = """() => {
  const style = getComputedStyle(document.activeElement);
  return document.activeElement === document.body ? null :
    [document.activeElement.tagName, style.outlineStyle !== "none" && style.outlineWidth];
}"""


@pytest.fixture(scope="module")
def report(tmp_path_factory, run_here):
    """A report with solvers and a deep agent on one problem; another one fails."""
    out = tmp_path_factory.mktemp("runs") / "x"
    options = CompareOptions(
        envs=("Safe/DeepSeaTreasure-v0",),
        agents=("npg_pd", "pqa_alm", "SPMAALM", "PPO"),
        out=out,
        seeds=(0,),
        evaluations=1000,
        total_timesteps=512,
        eval_episodes=10,
        overrides=("SPMAALM.n_steps=8", "PPO.n_epochs=0"),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("baselines.commands.compare.run_in_processes", run_here)
        compare(options, Console(file=io.StringIO(), width=100))
    return out / "report.html"


@pytest.fixture(scope="module")
def browser():
    with open_browser() as opened:
        yield opened


@pytest.fixture(params=["light", "dark"])
def page(browser, report, request):
    """The report in a color scheme; messages on the console and requests are errors."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, color_scheme=request.param
    )
    page, wrong, requests = context.new_page(), [], []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda sent: requests.append(sent.url.partition(":")[0]))
    page.goto(report.as_uri())
    page.scheme = request.param
    yield page
    context.close()
    assert wrong == []
    assert {*requests} <= {"file", "data"}


def luminances(png):
    """Return the share of light pixels and that of dark ones."""
    gray = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
    return (gray > 200).mean(), (gray < 60).mean()


def test_nothing_is_cut_off_and_everything_can_be_read(page):
    page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true })")
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(CUT_OFF) == [], width
    texts = page.evaluate(CONTRAST)
    assert len(texts) > 100
    assert [text for text in texts if text[0] < 4.5] == []


def test_plots_have_the_colors_of_the_page(page):
    pictures = page.locator(".panels img")
    assert pictures.count() == 2 + 3 + 1  # convergence, learning curves, Pareto
    for i in range(pictures.count()):
        light, dark = luminances(pictures.nth(i).screenshot())
        assert (dark if page.scheme == "dark" else light) > 0.6, (i, light, dark)


def test_the_report_opens_with_the_result(page):
    assert page.locator("h2").first.text_content() == "Result"
    rows = page.locator(".result tbody tr")
    texts = [rows.nth(i).locator("th, td").all_inner_texts() for i in range(rows.count())]
    told = "limit 0.15. Optimum 0.37371. Best within the limits: pqa_alm."
    assert texts[0] == [f"Safe/DeepSeaTreasure-v0\n{told}"]
    assert texts[1] == ["pqa_alm", "yes\nat the limit", "0.37371", "none"]
    assert texts[-1] == ["PPO", "no result", "\u2013", "\u2013"]
    assert not page.locator("details").first.evaluate("part => part.open")


def test_the_keyboard_reaches_and_shows_links_tables_and_headings(page):
    seen = set()
    for _ in range(30):
        page.keyboard.press("Tab")
        focus = page.evaluate(FOCUS)
        if focus is None:
            break
        assert focus[1] == "2px", focus
        seen.add(focus[0])
    assert {"A", "DIV", "SUMMARY", "BUTTON"} <= seen
    button = page.locator("th button").first
    button.focus()
    page.keyboard.press("Enter")
    assert button.locator("..").get_attribute("aria-sort") == "ascending"
