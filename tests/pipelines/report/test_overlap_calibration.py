"""The page of thresholds: its counts add up, it asks for few pictures, and says what to type."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.report.overlap import calibration
from pipelines.report.overlap.calibration import MAX_STEPS, PAIRS_A_STEP, shown_pairs, write_calibration
from pipelines.report.overlap.results import EVALUATION, TRAINING, Calibration, SearchedSet
from tests.html import check_nesting, shown_text, tags
from tests.pipelines.report.overlap_world import HOSTILE, Row, matches, no_thumbs, thumbs


def searched(name: str, threshold: float = 8, num_items: int = 1000) -> SearchedSet:
    return SearchedSet(name, num_items, threshold, 4 * threshold)


def calibrated(*sets: SearchedSet, words: str = "shards") -> Calibration:
    return Calibration(words, "an image within the threshold", sets, f"wit overlap {words}")


def some_rows(name: str, num_items: int) -> list[Row]:
    """Each item with two samples, the nearest at its number modulo 20 bits."""
    nearest = [(name, f"item {n:04d}", f"near {n}", n % 20) for n in range(num_items)]
    return nearest + [(name, f"item {n:04d}", f"far {n}", n % 20 + 3) for n in range(num_items)]


@given(st.integers(0, 256), st.integers(0, 256))
def test_steps_of_bits_end_at_the_threshold(distance: int, threshold: int) -> None:
    """Steps ascend from 0, cover every distance, end once at the threshold, and are few."""
    check_steps(calibration._uppers(distance, threshold, 1), distance, threshold)


@given(st.floats(0, 2, width=32), st.integers(0, 200).map(lambda n: n / 100))
def test_steps_of_cosine_distances_end_at_the_threshold(distance: float, threshold: float) -> None:
    """The same of distances that are no whole numbers."""
    check_steps(calibration._uppers(distance, threshold, 100), distance, threshold)


def check_steps(found: npt.NDArray[np.float64], farthest: float, threshold: float) -> None:
    assert found[0] == 0
    assert (np.diff(found) > 0).all()
    assert found[-1] >= farthest
    assert threshold in found
    assert len(found) <= MAX_STEPS + 3


def test_counts_are_of_items_by_their_nearest_sample(tmp_path: Path) -> None:
    """An item counts once, at its nearest sample; what is up to a step is what its threshold would find."""
    table = matches(some_rows("pets", 100))
    write_calibration(str(tmp_path), calibrated(searched("pets")), table, no_thumbs)
    text = shown_text((tmp_path / "calibrate.html").read_text())
    for upper in range(20):
        assert f"up to {upper} bits: 5 here, {5 * (upper + 1)} ({(upper + 1) / 200:.2%} of the set) up to here" in text
        assert f"--threshold pets={upper}" in text
    assert text.index("up to 8 bits") < text.index("Above the threshold of 8") < text.index("up to 9 bits")
    assert "far" not in text


def test_pictures_are_asked_for_of_the_shown_pairs_alone(tmp_path: Path) -> None:
    """A few pairs of each set and step, always the same ones, whatever the order of the rows."""
    rows = some_rows("pets", 1000) + some_rows("cifar", 30)
    found = calibrated(searched("pets"), searched("cifar"), searched("none"))
    shown = shown_pairs(found, matches(rows))
    assert shown.schema.equals(matches(rows).schema)
    assert len(shown) == 20 * PAIRS_A_STEP + 30
    assert shown.equals(shown_pairs(found, matches(rows[::-1])))
    asked = set()

    def watch(side: str, name: str) -> bytes:
        asked.add((side, name))
        return thumbs(side, name)

    write_calibration(str(tmp_path / "a"), found, matches(rows), watch)
    pairs = shown.to_pylist()
    assert asked == {(EVALUATION, f"{row['set']}/{row['item']}") for row in pairs} | {
        (TRAINING, f"00000.tar/{row['key']}") for row in pairs
    }
    write_calibration(str(tmp_path / "b"), found, matches(rows[::-1]), thumbs)
    assert (tmp_path / "a" / "calibrate.html").read_bytes() == (tmp_path / "b" / "calibrate.html").read_bytes()


def test_the_sample_of_a_step_is_fair() -> None:
    """Of 400 steps of 50 items each place is drawn about as often: no preference for the first names."""
    rows = [("s", f"{step:03d}/{place:02d}", "k", 0) for step in range(400) for place in range(50)]
    places = np.zeros(50)
    for step in range(400):
        table = matches(rows[50 * step : 50 * step + 50])
        for name in calibration._sample(table)["item"].to_pylist():
            places[int(name[4:])] += 1
    assert places.sum() == 400 * PAIRS_A_STEP
    assert ((places - 40) ** 2 / 40).sum() < 85  # chi-squared, 49 degrees of freedom: p = 0.001


def test_hostile_names(tmp_path: Path) -> None:
    """Names are text on the page, and one word each for a shell."""
    name = HOSTILE + "\n"
    rows = [(name, HOSTILE, HOSTILE, n) for n in range(12)]
    write_calibration(str(tmp_path), calibrated(searched(name), words=HOSTILE), matches(rows, HOSTILE), thumbs)
    page = (tmp_path / "calibrate.html").read_text()
    check_nesting(page)
    assert not {"script"} & {tag for tag, _ in tags(page)}
    assert not any(key.startswith("on") for _, attributes in tags(page) for key in attributes)
    (option,) = [calibration._option(searched(name), 8)]
    assert shlex.split(option) == ["--threshold", f"{name}=8"]


def test_a_set_that_was_not_found(tmp_path: Path) -> None:
    """It says how far was searched."""
    write_calibration(str(tmp_path), calibrated(searched("pets")), matches([]), thumbs)
    text = shown_text((tmp_path / "calibrate.html").read_text())
    assert "No image has a training sample so near: searched up to 32 bits" in text
    assert shown_pairs(calibrated(searched("pets")), matches([])).num_rows == 0


@pytest.mark.parametrize("threshold", [0.25, 0.3])
def test_thresholds_of_descriptors(tmp_path: Path, threshold: float) -> None:
    """Steps are hundredths; what a step counts is what its threshold would find."""
    rng = np.random.default_rng(5)
    distances = rng.uniform(0, 0.5, 500).astype(np.float32)
    table = matches([("s", f"i{n}", f"k{n}", 0) for n in range(500)])
    place = table.schema.get_field_index("distance")
    table = table.set_column(place, "distance", pa.array(distances))
    found = Calibration("shards", "an image", (searched("s", threshold),), "wit overlap", "cosine distance")
    write_calibration(str(tmp_path), found, table, no_thumbs)
    text = shown_text((tmp_path / "calibrate.html").read_text())
    count = int((distances <= threshold).sum())
    assert f"up to {threshold:g} cosine distance" in text
    assert f"{count} ({count / 1000:.2%} of the set) up to here" in text
