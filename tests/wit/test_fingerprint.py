"""The hash agrees with imagehash's, on real pictures and on odd modes."""

from __future__ import annotations

import csv
from pathlib import Path

import imagehash
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.support import real_data
from wit.fingerprint import phash, to_signed


def photograph(width: int, height: int, seed: int) -> Image.Image:
    """A smooth random colour picture."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "1", "CMYK"])
@pytest.mark.parametrize("size", [(64, 64), (301, 77), (5, 9)])
def test_agrees_with_imagehash(mode: str, size: tuple[int, int]) -> None:
    """As hex it is what imagehash prints, in every mode and for pictures smaller than the 32 x 32 grid."""
    image = photograph(*size, seed=sum(size)).convert(mode)
    assert f"{phash(image):016x}" == str(imagehash.phash(image))


def test_published_values() -> None:
    """The values that imagehash publishes for its test pictures."""
    folder = real_data("neardup", "imagehash")
    with (folder / "expected_hashes.csv").open() as file:
        expected = {row["file"]: row["hash"] for row in csv.DictReader(file) if row["method"] == "phash"}
    assert expected
    for name, value in expected.items():
        with Image.open(folder / name) as image:
            assert f"{phash(image):016x}" == value


def distance(first: Path, second: Path) -> int:
    with Image.open(first) as one, Image.open(second) as other:
        return (phash(one) ^ phash(other)).bit_count()


def test_real_edits() -> None:
    """Resizes of the bridge photograph and of UKBench's stay within 3 bits; a flip and other photographs do not."""
    bridge, ukbench = real_data("neardup", "pdq", "bridge-mods"), real_data("neardup", "imagededup")
    original = bridge / "aaa-orig.jpg"
    for edit in ("shrink-a-little.jpg", "shrink-a-lot.jpg", "square-256x256.jpg", "square-512x512.jpg"):
        assert distance(original, bridge / edit) <= 3, edit
    photo = ukbench / "base_images" / "ukbench00120.jpg"
    assert distance(photo, ukbench / "mixed_images" / "ukbench00120_resize.jpg") <= 3
    assert distance(photo, ukbench / "mixed_images" / "ukbench00120_hflip.jpg") > 10
    others = [path for path in sorted((ukbench / "base_images").iterdir()) if path != photo]
    assert min(distance(photo, other) for other in others) > 10


@given(st.integers(0, 2**64 - 1))
def test_signed_and_unsigned(fingerprint: int) -> None:
    """The signed form fits an int64, has the same 64 bits, and comes back."""
    signed = to_signed(fingerprint)
    assert np.int64(signed).view(np.uint64) == fingerprint
    assert signed % 2**64 == fingerprint
