"""Exact prints are the peers' own: imagehash, imagededup, PDQ's reference; every published value, recomputed.

imagehash's and imagededup's average, difference, wavelet and colour hashes are not ours.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import imagehash
import numpy as np
import pytest
from PIL import Image

from tests.support import real_data
from tests.wit.test_fingerprint import TRANSPOSES
from wit.fingerprint import TURNS, Prints, fingerprint
from wit.image import decode

ALL_TURNS = tuple(range(len(TURNS)))


def expected(path: Path, column: str, **where: str) -> list[tuple[Path, int]]:
    """The files of a table of hashes beside them, each with its hash."""
    with path.open() as file:
        rows = [row for row in csv.DictReader(file) if all(row[name] == value for name, value in where.items())]
    assert rows
    return [(path.parent / row["file"], int(row[column], 16)) for row in rows]


def pdq_of(prints: Prints) -> int:
    """The 256 bits of the first print."""
    return int("".join(f"{word:016x}" for word in prints.pdq[0].tolist()), 16)


def bits_apart(one: int, other: int) -> int:
    return (one ^ other).bit_count()


def photograph(width: int, height: int, mode: str) -> Image.Image:
    """A smooth random colour picture."""
    small = np.random.default_rng(width + height).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1"])
@pytest.mark.parametrize("size", [(64, 64), (301, 77), (5, 9), (1, 1)])
def test_phash_is_imagehash_s(mode: str, size: tuple[int, int]) -> None:
    """As hex it is what imagehash prints, in every mode that shows all it has, and for pictures of any size."""
    buffer = io.BytesIO()
    photograph(*size, mode).save(buffer, "PNG")
    with Image.open(buffer) as image:
        theirs = str(imagehash.phash(image))
    assert f"{int(fingerprint(buffer.getvalue(), exact=True).phash[0]):016x}" == theirs


def test_phash_of_real_photographs_is_imagehash_s() -> None:
    """Of 20 photographs in sRGB, and of their eight turns, every bit."""
    for path in sorted(real_data("image_text", "coco-mini", "train2017").glob("*.jpg"))[::4]:
        body = path.read_bytes()
        prints, image = fingerprint(body, exact=True, turns=ALL_TURNS), decode(body)
        turned = [image, *(image.transpose(turn) for turn in TRANSPOSES.values())]
        assert [f"{value:016x}" for value in prints.phash.tolist()] == [str(imagehash.phash(each)) for each in turned]


@pytest.mark.parametrize("exact", [True, False])
def test_imagehash_s_published_values(exact: bool) -> None:
    """Its pHashes of its own pictures; fast ones, too."""
    for path, value in expected(real_data("neardup", "imagehash", "expected_hashes.csv"), "hash", method="phash"):
        assert int(fingerprint(path.read_bytes(), exact=exact).phash[0]) == value, path.name


def test_imagededup_s_published_values() -> None:
    """Its pHash leaves the lowest frequency out of the median: 1 bit lies between, of one picture none.

    One of its files lies on its side and says so in EXIF, which imagededup does not heed: it has the hash of a turn.
    """
    for path, value in expected(real_data("neardup", "imagededup", "expected_hashes.csv"), "hash", method="phasher"):
        prints = fingerprint(path.read_bytes(), exact=True, turns=ALL_TURNS)
        turn = TURNS.index("rotate_90") if path.name == "ukbench09268.jpg" else 0
        assert bits_apart(int(prints.phash[turn]), value) <= 1, path.name


@pytest.mark.parametrize("exact", [True, False])
def test_pdq_s_published_values(exact: bool) -> None:
    """Each of its 19 is within the 16 bits that it allows other decoders; fast, each whose quality is not low."""
    for path, value in expected(real_data("neardup", "pdq", "expected_pdq_python.csv"), "pdq_hex"):
        prints = fingerprint(path.read_bytes(), exact=exact)
        if exact or prints.quality[0] >= 50:
            assert bits_apart(pdq_of(prints), value) <= 16, path.name


def test_pdq_of_turned_pictures() -> None:
    """The prints of the bridge's turns are those published for the turned files, within the 16 bits."""
    folder = real_data("neardup", "pdq")
    published = {path.stem: value for path, value in expected(folder / "expected_pdq_python.csv", "pdq_hex")}
    original = (folder / "reg-test-input" / "dih" / "bridge-1-original.jpg").read_bytes()
    prints = fingerprint(original, turns=ALL_TURNS)
    for turn, name in enumerate(THEIR_TURNS):
        assert bits_apart(pdq_of(prints.take(np.array([turn]))), published[f"bridge-{name}"]) <= 16, name


THEIR_TURNS = (
    "1-original",
    "2-rotate-90",
    "3-rotate-180",
    "4-rotate-270",
    "6-flipy",
    "5-flipx",
    "7-flip-plus-1",
    "8-flip-minus-1",
)


def test_pdq_and_quality_are_the_reference_s() -> None:
    """On the same pixels PyPI's pdqhash, which wraps the reference, has the same bits and the same quality."""
    pdqhash = pytest.importorskip("pdqhash")
    files = sorted(real_data("neardup", "pdq").rglob("*.jpg")) + sorted(
        real_data("image_text", "coco-mini").rglob("*.jpg")
    )
    for path in files:
        body = path.read_bytes()
        bits, quality = pdqhash.compute(np.asarray(decode(body)))
        prints = fingerprint(body, exact=True)
        assert bits_apart(pdq_of(prints), int("".join(map(str, bits)), 2)) <= 2, path.name
        assert int(prints.quality[0]) == quality, path.name


def test_real_edits() -> None:
    """Resizes of the bridge and of UKBench's photograph stay near by both hashes; other photographs do not."""
    bridge, ukbench = real_data("neardup", "pdq", "bridge-mods"), real_data("neardup", "imagededup")
    edits = ("shrink-a-little", "shrink-a-lot", "square-256x256", "square-512x512", "blur-a-little", "high-saturation")
    of = {path.stem: fingerprint(path.read_bytes()) for path in bridge.glob("*.jpg")}
    photos = [fingerprint(path.read_bytes()) for path in sorted((ukbench / "base_images").iterdir())]
    for edit in edits:
        assert bits_apart(int(of["aaa-orig"].phash[0]), int(of[edit].phash[0])) <= 4, edit
        assert bits_apart(pdq_of(of["aaa-orig"]), pdq_of(of[edit])) <= 31, edit
    for photo in photos:
        assert bits_apart(int(of["aaa-orig"].phash[0]), int(photo.phash[0])) > 10
        assert bits_apart(pdq_of(of["aaa-orig"]), pdq_of(photo)) > 90
