"""The page of a search: each query, and what was found, with pictures; captions and names are hostile text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainer.embedding.search import Hit
from wit.errors import InputError
from wit.page import Html, Section, document, element, foreign, headline, joined, number, paragraph, table
from wit.storage import read_bytes, read_range
from wit.thumbnails import thumbnail

MAX_NAME = 70


@dataclass(frozen=True)
class Query:
    """What was looked for: words, or an image file."""

    name: str
    """The words, or the file."""
    is_image: bool


def render(name: str, queries: Sequence[Query], found: Sequence[Sequence[Hit]], num_rows: int) -> str:
    """Return the page as HTML; the pictures of the hits are read from where they lie, and told of when they are gone.

    `name` says which embeddings these are, `num_rows` how many were searched.
    """
    opening = [
        paragraph("Embeddings: ", foreign(name), "."),
        headline({"searched": number(num_rows), "queries": number(len(queries))}),
    ]
    sections = [
        Section(_heading(query), (_found(query, hits),), f"query-{place}")
        for place, (query, hits) in enumerate(zip(queries, found, strict=True), 1)
    ]
    return document("Search", opening, sections)


def _heading(query: Query) -> Html:
    return foreign(query.name, MAX_NAME) if query.name.strip() else Html("(no words)")


def _found(query: Query, hits: Sequence[Hit]) -> Html:
    asked = [_asked(query)] if query.is_image else []
    if not hits or "text" not in hits[0].row:
        return element("div", *asked, *map(_card, hits), class_="sheet")
    rows = [(f"{hit.rank}", hit.score, foreign(hit.row["text"]), foreign(hit.row["key"], MAX_NAME)) for hit in hits]
    found = table({"rank": None, "cosine": 3, "caption": None, "key": None}, rows)
    return joined([element("div", *asked, class_="sheet"), found])


def _asked(query: Query) -> Html:
    picture = _shown(*thumbnail(read_bytes(query.name)), alt="the image that was looked for")
    return element("figure", picture, element("figcaption", paragraph("what was looked for", class_="quiet")))


def _card(hit: Hit) -> Html:
    key, source, caption = hit.row["key"], hit.row["source"], hit.row["caption"]
    place = [element("span", f"{hit.rank}", class_="tag"), element("span", f"cosine {hit.score:.3f}", class_="quiet")]
    facts = {"key": _code(key)} | ({} if source.endswith(key) else {"in": _code(source)})
    return element(
        "figure",
        _shown(*_picture(hit.row), alt=f"found image {hit.rank}"),
        element(
            "figcaption",
            paragraph(*place),
            *([paragraph(foreign(caption))] if caption and caption.strip() else []),
            element("dl", *(element("div", element("dt", name), element("dd", fact)) for name, fact in facts.items())),
        ),
    )


def _code(name: str) -> Html:
    shown = name if len(name) <= MAX_NAME else f"…{name[1 - MAX_NAME :]}"
    return element("code", foreign(shown))


def _picture(row: dict[str, Any]) -> tuple[str, str]:
    try:
        return thumbnail(read_range(row["source"], row["offset"], row["length"]))
    except InputError as error:
        return "", str(error)


def _shown(picture: str, problem: str, alt: str) -> Html:
    if picture:
        return element("img", src=picture, alt=alt, loading="lazy")
    missing = joined([element("span", "not shown: ", class_="quiet"), foreign(problem)])
    return element("div", missing, class_="missing")
