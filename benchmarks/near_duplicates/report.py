"""What was measured, written: report.md, curves.csv, edits.csv and the figures."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from benchmarks.edits import EDITS
from benchmarks.near_duplicates import figures, tables
from benchmarks.near_duplicates.counts import Counts, count
from benchmarks.near_duplicates.measured import Measured
from benchmarks.near_duplicates.signs import LEARNED, Detector


def write_report(out: Path, measured: Measured) -> None:
    """Write the files of the report into a folder that exists."""
    singles = {each.name: (each, count([each], measured.planted)) for each in measured.detectors}
    (out / "report.md").write_text("\n\n".join(_sections(measured, singles)) + "\n")
    _write_csv(out / "curves.csv", _CURVES, _curves(singles.values()))
    _write_csv(out / "edits.csv", _EDITS, _edits(singles.values()))
    figures.draw_recall(out / "recall.svg", measured)
    figures.draw_false_pairs(out / "false_pairs.svg", measured)


def _sections(measured: Measured, singles: dict[str, tuple[Detector, Counts]]) -> Iterator[str]:
    yield "# Near-duplicates: recall and false pairs over radius"
    yield tables.pictures(measured)
    yield "## Planted edits that are found within a radius"
    yield from tables.by_radius(measured, singles)
    yield "## pHash and PDQ together"
    yield tables.together(measured)
    yield "## By edit"
    yield tables.by_edit(measured)
    yield "## Turns"
    yield tables.turns(measured)
    yield "## What the fast path costs"
    yield tables.fast_against_exact(measured)
    yield "## Pictures that are not edits of each other"
    yield tables.strangers(measured)
    yield "## Judged pairs of CIFAR-10"
    yield from tables.cifar(measured)
    yield "## imagededup's files"
    yield tables.files(measured)
    if LEARNED.name in singles:
        yield "## The learned detector, on pictures that it was not trained on"
        yield from tables.learned(measured)
    yield "## FAISS finds the same"
    yield tables.same_as_faiss(measured)
    yield "## By chance"
    yield tables.by_chance()


_CURVES = ("detector", "radius", "recall", "num_false", "num_comparisons")
_EDITS = ("detector", "kind", "strength", "radius", "recall")


def _curves(singles: Iterable[tuple[Detector, Counts]]) -> Iterator[tuple[object, ...]]:
    for detector, counts in singles:
        for radius in _radii(detector):
            yield (
                detector.name, radius, f"{counts.recall_of_all(radius):.5f}", counts.num_false(radius),
                int(counts.false.sum()),
            )  # fmt: skip


def _edits(singles: Iterable[tuple[Detector, Counts]]) -> Iterator[tuple[object, ...]]:
    for detector, counts in singles:
        for radius in _radii(detector):
            for edit, recall in zip(EDITS, counts.recall(radius), strict=True):
                yield detector.name, edit.kind, edit.strength, radius, f"{recall:.4f}"


def _radii(detector: Detector) -> range:
    """Return the radii of a curve: every other bit up to half of them, and 100 steps up to a cosine of 0."""
    return range(0, detector.most // 2 + 1, 10 if detector is LEARNED else 2)


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
