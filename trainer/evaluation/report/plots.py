"""The figures of a comparison: error over compute (the paper's Figure 9), zero-shot over a probe (its Figure 8)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.evaluation.report.figures import SERIES, WIDTH_PX, halo, plain_name
from trainer.evaluation.scaling import PowerLaw
from wit.page import INK, RULE, TEXT_PX, Html, inline_svg, quieten

_NAME_PX = TEXT_PX - 1
_LETTER = 0.6  # width of a letter of that size, on average and a little more
_MARKERS = "osD^vP"
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


@dataclass(frozen=True)
class Series:
    """Checkpoints and the power law that fits them, if one does."""

    words: str
    """For the legend, with the law."""
    spots: Sequence[Scaled]
    law: PowerLaw | None
    has_band: bool
    colour: str


def scaling(series: Sequence[Series], axis: str) -> Html:
    """Return errors over compute, with the power law of each series, and its band."""
    spots = [spot for each in series for spot in each.spots]
    told = "; ".join(f"{spot.name}: {100 * spot.error:.1f} % at {spot.compute:.3g}" for spot in spots)
    compute, errors = [spot.compute for spot in spots], [100 * spot.error for spot in spots]

    def draw(canvas: Any) -> None:
        axes = canvas.add_axes((0.12, 0.14, 0.85, 0.76), frameon=False)
        axes.set(xscale="log", yscale="log")
        for each in series:
            _draw_law(axes, each)
            axes.plot([spot.compute for spot in each.spots], [100 * spot.error for spot in each.spots], "o",
                      color=each.colour, markersize=7, zorder=3, **halo())  # fmt: skip
        if any(each.law for each in series):
            axes.legend(frameon=False, fontsize=_NAME_PX, labelcolor=INK, loc="lower left", bbox_to_anchor=(0, 1.0))
        quieten(axes, "x")
        axes.set_xlim(min(compute) / 1.6, max(compute) * 1.6)
        low, high = min(errors), max(errors)
        ticks = _error_ticks(low / 1.05, high * 1.05)
        axes.set_ylim(min(low / 1.05, ticks[0]), max(high * 1.05, ticks[-1]))
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set(xlabel=axis, ylabel="mean zero-shot error, %")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        _name_spots(axes, [(spot.name, spot.compute, 100 * spot.error) for spot in spots])

    return inline_svg(draw, WIDTH_PX, 400, f"Mean zero-shot error over {axis}. {told}.")


def _draw_law(axes: Any, each: Series) -> None:
    if each.law is None:
        return
    compute = [spot.compute for spot in each.spots]
    places = np.geomspace(min(compute), max(compute), 40)
    line = [100 * each.law.error(float(place)) for place in places]
    axes.plot(places, line, "--", color=each.colour, linewidth=1, label=each.words)
    if each.has_band:
        ends = [each.law.interval(float(place)) for place in places]
        low, high = ([100 * end[side] for end in ends] for side in (0, 1))
        axes.fill_between(places, low, high, color=each.colour, alpha=0.13, linewidth=0)


def _error_ticks(low: float, high: float) -> list[float]:
    """Return a few round percentages from one to another, on a logarithmic axis that may have no power of ten."""
    for step in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20):
        ticks = [step * count for count in range(max(1, int(np.ceil(low / step))), int(high / step) + 1)]
        if len(ticks) <= 7:
            return [round(tick, 6) for tick in ticks] or [round(low, 1)]
    return [float(round(low)), float(round(high))]


def zero_shot_over_probe(series: Mapping[str, Sequence[Spot]]) -> Html:
    """Return zero-shot over linear probe, a mark a checkpoint."""
    spots = [spot for mine in series.values() for spot in mine]
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
        named = [(spot.name, spot.probe, spot.zero_shot) for spot in farthest]
        _name_spots(axes, named, [(spot.probe, spot.zero_shot) for spot in spots])

    return inline_svg(draw, WIDTH_PX, 520, f"Zero-shot over linear probe. {told}.")


def _name_spots(
    axes: Any, spots: Sequence[tuple[str, float, float]], others: Sequence[tuple[float, float]] = ()
) -> None:
    """Write the names of points where they cover neither each other nor a point; one without room has none."""
    left, bottom, right, top = axes.bbox.extents
    places = [tuple(axes.transData.transform((x, y))) for _, x, y in spots]
    points = places + [tuple(axes.transData.transform(other)) for other in others]
    taken: list[_Box] = [(x - 5, y - 5, x + 5, y + 5) for x, y in points]
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
