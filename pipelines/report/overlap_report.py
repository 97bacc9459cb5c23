"""The page of the overlap audit: what was found of each set, and the pairs side by side.

It works without a network or scripts, and everything that came from the web is escaped: captions are hostile input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from wit.page import Cell, Html, Section, document, element, foreign, joined, paragraph, table

TITLE = "Overlap with evaluation sets"
BREAK = element("br")


class SetResult(Protocol):
    """What the page says of an evaluation set."""

    @property
    def set(self) -> str: ...
    @property
    def num_items(self) -> int: ...
    @property
    def num_overlap(self) -> int: ...
    @property
    def num_unreadable(self) -> int: ...
    @property
    def share(self) -> float: ...
    @property
    def interval(self) -> tuple[float, float]: ...


@dataclass(frozen=True)
class Pair:
    """An evaluation image and its nearest training sample; pictures are data URIs."""

    item: str
    key: str
    shard: str
    distance: int
    caption: str
    url: str
    item_picture: str
    sample_picture: str


def render(shards: str, radius: int, found: Sequence[SetResult], pairs: Mapping[str, Sequence[Pair]]) -> str:
    """Return the page as HTML; `pairs` by set, those that are to be shown."""
    opening = paragraph(
        "Training shards: ", foreign(shards), ". A copy is an image whose 64-bit perceptual hash differs in at most "
        f"{radius} bits. The interval is Clopper-Pearson at 99.5 %.",
    )  # fmt: skip
    columns = {"set": None, "images": 0, "overlap": 0, "share": 0, "interval": 0, "unreadable": 0}
    return document(
        TITLE,
        [opening, table(columns, map(_row, found))],
        [Section(foreign(each.set), _section(each, pairs[each.set])) for each in found],
    )


def _row(each: SetResult) -> tuple[Cell, ...]:
    low, high = each.interval
    interval = f"{low:.2%} to {high:.2%}"
    return foreign(each.set), each.num_items, each.num_overlap, f"{each.share:.2%}", interval, each.num_unreadable


def _section(each: SetResult, pairs: Sequence[Pair]) -> tuple[Html, ...]:
    notes = []
    if each.num_overlap > len(pairs):
        notes.append(paragraph(f"The nearest {len(pairs):,} of {each.num_overlap:,}; matches.parquet has all."))
    elif not pairs:
        notes.append(paragraph("None of its images was found."))
    return *notes, *map(_figure, pairs)


def _figure(pair: Pair) -> Html:
    place = joined([f"{pair.distance} bits; ", foreign(pair.shard), ", ", foreign(pair.key), BREAK, foreign(pair.url)])
    return element(
        "figure",
        element("img", src=pair.item_picture, alt="evaluation image"),
        element("img", src=pair.sample_picture, alt="training sample"),
        element(
            "figcaption",
            foreign(pair.item),
            BREAK,
            foreign(pair.caption),
            BREAK,
            element("span", place, class_="quiet"),
        ),
        class_="pair",
    )
