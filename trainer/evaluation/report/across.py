"""What only several checkpoints tell: error over compute, zero-shot over a probe, robustness beside accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean, median

import numpy as np

from trainer.evaluation.comparing import Relation, relate
from trainer.evaluation.lines import fit_line, resample_lines
from trainer.evaluation.report import plots
from trainer.evaluation.report.figures import SERIES, WIDTH_PX
from trainer.evaluation.report.grids import Chapter, Drawing, Grid, Part
from trainer.evaluation.report.plots import Scaled, Series, Spot
from trainer.evaluation.report.published import GIVEN
from trainer.evaluation.report.results import COMPUTE, Checkpoint
from trainer.evaluation.report.robustness import Mark, mean_title, panel
from trainer.evaluation.report.shifts import Robustness, Shifted
from trainer.evaluation.report.summary import (
    beside,
    common_mean,
    common_tasks,
    percent,
    points,
    task_title,
    zero_shot_and_probe,
)
from trainer.evaluation.scaling import RESNET_GMACS, PowerLaw, fit_power_law
from trainer.evaluation.terms import ZERO_SHOT
from wit.page import ACCENT, QUIET

MIN_FITTED = 3
"""Points from which a line says anything: through two there is always one."""
MIN_BAND = 5
"""Points from which drawing them anew says how far a line may be off."""
CLOSE = 0.03
"""Zero-shot within 3 points of the probe: so the paper has it of five data sets (section 3.2)."""


def chapters(checkpoints: Sequence[Checkpoint]) -> list[Chapter]:
    """Return the parts of a comparison that there are results for."""
    found = [scaling_chapter(checkpoints), relation_chapter(checkpoints), robustness_chapter(checkpoints)]
    return [each for each in found if each]


@dataclass(frozen=True)
class Scaling:
    """Mean zero-shot errors over one kind of compute, on the same tasks."""

    key: str
    tasks: tuple[str, ...]
    mine: tuple[Scaled, ...]
    papers: tuple[Scaled, ...]
    """The paper's ResNets, where all five have verified numbers of all these tasks."""

    @property
    def law(self) -> PowerLaw | None:
        """The law of the checkpoints, of MIN_FITTED or more."""
        return _law(self.mine)

    @property
    def papers_law(self) -> PowerLaw | None:
        """That of the paper's."""
        return _law(self.papers)


def _law(spots: Sequence[Scaled]) -> PowerLaw | None:
    compute = [one.compute for one in spots]
    return fit_power_law(compute, [one.error for one in spots]) if len(set(compute)) >= MIN_FITTED else None


def scalings(checkpoints: Sequence[Checkpoint]) -> list[Scaling]:
    """Return the errors over each kind of compute that two checkpoints or more have.

    Over all tasks that they share; and, over the forward pass, over those of which the paper's ResNets have numbers.
    """
    found = []
    for key in COMPUTE:
        mine = [one for one in checkpoints if key in one.compute and one.of(ZERO_SHOT)]
        if len({one.compute[key] for one in mine}) < 2:
            continue
        tasks = common_tasks(mine, ZERO_SHOT)
        shared = [task for task in tasks if _has_resnets(mine, task)] if key == "gflops_per_image" else []
        chosen = [shared] if tasks == shared else [tasks, shared]
        found += [_scaling(key, mine, each) for each in chosen if each]
    return [each for each in found if len(each.mine) > 1]


def _scaling(key: str, checkpoints: Sequence[Checkpoint], tasks: Sequence[str]) -> Scaling:
    spots = [
        Scaled(one.name, one.compute[key], 1 - mean)
        for one in checkpoints
        if (mean := common_mean(one, ZERO_SHOT, tasks)) is not None and mean < 1
    ]
    own = checkpoints[0].of(ZERO_SHOT)
    is_shared = key == "gflops_per_image" and all(_has_resnets(checkpoints, task) for task in tasks)
    papers = [
        Scaled(name, compute, 1 - fmean(beside(own[task])[name].percent for task in tasks) / 100)
        for name, compute in RESNET_GMACS.items()
        if is_shared
    ]
    return Scaling(key, tuple(tasks), tuple(spots), tuple(papers))


def _has_resnets(checkpoints: Sequence[Checkpoint], task: str) -> bool:
    """Return whether all five have a verified number beside this task of all checkpoints."""
    tables = [beside(one.of(ZERO_SHOT)[task]) for one in checkpoints]
    return all(name in table and table[name].status != GIVEN for table in tables for name in RESNET_GMACS)


def scaling_chapter(checkpoints: Sequence[Checkpoint]) -> Chapter | None:
    """Return the mean zero-shot error over compute, with the power laws (the paper's Figure 9)."""
    found = scalings(checkpoints)
    if not found:
        return None
    drawn = tuple(
        Drawing(partial(plots.scaling, _series(each), COMPUTE[each.key]), _scaling_words(each)) for each in found
    )
    columns = {
        "compute": False, "tasks": True, "of": False, "exponent": True, "95 % interval": True, "R²": True,
        "checkpoints": True,
    }  # fmt: skip
    rows = [
        (COMPUTE[each.key], str(len(each.tasks)), whose, *_law_cells(law), str(len(spots)))
        for each in found
        for whose, law, spots in (("these", each.law, each.mine), ("the paper's ResNets", each.papers_law, each.papers))
        if law
    ]
    note = (
        "The paper's Figure 9 has the mean over 39 evaluations on 36 data sets, of five ResNets, over the forward "
        "pass; its numbers by data set are known of a few only, and here stand those that could be verified."
    )
    grids = [Grid("Power laws: error ∝ compute ^ exponent", columns, rows)] if rows else []
    pairs = [drawn[start : start + 2] for start in range(0, len(drawn), 2)]
    return Chapter("Error over compute", "scaling", (*pairs, *grids, note))


def _series(each: Scaling) -> list[Series]:
    parts = [("error", each.mine, each.law, ACCENT), ("the paper's ResNets", each.papers, each.papers_law, QUIET)]
    return [Series(_law_words(name, law), spots, law, len(spots) >= MIN_BAND, colour)
            for name, spots, law, colour in parts if spots]  # fmt: skip


def _law_words(name: str, law: PowerLaw | None) -> str:
    return f"{name} ∝ compute^{law.exponent:.3f}, R² {law.r_squared:.2f}" if law else ""


def _scaling_words(each: Scaling) -> str:
    names = [task_title(task) for task in each.tasks]
    shown = ", ".join(names) if len(names) <= 6 else f"{len(names)} tasks"
    beside_papers = " Grey: the paper's ResNets on the same." if each.papers else ""
    return f"Mean zero-shot error over {shown}, which all have; both axes logarithmic.{beside_papers}"


def _law_cells(law: PowerLaw) -> tuple[str | None, ...]:
    low, high = law.resampled.slope_interval()
    interval = f"{low:.3f} to {high:.3f}" if law.line.num_points >= MIN_BAND else None
    return f"{law.exponent:.3f}", interval, f"{law.r_squared:.2f}"


def relations(checkpoints: Sequence[Checkpoint]) -> dict[str, Relation]:
    """Return how zero-shot goes with the linear probe, of each checkpoint with both on MIN_FITTED tasks or more."""
    found = {}
    for one in checkpoints:
        pairs = zero_shot_and_probe(one)
        if len(pairs) >= MIN_FITTED and len({probe for _, _, probe in pairs}) > 1:
            zero = {task: value for task, value, _ in pairs}
            found[one.name] = relate(zero, {task: probe for task, _, probe in pairs})
    return found


def relation_chapter(checkpoints: Sequence[Checkpoint]) -> Chapter | None:
    """Return zero-shot over linear probe (the paper's Figure 8)."""
    series = {
        f"{place}. {one.name}": [Spot(task_title(task), 100 * probe, 100 * zero) for task, zero, probe in pairs]
        for place, one in enumerate(checkpoints, 1)
        if (pairs := zero_shot_and_probe(one))
    }
    if not series:
        return None
    spots = [spot for mine in series.values() for spot in mine]
    words = (
        "Zero-shot over the linear probe on the same features; on the line they are equal. "
        "(The paper's Figure 8: r 0.82, slope 1.28, from 0.93 to 1.79.)"
    )
    x, y = (np.array([getattr(spot, axis) for spot in spots]) for axis in ("probe", "zero_shot"))
    if len(spots) >= MIN_FITTED and len(set(x)) > 1:
        line, (low, high) = fit_line(x, y), resample_lines(x, y).slope_interval()
        words += f" Here, of {len(spots):,} points: r {line.correlation:.2f}, slope {line.slope:.2f}"
        words += f", from {low:.2f} to {high:.2f} at 95 %." if len(spots) >= MIN_BAND else "."
    columns = {
        "checkpoint": False, "tasks": True, "r": True, "slope": True, "95 % interval": True, "median gap": True,
        "within 3 points": True,
    }  # fmt: skip
    rows = [_relation_row(name, each) for name, each in relations(checkpoints).items()]
    grids = [Grid("Zero-shot over linear probe; the gap in points", columns, rows)] if rows else []
    drawing = Drawing(partial(plots.zero_shot_over_probe, series), words)
    return Chapter("Zero-shot over linear probe", "probe", (drawing, *grids))


def _relation_row(name: str, each: Relation) -> tuple[str | None, ...]:
    low, high = each.slope_interval
    interval = f"{low:.2f} to {high:.2f}" if len(each.gaps) >= MIN_BAND else None
    gap = median(-one.ahead for one in each.gaps)
    line = each.line
    return (
        name, str(len(each.gaps)), f"{line.correlation:.2f}", f"{line.slope:.2f}", interval, f"{100 * gap:.1f}",
        str(len(each.within(CLOSE))),
    )  # fmt: skip


def robustness_chapter(checkpoints: Sequence[Checkpoint]) -> Chapter | None:
    """Return effective robustness beside accuracy on ImageNet, of the zero-shot classifiers; two at least."""
    mine = [(one.name, one.robustness) for one in checkpoints if one.robustness]
    over = {found.mean.over for _, found in mine}
    if len(mine) < 2:
        return None
    columns = {"set": False} | {name: True for name, _ in mine}
    names = dict.fromkeys(shift.name for _, found in mine for shift in found.shifts)
    rows = [("ImageNet", *(percent(_on_imagenet(found)) for _, found in mine))]
    rows += [(name, *(percent(_accuracy(found, name)) for _, found in mine)) for name in names]
    parts: list[Part] = []
    if len(over) == 1:
        rows += [
            _mean_row("mean of the shifts", mine, "accuracy"),
            _mean_row("ImageNet on their classes", mine, "on_classes"),
        ]
        parts.append(_drawn(mine))
    grids = [Grid("Zero-shot accuracy, %", columns, rows)]
    effective = [(name, *(points(_effective(found, name)) for _, found in mine)) for name in names]
    if any(cell is not None for _, *cells in effective for cell in cells):
        if len(over) == 1:
            effective.append(("of the mean", *(points(_zero_shot(found).effective) for _, found in mine)))
        grids.append(Grid("Effective robustness, points", columns, effective))
    return Chapter("Robustness", "robustness", [*parts, *grids])


def _drawn(mine: Sequence[tuple[str, Robustness]]) -> Drawing:
    """Return all checkpoints beside the standard models of the first that has some."""
    marks = [
        Mark(name, found.x, found.accuracy, ("*", SERIES[place % 4][0], SERIES[place % 4][0], 12))
        for place, (name, found) in enumerate((name, _zero_shot(found)) for name, found in mine)
    ]
    standards = next((found.mean.standards for _, found in mine if found.mean.standards), None)
    words = (
        "Mean accuracy under shift over ImageNet on the same classes, both axes logits; the thin line is equal accuracy"
    )
    grey = ". Grey: standard models, their line and its band." if standards else "."
    return Drawing(partial(panel, mean_title(mine[0][1]), marks, standards, (WIDTH_PX, 380)), words + grey)


def _zero_shot(found: Robustness) -> Shifted:
    return next(each for each in found.mean.results if each.classifier == ZERO_SHOT)


def _mean_row(title: str, mine: Sequence[tuple[str, Robustness]], field: str) -> tuple[str | None, ...]:
    return (title, *(percent(getattr(_zero_shot(found), field)) for _, found in mine))


def _on_imagenet(found: Robustness) -> float | None:
    return found.imagenet[ZERO_SHOT][0] if ZERO_SHOT in found.imagenet else None


def _accuracy(found: Robustness, name: str) -> float | None:
    each = _under(found, name)
    return each.accuracy if each else None


def _effective(found: Robustness, name: str) -> float | None:
    each = _under(found, name)
    return each.effective if each else None


def _under(found: Robustness, name: str) -> Shifted | None:
    results = (each for shift in found.shifts if shift.name == name for each in shift.results)
    return next((each for each in results if each.classifier == ZERO_SHOT), None)


def facts(checkpoints: Sequence[Checkpoint]) -> dict[str, object]:
    """Return the fits for JSON."""
    return {
        "scaling": [
            {
                "compute": each.key,
                "tasks": list(each.tasks),
                "errors": {one.name: one.error for one in each.mine},
                "papers_errors": {one.name: one.error for one in each.papers},
                "law": _law_facts(each.law),
                "papers_law": _law_facts(each.papers_law),
            }
            for each in scalings(checkpoints)
        ],
        "zero_shot_over_probe": {
            name: {
                "correlation": each.line.correlation,
                "slope": each.line.slope,
                "slope_interval": list(each.slope_interval),
                "num_tasks": len(each.gaps),
            }
            for name, each in relations(checkpoints).items()
        },
    }


def _law_facts(law: PowerLaw | None) -> dict[str, object] | None:
    if law is None:
        return None
    interval = list(law.resampled.slope_interval()) if law.line.num_points >= MIN_BAND else None
    return {
        "exponent": law.exponent,
        "exponent_interval": interval,
        "coefficient": law.coefficient,
        "r_squared": law.r_squared,
    }
