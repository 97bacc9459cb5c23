"""What `wit evaluate` is asked for: its options, and the sets that they name, opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from trainer.evaluation.features import Embedding
from trainer.evaluation.problems import Wording, Words, read_words, require_fit
from trainer.evaluation.sets import OpenSet, open_set, open_sets, open_split, require_labels, require_others
from trainer.evaluation.suite import find_folders, find_suite
from wit.errors import InputError, UserError
from wit.storage import is_folder, join, list_names


@dataclass(frozen=True)
class Asked:
    """The options of the command."""

    data: tuple[str, ...]
    suite: str | None
    train: tuple[str, ...]
    validation: tuple[str, ...]
    wording: Wording
    metric: str
    compare_prompts: bool
    probe: bool
    shots: tuple[int, ...]
    out: str | None
    embedding: Embedding

    @staticmethod
    def of(options: Mapping[str, Any]) -> Asked:
        """Return options as the command line has them; raises UserError for shots that are no numbers."""
        out = options["out"]
        cache = options["cache"] or (join(out, "features") if out else "")
        own = {name: options[name] for name in ("data", "suite", "train", "validation", "metric", "compare_prompts")}
        return Asked(
            **own,
            wording=Wording(options["classes"], options["templates"], options["by_order"]),
            probe=options["probe"],
            shots=_numbers(options["shots"]),
            out=out,
            embedding=Embedding(cache, options["skip_broken"]),
        )

    @property
    def is_fitted(self) -> bool:
        """Whether probes are, so that there have to be images to fit them on."""
        return self.probe or bool(self.shots)


def _numbers(text: str) -> tuple[int, ...]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise UserError(f"--shots {text!r}: expected numbers above 0 with commas between, such as 1,2,4,8,16")
    return tuple(sorted({int(word) for word in words}))


@dataclass(frozen=True)
class Judged:
    """One set to evaluate, and those of it that probes are fitted on."""

    test: OpenSet
    train: OpenSet | None
    validation: OpenSet | None
    words: Words


def open_judged(asked: Asked) -> tuple[list[Judged], dict[str, InputError]]:
    """Return the sets of the command, in its order, and by name why others of a suite cannot be opened.

    Raises UserError for two of one name, InputError for one that is none's, and when none of a suite can be opened.
    """
    if asked.suite is None:
        tests = open_sets("--data", asked.data)
        partners = _Partners.of(asked, [one.name for one in tests])
        return [_judged(one, partners, asked) for one in tests], {}
    texts = _suite_sets(asked)
    partners = _Partners.of(asked, list(texts))
    sets, failures = [], dict[str, InputError]()
    for name, text in texts.items():
        try:
            sets.append(_judged(open_set(text), partners, asked))
        except InputError as error:
            failures[name] = error
    if not sets:
        raise next(iter(failures.values()))
    return sets, failures


@dataclass(frozen=True)
class _Partners:
    """Sets that --train and --validation name, by the set that they belong to."""

    train: Mapping[str, OpenSet]
    validation: Mapping[str, OpenSet]

    @staticmethod
    def of(asked: Asked, names: list[str]) -> _Partners:
        return _Partners(_partners("--train", asked.train, names), _partners("--validation", asked.validation, names))


def _partners(option: str, texts: tuple[str, ...], names: list[str]) -> dict[str, OpenSet]:
    """Return the set of each name that an option gives; without a name it is that of the only set."""
    partners: dict[str, OpenSet] = {}
    for text in texts:
        opened = open_set(text, option.removeprefix("--"))
        name = opened.name if opened.is_named else names[0]
        if name not in names or (not opened.is_named and len(names) > 1) or name in partners:
            raise UserError(f"{option} {text!r}: expected NAME=PATH, once for each of {', '.join(names)}")
        partners[name] = opened
    return partners


def _judged(test: OpenSet, partners: _Partners, asked: Asked) -> Judged:
    train = partners.train.get(test.name) or (open_split(test, "train") if asked.is_fitted else None)
    validation = partners.validation.get(test.name) or (open_split(test, "validation") if asked.is_fitted else None)
    if asked.is_fitted and train is None:
        raise InputError(f"{test.name}: expected images to fit on, found none; name them with --train {test.name}=PATH")
    for option, part in (("--train", train), ("--validation", validation)):
        if part is not None and part is not test:
            require_others(option, part, test)
    words = read_words(test.name, asked.wording, asked.metric)
    for part in filter(None, (test, train, validation)):
        require_labels(part)
    require_fit(words, test.listing.classes, test.has_several)
    return Judged(test, train, validation, words)


def _suite_sets(asked: Asked) -> dict[str, str]:
    """Return NAME=PATH, by name, of the sets of a suite that lie in a folder; raises UserError when none does."""
    tasks = find_suite(asked.suite or "")
    if len(asked.data) != 1 or not is_folder(asked.data[0]):
        found = ", ".join(map(repr, asked.data))
        raise UserError(f"--suite {asked.suite}: expected one --data, the folder of its sets, found {found}")
    folders = find_folders(tasks, list_names(asked.data[0]))
    if not folders:
        shown = ", ".join(task.name for task in tasks[:3])
        raise UserError(f"{asked.data[0]}: expected sets of {asked.suite} ({shown} and so on) by name, found none")
    missing = [task.name for task in tasks if task.name not in folders]
    if missing:
        click.echo(f"{asked.suite}: {len(folders)} of {len(tasks)} sets; not there: {', '.join(missing)}", err=True)
    return {
        task.name: f"{task.name}={join(asked.data[0], folders[task.name])}" for task in tasks if task.name in folders
    }
