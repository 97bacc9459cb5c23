"""Rendered SST2 by its published recipe: the sentences of the Stanford Sentiment Treebank, black on white, 448 px.

SST-2 are the sentences without the neutral ones. The released images are 6,920 (3,610 positive), 872 (444) and 1,821
(909). Typeface, size and margins of theirs are not published; those here are this project's.
"""

from __future__ import annotations

import io
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import PIL
from PIL import Image, ImageDraw, ImageFont

from trainer.evaluation.suite.building import begin, finish
from wit import manifest
from wit.errors import InputError
from wit.evaluation_sets.labels import class_lines, read_text
from wit.evaluation_sets.splits import split_of_words
from wit.patterns import walk_files
from wit.storage import join, list_names, publish_bytes

CLASSES = ("negative", "positive")
PUBLISHED: dict[str, tuple[int, int]] = {"train": (3310, 3610), "validation": (428, 444), "test": (912, 909)}
"""Negative and positive images of each split in the released archive (torchvision's documentation of RenderedSST2)."""
SIDE_PX = 448

_MARGIN_PX = 16
_SIZES_PX = range(32, 8, -2)  # of letters, the first at which a sentence fits
_SPACING_PX = 6
_MAX_LETTERS = 5_000  # of the narrowest, at 10 px, 4,000 fit; to lay out a book takes minutes
_MAX_FILE_BYTES = 1 << 28
_SUFFIXES = (".txt", ".tsv")
_NEUTRAL = 2  # of 0, very negative, to 4, very positive
_LEAF = re.compile(r"\([0-4] ([^()\s]+)\)")
_ESCAPED = {"-LRB-": "(", "-RRB-": ")", "\\/": "/", "\\*": "*"}  # of the Penn Treebank


@dataclass(frozen=True)
class Sentence:
    """A sentence, and whether it is positive."""

    text: str
    is_positive: bool


def read_sentences(url: str) -> list[Sentence]:
    """Return the sentences of a file, neutral ones left out; raises InputError.

    A line is a tree of the treebank, or a sentence, a tab and 0 or 1 (with a heading or not), or 0 or 1, a blank and a
    sentence.
    """
    lines = class_lines(read_text(url, _MAX_FILE_BYTES))
    if lines and lines[0].split("\t") == ["sentence", "label"]:
        lines = lines[1:]
    found = [_sentence(line, f"{url}, line {number}") for number, line in enumerate(lines, 1) if line]
    if not found:
        raise InputError(f"{url}: expected sentences of SST-2, found none")
    return [sentence for sentence in found if sentence is not None]


def _sentence(line: str, where: str) -> Sentence | None:
    """Return the sentence of a line; None for a neutral one."""
    if line.startswith("("):
        words = _LEAF.findall(line)
        if line[1:2] not in "01234" or not words:
            raise InputError(f"{where}: expected a tree with labels 0 to 4, found {line[:60]!r}")
        text = " ".join(words)
        for escaped, sign in _ESCAPED.items():
            text = text.replace(escaped, sign)
        return None if int(line[1]) == _NEUTRAL else Sentence(text, int(line[1]) > _NEUTRAL)
    text, tab, label = line.rpartition("\t")
    if not tab:
        label, _, text = line.partition(" ")
    if label.strip() not in ("0", "1") or not text.strip():
        raise InputError(
            f"{where}: expected a tree, SENTENCE<tab>0|1 or 0|1 SENTENCE, found {line[:60]!r}; labels of GLUE's test "
            "file are secret: take the treebank's own"
        )
    return Sentence(text.strip(), label.strip() == "1")


def find_files(folder: str) -> dict[str, str]:
    """Return the file of each split in a folder: train.txt, dev.txt, test.txt, or .tsv; raises InputError."""
    found: dict[str, str] = {}
    for url in walk_files(folder):
        split = split_of_words(url[len(folder) :]) if url.endswith(_SUFFIXES) else ""
        if split and found.setdefault(split, url) != url:
            raise InputError(f"{folder}: expected one file of {split}, found two: {found[split]}, {url}")
    if not found:
        raise InputError(f"{folder}: expected train, dev or test with .txt or .tsv behind, found none")
    return found


def default_font() -> str:
    """Return the path of DejaVu Sans, which Matplotlib brings; Pillow's own font lacks letters that reviews have."""
    return str(resources.files("matplotlib").joinpath("mpl-data", "fonts", "ttf", "DejaVuSans.ttf"))


def open_font(path: str, size_px: int) -> ImageFont.FreeTypeFont:
    """Return a font of a size in px; a blank path means DejaVu Sans. Raises InputError."""
    try:
        return ImageFont.truetype(path or default_font(), size_px, layout_engine=ImageFont.Layout.BASIC)  # everywhere
    except OSError as error:
        raise InputError(f"--font {path}: expected a TrueType or OpenType font, found none: {error}") from error


def draw_sentence(text: str, font_path: str = "") -> Image.Image:
    """Return a sentence in black on a white square of 448 px, from the upper left, as large as fits up to 32 px.

    Raises InputError for a sentence that does not fit at 10 px.
    """
    image = Image.new("L", (SIDE_PX, SIDE_PX), 255)
    canvas = ImageDraw.Draw(image)
    limit = SIDE_PX - 2 * _MARGIN_PX
    for size_px in _SIZES_PX if len(text) <= _MAX_LETTERS else ():
        font = open_font(font_path, size_px)
        wrapped = "\n".join(_wrap(text, font, limit))
        _, _, right, bottom = canvas.multiline_textbbox((0, 0), wrapped, font=font, spacing=_SPACING_PX)
        if right <= limit and bottom <= limit:
            canvas.multiline_text((_MARGIN_PX, _MARGIN_PX), wrapped, fill=0, font=font, spacing=_SPACING_PX)
            return image.convert("RGB")
    raise InputError(f"expected a sentence that fits into {limit} px, found {len(text)} letters: {text[:60]!r}")


def _wrap(text: str, font: ImageFont.FreeTypeFont, limit_px: int) -> list[str]:
    """Return lines with as many words as fit; a word that does not fit alone is cut."""
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}"[: limit_px + 1]) <= limit_px:
            lines[-1] += f" {word}"
            continue
        while (num := _num_fitting(word, font, limit_px)) < len(word):
            lines.append(word[:num])
            word = word[num:]
        lines.append(word)
    return lines


def _num_fitting(word: str, font: ImageFont.FreeTypeFont, limit_px: int) -> int:
    """Return how many of a word's first letters fit into a width, at least one; none is narrower than 1 px."""
    most = min(len(word), limit_px)
    return max(bisect_right(range(1, most + 1), 0, key=lambda num: int(font.getlength(word[:num]) > limit_px)), 1)


def build(
    out: str, files: Mapping[str, str], font_path: str = "", advance: Callable[[int], None] = lambda _: None
) -> dict[str, Counter[str]]:
    """Write OUT/SPLIT/CLASS/NUMBER.png, numbered by line, and manifest.json; return the images by split and class.

    The same sentences, font and version of Pillow give the same bytes; pictures that are there already are not drawn
    again. `advance(n)` is called as n more sentences are done. Raises MismatchError when OUT holds something else, and
    InputError for a sentence that does not fit.
    """
    made_from = {
        "files": {split: manifest.fingerprint_file(url) for split, url in files.items()},
        "font": manifest.fingerprint_file(font_path or default_font()),
        "pillow": PIL.__version__,
    }
    begin(out, "rendered-sst2", made_from)
    counts: dict[str, Counter[str]] = {}
    for split, url in files.items():
        counts[split] = Counter()
        done = {name: set(list_names(join(out, split, name))) for name in CLASSES}
        for number, sentence in enumerate(read_sentences(url)):
            name, file = CLASSES[sentence.is_positive], f"{number:05}.png"
            if file not in done[name]:
                publish_bytes(join(out, split, name, file), _png(draw_sentence(sentence.text, font_path)))
            counts[split][name] += 1
            advance(1)
    facts: dict[str, Any] = {
        "images": {split: dict(counts[split]) for split in counts},
        "is_as_published": {split: is_as_published(split, counts[split]) for split in counts},
    }
    finish(out, facts)
    return counts


def is_as_published(split: str, counts: Mapping[str, int]) -> bool:
    """Return whether a split has as many images of each class as the released one."""
    return tuple(counts.get(name, 0) for name in CLASSES) == PUBLISHED[split]


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=6)
    return file.getvalue()
