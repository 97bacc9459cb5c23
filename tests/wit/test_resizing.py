"""Sizes of the five modes, and planes resampled as Pillow does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from wit.resizing import MODES, Fit, Span, fit, resample

SIDES = st.integers(1, 70_000)


@given(SIDES, SIDES, st.sampled_from(sorted(MODES)), st.integers(1, 1024), st.booleans())
def test_an_image_is_brought_to_the_size(width: int, height: int, mode: str, side: int, enlarge: bool) -> None:
    """The side that a mode names has the size that was asked for, nothing grows unless it may, and nothing is 0."""
    found = fit(width, height, mode, side, enlarge)
    longer, shorter = max(found.size), min(found.size)
    grown = any(span.num > span.extent for span in found)
    assert min(found.across.num, found.down.num, shorter) >= 1
    assert enlarge or not grown
    if mode == "keep":
        assert found.size == (width, height)
    if mode == "longer":
        assert longer == (side if enlarge else min(side, max(width, height)))
    if mode == "shorter":
        assert shorter == (side if enlarge else min(side, shorter)) or min(width, height) < side
    if mode == "border":
        assert found.size == (side, side)
    if mode == "crop":
        assert longer <= side
        assert shorter == side or (not enlarge and min(width, height) < side)


@given(SIDES, SIDES, st.sampled_from(["longer", "shorter"]), st.integers(1, 1024))
def test_the_proportion_stays(width: int, height: int, mode: str, side: int) -> None:
    """A fitted size is off the exact proportion by half a pixel at most, where that leaves a pixel at all."""
    named = (max if mode == "longer" else min)(width, height)
    scale = min(1.0, side / named)
    fitted = fit(width, height, mode, side, False).size
    for found, original in zip(fitted, (width, height), strict=True):
        assert abs(found - original * scale) <= 0.5 or found == 1


@given(SIDES, SIDES, st.sampled_from(sorted(MODES)), st.integers(1, 1024), st.booleans())
def test_the_content_lies_in_the_middle(width: int, height: int, mode: str, side: int, enlarge: bool) -> None:
    """What is cut off or added is as much on one side as on the other, but for a pixel; all lies within the image."""
    for span, size in zip(fit(width, height, mode, side, enlarge), (width, height), strict=True):
        step = span.extent / span.num
        assert span.begin >= 0
        assert span.begin + span.extent <= size + 1e-6
        assert abs(span.begin - (size - span.begin - span.extent)) <= step + 1e-6
        assert abs(span.offset - (span.length - span.num - span.offset)) <= 1


@given(SIDES, SIDES, st.sampled_from(sorted(MODES)), st.integers(1, 1024))
def test_chroma_of_half_the_size_covers_every_pixel(width: int, height: int, mode: str, side: int) -> None:
    """Chroma's samples begin at even pixels of the stored image, reach its end, and keep to luma's scale."""
    where = fit(width, height, mode, side, False)
    for span, half in zip(where, where.halved(), strict=True):
        assert half.length == (span.length + 1) // 2
        assert 2 * half.offset <= span.offset
        assert 2 * (half.offset + half.num) >= span.offset + span.num
        assert half.offset + half.num <= half.length
        assert half.extent / half.num == pytest.approx(span.extent / span.num)


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    """Pillow goes across first, and then down; either way the first pass ends in whole levels from 0 to 255."""
    assert np.abs(found - expected).mean() < 0.4
    assert np.abs(found - expected).max() <= 8


@pytest.mark.parametrize("size", [(64, 48), (50, 75), (120, 90), (199, 149), (200, 150), (256, 192), (1, 1), (200, 10)])
def test_resampling_is_pillows(size: tuple[int, int]) -> None:
    """Brought down or up, a plane is what Pillow's LANCZOS makes of it, but for what lies between the two."""
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (30, 40), dtype=np.uint8)).resize((200, 150), Image.Resampling.BICUBIC)
    where = Fit(Span(0.0, 200, size[0], 0, size[0]), Span(0.0, 150, size[1], 0, size[1]))
    expected = np.asarray(image.resize(size, Image.Resampling.LANCZOS)).astype(int)
    assert_close(resample(np.asarray(image), (200, 150), where), expected)


def test_a_box_is_resampled_as_pillow_does() -> None:
    """A box that begins and ends between samples, of a plane that reaches beyond the image."""
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (30, 40), dtype=np.uint8)).resize((200, 150), Image.Resampling.BICUBIC)
    plane = np.pad(np.asarray(image), ((0, 7), (0, 9)), constant_values=255)
    where = Fit(Span(10.25, 150.5, 60, 0, 60), Span(3.5, 140.25, 50, 0, 50))
    box = (10.25, 3.5, 160.75, 143.75)
    expected = np.asarray(image.resize((60, 50), Image.Resampling.LANCZOS, box=box)).astype(int)
    assert_close(resample(plane, (200, 150), where), expected)


def test_a_flat_plane_stays_flat() -> None:
    """Weights add up: a plane of one level keeps it, at its ends and beyond them too."""
    for level in (0, 1, 128, 254, 255):
        plane = np.full((90, 70), level, np.uint8)
        where = Fit(Span(-1.0, 72.0, 31, 0, 31), Span(0.0, 90.0, 200, 0, 200))
        assert set(np.unique(resample(plane, (70, 90), where))) == {level}
