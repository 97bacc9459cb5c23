"""On all real links at hand, columns become the same candidates and rejects as link by link."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

import pyarrow.parquet as pq
import pytest

from pipelines.sources.occurrences import Settings, occurrences
from pipelines.sources.source import Links, LinksBuilder, Source
from pipelines.sources.tables import Tables
from pipelines.sources.warc import Warc
from pipelines.sources.wat import Wat
from tests.pipelines.sources.slow_occurrences import slow_occurrences
from tests.support import real_data

SETTINGS = Settings(64, "wit")
ARCHIVES = (".warc", ".warc.gz", ".arc", ".arc.gz")


def num_same(links: Links) -> int:
    """Return the number of links; both ways give the same rows."""
    found, expected = occurrences(links, "x", SETTINGS), slow_occurrences(links, "x", SETTINGS)
    assert [batch.to_pylist() for batch in found] == [batch.to_pylist() for batch in expected]
    return len(links)


def links_in(source: Source, path: str) -> Iterator[Links]:
    """Yield what a source finds in a file, whose faults are another test's matter."""
    for piece in source.slices(path):
        for finding in source.findings(piece):
            if isinstance(finding, Links):
                yield finding


def test_links_of_real_archives() -> None:
    """Every WARC, ARC and WAT, the broken ones too."""
    num_links = 0
    for path in sorted(real_data("webarchive").rglob("*")):
        is_wat = path.name.startswith("wat") or path.name.endswith(".wat.gz")
        if is_wat or path.name.endswith(ARCHIVES):
            num_links += sum(map(num_same, links_in(Wat() if is_wat else Warc(), str(path))))
    assert num_links > 1000


@pytest.mark.parametrize("base", ["https://example.org/2021/05/a.html?b", "http://example.org", "", "file:///a/b"])
def test_attributes_of_real_pages_as_they_are_written(base: str) -> None:
    """The `src` and `alt` of 87 pages with their character references, whatever page they are on."""
    builder = LinksBuilder(("img@alt",))
    builder.page(base, base)
    for path in sorted(real_data("html", "readability").glob("*.html")):
        for number, tag in enumerate(re.findall(r"<img\b[^>]*>", path.read_text("utf-8", "replace"))):
            src, alt = (re.search(rf'\b{name}="([^"]*)"', tag) for name in ("src", "alt"))
            builder.add(src[1] if src else "", alt[1] if alt else path.name, number, "img@alt")
    links = dataclasses.replace(builder.flush(), url_has_references=True, text_has_references=True)
    assert num_same(links) > 1500


def test_rows_of_a_real_table() -> None:
    """10,000 rows of LAION-400M, of which those without a text are rejects."""
    path = real_data("peers", "img2dataset", "test_files", "test_10000.parquet")
    assert (
        sum(num_same(links) for links in links_in(Tables("auto", "", ""), str(path))) == pq.read_metadata(path).num_rows
    )
