"""People beside a model: the paper's section 4, on answers that its user has gathered.

A file of answers (CSV, TSV or JSON Lines) has `person`, `item` (an image's path, as in the predictions), `answer`
(the name of a class, "don't know", or nothing) and, where people saw examples of each class first, `shots` (0, 1, 2).
The paper had five people name the breeds of 3,669 images of Oxford-IIIT Pets, by 37 names and "don't know": they
were right in 53.7 % without an example, 75.7 % with one of each, 75.7 % with two; CLIP in 93.5 % without any.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from trainer.evaluation.tables import Row, read_rows
from wit.errors import InputError

DONT_KNOW: Final = "don't know"
PUBLISHED_ACCURACY: Final = {0: 0.537, 1: 0.757, 2: 0.757}
"""Of people on Oxford-IIIT Pets, by shots (section 4)."""

MAX_SHOTS: Final = 1_000
_COLUMNS = ("person", "item", "answer")
_FORGIVEN = str.maketrans({"_": " ", "’": "'"})


@dataclass(frozen=True)
class Answer:
    """What a person said of an image."""

    person: str
    item: str
    name: str | None
    """A class as it was written; None: the person does not know."""
    shots: int = 0
    """Examples of each class that the person had seen."""


def read_answers(url: str) -> tuple[Answer, ...]:
    """Return the answers of a file, in its order.

    Raises InputError when a column is missing, a row has no person or item, or a person answers twice.
    """
    found: dict[tuple[str, str, int], Answer] = {}
    for row in read_rows(url, _COLUMNS):
        answer = _answer(row)
        key = (answer.person, answer.item, answer.shots)
        if key in found:
            raise InputError(
                f"{row.where}: expected one answer of {answer.person} to {answer.item} with {answer.shots} shots, "
                "found another; take one away"
            )
        found[key] = answer
    return tuple(found.values())


def _answer(row: Row) -> Answer:
    name, shots = row.optional("answer"), row.count("shots", MAX_SHOTS) if row.optional("shots") else 0
    return Answer(row.text("person"), row.text("item"), None if _plain(name) in ("", DONT_KNOW) else name, shots)


def _plain(name: str) -> str:
    """Return a name without what people write differently: case, "_" for a space, the apostrophe."""
    return name.translate(_FORGIVEN).casefold().strip()


@dataclass(frozen=True)
class People:
    """What people with as many shots said, as the paper's Table 2 scores it."""

    shots: int
    num_people: int
    num_items: int
    accuracy: float
    """Mean over people of the share of their items that is right; who does not know is not right."""
    accuracy_of_guesses: float
    """The same of the answers that name a class; NaN when a person names none."""
    majority: float
    """Share of items whose most frequent name is right: of k names equally frequent, each counts 1 / k."""
    majority_of_guesses: float
    """The same of the items that anyone names; NaN when nobody does."""
    answers: Mapping[str, Mapping[str, str | None]]
    """By item, then person: the class; None: does not know."""


def score_people(answers: Sequence[Answer], labels: Mapping[str, str], classes: Collection[str]) -> dict[int, People]:
    """Return what people said by shots, fewest first.

    `labels`: the class of each item, by item. The paper does not say how a vote without a majority counts; here it is
    what drawing one of the most frequent names would give on average, and who does not know has no vote. Raises
    InputError for an answer that is no class, an item without a label, or classes that differ in case alone.
    """
    names = {_plain(name): name for name in classes}
    if len(names) < len(set(classes)):
        lost = next(name for name in classes if names[_plain(name)] != name)
        raise InputError(
            f"classes: expected names that people can tell apart, found {lost!r} and {names[_plain(lost)]!r}"
        )
    by_shots: dict[int, dict[str, dict[str, str | None]]] = defaultdict(lambda: defaultdict(dict))
    for answer in answers:
        where = f"answer of {answer.person} to {answer.item}"
        if answer.item not in labels:
            raise InputError(f"{where}: expected an item of the evaluation, found none of that path")
        if answer.name is not None and _plain(answer.name) not in names:
            raise InputError(f"{where}: expected one of {len(names)} classes or {DONT_KNOW!r}, found {answer.name!r}")
        said = None if answer.name is None else names[_plain(answer.name)]
        by_shots[answer.shots][answer.item][answer.person] = said
    return {shots: _score(shots, by_shots[shots], labels) for shots in sorted(by_shots)}


def _score(shots: int, said: Mapping[str, Mapping[str, str | None]], labels: Mapping[str, str]) -> People:
    right: dict[str, list[bool]] = defaultdict(list)
    guessed: dict[str, list[bool]] = defaultdict(list)
    for item, person, name in _each(said):
        right[person].append(name == labels[item])
        guessed[person] += [name == labels[item]] if name is not None else []
    votes = {item: _vote(by_person.values()) for item, by_person in said.items()}
    shares = {item: names.get(labels[item], 0.0) for item, names in votes.items()}
    voted = [shares[item] for item, names in votes.items() if names]
    return People(
        shots,
        len(right),
        len(said),
        float(np.mean([np.mean(each) for each in right.values()])),
        float(np.mean([_mean(guessed[person]) for person in right])),
        float(np.mean(list(shares.values()))),
        _mean(voted),
        said,
    )


def _each(said: Mapping[str, Mapping[str, str | None]]) -> Iterator[tuple[str, str, str | None]]:
    for item, by_person in said.items():
        for person, name in by_person.items():
            yield item, person, name


def _vote(names: Collection[str | None]) -> dict[str, float]:
    """Return the most frequent names, each with its share of the vote; none when nobody names any."""
    counts = Counter(name for name in names if name is not None)
    most = [name for name, count in counts.items() if count == max(counts.values())]
    return dict.fromkeys(most, 1 / len(most)) if most else {}


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


@dataclass(frozen=True)
class ClassAgreement:
    """People and the model on the items of a class."""

    name: str
    num_items: int
    num_answers: int
    people: float
    """Share of the answers that is right."""
    model: float
    """Share of the items that the model has right."""
    agreement: float
    """Share of the answers that are the model's, right or wrong."""


@dataclass(frozen=True)
class Agreement:
    """People beside a model on the items that both judged."""

    classes: tuple[ClassAgreement, ...]
    """Hardest for people first (Figure 16)."""
    correlation: float
    """Pearson's, over classes, of people's and the model's accuracy; NaN when one is the same for all classes."""
    rank_correlation: float
    """Spearman's; NaN likewise."""
    kappa: float
    """Cohen's, of the people's vote and the model's answer: 0 by chance, 1 for always the same.

    Over items with one most frequent name; NaN when there is none, or both name one and the same class only.
    """


def compare_with_model(people: People, predictions: pa.Table) -> Agreement:
    """Return how people and a model agree; `predictions`: wit.schema.PREDICTIONS, whose paths are the items.

    Raises InputError when no item was judged by both.
    """
    rows = {row["path"]: row for row in predictions.select(["path", "label", "prediction"]).to_pylist()}
    shared = {item: rows[item] for item in people.answers if item in rows}
    if not shared:
        raise InputError(f"predictions: expected one of {people.num_items} items that people judged, found none")
    by_class: dict[str, list[str]] = defaultdict(list)
    for item, row in shared.items():
        by_class[row["label"]].append(item)
    classes = [_class_agreement(name, items, people, shared) for name, items in by_class.items()]
    pairs = [(vote, shared[item]["prediction"]) for item in shared for vote in _clear_vote(people, item)]
    by_people, by_model = [one.people for one in classes], [one.model for one in classes]
    return Agreement(
        tuple(sorted(classes, key=lambda one: (one.people, one.name))),
        _correlation(by_people, by_model),
        _correlation(_ranks(by_people), _ranks(by_model)),
        cohen_kappa(pairs),
    )


def _class_agreement(
    name: str, items: Sequence[str], people: People, rows: Mapping[str, Mapping[str, str]]
) -> ClassAgreement:
    said = [(each, rows[item]["prediction"]) for item in items for each in people.answers[item].values()]
    return ClassAgreement(
        name,
        len(items),
        len(said),
        float(np.mean([each == name for each, _ in said])),
        float(np.mean([rows[item]["prediction"] == name for item in items])),
        float(np.mean([each == prediction for each, prediction in said])),
    )


def _clear_vote(people: People, item: str) -> list[str]:
    names = list(_vote(people.answers[item].values()))
    return names if len(names) == 1 else []


def cohen_kappa(pairs: Sequence[tuple[str, str]]) -> float:
    """Return (p - e) / (1 - e): p the share of pairs that agree, e what chance gives (Cohen, 1960); NaN without."""
    ones, others = Counter(one for one, _ in pairs), Counter(other for _, other in pairs)
    by_chance = sum(count * others[name] for name, count in ones.items())
    num_pairs = len(pairs)
    if by_chance == num_pairs**2:  # no pairs too
        return float("nan")
    return (num_pairs * sum(one == other for one, other in pairs) - by_chance) / (num_pairs**2 - by_chance)


def _ranks(values: Sequence[float]) -> list[float]:
    from scipy.stats import rankdata

    return [float(rank) for rank in rankdata(values)]


def _correlation(ones: Sequence[float], others: Sequence[float]) -> float:
    if np.ptp(ones) == 0 or np.ptp(others) == 0:
        return float("nan")
    return float(np.corrcoef(ones, others)[0, 1])
