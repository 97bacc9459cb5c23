"""Matched pairs side by side: an evaluation image, and beside it the training samples that show it.

Everything here came from the web or from a file: names, captions, labels and addresses are hostile text.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.report.contact_sheet import address
from pipelines.report.overlap.results import BITS, EVALUATION, TRAINING, Thumbs
from wit.page import Html, Section, document, element, foreign, joined, number, paragraph
from wit.progress import progress
from wit.storage import join, publish_text, remove

PAGES = "pages"
PAIRS_A_PAGE = 200  # about 2 MB with their pictures

_MAX_NAME = 120
_MAX_JUMPS = 24
_AROUND = 2  # pages that are linked on either side of the one that is open
_SLUG = 40


@dataclass(frozen=True)
class Book:
    """The matches of a set in the order of its pages: the nearest items first, of an item its nearest samples first."""

    name: str
    slug: str
    unit: str
    rows: pa.Table
    starts: tuple[int, ...]
    """The first row of each item."""
    pages: tuple[tuple[int, int], ...]
    """The rows of each page; an item is cut only where it alone is more than a page."""

    def file(self, page: int) -> str:
        """Return the file name of a page, from 0."""
        return f"{self.slug}-{page + 1:05d}.html"

    def by_distance(self) -> dict[str, int]:
        """Return the page on which the items with each distance of their nearest sample begin; distances ascending."""
        begins = np.array([begin for begin, _ in self.pages])
        distances = self.rows["distance"].take(pa.array(self.starts, pa.int64())).to_pylist()
        places: dict[str, int] = {}
        for start, distance in zip(self.starts, distances, strict=True):
            places.setdefault(short_distance(distance, self.unit), start)
        found = np.searchsorted(begins, list(places.values()), side="right") - 1
        return dict(zip(places, found.tolist(), strict=True))


def books(names: Iterable[str], matches: pa.Table, unit: str) -> list[Book]:
    """Return the matches of each set as a book; `matches` may have its rows in any order."""
    found, slugs = [], set[str]()
    for name in names:
        slug = _slug(name, slugs)
        slugs.add(slug)
        rows = _ordered(matches.filter(pc.equal(matches["set"], name)))
        starts = _starts(rows)
        found.append(Book(name, slug, unit, rows, starts, tuple(_cut(starts, len(rows)))))
    return found


def _slug(name: str, taken: set[str]) -> str:
    """Return what names a set's files: letters, digits and hyphens, lower case, as no other set has it."""
    plain = re.sub("[^a-z0-9]+", "-", name.lower())[:_SLUG].strip("-") or "set"
    slug, count = plain, 1
    while slug in taken:
        count += 1
        slug = f"{plain}-{count}"
    return slug


def _ordered(rows: pa.Table) -> pa.Table:
    codes = rows["item"].combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    distances = rows["distance"].to_numpy()
    nearest = np.full(codes.max(initial=-1) + 1, np.inf)
    np.minimum.at(nearest, codes, distances)
    keys = ("nearest", "item", "distance", "shard", "key")
    return (
        rows.append_column("nearest", pa.array(nearest[codes]))
        .sort_by([(name, "ascending") for name in keys])
        .drop(["nearest"])
    )


def _starts(rows: pa.Table) -> tuple[int, ...]:
    codes = rows["item"].combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    return tuple(np.flatnonzero(np.diff(codes, prepend=-1)).tolist())


def _cut(starts: Sequence[int], num_rows: int) -> Iterable[tuple[int, int]]:
    """Yield the rows of each page."""
    begin = 0
    for start, stop in pairwise((*starts, num_rows)):
        if stop - begin > PAIRS_A_PAGE and start > begin:
            yield begin, start
            begin = start
        while stop - begin > PAIRS_A_PAGE:
            yield begin, begin + PAIRS_A_PAGE
            begin += PAIRS_A_PAGE
    if begin < num_rows:
        yield begin, num_rows


def write_pages(out: str, found: Sequence[Book], thumbs: Thumbs) -> None:
    """Write every match of every book into `pages/` of the folder `out`, in the place of what is there."""
    folder = join(out, PAGES)
    remove(folder)
    with progress("write pages of pairs", sum(len(book.pages) for book in found), "pages") as advance:
        for book in found:
            jumps = book.by_distance()
            for page in range(len(book.pages)):
                publish_text(join(folder, book.file(page)), _page(book, page, jumps, thumbs))
                advance(1)


def _page(book: Book, page: int, jumps: dict[str, int], thumbs: Thumbs) -> str:
    begin, stop = book.pages[page]
    turns = _turn(book, page)
    opening = [
        paragraph(element("a", "Report", href="../report.html"), f" · pairs {begin + 1:,} to {stop:,} of ",
                  f"{len(book.rows):,}, the nearest first."),
        turns,
        *_jumps(jumps, book),
    ]  # fmt: skip
    body = joined(show(book, begin, stop, thumbs))
    title = f"Copies in {book.name[:_MAX_NAME]}, page {page + 1:,} of {len(book.pages):,}"
    return document(title, opening, [Section("Pairs", (body, turns))])


def _turn(book: Book, page: int) -> Html:
    """Return the links to other pages: the first, those around, the last."""
    last = len(book.pages) - 1
    around = range(max(page - _AROUND, 0), min(page + _AROUND, last) + 1)
    links = [_link(book, page - 1, "previous", rel="prev")] if page else []
    for place in sorted({0, *around, last}):
        words = number(place + 1)
        links.append(element("strong", words, aria_current="page") if place == page else _link(book, place, words))
    links += [_link(book, page + 1, "next", rel="next")] if page < last else []
    return element("nav", *links, aria_label="Pages")


def _link(book: Book, page: int, words: str, **attributes: str) -> Html:
    return element("a", words, href=book.file(page), **attributes)


def _jumps(jumps: dict[str, int], book: Book) -> list[Html]:
    """Return links to the pages where the items begin whose nearest sample is so far away; few, if there are many."""
    step = -(-len(jumps) // _MAX_JUMPS)
    links = [_link(book, page, distance) for distance, page in list(jumps.items())[::step]]
    return [element("nav", f"Distance, {book.unit}:", *links, aria_label="Distances")] if len(links) > 1 else []


def short_distance(distance: float, unit: str) -> str:
    """Return a distance in few characters: whole bits, or hundredths of a cosine distance."""
    return number(distance) if unit == BITS else f"{distance:.2f}"


def long_distance(distance: float, unit: str) -> str:
    """Return a distance with its unit."""
    if unit == BITS:
        return "1 bit" if distance == 1 else f"{distance:,.0f} bits"
    return f"{distance:.4f} {unit}"


def nearness(row: dict[str, Any], unit: str) -> str:
    """Return the distance of a match, and by which turn of the evaluation image it is one: 2 bits, rotate 90."""
    distance = long_distance(row["distance"], unit)
    return distance if row["turn"] == "none" else f"{distance}, {row['turn'].replace('_', ' ')}"


def show(book: Book, begin: int, stop: int, thumbs: Thumbs, most: int = PAIRS_A_PAGE) -> list[Html]:
    """Return the rows from `begin` to `stop` as groups, an item with at most `most` of its samples each."""
    rows = book.rows.slice(begin, stop - begin).to_pylist()
    groups: list[list[dict[str, Any]]] = []
    for row in rows:
        if groups and groups[-1][0]["item"] == row["item"]:
            groups[-1].append(row)
        else:
            groups.append([row])
    return [_group(group[:most], len(group) - most, book.unit, thumbs) for group in groups]


def _group(rows: Sequence[dict[str, Any]], num_more: int, unit: str, thumbs: Thumbs) -> Html:
    first = rows[0]
    more = [paragraph(f"and {num_more:,} more", class_="quiet")] if num_more > 0 else []
    label = (
        [element("br"), element("span", "label ", foreign(first["label"]), class_="quiet")] if first["label"] else []
    )
    item = element(
        "figure",
        picture(thumbs(EVALUATION, f"{first['set']}/{first['item']}"), f"image {first['item']}"),
        element("figcaption", foreign(first["item"]), *label),
        class_="item",
    )
    samples = element("div", *(_sample(row, unit, thumbs) for row in rows), *more, class_="samples")
    return element("div", item, samples, class_="match")


def _sample(row: dict[str, Any], unit: str, thumbs: Thumbs) -> Html:
    caption = row["caption"] or ""
    url = address(row["url"] or "")
    lines = [
        element("span", nearness(row, unit), class_="tag"),
        foreign(caption) if caption.strip() else element("span", "no caption", class_="quiet"),
        *([url] if url else []),
        element("span", foreign(row["shard"]), ", ", foreign(row["key"]), class_="quiet"),
    ]
    shown = picture(thumbs(TRAINING, f"{row['shard']}/{row['key']}"), f"sample {row['key']}")
    return element("figure", shown, element("figcaption", joined(lines, BREAK)))


def picture(thumb: bytes | None, alt: str) -> Html:
    """Return a thumbnail as an image of the page, or a box that says that there is none."""
    if thumb is None:
        return element("div", "no picture", class_="missing")
    source = f"data:image/jpeg;base64,{b64encode(thumb).decode()}"
    return element("img", src=source, alt=alt[:_MAX_NAME], width=160, height=160, loading="lazy", decoding="async")


BREAK = element("br")
