"""A page stands alone, holds hostile text as text, nests as HTML must, and has the same bytes each time."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.html import check_nesting, shown_text, tags
from wit.page import (
    ACCENT,
    Divider,
    Html,
    Section,
    beside,
    document,
    element,
    figure,
    foreign,
    glossary,
    headline,
    inline_svg,
    joined,
    paragraph,
    svg_file,
    table,
    text,
    warning,
)

HOSTILE = "<script>alert(1)</script> & \"quotes\" 'and' <img src=x onerror=y> </bdi></td></table>"


def curve(axes_figure: Any) -> None:
    axes = axes_figure.add_axes((0.1, 0.1, 0.8, 0.8))
    axes.plot([1, 2, 3], [1, 4, 9], color=ACCENT)
    axes.set_xlabel("<rank> & more")


def whole_page(words: str) -> str:
    """A page with everything in it, all words foreign."""
    rows = [(words, 1234, 0.5), Divider(words), (foreign(words), None, -1.25)]
    parts = [
        table({"term": None, "count": 0, words: 2}, rows, caption=words),
        beside(figure(inline_svg(curve, 200, 100, words), words), paragraph(words, class_="quiet")),
        glossary({words: words}),
    ]
    opening = [headline({words: "1"}), warning(words, paragraph(words)), words]
    return document(words, opening, [Section(words, tuple(parts), "part"), Section(foreign(words), ())])


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=40))
def test_foreign_text_is_never_markup(words: str) -> None:
    """Any text nests, adds no tag but those of its code points, and is shown whole."""
    page = joined([element("p", text(words), title=words), foreign(words)])
    check_nesting(page)
    assert [tag for tag, _ in tags(page) if tag not in ("p", "span", "bdi")] == []
    if words.isprintable() and words.isascii():
        assert shown_text(page) == words * 2


def test_a_whole_page_of_hostile_text() -> None:
    """Wherever hostile text is put it stays text; the page names its language and charset and loads nothing."""
    page = whole_page(HOSTILE)
    check_nesting(page)
    found = tags(page)
    assert {"script", "img"} & {tag for tag, _ in found} == set()
    assert not any("onerror" in attributes or "src" in attributes for _, attributes in found)
    assert [attributes.get("lang") for tag, attributes in found if tag == "html"] == ["en"]
    metas = [attributes for tag, attributes in found if tag == "meta"]
    assert metas[0] == {"charset": "utf-8"}
    assert {"viewport", "color-scheme"} <= {attributes.get("name") for attributes in metas}
    assert [attributes["href"] for tag, attributes in found if tag == "a"] == ["#part"]
    links = [value for _, attributes in found for name, value in attributes.items() if name.endswith("href")]
    assert all(str(value).startswith("#") for value in links)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("bell\x07", "bellU+0007"),
        ("nul\0", "nulU+0000"),
        ("zero\u200bwidth", "zeroU+200Bwidth"),
        ("\u202eright to left", "U+202Eright to left"),
        ("no\u00a0break", "noU+00A0break"),
        ("line\nend", "lineU+000Aend"),
        ("filler\u3164", "fillerU+3164"),
        ("variation\ufe0f", "variationU+FE0F"),
        ("tag\U000e0041", "tagU+E0041"),
        ("العربية naïve 中文", "العربية naïve 中文"),
    ],
)
def test_characters_that_show_nothing_are_shown(words: str, shown: str) -> None:
    """Controls, zero widths, directions, odd spaces and fillers appear as code points; letters as they are."""
    assert shown_text(text(words)) == shown


def test_foreign_text_is_isolated_and_cut() -> None:
    """Its direction ends where it ends; a megabyte of it takes no more room than it is allowed, and says so."""
    assert foreign("שלום") == "<bdi>שלום</bdi>"
    assert shown_text(foreign("a" * 1_000_000, 10)) == "a" * 10 + "… 999,990 more"


def test_markup_is_escaped_again_once_it_is_formatted() -> None:
    """Html stands as it is; an f-string or a sum of it is text, so a slip shows on the page and is not run by it."""
    bold = element("b", "x")
    assert element("p", bold) == "<p><b>x</b></p>"
    assert element("p", f"{bold}") == "<p>&lt;b&gt;x&lt;/b&gt;</p>"
    assert not isinstance(bold + bold, Html)


def test_a_table_formats_by_column() -> None:
    """Numbers get commas and their column's decimals, None a dash, text stays; the first is a heading."""
    shown = table({"name": None, "count": 0, "bits": 2}, [("a", 12345, 1.005), ("b", None, 3), ("c", "7 to 8", -0.5)])
    rows = [re.findall(r">([^<>\n]+)<", row) for row in shown.split("<tr>")[1:]]
    assert rows == [["name", "count", "bits"], ["a", "12,345", "1.00"], ["b", "–", "3.00"], ["c", "7 to 8", "-0.50"]]
    heads = [attributes for tag, attributes in tags(shown) if tag == "th"]
    assert [attributes["scope"] for attributes in heads] == ["col"] * 3 + ["row"] * 3
    with pytest.raises(ValueError, match="zip"):
        table({"one": None}, [("a", "b")])


def test_figures_follow_the_page() -> None:
    """A figure has a label, text that is text, the page's colours, and no id that another figure has too."""
    pictures = [inline_svg(curve, 200, 100, label) for label in ("first", "second")]
    for picture in pictures:
        assert ACCENT not in picture
        assert "var(--accent)" in picture
        assert "<rank> & more" in shown_text(picture)
    (svg,) = [attributes for tag, attributes in tags(pictures[0]) if tag == "svg"]
    assert (svg["role"], svg["aria-label"], svg["viewbox"]) == ("img", "first", "0 0 200 100")
    ids = [{attributes["id"] for _, attributes in tags(picture) if "id" in attributes} for picture in pictures]
    assert ids[0]
    assert not ids[0] & ids[1]


def test_a_figure_as_a_file_is_svg_by_itself() -> None:
    """A file parses as XML whatever the label, says what it is, and has colours where the page has variables."""
    drawing = inline_svg(curve, 200, 100, HOSTILE)
    root = ElementTree.fromstring(svg_file(drawing))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.attrib["aria-label"] == HOSTILE
    assert "var(" in drawing
    assert "var(" not in svg_file(drawing)
    assert ACCENT in svg_file(drawing)


def test_a_figure_is_silent_and_the_same_in_any_process(tmp_path: Path) -> None:
    """A fresh process that must build the font cache, with settings of its user's own, prints nothing but the bytes."""
    (tmp_path / "matplotlibrc").write_text("lines.linewidth: 9\nfont.size: 30\nsvg.fonttype: path\n")
    program = (
        "import sys; from tests.wit.test_page import curve; from wit.page import inline_svg; "
        "sys.stdout.write(inline_svg(curve, 200, 100, 'label')); assert 'matplotlib.pyplot' not in sys.modules"
    )
    environment = {**os.environ, "MPLCONFIGDIR": str(tmp_path), "PYTHONHASHSEED": "7", "PYTHONPATH": os.getcwd()}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert done.stdout == inline_svg(curve, 200, 100, "label")


def test_a_figure_leaves_matplotlib_as_it_was() -> None:
    """Settings and logging that others use are as before."""
    import matplotlib

    before = dict(matplotlib.rcParams), logging.getLogger("matplotlib").level
    inline_svg(curve, 200, 100, "label")
    assert (dict(matplotlib.rcParams), logging.getLogger("matplotlib").level) == before
