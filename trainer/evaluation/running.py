"""Evaluates a checkpoint on sets as a command asks for it: opens them, embeds them, judges, prints and writes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import click

from trainer.evaluation.evaluating import compare_prompts, zero_shot
from trainer.evaluation.features import Embedding, Features, embed_set
from trainer.evaluation.fitting import curve_result, few_shot_curve, linear_probe, split_features
from trainer.evaluation.outcomes import Outcome, write_outcome
from trainer.evaluation.printing import print_curve, print_probe, print_zero_shot
from trainer.evaluation.probe import Splits
from trainer.evaluation.problems import Wording, Words, departures, pose, read_words, require_fit
from trainer.evaluation.sets import OpenSet, open_set
from trainer.evaluation.suite import find_folders, find_suite
from trainer.models.build import AnyModel
from trainer.models.flops import dense_macs
from trainer.models.identity import fingerprint
from trainer.parallel.ranks import Ranks
from trainer.tokenizer import ClipTokenizer
from wit import manifest
from wit.errors import UserError
from wit.progress import progress
from wit.storage import is_folder, join, list_names, write_parquet


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


def _numbers(text: str) -> tuple[int, ...]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise UserError(f"--shots {text!r}: expected numbers above 0 with commas between, such as 1,2,4,8,16")
    return tuple(sorted({int(word) for word in words}))


@dataclass(frozen=True)
class _Sets:
    """One set to evaluate, and those of it that probes are fitted on."""

    test: OpenSet
    train: OpenSet | None
    validation: OpenSet | None
    words: Words


def run(name: str, model: AnyModel, tokenizer: ClipTokenizer, asked: Asked, ranks: Ranks) -> None:
    """Evaluate a model, in evaluation mode on its device, on all sets that are asked for; all ranks must call it.

    Raises UserError, or InputError, for what cannot be evaluated.
    """
    sets = _open_all(asked)
    if asked.out and ranks.is_first:
        facts = {
            "name": name,
            "fingerprint": fingerprint(model),
            "model": asdict(model.config),
            "gflops_per_image": dense_macs(model.config).image / 1e9,  # multiply-adds, as the paper's Figure 9 has them
        }
        manifest.write(join(asked.out, "checkpoint.json"), facts)
    for one in sets:
        if ranks.is_first and (len(sets) > 1 or one.test.is_named):
            click.echo(one.test.listing.line())
        _run_one(model, tokenizer, one, asked, ranks)


def _open_all(asked: Asked) -> list[_Sets]:
    """Return the sets of the command, in its order; raises UserError for two of one name, or one that is none's."""
    texts = asked.data if asked.suite is None else _suite_sets(asked)
    tests = [open_set(text) for text in texts]
    names = [one.name for one in tests]
    if len(set(names)) < len(names):
        twice = next(each for each in names if names.count(each) > 1)
        raise UserError(f"--data: expected a name for each set, found two of the name {twice!r}; write NAME=PATH")
    trains, validations = (_partners(option, texts, names) for option, texts in
                           (("--train", asked.train), ("--validation", asked.validation)))  # fmt: skip
    is_fitted = asked.probe or bool(asked.shots)
    sets = []
    for one in tests:
        train = trains.get(one.name) or (_split_of(one, "train") if is_fitted else None)
        validation = validations.get(one.name) or (_split_of(one, "validation") if is_fitted else None)
        if is_fitted and train is None:
            raise UserError(
                f"{one.name}: expected images to fit on, found none; name them with --train {one.name}=PATH"
            )
        words = read_words(one.name, asked.wording, asked.metric)
        require_fit(words, one.listing.classes)
        sets.append(_Sets(one, train, validation, words))
    return sets


def _suite_sets(asked: Asked) -> list[str]:
    """Return NAME=PATH of the sets of a suite that lie in a folder; raises UserError when none does."""
    tasks = find_suite(asked.suite or "")
    if len(asked.data) != 1 or not is_folder(asked.data[0]):
        raise UserError(f"--suite {asked.suite}: expected --data with the folder of its sets, found {asked.data[0]!r}")
    folders = find_folders(tasks, list_names(asked.data[0]))
    if not folders:
        shown = ", ".join(task.name for task in tasks[:3])
        raise UserError(f"{asked.data[0]}: expected sets of {asked.suite} ({shown} and so on) by name, found none")
    missing = [task.name for task in tasks if task.name not in folders]
    if missing:
        click.echo(f"{asked.suite}: {len(folders)} of {len(tasks)} sets; not there: {', '.join(missing)}", err=True)
    return [f"{task.name}={join(asked.data[0], folders[task.name])}" for task in tasks if task.name in folders]


def _partners(option: str, texts: tuple[str, ...], names: list[str]) -> dict[str, OpenSet]:
    """Return the set of each name that an option gives; without a name it is that of the only set."""
    partners: dict[str, OpenSet] = {}
    for text in texts:
        opened = open_set(text)
        name = opened.name if opened.is_named else names[0]
        if name not in names or (not opened.is_named and len(names) > 1) or name in partners:
            raise UserError(f"{option} {text!r}: expected NAME=PATH, once for each of {', '.join(names)}")
        partners[name] = opened
    return partners


def _split_of(one: OpenSet, split: str) -> OpenSet | None:
    """Return the split of a set that lies in a folder of that name, if there is one."""
    folder = join(one.listing.set.path, split)
    is_there = split in one.listing.left_out and is_folder(folder)
    return open_set(f"{one.name}={folder}") if is_there else None


def _run_one(model: AnyModel, tokenizer: ClipTokenizer, sets: _Sets, asked: Asked, ranks: Ranks) -> None:
    features = _embed(model, sets.test, asked, ranks)
    train, validation = (_embed(model, each, asked, ranks) if each else None for each in (sets.train, sets.validation))
    if not ranks.is_first:
        return
    problem = pose(features, sets.words)
    differs = "; ".join(departures(problem))
    details: dict[str, Any] = {"data": _named(sets.test)} | ({"not_as_the_paper": differs} if differs else {})
    more = dict(details)
    if asked.compare_prompts:
        with progress("compare prompts", None, "scorings") as advance:
            more["prompts"] = compare_prompts(model, tokenizer, features, problem, advance)
    outcome = zero_shot(model, tokenizer, features, problem, more)
    print_zero_shot(outcome, features)
    if asked.out:
        write_outcome(asked.out, outcome)
        if len(asked.data) == 1 and not sets.test.is_named and asked.suite is None:
            _write_single(asked.out, outcome)
    if train is not None:
        splits = split_features(problem, features, train, validation, sets.test.name)
        _fit(outcome, splits, asked, details, next(model.parameters()).device.type)


def _fit(outcome: Outcome, splits: Splits, asked: Asked, details: dict[str, Any], device: str) -> None:
    """Fit the probes that are asked for; `outcome` is zero-shot's."""
    probed = linear_probe(outcome.problem, splits, device, details) if asked.probe else None
    if probed is not None:
        print_probe(probed)
        if asked.out:
            write_outcome(asked.out, probed)
    if asked.shots:
        curve = few_shot_curve(outcome.problem, splits, asked.shots, device, (outcome.value, probed))
        print_curve(curve, outcome)
        if asked.out:
            url = join(asked.out, "results", f"{outcome.problem.name}.few_shot.json")
            manifest.write(url, curve_result(outcome, curve, details))


def _named(opened: OpenSet) -> str:
    """Return a set as a page reads it: NAME=FORMAT:PATH."""
    return f"{opened.name}={opened.listing.format}:{opened.listing.set.path}"


def _embed(model: AnyModel, opened: OpenSet, asked: Asked, ranks: Ranks) -> Features:
    bar = progress(f"evaluate {opened.name}", opened.num_known, "images") if ranks.is_first else nullcontext(_silent)
    with bar as advance:
        return embed_set(model, opened, asked.embedding, ranks, advance)


def _silent(_: int) -> None:
    """Say nothing of progress."""


def _write_single(out: str, outcome: Outcome) -> None:
    """Publish predictions.parquet and result.json of the only set, which has no name of its own."""
    low, high = outcome.accuracy_interval
    rows = outcome.by_class()
    write_parquet(join(out, "predictions.parquet"), outcome.predictions())
    facts = {
        "accuracy": outcome.accuracy,
        "top5_accuracy": outcome.top_k(5),
        "interval": {"low": low, "high": high, "confidence": 0.95},
        "chance": 1 / outcome.problem.num_classes,
        "num_images": len(outcome.items),
        "num_classes": outcome.problem.num_classes,
        "correct_by_class": {row["class"]: row["num_correct"] for row in rows},
        "images_by_class": {row["class"]: row["num_items"] for row in rows},
    }
    manifest.write(join(out, "result.json"), facts)
