"""A small WordNet in the files of the real one: data.* and index.* as wndb(5WN) defines them.

A line of data.*: `offset lex_filenum ss_type w_cnt word lex_id ... p_cnt pointer... [frames] | gloss`, where a pointer
is `symbol offset pos source/target`. The offset is the byte where the line begins. A line of index.*: `lemma pos
synset_cnt p_cnt symbol... sense_cnt tagsense_cnt offset...`, sorted by lemma. Every file opens with 29 lines of licence
that begin with two spaces.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from wit.sample.lexicon import COLOURS, SHAPES, TEXTURES
from wit.sample.vocabulary import ADVERBS, NOUNS, VERBS
from wit.storage import join, publish_bytes

FILES = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}
"""Part of speech: suffix of its files; the order in which synsets are listed."""

_LICENCE = "".join(
    f"  {number} {text}  \n"
    for number, text in enumerate(
        ["This lexical database is part of the miniature world of wit sample.  It is no WordNet, only laid out as one."]
        + ["It may be used, copied, changed and passed on for any purpose, without fee and without any warranty."] * 28,
        start=1,
    )
)
_MARKER = re.compile(r"\((?:a|p|ip)\)$")
_NUM_FRAMES = 35  # verb frames are numbered 1 to 35


@dataclass(frozen=True)
class Pointer:
    """A relation to another synset: its symbol, the target's part of speech and place; word 0 is the whole synset."""

    symbol: str
    pos: str
    target: int
    source_word: int = 0
    target_word: int = 0


@dataclass
class Synset:
    """A synset: `words` as data.* spells them, with `_` for spaces and markers such as "(p)" on adjectives."""

    pos: str
    words: tuple[str, ...]
    gloss: str
    satellite: bool = False
    pointers: list[Pointer] = field(default_factory=list)


def lemma(word: str) -> str:
    """Return a word of data.* without its syntactic marker, with spaces for underscores."""
    return _MARKER.sub("", word).replace("_", " ")


_NOUN_GROUPS = (
    ("hot-air_balloon", "aerostat"),
    ("Polar_Star", "North_Star", "lodestar"),
    ("St._Elwin's_fire",),
    ("jack-o'-lantern",),
    ("cat's_cradle", "string_figure"),
    ("A-frame",),
    ("Twelfth_Night",),
    ("merry-go-round", "carousel", "roundabout"),
    ("weather_vane", "weathercock"),
    ("picture_frame",),
    ("drawing_board",),
    ("lapis_lazuli", "lazuli"),
    ("Veldana",),  # a place that is a title too
    ("bric-a-brac", "knick-knack"),
    ("CD-ROM", "compact_disc_read-only_memory"),
    ("3-D", "three-D"),
)
_ADJECTIVE_GROUPS = (
    ("galore(ip)", "aplenty(ip)"),
    ("awake(p)", "wide-awake(p)"),
    ("former(a)", "late(a)"),
    ("asleep(p)",),
    ("utter(a)", "dead(a)"),
    ("sea-green", "aquamarine"),
    ("Veldanese",),
    ("well-lit",),
)
_VERB_GROUPS = (
    ("run_aground", "strand"),
    ("hang_up",),
    ("paint_the_lily", "gild_the_lily"),
    ("cross-hatch",),
    ("take_off", "depart"),
)
_ADVERB_GROUPS = (("head_over_heels",), ("in_a_row", "abreast"), ("o'er",), ("vis-a-vis",), ("side_by_side",))


def _groups(pos: str, rng: random.Random) -> list[tuple[str, ...]]:
    """Return the words of each synset of a part of speech: planted ones among ordinary ones, two senses for some."""
    sky = ("sky", "heaven", "zenith", "aurora", "meteor", "eclipse", "solstice", "equinox", "horizon", "dusk", "dawn")
    planted, ordinary = {
        "n": (_NOUN_GROUPS, (*SHAPES, *rng.sample(NOUNS, 70), *sky, "star", "cross", "ring", "bow", "bank", "bank")),
        "v": (
            _VERB_GROUPS,
            (*VERBS, "illustrate", "depict", "portray", "sketch", "engrave", "embroider", "cross", "ring"),
        ),
        "a": (
            _ADJECTIVE_GROUPS,
            (*COLOURS, *TEXTURES, "vermilion", "turquoise", "crimson", "indigo", "oblong", "spiral"),
        ),
        "r": (_ADVERB_GROUPS, (*ADVERBS, "skyward", "aslant", "clockwise", "anticlockwise", "upwards", "inwards")),
    }[pos]
    groups: list[tuple[str, ...]] = [*planted, *((word,) for word in ordinary)]
    rng.shuffle(groups)
    return groups


def _link(synsets: list[Synset], rng: random.Random) -> None:
    """Give every synset the pointers of its part of speech, each with its reflex where WordNet has one."""
    for number, synset in enumerate(synsets[1:], start=1):
        target = rng.randrange(number)
        if synset.pos in "nv":
            _tie(synsets, number, "@", target, "~")
        elif synset.pos == "a" and number % 3:
            head = number - number % 3
            synset.satellite = True
            _tie(synsets, number, "&", head, "&")
        elif synset.pos == "a" and number % 6 == 0:
            _tie(synsets, number, "!", number - 3, "!", word=1)
    if synsets[0].pos == "r":
        for synset in synsets[::2]:
            synset.pointers.append(Pointer("\\", "a", 0, 1, 1))


def _tie(synsets: list[Synset], source: int, symbol: str, target: int, reflex: str, word: int = 0) -> None:
    pos = synsets[source].pos
    synsets[source].pointers.append(Pointer(symbol, pos, target, word, word))
    synsets[target].pointers.append(Pointer(reflex, pos, source, word, word))


def make_synsets(seed: int) -> dict[str, list[Synset]]:
    """Return the synsets of each part of speech in the order of their files, about 200 in all."""
    rng = random.Random(f"wordnet {seed}")
    files = {}
    for pos in FILES:
        synsets = [
            Synset(pos, words, f'a sense of {lemma(words[0])}; "it was {lemma(words[0])}"')
            for words in _groups(pos, rng)
        ]
        _link(synsets, rng)
        files[pos] = synsets
    return files


def _data_line(synset: Synset, offset: int, offsets: dict[str, list[int]]) -> str:
    words = " ".join(f"{word} {number % 16:x}" for number, word in enumerate(synset.words))
    pointers = "".join(
        f" {to.symbol} {offsets[to.pos][to.target]:08d} {to.pos} {to.source_word:02x}{to.target_word:02x}"
        for to in synset.pointers
    )
    frames = f" 02 + {len(synset.gloss) % _NUM_FRAMES + 1:02d} 00 + 08 01" if synset.pos == "v" else ""
    ss_type = "s" if synset.satellite else synset.pos
    lex_filenum = {"n": 3, "v": 29, "a": 0, "r": 2}[synset.pos]
    return (
        f"{offset:08d} {lex_filenum:02d} {ss_type} {len(synset.words):02x} {words}"
        f" {len(synset.pointers):03d}{pointers}{frames} | {synset.gloss}  \n"
    )


def _offsets(files: dict[str, list[Synset]]) -> dict[str, list[int]]:
    """Return the byte offset of each synset: every offset has eight digits, so lengths do not depend on them."""
    unknown = {pos: [0] * len(synsets) for pos, synsets in files.items()}
    offsets: dict[str, list[int]] = {}
    for pos, synsets in files.items():
        at, offsets[pos] = len(_LICENCE.encode()), []
        for synset in synsets:
            offsets[pos].append(at)
            at += len(_data_line(synset, 0, unknown).encode())
    return offsets


def _index(pos: str, synsets: Sequence[Synset], offsets: Sequence[int]) -> str:
    senses: dict[str, list[int]] = {}
    for number, synset in enumerate(synsets):
        for word in synset.words:
            senses.setdefault(lemma(word).replace(" ", "_").lower(), []).append(number)
    lines = []
    for word, numbers in sorted(senses.items()):
        symbols = sorted({pointer.symbol for number in numbers for pointer in synsets[number].pointers})
        places = [f"{offsets[number]:08d}" for number in numbers]
        fields = [word, pos, str(len(numbers)), str(len(symbols)), *symbols, str(len(numbers)), "0", *places]
        lines.append(" ".join(fields) + "  \n")
    return _LICENCE + "".join(lines)


def write_wordnet(folder: str, files: dict[str, list[Synset]]) -> dict[str, list[int]]:
    """Write data.* and index.* under `folder`/wordnet/dict; return the byte offset of each synset by part of speech."""
    offsets = _offsets(files)
    for pos, synsets in files.items():
        data = _LICENCE + "".join(
            _data_line(synset, offset, offsets) for synset, offset in zip(synsets, offsets[pos], strict=True)
        )
        publish_bytes(join(folder, "wordnet", "dict", f"data.{FILES[pos]}"), data.encode())
        publish_bytes(
            join(folder, "wordnet", "dict", f"index.{FILES[pos]}"), _index(pos, synsets, offsets[pos]).encode()
        )
    return offsets
