"""Write a dump of any size: real pages recombined, some of their words replaced by made-up ones, the same every time.

    python -m benchmarks.synthetic_dump OUT.xml.bz2 --from REAL.bz2 [--from ...] [--scale 100] [--processes 2]

A scale of 1 is 23 MB of XML. The form is that of enwiki's pages-articles-multistream: 100 pages a bzip2 stream, the
index (`offset:page id:title`, bzip2) beside it; OUT.xml gives the same XML plain. An article is a real introduction and
real later sections, from different articles. Of their words of four letters and more, outside markup, a share is
replaced by made-up words: a rank is drawn from P(rank > r) = (1 + r / 2000) ^ -0.6, and spelt in syllables of
three letters that are frequent in the real text. So distinct words and bigrams grow as they do in real text (Heaps'
law), measured over 0.1 to 0.4 million words of the real pages, and 0.4 to 11 million of these: words as the 0.60th and
0.53rd power of the text, bigrams as the 0.84th and 0.81st. Real words keep their frequencies; every piece of markup
recurs, which a real dump's does not: what is measured with such a dump is time and memory, not prose.
"""

from __future__ import annotations

import argparse
import bz2
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from numba import njit

from benchmarks.markup import articles

SCALE_BYTES = 23_000_000
PAGES_A_STREAM = 100
REPLACED = 0.45  # of the words of 4 letters and more: about a quarter of all words
FLAT_RANKS, TAIL = 2000.0, 0.6
NUM_SYLLABLES = 512
MOST_RANKS = 1 << 36  # words of 2, 3 and 4 syllables: 2 ** 18 + 2 ** 27 + 2 ** 36 in all

SHARES = {"article": 0.28, "redirect": 0.46, "Category": 0.10, "Template": 0.05, "Wikipedia": 0.06, "File": 0.05}
"""Kinds of pages; about the shares of enwiki's pages-articles, which has 7 million articles among 25 million pages."""

NAMESPACES = {"article": 0, "redirect": 0, "Category": 14, "Template": 10, "Wikipedia": 4, "File": 6}


@dataclass(frozen=True)
class Sections:
    """Pieces of real articles, XML-escaped, in one buffer, with the words in them that may be replaced.

    Section i is text[starts[i]:starts[i + 1]]; its words are words[word_starts[i]:word_starts[i + 1]], pairs of start
    and end in `text`. The first `num_introductions` sections are introductions.
    """

    text: np.ndarray[Any, Any]
    starts: np.ndarray[Any, Any]
    words: np.ndarray[Any, Any]
    word_starts: np.ndarray[Any, Any]
    num_introductions: int
    syllables: np.ndarray[Any, Any]
    """NUM_SYLLABLES x 3 letters."""


# Real pages to sections.

_MARKUP = re.compile(
    r"(?is)<!--.*?-->|<ref\b[^<>]*/>|<(ref|math|gallery|source|timeline|pre|nowiki)\b[^<>]*>.*?</\1\s*>|<[^<>]*>"
)
_INNERMOST = re.compile(r"(?s)\{\{[^{}]*\}\}|\{\|(?:(?!\{\||\|\}).)*\|\}")
_LINKS = re.compile(
    r"(?i)\[\[(?:[a-z-]{2,12}):(?:[^\[\]]|\[\[[^\[\]]*\]\])*\]\]|\[\[[^\[\]|]*\||\[\[[^\[\]|]*\]\]"
)  # with a prefix: whole; others but for their label
_ADDRESS = re.compile(r"\[?(?:https?:)?//[^\s\]]*|&[#A-Za-z0-9]+;|__[A-Z]+__")
_WORD = re.compile(r"(?<![A-Za-z\x80-\U0010ffff])[A-Za-z][a-z]{3,}(?![A-Za-z\x80-\U0010ffff'])")


def _blanked(pattern: re.Pattern[str], text: str) -> str:
    return pattern.sub(lambda match: "\0" * len(match[0]), text)


def plain_words(wikitext: str) -> list[tuple[int, int]]:
    """Return (start, end) of the words of four letters and more that stand outside markup."""
    text = _blanked(_MARKUP, wikitext)
    while (inner := _blanked(_INNERMOST, text)) != text:
        text = inner
    text = _blanked(_ADDRESS, _blanked(_LINKS, text))
    return [match.span() for match in _WORD.finditer(text)]


def cut_sections(wikitexts: Iterable[str]) -> Sections:
    """Cut articles before their headings of level 2; find the words that may be replaced, and the syllables."""
    introductions: list[str] = []
    others: list[str] = []
    for wikitext in wikitexts:
        first, *rest = re.split(r"(?m)^(?===[^=])", wikitext)
        introductions.append(first)
        others += rest
    pieces: list[bytes] = []
    edges: list[int] = []  # in the buffer: each word's start and its end
    word_starts, starts = [0], [0]
    for section in introductions + others:
        data, position = bytearray(), 0
        for edge in (edge for word in plain_words(section) for edge in word):
            data += escape(section[position:edge]).encode()
            edges.append(starts[-1] + len(data))
            position = edge
        data += escape(section[position:]).encode()
        pieces.append(bytes(data))
        starts.append(starts[-1] + len(data))
        word_starts.append(len(edges) // 2)
    return Sections(
        np.frombuffer(b"".join(pieces), np.uint8),
        np.array(starts, np.int64),
        np.array(edges, np.int64).reshape(-1, 2),
        np.array(word_starts, np.int64),
        len(introductions),
        _syllables(introductions + others),
    )


def _syllables(texts: Iterable[str]) -> np.ndarray[Any, Any]:
    """Return the commonest syllables: consonant, vowel, consonant. All of three letters, so that words are distinct."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(re.findall(r"(?=([bcdfghjklmnprstvwz][aeiouy][bcdfghklmnprstvwxz]))", text))
    ranked = sorted(counts, key=lambda each: (-counts[each], each))[:NUM_SYLLABLES]
    return np.frombuffer("".join(ranked).encode(), np.uint8).reshape(NUM_SYLLABLES, 3)


# Sections to text with other words.


@njit(cache=True)  # type: ignore[untyped-decorator]
def _mixed(state: np.uint64) -> np.uint64:
    """Return SplitMix64's output for a state (Steele, Lea, Flood 2014)."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


@njit(cache=True)  # type: ignore[untyped-decorator]
def _spell(rank: int, syllables: np.ndarray[Any, Any], out: np.ndarray[Any, Any], end: int) -> int:
    """Write the word of a rank at `end`; return where it ends. Two syllables for the first 512^2 ranks, then three."""
    length, first, size = 2, np.int64(0), np.int64(NUM_SYLLABLES**2)
    while rank - first >= size:
        first, size, length = first + size, size * NUM_SYLLABLES, length + 1
    code = ((rank - first) * np.int64(40_503) + 977) % size  # 40503 is odd, size a power of 2: one to one
    for _ in range(length):
        digit = code % NUM_SYLLABLES
        code //= NUM_SYLLABLES
        for letter in range(3):
            out[end] = syllables[digit, letter]
            end += 1
    return end


@njit(cache=True)  # type: ignore[untyped-decorator]
def _write_section(
    text: np.ndarray[Any, Any],
    start: int,
    stop: int,
    words: np.ndarray[Any, Any],
    syllables: np.ndarray[Any, Any],
    seed: np.uint64,
    out: np.ndarray[Any, Any],
    end: int,
) -> int:
    """Write text[start:stop] with some of its words replaced at `end` of `out`; return where it ends.

    `out` needs 8 bytes for each word beside the section's own: a word of 4 letters becomes one of 12 at most.
    """
    state = seed
    position = start
    for index in range(words.shape[0]):
        state += np.uint64(0x9E3779B97F4A7C15)
        drawn = _mixed(state)
        if float(drawn & np.uint64(0xFFFFFF)) >= REPLACED * 16_777_216.0:
            continue
        first = words[index, 0]
        for source in range(position, first):
            out[end] = text[source]
            end += 1
        position = words[index, 1]
        uniform = (float(drawn >> np.uint64(24)) + 0.5) / 1_099_511_627_776.0  # 40 bits
        rank = int(min(FLAT_RANKS * (uniform ** (-1.0 / TAIL) - 1.0), float(MOST_RANKS)))
        word = end
        end = _spell(rank, syllables, out, end)
        if text[first] < 97:
            out[word] -= 32
    for source in range(position, stop):
        out[end] = text[source]
        end += 1
    return end


# Pages.


@dataclass(frozen=True)
class Writer:
    """Writes any page of the dump by its number: no page depends on another's text."""

    sections: Sections
    seed: int

    def kind(self, page: int) -> str:
        drawn = int.from_bytes(hashlib.blake2b(b"%d,%d" % (self.seed, page), digest_size=4).digest(), "big") / 2**32
        for kind, share in SHARES.items():
            drawn -= share
            if drawn < 0:
                return kind
        return "article"

    def title(self, page: int) -> str:
        """Return a title that no other page has: two words, and for every tenth what tells it apart."""
        name = f"{self._word(page // 997)} {self._word(page % 997)}".capitalize()
        kind = self.kind(page)
        prefix = f"{kind}:" if NAMESPACES[kind] else ""
        return f"{prefix}{name} (film)" if page % 10 == 7 else f"{prefix}{name}"

    def _word(self, rank: int) -> str:
        out = np.zeros(12, np.uint8)
        return bytes(out[: _spell(rank, self.sections.syllables, out, 0)]).decode()

    def text(self, page: int) -> bytes:
        """Return the wikitext of a page, XML-escaped."""
        kind = self.kind(page)
        if kind == "redirect":
            return f"#REDIRECT [[{self.title(self._target(page))}]]".encode()
        if kind in ("Category", "File"):
            return f"In {self._word(page % 90_001)}.\n[[Category:{self._word(page % 9)}]]".encode()
        random = np.random.Generator(np.random.PCG64([self.seed, page]))
        introduction = int(random.integers(self.sections.num_introductions))
        num_others = len(self.sections.starts) - 1 - self.sections.num_introductions
        chosen = self.sections.num_introductions + random.integers(num_others, size=int(random.geometric(0.33)) - 1)
        return self._filled([introduction, *map(int, chosen)], int(random.integers(1 << 62)))

    def _target(self, page: int) -> int:
        """Return the next article after a redirect, or the first of all."""
        return next(other for other in range(page + 1, page + 10_000) if self.kind(other) == "article")

    def _filled(self, chosen: list[int], seed: int) -> bytes:
        starts, word_starts = self.sections.starts, self.sections.word_starts
        sizes = [starts[i + 1] - starts[i] + 8 * (word_starts[i + 1] - word_starts[i]) for i in chosen]
        out = np.empty(int(sum(sizes)), np.uint8)
        end = 0
        for order, i in enumerate(chosen):
            words = self.sections.words[word_starts[i] : word_starts[i + 1]]
            stream = np.uint64(seed + order)
            text = self.sections.text
            end = _write_section(text, starts[i], starts[i + 1], words, self.sections.syllables, stream, out, end)
        return out[:end].tobytes()

    def page(self, page: int) -> bytes:
        """Return the XML of a page, as export 0.11 writes it."""
        text, kind = self.text(page), self.kind(page)
        redirect = f"\n    <redirect title={quoteattr(self.title(self._target(page)))} />" if kind == "redirect" else ""
        when = f"2026-{page % 12 + 1:02}-{page % 28 + 1:02}T{page % 24:02}:{page % 60:02}:00Z"
        head = f"""\
  <page>
    <title>{escape(self.title(page))}</title>
    <ns>{NAMESPACES[kind]}</ns>
    <id>{page + 10}</id>{redirect}
    <revision>
      <id>{1_000_000_000 + page}</id>
      <parentid>{900_000_000 + page}</parentid>
      <timestamp>{when}</timestamp>
      <contributor>
        <username>{self._word(page % 5003)}</username>
        <id>{page % 5003}</id>
      </contributor>
      <comment>{self._word(page % 401)} {self._word(page % 89)}</comment>
      <origin>{1_000_000_000 + page}</origin>
      <model>wikitext</model>
      <format>text/x-wiki</format>
      <text bytes="{len(text)}" sha1="{page:031x}" xml:space="preserve">"""
        return head.encode() + text + b"</text>\n    </revision>\n  </page>\n"

    def stream(self, index: int) -> bytes:
        """Return the XML of 100 pages."""
        return b"".join(map(self.page, range(index * PAGES_A_STREAM, (index + 1) * PAGES_A_STREAM)))


# The file.

HEAD = """\
<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="en">
  <siteinfo>
    <sitename>Wikipedia</sitename>
    <dbname>enwiki</dbname>
    <base>https://en.wikipedia.org/wiki/Main_Page</base>
    <generator>MediaWiki 1.45</generator>
    <case>first-letter</case>
    <namespaces>
{}
    </namespaces>
  </siteinfo>
"""
_NAMES = {
    -2: "Media",
    -1: "Special",
    0: "",
    1: "Talk",
    2: "User",
    4: "Wikipedia",
    6: "File",
    10: "Template",
    14: "Category",
}
FOOT = b"</mediawiki>\n"


def head() -> bytes:
    """Return what stands before the first page."""
    lines = [f'      <namespace key="{key}" case="first-letter">{name}</namespace>' for key, name in _NAMES.items()]
    return HEAD.format("\n".join(lines)).encode()


def _packed(writer: Writer, compress: bool, index: int) -> tuple[bytes, int]:
    xml = writer.stream(index)
    return (bz2.compress(xml) if compress else xml), len(xml)


def write_dump(out: Path, writer: Writer, num_bytes: int, processes: int) -> tuple[int, int]:
    """Write a dump of about `num_bytes` of XML; return (bytes of XML, pages).

    The number of streams follows from the mean size of the first 20, so it depends on no other run.
    """
    compress = out.suffix == ".bz2"
    pack = bz2.compress if compress else bytes
    num_streams = max(1, round(num_bytes / (sum(len(writer.stream(index)) for index in range(20)) / 20)))
    written = 0
    with open(out, "wb") as file, get_context("spawn").Pool(processes) as pool:
        file.write(pack(head()))
        offsets = []
        for data, size in pool.imap(partial(_packed, writer, compress), range(num_streams), chunksize=4):
            offsets.append(file.tell())
            file.write(data)
            written += size
        file.write(pack(FOOT))
    if compress:
        with bz2.open(str(out).replace(".xml.bz2", "-index.txt.bz2"), "wb", compresslevel=1) as index:
            index.writelines(_index(writer, offsets))
    return written + len(head()) + len(FOOT), num_streams * PAGES_A_STREAM


def _index(writer: Writer, offsets: list[int]) -> Iterator[bytes]:
    for index, offset in enumerate(offsets):
        for page in range(index * PAGES_A_STREAM, (index + 1) * PAGES_A_STREAM):
            yield f"{offset}:{page + 10}:{writer.title(page)}\n".encode()


def make_writer(dumps: list[Path], seed: int) -> Writer:
    """Return a writer of pages from the articles of real dumps."""
    return Writer(cut_sections(text for dump in dumps for _, text in articles(dump)), seed)


def main() -> None:
    """Write the dump."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="OUT.xml or OUT.xml.bz2")
    parser.add_argument("--from", dest="dumps", type=Path, action="append", required=True, help="real dump, .bz2")
    parser.add_argument("--scale", type=float, default=1, help="in units of 23 MB of XML")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    writer = make_writer(options.dumps, options.seed)
    num_bytes, num_pages = write_dump(options.out, writer, int(options.scale * SCALE_BYTES), options.processes)
    print(f"{options.out}: {num_pages:,} pages, {num_bytes:,} B of XML, {options.out.stat().st_size:,} B in the file")


if __name__ == "__main__":
    main()
