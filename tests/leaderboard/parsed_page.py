"""A page of the example site as its elements, table cells and text."""

import html.parser

from leaderboard.web.pages import render
from tests.leaderboard.page_examples import ExampleSource

VOID = {"meta", "link", "br", "input", "img", "hr"}


class Parsed(html.parser.HTMLParser):
    """Elements, the cells of all tables, and visible text of a page."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.rows, self.text, self.open = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID and tag not in ("line", "circle", "path"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "script" in self.open:
            return
        self.text.append(data)
        if "td" in self.open or ("th" in self.open and self.rows):
            self.rows[-1][-1] += data

    def row(self, start):
        cells = [[" ".join(cell.split()) for cell in row] for row in self.rows]
        return next(row for row in cells if any(cell.startswith(start) for cell in row[:3]))


def text_of(path, source=None, **options):
    page = render(path, source or ExampleSource(), **options)
    assert page is not None
    return page.content.decode()


def parsed(path, source=None, **options):
    return Parsed(text_of(path, source, **options))
