"""wit.judging: a column is judged as its captions are by wit.captions, whatever they hold."""

from __future__ import annotations

import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.strategies import captions as any_text
from tests.support import ROOT, real_data
from wit.captions import (
    CAMERAS,
    CODES,
    DATE_WORDS,
    NUMBERED_THINGS,
    NUMBERS,
    REASONS,
    RULES,
    SHORT_CAMERAS,
    TOOLS,
    Rules,
)
from wit.judging import KEPT, ORDER, Judge
from wit.languages import ENGLISH_WORDS, FOREIGN_WORDS, foreign_language
from wit.phrases import PHRASES
from wit.text import normalise

_WORDS = [*sorted(ENGLISH_WORDS)[:9], *sorted(FOREIGN_WORDS)[:9], *sorted(DATE_WORDS)[:9], *sorted(PHRASES)[:9]]
_NAMES = [*CAMERAS, *SHORT_CAMERAS, *TOOLS, *CODES, *NUMBERED_THINGS, *NUMBERS]
_PIECES = [
    *_WORDS, *_NAMES, *map(str.lower, _NAMES), " ", "  ", "\u00a0", "\u2003", "-", "_", ".", ",", ", ", "?", "%", "(",
    ")", "'s", "’s", "[", "]", "<b>", "</p>", "{{", "}}", "%(name)s", "%title", "$", "#", ":", "/", "+", "://", "http",
    "www.", "0", "12", "123", "2019", "0042", "12345678", "½", "²", "٣٤٥", "１２３", "\U0001d7d8", "th", "pm", "10h30",
    "ſ", "ı", "İ", "K", "é", "ß", "Привет", "собака", "犬", "の", "한", "\U00020000", "\U0002f800", "\U0001f600",
    "\u00ad", "\u0301", "jpg", ".jpg", ".PNG", ".jpeg", ".tıff", ".pſd", ".webp?w=1", "abcdef", "0a1b2c3d4e5f",
    "image 3", "slide 2 of 10", "4 5 out of 5 stars", "dog", "red", "Star", "----", "★★★★",
    "abcdefab-abcd-abcd-abcd-abcdefabcdef",
]  # fmt: skip
_EXTENSIONS = (".jpg", ".jpeg", ".JPE", ".jfif", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".svg", ".avif")
_EXTENSIONS += (".heic", ".ico", ".psd", ".pdf", ".tıff", ".ſvg")
_pieced = st.lists(st.sampled_from(_PIECES), max_size=14).map("".join)
_spaced = st.lists(st.sampled_from(_PIECES), max_size=14).map(" ".join)
_repeated = st.builds(
    lambda text, glue, times: glue.join([text] * times), _spaced, st.sampled_from([" ", ", "]), st.integers(2, 12)
)
captions = any_text | _pieced | _spaced | _repeated
_rules = st.builds(
    Rules,
    min_words=st.integers(0, 3),
    min_chars=st.integers(0, 6),
    max_chars=st.sampled_from([1, 20, 1000]),
    languages=st.sampled_from([("en",), ("de", "en"), ("ru",), ()]),
    skip=st.lists(st.sampled_from(ORDER), max_size=4).map(tuple),
)


def reasons_of(texts: list[str], rules: Rules) -> list[str | None]:
    """Return the reasons that a column is given."""
    return [None if code == KEPT else ORDER[code] for code in Judge(rules).judge(pa.array(texts, pa.string())).codes]


@given(st.lists(captions, max_size=6), _rules)
def test_a_column_is_judged_as_each_caption_is(texts: list[str], rules: Rules) -> None:
    """The same reason for every text and every setting of the rules."""
    assert reasons_of(texts, rules) == [rules.judge(text) for text in texts]


@settings(max_examples=400)
@given(captions)
def test_no_condition_hides_what_its_rule_rejects(text: str) -> None:
    """Each rule alone, so that none is hidden by one that is judged before it."""
    for reason in RULES:
        rules = Rules(0, 0, 10_000, (), tuple(name for name in ORDER if name != reason))
        assert reasons_of([text], rules) == [rules.judge(text)]


def test_what_the_conditions_look_for_is_found() -> None:
    """Every listed name, label, extension and slot with the least that a rule asks for beside it."""
    names = (*CAMERAS, *SHORT_CAMERAS, *TOOLS)
    texts = [
        f"{name}{glue}{digits}" for name in names for glue in ("", "-", "_", " ", " (") for digits in ("123", "1234")
    ]
    labels = (
        *CODES,
        "ISBN-13",
        *(f"{thing} {number}" for thing in NUMBERED_THINGS for number in NUMBERS),
        "#",
        *NUMBERS,
    )
    texts += [
        f"{label}{glue}{value}" for label in labels for glue in ("", " ", ": ", " #") for value in ("123", "a-123")
    ]
    texts += [f"red car{end}{tail}" for end in _EXTENSIONS for tail in ("", "?w=1", "?a.b?c", " ", " dog")]
    texts += [
        "AB12 CD34 EF56 78",
        "AB12 3456 CD78",
        "1234 5678 AB",
        "AB1234567",
        "abcdefab-abcd-abcd-abcd-abcdefabcdef",
    ]
    texts += [f"{slot} 3" for slot in ("image", "slide", "photo number")] + [
        "slide 2 of 10",
        "rated 4 5 out of 5 stars",
    ]
    texts += ["{% if dog %} red", "{{ dog }} red", "%title of dog", "red %(name)s dog", "red dog dog dog dog"]
    texts += ["----, ----, ----, dog, cat", "'s's a, 's's b, 's's c, 's's d, 's's e", "red 's, dog 's, cat 's, a, b, c"]
    texts += ["キーワード犬, キーワード犬 a, キーワード犬 b, c d, e f", "dog house, red dogs, dog food, cats, dog bed"]
    texts += [
        "Ein Hund läuft im Regen",
        "Ein Hund auf der Wiese und the red dog",
        "Собака и кот в лесу",
        "Dog собака cat",
    ]
    for rules in (Rules(), Rules(0, 0, 1000, ())):
        assert reasons_of(texts, rules) == [rules.judge(text) for text in texts]
    found = set(reasons_of(texts, Rules(0, 0, 1000, ("en",))))
    assert found >= {"camera_name", "id", "file_name", "markup", "boilerplate", "repetition", "language"}


@given(st.lists(captions, max_size=6))
def test_details_say_what_was_found(texts: list[str]) -> None:
    """A language is told as wit.languages tells it, boilerplate by its phrase; nothing else has a detail."""
    verdicts = Judge(Rules()).judge(pa.array(texts, pa.large_string()))
    for row, text in enumerate(texts):
        code = int(verdicts.codes[row])
        reason = None if code == KEPT else ORDER[code]
        words = normalise(text)
        expected = {"language": foreign_language(text, words, ("en",)), "boilerplate": words}
        assert verdicts.details.get(row) == expected.get(reason or "")
        assert verdicts.forms[row].as_py() == words
        assert verdicts.num_words[row] == len(words.split())


def test_every_reason_has_its_condition() -> None:
    """A new reason is not forgotten here: each is told by its length or has a condition."""
    assert set(Judge(Rules())._conditions()) | {"too_short", "too_long"} == set(REASONS)


def test_slices_are_judged_by_themselves() -> None:
    """The rows of a slice of an array, of either width, and an empty one."""
    texts = ["", "IMG_1234.jpg", "a red dog", "Привет мир как дела"]
    for kind in (pa.string(), pa.large_string()):
        column = pa.array(texts, kind)
        assert Judge(Rules()).judge(column.slice(2)).codes.tolist() == [KEPT, ORDER.index("language")]
        assert Judge(Rules()).judge(column.slice(4)).codes.tolist() == []


@pytest.mark.parametrize(
    "text",
    [
        "a " * 500_000,
        "dog, " * 200_000,
        "犬" * 300_000,
        "a" * 1_000_000,
        "." * 1_000_000,
        "<" * 1_000_000,
        "'s" * 400_000,
    ],
    ids=lambda text: text[:5],
)
def test_long_captions_take_linear_time(text: str) -> None:
    """A megabyte is judged in a second, also where long captions are allowed, and as the rules judge it."""
    rules = Rules(0, 0, 1 << 40, ("en",), ())
    reasons_of(["warm up"], rules)
    started = time.process_time()
    found = reasons_of([text], rules)
    assert time.process_time() - started < 5  # quadratic: hours
    assert found == [rules.judge(text)]


def test_many_distinct_words_are_not_taken_for_few() -> None:
    """More words than there are slots to count them in."""
    text = " ".join(f"word{number}" for number in range(5000))
    rules = Rules(max_chars=1 << 40)
    assert reasons_of([text, f"{text} {text}"], rules) == [rules.judge(text), rules.judge(f"{text} {text}")]


def test_real_captions_are_judged_alike() -> None:
    """All 10,000 alt texts, as they are, in capitals, and cut in the middle."""
    path = real_data("peers", "img2dataset", "test_files", "test_10000.parquet")
    texts = [" ".join((text or "").split()) for text in pq.read_table(path).column("TEXT").to_pylist()]
    rules = Rules()
    for each in (texts, [text.upper() for text in texts[:3000]], [text[: len(text) // 2] for text in texts[:3000]]):
        assert reasons_of(each, rules) == [rules.judge(text) for text in each]


def test_composed_captions_are_judged_alike() -> None:
    """Sentences of many languages, in the languages wanted here and there."""
    lines = (ROOT / "tests" / "pipelines" / "composed_captions.tsv").read_text(encoding="utf-8").splitlines()
    texts = [line.split("\t")[-1] for line in lines]
    for languages in (("en",), ("de", "fr", "en"), ("ja",)):
        rules = Rules(languages=languages)
        assert reasons_of(texts, rules) == [rules.judge(text) for text in texts]
