"""The page of people beside a model: accuracy by shots, agreement by class (the paper's section 4)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import pyarrow as pa

from trainer.evaluation.human import (
    PUBLISHED_ACCURACY,
    Agreement,
    ClassAgreement,
    People,
    compare_with_model,
    read_answers,
    score_people,
)
from trainer.evaluation.report import figures
from trainer.evaluation.report.grids import Chapter, Drawing, Grid, escape
from trainer.evaluation.report.results import require_predictions
from trainer.evaluation.report.summary import percent
from wit import manifest
from wit.errors import InputError
from wit.page import document, headline, paragraph
from wit.storage import join, make_folder, publish_text, read_parquet

_TITLE = "People beside a model"
_PAPER = (
    "The paper had five people name the breeds of Oxford-IIIT Pets' 3,669 test images; its zero-shot model was right "
    "on 93.5 %. Beside another set its numbers are no yardstick."
)
MAX_DRAWN = 60
"""Classes of a figure, the hardest for people."""


@dataclass(frozen=True)
class Judged:
    """What people with as many shots said, and the model on the same items."""

    people: People
    agreement: Agreement
    model: float
    """Share of these items that the model has right."""


def judge(answers_url: str, predictions_url: str) -> dict[int, Judged]:
    """Return people beside a model by shots, the fewest first.

    Raises InputError for a file that is otherwise, an answer that is no class, or an item without a prediction.
    """
    predictions = require_predictions(predictions_url, read_parquet(predictions_url))
    rows = predictions.select(["path", "label", "prediction"]).to_pylist()
    labels = {row["path"]: row["label"] for row in rows}
    if len(labels) < len(rows):
        raise InputError(f"{predictions_url}: expected one row an image, found {len(rows):,} of {len(labels):,}; "
                         "people are compared on sets of one class an image")  # fmt: skip
    classes = sorted({row[column] for row in rows for column in ("label", "prediction")})
    people = score_people(read_answers(answers_url), labels, classes)
    return {shots: _judged(one, predictions) for shots, one in people.items()}


def _judged(people: People, predictions: pa.Table) -> Judged:
    agreement = compare_with_model(people, predictions)
    num_items = sum(one.num_items for one in agreement.classes)
    return Judged(people, agreement, sum(one.model * one.num_items for one in agreement.classes) / num_items)


def accuracy_lines(found: Mapping[int, Judged]) -> list[str]:
    """Return a line for each number of shots, as the command prints it."""
    return [
        f"{_shots(one)}: {_counted(one.people)} {one.people.accuracy:.1%}, majority {one.people.majority:.1%}, "
        f"the model {one.model:.1%} ({one.people.num_items:,} items); {_agreement(one)}"
        for one in found.values()
    ]


def write_people(found: Mapping[int, Judged], out: str) -> list[str]:
    """Write people.html, people.md and people.json, and return their paths; the same answers give the same bytes."""
    make_folder(out)
    parts = chapters(found)
    publish_text(join(out, "people.html"), _page(found, parts))
    publish_text(join(out, "people.md"), "\n".join([f"# {escape(_TITLE)}\n", *(one.to_markdown() for one in parts)]))
    manifest.write(join(out, "people.json"), {"by_shots": [_facts(one) for one in found.values()]})
    return [join(out, f"people.{suffix}") for suffix in ("html", "md", "json")]


def _page(found: Mapping[int, Judged], parts: Sequence[Chapter]) -> str:
    first = next(iter(found.values()))
    facts = {
        "people": f"{first.people.num_people:,}",
        "items": f"{first.people.num_items:,}",
        f"of people, {_shots(first)}, %": percent(first.people.accuracy) or "",
        "of the model, %": percent(first.model) or "",
    }
    opening = [paragraph("Answers of people and a model's predictions on the same images."), headline(facts)]
    return document(_TITLE, opening, [one.to_html() for one in parts])


def chapters(found: Mapping[int, Judged]) -> list[Chapter]:
    """Return the parts of the page."""
    parts = [Chapter("Accuracy", "accuracy", (_accuracies(found), _PAPER))]
    for one in found.values():
        heading = f"By class, {_shots(one)}"
        parts.append(
            Chapter(
                heading,
                f"classes-{one.people.shots}",
                (_drawn(one), f"How alike they are: {_agreement(one)}.", _classes(one)),
            )
        )
    return parts


def _counted(people: People) -> str:
    return "1 person" if people.num_people == 1 else f"{people.num_people} people"


def _shots(one: Judged) -> str:
    return "1 shot" if one.people.shots == 1 else f"{one.people.shots} shots"


def _accuracies(found: Mapping[int, Judged]) -> Grid:
    columns = {
        "shots": False, "people": True, "items": True, "accuracy": True, "of guesses": True, "majority": True,
        "majority of guesses": True, "the model": True, "people in the paper": True,
    }  # fmt: skip
    rows = [
        (
            _shots(one),
            f"{one.people.num_people:,}",
            f"{one.people.num_items:,}",
            *map(_share, (one.people.accuracy, one.people.accuracy_of_guesses, one.people.majority)),
            _share(one.people.majority_of_guesses),
            percent(one.model),
            percent(PUBLISHED_ACCURACY.get(one.people.shots)),
        )
        for one in found.values()
    ]
    return Grid("Accuracy, %; who does not know is not right, and makes no guess", columns, rows)


def _share(value: float) -> str | None:
    return None if math.isnan(value) else percent(value)


def _agreement(one: Judged) -> str:
    words = [
        f"{name} {value:.2f}"
        for name, value in (
            ("correlation over classes (Pearson)", one.agreement.correlation),
            ("of ranks (Spearman)", one.agreement.rank_correlation),
            ("kappa of the people's vote and the model's answer (Cohen)", one.agreement.kappa),
        )
        if not math.isnan(value)
    ]
    return "; ".join(words) or "no correlation: one of them is alike for all classes"


def _drawn(one: Judged) -> Drawing:
    classes = one.agreement.classes[:MAX_DRAWN]
    left_out = len(one.agreement.classes) - len(classes)
    more = f" {left_out} more are in the table." if left_out else ""
    note = f"Accuracy by class, the hardest for people first, as the paper's Figure 16 asks.{more}"
    rows = [(each.name, each.people, each.model) for each in classes]
    return Drawing(
        partial(figures.people_and_model, rows, f"Accuracy of people, {_shots(one)}, and of the model."), note
    )


def _classes(one: Judged) -> Grid:
    columns = {"class": False, "people": True, "model": True, "same answer": True, "items": True, "answers": True}
    return Grid("By class, %", columns, [_class_row(each) for each in one.agreement.classes])


def _class_row(each: ClassAgreement) -> tuple[str | None, ...]:
    shares = map(percent, (each.people, each.model, each.agreement))
    return (each.name, *shares, f"{each.num_items:,}", f"{each.num_answers:,}")


def _facts(one: Judged) -> dict[str, object]:
    """Return it for JSON, which has no number for what is not known."""
    people, agreement = one.people, one.agreement
    shares = {
        "accuracy": people.accuracy,
        "accuracy_of_guesses": people.accuracy_of_guesses,
        "majority": people.majority,
        "majority_of_guesses": people.majority_of_guesses,
        "model": one.model,
        "correlation": agreement.correlation,
        "rank_correlation": agreement.rank_correlation,
        "kappa": agreement.kappa,
    }
    counts: dict[str, object] = {
        "shots": people.shots,
        "num_people": people.num_people,
        "num_items": people.num_items,
        "paper": PUBLISHED_ACCURACY.get(people.shots),
    }
    known = {name: None if math.isnan(value) else value for name, value in shares.items()}
    return counts | known | {"classes": [asdict(each) for each in agreement.classes]}
