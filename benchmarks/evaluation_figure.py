"""The figure of `benchmarks.evaluation`: what few labels are worth on real images, beside prompts alone.

    python -m benchmarks.evaluation_figure OUT docs/figures/evaluation-real.svg

OUT is that benchmark's folder. A panel a set: probes of few images a class and of all, with the deviation of the draws,
for both checkpoints; a line at each one's zero-shot; chance.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.evaluation import CHECKPOINTS, TASKS, Work, result
from wit.page import ACCENT, INK, QUIET, TEXT_PX, Html, inline_svg, quieten, svg_file

WIDTH_PX, HEIGHT_PX = 720, 330
_COLOURS = dict(zip(CHECKPOINTS, (ACCENT, INK), strict=True))


def main() -> None:
    """Draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("figure", type=Path)
    given = parser.parse_args()
    given.figure.write_text(svg_file(draw_shots(Work(given.out))), encoding="utf-8")


def draw_shots(work: Work) -> Html:
    """Return the figure of a folder's results."""

    def draw(canvas: Any) -> None:
        for place, task in enumerate(TASKS.values()):
            axes = canvas.add_axes((0.07 + 0.5 * place, 0.15, 0.42, 0.72), frameon=False)
            quieten(axes, "x")
            axes.set_xscale("log", base=2)
            ticks: set[float] = set()
            for name in CHECKPOINTS:
                found = {each: result(work, name, task, each) for each in ("zero_shot", "linear_probe", "few_shot")}
                ticks |= _draw_curve(axes, found, name)
            axes.axhline(
                100 * found["zero_shot"]["chance"], color=QUIET, linewidth=0.8, linestyle=(0, (1, 3)), label="chance"
            )
            axes.set_xticks(sorted(ticks), [f"{tick:g}" for tick in sorted(ticks)])
            axes.minorticks_off()
            axes.set_ylim(bottom=0)
            axes.set(xlabel="labels a class; the last: all", ylabel="" if place else "accuracy, %")
            axes.set_title(task, loc="left", fontsize=TEXT_PX, color=INK)
            if place:
                axes.legend(frameon=False, fontsize=TEXT_PX - 2, labelcolor=INK, loc="upper left")

    words = "Accuracy of probes over labels a class, of a trained and of a random checkpoint, with zero-shot as lines."
    return inline_svg(draw, WIDTH_PX, HEIGHT_PX, words)


def _draw_curve(axes: Any, found: Mapping[str, Mapping[str, Any]], name: str) -> set[float]:
    """Draw a checkpoint's curve and its zero-shot line; return the numbers of labels on it."""
    probed, colour = found["linear_probe"], _COLOURS[name]
    points = [(one["shots"], one["value"], one["deviation"]) for one in found["few_shot"]["details"]["curve"]]
    num_fitted = probed["details"]["num_train"] + probed["details"]["num_validation"]
    points.append((num_fitted / probed["num_classes"], probed["value"], 0))
    shots, values, deviations = zip(*points, strict=True)
    percent = [100 * value for value in values], [100 * deviation for deviation in deviations]
    axes.errorbar(shots, *percent, fmt="o-", color=colour, markersize=3.5, linewidth=1.6, label=f"{name}, probe")
    axes.axhline(
        100 * found["zero_shot"]["value"], color=colour, linestyle=(0, (4, 3)), linewidth=1, label=f"{name}, zero-shot"
    )
    return set(shots)


if __name__ == "__main__":
    main()
