"""Names of classes and templates of prompts: from a file, a folder, or an installed package that carries them."""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from trainer.evaluation.suite.literals import CLASSES, SLOT, TEMPLATES, parse_lists
from trainer.evaluation.suite.tasks import find_task, fold
from wit.errors import InputError
from wit.evaluation_sets.labels import read_text
from wit.patterns import walk_files
from wit.storage import base_name, exists, is_folder

_SLOTS = re.compile(r"\{(?:c|label|class|classname|name)?\}")  # as CLIP, CLIP_benchmark and this project write it
_CARRIER = re.compile(  # in English: CLIP_benchmark has other languages too, each with its code in front
    r"(en_)?(classnames|zeroshot_classification_templates|prompts)\.(json|toml|md)"
    r"|zero_?shot_metadata\.py|prompt_engineering_for_imagenet\.ipynb"
)
_WORDNET = re.compile(r"n\d{8}")
_NUM_IMAGENET = 1_000
_MAX_DEPTH = 3  # of a carrying file below a package's or checkout's folder
_SHOWN = 5


@dataclass(frozen=True)
class Names:
    """What a file says of the classes of a set: C of them."""

    classes: tuple[tuple[str, ...], ...] = ()
    """C; the names of each, the first for tables. Empty when the file has templates only."""
    templates: tuple[str, ...] = ()
    """Each with {label} once. Empty when the file has classes only."""
    labels: tuple[str, ...] = ()
    """C; what the set itself calls each class. Empty when the file does not say it."""
    source: str = ""
    """Where it was read."""
    task: str = field(default="", compare=False)
    """Of which task they are said to be; blank: of any set."""

    @property
    def titles(self) -> tuple[str, ...]:
        """The first name of each class."""
        return tuple(names[0] for names in self.classes)

    def prompts(self, templates: Sequence[str] = ()) -> tuple[tuple[str, ...], ...]:
        """Return C lists of prompts: each name of a class in each of the templates, or of its own ones."""
        chosen = templates or self.templates
        return tuple(
            tuple(template.replace(SLOT, name) for name in names for template in chosen) for names in self.classes
        )


def read_names(source: str, task: str = "") -> Names:
    """Return the class names and templates that a source has for a task; either may be missing, never both.

    A source is a file (plain text with a class or a template a line, JSON, TOML, CLIP's prompts.md and notebook,
    open_clip's zero_shot_metadata.py), a folder, or the name of an installed package, which is not imported. `task` is
    a name of TASKS, or of another set, where a source has several. Raises InputError.
    """
    if exists(source) and not is_folder(source):
        return _require(_read_file(source, task), source, task)
    folder = source if exists(source) else _package_folder(source)
    if folder is None:
        raise InputError(f"{source}: expected a file, a folder or an installed package with class names, found none")
    found = Names()
    for url in _carriers(folder):
        one = _choose(parse_lists(read_text(url), url), url, task)
        if one is not None:
            found = _fill(found, _to_names(one, url))
    return _require(found, source, task)


def _package_folder(name: str) -> str | None:
    """Return the folder of an installed package; None for none. A package of the top level is found, not imported."""
    if not name.isidentifier():
        return None
    spec = importlib.util.find_spec(name)
    places = spec.submodule_search_locations if spec is not None else None
    return next(iter(places), None) if places else None


def _carriers(folder: str) -> Iterator[str]:
    """Yield the files below a folder that are named as those with class names in English are, in order."""
    root = folder.rstrip("/")
    below = [url for url in walk_files(root) if url[len(root) + 1 :].count("/") <= _MAX_DEPTH]
    yield from (url for url in below if _CARRIER.fullmatch(base_name(url).lower()))


def _fill(found: Names, more: Names) -> Names:
    """Return names with what was missing of them so far."""
    if not found.classes and more.classes:
        found = replace(found, classes=more.classes, labels=more.labels)
    return replace(found, templates=found.templates or more.templates, source=found.source or more.source)


def _require(names: Names, source: str, task: str) -> Names:
    """Return names; raises InputError when there are none, or not as many as the task has classes."""
    if not names.classes and not names.templates:
        raise InputError(f"{source}: expected class names or templates{f' of {task}' if task else ''}, found none")
    known = find_task(task) if task else None
    if known is not None and names.classes and len(names.classes) != known.num_classes:
        raise InputError(
            f"{source}: expected the {known.num_classes} classes of {known.name}, found {len(names.classes)}; "
            "name the file that fits"
        )
    return replace(names, task=task)


def _read_file(url: str, task: str) -> Names:
    value = parse_lists(read_text(url), url)
    chosen = _choose(value, url, task)
    if chosen is None:
        some = ", ".join(list(value)[:_SHOWN])
        wanted = f"lists of {task}" if task else "the name of a set, for the file has several"
        raise InputError(f"{url}: expected {wanted}, found {some}{' ...' if len(value) > _SHOWN else ''}")
    return _to_names(chosen, url)


def _choose(value: Any, where: str, task: str) -> Any:
    """Return the part of a file's lists that is a task's; None where it is a file of sets without it."""
    if not isinstance(value, dict) or CLASSES in value or TEMPLATES in value:
        return value
    keys = [key for key in value if isinstance(value[key], list | dict)]
    if (key := _key_of(keys, task)) is not None:
        return value[key]
    is_of_sets = any(isinstance(value[key], dict) for key in keys) or any(map(find_task, keys))
    return None if is_of_sets else value


def _key_of(keys: Sequence[str], task: str) -> str | None:
    """Return the key of a task: under its own name, else under the first of its aliases that is there."""
    if not task:
        return None
    known = find_task(task)
    wanted = [task] if known is None else [known.name, *known.aliases]
    by_name = {fold(re.sub(r"^vtab[/_]", "", key)): key for key in reversed(keys)}
    return next((by_name[fold(name)] for name in wanted if fold(name) in by_name), None)


def _to_names(value: Any, where: str) -> Names:
    """Return the names that a list, a mapping of labels to names, or {classes, templates} is; raises InputError."""
    if isinstance(value, dict) and (CLASSES in value or TEMPLATES in value):
        classes, labels = _classes(value.get(CLASSES, ()), where)
        return Names(classes, _templates(value.get(TEMPLATES, ()), where), labels, where)
    if isinstance(value, list) and value and all(isinstance(each, str) and _SLOTS.search(each) for each in value):
        return Names(templates=_templates(value, where), source=where)
    classes, labels = _classes(value, where)
    return Names(classes, (), labels, where)


def _classes(value: Any, where: str) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]:
    """Return the names of each class, and its labels where a mapping says them: numbers in their order."""
    if isinstance(value, dict):
        labels = [str(key) for key in value]
        order = sorted(value, key=int) if all(label.isdecimal() for label in labels) else list(value)
        named, _ = _classes([value[key] for key in order], where)
        return named, tuple(map(str, order))
    if not isinstance(value, list | tuple):
        raise InputError(f"{where}: expected a list of class names, found {type(value).__name__}")
    return tuple(_class(each, number, where) for number, each in enumerate(value, 1)), ()


def _class(value: Any, number: int, where: str) -> tuple[str, ...]:
    names = value if isinstance(value, list | tuple) else [value]
    for name in names:
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise InputError(f"{where}: class {number}: expected a name in one line, found {str(name)[:60]!r}")
    if not names:
        raise InputError(f"{where}: class {number}: expected a name, found none")
    return tuple(name.strip() for name in names)


def _templates(value: Any, where: str) -> tuple[str, ...]:
    """Return templates with {label} for {}, {c} and the like; raises InputError for one without it, or with two."""
    if not isinstance(value, list | tuple):
        raise InputError(f"{where}: expected a list of templates, found {type(value).__name__}")
    for number, template in enumerate(value, 1):
        if not isinstance(template, str) or len(_SLOTS.findall(template)) != 1:
            raise InputError(f"{where}: template {number}: expected {{label}} or {{}} once, found {template!r:.60}")
    return tuple(_SLOTS.sub(SLOT, template) for template in value)


def align(names: Names, classes: Collection[str], by_order: bool = False, allows_more: bool = False) -> Names:
    """Return names in the order of a set's own classes, which the set calls by name or by number.

    A class is found by what the source says the set calls it, else by its name in any case and with any signs between;
    else by its number where all have one, without gaps from 0 or 1, and ImageNet's 1,000 by their WordNet ids, in whose
    order the released names stand. `by_order` takes both lists as they are. With `allows_more`, names of classes that
    the set has not follow its own, each with its first name as its label. Raises InputError for another number of
    classes, and for a class that is not found: classes in an order that nobody checked would give a wrong score without
    a word.
    """
    own = list(classes)
    is_part = allows_more and not by_order and len(own) < len(names.classes)
    if len(own) != len(names.classes) and not is_part:
        raise InputError(f"{names.source}: expected names of the set's {len(own)} classes, found {len(names.classes)}")
    places = class_places(names)
    found = [places.get(label, places.get(fold(label))) for label in own]
    missing = [label for label, place in zip(own, found, strict=True) if place is None]
    if by_order or (missing and not is_part and not names.labels and (_is_numbered(own) or _is_imagenet(own))):
        return replace(names, labels=tuple(own))
    if missing:
        titles = [fold(title) for title in names.titles]
        found_of = "several" if titles.count(fold(missing[0])) > 1 else "none"
        more = f" (and {len(missing) - 1:,} more)" if len(missing) > 1 else ""
        raise InputError(
            f"{names.source}: expected a name for each class of the set, found {found_of} for {missing[0]!r}{more}; "
            f"write a line for each class: {missing[0]} = its name"
        )
    order = [place for place in found if place is not None]
    if len(set(order)) < len(order):
        raise InputError(f"{names.source}: expected a name for each class, found one that two classes of the set have")
    order += [place for place in range(len(names.classes)) if place not in set(order)]
    labels = [*own, *(names.labels[place] if names.labels else names.titles[place] for place in order[len(own) :])]
    return replace(names, classes=tuple(names.classes[place] for place in order), labels=tuple(labels))


def _is_numbered(labels: Sequence[str]) -> bool:
    """Return whether labels are numbers that count from 0 or from 1, in order."""
    if not all(label.isdecimal() for label in labels):
        return False
    numbers = [int(label) for label in labels]
    return numbers in (list(range(len(labels))), list(range(1, len(labels) + 1)))


def _is_imagenet(labels: Sequence[str]) -> bool:
    return len(labels) == _NUM_IMAGENET and is_wordnet(labels) and list(labels) == sorted(labels)


def is_wordnet(labels: Sequence[str]) -> bool:
    """Return whether all labels are WordNet's ids of nouns, by which ImageNet's folders are named."""
    return all(_WORDNET.fullmatch(label) for label in labels)


def class_places(names: Names) -> Mapping[str, int]:
    """Return where each label, or each name that only one class has, is: as it is written, and folded.

    Of the paper's sets also by what their own folders are called.
    """
    if names.labels:
        numbered = list(enumerate(names.labels))
        places = {fold(label): place for place, label in numbered} | {label: place for place, label in numbered}
    else:
        folded = [{fold(name) for name in each} for each in names.classes]
        counts = Counter(name for each in folded for name in each)
        places = {name: place for place, each in enumerate(folded) for name in each if counts[name] == 1}
    known = find_task(names.task)
    folders = known.folders if known is not None else ()
    return {fold(folder): places[fold(name)] for folder, name in folders if fold(name) in places} | places
