"""The written site in a browser, opened from the disk without a network."""

from pathlib import Path

import pytest

from leaderboard.web.pages import render, static_files
from tests.leaderboard.page_examples import CLIFF, HOPPER, ExampleSource, crowded_source

BOARD = f"boards/{CLIFF.slug}/index.html"
CHARTS = f"boards/{CLIFF.slug}/environment.html"
CROWD = f"crowd/{BOARD}"
PAGES = [
    "index.html",
    BOARD,
    f"boards/{CLIFF.slug}/tails.html",
    CHARTS,
    f"boards/{CLIFF.slug}/task.html",
    f"boards/{HOPPER.slug}/index.html",
    f"boards/{HOPPER.slug}/environment.html",
    f"boards/{HOPPER.slug}/task.html",
    "boards/Safe_DeepSeaTreasure-v0/index.html",
    "submissions/1.html",
    "submissions/102.html",
    "submissions/104.html",
    "compare/1-2.html",
    "aggregate.html",
    "how-to-submit.html",
    "season/index.html",
    "season/1.html",
    CROWD,
    f"crowd/{CHARTS}",
    "crowd/aggregate.html",
]
SORTED = f"boards/{CLIFF.slug}/sort-cost.html"
WIDTHS = (1280, 768, 360)
CHECKS = (Path(__file__).parents[2] / "page_checks.js").read_text()
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
FOCUS_EACH = """() => {
  const found = [];
  const all = document.querySelectorAll("a[href], summary, button, select, input, [tabindex]");
  for (const element of all) {
    if (element.id === "main" || !element.checkVisibility()) continue;
    element.focus();
    const style = getComputedStyle(element);
    const box = element.getBoundingClientRect();
    if (document.activeElement !== element || element.tabIndex !== 0 || !box.width
      || style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 2) {
      found.push(element.outerHTML.slice(0, 120));
    }
  }
  return found;
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
    """The pages that are looked at, and what they load, as files."""
    folder = tmp_path_factory.mktemp("site")
    sources = {"": ExampleSource(), "crowd/": crowded_source()}
    for top in sources:
        for path, file in static_files().items():
            (folder / top / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / top / path).write_bytes(file.read_bytes())
    for path in (*PAGES, SORTED):
        top = "crowd/" if path.startswith("crowd/") else ""
        page = render(path.removeprefix(top), sources[top], static=True)
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(page.content)
    return folder


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


@pytest.mark.parametrize("path", PAGES)
def test_nothing_is_cut_or_hard_to_read(visit, path):
    page = visit.open(path)
    problems = []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function(NARROW, arg=width)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            problems += [(width, scheme, found) for found in page.evaluate(CHECKS)]
    assert problems == []
    page.keyboard.press("Tab")
    assert page.evaluate(FOCUS_EACH) == []


FAULTS = {
    "the page scrolls sideways": "main.style.width = '1400px'",
    "cut off": "document.querySelector('.tabs').style.marginLeft = '-40px'",
    "columns are cut": "document.querySelector('table').style.width = '3000px'",
    "a cell is cut": "document.querySelector('td').firstChild.textContent = '1'.repeat(400); "
    "document.querySelector('table').style.tableLayout = 'fixed'",
    "overlap:": "const text = document.querySelector('.plot svg text'); "
    "text.parentNode.append(text.cloneNode(true))",
    "too small": "document.querySelector('.plot svg text').style.fontSize = '9px'",
    "outside of its chart": "document.querySelector('.plot svg text').style.translate = '-300px'",
    "contrast": "main.style.setProperty('--soft', '#999999')",
    "no caption": "document.querySelector('caption').remove()",
    "picture": "document.querySelector('img').removeAttribute('alt')",
}


def test_the_checks_notice_faults(visit):
    page = visit.open(BOARD)
    before = set(page.evaluate(CHECKS))
    for problem, fault in FAULTS.items():
        page.evaluate(f"() => {{ const main = document.querySelector('main'); {fault} }}")
        after = set(page.evaluate(CHECKS))
        assert [found for found in after - before if found.startswith(problem)], problem
        before = after


def test_closed_tables_are_readable_too(visit):
    page = visit.open("submissions/1.html")
    page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true })")
    assert page.evaluate(CHECKS) == []


def test_cards_begin_with_name_tier_score_and_cost(visit):
    page = visit.open(BOARD)
    page.set_viewport_size({"width": 380, "height": 900})
    card = page.locator("table.board tbody tr").first
    tops = {name: card.locator(name).bounding_box()["y"] for name in ("th.name", ".tier", ".score")}
    others = card.locator("td:not(.tier, .rank, .score, .cost)")
    first_of_rest = min(others.nth(i).bounding_box()["y"] for i in range(others.count()))
    assert tops["th.name"] < tops[".tier"] < tops[".score"] < first_of_rest
    assert card.locator(".cost").bounding_box()["y"] == tops[".score"]
    label = "(cell) => getComputedStyle(cell, '::before').content"
    assert card.locator(".cost").evaluate(label) == '"Cost, limit 25"'


def test_motion_and_paper(visit):
    page = visit.open("index.html")
    moved = "getComputedStyle(document.querySelector('.boards > li')).transitionDuration"
    assert page.evaluate(moved) != "0s"
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(moved) == "0s"
    page = visit.open(BOARD)
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("header.top nav").is_visible()
    assert page.locator("table.board thead").is_visible()
    assert (
        page.evaluate("getComputedStyle(document.querySelector('thead th')).position") == "static"
    )


def test_charts_hold_one_mark_for_each_row(visit):
    page = visit.open(BOARD)
    assert page.locator("#chart-score svg .points > *").count() == 5
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
    page.locator("figure summary").first.click()
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
