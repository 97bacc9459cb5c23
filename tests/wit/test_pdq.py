"""PDQ as it is published: smoothing by boxes, the median, the quality."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from wit.pdq import NUM_FREQUENCIES, SIDE, quality, smoothed, smoothing, transform, words

Line = npt.NDArray[np.float64]


def boxed(line: Line) -> Line:
    """A running mean over 1/128 of a line, the window longer ahead than behind, cut at the ends."""
    width = -(-len(line) // 128)
    ahead = (width + 2) // 2
    return np.array([line[max(0, at + ahead - width) : at + ahead].mean() for at in range(len(line))])


@given(st.integers(5, 700), st.integers(0, 2**32 - 1))
def test_smoothing_is_two_boxes_and_64_samples(size: int, seed: int) -> None:
    """For any length of an axis the means are those of the algorithm done step by step; their weights add up to 1."""
    line = np.random.default_rng(seed).uniform(0, 255, size)
    twice = boxed(boxed(line))
    expected = twice[[int((place + 0.5) * size / SIDE) for place in range(SIDE)]]
    means = [weights[: size - at] @ line[at : at + len(weights)] for at, weights in zip(*smoothing(size), strict=True)]
    np.testing.assert_allclose(means, expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(smoothing(size).weights.sum(axis=1), 1.0)


@settings(max_examples=8)
@given(st.integers(5, 140), st.integers(5, 140))
def test_rows_and_columns_are_smoothed_apart(height: int, width: int) -> None:
    """A picture is smoothed along one axis, then along the other; of colour it is the luma."""
    pixels = np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    luma = pixels @ np.array([0.299, 0.587, 0.114])
    rows = np.apply_along_axis(boxed, 1, np.apply_along_axis(boxed, 0, luma))
    rows = np.apply_along_axis(boxed, 1, np.apply_along_axis(boxed, 0, rows))
    places = [[int((place + 0.5) * size / SIDE) for place in range(SIDE)] for size in (height, width)]
    np.testing.assert_allclose(smoothed(pixels), rows[np.ix_(*places)], rtol=0, atol=1e-9)


def test_the_transform_has_no_constant() -> None:
    """Frequencies are orthonormal, and a picture of one tone has none."""
    matrix = transform()
    assert matrix.shape == (NUM_FREQUENCIES, SIDE)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(NUM_FREQUENCIES), atol=1e-12)
    np.testing.assert_allclose(matrix.sum(axis=1), 0, atol=1e-12)


def test_bits_are_above_the_lower_median_and_the_first_is_the_last() -> None:
    """Of distinct frequencies 128 bits are set, at most; frequency (0, 0) is the lowest bit of the last word."""
    frequencies = np.arange(256.0).reshape(1, 16, 16)
    (upper,) = words(frequencies)
    assert [int(word) for word in upper] == [2**64 - 1, 2**64 - 1, 0, 0]
    (first,) = words(np.where(np.arange(256) == 0, 1.0, 0.0).reshape(1, 16, 16))
    assert [int(word) for word in first] == [0, 0, 0, 1]
    assert words(np.zeros((1, 16, 16))).tolist() == [[0, 0, 0, 0]]


def test_quality_counts_steps_of_a_hundredth() -> None:
    """One tone and faint noise have quality 0; a step of the whole range along an edge counts 100 for each pixel."""
    assert quality(np.full((64, 64), 77.0)) == 0
    assert quality(np.random.default_rng(0).uniform(100, 102.5, (64, 64))) == 0
    edge = np.zeros((64, 64))
    edge[:, 32:] = 255.0
    assert quality(edge) == 64 * 100 // 90
    assert quality(np.indices((64, 64)).sum(axis=0) % 2 * 255.0) == 100


def test_quality_grows_with_contrast() -> None:
    """The same picture with more contrast never has less quality."""
    picture = np.random.default_rng(1).normal(0, 1, (64, 64))
    found = [quality(128 + contrast * picture) for contrast in (0.5, 1, 2, 4, 8, 16, 32)]
    assert all(before <= after for before, after in itertools.pairwise(found))
    assert found[0] == 0
    assert found[-1] == 100
