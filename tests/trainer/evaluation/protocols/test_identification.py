from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trainer.evaluation.protocols import identification
from trainer.evaluation.protocols.identification import (
    EVERY_IMAGE,
    PEOPLE,
    People,
    draw_names,
    measure_identification,
    name_right,
    read_people,
)
from wit.errors import InputError


def make_people(num_names: int, num_images: int) -> tuple[People, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    who = rng.integers(0, num_names, num_images).tolist()
    names = tuple(f"Person {number:04}" for number in range(num_names))
    name_CD = rng.standard_normal((num_names, 12)).astype(np.float32)
    image_ND = (name_CD[who] + rng.standard_normal((num_images, 12))).astype(np.float32)
    return People(tuple(map(str, range(num_images))), names, tuple(who)), image_ND, name_CD


@pytest.mark.parametrize("num_names", [2, 7, 30])
@pytest.mark.parametrize("reading", [PEOPLE, EVERY_IMAGE])
def test_both_readings_are_naive_counts(num_names: int, reading: str) -> None:
    """Each picture is named among exactly `num_names` names, as a loop over its choices does it."""
    people, image_ND, name_CD = make_people(30, 120)
    order = draw_names(people.names)
    naive = []
    for image, own in zip(image_ND, people.who, strict=True):
        if reading == PEOPLE:
            choices = order[:num_names]
            if own not in choices:
                continue
        else:
            choices = [own, *[place for place in order if place != own][: num_names - 1]]
        assert len(choices) == num_names
        naive.append(max(sorted(choices), key=lambda place: float(name_CD[place] @ image)) == own)
    assert name_right(image_ND, name_CD, people, num_names, reading).tolist() == naive


def test_fewer_names_are_some_of_more_and_easier(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are drawn alike in any order; with every image, accuracy can only fall as names are added."""
    people, image_ND, name_CD = make_people(30, 120)
    assert [people.names[place] for place in draw_names(people.names)] == [
        people.names[::-1][place] for place in draw_names(people.names[::-1])
    ]
    monkeypatch.setattr(identification, "SIZES", (5, 10, 30, 31))
    found = measure_identification(image_ND, name_CD, people, "celeba", EVERY_IMAGE)
    values = [one.share.value for one in found]
    assert values == sorted(values, reverse=True)
    assert [(one.protocol, one.num_classes) for one in found] == [
        (f"identification_every_image_{size}", size) for size in (5, 10, 30)
    ]
    assert all("misused" in str(one.details["warning"]) for one in found)


def test_drawn_names_without_a_picture() -> None:
    """Of no picture there is no accuracy: where nobody pictured is drawn, that is an error and no 0 %."""
    names = tuple(f"name {number:03d}" for number in range(150))
    last = draw_names(names)[-1]
    unit = np.ones((1, 2), np.float32)
    people = People(("a.jpg",), names, (last,))
    with pytest.raises(
        InputError, match="expected pictures of some of the 100 people whose names are drawn, found none"
    ):
        measure_identification(unit, np.ones((150, 2), np.float32), people, "celeba", PEOPLE)
    assert len(measure_identification(unit, np.ones((150, 2), np.float32), people, "celeba", EVERY_IMAGE)) == 1


def test_people_of_a_file(tmp_path: Path) -> None:
    """Rows give pictures and names; a row without a picture is one more name; one name alone is an error."""
    path = tmp_path / "people.csv"
    path.write_text("image,name\n1.jpg,B\n,C\n2.jpg,A\n")
    assert read_people(str(path)) == People(("1.jpg", "2.jpg"), ("A", "B", "C"), (1, 0))
    path.write_text("image,name\n1.jpg,B\n2.jpg,B\n")
    with pytest.raises(InputError, match="expected at least two names, found 1"):
        read_people(str(path))
