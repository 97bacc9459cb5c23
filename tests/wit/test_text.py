"""The one normaliser: idempotent, blind to what surrounds a word, the same on both sides."""

from __future__ import annotations

import unicodedata

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import captions, words
from wit.text import fold, normalise, simplified, tokens

EVERY = [chr(code) for code in (*range(0xD800), *range(0xE000, 0x40000), *range(0xE0000, 0xE1010))]
NASTY = (
    "aesSİßſΑαᾳᾼǰ =5 's'’´`ŉ\u1ffd\uff40\u2033\u00a8\u037a\u0344\u0345\u0301\u0316\u0323\u0338\u20e3\u0903\u0e33\uff9e"
    "\u1100\u1161\u11a8\uac00\u00ad\u034f\u1160\u180b\u200b\u200d\u3164\ufe0f\ufeff\uffa0\U000e0061\u2764"
)
texts = st.one_of(captions, st.text(NASTY, max_size=16))

APOSTROPHES = dict.fromkeys(map(ord, "\u00b4\u02b9\u02bc\u1ffd\u2018\u2019\u2032\uff07`"), "'")


def nfkc_casefold(text: str) -> str:
    """toNFKC_Casefold, with the property NFKC_CF made as DerivedNormalizationProps.txt says: repeat until stable."""

    def mapped(character: str) -> str:
        before, after = "", character
        while before != after:
            before = after
            kept = regex.sub(r"\p{Default_Ignorable_Code_Point}", "", before)
            after = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", kept).casefold())
        return after

    return unicodedata.normalize("NFC", "".join(map(mapped, text)))


@given(texts)
def test_fold_is_nfkc_casefold_and_apostrophes(text: str) -> None:
    """Fold is The Unicode Standard's toNFKC_Casefold, but for apostrophes and for marks around the Greek iota below."""
    plain = text.translate(APOSTROPHES)
    if "\u0345" not in unicodedata.normalize("NFKD", plain):
        assert fold(text) == nfkc_casefold(plain).translate(APOSTROPHES)


def test_fold_of_every_code_point() -> None:
    """Each folds as Unicode says, to itself when folded again, and like its canonical spellings."""
    for character in EVERY:
        folded = fold(character)
        assert folded == nfkc_casefold(character.translate(APOSTROPHES)).translate(APOSTROPHES), ascii(character)
        assert fold(folded) == folded
        assert fold(unicodedata.normalize("NFD", character)) == folded
        assert fold(unicodedata.normalize("NFC", character)) == folded


def test_ignorable_code_points_are_those_of_unicode() -> None:
    """The ranges written down are the property, for all that Unicode can hold."""
    every = "".join(chr(code) for code in range(0x110000) if chr(code) not in "´ʹʼ\u1ffd‘’′＇`")
    assert simplified(every) == regex.sub(r"\p{Default_Ignorable_Code_Point}", "", every)


@given(texts)
def test_fold_is_idempotent_and_blind_to_canonical_spelling(text: str) -> None:
    """What is folded stays, and composed, decomposed and mixed spellings fold alike."""
    folded = fold(text)
    assert fold(folded) == folded
    assert fold(unicodedata.normalize("NFC", text)) == folded
    assert fold(unicodedata.normalize("NFD", text)) == folded


@given(texts)
def test_normalise_is_idempotent(text: str) -> None:
    """A normal form is its own normal form: terms and captions may be normalised any number of times."""
    assert normalise(normalise(text)) == normalise(text)


def test_normal_forms_of_every_code_point_are_idempotent() -> None:
    """The same for each code point alone, in a word, after an apostrophe, before and after marks."""
    for context in ("{0}", "a{0}b", "a'{0}s", " \u0301{0}\u0316"):
        once = normalise(" ".join(map(context.format, EVERY)))
        assert normalise(once) == once


@given(texts)
def test_tokens_begin_with_letters_or_digits(text: str) -> None:
    """A mark is never the first of a word, nor the first after an apostrophe."""
    for token in tokens(text):
        assert token == "'s" or all(regex.match(r"[\p{L}\p{N}]", part) for part in token.split("'")), ascii(token)


@given(texts)
def test_tokens_hold_no_white_space_and_join_to_the_normal_form(text: str) -> None:
    """The normal form is its tokens and single spaces, nothing else."""
    found = tokens(text)
    assert all(token and not any(character.isspace() for character in token) for token in found)
    assert normalise(text).split(" ") == (found or [""])


@given(words)
def test_punctuation_around_a_word_changes_nothing(word: str) -> None:
    """What MetaCLIP's rule loses, this one finds: "(dog)", "dog/cat", a no-break space, "St. Louis"."""
    for dressed in (f"({word})", f"{word}/", f"\u00a0{word}\u00a0", f"{word}.", f"“{word}”", f"-{word}-"):
        assert normalise(dressed) == normalise(word)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("St. Louis", "st louis"),
        ("Washington, D.C.", "washington d c"),
        ("Who?", "who"),
        ("hot-dog", "hot dog"),
        ("the dog's bone", "the dog 's bone"),
        ("the dogs' bones", "the dogs bones"),
        ("Schindler’s List", "schindler 's list"),
        ("don't", "don't"),
        ("five o’clock", "five o'clock"),
        ("'quoted'", "quoted"),
        ("STRASSE Straße", "strasse strasse"),
        ("ﬁne ①", "fine 1"),
        ("e\u0301", "é"),
        ("  \t\u200b ", ""),
        ("co\u00adoperate zero\u200bwidth", "cooperate zerowidth"),
        ("\ufeffI ❤\ufe0f dogs ☀\ufe0f", "i dogs"),
        ("1\ufe0f\u20e3 #\ufe0f\u20e3 \u20e3", "1\u20e3"),
        ("می\u200cخواهم", "میخواهم"),
        ("葛\U000e0101飾 \U0001f3f4\U000e0067\U000e007f", "葛飾"),
        ("e\u034f\u0301", "é"),
        ("\u3164 \uffa0\u115f", ""),
        ("the dog´s bone", "the dog 's bone"),
        ("the dog\u1ffds o\u1fefclock", "the dog 's o'clock"),
        ("a\u1fbdb 6\u2033", "a b 6"),
        ("a \u0301b -\u0301 c", "a b c"),
        ("a'\u0301b", "a b"),
        ("น้ำ", "น้\u0e4d\u0e32"),
        ("\u1100\u1161\u11a8 \u1161", "각 \u1161"),
        ("日本 東京", "日本 東京"),
    ],
)
def test_pinned_normal_forms(text: str, normal: str) -> None:
    """The written definition of a word, by example."""
    assert normalise(text) == normal


def test_the_ascii_path_agrees_with_the_general_one() -> None:
    """The short cut for ASCII folds exactly as the general path does."""
    text = "".join(map(chr, range(128)))
    assert fold(text) == fold(text + "é")[:-1]


@pytest.mark.parametrize(
    "alphabet", ["\u0301\u0316", "\u0f73\u0301", "\uff9e\u0301", "\u0345\u0301\u0316", "\u0344\u0316\u093c\u20dd\u0327"]
)
@given(data=st.data())
def test_long_runs_of_marks_fold_like_short_ones(alphabet: str, data: st.DataObject) -> None:
    """Sorting the marks beforehand changes nothing, whatever stands around them."""
    run = data.draw(st.text(alphabet, min_size=25, max_size=80))
    for text in (run, f"a{run}", f"ᾳ{run}İ{run} {run}", f"é\u0323{run}'s"):
        first = unicodedata.normalize("NFKC", text).casefold()
        assert fold(text) == unicodedata.normalize("NFKC", first)


@pytest.mark.parametrize("between", ["", "\u034f"])
def test_a_megabyte_of_marks(between: str) -> None:
    """Marks in the worst order, ignorable code points between them or not, take time in proportion to their number."""
    count = 1 << 18
    text = f"a{between}\u0301{between}\u0316" * 2 + f"{between}\u0301{between}\u0316" * count
    marks = "\u0316" * (count + 1) + "\u0301" * count
    assert fold(text) == "á\u0316á" + marks
    assert fold("\u0301İ" + "\u0316\u0345\u0301" * count).count("ι") == count


def test_only_marks_and_halfwidth_sound_marks_begin_with_a_mark() -> None:
    """The runs that are sorted beforehand hold every code point that decomposes to marks."""
    begin = [each for each in EVERY if unicodedata.combining(unicodedata.normalize("NFKD", each)[0])]
    assert [each for each in begin if unicodedata.category(each)[0] != "M"] == ["\uff9e", "\uff9f"]
