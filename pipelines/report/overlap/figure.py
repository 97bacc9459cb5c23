"""The two panels of the paper's overlap figure (arXiv 2103.00020, figure 17).

Left: how much better a model is on Overlap than on Clean, with 99.5 % Clopper-Pearson intervals. Right: what that adds
to its accuracy on all, All - Clean. Both over the share of the set that the training shards show.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import cos, pi, sin
from typing import Any

from pipelines.report.overlap.results import ALPHA, AuditResult, SetResult
from wit.page import ACCENT, ALARM, INK, PAPER, QUIET, TEXT_PX, Html, inline_svg, quieten

WIDTH_PX, HEIGHT_PX = 500, 380
_MAX_NAME = 22
_NAME_PX = TEXT_PX - 1
_LETTER = 0.6  # width of a letter of that size, on average and a little more

_Spot = tuple[float, float]
_Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class _Kind:
    words: str
    marker: str
    edge: str
    face: str


_KINDS = {
    "significant": _Kind("better on Overlap, after Bonferroni", "o", ACCENT, ACCENT),
    "alone": _Kind(f"better, p ≤ {ALPHA} taken alone", "o", ACCENT, PAPER),
    "worse": _Kind("worse, the interval excludes 0", "v", ALARM, ALARM),
    "none": _Kind("not significant", "o", QUIET, QUIET),
}


@dataclass(frozen=True)
class _Point:
    """A set in a panel, all in percent or points of percent."""

    name: str
    kind: str
    x: float
    y: float
    low: float
    high: float


def panels(result: AuditResult) -> tuple[Html, Html]:
    """Return the two panels, each a figure of the page."""
    left, right = _left(result), _right(result)
    return (
        inline_svg(lambda canvas: _draw_left(canvas, left, _LEFT), WIDTH_PX, HEIGHT_PX, _told(_LEFT_LABEL, left)),
        inline_svg(lambda canvas: _draw_right(canvas, right, _LEFT), WIDTH_PX, HEIGHT_PX, _told(_RIGHT_LABEL, right)),
    )


def both_panels(result: AuditResult) -> Html:
    """Return the two panels side by side as one figure."""
    left, right = _left(result), _right(result)

    def draw(canvas: Any) -> None:
        _draw_left(canvas, left, (_LEFT[0] / 2, _LEFT[1], _LEFT[2] / 2, _LEFT[3]))
        _draw_right(canvas, right, (0.5 + _LEFT[0] / 2, _LEFT[1], _LEFT[2] / 2, _LEFT[3]))

    label = f"{_told(_LEFT_LABEL, left)} {_told(_RIGHT_LABEL, right)}"
    return inline_svg(draw, 2 * WIDTH_PX, HEIGHT_PX, label)


_LEFT = (0.12, 0.13, 0.86, 0.73)  # axes of a panel: left, bottom, width, height, as shares
_X_LABEL = "share of the set in the training shards, %"
_LEFT_LABEL = "Accuracy on Overlap minus accuracy on Clean, over the share of each set in the training shards."
_RIGHT_LABEL = "Accuracy on All minus accuracy on Clean, over the share of each set in the training shards."


def _told(label: str, points: Sequence[_Point]) -> str:
    told = "; ".join(f"{point.name}: {point.y:+.2f} points at {point.x:.2f} %" for point in points)
    return f"{label} {told}." if told else label


def _left(result: AuditResult) -> list[_Point]:
    points = []
    for each in result.sets:
        found = each.accuracies
        if found is None or found.overlap_difference is None:
            continue
        clean, interval = found.accuracy_clean, found.interval
        assert clean is not None
        assert interval is not None
        low, high = (100 * (end - clean) for end in interval)
        points.append(_point(result, each, found.overlap_difference, low, high))
    return points


def _right(result: AuditResult) -> list[_Point]:
    return [
        _point(result, each, each.accuracies.difference)
        for each in result.sets
        if each.accuracies is not None and each.accuracies.difference is not None
    ]


def _point(
    result: AuditResult, each: SetResult, y: float, low: float | None = None, high: float | None = None
) -> _Point:
    """Return a point; without an interval its ends are the point itself."""
    y *= 100
    ends = (y if low is None else low, y if high is None else high)
    return _Point(_plain(each.contamination.set), _kind(result, each), 100 * each.contamination.share, y, *ends)


def _kind(result: AuditResult, each: SetResult) -> str:
    found = each.accuracies
    assert found is not None
    if result.is_significant(each):
        return "significant"
    if found.p_value is not None and found.p_value <= ALPHA:
        return "alone"
    return "worse" if found.excludes_clean else "none"


def _plain(name: str) -> str:
    """Return a name as a figure can hold it: what shows nothing, or is no sign of XML, becomes a question mark."""
    shown = "".join(sign if sign.isprintable() else "?" for sign in name[: _MAX_NAME + 1])
    return shown if len(shown) <= _MAX_NAME else f"{shown[: _MAX_NAME - 1]}…"


def _draw_left(canvas: Any, points: Sequence[_Point], place: tuple[float, ...]) -> None:
    axes = _axes(canvas, points, place, "Overlap − Clean, points of accuracy")
    for point in points:
        colour = _KINDS[point.kind].edge
        axes.plot((point.x, point.x), (point.low, point.high), color=colour, linewidth=1, alpha=0.5, zorder=2)
    _finish(axes, points)


def _draw_right(canvas: Any, points: Sequence[_Point], place: tuple[float, ...]) -> None:
    axes = _axes(canvas, points, place, "All − Clean, points of accuracy")
    _finish(axes, points)


def _axes(canvas: Any, points: Sequence[_Point], place: tuple[float, ...], y_label: str) -> Any:
    from matplotlib.ticker import MaxNLocator

    axes = canvas.add_axes(place, frameon=False)
    axes.axhline(0, color=INK, linewidth=1, zorder=1)
    for kind, look in _KINDS.items():
        mine = [point for point in points if point.kind == kind]
        if mine:
            axes.plot(
                [point.x for point in mine], [point.y for point in mine], look.marker, color=look.edge,
                markerfacecolor=look.face, markersize=7, label=look.words, zorder=3, clip_on=False,
            )  # fmt: skip
    quieten(axes, "")
    axes.set(xlabel=_X_LABEL, ylabel=y_label)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6))
    return axes


def _finish(axes: Any, points: Sequence[_Point]) -> None:
    """Set the limits, then put the names where they fit between them."""
    widest = max([point.x for point in points], default=0) or 1
    axes.set_xlim(-0.03 * widest, 1.12 * widest)
    ends = [0.0, *(end for point in points for end in (point.low, point.high, point.y))]
    room = 0.08 * (max(ends) - min(ends)) or 1.0
    axes.set_ylim(min(ends) - room, max(ends) + room)
    if points:
        axes.legend(
            frameon=False, fontsize=_NAME_PX, labelcolor=INK, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2,
            columnspacing=1.2, handletextpad=0.3, borderpad=0.2,
        )  # fmt: skip
    for place, point, box in _labels(axes, points):
        middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        offset = (middle[0] - place[0], middle[1] - place[1])
        is_far = max(abs(offset[0]) - (box[2] - box[0]) / 2, abs(offset[1]) - (box[3] - box[1]) / 2) > 12
        arrow = {"arrowstyle": "-", "color": QUIET, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 4} if is_far else None
        axes.annotate(
            point.name, (point.x, point.y), offset, textcoords="offset points", ha="center", va="center",
            color=INK, size=_NAME_PX, parse_math=False, arrowprops=arrow, zorder=4,
        )  # fmt: skip


def _labels(axes: Any, points: Sequence[_Point]) -> Iterator[tuple[_Spot, _Point, _Box]]:
    """Yield the points whose names find room, with the box of the name: what matters most is placed first."""

    def spot(x: float, y: float) -> _Spot:
        return tuple(axes.transData.transform((x, y)))

    left, bottom, right, top = axes.bbox.extents
    zero = spot(0, 0)[1]
    taken: list[_Box] = [(left, zero - 1, right, zero + 1)]
    for point in points:
        x, y = spot(point.x, point.y)
        taken += [(x - 5, y - 5, x + 5, y + 5), (x - 1, spot(0, point.low)[1], x + 1, spot(0, point.high)[1])]
    order = list(_KINDS)
    for point in sorted(points, key=lambda point: (order.index(point.kind), -abs(point.y), point.name)):
        if point.x == 0 and point.y == 0:
            continue  # without overlap there is nothing to name
        place = spot(point.x, point.y)
        for box in _boxes(place, len(point.name) * _LETTER * _NAME_PX, 1.3 * _NAME_PX):
            is_inside = left <= box[0] and box[2] <= right and bottom <= box[1] and box[3] <= top
            if is_inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                yield place, point, box
                break


def _boxes(place: _Spot, width: float, height: float) -> Iterator[_Box]:
    """Yield boxes around a point, the near ones first."""
    for radius in (7, 16, 28, 42, 60):
        for angle in (0, 4, 2, 6, 1, 7, 3, 5):  # eighths of a turn: right, left, above, below, then aslant
            x = place[0] + cos(angle * pi / 4) * (radius + width / 2)
            y = place[1] + sin(angle * pi / 4) * (radius + height / 2)
            yield x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _overlap(a: _Box, b: _Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
