"""What the page of a checkpoint tells beside the table of its results: prompts, few shots, probes, details."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from statistics import fmean, median

from trainer.evaluation.report import figures
from trainer.evaluation.report.grids import Chapter, Drawing, Grid
from trainer.evaluation.report.published import TABLES, models
from trainer.evaluation.report.results import Checkpoint, Group, Result, Shots
from trainer.evaluation.report.robustness import robustness_chapter
from trainer.evaluation.report.summary import (
    beside,
    in_order,
    percent,
    points,
    protocol_title,
    published_cell,
    span,
    task_title,
    zero_shot_and_probe,
)
from trainer.evaluation.terms import LINEAR_PROBE, ZERO_SHOT

_NUMBER = re.compile(r"[-+.0-9e]+( to [-+.0-9e]+)?")
_KINDS = {  # how trainer.evaluation.evaluating.compare_prompts names them, and a page
    "class name": "name alone",
    "default prompt": "default",
    "mean of single templates": "single, mean",
    "best single template": "single, best",
    "ensemble of templates": "ensemble",
}
_ALONE, _DEFAULT, _BEST, _ENSEMBLE = "name alone", "default", "single, best", "ensemble"


def chapters(checkpoint: Checkpoint) -> tuple[list[Chapter], list[Chapter]]:
    """Return the parts of a checkpoint's page that there are results for: those before its classes, those after."""
    results = in_order(checkpoint.results)
    before = [
        robustness_chapter(checkpoint.robustness) if checkpoint.robustness else None,
        prompts_chapter(results),
        differences_chapter(checkpoint),
        shots_chapter(checkpoint, results),
    ]
    after = [details_chapter(results), made_chapter(checkpoint, results)]
    return [each for each in before if each], [each for each in after if each]


def published_grids(results: Sequence[Result]) -> list[Grid]:
    """Return a table for each of the paper's that has numbers of what was evaluated, a column a model."""
    grids = []
    for protocol, source in TABLES.items():
        mine = [(each, beside(each)) for each in results if each.protocol == protocol]
        told = {model for _, found in mine for model in found}
        known = [model for model in models(protocol) if model in told]
        names = [*known, *sorted(told - set(known))]
        rows = [
            (task_title(each.task), percent(each.value), *(published_cell(found.get(name)) for name in names))
            for each, found in mine
            if found
        ]
        if rows:
            columns = {"task": False, "this checkpoint": True} | dict.fromkeys(names, True)
            grids.append(Grid(f"{protocol_title(protocol)}, %, beside {source}", columns, rows))
    return grids


def prompts_chapter(results: Sequence[Result]) -> Chapter | None:
    """Return what prompts and ensembles are worth, beside the paper's Figure 4."""
    told = [(task_title(each.task), values) for each in results if _ALONE in (values := prompt_values(each))]
    if not told:
        return None
    kinds = [kind for kind in _KINDS.values() if any(kind in own for _, own in told)]
    if len(told) > 1:
        common = [kind for kind in kinds if all(kind in own for _, own in told)]
        told.insert(0, (f"mean of {len(told)} tasks", {kind: fmean(own[kind] for _, own in told) for kind in common}))
    gained = [kind for kind in (_DEFAULT, _ENSEMBLE) if kind in kinds]
    columns = {"task": False} | dict.fromkeys(kinds, True) | {f"{kind} gains": True for kind in gained}
    rows = [(title, *map(percent, map(own.get, kinds)), *(_gain(own, kind) for kind in gained)) for title, own in told]
    drawn = [
        (title, {kind: 100 * (own[kind] - own[_ALONE]) for kind in figures.PROMPT_MARKS if kind in own})
        for title, own in told
    ]
    drawn.insert(0, ("ImageNet, in the paper", {_DEFAULT: 1.3, _ENSEMBLE: 4.8}))
    note = (
        "The paper's default prompt is worth 1.3 points on ImageNet, and its ensemble of 80 templates 3.5 more "
        "(section 3.1.4); both together, with prompts for each task, about 5 points over 36 data sets (Figure 4)."
    )
    lucky = "The best single template is found on these very images: what a lucky choice would give, and no fair score."
    figure = Drawing(partial(figures.prompt_gains, drawn, "What prompts gain over the class name alone."), note)
    grid = Grid("What prompts are worth, %; gains in points over the class name alone", columns, rows)
    return Chapter("Prompts", "prompts", (figure, grid, *([lucky] if _BEST in kinds else ())))


def prompt_values(result: Result) -> dict[str, float]:
    """Return what each way to word the classes is worth, by the names of a page; none where the result does not say."""
    return {
        kind: each.value
        for each in result.prompts
        for start, kind in _KINDS.items()
        if each.words == start or each.words.startswith(f"{start}:")
    }


def _gain(own: Mapping[str, float], kind: str) -> str | None:
    return f"{100 * (own[kind] - own[_ALONE]):+.1f}" if kind in own and _ALONE in own else None


def shots_chapter(checkpoint: Checkpoint, results: Sequence[Result]) -> Chapter | None:
    """Return the curves of few shots beside zero-shot, and how many labels zero-shot is worth (Figures 6, 7)."""
    mine = [each for each in results if each.curve]
    if not mine:
        return None
    zero_shot = checkpoint.of(ZERO_SHOT)
    levels = {each.task: zero_shot[each.task].value for each in mine if each.task in zero_shot}
    panels = [
        Drawing(
            partial(figures.shots_panel, task_title(each.task), each.curve, levels.get(each.task), _exact(each)), ""
        )
        for each in mine
    ]
    mean = _mean_curve(mine, levels)
    panels = [*mean, *panels]
    note = (
        "A probe fitted to so many examples a class; dashed: zero-shot, which sees none, with a ring where the probe "
        f"matches it. {_band_words(mine)}In the paper zero-shot matches the mean of probes of 4 shots on the same "
        "features (Figure 6)."
    )
    return Chapter("Few shots", "shots", (note, tuple(panels), _shots_grid(checkpoint, mine), *_matches(mine)))


def _band_words(results: Sequence[Result]) -> str:
    told = [point for each in results for point in each.curve]
    if any(point.interval for point in told):
        return "The band is the interval of the results: of draws of examples, and of test images. "
    return "The band is a standard deviation over draws. " if any(point.deviation for point in told) else ""


def _mean_curve(results: Sequence[Result], levels: Mapping[str, float]) -> list[Drawing]:
    """Return the mean over tasks, at the shots that all have, of those that have zero-shot too."""
    mine = [each for each in results if each.task in levels]
    by_shots = [{point.num_shots: point.value for point in each.curve} for each in mine]
    if len(mine) < 2 or not (common := sorted(set.intersection(*map(set, by_shots)))):
        return []
    curve = [Shots(shots, fmean(own[shots] for own in by_shots)) for shots in common]
    level = fmean(levels[each.task] for each in mine)
    return [Drawing(partial(figures.shots_panel, f"Mean of {len(mine)} tasks", curve, level, None), "")]


def _exact(result: Result) -> float | None:
    words = result.labels_to_match
    return None if not words or words[0] in "<>" else float(words)


def _shots_grid(checkpoint: Checkpoint, results: Sequence[Result]) -> Grid:
    zero_shot, probe = checkpoint.of(ZERO_SHOT), checkpoint.of(LINEAR_PROBE)
    shots = sorted({point.num_shots for each in results for point in each.curve})
    columns = {"task": False, "zero-shot": True, "labels to match": True} | {f"{each:g}-shot": True for each in shots}
    rows = []
    for each in results:
        by_shots = {point.num_shots: point for point in each.curve}
        cells = [_shots_cell(by_shots.get(one)) for one in shots]
        level, full = (percent(found[each.task].value) if each.task in found else None for found in (zero_shot, probe))
        rows.append((task_title(each.task), level, each.labels_to_match or None, *cells, full))
    title = "Few shots, % in the metric of the task; labels a class to match zero-shot"
    return Grid(title, columns | {"all labels": True}, rows)


def _shots_cell(point: Shots | None) -> str | None:
    if point is None:
        return None
    spread = point.deviation
    if point.interval is not None:
        return f"{percent(point.value)} ({span(point.interval)})"
    return f"{percent(point.value)}" + (f" ± {100 * spread:.1f}" if spread is not None else "")


def _matches(results: Sequence[Result]) -> list[Drawing]:
    """Return Figure 7: labels a class that zero-shot is worth, the most first."""
    told = [(task_title(each.task), each.labels_to_match) for each in results if each.labels_to_match]
    if not told:
        return []
    rows = sorted(((title, float(words.lstrip("<>")), words) for title, words in told), key=lambda row: -row[1])
    numbers = [number for _, number, _ in rows]
    here = f"Here the median is {median(numbers):.1f}" + (
        ", bounds taken as they stand. " if any(words[0] in "<>" for _, words in told) else ". "
    )
    note = (
        "Labels a class by which a probe on the same features is as good as zero-shot; < is fewer than were tried, > "
        f"more. {here if len(rows) > 2 else ''}In the paper's Figure 7 the median of 20 tasks is 5.4, the mean 20.8, "
        "ImageNet's 16."
    )
    return [Drawing(partial(figures.labels_to_match, rows, "Labels a class to match zero-shot."), note)]


def differences_chapter(checkpoint: Checkpoint) -> Chapter | None:
    """Return zero-shot beside the probe of the same checkpoint."""
    pairs = zero_shot_and_probe(checkpoint)
    if not pairs:
        return None
    pairs.sort(key=lambda pair: pair[2] - pair[1])
    rows = [(task_title(task), 100 * (zero - probe)) for task, zero, probe in pairs]
    label = "Zero-shot minus the linear probe on the same features, by task."
    draw = partial(figures.differences, rows, label, "points: zero-shot minus linear probe")
    note = (
        "Zero-shot minus a linear probe of this checkpoint's own features. (The paper's Figure 5 has a probe of a "
        "ResNet-50 trained on ImageNet in its place.)"
    )
    cells = [(task_title(task), percent(zero), percent(probe), points(zero - probe)) for task, zero, probe in pairs]
    columns = {"task": False, "zero-shot": True, "probe": True, "points": True}
    grid = Grid("Zero-shot and linear probe, %", columns, cells)
    return Chapter("Zero-shot beside the probe", "probe", ((Drawing(draw, note), grid),))


def details_chapter(results: Sequence[Result]) -> Chapter | None:
    """Return rows that results bring beside their number: recalls, groups, lists; the same rows of a task once."""
    grids: dict[tuple[str, str, object], Grid] = {}
    for each in results:
        title = f"{task_title(each.task)}, {protocol_title(each.protocol).lower()}"
        for name, groups in each.groups.items():
            grid = _group_grid(f"{title}: {name.replace('_', ' ')}, %", groups)
            grids.setdefault((each.task, name, groups), grid)
        for name, rows in each.tables.items():
            key = (each.task, name, tuple(tuple(row.items()) for row in rows))
            grids.setdefault(key, _free_grid(f"{title}: {name.replace('_', ' ')}", rows))
    kept = [grid for grid in grids.values() if grid.columns]
    return Chapter("In detail", "details", kept) if kept else None


def _group_grid(title: str, groups: Sequence[Group]) -> Grid:
    columns = {"group": False, "%": True, "interval": True, "hits": True, "of": True}
    has_paper = any(each.paper is not None for each in groups)
    columns |= {"the paper's %": True} if has_paper else {}
    rows = [
        (
            each.name,
            percent(each.value),
            span(each.interval),
            f"{each.num_hits:,}",
            f"{each.num_items:,}",
            *([None if each.paper is None else f"{each.paper:.1f}"] if has_paper else []),
        )
        for each in groups
    ]
    return Grid(title, columns, rows)


def _free_grid(title: str, rows: Sequence[Mapping[str, str]]) -> Grid:
    keys = dict.fromkeys(sorted({key for row in rows for key in row}, key=partial(_order_of_column, rows)))
    columns = {key: _order_of_column(rows, key)[0] for key in keys}
    return Grid(title, columns, [tuple(row.get(key) for key in keys) for row in rows])


def _order_of_column(rows: Sequence[Mapping[str, str]], key: str) -> tuple[bool, str]:
    """Return what puts columns of words before those of numbers."""
    return all(_NUMBER.fullmatch(row.get(key, "0")) for row in rows), key


def made_chapter(checkpoint: Checkpoint, results: Sequence[Result]) -> Chapter | None:
    """Return the facts of the checkpoint and what each result says of itself."""
    grids = []
    if checkpoint.facts:
        grids.append(Grid("", {"checkpoint": False, "": False}, list(checkpoint.facts.items())))
    told = [each for each in results if each.details]
    if told:
        columns = {"task": False, "protocol": False, "details": False}
        rows = [
            (
                task_title(each.task),
                protocol_title(each.protocol),
                "; ".join(f"{name} {value}" for name, value in each.details.items()),
            )
            for each in told
        ]
        grids.append(Grid("", columns, rows))
    return Chapter("How it was made", "made", grids) if grids else None
