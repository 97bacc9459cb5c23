"""The kernels of wit.judging: what can be told of many captions cheaply, a byte at a time, and words looked up.

Both write columns of one int32 table of features, so that a caption's row is two cache lines.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wit.compiled import inlined, kernel

U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

NUM_CODE_POINTS = 0x20000
"""The first two planes have a class each; what is beyond them (ideographs, tags, private use) is UNSURE."""

LETTER, DIGIT, SPACE, BEYOND_LATIN, OPENING, UNDERSCORE, MARK, ODD_CASE, UNSURE = (1 << bit for bit in range(9))
"""Classes of code points, as bits: str.isalpha, str.isdigit, str.isspace, another script than Latin (wit.languages),
an opening sign of markup, "_", one of ".?%,", a letter beyond ASCII that matches one of ASCII when case is ignored,
none known."""

(
    CLASSES, NUM_CHARS, NUM_DIGITS, FIRST_RUN, NUM_SPACES, DIGITS_AFTER, HASH_BEFORE_DIGIT, HASH_BEFORE_SPACE, IS_ASCII,
    ENDS_AS_NAME, NUM_FORMATS, NUM_COMMAS, MOST_GAPS, MOST_SYMBOLS,
    NUM_WORDS, NUM_COUNTED, NUM_DISTINCT, LONGEST_RUN, MOST_ALIKE, NUM_ENGLISH, NUM_FOREIGN, NUM_DATES, NUM_SLOT_WORDS,
    NUM_NUMBERS, IS_PHRASE, NUM_FEATURES,
) = range(26)  # fmt: skip
"""Columns. Of a caption: the classes of its characters together; characters; digits; how many of these stand in a row
at the first; white space; digits after the last of it; hashes (HASH_FACTOR) of the letters before the first digit and
before the last white space; whether it is ASCII; whether what may be an extension stands before its end or a question
mark; "%" before a name; commas; the most gaps between two commas, white space in a row being one; the most characters
in a row that are no letters, digits or white space.
Of its normal form: words; those that are not possessives, and distinct ones of these, or fewer; the longest row of one
word, and the most that are alike, or more; words of each kind (not ASCII: foreign); words with a digit; whether it is a
phrase of the lexicon."""

ENGLISH, FOREIGN, DATE, SLOT, PHRASE = (1 << bit for bit in range(5))
"""Kinds of words, and of phrases, as bits."""

NONE = -1
NO_BYTE = 0x100
NUMBER_BITS = 16
FREE = np.uint64(0xFFFFFFFFFFFFFFFF)
NUM_SLOTS = 1024
"""Distinct words are counted by their hash modulo this: two words in one slot count once, so none is counted twice."""

HASH_FACTOR, HASH_MASK = 31, 0x7FFFFFFF
_EXTENSION_LETTERS = tuple(b"jpgwbtsahi")  # with which the extensions of wit.captions begin
_LOWER = 0x20  # the bit that tells "a" from "A"
_ZERO, _BLANK, _DOT, _COMMA, _QUESTION, _PERCENT = ord("0"), ord(" "), ord("."), ord(","), ord("?"), ord("%")
_BRACKET, _FIRST_LETTER, _QUOTE, _S = ord("("), ord("A"), ord("'"), ord("s")
_SEED, _MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xFF51AFD7ED558CCD)
"""2^64 over the golden ratio, and the first factor of MurmurHash3's finaliser (fmix64, Appleby)."""


@inlined
def _code_point(text: U8, i: int) -> tuple[int, int]:
    """Return the code point at `i` of valid UTF-8, and its size."""
    lead = np.int64(text[i])
    if lead < 0x80:
        return int(lead), 1
    if lead < 0xE0:
        return (lead & 0x1F) << 6 | (text[i + 1] & 0x3F), 2
    tail = np.int64(text[i + 1] & 0x3F) << 6 | np.int64(text[i + 2] & 0x3F)
    if lead < 0xF0:
        return int((lead & 0xF) << 12 | tail), 3
    return int((lead & 0x7) << 18 | tail << 6 | np.int64(text[i + 3] & 0x3F)), 4


@inlined
def _class(text: U8, i: int, classes: U16) -> tuple[int, int]:
    """Return the class of the code point at `i` of valid UTF-8, and its size."""
    code, size = _code_point(text, i)
    return (int(classes[code]) if code < NUM_CODE_POINTS else UNSURE), size


@inlined
def _may_begin_name(byte: int) -> bool:
    """Return whether a byte after "%" may begin a field of a format: "%(name)s", "%title"."""
    return byte == _BRACKET or byte >= _FIRST_LETTER


@inlined
def _is_extension(text: U8, dot: int, end: int) -> int:
    """Return whether what stands between a full stop and `end` may be an extension: ".gif" to ".jpeg".

    A letter of it may have two bytes: those that fold to "s" or "i".
    """
    if dot == NONE or not 3 < end - dot <= 9:
        return 0
    first = text[dot + 1] | _LOWER
    is_listed = False
    for letter in _EXTENSION_LETTERS:
        is_listed |= first == letter
    return int(is_listed or first >= 0x80)


@inlined
def _caption(text: U8, start: int, end: int, classes: U16, row: I32) -> None:
    i = start
    seen = chars = digits = first = run = spaces = after = formats = commas = symbols = most_symbols = 0
    value = before_digit = before_space = 0
    gaps = most_gaps = ends_as_name = 0
    gap_end = dot = NONE
    while i < end:
        kind, size = _class(text, i, classes)
        seen |= kind
        chars += 1
        symbols = 0 if kind & (LETTER | DIGIT | SPACE) else symbols + 1
        most_symbols = max(most_symbols, symbols)
        if kind & LETTER:
            value = (value * HASH_FACTOR + (text[i] | _LOWER)) & HASH_MASK
        elif kind & (DIGIT | UNSURE):
            if digits == 0:
                first, before_digit = chars - 1, value
            run += int(first + run == chars - 1)
            digits += 1
            after += 1
        elif kind & SPACE:
            spaces += 1
            before_space, after, dot = value, 0, NONE
            gaps += int(gap_end != i)
            gap_end = i + size
            most_gaps = max(most_gaps, gaps)
        elif kind & MARK:
            if text[i] == _COMMA:
                commas += 1
                gaps = 0
            elif text[i] == _PERCENT:
                formats += int(i + 1 < end and _may_begin_name(text[i + 1]))
            elif text[i] == _DOT:
                dot = i
            else:
                ends_as_name |= _is_extension(text, dot, i)
        i += size
    row[CLASSES], row[NUM_CHARS], row[NUM_DIGITS], row[FIRST_RUN] = seen, chars, digits, run
    row[NUM_SPACES], row[DIGITS_AFTER] = spaces, after
    row[HASH_BEFORE_DIGIT], row[HASH_BEFORE_SPACE] = before_digit, before_space
    row[IS_ASCII] = int(end - start == chars)
    row[ENDS_AS_NAME], row[NUM_FORMATS] = ends_as_name | _is_extension(text, dot, end), formats
    row[NUM_COMMAS], row[MOST_GAPS], row[MOST_SYMBOLS] = commas, most_gaps, most_symbols


@kernel
def measure_captions(text: U8, offsets: I64, classes: U16, features: I32) -> None:
    """Write the features of captions as they stand; `classes` are those of the first NUM_CODE_POINTS."""
    for number in range(len(offsets) - 1):
        _caption(text, offsets[number], offsets[number + 1], classes, features[number])


@inlined
def _word(text: U8, start: int, end: int, stop: np.uint64) -> tuple[int, np.uint64, np.uint64, np.uint64]:
    """Return where the text up to the byte `stop`, or `end`, ends, its hash, all its bytes together, and its digits.

    Eight bytes at a time are mixed in. Only digits of ASCII count; the bytes together say whether there is more.
    """
    value, packed, together, digits = _SEED, np.uint64(0), np.uint64(0), np.uint64(0)
    i, limit, first = np.uint64(start), np.uint64(end), np.uint64(start)
    while i < limit:
        byte = np.uint64(text[i])
        if byte == stop:
            break
        packed = packed << np.uint64(8) | byte
        together |= byte
        digits += np.uint64(byte - np.uint64(_ZERO) < np.uint64(10))
        i += np.uint64(1)
        if (i - first) & np.uint64(7) == np.uint64(0):
            value = (value ^ packed) * _MIX
            value ^= value >> np.uint64(32)
            packed = np.uint64(0)
    value = (value ^ packed ^ (i - first)) * _MIX
    return int(np.int64(i)), value ^ value >> np.uint64(32), together, digits


@inlined
def _kinds(
    text: U8, start: int, end: int, value: np.uint64, words: U8, word_offsets: I64, kinds: U8, table: U64
) -> np.int64:
    """Return the kinds of text[start:end], of this hash, by the lexicon; 0: it does not stand there."""
    mask = np.uint64(len(table) - 1)
    place = value & mask
    while table[place] != FREE:
        if (table[place] ^ value) >> np.uint64(NUMBER_BITS) == 0:
            number = table[place] & np.uint64((1 << NUMBER_BITS) - 1)
            begin = word_offsets[number]
            i = 0
            while i < end - start and begin + i < word_offsets[number + 1] and words[begin + i] == text[start + i]:
                i += 1
            if i == end - start == word_offsets[number + 1] - begin:
                return np.int64(kinds[number])
        place = (place + np.uint64(1)) & mask
    return np.int64(0)


@kernel
def fill_lexicon(words: U8, word_offsets: I64, table: U64) -> None:
    """Put each word into a table of FREE: a power of two, at least twice as many places as words.

    A place holds the number of a word, of NUMBER_BITS, below the high bits of its hash.
    """
    mask = np.uint64(len(table) - 1)
    for number in range(len(word_offsets) - 1):
        _, value, _, _ = _word(words, word_offsets[number], word_offsets[number + 1], np.uint64(NO_BYTE))
        place = value & mask
        while table[place] != FREE:
            place = (place + np.uint64(1)) & mask
        table[place] = value >> np.uint64(NUMBER_BITS) << np.uint64(NUMBER_BITS) | np.uint64(number)


@inlined
def _digits(text: U8, i: int, end: int, classes: U16) -> int:
    digits = 0
    while i < end:
        kind, size = _class(text, i, classes)
        digits += int(kind & (DIGIT | UNSURE) != 0)
        i += size
    return digits


@inlined
def _form(
    text: U8, start: int, end: int, classes: U16,
    words: U8, word_offsets: I64, kinds: U8, table: U64, slots: I32, stamp: int, row: I32,
) -> None:  # fmt: skip
    num_words = counted = distinct = most = run = longest = english = foreign = dates = slot_words = numbers = 0
    last = np.uint64(0)
    begin = start
    while begin < end:
        stop, value, together, digits = _word(text, begin, end, np.uint64(_BLANK))
        is_high = together >= np.uint64(0x80)
        if is_high:
            numbers += int(_digits(text, begin, stop, classes) > 0)
        else:
            numbers += int(digits > np.uint64(0))
        kind = _kinds(text, begin, stop, value, words, word_offsets, kinds, table)
        english += int(kind & ENGLISH != 0)
        foreign += int(kind & FOREIGN != 0 or is_high)
        dates += int(kind & DATE != 0)
        slot_words += int(kind & SLOT != 0)
        num_words += 1
        if not (stop - begin == 2 and text[begin] == _QUOTE and text[begin + 1] == _S):
            counted += 1
            slot = value & np.uint64(NUM_SLOTS - 1)
            if slots[slot, 0] != stamp:
                slots[slot, 0], slots[slot, 1] = stamp, 0
                distinct += 1
            slots[slot, 1] += 1
            most = max(most, slots[slot, 1])
            run = run + 1 if value == last else 1
            longest = max(longest, run)
            last = value
        begin = stop + 1
    row[NUM_WORDS], row[NUM_COUNTED], row[NUM_DISTINCT], row[LONGEST_RUN] = num_words, counted, distinct, longest
    row[MOST_ALIKE], row[NUM_ENGLISH], row[NUM_FOREIGN], row[NUM_DATES] = most, english, foreign, dates
    row[NUM_SLOT_WORDS], row[NUM_NUMBERS] = slot_words, numbers


@kernel
def measure_forms(
    text: U8, offsets: I64, classes: U16, words: U8, word_offsets: I64, kinds: U8, table: U64, longest_phrase: int,
    slots: I32, features: I32,
) -> None:  # fmt: skip
    """Write the features of normal forms.

    `kinds` of the words and phrases, by ENGLISH and the others; no phrase has more than `longest_phrase` bytes. `slots`
    is scratch: [NUM_SLOTS, 2], NONE at first.
    """
    for number in range(len(offsets) - 1):
        start, end = offsets[number], offsets[number + 1]
        row = features[number]
        _form(text, start, end, classes, words, word_offsets, kinds, table, slots, number, row)
        row[IS_PHRASE] = 0
        if 0 < end - start <= longest_phrase:
            _, value, _, _ = _word(text, start, end, np.uint64(NO_BYTE))
            kind = _kinds(text, start, end, value, words, word_offsets, kinds, table)
            row[IS_PHRASE] = int(kind & PHRASE != 0)


@kernel
def measure_scripts(
    text: U8, offsets: I64, scripts: U8, weights: U8, is_unwanted: Flags, max_chars: int, counts: I64,
    found: I32, percents: I32,
) -> None:  # fmt: skip
    """Write the commonest unwanted script of each text, the last of equals, and the share of all unwanted ones.

    `scripts` has the number of each code point's script, code points beyond it and those of script 0 count for nothing;
    a letter counts `weights` of its script. Only `max_chars` characters are looked at. `counts` is scratch, a script
    each. Without an unwanted letter the share is 0.
    """
    for number in range(len(offsets) - 1):
        counts[:] = 0
        i, end, chars = offsets[number], offsets[number + 1], 0
        while i < end and chars < max_chars:
            code, size = _code_point(text, i)
            if code < len(scripts):
                counts[scripts[code]] += weights[scripts[code]]
            chars += 1
            i += size
        total, unwanted, most = np.int64(0), np.int64(0), np.int64(0)
        found[number] = 0
        for script in range(1, len(counts)):
            total += counts[script]
            if is_unwanted[script]:
                unwanted += counts[script]
                if counts[script] >= most:
                    most, found[number] = counts[script], script
        percents[number] = 100 * unwanted // total if total else 0
