"""Planted edits: each is repeatable, changes the picture by what its name says, and leaves it the same picture."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmarks.edits import EDITS, LONGER_PX, Edit, edited, photo_of

BY_NAME = {edit.name: edit for edit in EDITS}


def scene(width: int = 160, height: int = 120) -> Image.Image:
    """A picture with slopes, edges and colours, the same every time."""
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def decoded(body: bytes) -> Image.Image:
    with Image.open(io.BytesIO(body)) as image:
        return image.convert("RGB")


def test_names_differ() -> None:
    """An edit is one row of the table: no two share a name."""
    assert len(BY_NAME) == len(EDITS)


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.name)
def test_repeatable(edit: Edit) -> None:
    """The same photo and edit give the same bytes, whatever was edited before; and they are an image that opens."""
    body = edited(edit, scene())
    assert body == edited(edit, scene())
    assert min(decoded(body).size) > 10


@pytest.mark.parametrize("edit", [edit for edit in EDITS if edit.name != "png"], ids=lambda edit: edit.name)
def test_changes_something(edit: Edit) -> None:
    """No edit hands back the pixels that it was given."""
    image = decoded(edited(edit, scene()))
    assert image.size != scene().size or image.tobytes() != scene().tobytes()


@given(width=st.integers(40, 200), height=st.integers(40, 200), edit=st.sampled_from(EDITS))
@settings(max_examples=60, deadline=None)
def test_any_size(width: int, height: int, edit: Edit) -> None:
    """Every edit works on small, long and odd-sided pictures."""
    decoded(edited(edit, scene(width, height)))


@pytest.mark.parametrize(("name", "kept"), [("crop 5%", 0.95), ("crop 20%", 0.8), ("crop 40%", 0.6)])
def test_crop_takes_its_share(name: str, kept: float) -> None:
    """A crop removes the share of the area that it is named after, up to the rounding of sides."""
    width, height = decoded(edited(BY_NAME[name], scene())).size
    assert width * height / (160 * 120) == pytest.approx(kept, abs=0.01)


def test_crops_lie_elsewhere_in_other_photos() -> None:
    """What is random depends on the photo: two photos are not cropped at the same place."""
    photos = [scene(), Image.eval(scene(), lambda level: 255 - level)]
    first, other = (np.asarray(decoded(edited(BY_NAME["crop 40%"], photo))).astype(int) for photo in photos)
    assert np.abs(first - (255 - other)).mean() > 5


@pytest.mark.parametrize(
    ("name", "back"),
    [
        ("turn mirror", Image.Transpose.FLIP_LEFT_RIGHT),
        ("turn upside down", Image.Transpose.FLIP_TOP_BOTTOM),
        ("turn 90 deg", Image.Transpose.ROTATE_270),
        ("turn 180 deg", Image.Transpose.ROTATE_180),
    ],
)
def test_turns_are_undone(name: str, back: Image.Transpose) -> None:
    """A turn is one of the square's: turned back, only the encoding's loss is left."""
    image = decoded(edited(BY_NAME[name], scene())).transpose(back)
    assert np.abs(np.asarray(image).astype(int) - np.asarray(scene())).mean() < 3


def test_photo_of_is_upright_and_bounded() -> None:
    """Edits start from upright RGB pixels of at most the side that shards hold."""
    exif = Image.Exif()
    exif[274] = 6  # orientation: to be turned by 90 degrees
    buffer = io.BytesIO()
    scene(1000, 600).save(buffer, "JPEG", exif=exif)
    photo = photo_of(buffer.getvalue())
    assert photo.mode == "RGB"
    assert photo.size[1] == LONGER_PX
    assert photo.size[0] in (307, 308)
