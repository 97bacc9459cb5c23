"""The figures of the report on a query list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wit.page import ACCENT, QUIET, TEXT_PX, Html, inline_svg, number, quieten

WIDTH_PX, HEIGHT_PX = 340, 270


def rank_frequency(plural: str, amount: str, ranks: Sequence[tuple[int, int]], threshold: float | None) -> Html:
    """Return the curve of `amount` over rank, both axes logarithmic; what reaches the threshold is coloured.

    `ranks`: (rank, amount), both positive, at least one, by ascending rank. `amount` names what is counted.
    """

    def draw(figure: Any) -> None:
        axes = figure.add_axes((0.145, 0.17, 0.825, 0.80), frameon=False)
        x, y = [rank for rank, _ in ranks], [value for _, value in ranks]
        axes.plot(x, y, color=QUIET, linewidth=1.5, marker="o" if len(x) == 1 else None)
        axes.set(xscale="log", yscale="log", xlabel=f"rank of {plural}", ylabel=amount)
        axes.set_xlim(0.9, 1.1 * max(*x, 10))
        axes.set_ylim(0.6 * min(*y, threshold or y[-1], y[0] / 10), 1.6 * max(y[0], threshold or 0))
        if threshold:
            _mark_threshold(axes, [(rank, value) for rank, value in ranks if value >= threshold], threshold)
        quieten(axes)

    marked = "" if threshold is None else f"; the threshold is {number(threshold)}"
    label = (
        f"{plural.capitalize()}: {amount} by rank, both axes logarithmic, from {number(ranks[0][1])} at rank 1 "
        f"down to {number(ranks[-1][1])} at rank {number(ranks[-1][0])}{marked}."
    )
    return inline_svg(draw, WIDTH_PX, HEIGHT_PX, label)


def _mark_threshold(axes: Any, reached: Sequence[tuple[int, int]], threshold: float) -> None:
    axes.plot([rank for rank, _ in reached], [value for _, value in reached], color=ACCENT, linewidth=2.5)
    axes.axhline(threshold, color=ACCENT, linewidth=1, linestyle=(0, (4, 3)))
    axes.annotate(
        f"threshold {number(threshold)}", (0, threshold), xycoords=("axes fraction", "data"), xytext=(4, 4),
        textcoords="offset points", color=ACCENT, fontsize=TEXT_PX,
    )  # fmt: skip
