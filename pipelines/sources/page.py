"""Images and their texts on an HTML page.

The image's address is the best of `srcset` (its own, or of a <picture>'s <source>) when that offers more than one
size, else the lazy-loading attribute, else `src`. Its texts are named in `ATTRIBUTES`: one of its own, and the caption
of its figure when that says something else. A copy in <noscript> counts when it says what no other image of the page
does.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from selectolax.lexbor import LexborHTMLParser

from pipelines.sources.links import fold_space, resolve
from pipelines.sources.markup_bombs import MAX_WORK, is_bomb
from pipelines.sources.previews import OPEN_GRAPH, TWITTER, ImageText, preview_images
from pipelines.sources.source import num_bytes

ALT, TITLE, ARIA_LABEL, ARIA_LABELLEDBY = "img@alt", "img@title", "img@aria-label", "img@aria-labelledby"
ROLE_LABEL, FIGCAPTION = "role=img@aria-label", "figcaption"

ATTRIBUTES = {
    ALT: "the image's alternative text",
    TITLE: "its title, where there is no alt or a blank one",
    ARIA_LABEL: "its aria-label, where both say nothing",
    ARIA_LABELLEDBY: "the text of the elements that its aria-labelledby names, where none of these says anything",
    ROLE_LABEL: "the aria-label of the element with role=img around it, when it is the only image in there",
    FIGCAPTION: "the caption of the <figure> around the image, beside its own text",
    OPEN_GRAPH: "og:image:alt of the page's preview image; for the first og:image else og:description",
    TWITTER: "twitter:image:alt of the page's preview image",
}

LAZY_SOURCES = (
    "data-src", "data-original", "data-lazy-src", "data-lazy", "data-lazyload", "data-lazy-load", "data-original-src",
    "data-actualsrc", "data-asset-url", "data-src-retina",
)  # fmt: skip
"""Attributes in which scripts keep an image's address until it comes into view, in the order they are looked at."""
SOURCE_SETS = ("srcset", "data-srcset", "data-lazy-srcset", "data-original-set")

_CANDIDATE = re.compile(r"[\s,]*+(\S*[^\s,])(?:\s++([^,]*+))?")
_DESCRIPTOR = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([wx])")
_NO_ADDRESS = re.compile(r"[{}<>\"']")  # JSON, or markup

_MAX_FIGURE_LEVELS = 16  # how far above an image its <figure> is looked for
_MAX_ROLE_LEVELS = 4
_MAX_TEXT_BYTES = (
    64 << 20
)  # of a page's candidates, in UTF-8; a megabyte of text around a thousand images is a gigabyte


class PageError(ValueError):
    """A page that would take unreasonable time or memory."""


def parse(markup: str, page_url: str) -> tuple[str, list[ImageText]]:
    """Return the URL that links on a page are relative to, and its images with their texts in document order.

    Raises PageError for markup made to keep a parser busy, and for texts of more than 64 MiB in all.
    """
    encoded = markup.encode("utf-8", "replace")
    if is_bomb(encoded):
        raise PageError(f"more than {MAX_WORK} steps over nested elements or attributes")
    tree = LexborHTMLParser(encoded)
    base = tree.css_first("base[href]")
    address = resolve(base.attributes.get("href") or "", page_url) if base else page_url
    return address, [*preview_images(_metas(tree)), *_Page(tree).image_texts()]


def _metas(tree: LexborHTMLParser) -> Iterator[tuple[str, str]]:
    for meta in tree.css("meta[content]"):
        attributes = meta.attributes
        yield attributes.get("property") or attributes.get("name") or "", attributes.get("content") or ""


class _Page:
    """The images of one page; what several of them share is looked up once."""

    def __init__(self, tree: LexborHTMLParser) -> None:
        self._tree = tree
        self._has_figures = tree.css_first("figcaption") is not None
        self._captions: dict[int, Any] = {}
        self._texts: dict[int, str] = {}
        self._pictures: dict[int, list[tuple[tuple[float, float], str]]] = {}
        self._named: dict[str, Any] | None = None
        self._num_bytes = 0

    def image_texts(self) -> list[ImageText]:
        images = self._tree.css("img")
        if self._has_figures:
            self._find_captions()
        copies = {image.mem_id for image in self._tree.css("noscript img")}
        labels = self._role_labels(images)
        found: list[tuple[bool, ImageText]] = []
        for image in images:
            attributes = image.attributes
            url = self._address(image, attributes)
            if url:
                own = self._own_text(attributes, labels.get(image.mem_id, ""))
                found += ((image.mem_id in copies, each) for each in self._of_image(image, url, own))
        said = {each[:2] for is_copy, each in found if not is_copy}
        return [each for is_copy, each in found if not is_copy or each[:2] not in said]

    def _of_image(self, image: Any, url: str, own: tuple[str, str]) -> Iterator[ImageText]:
        text, attribute = own
        if attribute:
            yield self._counted(ImageText(url, text, attribute))
        caption = self._figure_caption(image) if self._has_figures else ""
        if caption and caption != fold_space(text):
            yield self._counted(ImageText(url, caption, FIGCAPTION))

    def _counted(self, found: ImageText) -> ImageText:
        self._count(num_bytes(found.url) + num_bytes(found.text))
        return found

    def _count(self, more: int) -> None:
        self._num_bytes += more
        if self._num_bytes > _MAX_TEXT_BYTES:
            raise PageError(f"texts of more than {_MAX_TEXT_BYTES} bytes beside its images")

    def _text(self, node: Any) -> str:
        """Return the text of an element, its white space folded."""
        if node.mem_id not in self._texts:
            text = node.text()
            self._count(num_bytes(text))
            self._texts[node.mem_id] = fold_space(text)
        return self._texts[node.mem_id]

    def _own_text(self, attributes: dict[str, str | None], role_label: str) -> tuple[str, str]:
        """Return an image's text and where it stands; a blank one when it has no other, ("", "") when it has none."""
        for name, place in (("alt", ALT), ("title", TITLE), ("aria-label", ARIA_LABEL)):
            text = attributes.get(name) or ""
            if text.strip():
                return text, place
        names = (attributes.get("aria-labelledby") or "").split()
        text = " ".join(self._text(node) for name in names if (node := self._element(name)))
        if text.strip():
            return text, ARIA_LABELLEDBY
        if role_label.strip():
            return role_label, ROLE_LABEL
        return "", ALT if "alt" in attributes else TITLE if "title" in attributes else ""

    def _element(self, name: str) -> Any:
        """Return the first element with an id."""
        if self._named is None:
            self._named = {}
            for node in self._tree.css("[id]"):
                self._named.setdefault(node.attributes.get("id") or "", node)
        return self._named.get(name)

    def _role_labels(self, images: list[Any]) -> dict[int, str]:
        """Return the label of the role=img element around each image that is the only one in it."""
        if self._tree.css_first("[role=img][aria-label]") is None:
            return {}
        around = {image.mem_id: _ancestor(image, _has_image_role, _MAX_ROLE_LEVELS) for image in images}
        counts = Counter(node.mem_id for node in around.values() if node is not None)
        return {
            image: node.attributes.get("aria-label") or ""
            for image, node in around.items()
            if node is not None and counts[node.mem_id] == 1
        }

    def _address(self, image: Any, attributes: dict[str, str | None]) -> str:
        choices = _choices(attributes)
        parent = image.parent
        if parent is not None and parent.tag == "picture":
            if parent.mem_id not in self._pictures:
                offered = [choice for source in parent.css("source") for choice in _choices(source.attributes)]
                self._pictures[parent.mem_id] = [_best(offered)] if offered else []
            choices = [*choices, *self._pictures[parent.mem_id]]
        lazy = ((attributes.get(name) or "").strip() for name in LAZY_SOURCES)
        plain = next((value for value in lazy if _is_address(value)), "")
        plain = plain or (attributes.get("src") or "").strip()
        if not choices:
            return plain
        size, best = _best(choices)
        return best if size > (0, 1.0) or not plain or plain.startswith("data:") else plain

    def _find_captions(self) -> None:
        """Find the first caption of each figure."""
        for caption in self._tree.css("figure figcaption"):
            figure = _ancestor(caption, _is_figure, _MAX_FIGURE_LEVELS)
            if figure is not None:
                self._captions.setdefault(figure.mem_id, caption)

    def _figure_caption(self, image: Any) -> str:
        figure = _ancestor(image, _is_figure, _MAX_FIGURE_LEVELS)
        caption = self._captions.get(figure.mem_id) if figure is not None else None
        return self._text(caption) if caption is not None else ""


def _is_figure(node: Any) -> bool:
    return bool(node.tag == "figure")


def _has_image_role(node: Any) -> bool:
    return (node.attributes.get("role") or "").strip().lower() == "img"


def _ancestor(node: Any, is_it: Any, levels: int) -> Any:
    """Return the nearest element around a node for which `is_it` holds, at most so many levels up; or None."""
    node = node.parent
    for _ in range(levels):
        if node is None or is_it(node):
            return node
        node = node.parent
    return None


def _is_address(value: str) -> bool:
    """Return whether the value of a lazy-loading attribute may be an address: some say "true", some hold JSON."""
    return ("/" in value or "." in value) and not _NO_ADDRESS.search(value)


def _choices(attributes: dict[str, str | None]) -> list[tuple[tuple[float, float], str]]:
    values = (attributes.get(name) for name in SOURCE_SETS)
    return [choice for value in values if value for choice in source_set(value)]


def _best(choices: list[tuple[tuple[float, float], str]]) -> tuple[tuple[float, float], str]:
    return max(choices, key=lambda choice: choice[0])  # the first of equals


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
