"""The curves as SVG files, with the same bytes from the same counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.edits import EDITS
from benchmarks.near_duplicates.counts import Counts, count
from benchmarks.near_duplicates.measured import Measured
from benchmarks.near_duplicates.signs import HASHES, LEARNED, Detector

KINDS = ("jpeg", "scale", "kernel", "aspect", "blur", "noise", "brightness", "text", "border", "crop", "rotate")
"""Kinds of edits in the figure of recall, a line each."""
WIDTH_PX, HEIGHT_PX = 900, 380
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#222222")
"""Okabe and Ito's, that colour-blind people tell apart."""
_STYLES = ("-", "--", ":")
_HIGHEST = {64: 24, 256: 120}
"""The largest radius on the axis, by the bits of a hash."""


def draw_recall(path: Path, measured: Measured) -> None:
    """Draw recall over the radius for kinds of edits, all strengths of a kind together: pHash left, PDQ right."""

    def draw(figure: Any) -> None:
        for place, detector in enumerate((HASHES[0], HASHES[2]), 1):
            axes = figure.add_subplot(1, 2, place)
            counts = count([detector], measured.planted)
            radii = np.arange(0, _HIGHEST[detector.most] + 1, 2)
            recalls = np.array([counts.recall(int(radius)) for radius in radii])
            for number, kind in enumerate(KINDS):
                which = [edit.kind == kind for edit in EDITS]
                colour, style = _COLOURS[number % len(_COLOURS)], _STYLES[number // len(_COLOURS)]
                axes.plot(radii, recalls[:, which].mean(axis=1), style, color=colour, label=kind)
            axes.set(xlabel=f"{detector.name}: radius, bits", ylabel="share of edits found", ylim=(0, 1.02))
            axes.set_xlim(0, radii[-1])
        figure.axes[1].legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))

    _save(path, draw)


def draw_false_pairs(path: Path, measured: Measured) -> None:
    """Draw recall over false pairs of a million comparisons for every detector, on photos kept from training.

    What has no false pair at all stands where half a pair would.
    """
    planted = measured.planted.held_out()

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        for number, detector in enumerate(measured.detectors):
            false, recall = _curve(detector, count([detector], planted))
            colour, style = _COLOURS[number % len(_COLOURS)], _STYLES[number // len(_COLOURS)]
            axes.plot(false, recall, style, color=colour, label=detector.name, marker=".", markersize=4)
        axes.set(xscale="log", ylim=(0.4, 1.0), ylabel="share of edits found, turns left out")
        axes.set_xlabel("false pairs of a million comparisons of unrelated pictures; leftmost: none")
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))

    _save(path, draw)


def _curve(detector: Detector, counts: Counts) -> tuple[list[float], list[float]]:
    """Return false pairs of a million and recall, radius by radius, up to 1 false pair in 1,000."""
    least = 0.5e6 / int(counts.false.sum())
    radii = range(0, detector.most // 2, 10 if detector is LEARNED else 2)
    points = [(max(least, counts.false_per_million(radius)), counts.recall_of_all(radius)) for radius in radii]
    shown = [point for point in points if point[0] <= 1000]
    return [false for false, _ in shown], [recall for _, recall in shown]


def _save(path: Path, draw: Callable[[Any], None]) -> None:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": path.name, "font.size": 10}):
        figure = Figure(figsize=(WIDTH_PX / 72, HEIGHT_PX / 72), dpi=72, layout="constrained")
        draw(figure)
        for axes in figure.axes:
            axes.grid(color="#dddddd", linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
