"""Images and their texts on an HTML page.

The image's address is the best of `srcset` (its own, or of a <picture>'s <source>) when that offers more than one
size, else the lazy-loading attribute, else `src`. Its texts are `alt` (or `title` where there is no `alt`, or only a
blank one) and the <figcaption> of the <figure> around it. A page's `og:image` has `og:image:alt`, or
`og:description`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from selectolax.lexbor import LexborHTMLParser

from pipelines.sources.links import fold_space, resolve

ALT, TITLE, FIGCAPTION, OPEN_GRAPH = "img@alt", "img@title", "figcaption", "og:image"
ATTRIBUTES = {ALT: "", TITLE: "", FIGCAPTION: "", OPEN_GRAPH: ""}

_LAZY_SOURCES = ("data-src", "data-original", "data-lazy-src")
_SOURCE_SETS = ("srcset", "data-srcset")
_CANDIDATE = re.compile(r"[\s,]*(\S*[^\s,])(?:\s+([^,]*))?")
_DESCRIPTOR = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([wx])")

# What the parser's time grows with by the square: 20,000 open elements take 0.4 s, 10,000 attributes 0.15 s.
_MAX_DEPTH = 5_000
_MAX_ATTRIBUTES = 5_000
_MANY_TAGS = 20_000
_LONG_TAG = re.compile(r"<[A-Za-z][^<>]{10000,}")
_NESTING_TAG = re.compile(r"<(/?)(?:div|section|article|figure|blockquote|ul|ol|dl|center|details|form|main|p)\b", re.I)
_MAX_FIGURE_LEVELS = 16  # how far above an image its <figure> is looked for


class PageError(ValueError):
    """A page that would take the parser unreasonably long."""


class ImageText(NamedTuple):
    """An image's address as the page writes it, and a text beside it; entities decoded, white space as it is."""

    url: str
    text: str
    attribute: str


def parse(markup: str, page_url: str) -> tuple[str, Iterator[ImageText]]:
    """Return the URL that links on a page are relative to, and its images with their texts in document order.

    Raises PageError for markup that is nested more than 5,000 deep or has a tag of more than 5,000 attributes.
    """
    _refuse_bombs(markup)
    tree = LexborHTMLParser(markup)
    base = tree.css_first("base[href]")
    address = resolve(base.attributes.get("href") or "", page_url) if base else page_url
    return address, _image_texts(tree)


def _refuse_bombs(markup: str) -> None:
    for tag in _LONG_TAG.finditer(markup):
        if len(re.sub(r"\"[^\"]*\"|'[^']*'", "", tag.group()).split(None, _MAX_ATTRIBUTES + 1)) > _MAX_ATTRIBUTES:
            raise PageError(f"a tag with more than {_MAX_ATTRIBUTES} attributes")
    if markup.count("<") > _MANY_TAGS:
        depth = 0
        for tag in _NESTING_TAG.finditer(markup):
            depth = max(depth - 1, 0) if tag.group(1) else depth + 1
            if depth > _MAX_DEPTH and not tag.group().lower().endswith("p"):
                raise PageError(f"elements nested more than {_MAX_DEPTH} deep")


def _image_texts(tree: LexborHTMLParser) -> Iterator[ImageText]:
    yield from _open_graph(tree)
    in_figures = tree.css_first("figure figcaption") is not None
    for image in tree.css("img"):
        attributes = image.attributes
        url = _address(image, attributes)
        if not url:
            continue
        text, attribute = _own_text(attributes)
        if attribute:
            yield ImageText(url, text, attribute)
        if in_figures:
            caption = _figure_caption(image)
            if caption and caption != fold_space(text):
                yield ImageText(url, caption, FIGCAPTION)


def _own_text(attributes: dict[str, str | None]) -> tuple[str, str]:
    """Return an image's text and the attribute that holds it; ("", "") when it has none."""
    alt, title = attributes.get("alt") or "", attributes.get("title") or ""
    if "alt" in attributes and (alt.strip() or not title.strip()):
        return alt, ALT
    return (title, TITLE) if "title" in attributes else ("", "")


def _address(image: Any, attributes: dict[str, str | None]) -> str:
    sets = [attributes.get(name) for name in _SOURCE_SETS]
    parent = image.parent
    if parent is not None and parent.tag == "picture":
        sets += [source.attributes.get(name) for source in parent.css("source") for name in _SOURCE_SETS]
    plain = next((value for name in _LAZY_SOURCES if (value := (attributes.get(name) or "").strip())), "")
    plain = plain or (attributes.get("src") or "").strip()
    choices = [choice for value in sets if value for choice in source_set(value)]
    if not choices:
        return plain
    size, best = max(choices, key=lambda choice: choice[0])  # the first of equals
    return best if size > (0, 1.0) or not plain or plain.startswith("data:") else plain


def source_set(value: str) -> list[tuple[tuple[float, float], str]]:
    """Return ((width or 0, pixel density or 1), URL) of each candidate of a `srcset`, in order.

    A URL may hold commas; one that ends with a comma has no descriptor. Source: HTML standard, 4.8.4.2.2.
    """
    choices: list[tuple[tuple[float, float], str]] = []
    position = 0
    while match := _CANDIDATE.match(value, position):
        position = match.end()
        url, descriptors = match.group(1), match.group(2)
        if value[match.end(1) : match.end(1) + 1] == ",":
            descriptors, position = None, match.end(1)
        sizes = {unit: float(number) for number, unit in _DESCRIPTOR.findall(descriptors or "")}
        choices.append(((sizes.get("w", 0.0), sizes.get("x", 1.0)), url))
    return choices


def _figure_caption(image: Any) -> str:
    node = image.parent
    for _ in range(_MAX_FIGURE_LEVELS):
        if node is None:
            return ""
        if node.tag == "figure":
            caption = node.css_first("figcaption")
            return fold_space(caption.text()) if caption else ""
        node = node.parent
    return ""


def _open_graph(tree: LexborHTMLParser) -> Iterator[ImageText]:
    images: list[list[str]] = []  # [URL, alt]; a structured property belongs to the image before it
    description = ""
    for meta in tree.css("meta[property][content]"):
        name, content = (meta.attributes.get("property") or "").strip().lower(), meta.attributes.get("content") or ""
        if name == "og:image":
            images.append([content, ""])
        elif name == "og:image:alt" and images:
            images[-1][1] = content
        elif name == "og:description" and not description:
            description = content
    for index, (url, alt) in enumerate(images):
        text = alt if alt.strip() or index else description  # the description is that of the page's first image
        if url.strip() and text.strip():
            yield ImageText(url, text, OPEN_GRAPH)
