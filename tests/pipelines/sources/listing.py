"""What a source finds, link by link, so that a test can say what it expects."""

from __future__ import annotations

from typing import NamedTuple

from pipelines.sources.links import unescape_attribute
from pipelines.sources.source import Fault, Links, Source


class Found(NamedTuple):
    """One row of `Links`, references decoded."""

    url: str
    text: str
    offset: int
    attribute: str
    page_url: str | None = None
    base: str | None = None


def rows(links: Links) -> list[Found]:
    """Return the rows of links, after a look at whether the columns agree."""
    sizes = {len(each) for each in (links.url, links.text, links.page, links.offset, links.attribute)}
    assert sizes == {len(links)}
    assert not links.url.null_count
    assert not links.text.null_count
    for column in (links.url, links.text, links.page_url, links.base):
        column.validate(full=True)
    pages = [*links.page_url.to_pylist(), None]
    bases = [*links.base.to_pylist(), None]
    assert len(pages) == len(bases)
    found = []
    for url, text, page, offset, attribute in zip(
        links.url.to_pylist(), links.text.to_pylist(), links.page, links.offset.tolist(), links.attribute, strict=True
    ):
        url = unescape_attribute(url) if links.url_has_references else url
        text = unescape_attribute(text) if links.text_has_references else text
        found.append(Found(url, text, offset, links.attributes[attribute], pages[page], bases[page]))
    return found


def listed(source: Source, url: str) -> list[Found | Fault]:
    """Return all that a source finds in a file, in order."""
    found: list[Found | Fault] = []
    for piece in source.slices(url):
        for finding in source.findings(piece):
            found += [finding] if isinstance(finding, Fault) else rows(finding)
    return found
