"""The panels of a figure as SVG pictures of their own, which a page stacks where it is narrow.

Each picture follows the reader's color scheme: a style sheet in it replaces every color by its
counterpart on a dark page. Pictures in `<img>` follow the scheme of the page.
"""

from __future__ import annotations

import re
from io import BytesIO

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from baselines.report.contrast import DARK_INK, dark_color

EDGE = 0.05  # [inch] around a panel
_COLOR = re.compile(r"#[0-9a-f]{6}\b")
_PATH = re.compile(r' d="[^"]*"')
_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_METADATA = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)


def panel_svgs(figure: Figure) -> list[str]:
    """Return the visible panels of a figure, each with its labels, as SVG text.

    Titles and legends of the whole figure are left out.

    Args:
        figure: any; it is the same afterward.
    """
    canvas = FigureCanvasAgg(figure)
    panels = [axes for axes in figure.axes if axes.get_visible()]
    others = [*figure.texts, *figure.legends]
    shown = [(artist, artist.get_visible()) for artist in (*panels, *others)]
    boxes = [_inches(axes, canvas, figure) for axes in panels]
    try:
        for artist, _ in shown:
            artist.set_visible(False)
        return [_panel(figure, axes, box) for axes, box in zip(panels, boxes, strict=True)]
    finally:
        for artist, was_visible in shown:
            artist.set_visible(was_visible)


def themed(svg: str) -> str:
    """Return an SVG picture that is dark where the reader prefers that.

    Args:
        svg: as Matplotlib writes it: colors are lower-case hexadecimal numbers; without one it is
            black.
    """
    rules = [f"svg{{fill:{DARK_INK}}}"]
    for color in sorted(set(_COLOR.findall(svg))):
        dark = dark_color(color)
        rules += [
            f'[style*="{name}: {color}"]{{{name}:{dark}!important}}' for name in ("fill", "stroke")
        ]
    style = f"<style>@media (prefers-color-scheme: dark){{{''.join(rules)}}}</style>"
    head, tag, rest = svg.partition("<defs>")
    return f"{head}{style}\n{tag}{rest}"


def _inches(axes: Axes, canvas: FigureCanvasAgg, figure: Figure) -> Bbox:
    """Return the box of a panel and its labels."""
    box = axes.get_tightbbox(canvas.get_renderer())
    assert box is not None, "visible axes have a box"
    return box.transformed(figure.dpi_scale_trans.inverted()).padded(EDGE)


def _panel(figure: Figure, axes: Axes, box: Bbox) -> str:
    buffer = BytesIO()
    axes.set_visible(True)
    with matplotlib.rc_context({"svg.hashsalt": "safe-envs"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, bbox_inches=box)
    axes.set_visible(False)
    svg = _METADATA.sub("", buffer.getvalue().decode())
    return themed(_PATH.sub(lambda path: _NUMBER.sub(_rounded, path[0]), svg))


def _rounded(number: re.Match[str]) -> str:
    """Return a coordinate in hundredths of a point, which halves the picture's size."""
    return f"{float(number[0]):.2f}"
