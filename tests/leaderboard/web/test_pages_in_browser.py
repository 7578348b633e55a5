"""The written site in a browser, opened from the disk without a network."""

from pathlib import Path

import pytest

from leaderboard.commands.export import write_site
from tests.leaderboard.page_examples import CLIFF, HOPPER, ExampleSource

sync_api = pytest.importorskip("playwright.sync_api", reason="needs `pip install playwright`")

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
BOARD = f"boards/{CLIFF.slug}/index.html"
CHARTS = f"boards/{CLIFF.slug}/environment.html"
PAGES = [
    "index.html",
    BOARD,
    f"boards/{CLIFF.slug}/tails.html",
    CHARTS,
    f"boards/{HOPPER.slug}/index.html",
    f"boards/{HOPPER.slug}/environment.html",
    "boards/Safe_DeepSeaTreasure-v0/index.html",
    "submissions/1.html",
    "submissions/102.html",
    "submissions/104.html",
    "compare/1-2.html",
    "aggregate.html",
    "how-to-submit.html",
    "season/index.html",
    "season/1.html",
]
CONTRAST = """() => {
  const linear = part => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  const channel = value => linear(value / 255);
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
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
    const isSvg = element.namespaceURI.endsWith("svg");
    if (!walker.currentNode.textContent.trim() || !element.checkVisibility()) continue;
    if (element.closest("script, .skip")) continue;
    const style = getComputedStyle(element);
    const [a, b] = [luminance(parse(isSvg ? style.fill : style.color)), luminance(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    found.push([ratio, element.outerHTML.slice(0, 120)]);
  }
  return found;
}"""
TOO_SMALL = """() => Array.from(document.querySelectorAll(".plot svg text"))
  .filter(text => text.textContent && parseFloat(getComputedStyle(text).fontSize) < 11).length"""
CUT_OFF = """() => Array.from(document.querySelectorAll(".plot svg text")).filter(text => {
  const box = text.getBoundingClientRect(), svg = text.ownerSVGElement.getBoundingClientRect();
  return box.width && (box.left < svg.left - 1 || box.right > svg.right + 1
    || box.top < svg.top - 1 || box.bottom > svg.bottom + 1);
}).map(text => text.textContent)"""
NARROW = """width => Array.from(document.querySelectorAll("[data-chart] svg"))
  .every(drawing => Number(drawing.getAttribute("width")) < width)"""
FOCUS = """() => {
  const element = document.activeElement;
  if (element === document.body) return null;
  const style = getComputedStyle(element);
  const box = element.getBoundingClientRect();
  return {key: Array.from(document.querySelectorAll("*")).indexOf(element),
    seen: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 && box.width > 0};
}"""
FOCUSABLE = """() => {
  const all = Array.from(document.querySelectorAll("*"));
  return Array.from(document.querySelectorAll("a[href], summary, button, select, [tabindex='0']"))
    .filter(element => element.checkVisibility({visibilityProperty: true})
      && !(element.parentElement.closest("details:not([open])") && element.tagName !== "SUMMARY"))
    .map(element => all.indexOf(element));
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    write_site(ExampleSource(), folder)
    return folder


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is missing; install Debian's package chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


class Visit:
    """A tab that loads only files and records errors."""

    def __init__(self, browser, site, **options):
        self.context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
        self.site, self.wrong, self.outside = site, [], []
        self.context.route("**/*", self._only_files)
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.wrong.append(message.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("requestfailed", lambda request: self.wrong.append(request.url))

    def _only_files(self, route):
        if route.request.url.startswith("file:"):
            route.continue_()
        else:
            self.outside.append(route.request.url)
            route.abort()

    def open(self, path):
        self.page.goto((self.site / path).as_uri())
        self.page.wait_for_function(
            "document.querySelectorAll('[data-chart]').length"
            " === document.querySelectorAll('[data-chart] svg').length"
        )
        return self.page


@pytest.fixture
def visit(browser, site):
    visit = Visit(browser, site)
    yield visit
    visit.context.close()
    assert visit.wrong == []
    assert visit.outside == []


@pytest.fixture
def visit_without_script(browser, site):
    visit = Visit(browser, site, java_script_enabled=False)
    yield visit.page
    visit.context.close()
    assert visit.wrong == []


def shown_submissions(page):
    return page.eval_on_selector_all(
        "table.board tbody:first-of-type tr",
        "rows => rows.map(row => Number(row.dataset.submission))",
    )


def test_pages_fit_their_window_and_are_readable(visit):
    for path in PAGES:
        visit.page.set_viewport_size({"width": 1280, "height": 900})
        page = visit.open(path)
        for width in (1280, 360):
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_function(NARROW, arg=width)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
            assert page.evaluate(CUT_OFF) == [], (path, width)
            assert page.evaluate(TOO_SMALL) == 0
        texts = page.evaluate(CONTRAST)
        assert len(texts) > 15
        assert [text for text in texts if text[0] < 4.5] == [], path


def test_closed_tables_are_readable_too(visit):
    page = visit.open("submissions/1.html")
    page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true })")
    assert [text for text in page.evaluate(CONTRAST) if text[0] < 4.5] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_charts_hold_one_mark_for_each_row(visit):
    page = visit.open(BOARD)
    assert page.locator("#chart-score svg circle").count() == 5
    assert page.locator("#chart-score svg [aria-label=rule] line").count() == 2 + 5
    page = visit.open(CHARTS)
    assert page.locator("#chart-pareto-0 svg .points > *").count() == 7
    assert page.locator("#chart-pareto-0 svg .limit line").count() == 1
    assert page.locator("#chart-pareto-0 svg .mark-label").count() >= 3
    assert page.locator("#chart-tails-0 svg .series path").count() == 5
    assert page.locator("#chart-curve-return svg .series path").count() == 3
    assert page.locator("#chart-curve-0 svg [aria-label=area] path").count() == 3
    page = visit.open("submissions/1.html")
    assert page.locator("#chart-seeds-0 svg circle").count() == 5
    page = visit.open("compare/1-2.html")
    assert page.locator("#chart-returns svg .series path").count() == 2
    assert page.locator("[data-chart] svg:not([aria-label])").count() == 0
    assert page.locator("[data-chart] svg style").count() == 0


def test_charts_follow_the_width(visit):
    page = visit.open(CHARTS)
    wide = page.locator("#chart-tails-0 .plot svg").bounding_box()["width"]
    page.set_viewport_size({"width": 360, "height": 900})
    page.wait_for_function("document.querySelector('#chart-tails-0 .plot svg').clientWidth < 340")
    assert wide > 450


def test_pointing_at_a_mark_shows_its_name(visit):
    page = visit.open(CHARTS)
    page.locator("#chart-pareto-0 svg .points > *").first.hover()
    page.wait_for_selector("#chart-pareto-0 svg [aria-label=tip] text")
    assert "return" in page.locator("#chart-pareto-0 svg [aria-label=tip]").text_content()


def test_table_sorts_by_click_and_by_key(visit):
    page = visit.open(BOARD)
    address = page.url
    assert shown_submissions(page) == [1, 2, 3, 4, 5]
    head = page.locator("th[data-column=cost]")
    head.locator("a").click()
    rising = shown_submissions(page)
    cells = [page.locator(f"tr[data-submission='{number}'] td").nth(5) for number in rising]
    costs = [float(cell.get_attribute("data-value")) for cell in cells]
    assert costs == sorted(costs)
    assert head.get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Enter")
    assert shown_submissions(page) == rising[::-1]
    assert head.get_attribute("aria-sort") == "descending"
    assert page.locator("th[aria-sort]").count() == 1
    page.keyboard.press(" ")
    assert shown_submissions(page) == rising
    page.locator("th[data-column=score] a").focus()
    page.keyboard.press("Enter")
    assert page.locator("th[data-column=score]").get_attribute("aria-sort") == "descending"
    assert "Score" in page.locator("#sorted").text_content()
    assert page.url == address
    last = page.locator("table.board tbody:last-of-type tr")
    assert "Not ranked" in last.first.text_content()


def test_sorting_without_script_leads_to_files(visit_without_script, site):
    page = visit_without_script
    page.goto((site / BOARD).as_uri())
    page.locator("th[data-column=cost] a").click()
    assert page.url.endswith("sort-cost.html")
    assert page.locator("th[aria-sort=ascending]").get_attribute("data-column") == "cost"
    assert page.locator("[data-chart]").first.is_visible()
    assert page.locator(".no-script").first.is_visible()
    page.locator("summary").first.click()
    assert page.locator("figure table").first.is_visible()


@pytest.mark.parametrize("path", [BOARD, "submissions/1.html"])
def test_everything_is_reached_by_tab_and_shows_it(visit, path):
    page = visit.open(path)
    wanted = set(page.evaluate(FOCUSABLE))
    reached = set()
    for _ in range(len(wanted) + 3):
        page.keyboard.press("Tab")
        focus = page.evaluate(FOCUS)
        if focus is None:
            break
        assert focus["seen"], focus
        reached.add(focus["key"])
    assert wanted <= reached
