"""Robustness on a page: the table of shifts beside the paper's Table 16, and figures as its Figure 13."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainer.evaluation.report.figures import PANEL_PX, plain_name
from trainer.evaluation.report.grids import Chapter, Drawing, Grid
from trainer.evaluation.report.shifts import Robustness, Shift, Shifted, Standards
from trainer.evaluation.report.summary import percent, points, span
from wit.page import ACCENT, ALARM, INK, PAPER, QUIET, RULE, TEXT_PX, Html, inline_svg, quieten

TITLES = {
    "zero_shot": "zero-shot",
    "own_names": "zero-shot, the set's own names",
    "adapted": "adapted to ImageNet",
}
_PAPERS = {"zero_shot": "Zero-shot CLIP", "own_names": "Zero-shot CLIP", "adapted": "Linear-probe CLIP"}
_MARKS = {"zero_shot": ("*", ACCENT, ACCENT, 12), "own_names": ("s", ALARM, PAPER, 7), "adapted": ("D", INK, PAPER, 6)}
"""Of a classifier: marker, its colour, what fills it, its size."""
_TICKS = (0.1, 0.5, 1, 2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 99, 99.5, 99.9)


def robustness_chapter(found: Robustness) -> Chapter:
    """Return what a page says of a checkpoint under natural distribution shift."""
    mean = found.mean
    panels = [Drawing(panel(_mean_title(found), mean.results, mean.standards), "")] if mean.results else []
    panels += [Drawing(panel(each.name, each.results, each.standards), "") for each in found.shifts]
    parts: list[str | Grid | Drawing | tuple[Drawing, ...]] = [_words(found), _grid(found), tuple(panels)]
    if found.standard_source:
        parts.append(_lines(found))
    return Chapter("Robustness", "robustness", [*parts, *found.remarks])


def _mean_title(found: Robustness) -> str:
    return "mean of the paper's seven" if found.mean.is_the_papers else f"mean of {len(found.mean.over)} shifts"


def _words(found: Robustness) -> str:
    words = (
        "Accuracy on sets of ImageNet's classes that come from elsewhere, beside ImageNet on the same classes. The "
        "paper's numbers are of its Table 16, in which ObjectNet and the video sets seem to be by their own names; "
        "its zero-shot model closes up to 75 % of the gap (Figure 13). Figures: accuracy under the shift over "
        "accuracy on ImageNet, both axes logits; the thin line is equal accuracy"
    )
    if not found.standard_source:
        return f"{words}. Effective robustness is not known: it takes accuracies of standard models (--standard FILE)."
    return f"{words}; grey: standard models ({found.standard_source}), their line and its band."


def _grid(found: Robustness) -> Grid:
    columns = {
        "set": False, "classifier": False, "%": True, f"{100 * found.confidence:g} % interval": True,
        "ImageNet on its classes": True, "effective, points": True, "its interval": True, "gap closed, %": True,
        "relative, points": True, "the paper's": True, "images": True, "remarks": False,
    }  # fmt: skip
    rows: list[tuple[str | None, ...]] = [
        (
            "ImageNet",
            TITLES.get(name, name),
            percent(value),
            span(interval),
            *[None] * 5,
            None,
            f"{found.num_items:,}",
            None,
        )
        for name, (value, interval) in found.imagenet.items()
    ]
    for shift in found.shifts:
        rows += [_row(shift.name, each, _published(shift, each), shift) for each in shift.results]
    rows += [_row(_mean_title(found), each, None, None) for each in found.mean.results]
    return Grid("Accuracy under shift, %", columns, rows)


def _published(shift: Shift, each: Shifted) -> float | None:
    """Return the paper's number, once a set: beside the set's own names where there are such, else beside zero-shot."""
    names = {one.classifier for one in shift.results}
    if each.classifier == "zero_shot" and "own_names" in names:
        return None
    return shift.published.get(_PAPERS.get(each.classifier, ""))


def _row(title: str, each: Shifted, published: float | None, shift: Shift | None) -> tuple[str | None, ...]:
    remarks = list(shift.remarks) if shift else []
    if each.pm0 is not None and each.pm10 is not None:
        remarks.append(f"pm-0 {percent(each.pm0)}, pm-10 {percent(each.pm10)}")
    return (
        title,
        TITLES.get(each.classifier, each.classifier),
        percent(each.accuracy),
        None if each.interval is None else span(each.interval),
        percent(each.on_classes),
        points(each.effective),
        None if each.effective_interval is None else " to ".join(str(points(end)) for end in each.effective_interval),
        None if each.gap_closed is None else f"{100 * each.gap_closed:.0f}",
        points(each.relative),
        percent(published),
        f"{shift.num_items:,}" if shift else None,
        "; ".join(remarks) or None,
    )


def _lines(found: Robustness) -> Grid:
    columns = {"set": False, "standard models": True, "slope of logits": True, "correlation": True}
    lines = [(each.name, each.standards) for each in found.shifts] + [(_mean_title(found), found.mean.standards)]
    rows = [
        (name, f"{line.num_models:,}", f"{line.slope:.2f}", f"{line.correlation:.2f}") for name, line in lines if line
    ]
    return Grid("The lines of standard models", columns, rows)


def panel(title: str, results: Sequence[Shifted], standards: Standards | None) -> Html:
    """Return accuracy under a shift over that on ImageNet, in logits, with what is expected of standard models."""
    width, height = PANEL_PX
    told = "; ".join(
        f"{TITLES.get(each.classifier, each.classifier)}: {percent(each.accuracy)} % over {percent(each.x)} %"
        for each in results
    )

    def draw(canvas: Any) -> None:
        axes = canvas.add_axes((0.13, 0.2, 0.84, 0.56), frameon=False)
        axes.set_title(plain_name(title, 40), fontsize=TEXT_PX, color=INK, loc="left", pad=22, parse_math=False)
        _draw_standards(axes, standards)
        drawn = [each for each in results if 0 < each.accuracy < 1 and 0 < each.x < 1]
        for each in drawn:
            marker, colour, fill, size = _MARKS.get(each.classifier, ("o", INK, PAPER, 6))
            axes.plot([each.x], [each.accuracy], marker, color=colour, markerfacecolor=fill, markersize=size, zorder=5,
                      linestyle="", label=TITLES.get(each.classifier, each.classifier))  # fmt: skip
        _logit_axes(axes, drawn, standards)
        if drawn:
            axes.legend(frameon=False, fontsize=TEXT_PX - 2, labelcolor=INK, loc="lower left", ncols=3,
                        bbox_to_anchor=(-0.05, 0.99), handletextpad=0.1, columnspacing=0.8, borderpad=0.2)  # fmt: skip

    return inline_svg(draw, width, height, f"{title}, accuracy over that on ImageNet. {told}.")


def _draw_standards(axes: Any, standards: Standards | None) -> None:
    if standards is None:
        return
    axes.plot([each.x for each in standards.spots], [each.y for each in standards.spots], "o", color=QUIET,
              markersize=3, alpha=0.55, zorder=2)  # fmt: skip
    if standards.curve:
        x, y, low, high = zip(*standards.curve, strict=True)
        axes.fill_between(x, low, high, color=QUIET, alpha=0.2, linewidth=0, zorder=1)
        axes.plot(x, y, color=QUIET, linewidth=1.2, zorder=3)


def _logit_axes(axes: Any, results: Sequence[Shifted], standards: Standards | None) -> None:
    """Set limits around what is drawn, round percentages and the line of equal accuracy."""
    spots = standards.spots if standards else ()
    x = [each.x for each in results] + [each.x for each in spots]
    y = [each.accuracy for each in results] + [each.y for each in spots]
    quieten(axes, "")
    for name, values in (("x", x), ("y", y)):
        low, high = _room([value for value in values if 0 < value < 1] or [0.1, 0.9])
        axis = axes.xaxis if name == "x" else axes.yaxis
        getattr(axes, f"set_{name}scale")("logit")
        getattr(axes, f"set_{name}lim")(low, high)
        ticks = [tick for tick in _TICKS if low <= tick / 100 <= high]
        shown = ticks[:: max(1, -(-len(ticks) // 6))]
        axis.set_ticks([tick / 100 for tick in shown], [f"{tick:g}" for tick in shown])
        axis.set_minor_locator(_nothing())
    ends = [0.001, *(step / 100 for step in range(1, 100)), 0.999]
    axes.plot(ends, ends, color=RULE, linewidth=1.2, zorder=0)
    axes.set_xlabel("ImageNet, %")


def _room(values: Sequence[float]) -> tuple[float, float]:
    """Return limits that are a little outside of values, in logits."""
    low, high = min(values) / (1 - min(values)), max(values) / (1 - max(values))
    return low / 1.6 / (1 + low / 1.6), high * 1.6 / (1 + high * 1.6)


def _nothing() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()
