from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import cohen_kappa_score

from trainer.evaluation.human import (
    PUBLISHED_ACCURACY,
    Answer,
    cohen_kappa,
    compare_with_model,
    read_answers,
    score_people,
)
from wit.errors import InputError
from wit.schema import PREDICTIONS

CLASSES = ("Abyssinian", "Bengal", "Birman")
LABELS = {"a.jpg": "Abyssinian", "b.jpg": "Bengal", "c.jpg": "Birman", "d.jpg": "Birman"}
HEADER = "person,item,answer,shots\n"


def predictions(by_item: dict[str, str], labels: dict[str, str]) -> pa.Table:
    """Return a model's predictions, which are sure of themselves."""
    rows = [
        {
            "path": item,
            "label": labels[item],
            "prediction": name,
            "probability": 1.0,
            "label_probability": float(name == labels[item]),
            "label_rank": 1 if name == labels[item] else 2,
        }
        for item, name in by_item.items()
    ]
    return pa.Table.from_pylist(rows, schema=PREDICTIONS)


def test_a_file_of_answers_by_hand(tmp_path: Path) -> None:
    """Two people, four items, spelled as people do: every number of the paper's table, worked out by hand.

    p: Abyssinian, Bengal, don't know, Bengal; q: Abyssinian, Birman, nothing, Birman. Right: p 2 of 4, q 2 of 4; of
    those named p 2 of 3, q 2 of 3. Votes: right, half, nobody, half: 2 of 4, of those voted on 2 of 3.
    """
    path = tmp_path / "answers.csv"
    path.write_text(
        "\ufeff" + HEADER + "p,a.jpg,abyssinian,0\np,b.jpg,BENGAL,0\np,c.jpg,Don’t know,0\np,d.jpg,Bengal,0\n"
        'q,a.jpg," Abyssinian ",0\nq,b.jpg,birman,0\nq,c.jpg,,0\nq,d.jpg,Birman,0\np,a.jpg,Bengal,2\n',
        encoding="utf-8",
    )
    found = score_people(read_answers(str(path)), LABELS, CLASSES)
    assert list(found) == [0, 2]
    people = found[0]
    assert (people.num_people, people.num_items) == (2, 4)
    assert (people.accuracy, people.accuracy_of_guesses) == pytest.approx((0.5, 2 / 3))
    assert (people.majority, people.majority_of_guesses) == pytest.approx((0.5, 2 / 3))
    assert people.answers["c.jpg"] == {"p": None, "q": None}
    assert found[2].accuracy == found[2].majority == 0


def test_people_and_model_by_hand() -> None:
    """Two people beside a model on three items: shares by class, the hardest for people first."""
    answers = [
        Answer("p", "a.jpg", "Abyssinian"), Answer("q", "a.jpg", "Bengal"),
        Answer("p", "b.jpg", "Bengal"), Answer("q", "b.jpg", "Bengal"),
        Answer("p", "c.jpg", None), Answer("q", "c.jpg", "Bengal"),
    ]  # fmt: skip
    people = score_people(answers, LABELS, CLASSES)[0]
    model = predictions({"a.jpg": "Abyssinian", "b.jpg": "Bengal", "c.jpg": "Bengal", "d.jpg": "Birman"}, LABELS)
    found = compare_with_model(people, model)
    shown = [(one.name, one.num_items, one.num_answers, one.people, one.model, one.agreement) for one in found.classes]
    assert shown == [("Birman", 1, 2, 0, 0, 0.5), ("Abyssinian", 1, 2, 0.5, 1, 0.5), ("Bengal", 1, 2, 1, 1, 1)]
    assert found.correlation == pytest.approx(pearsonr([0, 0.5, 1], [0, 1, 1]).statistic)
    assert math.isnan(found.kappa)  # two clear votes, all Bengal, the model too
    with pytest.raises(InputError, match="expected one of 3 items that people judged, found none"):
        compare_with_model(people, model.slice(3))


@given(st.integers(0, 1 << 30))
def test_agreement_is_scipys_and_scikit_learns(seed: int) -> None:
    """One person, 60 items of 5 classes: kappa is scikit-learn's; correlations over classes are scipy's.

    With one person the vote is the answer, so the majority's share is the person's.
    """
    rng = np.random.default_rng(seed)
    names = [f"class {number}" for number in range(5)]
    labels = {f"{number}.jpg": names[number % 5] for number in range(60)}
    said = {item: label if rng.random() < 0.5 else str(rng.choice(names)) for item, label in labels.items()}
    guessed = {item: label if rng.random() < 0.6 else str(rng.choice(names)) for item, label in labels.items()}
    people = score_people([Answer("p", item, name) for item, name in said.items()], labels, names)[0]
    assert people.accuracy == people.majority == people.accuracy_of_guesses == people.majority_of_guesses
    found = compare_with_model(people, predictions(guessed, labels))
    assert found.kappa == pytest.approx(cohen_kappa_score(list(said.values()), list(guessed.values())))
    ones, others = [one.people for one in found.classes], [one.model for one in found.classes]
    if min(np.ptp(ones), np.ptp(others)) > 0:
        assert found.correlation == pytest.approx(pearsonr(ones, others).statistic)
        assert found.rank_correlation == pytest.approx(spearmanr(ones, others).statistic)
    assert [one.people for one in found.classes] == sorted(ones)
    assert np.mean(ones) == pytest.approx(people.accuracy)  # as many items of each class


def test_votes_help_people_who_err_apart() -> None:
    """Five people who are right in the paper's 53.7 % and otherwise guess any of 37: votes are right far more often.

    Planted accuracy is found to 3 deviations: 5 x 1,000 answers, 0.007 each. Who always knows alike gains nothing.
    """
    rng = np.random.default_rng(0)
    names = [f"breed {number}" for number in range(37)]
    labels = {str(number): names[number % 37] for number in range(1000)}
    answers = []
    for person in "vwxyz":
        for item, label in labels.items():
            other = names[(names.index(label) + int(rng.integers(1, 37))) % 37]
            answers.append(Answer(person, item, label if rng.random() < PUBLISHED_ACCURACY[0] else other))
    people = score_people(answers, labels, names)[0]
    assert people.accuracy == pytest.approx(0.537, abs=0.021)
    assert people.majority > 0.85
    alike = [Answer(person, one.item, one.name) for person in "vwxyz" for one in answers if one.person == "v"]
    same = score_people(alike, labels, names)[0]
    assert same.majority == pytest.approx(same.accuracy)


def test_kappa_without_chance() -> None:
    """Nothing to compare, or one class on both sides, has no kappa; full agreement is 1, the reverse of two is -1."""
    assert math.isnan(cohen_kappa([]))
    assert math.isnan(cohen_kappa([("a", "a")]))
    assert cohen_kappa([("a", "a"), ("b", "b")]) == 1
    assert cohen_kappa([("a", "b"), ("b", "a")]) == -1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("person,answer\np,Bengal\n", "expected 'person', 'item', 'answer', found no 'item'"),
        ("", "expected rows with person, item, answer, found none"),
        (HEADER, "expected rows with person, item, answer, found none"),
        (HEADER + ",a.jpg,Bengal,0\n", "line 2: expected a text under 'person', found nothing"),
        (HEADER + "p\n", "line 2: expected 4 cells as in the first line, found fewer"),
        (HEADER + "p,a.jpg,Bengal,two\n", "line 2: expected a number from 0 to 1000 under 'shots', found"),
        (HEADER + "p,a.jpg,Bengal,1.5\n", "line 2: expected a whole number under 'shots', found '1.5'"),
        (HEADER + "p,a.jpg,Bengal," + "9" * 5_000 + "\n", "line 2: expected a number from 0 to 1000 under 'shots'"),
        (HEADER + "p,a.jpg,Bengal,0\np,a.jpg,Birman,0\n", "line 3: expected one answer of p to a.jpg with 0 shots"),
    ],
)
def test_a_file_that_has_no_answers(tmp_path: Path, text: str, message: str) -> None:
    """Missing columns, blank cells, a person who answers twice: one clear line that names the file and line."""
    path = tmp_path / "answers.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as raised:
        read_answers(str(path))
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_answers_to_something_else(tmp_path: Path) -> None:
    """A breed that is no class, an image that was not evaluated, no file, other bytes: one clear line."""
    with pytest.raises(InputError, match=r"answer of p to a\.jpg: expected one of 3 classes or .*, found 'Pug'"):
        score_people([Answer("p", "a.jpg", "Pug")], LABELS, CLASSES)
    with pytest.raises(InputError, match=r"answer of p to e\.jpg: expected an item of the evaluation"):
        score_people([Answer("p", "e.jpg", "Bengal")], LABELS, CLASSES)
    with pytest.raises(InputError, match="expected names that people can tell apart, found 'Bengal' and 'bengal'"):
        score_people([Answer("p", "a.jpg", "Bengal")], LABELS, [*CLASSES, "bengal"])
    with pytest.raises(InputError):
        read_answers(str(tmp_path / "none.csv"))
    (tmp_path / "bytes.csv").write_bytes(b"person,item,answer\np,\xff,Bengal\n")
    with pytest.raises(InputError, match="expected text in UTF-8"):
        read_answers(str(tmp_path / "bytes.csv"))
