"""The compiled normaliser: byte for byte what wit.text says, for every text that UTF-8 holds."""

from __future__ import annotations

import random
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.strategies import captions
from wit.errors import ContractError
from wit.folding import fold_table
from wit.text import normalise
from wit.token_kernels import CLASS_BITS, COPY, GROUP_SHIFT, I64, MARK, NUM_CODE_POINTS, SEPARATOR, SLOW, U8
from wit.tokens import normal_form_array, normal_forms, normal_lines

EVERY = [chr(code) for code in range(NUM_CODE_POINTS) if not 0xD800 <= code < 0xE000]
BEYOND = [chr(code) for code in (*range(0xE0000, 0xE0200), *range(NUM_CODE_POINTS, 0x110000, 0x1001))]

APOSTROPHES = "'`’‘ʼʹ＇′´″ŉ\u1ffd\u1fef\uff40"
NASTY = (
    "aAsSxXßẞſ5İıςΣ½ﬁﬆ\u00a8 \n\t.-=<>"
    "\u0301\u0300\u0316\u0323\u0327\u0338\u0345\u0308\u030c\u032e\u05b4\u05bc"  # marks of several classes
    "\u1100\u1161\u11a8각가ㅏㄱ"  # Hangul: conjoining, syllables, compatibility
    "ḤĔȞÁάᾳǰΐ\u0344\u0f73\u0f71\u1e9b"
    "कि\u093cऩ\u0958ক\u09c7\u09be\u09d7ோ\u0b92\u0bd7\u0dd9\u0dcf\u0dca"  # Indic vowels that compose
    "น้ำ\u0e33ＡｓｶﾞﾟがかU+3099\u3099東京，。\u3000…㎧\ufdfa\u2474\u00ad\u200d\ufe0f\u200b😀𝐬\U000e0101\U0010ffff"
    "\u034f\u1160\u3164\uffa0\ufeff\U000e0061\u200c\u20e3\u0902\u0903\u0e33\u1161#5" + APOSTROPHES
)

texts = st.one_of(st.text(NASTY, max_size=24), st.text("s'a ’S5\u0301", max_size=16), captions)


def ragged(documents: Sequence[str]) -> tuple[U8, I64]:
    encoded = [document.encode() for document in documents]
    return np.frombuffer(b"".join(encoded), np.uint8), np.cumsum([0, *map(len, encoded)], dtype=np.int64)


def unragged(text: U8, offsets: I64) -> list[str]:
    whole = text.tobytes()
    assert offsets[0] == 0
    assert offsets[-1] == len(whole)
    return [whole[start:end].decode() for start, end in pairwise(offsets)]


def assert_normal(documents: Sequence[str]) -> None:
    found = unragged(*normal_forms(*ragged(documents)))
    wrong = [
        (ascii(document), ascii(form))
        for document, form in zip(documents, found, strict=True)
        if form != normalise(document)
    ]
    assert not wrong[:5], f"{len(wrong)} of {len(documents)}"


def test_every_code_point_in_context() -> None:
    """Each code point alone, in a word, around an apostrophe, as the s of "'s", among marks, before a mark, ignored."""
    contexts = ("{0}", "a{0}b", "a'{0}", "a{0}'s", "'s{0}", "x\u0316{0}\u0301y", "{0}\u0903b", "a'\ufe0f{0}\u200ds")
    every = [context.format(each) for each in EVERY + BEYOND for context in contexts]
    size = 60  # at a time: spaces keep them apart, and a call costs more than what it normalises
    assert_normal([" ".join(every[start : start + size]) for start in range(0, len(every), size)])


def test_every_pair_that_may_compose() -> None:
    """Whatever folds, combines or composes, before each mark that composes, is as wit.text has it."""
    entries = fold_table().entries
    special = np.flatnonzero(
        (entries & CLASS_BITS != COPY) & (entries & CLASS_BITS != SEPARATOR) | (entries >> GROUP_SHIFT > 0)
    )
    marks = [chr(code) for code in np.flatnonzero(entries & CLASS_BITS == MARK)]
    chosen = random.Random(1).sample(marks, 40)
    assert_normal([" ".join(chr(code) + mark for mark in chosen) for code in special if not 0xD800 <= code < 0xE000])


@settings(max_examples=400, deadline=None)
@given(st.lists(texts, max_size=6))
def test_normal_forms_are_those_of_wit_text(documents: list[str]) -> None:
    """Documents do not see each other, whatever they hold: marks out of order, jamo, ligatures, apostrophes."""
    assert_normal(documents)


@settings(max_examples=200, deadline=None)
@given(st.lists(texts, max_size=6))
def test_normal_lines_are_the_normal_forms_of_the_lines(documents: list[str]) -> None:
    """Line feeds alone part lines, and none is lost or added."""
    found = unragged(*normal_lines(*ragged(documents)))
    assert found == ["\n".join(map(normalise, document.split("\n"))) for document in documents]


def test_random_sequences_of_what_folds_and_combines() -> None:
    """Composites, marks of all classes and letters, many at a time: reordering across composites included."""
    choose = random.Random(2)
    entries = fold_table().entries
    kinds = entries & CLASS_BITS
    marks = [chr(code) for code in np.flatnonzero(kinds == MARK)]
    composites = [each for each in EVERY if len(unicodedata.normalize("NFD", each)) > 1]
    slow = [chr(code) for code in np.flatnonzero(kinds == SLOW) if not 0xD800 <= code < 0xE000]
    alphabets = (marks, marks, composites, slow, list(NASTY))
    assert_normal(
        ["".join(choose.choice(choose.choice(alphabets)) for _ in range(choose.randint(2, 7))) for _ in range(40_000)]
    )


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("dog's", "dog 's"),
        ("dogs's", "dogs 's"),
        ("s's", "s 's"),
        ("'s's", "'s 's"),
        ("a's's's", "a 's 's 's"),
        ("'so", "so"),
        ("x's5", "x's5"),
        ("dogs'", "dogs"),
        ("a''s", "a 's"),
        ("a's'b", "a 's b"),
        ("'", ""),
        ("o’clock", "o'clock"),
        ("dog`s`", "dog 's"),
        ("DOG＇ｓ", "dog 's"),
        ("dog'ſ", "dog 's"),
        ("dog'ß", "dog'ss"),
        ("a'\u0301", "a"),
        ("a'\u0301b", "a b"),
        ("a'\u0301s", "a s"),
        ("a'\u200d\u0301b", "a b"),
        ("a'\u1161", "a'\u1161"),
        ("a'\u0e33", "a \u0e32"),
        ("'s\u0e33", "s\u0e4d\u0e32"),
        ("\u0e33's", "\u0e32 's"),
        ("\u0902'so", "so"),
        ("a's\u20dd", "a's\u20dd"),
        ("dog\u200d'\ufe0fs\u00ad.", "dog 's"),
        ("dog'\u00ads\u00ads", "dog'ss"),
        ("dog´s", "dog 's"),
        ("dog\u1ffds", "dog 's"),
        ("dog'\u00ad\u017f\u200d\ufe0f", "dog 's"),
        ("6″ŉ", "6 n"),
        ("=\u0338 =a", "a"),
        ("= \u0338", ""),
        ("=\u200d\u0338a \u00e9\ufe0f\u0323", "a \u1eb9\u0301"),
        ("e\u034f\u0301 E\u200c\u030a\u034f\u0323", "\u00e9 \u1eb9\u030a"),
        ("\u1100\u200b\u1161\u200b\u11a8", "\uac01"),
        ("\u1e8d\u0323'S", "\u1e8d\u0323 's"),
        ("\u0301'sa", "sa"),
        ("\u0301's", "'s"),
        ("1\ufe0f\u20e3 #\ufe0f\u20e3", "1\u20e3"),
    ],
)
def test_apostrophes_and_composition_by_example(text: str, normal: str) -> None:
    """The token rule, spelled out, and the same from both normalisers."""
    assert normalise(text) == normal
    assert unragged(*normal_forms(*ragged([text]))) == [normal]


def test_empty_stretches_leave_no_space() -> None:
    """A stretch that only wit.text can read, and in which it finds no token, leaves neither a space nor a line."""
    hard = "\U000f0000"  # private use: beyond the table, and no token
    documents = [
        hard,
        f"{hard} a",
        f"a {hard}",
        f"a {hard} b",
        f"{hard} {hard}\n {hard} a {hard} \n\n{hard}b",
        "",
        hard,
    ]
    assert_normal(documents)
    assert unragged(*normal_lines(*ragged(documents)))[4] == "\na\n\nb"


@pytest.mark.parametrize(
    "piece", ["'s", "a's ", "é's", "\ufdfa", "㌖", "ß", "ﬃ", "İ", "½", "\u0344", "𝐬'", "a\U000f0000'S "]
)
def test_what_grows_most_fits(piece: str) -> None:
    """Possessives, ligatures and the phrases that single code points stand for do not overrun the output."""
    for count in (1, 2, 3, 1000):
        assert_normal([piece * count] * 3)


def test_a_long_text_of_ascii() -> None:
    """A megabyte of every ASCII character, in random order."""
    choose = random.Random(3)
    text = "".join(choose.choices([chr(code) for code in range(128)], k=1 << 20))
    assert unragged(*normal_forms(*ragged([text, text[:99]]))) == [normalise(text), normalise(text[:99])]
    assert unragged(*normal_lines(*ragged([text]))) == ["\n".join(map(normalise, text.split("\n")))]


def test_no_documents_and_documents_in_the_middle_of_a_text() -> None:
    """Offsets may begin and end anywhere in the text; no document gives none."""
    text = np.frombuffer(b"xx Dog's\nx A\xcc\x8ayy", np.uint8)
    assert unragged(*normal_forms(text, np.array([3, 9, 14], np.int64))) == ["dog 's", "x å"]
    assert unragged(*normal_forms(text, np.array([5], np.int64))) == []
    assert unragged(*normal_lines(text[:0], np.zeros(3, np.int64))) == ["", ""]


@pytest.mark.parametrize("broken", [b"a \xff", b"a\xe2\x80", b"\xf0\x9f\x98", b"\xc3"])
def test_text_that_is_no_utf8_is_refused(broken: bytes) -> None:
    """Bytes cut inside a code point raise, and nothing beyond them is read."""
    text = np.frombuffer(broken + b"\xa9" * 4, np.uint8)
    with pytest.raises(UnicodeDecodeError):
        normal_forms(text, np.array([0, len(broken)], np.int64))


def test_long_runs_of_marks_and_of_nothing() -> None:
    """A megabyte of marks in the worst order, of apostrophes, of ignorable code points is one stretch like others."""
    marks = "\u0301\u0316" * (1 << 18)
    assert_normal([f"a{marks}", marks, "'\u200d" * (1 << 18) + "s", "\U000e0061" * (1 << 18) + "\u0301"])


def test_ignorable_code_points_need_no_slow_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Emoji with variation selectors, joiners and tags, soft hyphens, Persian and Hindi leave nothing to wit.text."""
    emoji = "I ☀\ufe0f 🏳\ufe0f\u200d🌈🏴\U000e0067\U000e007f!"
    text = emoji + "葛\U000e0101飾 می\u200cخواهم co\u00adop क्\u200dष dog\ufe0f’\u200ds 5\ufe0f\u20e3"
    monkeypatch.setattr("wit.tokens.normalise", None)
    assert unragged(*normal_forms(*ragged([text]))) == ["i 葛飾 میخواهم coop क्ष dog 's 5\u20e3"]


ARRAYS: dict[str, Callable[[list[str]], pa.Array | pa.ChunkedArray]] = {
    "string": lambda strings: pa.array(strings, pa.string()),
    "large": lambda strings: pa.array(strings, pa.large_string()),
    "sliced": lambda strings: pa.array(["zz", *strings, "É"], pa.string()).slice(1, len(strings)),
    "chunked": lambda strings: pa.chunked_array([strings[:1], strings[1:]], pa.string()),
    "chunked large": lambda strings: pa.chunked_array([strings[:2], [], strings[2:]], pa.large_string()),
    "sliced chunks": lambda strings: pa.chunked_array([["zz", *strings], ["é"]], pa.string()).slice(1, len(strings)),
}


@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize("strings", [["Dog's", "", "A\u030a\nB"], ["", ""], []])
def test_arrow_arrays_of_every_shape(kind: str, strings: list[str]) -> None:
    """Slices, chunks and both widths of offsets give one large_string array of normal forms."""
    found = normal_form_array(ARRAYS[kind](strings))
    found.validate(full=True)
    assert found.type == pa.large_string()
    assert found.to_pylist() == list(map(normalise, strings))


def test_nulls_and_other_types_break_the_contract() -> None:
    """A caption is never null, and never anything but a string."""
    with pytest.raises(ContractError, match="1 nulls among 2"):
        normal_form_array(pa.array(["a", None]))
    with pytest.raises(ContractError, match="int64"):
        normal_form_array(pa.array([1]))


def test_the_command_line_does_not_load_the_compiler() -> None:
    """`wit.cli` and `wit.text` import neither numba nor the tables."""
    script = "import sys, wit.cli, wit.text, wit.matching; print(sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert not [name for name in ("numba", "wit.tokens", "wit.folding", "wit.token_kernels") if f"'{name}'" in loaded]
