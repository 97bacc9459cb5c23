from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.path import Path as Outline

from trainer.evaluation.suite.borders import NOWHERE, Borders, read_borders
from wit.errors import InputError

Ring = list[tuple[float, float]]


def square(west: float, south: float, east: float, north: float) -> Ring:
    return [(west, south), (east, south), (east, north), (west, north), (west, south)]


def country(code: str, *polygons: list[Ring], name: str = "") -> dict[str, Any]:
    geometry = {"type": "MultiPolygon", "coordinates": polygons}
    return {"type": "Feature", "properties": {"ISO_A2": code, "NAME": name or code}, "geometry": geometry}


def write_borders(path: Path, *features: dict[str, Any]) -> str:
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return str(path)


def codes_at(borders: Borders, points: list[tuple[float, float]]) -> list[str]:
    longitudes, latitudes = np.array(points, np.float64).T
    places = borders.locate(longitudes, latitudes)
    return [borders.codes[place] if place != NOWHERE else "" for place in places.tolist()]


def test_points_lie_in_countries(tmp_path: Path) -> None:
    """Holes are outside, an enclave is its own country, islands belong to theirs, the sea and the poles to none."""
    path = write_borders(
        tmp_path / "b.geojson",
        country("ZA", [square(16, -35, 33, -22), square(27, -30.5, 29.5, -28.5)], [square(37, -47, 38, -46)]),
        country("LS", [square(27, -30.5, 29.5, -28.5)], name="Lesotho"),
        country("-99", [square(0, 0, 10, 10)]),
        country("FJ", [square(177, -19, 180, -16)], [square(-180, -19, -178, -16)]),
    )
    borders = read_borders(path)
    assert (borders.codes, borders.names) == (("FJ", "LS", "ZA"), ("FJ", "Lesotho", "ZA"))
    points = [(18.4, -33.9), (28, -29.5), (37.5, -46.5), (5, 5), (179.9, -17), (-179, -17), (0, 90), (0, -90)]
    assert codes_at(borders, points) == ["ZA", "LS", "ZA", "", "FJ", "FJ", "", ""]
    nothing = float("nan")
    assert codes_at(borders, [(nothing, -29), (28, nothing), (388, -29.5), (18.4, -133.9)]) == [""] * 4


@given(
    st.lists(st.tuples(st.integers(20, 600), st.integers(1, 50)), min_size=3, max_size=40),
    st.integers(0, 2**32 - 1),
)
def test_the_same_as_matplotlib(radii_and_steps: list[tuple[int, int]], seed: int) -> None:
    """For stars of any size, over many bands of latitude or within one, with points between and beside them."""
    from tempfile import TemporaryDirectory

    steps = np.cumsum([step for _, step in radii_and_steps]) / sum(step for _, step in radii_and_steps)
    radii = np.array([radius for radius, _ in radii_and_steps]) / 13
    star = np.c_[3.1 + radii * np.cos(2 * np.pi * steps), 1.7 + radii * np.sin(2 * np.pi * steps)]
    points = np.random.default_rng(seed).uniform(-50, 55, (300, 2))
    with TemporaryDirectory() as folder:
        ring = [(float(x), float(y)) for x, y in star]
        borders = read_borders(write_borders(Path(folder, "b.json"), country("AA", [[*ring, ring[0]]])))
    mine = borders.locate(points[:, 0], points[:, 1]) == 0
    assert mine.tolist() == Outline(star).contains_points(points).tolist()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected GeoJSON"),
        ("{}", "expected a FeatureCollection of countries"),
        ('{"features": [{"properties": {"NAME": "Utopia"}}]}', "expected countries with one of ISO_A2_EH"),
        ('{"features": [{"properties": {"ISO_A2": "UT"}, "geometry": {"type": "Point"}}]}', "UT: expected a Polygon"),
        (
            '{"features": [{"properties": {"ISO_A2": "UT"}, "geometry": {"type": "Polygon", "coordinates": [["a"]]}}]}',
            "UT: expected rings of longitudes and latitudes",
        ),
    ],
)
def test_mistakes_are_said(tmp_path: Path, text: str, message: str) -> None:
    """In one line, with the file and the country."""
    path = tmp_path / "b.geojson"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as raised:
        read_borders(str(path))
    assert str(path) in str(raised.value)
