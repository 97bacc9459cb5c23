from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from trainer.evaluation.suite import Names, align, read_names
from wit.errors import InputError

DIGITS = tuple((str(digit),) for digit in range(10))


def write(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


MARKDOWN = """# Prompts
## MNIST
```bash
classes = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9',
]

templates = [
    'a photo of the number: "{}".',
]
```
## Faces
```bash
classes = [['happy', 'smiling'], ['sad']]
templates = ['they look {}.']
```
"""
MODULE = """
OPENAI_MNIST_TEMPLATES = (
    lambda c: f'a digit {c}.',
)
SIMPLE_MNIST_TEMPLATES = (lambda c: f'{c}!',)
MNIST_CLASSNAMES = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
raise SystemExit
"""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("prompts.json", json.dumps({"MNIST": {"classes": list("0123456789"), "templates": ["a digit {}."]}})),
        ("one.json", json.dumps({"classes": list("0123456789"), "templates": ["a digit {c}."]})),
        ("one.toml", 'classes = ["0","1","2","3","4","5","6","7","8","9"]\ntemplates = ["a digit {label}."]'),
        ("prompts.md", MARKDOWN.replace('a photo of the number: "{}".', "a digit {}.")),
        ("zero_shot_metadata.py", MODULE),
        (
            "prompts.ipynb",
            json.dumps(
                {
                    "cells": [
                        {"cell_type": "markdown", "source": ["classes = ["]},
                        {"cell_type": "code", "source": ["! pip install something\n"]},
                        {"cell_type": "code", "source": ["mnist_classes = ", json.dumps(list("0123456789"))]},
                        {"cell_type": "code", "source": "mnist_templates = ['a digit {}.']\nprint(1)"},
                    ]
                }
            ),
        ),
    ],
)
def test_every_form_says_the_same(tmp_path: Path, name: str, text: str) -> None:
    """CLIP's prompts and notebook, open_clip's module, JSON and TOML give the same names; nothing in them runs."""
    path = write(tmp_path, name, text)
    assert read_names(path, "mnist") == Names(DIGITS, ("a digit {label}.",), (), path)


def test_clip_benchmark_has_two_files(tmp_path: Path) -> None:
    """Class names and templates by the sets' own names there; in a folder, those in English are taken together."""
    names = {"vtab/pcam": ["a", "b"], "mnist": list("0123456789"), "cars": ["one car"], "svhn": ["0", "1"]}
    write(tmp_path, "clip_benchmark/datasets/en_classnames.json", json.dumps(names))
    templates = {"mnist": ['the number: "{c}".'], "pcam": ["tissue with {c}"], "sun397": ["a {c}."]}
    write(tmp_path, "clip_benchmark/datasets/en_zeroshot_classification_templates.json", json.dumps(templates))
    write(tmp_path, "clip_benchmark/datasets/ar_classnames.json", json.dumps({"mnist": list("٠١٢٣٤٥٦٧٨٩")}))
    write(tmp_path, "clip_benchmark/datasets/cupl_prompts.json", json.dumps({"sun397": {"abbey": ["An abbey."]}}))
    root = str(tmp_path)
    assert read_names(root, "MNIST").classes == DIGITS
    assert read_names(root, "MNIST").templates == ('the number: "{label}".',)
    assert read_names(root, "PatchCamelyon").titles == ("a", "b")
    assert read_names(root, "svhn").titles == ("0", "1")
    assert read_names(root, "SUN397") == Names((), ("a {label}.",), (), read_names(root, "SUN397").source)
    with pytest.raises(InputError, match="expected the 196 classes of StanfordCars, found 1"):
        read_names(root, "StanfordCars")
    with pytest.raises(InputError, match="expected class names or templates of Food101, found none"):
        read_names(root, "Food101")


def test_plain_text(tmp_path: Path) -> None:
    """A class a line, "|" between names of one, or what the set calls it in front; or a template a line."""
    assert read_names(write(tmp_path, "a.txt", "dog\nhappy | smiling\n\n")).classes == (("dog",), ("happy", "smiling"))
    labelled = read_names(write(tmp_path, "b.txt", "AnnualCrop = annual crop land\nForest = forest\n"))
    assert (labelled.labels, labelled.titles) == (("AnnualCrop", "Forest"), ("annual crop land", "forest"))
    assert read_names(write(tmp_path, "c.txt", "a {}.\nthe {label}.\n")).templates == ("a {label}.", "the {label}.")
    of_vehicles = read_names(write(tmp_path, "e.txt", "cars = car\nbikes = bicycle\n"), "cars and bikes")
    assert of_vehicles.titles == ("car", "bicycle")  # "cars" may mean a set
    numbered = read_names(write(tmp_path, "d.json", json.dumps({"10": "ten", "2": "two"})))
    assert (numbered.labels, numbered.titles) == (("2", "10"), ("two", "ten"))


def test_prompts_are_each_name_in_each_template() -> None:
    """Synonyms take part like templates; other templates may be given."""
    names = Names((("happy", "smiling"), ("sad",)), ("a {label} face.", "{label}"))
    assert names.prompts() == (("a happy face.", "happy", "a smiling face.", "smiling"), ("a sad face.", "sad"))
    assert names.prompts(["so {label}!"]) == (("so happy!", "so smiling!"), ("so sad!",))


def test_an_installed_package_is_found_and_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file is read where it lies; the package would raise when imported."""
    write(tmp_path, "carrier_of_names/__init__.py", "raise RuntimeError")
    write(tmp_path, "carrier_of_names/zero_shot_metadata.py", MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path.parent)
    names = read_names("carrier_of_names", "MNIST")
    assert (names.classes, names.templates) == (DIGITS, ("a digit {label}.",))
    assert "carrier_of_names" not in sys.modules
    with pytest.raises(InputError, match="no_such_thing: expected a file, a folder or an installed package"):
        read_names("no_such_thing", "MNIST")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "[", "expected JSON, found another text"),
        ("a.toml", "=", "expected TOML"),
        ("a.py", "classes = [", "expected Python's notation of lists"),
        ("a.ipynb", "[]", "expected a notebook's cells"),
        ("a.json", "[]", "expected class names or templates of MNIST, found none"),
        ("a.json", '"dog"', "expected a list of class names, found str"),
        ("a.json", '["dog", ""]', "class 2: expected a name in one line, found ''"),
        ("a.json", '["dog", 3]', "class 2: expected a name in one line, found '3'"),
        ("a.json", '["dog", []]', "class 2: expected a name, found none"),
        ("a.txt", "dog\n\ncat", "class 2: expected a name in one line"),
        ("a.txt", "a = dog\na = cat", "expected each class once, found 'a' twice"),
        ("a.txt", "a {} {}", "template 1: expected {label} or {} once"),
        ("a.json", '{"templates": ["a dog"]}', "template 1: expected {label} or {} once, found 'a dog'"),
        ("a.json", '{"cifar10": ["a"], "food101": ["b"]}', "expected lists of MNIST, found cifar10, food101"),
        ("a.txt", "dog\ncat", "expected the 10 classes of MNIST, found 2"),
    ],
)
def test_mistakes_are_said_in_one_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    """What was expected and what was found, behind the file's name."""
    path = write(tmp_path, name, text)
    with pytest.raises(InputError) as raised:
        read_names(path, "MNIST")
    assert message in str(raised.value)
    assert str(raised.value).startswith(path)
    assert "\n" not in str(raised.value)


def test_names_follow_the_order_of_the_set() -> None:
    """By name in any writing, by what the source says the set calls them, or by number."""
    names = Names((("apple pie",), ("baby-back ribs", "ribs"), ("churros",)), source="f")
    assert align(names, ["Churros", "apple_pie", "ribs"]).titles == ("churros", "apple pie", "baby-back ribs")
    assert align(names, ["0", "1", "2"]).titles == align(names, ["1", "2", "3"]).titles == names.titles
    labelled = Names((("two",), ("ten",)), labels=("2", "10"))
    assert align(labelled, ["10", "2"]).titles == ("ten", "two")
    codes = Names((("Andorra",), ("Albania",)), labels=("AD", "AL"))
    assert align(codes, ["AL", "AD"]).labels == ("AL", "AD")
    assert align(names, ["x", "y", "z"], by_order=True).titles == names.titles


def test_imagenet_has_one_order() -> None:
    """Its 1,000 folders, named by WordNet's ids, take the released names in order; fewer, or out of order, do not."""
    names = Names(tuple((f"name {number}",) for number in range(1_000)), source="f")
    ids = [f"n{10_000_000 + 7 * number}" for number in range(1_000)]
    assert align(names, ids).titles == names.titles
    assert align(names, ids).labels == tuple(ids)
    few = Names(names.classes[:999], source="f")
    for wrong, own in ((few, ids[:999]), (names, ids[::-1])):
        with pytest.raises(InputError, match="found none for 'n1"):
            align(wrong, own)


def test_digits_are_names_before_they_are_numbers() -> None:
    """CLEVR's prompts begin with 10: a set whose folders are 3 to 10 is matched by name, not by place."""
    clevr = Names(tuple((name,) for name in ("10", "3", "4", "5", "6", "7", "8", "9")))
    own = ("3", "4", "5", "6", "7", "8", "9", "10")
    assert align(clevr, own).titles == own
    shifted = Names(tuple((name,) for name in ("2", "0", "1")))
    assert align(shifted, ("0", "1", "2")).titles == ("0", "1", "2")


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["a", "b"], "expected names of the set's 2 classes, found 3"),
        (["0", "2", "3"], "found none for '0'"),
        (["a", "b", "AnnualCrop"], "found none for 'AnnualCrop'; .* AnnualCrop = its name"),
        (["a", "A", "b"], "found one that two classes of the set have"),
    ],
)
def test_an_order_that_cannot_be_checked_is_not_guessed(classes: list[str], message: str) -> None:
    """The same number of classes is not enough: it would give a wrong score without a word."""
    with pytest.raises(InputError, match=message):
        align(Names((("a",), ("b",), ("c",)), source="f"), classes)


def test_a_name_of_two_classes_fits_neither() -> None:
    """ImageNet has "missile" twice: by name alone, nobody knows which is meant; by number it is clear."""
    names = Names((("missile",), ("missile",), ("tank",)), source="f")
    with pytest.raises(InputError, match="found several for 'missile'"):
        align(names, ["missile", "projectile", "tank"])
    assert align(names, ["0", "1", "2"]).titles == names.titles
