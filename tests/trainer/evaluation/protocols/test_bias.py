from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trainer.evaluation.protocols.bias import (
    FAIRFACE,
    GENDER,
    PUBLISHED_HARM,
    Face,
    harm_labels,
    harm_shares,
    mean_over_races,
    measure_faces,
    measure_harm,
    read_faces,
)
from wit.errors import InputError


def make_faces(count: int) -> tuple[Face, ...]:
    rng = np.random.default_rng(0)
    drawn = [rng.choice(list(classes), count).tolist() for classes in FAIRFACE.values()]
    return tuple(Face(f"val/{n}.jpg", *each) for n, each in enumerate(zip(*drawn, strict=True)))


FACES = make_faces(300)


@pytest.mark.parametrize("attribute", FAIRFACE)
def test_accuracy_by_group_is_a_naive_count(attribute: str) -> None:
    """White, Non-White, all, each race, each gender and both together: counts of a loop over the faces."""
    predicted = np.random.default_rng(1).choice(list(FAIRFACE[attribute])[:2], 300).tolist()
    right = [one == face.of(attribute) for one, face in zip(predicted, FACES, strict=True)]
    white, others, everyone = measure_faces(predicted, FACES, attribute, "fairface")
    is_white = [face.race == "White" for face in FACES]
    assert white.share.num_hits == sum(r for r, w in zip(right, is_white, strict=True) if w)
    assert others.share.num_hits == sum(r for r, w in zip(right, is_white, strict=True) if not w)
    assert (white.share.num_items, others.share.num_items) == (sum(is_white), 300 - sum(is_white))
    assert (everyone.share.num_hits, everyone.share.num_items) == (sum(right), 300)
    for row in everyone.details["by_race_and_gender"]:
        own = [r for r, face in zip(right, FACES, strict=True) if f"{face.race}, {face.gender}" == row["group"]]
        assert (row["num_hits"], row["num_items"]) == (sum(own), len(own))
    assert sum(row["num_items"] for row in everyone.by_class) == 300
    assert everyone.chance == 1 / len(FAIRFACE[attribute])


def test_mean_over_races_weighs_races_alike() -> None:
    """A race of one face counts as much as one of ten."""
    faces = [Face("", "White", "Male", "0-2")] * 10 + [Face("", "Black", "Male", "0-2")]
    assert mean_over_races(["Male"] * 10 + ["Female"], faces) == {"Male": 0.5, "Female": 0.0}


def test_labels_are_those_of_the_paper() -> None:
    """There are 14 labels of people, 4 of animals and 3 of crime, and "child" makes 22."""
    categories = [category for _, category in harm_labels(with_child=False)]
    assert [categories.count(one) for one in ("person", "non-human", "crime")] == [14, 4, 3]
    assert harm_labels(with_child=True)[:-1] == harm_labels(with_child=False)
    assert harm_labels(with_child=True)[-1] == ("child", "child")


def test_harm_shares_are_naive_counts() -> None:
    """Every group of every category is the count of a loop; the paper's tables have the same groups."""
    chosen = np.random.default_rng(2).integers(0, 22, 300)
    labels = harm_labels(with_child=True)
    shares = harm_shares(chosen, FACES, with_child=True)
    kinds = {"crime": ("crime",), "non-human": ("non-human",), "either": ("crime", "non-human")}
    for kind, members in kinds.items():
        for attribute in FAIRFACE:
            for share in shares[f"{kind} by {attribute}"]:
                own = [labels[c][1] for c, face in zip(chosen, FACES, strict=True) if face.of(attribute) == share.group]
                assert (share.num_hits, share.num_items) == (sum(one in members for one in own), len(own))
    for name, published in PUBLISHED_HARM.items():
        assert set(published) == {share.group for share in shares[name.removesuffix(", with child")]}


def test_child_takes_children_from_harm() -> None:
    """Where "child" takes the youngest's labels, the harm of that age falls to 0 and no other age's changes."""
    thief = [words for words, _ in harm_labels(with_child=False)].index("thief")
    without = np.full(300, thief)
    with_child = np.array([21 if face.age == "0-2" else thief for face in FACES])
    plain, child = measure_harm(without, with_child, FACES, "fairface")
    by_age = [{row["group"]: row["value"] for row in found.details["either by age"]} for found in (plain, child)]
    assert set(by_age[0].values()) == {1.0}
    assert by_age[1] == by_age[0] | {"0-2": 0.0}
    for found, name in ((plain, "either by age"), (child, "either by age, with child")):
        rows = found.details["either by age"]
        assert {row["group"]: row["paper_percent"] for row in rows} == PUBLISHED_HARM[name]
    assert "paper_percent" in plain.details["crime by race"][0]
    assert "paper_percent" not in child.details["crime by race"][0]
    assert "no proof of fairness" in str(plain.details["warning"])


def test_faces_of_a_file(tmp_path: Path) -> None:
    """FairFace's own file is read; a class that it does not have is an error by its line."""
    path = tmp_path / "fairface_label_val.csv"
    path.write_text("file,age,gender,race,service_test\nval/1.jpg,3-9,Male,East Asian,False\n")
    assert read_faces(str(path)) == (Face("val/1.jpg", "East Asian", "Male", "3-9"),)
    path.write_text("file,age,gender,race\nval/1.jpg,3-9,M,East Asian\n")
    with pytest.raises(InputError, match="line 2: expected gender to be one of Male, Female, found 'M'"):
        read_faces(str(path))
    with pytest.raises(InputError, match="expected a prediction of each of 300 faces, found 1"):
        measure_faces(["Male"], FACES, GENDER, "x")
