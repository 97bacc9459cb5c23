"""The figures of a checkpoint's page: accuracy by task, zero-shot beside a probe, few shots, confused classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trainer.evaluation.report.mistakes import Confusion
from trainer.evaluation.report.published import GIVEN
from trainer.evaluation.report.results import Result, Shots
from trainer.evaluation.report.summary import beside
from wit.page import ACCENT, ALARM, INK, PAPER, QUIET, RULE, TEXT_PX, Html, inline_svg, quieten

WIDTH_PX = 560
MAX_NAME = 30
_ROW_PX = 21
_NAME_PX = TEXT_PX - 1
_LEGEND_PX = 32


def plain_name(name: str, longest: int = MAX_NAME) -> str:
    """Return a name as a figure can hold it: what shows nothing, or is no sign of XML, becomes a question mark."""
    shown = "".join(sign if sign.isprintable() else "?" for sign in name[: longest + 1])
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def by_task(results: Sequence[Result], titles: Mapping[str, str]) -> Html:
    """Return each task's value with its interval, chance, and the range of the paper's models."""
    has_published = any(beside(each) for each in results)
    told = "; ".join(f"{titles[each.task]}: {100 * each.value:.1f} %" for each in results)
    height = _LEGEND_PX + 34 + _ROW_PX * len(results)

    def draw(canvas: Any) -> None:
        axes = _rows(canvas, height, [titles[each.task] for each in results])
        for row, each in enumerate(results):
            numbers = [found.percent for found in beside(each).values() if found.status != GIVEN]
            if numbers:
                axes.plot([min(numbers), max(numbers)], [row, row], color=RULE, linewidth=7, solid_capstyle="round")
            if each.interval:
                axes.plot([100 * end for end in each.interval], [row, row], color=ACCENT, linewidth=1.5, zorder=3)
            if each.chance is not None:
                axes.plot([100 * each.chance], [row], "|", color=ALARM, markersize=9, markeredgewidth=1.5, zorder=3)
            axes.plot([100 * each.value], [row], "o", color=ACCENT, markersize=6, zorder=4, clip_on=False)
        axes.set_xlim(0, 100)
        axes.set_xlabel("%, in the metric of the task")
        entries = [("this checkpoint, with its interval", ACCENT, "o"), ("chance", ALARM, "|")]
        _legend(axes, [*entries, ("the paper's models", RULE, "_")] if has_published else entries)

    return inline_svg(draw, WIDTH_PX, height, f"Result of each task. {told}.")


def differences(rows: Sequence[tuple[str, float]], label: str, axis: str) -> Html:
    """Return a bar a task of a difference in points, as the paper's Figure 5 has them; `rows`: title and points."""
    told = "; ".join(f"{title}: {points:+.1f}" for title, points in rows)
    height = 50 + _ROW_PX * len(rows)

    def draw(canvas: Any) -> None:
        axes = _rows(canvas, height, [title for title, _ in rows], legend_px=10)
        for row, (_, points) in enumerate(rows):
            axes.barh(row, points, height=0.62, color=ACCENT if points >= 0 else ALARM)
            side = 1 if points >= 0 else -1
            axes.annotate(
                f"{points:+.1f}", (points, row), (4 * side, 0), textcoords="offset points", va="center",
                ha="left" if points >= 0 else "right", color=INK, size=_NAME_PX,
            )  # fmt: skip
        axes.axvline(0, color=INK, linewidth=1)
        ends = [0.0, *(points for _, points in rows)]
        room = 0.18 * (max(ends) - min(ends)) or 1.0
        axes.set_xlim(min(ends) - room, max(ends) + room)
        axes.set_xlabel(axis)

    return inline_svg(draw, WIDTH_PX, height, f"{label} {told}.")


def few_shot(curves: Sequence[tuple[str, Sequence[Shots], float | None]]) -> Html:
    """Return accuracy over examples a class; `curves`: title, points, and the zero-shot value where there is one."""
    told = "; ".join(
        f"{title}: " + ", ".join(f"{100 * each.value:.1f} % at {each.num_shots:g}" for each in points)
        for title, points, _ in curves
    )
    height = 330

    def draw(canvas: Any) -> None:
        axes = canvas.add_axes((0.1, 0.15, 0.6, 0.8), frameon=False)
        axes.set_xscale("log", base=2)
        for index, (_, points, zero_shot) in enumerate(curves):
            colour, style = SERIES[index % len(SERIES)]
            x, y = [each.num_shots for each in points], [100 * each.value for each in points]
            axes.plot(x, y, style, color=colour, marker="o", markersize=4, linewidth=1.5)
            if zero_shot is not None:
                axes.plot([x[0]], [100 * zero_shot], "*", color=colour, markersize=11, clip_on=False, zorder=4)
        shots = sorted({each.num_shots for _, points, _ in curves for each in points})
        quieten(axes, "")
        axes.set_xticks(shots, [f"{each:g}" for each in shots])
        axes.set(xlabel="labelled examples a class", ylabel="%, in the metric of the task")
        last = [(title, 100 * points[-1].value) for title, points, _ in curves]
        _end_names(axes, shots[-1], last)

    return inline_svg(draw, WIDTH_PX, height, f"Results over labelled examples a class; a star is zero-shot. {told}.")


SERIES = tuple((colour, style) for style in ("-", "--", ":") for colour in (ACCENT, INK, ALARM, QUIET))
"""Colours and lines of several curves; there are twelve."""


def _end_names(axes: Any, x: float, last: Sequence[tuple[str, float]]) -> None:
    """Write names at the right of the curves, moved apart where they would touch."""
    low, high = axes.get_ylim()
    gap = (high - low) * 1.35 * _NAME_PX / axes.bbox.height
    place = float("-inf")
    for index in sorted(range(len(last)), key=lambda index: last[index][1]):
        title, y = last[index]
        place = max(y, place + gap)
        axes.annotate(
            plain_name(title, 22), (x, place), (10, 0), textcoords="offset points", va="center", parse_math=False,
            color=SERIES[index % len(SERIES)][0], size=_NAME_PX, annotation_clip=False,
        )  # fmt: skip


def confusion(pairs: Sequence[Confusion], names: Sequence[str]) -> Html:
    """Return a square a pair of the classes in `names`: the share of a row's images that are taken for a column's."""
    share = {(each.label, each.prediction): each.times / each.num_items for each in pairs}
    side, size = 34, len(names)
    left, bottom = 150, 110
    width, height = left + side * size + 8, bottom + side * size + 8
    told = "; ".join(
        f"{label} for {guess}: {100 * part:.0f} %"
        for (label, guess), part in share.items()
        if label in names and guess in names
    )

    def draw(canvas: Any) -> None:
        axes = canvas.add_axes(
            (left / width, bottom / height, side * size / width, side * size / height), frameon=False
        )
        for row, label in enumerate(names):
            for column, guess in enumerate(names):
                part = share.get((label, guess), 0.0)
                if row == column:
                    axes.add_patch(_square(column, row, RULE, 1.0))
                elif part:
                    axes.add_patch(_square(column, row, ACCENT, 0.12 + 0.6 * part))
                    axes.text(column, row, f"{100 * part:.0f}", ha="center", va="center", color=INK, size=_NAME_PX)
        axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5))
        shown = [plain_name(name, 20) for name in names]
        axes.set_yticks(range(size), shown, parse_math=False)
        axes.set_xticks(range(size), shown, rotation=45, ha="right", rotation_mode="anchor", parse_math=False)
        axes.tick_params(length=0, labelsize=_NAME_PX, labelcolor=INK)
        axes.set_xlabel("taken for, % of the row's images", color=QUIET, fontsize=_NAME_PX)

    return inline_svg(draw, width, height, f"Classes that are confused most. {told}.")


def _square(column: int, row: int, colour: str, alpha: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.47, row - 0.47), 0.94, 0.94, facecolor=colour, alpha=alpha, linewidth=0)


def _rows(canvas: Any, height: int, names: Sequence[str], legend_px: int = _LEGEND_PX) -> Any:
    """Return axes with a row a name, the first at the top."""
    left, bottom = 180, 38
    place = (
        left / WIDTH_PX,
        bottom / height,
        (WIDTH_PX - left - 16) / WIDTH_PX,
        (height - bottom - legend_px) / height,
    )
    axes = canvas.add_axes(place, frameon=False)
    quieten(axes, "")
    axes.set_yticks(range(len(names)), [plain_name(name) for name in names], parse_math=False)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    return axes


def _legend(axes: Any, entries: Sequence[tuple[str, str, str]]) -> None:
    for words, colour, marker in entries:
        is_line = marker == "_"
        look: dict[str, Any] = {"linewidth": 7} if is_line else {"marker": marker, "linestyle": ""}
        axes.plot([], [], color=colour, label=words, markersize=6, markeredgewidth=1.5, **look)
    axes.legend(
        frameon=False, fontsize=_NAME_PX, labelcolor=INK, loc="lower left", bbox_to_anchor=(-0.42, 1.0), ncols=3,
        columnspacing=1.4, handletextpad=0.5, borderpad=0.2,
    )  # fmt: skip


def halo() -> dict[str, Any]:
    """Return how a point is drawn that may lie upon others: with a rim in the colour of the page."""
    return {"markeredgecolor": PAPER, "markeredgewidth": 0.8}
