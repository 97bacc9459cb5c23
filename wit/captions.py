"""What a caption is not: file names, dates, ids, markup, boilerplate, repeated words; each rule is a pure function.

Precision comes before recall: a rule that is in doubt lets a caption pass, for the queries select again. Every rule
takes time linear in the caption's length.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from wit.languages import foreign_language
from wit.phrases import NUMBERED, PHRASES
from wit.text import POSSESSIVE, normalise

REASONS = {
    "no_letters": "no letter of any script",
    "too_short": "fewer than `min_words` words or `min_chars` characters",
    "too_long": "more than `max_chars` characters",
    "camera_name": "the name that a camera, phone or screenshot tool gave a file: IMG_1234, Screenshot 2020-05-01",
    "date": "a date or time and nothing else",
    "id": "an id and nothing else: a hexadecimal number, a stock code, ISBN 9780415662826",
    "file_name": "the name of a file, an address or a slug: red-car-0042.jpg",
    "markup": "tags, BBCode or what is left of a template",
    "boilerplate": "a phrase of the page's machinery: click here, image 3",
    "repetition": "the same words over and over",
    "language": "surely in a language other than `languages`",
}
"""In the order in which they are judged: a caption is rejected for the first that fits."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_FLAGS = re.IGNORECASE | re.ASCII  # digits and letters of patterns are ASCII: "ſ" is no "s", "٣" no number here
_EXTENSION = r"\.(?:jpe?g|jpe|jfif|png|gif|webp|bmp|tiff?|svg|avif|heic|ico|psd|pdf)"
_LONGEST_NAME = 1000  # characters; longer than file systems allow

# A group that is repeated is atomic, (?>(?:...)*), never (?:...)*+: Python 3.11.2 ends that too late.
_COUNTER = r"\d{3,}+(?>(?:[-_ .:]?(?:\d++|at|AM|PM|WA\d++|[a-z](?![a-z])|copy|edit(?:ed)?|\(\d++\)))*)"
CAMERAS = _words("IMG DSC DSCN DSCF MG _MG _DSC PICT CIMG IMGP IMAG GOPR DJI PXL MVI KIMG HPIM SNV SDC")
SHORT_CAMERAS = _words("SAM VID WP P")
TOOLS = (
    *("Screenshot", "Screen Shot", "Screen Capture", "WhatsApp Image"),
    *_words("Scan Capture Picture Image Photo Foto Untitled"),
)
_CAMERA_NAMES = tuple(
    re.compile(pattern, _FLAGS)
    for pattern in (
        # Cameras count with four digits (DCF, JEITA CP-3461: four free characters, 0001 to 9999), phones with more.
        rf"(?:{'|'.join(CAMERAS)})[-_ ]?\(?{_COUNTER}(?:{_EXTENSION})?",
        rf"(?:{'|'.join(SHORT_CAMERAS)})[-_]?(?=\d{{4}}|\d{{3}} \d{{4}}){_COUNTER}(?:{_EXTENSION})?",
        rf"(?:{'|'.join(TOOLS)})[-_ ]?\(?{_COUNTER}(?:{_EXTENSION})?",
    )
)

_SMALL_WORDS = (
    r"of|the|in|on|at|to|a|an|and|or|n|by|for|de|du|da|di|la|le|les|el|en|sur|sous|upon|me|it|up|t|s|go|not|is"
)
_FILE_NAMES = tuple(
    re.compile(pattern, _FLAGS)
    for pattern in (
        r"(?:https?://|www\.)\S+",
        r"(?=.*\d{3})[A-Z0-9]+(?:-[A-Z0-9]+){2,}",  # a slug with a number of at least three digits
        r"[A-Z0-9]+(?:-[A-Z0-9]+){4,}",  # a slug longer than "state-of-the-art"
        rf"(?!.*\b(?:{_SMALL_WORDS})\b)[A-Z0-9]+(?:-[A-Z0-9]+){{3}}",  # without its small words, of four parts
        r"(?-i:[a-z]{4,}-[a-z]{4,}-[a-z]{4,})",  # three long words, all in small letters
    )
)
"""Each must fit the whole caption."""
_ENDS_AS_FILE = re.compile(rf"(?<=[\w)\]%-]|[^\x00-\x7f]){_EXTENSION}(?:\?\S{{0,1000}})?", _FLAGS)
_ONE_NAME = re.compile(r"[\w.()%+-]*")
_JOINT = re.compile(r"[A-Za-z0-9]_+(?=[A-Za-z0-9])")

CODES = _words("SKU ISBN ASIN EAN UPC GTIN MPN")
NUMBERED_THINGS = _words(
    "item product article art model part stock order catalog catalogue cat ref reference lot listing property photo "
    "image picture file post"
)
NUMBERS = _words("id no nr number code")
_IDS = tuple(
    re.compile(pattern, _FLAGS)
    for pattern in (
        r"(?=\S*\d)(?=\S*[a-f])[0-9a-f]{12,}",  # digits and letters in one run
        r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
        rf"(?:{'|'.join(CODES)})(?:(?<=ISBN)-1[03])?[ #:.]*+(?=\S*\d)[\w./-]+",
        rf"(?:{'|'.join(NUMBERED_THINGS)})?[ -]?(?:{'|'.join(NUMBERS)}|#)[ .:#]*+(?=\S*\d{{3}})[\w./-]+",
    )
)
_ONE_ID = re.compile(r"[\w.()%+/#-]+")
_LONG_NUMBER = re.compile(r"[0-9]{8}")  # a date with its time, a telephone number, an id
_NAME_IN_ID = re.compile(r"[^\W\d_]{4}")  # four letters in a row: a slug with a number, which is a file's name
_CODES = re.compile(r"(?=.{0,30}[A-Z])(?:(?=[^ ]*\d)[A-Z0-9][A-Z0-9./_#-]{0,29} ?){1,4}")
_MIN_CODE_DIGITS = 8  # "A320 B737" is a pair of aircraft; "8R0941597C 8R0-941-597-C" no picture

_MONTHS = frozenset(
    _words("january february march april may june july august september october november december sept")
)
_MONTH_WORDS = _MONTHS | {month[:3] for month in _MONTHS}
_DAYS = frozenset(_words("monday tuesday wednesday thursday friday saturday sunday"))
_DAY_WORDS = _DAYS | {day[:3] for day in _DAYS} | {"tues", "thur", "thurs"}
_DATE_LABELS = frozenset(_words("date posted published updated taken uploaded added created modified"))
_CLOCK_WORDS = frozenset(_words("am pm"))
_DATE_FILLERS = frozenset(
    _words("the of on at in by to and from until till through utc gmt est edt pst pdt cet cest bst z last")
)
DATE_WORDS = _MONTH_WORDS | _DAY_WORDS | _DATE_LABELS | _CLOCK_WORDS | _DATE_FILLERS
_DATE_NUMBER = re.compile(
    r"[0-5]?\d(?:st|nd|rd|th|am|pm|h|t[0-2]?\d)?|1\d{3}|20\d\d|(?:19|20)\d{6}(?:t\d{6}z?|\d{6})?|[0-2]?\dh[0-5]\d|[0-5]\dz",
    re.ASCII,
)
_CLOCK = re.compile(r"\d*[ap]m|\d+t\d+z?|\d+h\d*|\d+z", re.ASCII)
_MAX_DATE_WORDS = 16  # twice "Saturday, 12 March 2016 at 10:30:00 AM"

_TAGS = (
    "a|abbr|article|b|big|blockquote|body|br|button|center|cite|code|dd|del|div|dl|dt|em|embed|figure|figcaption|font"
    "|footer|form|h[1-6]|head|header|hr|html|i|iframe|img|input|ins|li|link|meta|nav|object|ol|p|param|picture|pre|q"
    "|script|section|small|source|span|strike|strong|style|sub|sup|table|tbody|td|th|thead|title|tr|u|ul|video"
)
_MARKUP = tuple(
    re.compile(pattern, _FLAGS)
    for pattern in (
        rf"</?(?:{_TAGS})(?:\s[^<>]{{0,1000}})?/?>",
        r"<!--|<!doctype|<!\[CDATA\[",
        # BBCode and WordPress; "[I]t was" and "[B 19600]" are none
        r"\[/(?:img|url|b|i|u|quote|caption|gallery)\]|\[(?:img|url)\]|\[(?:img|url|quote)=[^\[\]]{0,300}\]",
        r"\[(?:img|caption|gallery) [a-z]{1,20}=[^\[\]]{0,300}\]",
        r"\{\{[^{}]{0,300}\}\}|\{%[^{}]{0,300}%\}|<%[^<>]{0,300}%>|\$\{[^{}]{0,300}\}",  # templates left unfilled
        r"%\([a-z_]+\)s|\[\[[^\[\]]{0,300}\]\]|(?<![\w%])%(?:name|title|alt|caption|filename|description)\b",
    )
)
"""Each may stand anywhere, and reads no opening sign twice. Tags are named: "I <3 you" and "<Artist>" are no markup."""

_MIN_WORDS_REPEATED = 8  # "New York, New York" is a city; twelve words of which six are new say nothing
_SENTENCE_WORDS = frozenset(
    _words("a an the of in on at and with is are was to for by from or as that this it its his her their be has have")
)
_WORDS_PER_SENTENCE_WORD = 8  # lists of search words have fewer, descriptions more: one of seven and less
_LONGEST_LIST = 10_000  # characters that are looked at for search words
_RUN_OF_ONE_WORD = 4  # the same word that often in a row
_MIN_ITEMS, _MIN_ITEMS_ALIKE, MAX_ITEM_WORDS, _MIN_KEYWORD_CHARS = 5, 3, 7, 4  # a sentence has longer items


def has_letters(caption: str) -> bool:
    """Return whether a caption has a letter of any script."""
    return any(map(str.isalpha, caption))


def is_camera_name(caption: str) -> bool:
    """Return whether the whole caption is a name that a camera, phone or screenshot tool gives its files."""
    return len(caption) <= _LONGEST_NAME and any(pattern.fullmatch(caption) for pattern in _CAMERA_NAMES)


def is_date(words: str) -> bool:
    """Return whether a caption, given in its normal form, is one date or time, or two: posted on 5 May 2019, 10:30 PM.

    Every word belongs to a date, and there is a number beside a month's name, or two beside a weekday, a label, am or
    pm. A year alone, a weekday alone and "May Day" are none.
    """
    found = words.split(maxsplit=_MAX_DATE_WORDS)
    if len(found) > _MAX_DATE_WORDS:
        return False
    numbers = sum(map(bool, map(_DATE_NUMBER.fullmatch, found)))
    if numbers == 0 or not all(word in DATE_WORDS or _DATE_NUMBER.fullmatch(word) for word in found):
        return False
    if not _MONTH_WORDS.isdisjoint(found):
        return True
    is_clock = any(map(_CLOCK.fullmatch, found))
    return numbers >= 2 and (is_clock or not (_DAY_WORDS | _DATE_LABELS).isdisjoint(found))


def is_file_name(caption: str) -> bool:
    """Return whether the whole caption is a file's name, an address or a slug: red-car.jpg, a_red_car, red-car-0042."""
    if len(caption) > _LONGEST_NAME:
        return False
    if any(pattern.fullmatch(caption) for pattern in _FILE_NAMES):
        return True
    if " " in caption and "://" in caption:  # words, and an address after them
        return False
    joints = len(_JOINT.findall(caption)) if "_" in caption else 0
    if joints and (_ONE_NAME.fullmatch(caption) or joints > caption.count(" ")):
        return True
    dots = (caption.rfind("."), caption.rfind(".", 0, max(caption.rfind("?"), 0)))
    return any(dot >= 0 and _ENDS_AS_FILE.fullmatch(caption, dot) for dot in dots)


def is_id(caption: str) -> bool:
    """Return whether the whole caption is an id: hexadecimal, a labelled number, or codes alone."""
    if len(caption) > _LONGEST_NAME:
        return False
    if any(pattern.fullmatch(caption) for pattern in _IDS):
        return True
    if _LONG_NUMBER.search(caption) and _ONE_ID.fullmatch(caption) and not _NAME_IN_ID.search(caption):
        return True
    return sum(map(str.isdigit, caption)) >= _MIN_CODE_DIGITS and _CODES.fullmatch(caption) is not None


def has_markup(caption: str) -> bool:
    """Return whether a caption holds tags, BBCode or a template's residue."""
    if not any(sign in caption for sign in "<[{%$"):
        return False
    return any(pattern.search(caption) for pattern in _MARKUP)


def is_boilerplate(words: str) -> bool:
    """Return whether a caption, given in its normal form, is a phrase of the page's machinery: click here, image 3."""
    return words in PHRASES or NUMBERED.fullmatch(words) is not None


def is_repetitive(caption: str, words: str) -> bool:
    """Return whether a caption, whose normal form is `words`, says the same words over and over.

    So it is when one word stands four times in a row; when of eight words and more at most half are distinct, unless
    one of eight is a word that sentences need, for long texts use their words again (possessives do not count); or
    when it is a list of search words: five short items or more between commas, of which half and three at least have
    a word in common.
    """
    found = [word for word in words.split() if word != POSSESSIVE]
    return _has_few_words(found) or _has_run(found) or _is_keyword_list(caption)


def _has_few_words(words: list[str]) -> bool:
    if len(words) < _MIN_WORDS_REPEATED or 2 * len(set(words)) > len(words):
        return False
    return sum(word in _SENTENCE_WORDS for word in words) * _WORDS_PER_SENTENCE_WORD < len(words)


def _has_run(words: list[str]) -> bool:
    run = 0
    for word, after in pairwise(words):
        run = run + 1 if word == after else 0
        if run >= _RUN_OF_ONE_WORD - 1:
            return True
    return False


def _is_keyword_list(caption: str) -> bool:
    if caption.count(",") < _MIN_ITEMS - 1:
        return False
    items = [item.casefold().split() for item in caption[:_LONGEST_LIST].split(",")]
    if max(map(len, items)) > MAX_ITEM_WORDS:
        return False
    words = Counter(word for item in items for word in set(item) if len(word) >= _MIN_KEYWORD_CHARS)
    most = max(words.values(), default=0)
    return most >= _MIN_ITEMS_ALIKE and 2 * most >= len(items)


RULES: dict[str, Callable[[str, str], bool]] = {
    "no_letters": lambda caption, words: not has_letters(caption),
    "camera_name": lambda caption, words: is_camera_name(caption),
    "date": lambda caption, words: is_date(words),
    "id": lambda caption, words: is_id(caption),
    "file_name": lambda caption, words: is_file_name(caption),
    "markup": lambda caption, words: has_markup(caption),
    "boilerplate": lambda caption, words: is_boilerplate(words),
    "repetition": is_repetitive,
}
"""The rules without settings, of a caption and its normal form (`wit.text.normalise`)."""


@dataclass(frozen=True)
class Rules:
    """Which captions say something of a picture: the reference that a faster filter must equal."""

    min_words: int = 2
    min_chars: int = 5
    max_chars: int = 1000
    languages: tuple[str, ...] = ("en",)
    skip: tuple[str, ...] = ()

    def judge(self, caption: str) -> str | None:
        """Return the first of `REASONS` that fits and is not skipped; None: the caption stays."""
        words = normalise(caption)
        return next((name for name in REASONS if name not in self.skip and self.fits(name, caption, words)), None)

    def fits(self, reason: str, caption: str, words: str) -> bool:
        """Return whether one of `REASONS` fits a caption, whose normal form is `words`."""
        if reason == "too_short":
            return len(words.split()) < self.min_words or len(caption) < self.min_chars
        if reason == "too_long":
            return len(caption) > self.max_chars
        if reason == "language":
            return foreign_language(caption, words, self.languages) is not None
        return RULES[reason](caption, words)
