"""The figures of a comparison: error over compute (the paper's Figure 9), zero-shot over a probe (its Figure 8)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.evaluation.lines import fit_line
from trainer.evaluation.report.figures import SERIES, WIDTH_PX, halo, plain_name
from trainer.evaluation.scaling import fit_power_law
from wit.page import ACCENT, INK, QUIET, RULE, TEXT_PX, Html, inline_svg, quieten

_NAME_PX = TEXT_PX - 1
_LETTER = 0.6  # width of a letter of that size, on average and a little more
_MARKERS = "osD^vP"
MIN_FITTED = 3
"""Points from which a line says anything: through two there is always one."""

MAX_NAMED = 14
"""Of a scatter, those that are farthest from its line."""

_Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Scaled:
    """A checkpoint's compute, in whatever unit, and its mean error, 0 to 1."""

    name: str
    compute: float
    error: float


@dataclass(frozen=True)
class Spot:
    """A task of a checkpoint, both in percent."""

    name: str
    probe: float
    zero_shot: float


def scaling(points: Sequence[Scaled], axis: str) -> Html:
    """Return errors over compute, with the power law that fits where three or more are there."""
    told = "; ".join(f"{point.name}: {100 * point.error:.1f} % at {point.compute:.3g}" for point in points)
    compute, errors = [point.compute for point in points], [100 * point.error for point in points]
    law = fit_power_law(compute, [point.error for point in points]) if len(set(compute)) >= MIN_FITTED else None

    def draw(canvas: Any) -> None:
        axes = canvas.add_axes((0.12, 0.14, 0.85, 0.78), frameon=False)
        axes.set(xscale="log", yscale="log")
        if law is not None:
            ends = np.geomspace(min(compute), max(compute), 2)
            line = [100 * law.error(float(end)) for end in ends]
            words = f"error ∝ compute^{law.exponent:.3f}, R² {law.r_squared:.2f}"
            axes.plot(ends, line, "--", color=QUIET, linewidth=1, label=words)
            axes.legend(frameon=False, fontsize=_NAME_PX, labelcolor=INK, loc="lower left", bbox_to_anchor=(0, 1.0))
        axes.plot(compute, errors, "o", color=ACCENT, markersize=7, zorder=3, **halo())
        quieten(axes, "x")
        axes.set_xlim(min(compute) / 1.6, max(compute) * 1.6)
        low, high = min(errors), max(errors)
        ticks = _error_ticks(low / 1.05, high * 1.05)
        axes.set_ylim(min(low / 1.05, ticks[0]), max(high * 1.05, ticks[-1]))
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set(xlabel=axis, ylabel="mean zero-shot error, %")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        _name_spots(axes, [(point.name, point.compute, 100 * point.error) for point in points])

    return inline_svg(draw, WIDTH_PX, 380, f"Mean zero-shot error over {axis}. {told}.")


def _error_ticks(low: float, high: float) -> list[float]:
    """Return a few round percentages from one to another, on a logarithmic axis that may have no power of ten."""
    for step in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20):
        ticks = [step * count for count in range(max(1, int(np.ceil(low / step))), int(high / step) + 1)]
        if len(ticks) <= 7:
            return [round(tick, 6) for tick in ticks] or [round(low, 1)]
    return [float(round(low)), float(round(high))]


def zero_shot_over_probe(series: Mapping[str, Sequence[Spot]]) -> tuple[Html, str]:
    """Return zero-shot over linear probe, a mark a checkpoint, and a sentence with the correlation and the slope."""
    spots = [spot for mine in series.values() for spot in mine]
    words = (
        "Zero-shot over the linear probe on the same features; on the line they are equal. "
        "(The paper's Figure 8: r 0.82, slope 1.28.)"
    )
    x, y = [spot.probe for spot in spots], [spot.zero_shot for spot in spots]
    if len(spots) >= MIN_FITTED and len(set(x)) > 1:
        line = fit_line(np.array(x), np.array(y))
        words += f" Here, of {len(spots):,} points: r {line.correlation:.2f}, slope {line.slope:.2f}."
    told = "; ".join(f"{spot.name}: {spot.zero_shot:.1f} over {spot.probe:.1f}" for spot in spots)

    def draw(canvas: Any) -> None:
        axes = canvas.add_axes((0.1, 0.11, 0.87, 0.78), frameon=False)
        axes.plot([0, 100], [0, 100], color=RULE, linewidth=1.2)
        for index, (name, mine) in enumerate(series.items()):
            axes.plot(
                [spot.probe for spot in mine], [spot.zero_shot for spot in mine], _MARKERS[index % len(_MARKERS)],
                color=SERIES[index % 4][0], markersize=6.5, label=plain_name(name), clip_on=False, **halo(),
            )  # fmt: skip
        quieten(axes, "")
        axes.set(xlim=(0, 100), ylim=(0, 100), xlabel="linear probe, %", ylabel="zero-shot, %")
        legend = axes.legend(
            frameon=False, fontsize=_NAME_PX, labelcolor=INK, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=3,
            columnspacing=1.2, handletextpad=0.3, borderpad=0.2,
        )  # fmt: skip
        for entry in legend.get_texts():
            entry.set_parse_math(False)
        farthest = sorted(spots, key=lambda spot: -abs(spot.zero_shot - spot.probe))[:MAX_NAMED]
        _name_spots(axes, [(spot.name, spot.probe, spot.zero_shot) for spot in farthest])

    return inline_svg(draw, WIDTH_PX, 520, f"Zero-shot over linear probe. {told}."), words


def _name_spots(axes: Any, spots: Sequence[tuple[str, float, float]]) -> None:
    """Write the names of points where they cover neither each other nor a point; one without room has none."""
    left, bottom, right, top = axes.bbox.extents
    places = [tuple(axes.transData.transform((x, y))) for _, x, y in spots]
    taken: list[_Box] = [(x - 5, y - 5, x + 5, y + 5) for x, y in places]
    for (name, x, y), place in zip(spots, places, strict=True):
        shown = plain_name(name, 24)
        for box in _boxes(place, len(shown) * _LETTER * _NAME_PX, 1.2 * _NAME_PX):
            is_inside = left <= box[0] and box[2] <= right and bottom <= box[1] and box[3] <= top
            if is_inside and not any(_meet(box, other) for other in taken):
                taken.append(box)
                offset = ((box[0] + box[2]) / 2 - place[0], (box[1] + box[3]) / 2 - place[1])
                axes.annotate(
                    shown, (x, y), offset, textcoords="offset points", ha="center", va="center", color=INK,
                    size=_NAME_PX, parse_math=False, zorder=4,
                )  # fmt: skip
                break


def _boxes(place: tuple[float, ...], width: float, height: float) -> Iterator[_Box]:
    """Yield boxes to the right of a point, to its left, above and below."""
    for across, up in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        x = place[0] + across * (8 + width / 2)
        y = place[1] + up * (7 + height / 2)
        yield x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _meet(a: _Box, b: _Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
