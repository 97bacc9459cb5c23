"""CLIP's tokenizer: lower-case byte-pair encoding, its cleaning, words and ids exact to the released code.

Python cleans and splits, a Rust library merges. The vocabulary comes from a merges file in the form of the released
`bpe_simple_vocab_16e6.txt.gz` (a header line, then one merge a line), or is trained from captions.
"""

from __future__ import annotations

import gzip
import hashlib
import heapq
import html
import itertools
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import distributions
from importlib.util import find_spec

import ftfy
import numpy as np
import regex
from numpy.typing import NDArray
from tokenizers import models

from wit.errors import InputError, RecipeError
from wit.storage import read_bytes

Merge = tuple[str, str]

START, END = "<|startoftext|>", "<|endoftext|>"
END_OF_WORD = "</w>"
NUM_BASE_SYMBOLS = 512  # 256 bytes, and 256 bytes that end a word
MAX_MERGES = 48_894  # 49,408 ids less the base symbols, start and end: what the released code reads of its file
MAX_CACHED_WORDS = 1 << 20  # about 200 MB

INSTALLED = "installed"
"""In place of a path: the released merges file, from any installed package that carries it."""
RELEASED_NAME = "bpe_simple_vocab_16e6.txt.gz"
RELEASED_SHA256 = "924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a"
"""Of the file in the repository openai/CLIP, and of its copy in open_clip 3.3.0."""
_KNOWN_PACKAGES = ("open_clip", "clip")

_WORD = regex.compile(
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", regex.IGNORECASE
)
# The same for lower-case ASCII: four times as fast.
_ASCII_WORD = re.compile(r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[a-z]+|[0-9]|[^\sa-z0-9]+")
_SPACE = regex.compile(r"\s+")


def _byte_symbols() -> list[str]:
    """Return the character that stands for each byte, printable bytes first: the order of the vocabulary (GPT-2's)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [*map(chr, printable), *map(chr, range(256, 256 + 256 - len(printable)))]


def _byte_table() -> dict[int, str]:
    symbols = _byte_symbols()
    printable = {ord(symbol) for symbol in symbols if ord(symbol) < 256}
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | dict(zip(others, symbols[len(printable) :], strict=True))


_SYMBOL_OF_BYTE = _byte_table()


def _is_plain(text: str) -> bool:
    """Return whether a text has nothing to mend or to resolve: nine captions of ten."""
    return text.isascii() and text.isprintable() and "&" not in text


def clean(text: str) -> str:
    """Return text as CLIP sees it: mended by ftfy, HTML entities resolved twice, white space folded, lower case."""
    if not _is_plain(text):
        text = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    return str(_SPACE.sub(" ", text)).strip().lower()


def split_words(text: str) -> list[str]:
    """Return the words of a text, which merges never cross: letters, single digits, runs of other signs, "'s"."""
    found: list[str] = _ASCII_WORD.findall(text.lower()) if _is_plain(text) else _WORD.findall(clean(text))
    return found


def _to_symbols(word: str) -> str:
    """Return a word with each of its UTF-8 bytes as the character that stands for it."""
    return word.encode("utf-8", "replace").decode("latin-1").translate(_SYMBOL_OF_BYTE)


def read_merges(path: str) -> list[Merge]:
    """Return the merges of a (gzipped) file, at most MAX_MERGES; raises InputError for what is not a merges file.

    `path` may be INSTALLED.
    """
    path = find_installed() if path == INSTALLED else path
    data = read_bytes(path)
    try:
        lines = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode().split("\n")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a merges file, found something else: {error}") from error
    if "#version" not in lines[0]:
        raise InputError(f"{path}: expected a merges file, which begins with #version, found {lines[0][:60]!r}")
    merges = [_merge(path, number, line) for number, line in enumerate(lines[1 : 1 + MAX_MERGES], 2) if line]
    known = {symbol + end for symbol in _byte_symbols() for end in ("", END_OF_WORD)}
    for number, (left, right) in enumerate(merges, 2):
        if left not in known or right not in known:
            raise InputError(f"{path}:{number}: expected two symbols that come before, found {left!r} and {right!r}")
        known.add(left + right)
    return merges


def find_installed() -> str:
    """Return the path of the released merges file in an installed package, none of which is imported.

    Raises InputError when none carries it, byte by byte.
    """
    looked_at = []
    for path in _installed():
        if os.path.isfile(path):
            with open(path, "rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found == RELEASED_SHA256:
                return path
            looked_at.append(f"{path} (sha256 {found[:16]}…)")
    raise InputError(
        f"tokenizer.merges={INSTALLED}: expected {RELEASED_NAME} (sha256 {RELEASED_SHA256[:16]}…) in an installed "
        f"package such as {' or '.join(_KNOWN_PACKAGES)}, found {', '.join(looked_at) or 'none'}; "
        "install one, or give the file's path"
    )


def _installed() -> Iterator[str]:
    """Yield where the released merges file may be: in the packages known for it, then in any that lists it."""
    for name in _KNOWN_PACKAGES:
        spec = find_spec(name)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            yield os.path.join(folder, RELEASED_NAME)
    for distribution in distributions():
        for file in distribution.files or ():
            if file.name == RELEASED_NAME:
                yield str(distribution.locate_file(file))


def _merge(path: str, number: int, line: str) -> Merge:
    symbols = line.split()
    if len(symbols) != 2:
        raise InputError(f"{path}:{number}: expected two symbols with a space between, found {line!r}")
    return symbols[0], symbols[1]


def dump_merges(merges: Iterable[Merge]) -> bytes:
    """Return a merges file that `read_merges` reads."""
    return "\n".join(["#version: 0.2", *(f"{left} {right}" for left, right in merges), ""]).encode()


class ClipTokenizer:
    """Captions to ids: start, the merged words, end, then zeros. Safe in threads."""

    def __init__(self, merges: Sequence[Merge]) -> None:
        base = _byte_symbols()
        symbols = [*base, *(symbol + END_OF_WORD for symbol in base), *(left + right for left, right in merges)]
        vocabulary = {symbol: number for number, symbol in enumerate(symbols)}
        self.merges = tuple(merges)
        self.start, self.end = len(symbols), len(symbols) + 1
        self._bpe = models.BPE(vocab=vocabulary, merges=list(merges), end_of_word_suffix=END_OF_WORD)
        self._marks = {START: [self.start], END: [self.end]}
        self._words = dict(self._marks)

    @property
    def vocabulary_size(self) -> int:
        """Number of ids; start and end are the last two."""
        return self.end + 1

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without start and end.

        A mark that is written out in the text ("<|endoftext|>") gives its id, as in the released code.
        """
        known = self._words
        return [number for word in split_words(text) for number in known.get(word) or self._encode_word(word)]

    def _encode_word(self, word: str) -> list[int]:
        if len(self._words) >= MAX_CACHED_WORDS:
            self._words = dict(self._marks)
        ids = [token.id for token in self._bpe.tokenize(_to_symbols(word))]
        self._words[word] = ids
        return ids

    def __call__(self, texts: Sequence[str], context_length: int) -> NDArray[np.int64]:
        """Return ids (len(texts), context_length); a longer text is cut, and its last id is the end mark."""
        rows = np.zeros((len(texts), context_length), np.int64)
        for row, text in zip(rows, texts, strict=True):
            kept = [self.start, *self.encode(text), self.end][:context_length]
            row[: len(kept)] = kept
            row[len(kept) - 1] = self.end
        return rows


def train_merges(captions: Iterable[str], vocabulary_size: int) -> list[Merge]:
    """Return the merges of a vocabulary of at most `vocabulary_size` ids, learned from captions.

    Byte-pair encoding (Sennrich et al., arXiv 1508.07909): merge the most frequent pair, of equal ones the first in
    alphabetical order, until no pair occurs twice. A function of the words' counts alone.
    """
    if vocabulary_size < NUM_BASE_SYMBOLS + 2:
        raise RecipeError(f"expected a vocabulary of at least {NUM_BASE_SYMBOLS + 2} ids, found {vocabulary_size}")
    counts = Counter(word for caption in captions for word in split_words(caption) if word not in (START, END))
    corpus = _Corpus(counts)
    merges: list[Merge] = []
    while len(merges) < vocabulary_size - NUM_BASE_SYMBOLS - 2:
        best = corpus.most_frequent_pair()
        if best is None:
            break
        merges.append(best)
        corpus.merge(best)
    return merges


class _Corpus:
    """Words as lists of symbols, and the counts of their adjacent pairs, kept up to date as pairs are merged."""

    def __init__(self, counts: Counter[str]) -> None:
        self.words: list[list[str]] = []
        self.frequencies: list[int] = []
        self.pairs: Counter[Merge] = Counter()
        self.holders: defaultdict[Merge, set[int]] = defaultdict(set)
        for word, frequency in counts.items():
            symbols = [*_to_symbols(word)]
            symbols[-1] += END_OF_WORD
            self.words.append(symbols)
            self.frequencies.append(frequency)
            self._count(len(self.words) - 1, +1)
        self.queue = [(-count, pair) for pair, count in self.pairs.items()]
        heapq.heapify(self.queue)

    def _count(self, number: int, sign: int) -> set[Merge]:
        """Add (+1) or take away (-1) the pairs of a word; return them."""
        symbols = self.words[number]
        changed = list(itertools.pairwise(symbols))
        for pair in changed:
            self.pairs[pair] += sign * self.frequencies[number]
            if sign > 0:
                self.holders[pair].add(number)
        return set(changed)

    def most_frequent_pair(self) -> Merge | None:
        """Return the pair that occurs most often, at least twice; entries of the queue that are stale are dropped."""
        while self.queue:
            count, pair = heapq.heappop(self.queue)
            if self.pairs[pair] == -count and -count >= 2:
                return pair
        return None

    def merge(self, pair: Merge) -> None:
        """Join a pair in every word that holds it."""
        changed: set[Merge] = set()
        for number in self.holders.pop(pair):
            changed |= self._count(number, -1)
            self.words[number] = _joined(self.words[number], pair)
            changed |= self._count(number, +1)
        for one in changed:
            heapq.heappush(self.queue, (-self.pairs[one], one))


def _joined(symbols: list[str], pair: Merge) -> list[str]:
    joined: list[str] = []
    for symbol in symbols:
        if joined and (joined[-1], symbol) == pair:
            joined[-1] += symbol
        else:
            joined.append(symbol)
    return joined
