"""The rules of captions, measured on captions that a person read, and on hostile ones.

`caption_labels.jsonl` holds labels of 500 of the 10,000 captions of `test_10000.parquet` (LAION-400M), by row number
and the first 16 hexadecimal digits of the text's SHA-256. 300 rows are drawn uniformly (`random.Random(0).sample`),
the other 200 among the rest from rows that generous versions of the rules pick: 60 that CLD2 does not call English or
that have two letters beyond ASCII (`foreign`), 50 with an extension, an underscore, a slug or no space (`name`), 40
with many digits or a date (`digits`), 20 of at most five words with one such as "image" or "icon" (`machinery`), 15
whose words repeat (`repeated`), 10 of at most two words (`short`) and 5 with signs such as "<" or "{" (`markup`).

One annotator read each caption and labelled it before any rule was fitted to it: its language ("mixed" when English
and another both describe, "none" when it is names and codes only), and whether it is a file name or slug, markup
(tags or what is left of a template; character references are none), boilerplate, repetition (a list of search words,
or words said again, in place of a description), or says nothing of a picture. The rules were fitted to these labels
afterwards, so the precision here is that of the fit; "no caption of the sample is a date, id or camera name" is a
finding, too.
"""

from __future__ import annotations

import bz2
import hashlib
import html
import json
import random
import re
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from uuid import UUID

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser

from tests.support import real_data
from wit.captions import REASONS, RULES, Rules
from wit.languages import BEYOND_LATIN, LANGUAGES, MIN_WORDS, _foreign_script, foreign_language, script_of, witness
from wit.text import normalise

HERE = Path(__file__).parent
LABELS = [json.loads(line) for line in (HERE / "caption_labels.jsonl").read_text().splitlines()]
DATES = ("%B %d, %Y", "%d %b %Y", "%A, %d %B %Y", "%b %d %Y %I:%M %p", "%Y-%m-%dT%H:%M:%SZ", "Posted on %m/%d/%Y")
COMPOSED = [line.split("\t") for line in (HERE / "composed_captions.tsv").read_text().splitlines()]
NO_FOREIGN = ("en", "mixed", "none")

MEASURED = {  # rule: (right, wrong, missed) of the 300 drawn uniformly, and of all 500
    "file_name": ((5, 0, 1), (31, 0, 5)),
    "markup": ((0, 0, 0), (4, 0, 1)),
    "boilerplate": ((0, 0, 1), (0, 0, 1)),
    "repetition": ((2, 0, 6), (4, 0, 15)),
    "language": ((1, 0, 11), (4, 0, 35)),
    "camera_name": ((0, 0, 0), (0, 0, 0)),
    "date": ((0, 0, 0), (0, 0, 0)),
    "id": ((0, 0, 0), (0, 0, 0)),
}
"""Precision is right / (right + wrong), recall right / (right + missed).

The recall of `language` is low by the choice of the 10,000: CLD2 calls 9,928 of them English, for LAION kept
what it calls so; the foreign ones left are those that it mistakes.
"""

FLAGGED = {
    "no_letters": 1, "too_short": 14, "too_long": 2, "camera_name": 0, "date": 0, "id": 0, "file_name": 238,
    "markup": 46, "boilerplate": 0, "repetition": 20, "language": 12,
}  # fmt: skip
"""Of all 10,000, by the first reason. All of them were read: see the test."""


@pytest.fixture(scope="module")
def captions() -> list[str]:
    """The 10,000 captions as they stand in their file."""
    path = real_data("peers", "img2dataset", "test_files", "test_10000.parquet")
    texts: list[str] = pq.read_table(path).column("TEXT").to_pylist()
    return texts


def _fits(reason: str, text: str) -> bool:
    caption = " ".join(text.split())
    return Rules().fits(reason, caption, normalise(caption))


def test_labels_are_of_these_captions(captions: list[str]) -> None:
    """Row numbers and hashes say which captions were read; 300 are the seeded uniform draw; none was read twice."""
    assert [hashlib.sha256(captions[each["row"]].encode()).hexdigest()[:16] for each in LABELS] == [
        each["sha256"] for each in LABELS
    ]
    uniform = [each["row"] for each in LABELS if each["drawn"] == "uniform"]
    assert uniform == sorted(random.Random(0).sample(range(10_000), 300))
    assert len({each["row"] for each in LABELS}) == len(LABELS) == 500


@pytest.mark.parametrize("reason", MEASURED)
def test_precision_and_recall_are_as_stated(captions: list[str], reason: str) -> None:
    """Each rule by itself, whatever the order; a change of a rule shows here."""
    found = []
    for drawn in ({"uniform"}, {each["drawn"] for each in LABELS}):
        right = wrong = missed = 0
        for each in (each for each in LABELS if each["drawn"] in drawn):
            is_so = each["language"] not in NO_FOREIGN if reason == "language" else reason in each["labels"]
            is_said = _fits(reason, captions[each["row"]])
            right, wrong, missed = right + (is_so and is_said), wrong + (is_said > is_so), missed + (is_so > is_said)
        found.append((right, wrong, missed))
    assert tuple(found) == MEASURED[reason]


def test_what_is_rejected_of_ten_thousand(captions: list[str]) -> None:
    """The 333 rejects of 10,000 were all read by the same annotator.

    Wrong: none of `file_name`, `markup` and `language` by their definitions (a title in italics by tags is markup,
    "Fox Crochet Hat.jpg" a file name); of `repetition` one, a book's title.
    """
    reasons = [Rules().judge(" ".join(caption.split())) for caption in captions]
    assert {reason: reasons.count(reason) for reason in REASONS} == FLAGGED


def test_what_is_rejected_of_87_pages() -> None:
    """Of the 627 distinct alt texts of 87 pages, which no model has filtered, 212 go; all were read, gone or not.

    None is wrong. Missed: 4 slugs of two words, and of 47 foreign captions 3, which are short.
    Nine of the listed phrases were taken from these pages, and that Han letters count twice, which found 2 of the 44;
    everything else was fitted before they were looked at.
    """
    captions = {
        " ".join((image.attributes["alt"] or "").split())
        for page in sorted(real_data("html", "readability").glob("*.html"))
        for image in LexborHTMLParser(page.read_bytes()).css("img[alt]")
    } - {""}
    assert len(captions) == 627
    assert Counter(filter(None, map(Rules().judge, captions))) == {
        "no_letters": 2, "too_short": 87, "camera_name": 9, "file_name": 48, "markup": 4, "boilerplate": 18,
        "language": 44,
    }  # fmt: skip


def test_names_are_not_foreign() -> None:
    """Of the titles that 206 pages of the English Wikipedia link to, full of foreign names, 9 are called foreign.

    They were read: one is in Arabic script; five are names of French institutions, one of a Dutchman, one of a
    Spaniard, and "Les Misérables". CLD2 alone is sure of 86. That "d'état" bears no witness was learned here.
    """
    dump = next(real_data("wiki").glob("enwiki-latest*.bz2"))
    pages = html.unescape(bz2.decompress(dump.read_bytes()).decode())
    titles = {" ".join(title.split()) for title in re.findall(r"\[\[([^\]|#:]{5,120})(?:\||\]\])", pages)}
    assert len(titles) > 20_000
    assert len([title for title in titles if foreign_language(title, normalise(title), ("en",))]) == 9


def test_composed_captions_of_many_languages() -> None:
    """Of 201 foreign captions 170 are surely so; of 60 English ones with foreign names one is, wrongly.

    The captions were composed for this test, and the words that bear witness were chosen with them in view: a list
    against relapses, no estimate. CLD2 alone calls 183 of the 201 and 14 of the 60 foreign.
    """
    said = [(code, foreign_language(caption, normalise(caption), ("en",))) for code, caption in COMPOSED]
    assert sum(code != "en" for code, _ in said) == 201
    assert sum(code != "en" and found is not None for code, found in said) == 170
    assert sum(code == "en" and found is not None for code, found in said) == 1


def test_a_wanted_language_stays() -> None:
    """Captions in the language that is kept stay, but for those that CLD2 takes for a relative's, or a title's.

    Of 201 it is 5: Italian (an iPhone's case), Swedish, Danish, Malay and Swahili.
    """
    foreign = [(code, caption) for code, caption in COMPOSED if code != "en"]
    lost = [code for code, caption in foreign if foreign_language(caption, normalise(caption), (code,)) is not None]
    assert lost == ["it", "sv", "da", "ms", "sw"]
    assert not any(foreign_language(caption, normalise(caption), ()) for _, caption in foreign)
    assert {code for code, _ in COMPOSED} <= set(LANGUAGES)


def test_the_detail_says_what_was_found() -> None:
    """A script with its share, a language with CLD2's, or "und" with the share of foreign words."""
    details = {
        "Красный круг": "Cyrl",
        "雨の中を走る犬": "Hani",
        "Ein roter Kreis auf einem blauen Hintergrund": "de",
        "Le chat dort sur le canapé du salon": "und",
    }
    found = {caption: foreign_language(caption, normalise(caption), ("en",)) or "" for caption in details}
    assert {caption: detail.split()[0] for caption, detail in found.items()} == details
    assert all(40 <= int(detail.split()[1]) <= 100 for detail in found.values())


@given(st.text(st.characters(codec="utf-8"), max_size=200))
def test_any_text_is_judged(caption: str) -> None:
    """Every string has one verdict, the same each time, and a skipped reason is none."""
    reason = Rules().judge(caption)
    assert reason is None or reason in REASONS
    assert Rules().judge(caption) == reason
    if reason is not None:
        assert Rules(skip=(reason,)).judge(caption) != reason
    assert Rules(skip=tuple(REASONS)).judge(caption) is None


@given(st.text(st.sampled_from("aB1 _-.,/#?([<{%$é/犬Яal"), max_size=80))
def test_the_detector_is_asked_only_by_witness(caption: str) -> None:
    """What is foreign in an English run has a foreign script, or more foreign words than English ones among four."""
    words = normalise(caption)
    if foreign_language(caption, words, ("en",)) is not None and _foreign_script(caption, ("en",)) is None:
        _, foreign, english = witness(words.split())
        assert foreign > english
        assert len(words.split()) >= MIN_WORDS


@given(st.datetimes(datetime(1000, 1, 1), datetime(2099, 12, 31)), st.sampled_from(DATES))
def test_dates_are_dates_and_more_is_none(moment: datetime, style: str) -> None:
    """A date written in any of the usual ways is one, and with a word about a picture it is none."""
    date = moment.strftime(style)
    assert RULES["date"](date, normalise(date))
    assert not RULES["date"](f"{date} picnic", normalise(f"{date} picnic"))


@given(st.uuids(version=4), st.integers(1, 9999), st.sampled_from(["IMG_", "DSC_", "DSCN", "_MG_", "P101"]))
def test_generated_names_are_named(uuid: UUID, number: int, prefix: str) -> None:
    """Ids and the names that cameras count up are known, each by its own rule."""
    name = f"{prefix}{number:04}.JPG"
    assert RULES["id"](str(uuid), normalise(str(uuid)))
    assert RULES["camera_name"](name, normalise(name))
    assert not RULES["id"](name, normalise(name))


@pytest.mark.parametrize("name", ["IMG_1234(.jpg", "IMG_1234-a(.jpg"])
def test_a_camera_name_is_one_in_every_python(name: str) -> None:
    """What no camera writes is none: possessive groups of Python 3.11.2 took the bracket, and other versions not."""
    assert not RULES["camera_name"](name, normalise(name))


@given(st.lists(st.sampled_from(["sofa", "lamp", "table", "oak", "chair", "desk", "bed"]), min_size=4, unique=True))
def test_what_is_said_twice_is_repetition(words: list[str]) -> None:
    """A title of four words and more said twice is spam; said once, or within a sentence, it is not."""
    title = " ".join(words)
    assert RULES["repetition"](f"{title} - {title}", f"{title} {title}")
    assert not RULES["repetition"](title, title)
    sentence = " and the ".join(words + words)
    assert not RULES["repetition"](sentence, sentence)


HOSTILE: dict[str, Callable[[int], str]] = {
    "digits": lambda n: "1" * n + "!",
    "camera": lambda n: "IMG_" + "1234a" * (n // 5) + "!",
    "joints": lambda n: "a_" * (n // 2) + "!",
    "underscores": lambda n: "a" + "_" * n + "!",
    "slug": lambda n: "ab-" * (n // 3),
    "dots": lambda n: ".jpg?" * (n // 5),
    "hex": lambda n: "0a" * (n // 2) + "!",
    "label": lambda n: "sku" + " #:." * (n // 4),
    "tags": lambda n: "<a " * (n // 3),
    "brackets": lambda n: "[" * n,
    "braces": lambda n: "{{%" * (n // 3),
    "percent": lambda n: "%(" + "a" * n,
    "commas": lambda n: "," * n,
    "one word": lambda n: "a b " * (n // 4),
    "dates": lambda n: "may 5 " * (n // 6),
    "han": lambda n: "犬" * n,
    "accents": lambda n: "é le " * (n // 5),
}


@pytest.mark.parametrize("shape", HOSTILE)
@pytest.mark.parametrize("size", [1000, 1_000_000])
def test_hostile_captions_are_judged(shape: str, size: int) -> None:
    """Every rule answers on the longest names it reads and on a million characters; a quadratic rule would not."""
    caption = HOSTILE[shape](size)
    words = normalise(caption)
    assert all(isinstance(rule(caption, words), bool) for rule in RULES.values())
    foreign_language(caption, words, ("en",))


@given(st.characters(codec="utf-8"))
def test_letters_of_other_scripts_are_noticed(char: str) -> None:
    """Signs have no script and Latin letters "Latn"; any other script's letter makes a caption worth a look."""
    script = script_of(char)
    assert script != "Latn" or char.isalpha()
    assert script in (None, "Latn") or BEYOND_LATIN.search(char)
    if ord(char) < 0x370:
        assert script == ("Latn" if char.isalpha() else None)
