"""The page from which the thresholds of an audit are chosen: nearest neighbours at each distance, and their counts.

A threshold is right for a set when the pairs just below it are copies and those just above it are not (the CLIP paper,
arXiv 2103.00020, section 5: chosen by hand for each set, precision first, then recall).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.report.overlap.pairs import BREAK, books, nearness, picture
from pipelines.report.overlap.results import BITS, EVALUATION, TRAINING, Calibration, SearchedSet, Thumbs
from wit.page import (
    ACCENT,
    INK,
    QUIET,
    TEXT_PX,
    Html,
    Section,
    document,
    element,
    figure,
    foreign,
    inline_svg,
    joined,
    paragraph,
    quieten,
)
from wit.storage import join, publish_text

PAGE = "calibrate.html"
PAIRS_A_STEP = 5
"""Shown of a set at each step, a uniform sample: when half of a step is no copy, 31 of 32 rows show one that is not."""
MAX_STEPS = 32
"""Of a set: with five pairs each some 2 MB of the page. Distances are grouped when there are more of them."""
STEPS_OF_ONE = 100
"""Of distances that are no whole numbers, 1 - cosine: steps of a hundredth."""

_MAX_NAME = 60
_WIDTH_PX, _HEIGHT_PX = 560, 210


@dataclass(frozen=True)
class _Step:
    """Items whose nearest sample is at most so far away, and farther than the step before."""

    upper: float
    num_items: int
    num_so_far: int
    shown: pa.Table
    """Some of its items with their nearest samples."""


def shown_pairs(found: Calibration, matches: pa.Table) -> pa.Table:
    """Return the matches that the page shows, some of each set and distance: only these need thumbnails.

    `matches`: set, item, key, shard, distance (integer or float), and any others; all that the search found.
    """
    shown = [step.shown for _, steps in _by_set(found, matches) for step in steps]
    return pa.concat_tables([matches.slice(0, 0), *shown])


def _by_set(found: Calibration, matches: pa.Table) -> Iterator[tuple[SearchedSet, list[_Step]]]:
    all_books = books([each.set for each in found.sets], matches, found.unit)
    for each, book in zip(found.sets, all_books, strict=True):
        parts = 1 if found.unit == BITS else STEPS_OF_ONE
        yield each, list(_steps(each, book.rows.take(pa.array(book.starts, pa.int64())), parts))


def _steps(each: SearchedSet, nearest: pa.Table, parts: int) -> Iterator[_Step]:
    """Yield the steps that have items, `parts` to the whole; `nearest`: an item's nearest sample a row, by distance."""
    if not len(nearest):
        return
    distances = nearest["distance"].to_numpy()
    uppers = _uppers(float(distances[-1]), each.threshold, parts)
    ends = np.searchsorted(distances, uppers, side="right").tolist()
    begin = 0
    for upper, end in zip(uppers.tolist(), ends, strict=True):
        if end > begin:
            yield _Step(upper, end - begin, end, _sample(nearest.slice(begin, end - begin)))
        begin = end


def _uppers(farthest: float, threshold: float, parts: int) -> npt.NDArray[np.float64]:
    """Return the upper ends of the steps, ascending: 0, then equal steps, and the threshold itself."""
    num_parts = int(np.ceil(farthest * parts)) + 1  # one more: a float may round upwards
    width = -(-num_parts // MAX_STEPS)
    return np.unique(np.append(np.arange(-(-num_parts // width) + 1) * width / parts, threshold))


def _sample(rows: pa.Table) -> pa.Table:
    """Return a few rows, uniformly and always the same: those whose items have the lowest hashes."""
    digests = [sha256(item.encode("utf-8", "surrogatepass")).digest() for item in rows["item"].to_pylist()]
    chosen = sorted(range(len(rows)), key=digests.__getitem__)[:PAIRS_A_STEP]
    return rows.take(pa.array(sorted(chosen), pa.int64()))


def write_calibration(out: str, found: Calibration, matches: pa.Table, thumbs: Thumbs) -> None:
    """Write `calibrate.html` into the folder `out`; `matches` as for `shown_pairs`.

    Thumbnails are asked for of `shown_pairs` alone. Memory: `matches`, and about 2 MB a set.
    """
    opening = [
        paragraph("Training shards: ", foreign(found.shards), f". A copy is {found.rule}."),
        paragraph(
            "Each row shows, at one distance, images of the set with the training sample nearest to them. Go down to "
            "where the first pairs stop being copies, and take the threshold of the row above."
        ),
        paragraph("What to type next, with the numbers that you choose:"),
        element("pre", foreign(_command(found), 4_000), class_="command"),
    ]
    sections = [
        Section(foreign(each.set), tuple(_section(found, each, steps, thumbs)), f"set-{index}")
        for index, (each, steps) in enumerate(_by_set(found, matches), 1)
    ]
    publish_text(join(out, PAGE), document("Where does a copy end?", opening, sections))


def _command(found: Calibration) -> str:
    return " ".join([found.command, *(_option(each, each.threshold) for each in found.sets)])


def _option(each: SearchedSet, threshold: float) -> str:
    return f"--threshold {shlex.quote(f'{each.set}={threshold:g}')}"


def _section(found: Calibration, each: SearchedSet, steps: Sequence[_Step], thumbs: Thumbs) -> Iterator[Html]:
    searched = f"searched up to {each.searched:g} {found.unit}; the threshold is now {each.threshold:g}"
    if not steps:
        yield paragraph(f"No image has a training sample so near: {searched}.")
        return
    yield paragraph(f"{each.num_items:,} images, {searched}.")
    yield figure(_histogram(found, each, steps), "Images by the distance of their nearest training sample.")
    is_above = False
    for step in steps:
        if step.upper > each.threshold and not is_above:
            is_above = True
            yield element("h3", f"Above the threshold of {each.threshold:g}: not counted as copies", class_="edge")
        yield _row(found, each, step, thumbs)


def _row(found: Calibration, each: SearchedSet, step: _Step, thumbs: Thumbs) -> Html:
    share = step.num_so_far / each.num_items if each.num_items else 0.0
    counts = f"{step.num_items:,} here, {step.num_so_far:,} ({share:.2%} of the set) up to here"
    head = element(
        "p",
        element("strong", f"up to {step.upper:g} {found.unit}"),
        f": {counts}",
        BREAK,
        element("code", foreign(_option(each, step.upper)), class_="quiet"),
        class_="step",
    )
    tiles = element("div", *(_tile(row, found.unit, thumbs) for row in step.shown.to_pylist()), class_="tiles")
    return joined([head, tiles])


def _tile(row: dict[str, Any], unit: str, thumbs: Thumbs) -> Html:
    both = element(
        "div",
        picture(thumbs(EVALUATION, f"{row['set']}/{row['item']}"), f"image {row['item']}"),
        picture(thumbs(TRAINING, f"{row['shard']}/{row['key']}"), f"sample {row['key']}"),
    )
    words = f"{nearness(row, unit)}, "
    return element("figure", both, element("figcaption", words, foreign(row["item"], _MAX_NAME)))


def _histogram(found: Calibration, each: SearchedSet, steps: Sequence[_Step]) -> Html:
    """Return bars of the items at each step, those above the threshold apart, and the threshold as a line."""
    uppers = np.array([step.upper for step in steps])
    counts = np.array([step.num_items for step in steps])
    gaps = np.diff(uppers)
    width = 0.8 * (float(gaps.min()) if len(gaps) else 1.0)

    def draw(canvas: Any) -> None:
        axes = canvas.add_axes((0.11, 0.21, 0.87, 0.73), frameon=False)
        is_copy = uppers <= each.threshold
        axes.bar(uppers[is_copy], counts[is_copy], color=ACCENT, width=width)
        axes.bar(uppers[~is_copy], counts[~is_copy], color=QUIET, width=width)
        middle = each.threshold + width * 0.625  # between the bars
        axes.axvline(middle, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate(
            "threshold", (middle, 1), xycoords=("data", "axes fraction"), xytext=(4, -4),
            textcoords="offset points", va="top", color=INK, size=TEXT_PX - 1,
        )  # fmt: skip
        axes.set(xlabel=f"distance, {found.unit}", ylabel="images", yscale="log" if counts.max() > 1_000 else "linear")
        quieten(axes, "y" if counts.max() > 1_000 else "")

    told = ", ".join(f"{step.upper:g}: {step.num_items:,}" for step in steps)
    return inline_svg(draw, _WIDTH_PX, _HEIGHT_PX, f"Images of {each.set} by distance in {found.unit}: {told}.")
