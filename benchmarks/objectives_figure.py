"""The figure and the table of `benchmarks.objectives`: accuracy over images seen, the seeds of an objective as a band.

    python -m benchmarks.objectives_figure curves.jsonl [--figure docs/figures/objectives.svg] [--chance 0.1]

Of JSON lines {"objective", "seed", "images_seen", "accuracy"}, a line a checkpoint that was evaluated; the objective of
the first line is what the others are measured against (the paper's Figure 2: captions). Prints a table in Markdown.

Images to reach an accuracy: the accuracy is one that every seed of the first objective has, the best that its worst
seed attains. An objective that has it at its first checkpoint needs so many or fewer.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

from trainer.evaluation.scaling import compare_efficiency, examples_to_reach
from wit.errors import InputError
from wit.page import ACCENT, ALARM, INK, QUIET, TEXT_PX, Html, inline_svg, quieten, svg_file

WIDTH_PX, HEIGHT_PX = 620, 400
_LOOKS = ((INK, "-"), (ALARM, "--"), (ACCENT, "-"), (QUIET, ":"), (ALARM, ":"), (ACCENT, "--"))

Curve = tuple[tuple[float, ...], tuple[float, ...]]
"""Images seen, rising, and the accuracy at each, 0 to 1."""
Curves = Mapping[str, Mapping[int, Curve]]
"""By objective, as they come, then by seed."""


def read_curves(path: Path) -> Curves:
    """Return the curves of a file of JSON lines; raises InputError for a line that is none, or uneven seeds."""
    points: dict[str, dict[int, dict[float, float]]] = defaultdict(lambda: defaultdict(dict))
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            points[row["objective"]][row["seed"]][float(row["images_seen"])] = float(row["accuracy"])
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"{path}, line {number}: expected objective, seed, images_seen and accuracy, found {line[:60]!r}"
            ) from error
    if not points:
        raise InputError(f"{path}: expected a line a checkpoint, found none; run benchmarks.objectives")
    curves = {
        name: {seed: (tuple(sorted(own)), tuple(own[seen] for seen in sorted(own))) for seed, own in seeds.items()}
        for name, seeds in points.items()
    }
    for name, seeds in curves.items():
        if len({seen for seen, _ in seeds.values()}) > 1:
            raise InputError(f"{path}: expected checkpoints after as many images of every seed, of {name} found others")
    return curves


@dataclass(frozen=True)
class Reached:
    """How soon an objective has an accuracy, over its seeds."""

    objective: str
    last: tuple[float, ...]
    """Accuracy at the end, by seed."""
    images: tuple[float | None, ...]
    """Images to reach the target; None: not reached."""
    times: tuple[float | None, ...]
    """How many times fewer than the first objective with the same seed."""
    is_bound: tuple[bool, ...]
    """Whether it has the accuracy at its first checkpoint already: so many images or fewer."""


def target_of(curves: Curves) -> float:
    """Return the accuracy that every seed of the first objective attains."""
    first = next(iter(curves.values()))
    return min(max(accuracy) for _, accuracy in first.values())


def compare(curves: Curves, target: float) -> list[Reached]:
    """Return how soon each objective has an accuracy; seeds that the first objective has not give no ratio."""
    baseline = next(iter(curves))
    found = []
    for name, seeds in curves.items():
        times = []
        for seed, own in seeds.items():
            first = curves[baseline].get(seed)
            pair = compare_efficiency({baseline: first, name: own}, baseline, target)[-1].times if first else None
            times.append(pair)
        images = tuple(examples_to_reach(seen, accuracy, target) for seen, accuracy in seeds.values())
        last = tuple(accuracy[-1] for _, accuracy in seeds.values())
        is_bound = tuple(accuracy[0] >= target for _, accuracy in seeds.values())
        found.append(Reached(name, last, images, tuple(times), is_bound))
    return found


def table(curves: Curves, target: float) -> Iterator[str]:
    """Yield the lines of a Markdown table: the end, images to reach the target, and how many times fewer."""
    yield f"| objective | seeds | accuracy at the end | images to {target:.1%} | times fewer |"
    yield "|---|---:|---:|---:|---:|"
    for each in compare(curves, target):
        images = _spread(each.images, ",.0f", each.is_bound, "≤ ")
        times = _spread(each.times, ".1f", each.is_bound, "≥ ")
        last = _spread([100 * end for end in each.last], ".1f")
        yield f"| {each.objective} | {len(each.last)} | {last} % | {images} | {times} |"


def _spread(values: Sequence[float | None], form: str, is_bound: Sequence[bool] = (), mark: str = "") -> str:
    """Return the median and, of several, the lowest and the highest; those that are bounds after a mark.

    A median of values of which one is a bound may be one, too, and has the mark.
    """
    known = sorted(value for value in values if value is not None)
    if not known:
        return "not reached"
    bounds = {value for value, bound in zip(values, is_bound, strict=bool(is_bound)) if bound}
    shown = f"{mark if bounds else ''}{median(known):{form}}"
    if len(known) > 1:
        low, high = (f"{mark if end in bounds else ''}{end:{form}}" for end in (known[0], known[-1]))
        shown += f" ({low} to {high})"
    missing = len(values) - len(known)
    return f"{shown}; {missing} of {len(values)} do not" if missing else shown


def draw_curves(curves: Curves, target: float, chance: float | None = None) -> Html:
    """Return the figure: the mean of the seeds as a line, from the lowest to the highest as a band."""
    told = "; ".join(
        f"{name}: {100 * fmean(accuracy[-1] for _, accuracy in seeds.values()):.1f} %" for name, seeds in curves.items()
    )

    def draw(canvas: Any) -> None:
        axes = canvas.add_axes((0.08, 0.12, 0.89, 0.72), frameon=False)
        quieten(axes, "x")
        axes.set_xscale("log")
        for (name, seeds), (colour, style) in zip(curves.items(), _LOOKS, strict=False):
            seen = next(iter(seeds.values()))[0]
            columns = list(zip(*(accuracy for _, accuracy in seeds.values()), strict=True))
            low, mean, high = ([100 * of(each) for each in columns] for of in (min, fmean, max))
            axes.fill_between(seen, low, high, color=colour, alpha=0.13, linewidth=0)
            axes.plot(seen, mean, style, color=colour, marker="o", markersize=3.5, linewidth=1.6, label=name)
        axes.axhline(100 * target, color=QUIET, linewidth=0.8, linestyle=(0, (4, 3)))
        if chance is not None:
            axes.axhline(100 * chance, color=QUIET, linewidth=0.8, linestyle=(0, (1, 3)))
        ticks = sorted({one for seeds in curves.values() for seen, _ in seeds.values() for one in seen})
        _label(axes, ticks)

    words = "Zero-shot accuracy over images seen, the range of the seeds as a band. At the end, mean: "
    return inline_svg(draw, WIDTH_PX, HEIGHT_PX, f"{words}{told}.")


def _label(axes: Any, ticks: Sequence[float]) -> None:
    """Write round numbers of images at every other place where points lie, and the names above."""
    apart = [ticks[0]]
    for tick in ticks[1:]:
        apart += [tick] if tick / apart[-1] >= 1.9 else []
    axes.set_xticks(apart, [f"{tick:,.0f}" for tick in apart])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set(xlabel="images seen", ylabel="zero-shot accuracy, %")
    axes.legend(
        frameon=False, fontsize=TEXT_PX - 1, labelcolor=INK, loc="lower left", bbox_to_anchor=(-0.02, 1.01), ncols=2,
        columnspacing=1.6, handlelength=2.6, borderpad=0.2,
    )  # fmt: skip


def main() -> None:
    """Print the table and draw the figure of a file of curves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("curves", type=Path)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--chance", type=float)
    options = parser.parse_args()
    curves = read_curves(options.curves)
    target = target_of(curves)
    print("\n".join(table(curves, target)))
    if options.figure:
        options.figure.write_text(svg_file(draw_curves(curves, target, options.chance)), encoding="utf-8")


if __name__ == "__main__":
    main()
