"""The figures of the report on a run."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from wit.page import ACCENT, INK, QUIET, RULE, TEXT_PX, Html, inline_svg, number, quieten

WIDTH_PX, HEIGHT_PX = 440, 300
_POINTS = 200
_MAX_BARS = 30

I64 = npt.NDArray[np.int64]


def count_by_rank(before: I64, after: I64, cap: int) -> Html:
    """Return the curves of pairs over a term's rank, before and after balancing, both axes logarithmic.

    `before` is in descending order; terms without a match are left out.
    """
    matched = int((before > 0).sum())
    ranks = np.unique(np.geomspace(1, max(matched, 1), _POINTS).astype(np.int64)) if matched else np.empty(0, np.int64)

    def draw(canvas: Any) -> None:
        axes = canvas.add_axes((0.13, 0.16, 0.84, 0.81), frameon=False)
        axes.plot(ranks, before[ranks - 1], color=QUIET, linewidth=1.5, label="before")
        axes.plot(ranks, np.maximum(after[ranks - 1], 0.5), color=ACCENT, linewidth=2, label="after")
        axes.axhline(cap, color=RULE, linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate(f"cap {number(cap)}", (1, cap), xytext=(4, 4), textcoords="offset points", color=QUIET, size=11)
        axes.set(xscale="log", yscale="log", xlabel="rank of the term", ylabel="pairs that match it")
        axes.set_xlim(0.9, 1.1 * max(matched, 10))
        axes.set_ylim(0.6, 2.0 * max(int(before.max(initial=1)), cap))
        axes.legend(frameon=False, fontsize=TEXT_PX, labelcolor=INK)
        quieten(axes, "xy")

    most = number(int(before[0])) if matched else "0"
    kept = number(int(after.max(initial=0)))
    label = (
        f"Pairs of each term by its rank: {most} at most before balancing, {kept} at most after; the cap is {cap:,}."
    )
    return inline_svg(draw, WIDTH_PX, HEIGHT_PX, label)


def pairs_by_matches(histogram: pa.Table) -> Html:
    """Return bars of the pairs that match so many terms, before and after; what lies beyond 30 is one bar."""
    numbers = np.minimum(histogram["num_queries"].to_numpy(), _MAX_BARS)
    sums = [np.bincount(numbers, histogram[name].to_numpy(), _MAX_BARS + 1) for name in ("num_before", "num_after")]
    last = int(numbers.max(initial=1))

    def draw(canvas: Any) -> None:
        axes = canvas.add_axes((0.13, 0.16, 0.84, 0.81), frameon=False)
        places = np.arange(last + 1)
        axes.bar(places, sums[0][: last + 1], color=RULE, width=0.8, label="before")
        axes.bar(places, sums[1][: last + 1], color=ACCENT, width=0.5, label="after")
        axes.set(xlabel="terms that a pair matches", ylabel="pairs")
        axes.set_xlim(0.3, last + 0.7)
        axes.legend(frameon=False, fontsize=TEXT_PX, labelcolor=INK)
        quieten(axes, "")
        if last == _MAX_BARS:
            ticks = [1, 5, 10, 15, 20, 25, 30]
            axes.set_xticks(ticks, [*map(str, ticks[:-1]), "30 +"])

    label = f"Pairs by the number of terms that they match, before and after balancing, from 1 to {last}."
    return inline_svg(draw, WIDTH_PX, HEIGHT_PX, label)
