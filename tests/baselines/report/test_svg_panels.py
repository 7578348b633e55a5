"""Panels of a figure are pictures of their own that follow the reader's color scheme."""

import re
import xml.etree.ElementTree as ET
from itertools import islice

import pytest
from matplotlib.figure import Figure

from baselines.report.contrast import DARK_INK, DARK_PAGE, contrast, dark_color, readable
from baselines.report.plots import STYLES
from baselines.report.style import AGENT_STYLES, LIMIT_COLOR, other_styles
from baselines.report.svg_panels import panel_svgs, themed

STYLED = [*AGENT_STYLES.values(), *islice(other_styles(), 20)]
COLORS = sorted({LIMIT_COLOR, *(s.color for s in STYLED), *(color for color, _ in STYLES.values())})


def test_contrast_is_that_of_wcag():
    """Known values: black on white is 21, and #777777 on white just misses 4.5."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert contrast("#123456", "#123456") == 1.0


@pytest.mark.parametrize("color", COLORS)
def test_letters_can_be_read_in_both_schemes(color):
    letters = readable(color)
    assert contrast(letters, "#ffffff") >= 4.5
    assert contrast(dark_color(letters), DARK_PAGE) >= 4.5
    assert contrast(dark_color(color), DARK_PAGE) >= 4.5


def test_paper_ink_and_grid_change_places():
    assert dark_color("#ffffff") == DARK_PAGE
    assert dark_color("#000000") == DARK_INK
    grid = contrast(dark_color("#dddddd"), DARK_PAGE)
    assert 1.1 < grid < 2.5
    assert contrast(dark_color("#555555"), DARK_PAGE) >= 4.5


def test_every_color_has_a_rule_for_dark_pages():
    svg = themed('<svg><defs></defs><g style="fill: #ffffff; stroke: #0072b2"/></svg>')
    (sheet,) = re.findall(r"<style>@media \(prefers-color-scheme: dark\)\{(.*)\}</style>", svg)
    for color in ("#ffffff", "#0072b2"):
        dark = dark_color(color)
        assert f'[style*="fill: {color}"]{{fill:{dark}!important}}' in sheet
        assert f'[style*="stroke: {color}"]{{stroke:{dark}!important}}' in sheet
    assert sheet.startswith(f"svg{{fill:{DARK_INK}}}")


def test_each_panel_is_cut_out_with_its_labels_and_nothing_else():
    figure = Figure(figsize=(8, 3))
    left, right, unused = figure.subplots(1, 3)
    left.plot([0, 1], [0, 1], color="#d55e00")
    right.plot([0, 1], [1, 0], color="#009e73")
    right.annotate("a name beside it", (1.0, 0.5), (1.1, 0.5), xycoords="axes fraction")
    unused.set_visible(False)
    title = figure.suptitle("title")
    one, other = panel_svgs(figure)
    assert "#d55e00" in one
    assert "#d55e00" not in other
    assert "#009e73" in other
    widths = [float(ET.fromstring(svg).get("width").removesuffix("pt")) for svg in (one, other)]
    assert widths[1] - widths[0] > 20  # [pt], room for the name
    assert sum(widths) < 8 * 72
    assert [axes.get_visible() for axes in figure.axes] == [True, True, False]
    assert title.get_visible()
    assert panel_svgs(figure) == [one, other]
