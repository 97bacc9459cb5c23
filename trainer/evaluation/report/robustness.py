"""Robustness on a page: the table of shifts beside the paper's Table 16, and figures as its Figure 13."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from trainer.evaluation.report.figures import PANEL_PX, plain_name
from trainer.evaluation.report.grids import Chapter, Drawing, Grid, Part
from trainer.evaluation.report.shifts import Robustness, Shift, Shifted, Standards
from trainer.evaluation.report.summary import percent, points, span
from trainer.evaluation.terms import ADAPTED, CLASSIFIERS, OWN_NAMES, ZERO_SHOT
from wit.page import ACCENT, ALARM, INK, PAPER, QUIET, RULE, TEXT_PX, Html, inline_svg, quieten

_PAPERS = {ZERO_SHOT: "Zero-shot CLIP", OWN_NAMES: "Zero-shot CLIP", ADAPTED: "Linear-probe CLIP"}
_LOOKS = {ZERO_SHOT: ("*", ACCENT, ACCENT, 12), OWN_NAMES: ("s", ALARM, PAPER, 7), ADAPTED: ("D", INK, PAPER, 6)}
"""Of a classifier: marker, its colour, what fills it, its size."""
_OTHER = ("o", INK, PAPER, 6)
_TICKS = (0.1, 0.5, 1, 2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 99, 99.5, 99.9)


def robustness_chapter(found: Robustness) -> Chapter:
    """Return what a page says of a checkpoint under natural distribution shift."""
    mean = found.mean
    drawn = [(mean_title(found), mean.results, mean.standards)] if mean.results else []
    drawn += [(each.name, each.results, each.standards) for each in found.shifts]
    panels = [
        Drawing(partial(panel, title, marks, line), "")
        for title, own, line in drawn
        if (marks := marks_of(own)) or line
    ]
    parts: list[Part] = [_words(found), _grid(found), tuple(panels), _sets(found), *found.remarks]
    return Chapter("Robustness", "robustness", parts)


def mean_title(found: Robustness) -> str:
    """Return what its mean is over."""
    number = len(found.mean.over)
    return "mean of the paper's seven" if found.mean.is_the_papers else f"mean of {number} shift{'s' * (number != 1)}"


def _words(found: Robustness) -> str:
    words = (
        "Accuracy on sets of ImageNet's classes that come from elsewhere, beside ImageNet on the same classes. The "
        "paper's numbers are of its Table 16, in which ObjectNet and the video sets seem to be by their own names; "
        "its zero-shot model closes up to 75 % of the gap (Figure 13). Own names: a classifier of each set's own class "
        "names; adapted: a logistic regression fitted to ImageNet. Figures: accuracy under the shift over "
        "accuracy on ImageNet, both axes logits; the thin line is equal accuracy"
    )
    if not found.standard_source:
        return f"{words}."
    return f"{words}; grey: standard models ({found.standard_source}), their line and its band."


def _grid(found: Robustness) -> Grid:
    """Return the accuracies; where no standard models are known without what is measured against them."""
    columns = {"set": False, "classifier": False, "%": True, f"{100 * found.confidence:g} % interval": True}
    columns |= {"on ImageNet": True} | dict.fromkeys(_AGAINST if found.standard_source else (), True)
    columns |= {"relative": True, "the paper's": True}
    rows: list[dict[str, str | None]] = [
        {"set": "ImageNet", "classifier": CLASSIFIERS.get(name, name), "%": percent(value), _INTERVAL: span(interval)}
        for name, (value, interval) in found.imagenet.items()
    ]
    for shift in found.shifts:
        rows += [_row(shift.name, each, _published(shift, each)) for each in shift.results]
    rows += [_row(mean_title(found), each, None) for each in found.mean.results]
    title = "Accuracy under shift and on ImageNet's images of the same classes, %; robustness in points"
    keys = [_INTERVAL if name.endswith(_INTERVAL) else name for name in columns]
    return Grid(title, columns, [tuple(row.get(key) for key in keys) for row in rows])


_INTERVAL = "% interval"
_AGAINST = ("effective", "its interval", "gap closed, %")


def _published(shift: Shift, each: Shifted) -> float | None:
    """Return the paper's number, once a set: beside the set's own names where there are such, else beside zero-shot."""
    names = {one.classifier for one in shift.results}
    if each.classifier == ZERO_SHOT and OWN_NAMES in names:
        return None
    return shift.published.get(_PAPERS.get(each.classifier, ""))


def _row(title: str, each: Shifted, published: float | None) -> dict[str, str | None]:
    ends = each.effective_interval
    return {
        "set": title,
        "classifier": title_of(each),
        "%": percent(each.accuracy),
        _INTERVAL: None if each.interval is None else span(each.interval),
        "on ImageNet": percent(each.on_classes),
        "effective": points(each.effective),
        "its interval": None if ends is None else f"{points(ends[0])} to {points(ends[1])}",
        "gap closed, %": None if each.gap_closed is None else f"{round(100 * each.gap_closed)}",
        "relative": points(each.relative),
        "the paper's": percent(published),
    }


def _sets(found: Robustness) -> Grid:
    """Return what each set is, and the line of standard models through it."""
    columns = {"set": False, "images": True, "classes": True}
    columns |= {"standard models": True, "slope of logits": True, "r": True} if found.standard_source else {}
    columns |= {"remarks": False}
    rows: list[tuple[str | None, ...]] = []
    for each in found.shifts:
        line = _line(each.standards) if found.standard_source else ()
        frames = [
            f"{title_of(one)}: pm-0 {percent(one.pm0)}, pm-10 {percent(one.pm10)}"
            for one in each.results
            if one.pm0 is not None
        ]
        remarks = "; ".join((*each.remarks, *frames)) or None
        rows.append((each.name, f"{each.num_items:,}", f"{each.num_classes:,}", *line, remarks))
    if found.standard_source and found.mean.standards:
        rows.append((mean_title(found), None, None, *_line(found.mean.standards), None))
    return Grid("The sets", columns, rows)


def _line(line: Standards | None) -> tuple[str | None, ...]:
    return (f"{line.num_models:,}", f"{line.slope:.2f}", f"{line.correlation:.2f}") if line else (None, None, None)


@dataclass(frozen=True)
class Mark:
    """A point of a figure: what it is, and how it is drawn."""

    name: str
    x: float
    y: float
    look: tuple[str, str, str, int]
    """Marker, its colour, what fills it, its size."""


def marks_of(results: Sequence[Shifted]) -> list[Mark]:
    """Return a point a classifier; one that is always or never right has no logit, and no place."""
    return [
        Mark(title_of(each), each.x, each.accuracy, _LOOKS.get(each.classifier, _OTHER))
        for each in results
        if 0 < each.accuracy < 1 and 0 < each.x < 1
    ]


def title_of(each: Shifted) -> str:
    """Return how a page calls the classifier."""
    return CLASSIFIERS.get(each.classifier, each.classifier)


def panel(title: str, marks: Sequence[Mark], standards: Standards | None, size_px: tuple[int, int] = PANEL_PX) -> Html:
    """Return accuracy under a shift over that on ImageNet, in logits, with what is expected of standard models."""
    told = "; ".join(f"{each.name}: {percent(each.y)} % over {percent(each.x)} %" for each in marks)
    top = 1 - 52 / size_px[1]

    def draw(canvas: Any) -> None:
        bottom = 38 / size_px[1]
        axes = canvas.add_axes((0.13, bottom, 0.84, top - bottom), frameon=False)
        axes.set_title(plain_name(title, 40), fontsize=TEXT_PX, color=INK, loc="left", pad=22, parse_math=False)
        _draw_standards(axes, standards)
        for each in marks:
            marker, colour, fill, size = each.look
            axes.plot([each.x], [each.y], marker, color=colour, markerfacecolor=fill, markersize=size, zorder=5,
                      linestyle="", label=plain_name(each.name))  # fmt: skip
        spots = [(each.x, each.y) for each in marks]
        spots += [(each.x, each.y) for each in standards.spots] if standards else []
        _logit_axes(axes, spots)
        if marks:
            legend = axes.legend(
                frameon=False, fontsize=TEXT_PX - 2, labelcolor=INK, loc="lower left", bbox_to_anchor=(-0.05, 0.99),
                ncols=4, handletextpad=0.1, columnspacing=0.8, borderpad=0.2,
            )  # fmt: skip
            for entry in legend.get_texts():
                entry.set_parse_math(False)

    return inline_svg(draw, *size_px, f"{title}, accuracy over that on ImageNet. {told}.")


def _draw_standards(axes: Any, standards: Standards | None) -> None:
    if standards is None:
        return
    for is_standard, fill in ((True, QUIET), (False, PAPER)):
        mine = [each for each in standards.spots if each.is_standard == is_standard]
        axes.plot([each.x for each in mine], [each.y for each in mine], "o", color=QUIET, markerfacecolor=fill,
                  markersize=3, alpha=0.55, zorder=2)  # fmt: skip
    if standards.curve:
        x, y, low, high = zip(*standards.curve, strict=True)
        axes.fill_between(x, low, high, color=QUIET, alpha=0.2, linewidth=0, zorder=1)
        axes.plot(x, y, color=QUIET, linewidth=1.2, zorder=3)


def _logit_axes(axes: Any, spots: Sequence[tuple[float, float]]) -> None:
    """Set limits around what is drawn, round percentages and the line of equal accuracy."""
    from matplotlib.ticker import NullLocator

    quieten(axes, "")
    for place, (name, axis) in enumerate((("x", axes.xaxis), ("y", axes.yaxis))):
        low, high = _room([spot[place] for spot in spots if 0 < spot[place] < 1] or [0.1, 0.9])
        getattr(axes, f"set_{name}scale")("logit")
        getattr(axes, f"set_{name}lim")(low, high)
        ticks = [tick for tick in _TICKS if low <= tick / 100 <= high]
        shown = ticks[:: max(1, -(-len(ticks) // 6))]
        axis.set_ticks([tick / 100 for tick in shown], [f"{tick:g}" for tick in shown])
        axis.set_minor_locator(NullLocator())
    ends = [0.001, *(step / 100 for step in range(1, 100)), 0.999]
    axes.plot(ends, ends, color=RULE, linewidth=1.2, zorder=0)
    axes.set_xlabel("ImageNet, %")


def _room(values: Sequence[float]) -> tuple[float, float]:
    """Return limits that are a little outside of values, in logits."""
    low, high = min(values) / (1 - min(values)), max(values) / (1 - max(values))
    return low / 1.6 / (1 + low / 1.6), high * 1.6 / (1 + high * 1.6)
