from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.evaluation.protocols import geolocation
from trainer.evaluation.protocols.geolocation import (
    EARTH_RADIUS_KM,
    Places,
    expected_at_random,
    find_nearest,
    haversine_km,
    measure_geolocation,
    read_places,
)
from wit.errors import InputError

DEGREES = st.tuples(st.floats(-90, 90), st.floats(-180, 180))


def by_chord(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Return the distance by the chord through the earth between two points in space."""
    points = [
        np.array([np.cos(a) * np.cos(b), np.cos(a) * np.sin(b), np.sin(a)])
        for a, b in (np.radians(one), np.radians(other))
    ]
    return float(2 * EARTH_RADIUS_KM * np.arcsin(min(1.0, np.linalg.norm(points[0] - points[1]) / 2)))


@given(DEGREES, DEGREES)
def test_distance_is_the_chords(one: tuple[float, float], other: tuple[float, float]) -> None:
    """Anywhere, poles and the date line too, the distance is that of the chord to 1 m (near antipodes 1 km)."""
    found = float(haversine_km(np.array([one]), np.array([other]))[0])
    tolerance = 1e-3 if found < 20_000 else 1.0
    assert found == pytest.approx(by_chord(one, other), abs=tolerance)
    assert found == pytest.approx(float(haversine_km(np.array([other]), np.array([one]))[0]), abs=1e-6)


def test_known_distances() -> None:
    """A quarter of a great circle, half of one, and a degree of latitude have their lengths."""
    ones = np.array([[0.0, 0.0], [0.0, 0.0], [10.0, 179.5], [0.0, 179.5]])
    others = np.array([[90.0, 50.0], [0.0, 180.0], [11.0, 179.5], [0.0, -179.5]])
    quarter = np.pi / 2 * EARTH_RADIUS_KM
    assert haversine_km(ones, others) == pytest.approx([quarter, 2 * quarter, quarter / 90, quarter / 90], abs=1e-6)


def test_planted_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    """Photos whose neighbours are planted at known distances give the curve of those distances, row by row too."""
    distances = [0.5, 10, 24, 26, 150, 400, 1000, 2400, 3000, 9000]
    queries = np.array([[0.0, 0.0]] * 10)
    references = np.array([[km / EARTH_RADIUS_KM * 180 / np.pi, 0.0] for km in distances])
    embedding = np.eye(10, dtype=np.float32)
    monkeypatch.setattr(geolocation, "BLOCK_SCORES", 1)
    found = measure_geolocation(
        embedding, Places(tuple("abcdefghij"), queries), embedding, Places(tuple("ajklmnopqr"), references), "im2gps"
    )
    curve = [row["value"] for row in found.details["curve"]]
    assert curve == [0.1, 0.3, 0.5, 0.6, 0.8]
    assert (found.share.value, found.chance, found.details["num_shared_names"]) == (0.3, pytest.approx(0.3), 2)
    assert found.details["median_km"] == pytest.approx((150 + 400) / 2)


def test_nearest_and_chance_are_naive_ones() -> None:
    """The nearest is that of all products, the first of equals; chance is the mean over all pairs."""
    rng = np.random.default_rng(1)
    query, reference = (rng.integers(-2, 3, (number, 3)).astype(np.float32) for number in (30, 50))
    assert find_nearest(query, reference).tolist() == [int(np.argmax(reference @ row)) for row in query]
    ones, others = rng.uniform(-60, 60, (6, 2)), rng.uniform(-60, 60, (9, 2))
    pairs = [by_chord(tuple(one), tuple(other)) <= 5000 for one in ones for other in others]
    assert expected_at_random(ones, others, 5000) == pytest.approx(np.mean(pairs))


def test_places_out_of_range(tmp_path: Path) -> None:
    """A latitude beyond the pole, as of swapped columns, is an error that names its line."""
    (tmp_path / "a.csv").write_text("image,latitude,longitude\na,1,2\nb,139.7,35.7\n")
    with pytest.raises(InputError, match=r"line 3: expected a number from -90 to 90 under 'latitude', found '139.7'"):
        read_places(str(tmp_path / "a.csv"))
