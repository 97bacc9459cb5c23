"""The images that a page names for links to it, whatever lists its <meta> tags: Open Graph and Twitter cards."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

OPEN_GRAPH, TWITTER = "og:image", "twitter:image"
BLANK = " \t\n\v\f\r"
"""White space of ASCII."""

_ALTS = frozenset({f"{OPEN_GRAPH}:alt", f"{TWITTER}:alt"})
_IMAGES = {
    OPEN_GRAPH: OPEN_GRAPH, "og:image:url": OPEN_GRAPH, "og:image:secure_url": OPEN_GRAPH,
    TWITTER: TWITTER, "twitter:image:src": TWITTER,
}  # fmt: skip


class ImageText(NamedTuple):
    """An image's address as the page writes it, and a text beside it, white space as it is."""

    url: str
    text: str
    attribute: str


def preview_images(metas: Iterable[tuple[str, str]]) -> list[ImageText]:
    """Return the preview images that (name, content) of <meta> tags tell of, with a text.

    `og:image:url` and the like repeat the image before them, and stand for it where there is none. An alt belongs to
    the image before it; the first `og:image` has the page's first `og:description` where it has no alt. Source: ogp.me,
    structured properties.
    """
    images: list[list[str]] = []  # [URL, text, attribute]
    description = ""
    for written, content in metas:
        name = written.strip(BLANK).lower()
        attribute = _IMAGES.get(name)
        if attribute:
            if name == attribute or not images or images[-1][2] != attribute:
                images.append([content, "", attribute])
        elif name in _ALTS and images and name.startswith(images[-1][2]):
            images[-1][1] = content
        elif name == "og:description" and not description:
            description = content
    first = next((image for image in images if image[2] == OPEN_GRAPH), None)
    if first and not first[1].strip(BLANK):
        first[1] = description
    return [ImageText(*image) for image in images if image[0].strip(BLANK) and image[1].strip(BLANK)]
