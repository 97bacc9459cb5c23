"""The bytes of pictures."""

from __future__ import annotations

import io
from dataclasses import replace
from random import Random

import pytest
from PIL import Image

from wit.sample.encoding import EDIT_BITS, EXTENSIONS, Picture, encode, perceptual_hash
from wit.sample.scenes import random_scene
from wit.sample.sound_pairs import edited

PICTURE = Picture(random_scene("encoding"), 160, 120)


@pytest.mark.parametrize("kind", EXTENSIONS)
def test_a_picture_opens_in_its_format(kind: str) -> None:
    """Each format is what it says, of the planned size, in one frame."""
    with Image.open(io.BytesIO(encode(replace(PICTURE, format=kind)))) as image:
        assert image.format == kind.upper()
        assert image.size == (160, 120)
        assert getattr(image, "n_frames", 1) == 1


@pytest.mark.parametrize(
    ("kind", "variant", "mode"),
    [("jpeg", "grey", "L"), ("png", "palette", "P"), ("png", "rgba", "RGBA"), ("png", "grey16", "I;16")],
)
def test_odd_variants_have_their_mode(kind: str, variant: str, mode: str) -> None:
    """Grey, palette, alpha and 16-bit pictures are stored as such."""
    with Image.open(io.BytesIO(encode(replace(PICTURE, format=kind, variant=variant)))) as image:
        assert image.mode == mode


def test_a_viewer_that_minds_the_orientation_sees_the_scene() -> None:
    """Turned pixels with an EXIF orientation show, once turned back, what was drawn."""
    from PIL import ImageOps

    with Image.open(io.BytesIO(encode(replace(PICTURE, variant="orientation")))) as image:
        turned = ImageOps.exif_transpose(image)
        body = io.BytesIO()
        turned.save(body, "PNG")
    assert turned.size == (160, 120)
    assert (perceptual_hash(body.getvalue()) ^ perceptual_hash(encode(PICTURE))).bit_count() <= EDIT_BITS


def test_edited_copies_stay_near_their_originals() -> None:
    """Resizing and encoding anew moves no hash by more than EDIT_BITS bits, and changes the bytes."""
    for number in range(60):
        rng = Random(number)
        picture = Picture(random_scene(f"edit {number}"), rng.randint(128, 256), rng.randint(128, 256))
        original, copy = encode(picture), encode(edited(picture, rng))
        assert original != copy
        assert (perceptual_hash(original) ^ perceptual_hash(copy)).bit_count() <= EDIT_BITS


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_a_corrupt_picture_has_a_header_and_no_pixels(kind: str) -> None:
    """Its size can be read; decoding it fails."""
    with Image.open(io.BytesIO(encode(replace(PICTURE, format=kind, variant="corrupt")))) as image:
        assert image.size == (160, 120)
        with pytest.raises((OSError, SyntaxError)):
            image.load()


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_a_bomb_is_small_and_says_it_is_huge(kind: str) -> None:
    """900 million pixels in under 64 KB."""
    body = encode(replace(PICTURE, format=kind, variant="bomb"))
    assert len(body) < 65_536
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(body))


@pytest.mark.parametrize("kind", ["gif", "png", "webp"])
def test_an_animation_has_frames(kind: str) -> None:
    """More than one frame, in each format that can hold them."""
    with Image.open(io.BytesIO(encode(replace(PICTURE, format=kind, variant="animated")))) as image:
        assert getattr(image, "n_frames", 1) > 1


@pytest.mark.parametrize("kind", ["jpeg", "png", "gif"])
def test_a_blank_picture_has_no_entropy(kind: str) -> None:
    """One grey level only."""
    with Image.open(io.BytesIO(encode(replace(PICTURE, format=kind, variant="blank")))) as image:
        assert sum(count > 0 for count in image.convert("L").histogram()) == 1
