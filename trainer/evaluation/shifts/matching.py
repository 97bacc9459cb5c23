"""Which classes of ImageNet a set's classes are: by what both call them, or by a file that says it.

A class of a set may be several of ImageNet's: ObjectNet's "Alarm clock" is "analog clock; digital clock", the 30 of
ImageNet-Vid are 288. Two classes of a set never share one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from trainer.evaluation.problems import Problem
from trainer.evaluation.suite.names import Names, is_wordnet
from trainer.evaluation.suite.tasks import fold
from trainer.evaluation.tables import read_rows
from wit.errors import InputError
from wit.evaluation_sets.labels import read_text

BETWEEN = ";"
"""Between ImageNet's classes in a text, as ObjectNet's own mapping has it."""

Mapped = Mapping[str, tuple[str, ...]]
"""Of each class of a set, by its folded name, what its classes of ImageNet are called."""


@dataclass(frozen=True)
class ImageNetClasses:
    """Where ImageNet's classes are among C, by all that they are called."""

    num_classes: int
    by_label: Mapping[str, int]
    """What the set of ImageNet's images calls them."""
    by_number: Mapping[str, int]
    """From 0 in ImageNet's order; empty where that is not known."""
    by_name: Mapping[str, int]
    """Names that one class alone has, folded."""

    @staticmethod
    def of(problem: Problem, source: Names) -> ImageNetClasses:
        """Return the classes of ImageNet's images; `source` has the names as they were read, which may be an order."""
        labels, names = problem.names.labels, problem.names.classes
        owners: dict[str, set[int]] = {}
        for place, own in enumerate(names):
            for name in own:
                owners.setdefault(fold(name), set()).add(place)
        by_name = {name: places.pop() for name, places in owners.items() if len(places) == 1}
        places = {label: place for place, label in enumerate(labels)}
        return ImageNetClasses(len(labels), places, _numbers(labels, by_name, source), by_name)

    def also(self, mapped: Mapped, where: str) -> ImageNetClasses:
        """Return the same by more names, of which one that two classes have is nobody's; raises InputError.

        `mapped`: names by number, id or name of the class, as ObjectNet's mapping comes with a file of them.
        """
        owners: dict[str, set[int]] = {name: {place} for name, place in self.by_name.items()}
        for key, texts in mapped.items():
            place = self.find(key)
            if place is None:
                raise InputError(f"{where}: expected classes of ImageNet's {self.num_classes}, found {key!r}")
            for text in texts:
                owners.setdefault(fold(text), set()).add(place)
        by_name = {name: next(iter(places)) for name, places in owners.items() if len(places) == 1}
        return replace(self, by_name=by_name)

    def find(self, text: str) -> int | None:
        """Return the class of a text: its label, its number, its name, or synonyms with commas between."""
        for table, key in ((self.by_label, text), (self.by_number, text), (self.by_name, fold(text))):
            if key in table:
                return table[key]
        found = {self.by_name[fold(part)] for part in text.split(",") if fold(part) in self.by_name}
        return found.pop() if len(found) == 1 else None


def _numbers(labels: Sequence[str], by_name: Mapping[str, int], source: Names) -> dict[str, int]:
    """Return the place of each number of ImageNet's order: that of WordNet's ids, or of a list of names."""
    if all(label.isdecimal() for label in labels):
        return {str(int(label)): place for place, label in enumerate(labels)}
    if is_wordnet(labels):
        return {str(number): labels.index(label) for number, label in enumerate(sorted(labels))}
    if source.labels or len(source.classes) != len(labels):
        return {}
    found = [by_name.get(fold(names[0])) for names in source.classes]
    return {str(number): place for number, place in enumerate(found) if place is not None}


@dataclass(frozen=True)
class Matched:
    """The classes of a set that ImageNet has too: G of them."""

    labels: tuple[str, ...]
    """As the set calls them."""
    groups: tuple[tuple[int, ...], ...]
    """Classes of ImageNet that each is."""

    @property
    def num_imagenet_classes(self) -> int:
        """Of all groups."""
        return sum(map(len, self.groups))


def match(name: str, labels: Sequence[str], imagenet: ImageNetClasses, mapped: Mapped | None) -> Matched:
    """Return what classes of a set are ImageNet's: with a file those that it says, else all of them.

    Numbers that count the set's own classes from 0 are not taken for ImageNet's, of which there are more. Raises
    InputError for a class that is not found, or two that are the same.
    """
    if mapped is None:
        _require_imagenets(name, labels, imagenet)
        return _matched(name, {label: (label,) for label in labels}, imagenet)
    said = {label: mapped[fold(label)] for label in labels if fold(label) in mapped}
    if not said:
        raise InputError(
            f"--map {name}: expected the set's classes ({', '.join(labels[:3])} ...), found none of them among "
            f"{', '.join(list(mapped)[:3])!r} ..."
        )
    return _matched(name, said, imagenet)


def _require_imagenets(name: str, labels: Sequence[str], imagenet: ImageNetClasses) -> None:
    """Raise InputError for numbers that may count the set's own classes: a wrong match gives no other sign."""
    numbers = [int(label) for label in labels if label.isdecimal()]
    if len(numbers) == len(labels) < imagenet.num_classes and max(numbers) < len(labels):
        raise InputError(
            f"{name}: expected classes by ImageNet's names or ids, found numbers from 0 to {max(numbers)} that may be "
            f"the set's own; say which they are: --map {name}=FILE.json with {{class: ImageNet's class}}"
        )


def _matched(name: str, said: Mapping[str, Sequence[str]], imagenet: ImageNetClasses) -> Matched:
    groups = {label: [imagenet.find(text) for text in texts] for label, texts in said.items()}
    unknown = [
        text for label, texts in said.items() for text, place in zip(texts, groups[label], strict=True) if place is None
    ]
    if unknown:
        raise InputError(
            f"{name}: expected classes of ImageNet's {imagenet.num_classes}, found {unknown[0]!r} (and "
            f"{len(unknown) - 1} more); say which they are: --map {name}=FILE.json with {{class: ImageNet's class}}, "
            "without those that it has not"
        )
    owner: dict[int, str] = {}
    for label, places in groups.items():
        for place in places:
            if place is not None and owner.setdefault(place, label) != label:
                raise InputError(
                    f"{name}: expected other classes of ImageNet for each of its own, found one for both "
                    f"{owner[place]!r} and {label!r}; mend --map"
                )
    distinct = [tuple(dict.fromkeys(place for place in places if place is not None)) for places in groups.values()]
    return Matched(tuple(groups), tuple(distinct))


def read_mapping(url: str) -> Mapped:
    """Return a file that says which classes of ImageNet a set's are.

    JSON {"class": 404 | "n03345487" | "fire engine" | "analog clock; digital clock" | [...]}, or .csv, .tsv, .jsonl
    with the columns class and imagenet, a row or more a class. Raises InputError.
    """
    said: dict[str, tuple[str, ...]] = {}
    for label, value in _json_pairs(url) if url.endswith(".json") else _row_pairs(url):
        parts = [part.strip() for part in str(value).split(BETWEEN)]
        if not label or not all(parts):
            raise InputError(f"{url}: class {label!r}: expected a class of ImageNet, found {str(value)[:60]!r}")
        said[label] = said.get(label, ()) + tuple(parts)
    return said


def _json_pairs(url: str) -> list[tuple[str, object]]:
    try:
        value = json.loads(read_text(url), object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{url}: expected JSON: {error}") from error
    if not isinstance(value, dict) or not value:
        raise InputError(f"{url}: expected a JSON object with classes of ImageNet by class, found {str(value)[:60]!r}")
    pairs: list[tuple[str, object]] = []
    for label, one in value.items():
        for each in one if isinstance(one, list) and one else [one]:
            if isinstance(each, bool) or not isinstance(each, int | str):
                raise InputError(f"{url}: class {label!r}: expected a number or a text, found {str(each)[:60]!r}")
            pairs.append((fold(label), each))
    return pairs


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return an object of JSON; raises ValueError for a class that is there twice, of which one would be lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for place, (key, _) in enumerate(pairs) if key in dict(pairs[:place]))
        raise ValueError(f"class {twice[:60]!r} twice; give its classes of ImageNet as one list")
    return found


def _row_pairs(url: str) -> list[tuple[str, object]]:
    return [(fold(row.text("class")), row.text("imagenet")) for row in read_rows(url, ("class", "imagenet"))]
