"""An environment's docstring as HTML: headings, paragraphs, lists, tables and code."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from functools import cache

import gymnasium as gym
from gymnasium.envs.registration import load_env_creator
from markupsafe import Markup, escape

import safe_envs  # noqa: F401  registers the environments

_CODE = re.compile(r"`([^`]+)`")
_RULE = re.compile(r"\|[-| :]+\|")


@cache
def task_page(env: str) -> Markup:
    """Return what the docstring of a registered environment says, empty if it has none."""
    maker = load_env_creator(str(gym.spec(env).entry_point))
    return docstring_html(inspect.getdoc(maker) or "")


def docstring_html(text: str) -> Markup:
    """Return a docstring in the small part of Markdown that environments use as HTML."""
    return Markup("\n").join(_block(block) for block in _blocks(text))


def _blocks(text: str) -> Iterator[list[str]]:
    """Yield runs of lines that belong together."""
    block: list[str] = []
    for line in [*text.splitlines(), ""]:
        starts = line.startswith(("## ", "- ")) or (block and block[0].startswith("## "))
        if block and (starts or not line.strip()) and not _continues(block, line):
            yield block
            block = []
        if line.strip():
            block.append(line.strip())


def _continues(block: list[str], line: str) -> bool:
    """Return whether a list goes on with this line."""
    return block[0].startswith("- ") and line.startswith(("- ", "  "))


def _block(lines: list[str]) -> Markup:
    if lines[0].startswith("## "):
        return Markup("<h2>{}</h2>").format(_inline(lines[0][3:]))
    if lines[0].startswith("- "):
        items = "\n".join(lines).split("\n- ")
        entries = (Markup("<li>{}</li>").format(_inline(i.removeprefix("- "))) for i in items)
        return Markup("<ul>{}</ul>").format(Markup("\n").join(entries))
    if lines[0].startswith("|"):
        return _table(lines)
    return Markup("<p>{}</p>").format(_inline("\n".join(lines)))


def _table(lines: list[str]) -> Markup:
    """Return a table; its caption is the head of its first column."""
    rows = [line.strip("|").split("|") for line in lines if not _RULE.fullmatch(line)]
    head = _cells('<th scope="col" class="text">{}</th>', rows[0])
    body = [Markup("<tr>{}</tr>").format(_cells('<td class="text">{}</td>', r)) for r in rows[1:]]
    return Markup(
        '<div class="scroll" tabindex="0" role="region" aria-label="Table"><table>'
        '<caption class="hidden">{}</caption>'
        "<thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>"
    ).format(_inline(rows[0][0].strip()), head, Markup("").join(body))


def _cells(form: str, row: list[str]) -> Markup:
    return Markup("").join(Markup(form).format(_inline(cell.strip())) for cell in row)


def _inline(text: str) -> Markup:
    """Return text with its code marked; everything else is escaped."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))
