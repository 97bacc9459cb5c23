"""What is to be recognised: a set's images under the names, prompts and metric by which they are judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.evaluation.features import Features
from trainer.evaluation.metrics import METRICS, NOT_JUDGED, Scores, chance, map_11_point, softmax
from trainer.evaluation.scoring import Prompts
from trainer.evaluation.suite import Names, align, class_places, find_task, fold, read_names
from trainer.evaluation.templates import TEMPLATES, read_templates
from wit.errors import InputError, UserError
from wit.evaluation_sets import Fold
from wit.storage import exists

DEFAULT_TEMPLATES = "photo"
_LISTS = (".json", ".toml", ".md", ".py", ".ipynb")


@dataclass(frozen=True)
class Wording:
    """How classes are told to a model, as its user asks for it."""

    classes: str = ""
    """A source of class names, as `read_names` has it; blank: what the set calls them."""
    templates: str = ""
    """A name of TEMPLATES, or a source; blank: those that come with the class names, else DEFAULT_TEMPLATES."""
    by_order: bool = False
    """Whether the class names stand in the set's order, though it calls its classes something else."""


class JudgedFold(NamedTuple):
    """Items that are judged together; a score is the mean over folds."""

    name: str
    rows: NDArray[np.int64]
    """Of the items."""


@dataclass(frozen=True)
class Problem:
    """Classes and how they are judged."""

    name: str
    """Of a task of the paper's where the set is one, else the set's."""
    metric: str
    labels: NDArray[np.int64]
    """(N,): row of `names.classes`; of items with several (N, C): 1 for each, 0 for the others, NOT_JUDGED."""
    names: Names
    """Of each class, with what the set itself calls it."""
    templates: tuple[str, ...]
    folds: tuple[JudgedFold, ...] = ()
    """Empty: all items are judged together."""

    @property
    def has_several(self) -> bool:
        """Whether an item may have several classes, or none."""
        return self.labels.ndim == 2

    @property
    def num_classes(self) -> int:
        """C."""
        return len(self.names.classes)

    @property
    def titles(self) -> tuple[str, ...]:
        """C names, each once: of two classes of one name (ImageNet has two) the later has its number behind it."""
        counts = Counter(self.names.titles)
        seen: set[str] = set()
        titles = []
        for number, title in enumerate(self.names.titles):
            titles.append(f"{title} ({number})" if title in seen and counts[title] > 1 else title)
            seen.add(title)
        return tuple(titles)

    @property
    def chance(self) -> float | None:
        """What guessing scores; None where the set decides."""
        return chance(self.metric, self.num_classes)

    def judged(self, scores: Scores, independent: bool = False) -> Scores:
        """Return what the metric ranks of logits (N, C): 11-point precision probabilities of the classes, others these.

        Precision ranks the items of a class, for which a softmax has to make them comparable (CLIP's issue 153); not so
        where each class has a classifier of its own (`independent`). Other metrics compare scores of one item.
        """
        is_ranked = METRICS[self.metric] is map_11_point and not independent
        return softmax(scores) if is_ranked else scores

    def value(self, scores: Scores, independent: bool = False) -> float:
        """Return the metric of logits (N, C), of folds the mean."""
        return fmean(self.fold_values(scores, independent))

    def fold_values(self, scores: Scores, independent: bool = False) -> list[float]:
        """Return the metric of each fold, of all items where there are none."""
        judged, metric = self.judged(scores, independent), METRICS[self.metric]
        parts = [one.rows for one in self.folds] or [np.arange(len(self.labels))]
        return [metric(judged[part], self.labels[part]) for part in parts]

    def prompts(self, templates: Sequence[str] = ()) -> Prompts:
        """Return each class's prompts."""
        return self.names.prompts(templates or self.templates)


@dataclass(frozen=True)
class Words:
    """What is read of a wording, before any image is."""

    task: str
    """Name of the paper's task, else of the set."""
    metric: str
    names: Names
    """Without classes where the set's own names are taken."""
    templates: tuple[str, ...]
    by_order: bool


def read_words(name: str, wording: Wording, metric: str = "") -> Words:
    """Return the words for a set that is called so; a blank `metric` is the task's, else accuracy.

    Raises InputError for names or templates that cannot be read, UserError for no metric.
    """
    if metric and metric not in METRICS:
        raise UserError(f"--metric {metric!r}: expected one of {', '.join(METRICS)}")
    task = find_task(name)
    called = task.name if task else name
    names = read_names(wording.classes, called) if wording.classes else Names()
    templates = _templates(wording, names, called)
    return Words(called, metric or (task.metric if task else "accuracy"), names, templates, wording.by_order)


def require_fit(words: Words, classes: tuple[str, ...], has_several: bool = False) -> None:
    """Raise InputError when words do not fit a set, as far as it says before it is read what its classes are."""
    if has_several and METRICS[words.metric] is not map_11_point:
        raise InputError(
            f"{words.task}: expected one class an image for {words.metric}, found several; give --metric map_11_point"
        )
    if classes and words.names.classes and not _is_numbered(classes, words.names):
        align(words.names, classes, words.by_order, allows_more=True)


def pose(features: Features, words: Words, folds: Sequence[Fold] = ()) -> Problem:
    """Return what is to be recognised in a set; raises InputError when the words or the metric do not fit it."""
    labels, names = _named(features, words)
    require_fit(words, (), labels.ndim == 2)
    if labels.ndim == 2 and not (labels == 1).any():
        raise InputError(f"{words.task}: expected images that show one of its classes, found none; fetch it again")
    tests = [one for one in folds if one.test]
    judged = tuple(JudgedFold(one.name, rows_of(features.items, one.test, one.name)) for one in tests)
    return Problem(words.task, words.metric, labels, names, words.templates, judged)


def judged_part(features: Features, folds: Sequence[Fold]) -> Features:
    """Return the features of the images that are judged in any fold; all where folds name no test images."""
    names = frozenset[str]().union(*(one.test for one in folds))
    if not names:
        return features
    rows = rows_of(features.items, names, "folds")
    items = [features.items[row] for row in rows.tolist()]
    return replace(features, features=features.features[rows], labels=features.labels[rows], items=items)


def rows_of(items: Sequence[str], names: Collection[str], where: str) -> NDArray[np.int64]:
    """Return the rows of the items that a fold names; raises InputError when there is none."""
    rows = np.array([row for row, item in enumerate(items) if item in names], np.int64)
    if not len(rows):
        raise InputError(
            f"{where}: expected some of its {len(names):,} images among those of the set, found none; leave --train "
            "out where the set has folds of its own"
        )
    return rows


def _is_numbered(classes: Sequence[str], names: Names) -> bool:
    """Return whether a set calls its classes by their places in a list, not by names that are numbers (3 objects).

    They count from 0 where there is a 0. Where there is none they may count from 1, or the first class has no image:
    `align` takes no more than a whole list of them.
    """
    if names.labels or not all(label.isdecimal() for label in classes):
        return False
    numbers = {int(label) for label in classes}
    own = {name for each in names.classes for name in each}
    return 0 in numbers and len(numbers) == len(classes) and not own.issuperset(classes)


def _named(features: Features, words: Words) -> tuple[NDArray[np.int64], Names]:
    """Return labels, and the names of the classes that they number."""
    own = features.classes
    if not words.names.classes:
        titles = tuple(label.replace("_", " ") for label in own)
        for title in titles:
            if not title.isprintable():  # it goes into prompts, and to a terminal
                raise InputError(
                    f"expected names of classes that can be read, found {title!r}; give others by --classes"
                )
        return features.labels, Names(tuple((title,) for title in titles), (), own, "the set")
    if _is_numbered(own, words.names):
        return _numbered(features, words.names)
    names = align(words.names, own, words.by_order, allows_more=True)
    return _renumbered(features.labels, np.arange(len(own)), len(names.classes)), names


def departures(problem: Problem, num_folds: int = 0) -> tuple[str, ...]:
    """Return in what an evaluation is not the paper's of that name, a line each; none for sets that it has not."""
    task = find_task(problem.name)
    if task is None:
        return ()
    num_items = len(problem.labels)
    said = (
        (num_items != task.num_test, f"{num_items:,} images, Table 9 has {task.num_test:,}"),
        (
            problem.num_classes != task.num_classes,
            f"{problem.num_classes} classes, the paper's prompts {task.num_classes}",
        ),
        (problem.metric != task.metric, f"{problem.metric}, the paper has {task.metric}"),
        (
            task.multi_label != problem.has_several,
            f"{_number(problem.has_several)} an image, the paper's set has {_number(task.multi_label)}",
        ),
        (task.num_folds > 1 and not num_folds, f"one split, the paper has the mean of {task.num_folds}"),
        (0 < num_folds != task.num_folds, f"the mean of {num_folds} splits, the paper has that of {task.num_folds}"),
    )
    return tuple(line for applies, line in said if applies)


def _number(has_several: bool) -> str:
    return "several classes" if has_several else "one class"


def remarks(problem: Problem) -> tuple[str, ...]:
    """Return what is to be known of how a set is judged, a line each."""
    if problem.has_several:
        has_items = (problem.labels == 1).any(axis=0)
        num_bare = int((~(problem.labels == 1).any(axis=1)).sum())
        num_unsure = int((problem.labels == NOT_JUDGED).any(axis=1).sum())
    else:
        has_items = np.bincount(problem.labels, minlength=problem.num_classes) > 0
        num_bare = num_unsure = 0
    without = int((~has_items).sum())
    said = (
        (
            without,
            f"{without} of {problem.num_classes} classes have no image here: they can only be wrong answers",
        ),
        (
            num_unsure,
            f"images that neither show a class nor lack it for certain, left out of that class: {num_unsure:,}",
        ),
        (num_bare, f"images of no class, which count against all and are not in predictions: {num_bare:,}"),
    )
    return tuple(line for applies, line in said if applies)


def _numbered(features: Features, found: Names) -> tuple[NDArray[np.int64], Names]:
    """Return labels and names where the set calls its classes by numbers, of which some may have no image."""
    numbers = np.array([int(label) for label in features.classes], np.int64)
    beyond = [int(number) for number in numbers if number >= len(found.classes)]
    if beyond:
        raise InputError(
            f"{found.source}: expected a name for each class of the set, found {len(found.classes)}, and an image of "
            f"the class {beyond[0]}; classes count from 0"
        )
    said = dict(zip(numbers.tolist(), features.classes, strict=True))  # 00007 where the set writes so
    names = replace(found, labels=tuple(said.get(place, str(place)) for place in range(len(found.classes))))
    return _renumbered(features.labels, numbers, len(found.classes)), names


def _renumbered(labels: NDArray[np.int64], places: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    """Return labels, (N,) or (N, C), whose classes have other places among `num_classes`."""
    if labels.ndim == 1:
        return places[labels]
    found = np.zeros((len(labels), num_classes), np.int64)
    found[:, places] = labels
    return found


def labels_of(problem: Problem, other: Features, where: str) -> NDArray[np.int64]:
    """Return the labels, (N,) or (N, C), of another split's images.

    Raises InputError for a class that is not the problem's, and where one split has several classes an image only.
    """
    if (other.labels.ndim == 2) != problem.has_several:
        raise InputError(
            f"{where}: expected {_number(problem.has_several)} an image, as those that are judged have, found "
            f"{_number(not problem.has_several)}"
        )
    place = class_places(problem.names)
    found = {label: place.get(label, place.get(fold(label))) for label in other.classes}
    unknown = [label for label in found if found[label] is None]
    if unknown:
        raise InputError(
            f"{where}: expected the {problem.num_classes} classes of the images that are judged, found {unknown[0]!r} "
            f"too ({len(unknown)} such); give splits of one set, or its class names by --classes"
        )
    places = np.array(list(found.values()), np.int64)
    return _renumbered(other.labels, places, problem.num_classes)


def _templates(wording: Wording, found: Names, task: str) -> tuple[str, ...]:
    source = wording.templates
    if not source:
        return found.templates or TEMPLATES[DEFAULT_TEMPLATES]
    if source in TEMPLATES or (exists(source) and not source.endswith(_LISTS)):
        return read_templates(source)
    if not exists(source) and not source.isidentifier():
        return read_templates(source)
    read = read_names(source, task).templates
    if not read:
        raise InputError(f"{source}: expected templates of {task}, found class names only; name others by --templates")
    return read
