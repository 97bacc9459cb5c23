"""HTML pages that stand alone: no network, no scripts, one style sheet, readable in light and dark, wide and narrow.

What is no `Html` is text: it is escaped wherever it is put, and characters that show nothing appear as code points.
An f-string of `Html` is text again, so markup is made by `element` and what builds on it, never by formatting.
"""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
MAX_SHOWN = 300  # characters of foreign text: a hostile title is as long as its line
TEXT_PX = 12  # of figures
VOID_ELEMENTS = frozenset({"br", "img", "meta"})

# The page in the light; a figure drawn in these colours follows it into the dark. Contrast on paper: ink 16:1, quiet
# 5.7:1, accent 6.4:1; WCAG 2.2 asks 4.5:1 of text.
INK, QUIET, RULE, ACCENT = "#1b1c1e", "#606469", "#dbdcd8", "#12618f"
TINT, PAPER, ALARM = "#e6eff5", "#fdfdfb", "#a3241c"
_LIGHT = {
    "ink": INK, "quiet": QUIET, "rule": RULE, "accent": ACCENT, "tint": TINT, "paper": PAPER, "alarm": ALARM,
}  # fmt: skip
_DARK = {
    "ink": "#e4e4e1", "quiet": "#9fa3a8", "rule": "#3a3d42", "accent": "#74b9e4",
    "tint": "#1e2f3b", "paper": "#16181b", "alarm": "#ff9a8f",
}  # fmt: skip


def _variables(colours: Mapping[str, str]) -> str:
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())


STYLE = f"""
:root {{ color-scheme: light dark; {_variables(_LIGHT)} }}
@media (prefers-color-scheme: dark) {{ :root {{ {_variables(_DARK)} }} }}
"""
STYLE += """
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 2.5rem 1.25rem 5rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .6rem; font-weight: 650; letter-spacing: -.015em; }
h2 { font-size: 1.25rem; line-height: 1.3; margin: 0 0 .5rem; font-weight: 650; letter-spacing: -.01em; }
h3 { font-size: 1rem; margin: 1.6rem 0 .3rem; font-weight: 650; }
p, .glossary { max-width: 46rem; margin: 0 0 .9rem; }
a { color: var(--accent); text-underline-offset: .2em; text-decoration-thickness: 1px; }
a bdi { text-decoration: inherit; }
section { border-top: 1px solid var(--rule); margin-top: 2.8rem; padding-top: 1.6rem; scroll-margin-top: 1rem; }
nav { display: flex; flex-wrap: wrap; gap: .3rem 1.3rem; margin-top: 1.6rem; }
.quiet, figcaption, caption { color: var(--quiet); }
.tag { color: var(--accent); background: var(--tint); border-radius: 3px; padding: .1em .45em; font-size: .85em; }
.code { font: .72em/1 ui-monospace, monospace; color: var(--quiet); border: 1px solid var(--rule); border-radius: 3px;
  padding: 0 .25em; margin: 0 .1em; white-space: nowrap; }
.warning { border: 1px solid var(--alarm); border-left-width: 6px; border-radius: 4px; padding: 1rem 1.2rem .3rem;
  margin: 1.6rem 0; }
.warning h2 { color: var(--alarm); font-size: 1.1rem; }
.headline { display: flex; flex-wrap: wrap; gap: 1.1rem 2.6rem; margin: 1.7rem 0; }
.headline div { display: flex; flex-direction: column; }
.headline dd { order: -1; margin: 0; font-size: 1.65rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.headline dt, figcaption, caption { font-size: .875rem; }
.headline dt { color: var(--quiet); }
.glossary div { display: grid; grid-template-columns: 9rem 1fr; gap: 0 1rem; padding: .12rem 0; }
.glossary dt { font-weight: 600; } .glossary dd { margin: 0; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(19rem, 100%), 1fr)); gap: .5rem 2.2rem;
  align-items: start; }
.columns > * { min-width: 0; }
.scroll { overflow-x: auto; margin: .7rem 0 1.3rem; }
table { border-collapse: collapse; font-size: .9rem; }
.columns table { width: 100%; }
caption { text-align: left; padding-bottom: .3rem; }
th, td { padding: .28rem 1.1rem .28rem 0; text-align: left; vertical-align: baseline; font-weight: 400;
  border-bottom: 1px solid var(--rule); overflow-wrap: break-word; }
th:last-child, td:last-child { padding-right: 0; }
thead th { color: var(--quiet); font-size: .8rem; vertical-align: bottom; white-space: nowrap; }
code { font: inherit; white-space: nowrap; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.divider th { color: var(--accent); background: var(--tint); border-bottom: 0; border-top: 2px solid var(--accent);
  font-size: .8rem; font-weight: 600; padding: .25rem .5rem; }
td:has(bdi), th:has(bdi) { min-width: 7rem; }
.long { min-width: 13rem; }
bdi { display: inline-block; max-width: 100%; overflow: clip; vertical-align: top; overflow-wrap: anywhere; }
.dot { display: block; position: relative; width: .8rem; height: .8rem; border-radius: 50%; margin: auto;
  background: var(--rule); }
.dot.filled { background: var(--ink); }
.dot.left::before, .dot.right::after { content: ""; position: absolute; top: calc(50% - 1px); height: 2px;
  width: calc(var(--dots) / 2 + 1px); background: var(--ink); }
.dot.left::before { right: 50%; } .dot.right::after { left: 50%; }
.upset { --dots: 4.5rem; }
.upset table { width: 100%; }
.upset :is(th, td):nth-child(-n+4) { min-width: var(--dots); padding: 0; text-align: center; }
.upset :is(th, td) { vertical-align: middle; }
.upset :is(th, td):last-child { width: 100%; padding-left: .5rem; }
.bar { height: .8rem; min-width: 1px; background: var(--accent); }
.heard { position: absolute; clip-path: inset(50%); }
.digest { font: .8rem/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
figure { margin: .9rem 0; min-width: 0; }
figure svg { display: block; max-width: 100%; height: auto; }
svg { stroke-linejoin: round; }
svg text { font-family: inherit !important; font-variant-numeric: tabular-nums; }
.match { --side: 10rem; display: grid; grid-template-columns: var(--side) 1fr; gap: 1rem; padding: .8rem 0;
  border-bottom: 1px solid var(--rule); align-items: start; content-visibility: auto;
  contain-intrinsic-size: auto 12.5rem; }
.match figure { margin: 0; } .match figcaption { color: var(--ink); min-width: 0; }
.match .item { position: sticky; top: .8rem; } .item figcaption { margin-top: .4rem; }
.samples { display: grid; gap: 1rem; min-width: 0; }
.samples figure { display: grid; grid-template-columns: var(--side) 1fr; gap: 0 1rem; align-items: start; }
:is(.match, .tiles) :is(img, .missing) { display: block; box-sizing: border-box; width: 100%; height: auto;
  aspect-ratio: 1; object-fit: contain; background: var(--tint); border-radius: 4px; }
:is(.match, .tiles) .missing { padding: .8rem; font-size: .875rem; color: var(--quiet); }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(12rem, 1fr)); gap: .8rem; margin: 0 0 1.6rem;
  content-visibility: auto; contain-intrinsic-size: auto 9rem; }
.tiles figure { margin: 0; } .tiles figcaption { font-size: .75rem; margin-top: .2rem; }
.tiles figure div { display: grid; grid-template-columns: 1fr 1fr; gap: 2px; }
.step { margin: 1rem 0 .4rem; } .step code, .command { font: .85rem/1.5 ui-monospace, monospace; white-space: normal; }
.command { background: var(--tint); padding: .7rem .9rem; border-radius: 4px; white-space: pre-wrap; margin: 0; }
.edge { border-top: 2px solid var(--accent); padding-top: .6rem; color: var(--accent); }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(14rem, 100%), 1fr)); gap: 2rem 1.4rem; }
.sheet figure { margin: 0; } .sheet figcaption { color: var(--ink); }
.sheet :is(img, .missing) { display: block; box-sizing: border-box; width: 100%; height: 12rem; object-fit: scale-down;
  background: var(--tint); border-radius: 4px; }
.sheet .missing { padding: .8rem; font-size: .875rem; }
.sheet p { margin: .55rem 0; } .sheet .tag { display: inline-block; margin: 0 .35em .35em 0; max-width: 100%; }
.sheet dl { margin: 0; font-size: .8rem; } .sheet dt { color: var(--quiet); }
.sheet dl div { display: grid; grid-template-columns: 3.2rem 1fr; } .sheet dd { margin: 0; min-width: 0; }
.sheet code { font-family: ui-monospace, monospace; white-space: normal; }
@media (max-width: 34rem) { .match { grid-template-columns: 1fr 1fr; } .samples figure { grid-template-columns: 1fr; }
  .samples figcaption { margin-top: .4rem; }
  .glossary div { grid-template-columns: 1fr; padding: .25rem 0; } main { padding-top: 1.5rem; }
  .headline { gap: .9rem 1.6rem; } .headline dd { font-size: 1.35rem; }
  .upset { --dots: 3.2rem; } th, td { padding-right: .7rem; } }
@media print { section { break-inside: avoid-page; } figure, tr { break-inside: avoid; } h2, h3 { break-after: avoid; }
  .scroll { overflow: visible; } table { font-size: .72rem; } th, td { padding-right: .5rem; }
  thead th { font-size: .65rem; } :is(td, th):has(bdi) { min-width: 4rem; } }
"""


class Html(str):
    """Markup that is fit to stand on a page."""

    __slots__ = ()


NEW_LINE = Html("\n")

Cell = str | int | float | None
"""What stands in a table: Html as it is, other text escaped, numbers as their column says, None as a dash."""


@dataclass(frozen=True)
class Divider:
    """A line across a table, with words on it."""

    words: str


@dataclass(frozen=True)
class Section:
    """A part of a page; one with a name is listed in the contents and can be linked to."""

    heading: str
    body: tuple[str, ...]
    name: str = ""


# What is printable for Python yet shows nothing: the combining grapheme joiner, fillers, variation selectors.
_BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")


def text(value: str) -> Html:
    """Return text as markup: escaped, each character that shows nothing (controls, zero width, no-break) as U+XXXX."""
    if isinstance(value, Html):
        return value
    if value.isprintable() and not _BLANK.search(value):
        return Html(escape(value))
    return Html("".join(map(_character, value)))


def _character(character: str) -> str:
    if character.isprintable() and not _BLANK.match(character):
        return escape(character)
    return f'<span class="code">U+{ord(character):04X}</span>'


def foreign(value: str, max_shown: int = MAX_SHOWN) -> Html:
    """Return text of unknown origin, cut after `max_shown` characters, its direction kept from what stands around."""
    cut = [element("span", f"… {len(value) - max_shown:,} more", class_="quiet")] if len(value) > max_shown else []
    return joined([element("bdi", value[:max_shown]), *cut])


def element(name: str, *children: str, **attributes: str | int) -> Html:
    """Return an element; attribute names lose a trailing underscore and get hyphens for the others."""
    given = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"' for key, value in attributes.items())
    start = f"<{name}{given}>"
    return Html(start if name in VOID_ELEMENTS else f"{start}{joined(children)}</{name}>")


def joined(parts: Iterable[str], between: str = "") -> Html:
    """Return parts one after the other as one piece of markup."""
    return Html(text(between).join(map(text, parts)))


def paragraph(*children: str, **attributes: str | int) -> Html:
    """Return a paragraph."""
    return element("p", *children, **attributes)


def number(value: float, digits: int = 0) -> str:
    """Return a number with commas between thousands and `digits` decimals."""
    return f"{value:,.{digits}f}"


def headline(facts: Mapping[str, str]) -> Html:
    """Return the few numbers that a page opens with, by what they count."""
    return element(
        "dl",
        *(element("div", element("dt", name), element("dd", value)) for name, value in facts.items()),
        class_="headline",
    )


def warning(heading: str, *children: str) -> Html:
    """Return a box that cannot be overlooked."""
    return element("aside", element("h2", heading), *children, class_="warning", role="note")


def glossary(meanings: Mapping[str, str]) -> Html:
    """Return a list of words with their meanings."""
    pairs = (element("div", element("dt", word), element("dd", meaning)) for word, meaning in meanings.items())
    return element("dl", *pairs, class_="glossary")


def table(columns: Mapping[str, int | None], rows: Iterable[Sequence[Cell] | Divider], caption: str = "") -> Html:
    """Return a table; `columns` maps each heading to its number of decimals, or to None when it holds text.

    The first cell of a row is its heading. A table wider than the page is scrolled by itself.
    """
    kinds = list(columns.values())
    head = [element("th", name, scope="col", **_kind(kind)) for name, kind in columns.items()]
    body = [_divider(row, len(kinds)) if isinstance(row, Divider) else _row(row, kinds) for row in rows]
    title = [element("caption", caption)] if caption else []
    whole = element("table", *title, element("thead", element("tr", *head)), element("tbody", joined(body, NEW_LINE)))
    return element("div", whole, class_="scroll", tabindex=0, role="group", aria_label=caption or ", ".join(columns))


def _kind(decimals: int | None) -> dict[str, str]:
    return {} if decimals is None else {"class_": "number"}


def _row(cells: Sequence[Cell], kinds: Sequence[int | None]) -> Html:
    found = []
    for index, (cell, decimals) in enumerate(zip(cells, kinds, strict=True)):
        shown = "–" if cell is None else cell if isinstance(cell, str) else number(cell, decimals or 0)
        heading = {"scope": "row"} if index == 0 else {}
        found.append(element("td" if index else "th", shown, **heading, **_kind(decimals)))
    return element("tr", *found)


def _divider(divider: Divider, width: int) -> Html:
    return element("tr", element("th", divider.words, colspan=width, scope="rowgroup"), class_="divider")


def figure(picture: str, caption: str) -> Html:
    """Return a picture with its caption."""
    return element("figure", picture, element("figcaption", caption))


def beside(*children: str) -> Html:
    """Return pieces side by side, as many in a line as there is room for."""
    return element("div", *children, class_="columns")


def document(title: str, opening: Sequence[str], sections: Iterable[Section]) -> str:
    """Return a whole page: its title as the heading, the opening, links to the named sections, the sections."""
    parts = list(sections)
    links = [element("a", part.heading, href=f"#{part.name}") for part in parts if part.name]
    contents = [element("nav", *links, aria_label="Contents")] if links else []
    body = element("main", element("h1", title), *opening, *contents, joined(map(_section, parts), NEW_LINE))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _section(part: Section) -> Html:
    place = {"id": part.name} if part.name else {}
    return element("section", joined([element("h2", part.heading), *part.body], NEW_LINE), **place)


def inline_svg(draw: Callable[[Any], None], width_px: int, height_px: int, label: str) -> Html:
    """Return what `draw` puts on an empty matplotlib Figure as SVG whose text is text and whose colours are the page's.

    A point of the figure is a pixel of the page. `label` says what is seen to those who do not see it; it salts the ids
    in the SVG, so that two figures of a page need two labels. Colours other than this module's stay in the dark what
    they are. The bytes do not depend on the user's settings of matplotlib.
    """
    with _plain_matplotlib(label):
        from matplotlib.figure import Figure

        canvas = Figure(figsize=(width_px / 72, height_px / 72), dpi=72, frameon=False)
        draw(canvas)
        file = io.StringIO()
        canvas.savefig(file, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    drawing = file.getvalue()
    drawing = drawing[drawing.index(">", drawing.index("<svg")) + 1 : drawing.rindex("</svg>")]
    for pattern, replacement in _NEEDLESS:
        drawing = pattern.sub(replacement, drawing)
    for name, colour in _LIGHT.items():
        drawing = drawing.replace(colour, f"var(--{name})")
    size: dict[str, Any] = {"width": width_px, "height": height_px, "viewBox": f"0 0 {width_px} {height_px}"}
    return element("svg", Html(drawing), role="img", aria_label=label, **size)


def svg_file(drawing: Html) -> str:
    """Return an inline figure as a file of its own: the colours of the light on paper, for any viewer or article."""
    for name, colour in _LIGHT.items():
        drawing = Html(drawing.replace(f"var(--{name})", colour))
    start = drawing.index(">") + 1
    names = ' xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    style = "<style>text { font-family: 'DejaVu Sans', system-ui, sans-serif !important; }</style>"
    paper = f'<rect width="100%" height="100%" fill="{PAPER}"/>'
    return f"<svg{names}{drawing[4:start]}\n{style}\n{paper}\n{drawing[start:]}\n"


_NEEDLESS = [
    (re.compile(r"<!--.*?-->|<style.*?</style>", re.DOTALL), ""),
    (re.compile(r' id="[A-Za-z0-9.]+_[0-9]+"'), ""),  # groups are numbered alike in every figure of a page
    (re.compile(r"<defs>\s*</defs>"), ""),
    (re.compile(r"\s*\n\s*"), "\n"),
]


@contextmanager
def _plain_matplotlib(salt: str) -> Iterator[None]:
    """Give matplotlib its own defaults; it does not tell of the font cache that it builds, or of signs its font lacks.

    The page's fonts have more of them.
    """
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        import matplotlib.style

        own = {"svg.fonttype": "none", "svg.hashsalt": salt, "font.family": "DejaVu Sans"}
        with matplotlib.style.context(["default", own]), warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message="Glyph .* missing from font|Matplotlib currently does not support"
            )
            yield
    finally:
        logger.setLevel(level)


def quieten(axes: Any, logarithmic: str = "xy") -> None:
    """Leave of a figure's axes a fine grid and few labels; `logarithmic` names the axes that are ("x", "y", "xy")."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    for name, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
        axis.set_major_locator(LogLocator(numticks=7) if name in logarithmic else MaxNLocator(6, integer=True))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        axis.label.set(color=QUIET, fontsize=TEXT_PX)
    axes.tick_params(length=0, labelsize=TEXT_PX - 1, labelcolor=INK)
    axes.grid(color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)


def short(value: float) -> str:
    """Return a number in few characters: 100, 10k, 1M, 1G."""
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{letter}"
    return f"{value:g}"
