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


SERIES = tuple((colour, style) for style in ("-", "--", ":") for colour in (ACCENT, INK, ALARM, QUIET))
"""Colours and lines of several curves; there are twelve."""

PANEL_PX = 330, 215
"""Of a figure that stands in a row of its like."""


def prompt_gains(rows: Sequence[tuple[str, Mapping[str, float]]], label: str) -> Html:
    """Return points over the class name alone, a mark a way to word it; `rows`: title, and points by PROMPT_MARKS."""
    told = "; ".join(
        f"{title}: " + ", ".join(f"{name} {gain:+.1f}" for name, gain in own.items()) for title, own in rows
    )
    height = _LEGEND_PX + 40 + _ROW_PX * len(rows)

    def draw(canvas: Any) -> None:
        axes = _rows(canvas, height, [title for title, _ in rows])
        axes.axvline(0, color=INK, linewidth=1)
        for row, (_, own) in enumerate(rows):
            axes.plot([0, *own.values()], [row] * (len(own) + 1), color=RULE, linewidth=5, solid_capstyle="round")
            for name, gain in own.items():
                marker, colour, fill = PROMPT_MARKS[name]
                axes.plot([gain], [row], marker, color=colour, markerfacecolor=fill, markersize=6.5, zorder=4)
        axes.set_xlabel("points over the class name alone")
        used = [name for name in PROMPT_MARKS if any(name in own for _, own in rows)]
        _legend(axes, [(name, colour, marker, fill) for name in used for marker, colour, fill in [PROMPT_MARKS[name]]])

    return inline_svg(draw, WIDTH_PX, height, f"{label} {told}.")


PROMPT_MARKS = {
    "default": ("o", INK, PAPER),
    "single, mean": ("|", QUIET, QUIET),
    "ensemble": ("o", ACCENT, ACCENT),
}
"""How a way to word classes is drawn: marker, its colour, what fills it."""


def shots_panel(title: str, points: Sequence[Shots], zero_shot: float | None, match: float | None) -> Html:
    """Return one curve over examples a class, with its band; zero-shot as a level, and where the curve reaches it."""
    width, height = PANEL_PX
    told = ", ".join(f"{100 * each.value:.1f} % at {each.num_shots:g}" for each in points)
    level = f" Zero-shot: {100 * zero_shot:.1f} %." if zero_shot is not None else ""

    def draw(canvas: Any) -> None:
        axes = canvas.add_axes((0.12, 0.2, 0.84, 0.66), frameon=False)
        axes.set_title(plain_name(title, 44), fontsize=TEXT_PX, color=INK, loc="left", parse_math=False)
        axes.set_xscale("log", base=2)
        shots, values = [each.num_shots for each in points], [100 * each.value for each in points]
        bands = [(each.num_shots, *shots_band(each)) for each in points if shots_band(each)]
        if bands:
            x, low, high = zip(*bands, strict=True)
            axes.fill_between(x, [100 * end for end in low], [100 * end for end in high],
                              color=ACCENT, alpha=0.16, linewidth=0)  # fmt: skip
        axes.plot(shots, values, color=ACCENT, marker="o", markersize=4, linewidth=1.5)
        if zero_shot is not None:
            axes.axhline(100 * zero_shot, color=ALARM, linewidth=1.2, linestyle="--")
            if match is not None:
                axes.plot([match], [100 * zero_shot], "o", markersize=8, color=ALARM, markerfacecolor="none")
        quieten(axes, "")
        axes.set_xticks(shots, [f"{each:g}" for each in shots])
        axes.set_xlabel("labelled examples a class")

    return inline_svg(draw, width, height, f"{title}: {told}.{level}")


def shots_band(point: Shots) -> tuple[float, float] | tuple[()]:
    """Return the interval of a point, else a deviation to either side of it; nothing where neither is known."""
    if point.interval is not None:
        return point.interval
    spread = point.deviation
    return () if spread is None else (max(0.0, point.value - spread), min(1.0, point.value + spread))


def labels_to_match(rows: Sequence[tuple[str, float, str]], label: str) -> Html:
    """Return labels a class that zero-shot is worth, as the paper's Figure 7; `rows`: title, number, words for it."""
    told = "; ".join(f"{title}: {words}" for title, _, words in rows)
    height = 50 + _ROW_PX * len(rows)

    def draw(canvas: Any) -> None:
        axes = _rows(canvas, height, [title for title, _, _ in rows], legend_px=10)
        axes.set_xscale("log")
        start = min(0.5, *(number for _, number, _ in rows)) / 1.2
        for row, (_, number, words) in enumerate(rows):
            axes.barh(row, number - start, left=start, height=0.62, color=ACCENT)
            axes.annotate(
                words, (number, row), (4, 0), textcoords="offset points", va="center", color=INK, size=_NAME_PX
            )
        most = max(number for _, number, _ in rows)
        axes.set_xlim(start, 1.6 * most)
        ticks = [tick for tick in (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500) if start <= tick <= 1.6 * most]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel("labelled examples a class that a probe needs to match zero-shot")

    return inline_svg(draw, WIDTH_PX, height, f"{label} {told}.")


def people_and_model(rows: Sequence[tuple[str, float, float]], label: str) -> Html:
    """Return accuracy by class of people and of a model; `rows`: class and the two shares."""
    told = "; ".join(f"{name}: {100 * people:.0f} and {100 * model:.0f} %" for name, people, model in rows)
    height = _LEGEND_PX + 34 + _ROW_PX * len(rows)

    def draw(canvas: Any) -> None:
        axes = _rows(canvas, height, [name for name, _, _ in rows])
        for row, (_, people, model) in enumerate(rows):
            axes.plot([100 * people, 100 * model], [row, row], color=RULE, linewidth=5, solid_capstyle="round")
            axes.plot(
                [100 * people], [row], "o", color=INK, markerfacecolor=PAPER, markersize=7, clip_on=False, zorder=3
            )
            axes.plot([100 * model], [row], "o", color=ACCENT, markersize=5, clip_on=False, zorder=4)
        axes.set_xlim(-2, 102)
        axes.set_xlabel("right, %")
        _legend(axes, [("people", INK, "o", PAPER), ("the model", ACCENT, "o")])

    return inline_svg(draw, WIDTH_PX, height, f"{label} {told}.")


def confusion(pairs: Sequence[Confusion], names: Sequence[str]) -> Html:
    """Return a square a pair of the classes in `names`: the share of a row's images that are taken for a column's."""
    share = {(each.label, each.prediction): each.times / each.num_items for each in pairs}
    side, size = 34, len(names)
    left, bottom = 150, 110
    width, height = left + max(side * size, 170) + 8, bottom + side * size + 8
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
        axes.set_xlabel("taken for, % of the row's images", color=QUIET, fontsize=_NAME_PX, loc="left")

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


def _legend(axes: Any, entries: Sequence[tuple[str, ...]]) -> None:
    """Write what marks mean above the axes; `entries`: words, colour, marker, and what fills it if not its colour."""
    for words, colour, marker, *fill in entries:
        is_line = marker == "_"
        look: dict[str, Any] = {"linewidth": 7} if is_line else {"marker": marker, "linestyle": ""}
        look |= {"markerfacecolor": fill[0]} if fill else {}
        axes.plot([], [], color=colour, label=words, markersize=6, markeredgewidth=1.5, **look)
    axes.legend(
        frameon=False, fontsize=_NAME_PX, labelcolor=INK, loc="lower left", bbox_to_anchor=(-0.42, 1.0), ncols=3,
        columnspacing=1.4, handletextpad=0.5, borderpad=0.2,
    )  # fmt: skip


def halo() -> dict[str, Any]:
    """Return how a point is drawn that may lie upon others: with a rim in the colour of the page."""
    return {"markeredgecolor": PAPER, "markeredgewidth": 0.8}
