"""What a page holds before it is HTML or Markdown: tables of words, drawings and sentences under a heading.

Both are made from the same, so that neither tells less than the other; of a drawing Markdown has the caption.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from wit.page import Html, Section, figure, foreign, joined, paragraph, table
from wit.page import beside as side_by_side

MAX_ROWS = 40
"""Of a table on a page; Markdown has all."""
_MAX_CELL = 600
_SPECIAL = frozenset("\\`*_{}[]<>()#+!|~&")


def escape(text: str) -> str:
    """Return text that Markdown shows as it is, in one line: signs that mean something have a backslash before them."""
    shown = (sign if sign.isprintable() else "�" for sign in text)
    return "".join(f"\\{sign}" if sign in _SPECIAL else sign for sign in shown)


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]], is_number: Sequence[bool]) -> str:
    """Return a table; cells are Markdown already, those of a column of numbers stand at the right."""
    rule = ["---:" if number else "---" for number in is_number]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (columns, rule, *rows)) + "\n"


@dataclass(frozen=True)
class Grid:
    """A table; its cells may be of unknown origin, a number stands as it is shown, None is nothing."""

    title: str
    columns: Mapping[str, bool]
    """By heading, whether it holds numbers."""
    rows: Sequence[Sequence[str | None]]

    def to_html(self) -> Html:
        """Return it for a page, its first MAX_ROWS rows."""
        kinds = [*self.columns.values()]
        cells = [
            [
                cell if cell is None or number else foreign(cell, _MAX_CELL)
                for cell, number in zip(row, kinds, strict=True)
            ]
            for row in self.rows[:MAX_ROWS]
        ]
        columns: dict[str, int | None] = {
            name if number else foreign(name, 80): 0 if number else None for name, number in self.columns.items()
        }
        shown = table(columns, cells, self.title)
        left_out = len(self.rows) - MAX_ROWS
        more = [paragraph(f"{left_out:,} more are in the results.", class_="quiet")] if left_out > 0 else []
        return joined([shown, *more])

    def to_markdown(self) -> str:
        """Return it for Markdown, its title above it."""
        rows = [["–" if cell is None else escape(cell) for cell in row] for row in self.rows]
        shown = markdown_table([*map(escape, self.columns)], rows, [*self.columns.values()])
        return f"{escape(self.title)}\n\n{shown}" if self.title else shown


@dataclass(frozen=True)
class Drawing:
    """A figure and what it shows, in words."""

    draw: Callable[[], Html]
    """Called for pages alone: figures are most of the work, and Markdown has none."""
    caption: str

    def to_html(self) -> Html:
        """Return it for a page."""
        return figure(self.draw(), self.caption)

    def to_markdown(self) -> str:
        """Return its caption."""
        return f"{escape(self.caption)}\n" if self.caption else ""


Part = str | Grid | Drawing | tuple[Grid | Drawing, ...]
"""Of a chapter; a tuple stands side by side."""


@dataclass(frozen=True)
class Chapter:
    """Parts of a page under a heading."""

    heading: str
    name: str
    """Of links to it."""
    parts: Sequence[Part]

    def to_html(self) -> Section:
        """Return it for a page."""
        return Section(self.heading, tuple(map(_html, self.parts)), self.name)

    def to_markdown(self) -> str:
        """Return it for Markdown."""
        shown = [part for each in self.parts for part in _markdown(each) if part]
        return "\n".join([f"## {escape(self.heading)}\n", *shown])


def _html(part: Part) -> Html:
    if isinstance(part, str):
        return paragraph(part)
    return side_by_side(*(each.to_html() for each in part)) if isinstance(part, tuple) else part.to_html()


def _markdown(part: Part) -> list[str]:
    if isinstance(part, str):
        return [f"{escape(part)}\n"]
    return [each.to_markdown() for each in part] if isinstance(part, tuple) else [part.to_markdown()]
