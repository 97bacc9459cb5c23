"""Which country a point on Earth lies in, by a file of borders that the user brings (GeoJSON, as Natural Earth's).

Shapes: P points, E edges.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wit.errors import InputError
from wit.evaluation_sets.labels import read_text

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

NOWHERE = -1
_CODES = ("ISO_A2_EH", "ISO_A2", "iso_a2", "ISO3166-1-Alpha-2", "iso_3166_1_alpha_2")
_NAMES = ("NAME", "NAME_EN", "name", "ADMIN", "admin")
_CODE = re.compile(r"[A-Z]{2}")
_BANDS_A_DEGREE = 10  # 1,800 bands: a point is compared with some hundred edges, not all
_NUM_BANDS = 180 * _BANDS_A_DEGREE
_MAX_FILE_BYTES = 1 << 30


@dataclass(frozen=True)
class Borders:
    """The outlines of countries. A point is inside when a ray from it to the east crosses edges an odd number of times.

    Edges lie in bands of latitude, 0.1 degree each, and in one band by country; one that crosses several is in each.
    """

    codes: tuple[str, ...]
    """ISO 3166-1 alpha-2, sorted."""
    names: tuple[str, ...]
    edges_E5: F64
    """Longitude and latitude of both ends in degrees; the country's place in `codes`."""
    starts: I64
    """Bands + 1: where each band's edges begin."""

    def locate(self, longitudes_P: F64, latitudes_P: F64) -> I64:
        """Return the place in `codes` of the country that each point lies in, the first of several; NOWHERE for none.

        Degrees, longitudes in [-180, 180]. Points outside the ranges, and those that are no number, are nowhere.
        """
        found_P = np.full(len(longitudes_P), NOWHERE, np.int64)
        is_valid_P = (np.abs(longitudes_P) <= 180) & (np.abs(latitudes_P) <= 90)
        bands_P = np.where(is_valid_P, _band(np.where(is_valid_P, latitudes_P, 0)), NOWHERE)
        order = np.argsort(bands_P, kind="stable")
        cuts = np.searchsorted(bands_P[order], np.arange(_NUM_BANDS + 1))
        for band in np.unique(bands_P[is_valid_P]):
            points = order[cuts[band] : cuts[band + 1]]
            edges_E5 = self.edges_E5[self.starts[band] : self.starts[band + 1]]
            if len(edges_E5):
                found_P[points] = _locate(edges_E5, longitudes_P[points], latitudes_P[points])
        return found_P


def _band(latitudes: F64) -> I64:
    return np.clip(np.floor((latitudes + 90) * _BANDS_A_DEGREE), 0, _NUM_BANDS - 1).astype(np.int64)


def _locate(edges_E5: F64, longitudes_P: F64, latitudes_P: F64) -> I64:
    """Return the country of each point, by all the edges of its band, which are sorted by country."""
    x0, y0, x1, y1, country_E = edges_E5.T
    latitudes_P1 = latitudes_P[:, None]
    is_beside_PE = (y0 <= latitudes_P1) != (y1 <= latitudes_P1)  # level edges never are: no division by zero counts
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing_PE = x0 + (latitudes_P1 - y0) * ((x1 - x0) / (y1 - y0))
        is_crossed_PE = is_beside_PE & (longitudes_P[:, None] < crossing_PE)
    firsts = np.flatnonzero(np.r_[True, country_E[1:] != country_E[:-1]])
    is_inside_PC = np.add.reduceat(is_crossed_PE, firsts, axis=1, dtype=np.int64) % 2 == 1
    places_C = country_E[firsts].astype(np.int64)
    return np.where(is_inside_PC.any(axis=1), places_C[is_inside_PC.argmax(axis=1)], NOWHERE)


def read_borders(url: str) -> Borders:
    """Return the borders of a GeoJSON file of countries with their ISO codes; raises InputError.

    Features without a code of two letters are passed over; several of one country are one.
    """
    try:
        value = json.loads(read_text(url, _MAX_FILE_BYTES))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{url}: expected GeoJSON, found another text: {error}") from error
    features = value.get("features") if isinstance(value, dict) else None
    if not isinstance(features, list):
        raise InputError(f"{url}: expected a FeatureCollection of countries, found no features")
    rings: list[tuple[str, F64]] = []
    names: dict[str, str] = {}
    for feature in features:
        properties = feature.get("properties") or {} if isinstance(feature, dict) else {}
        code = next((text for key in _CODES if _CODE.fullmatch(text := str(properties.get(key, "")))), "")
        if code:
            rings += [(code, ring) for ring in _rings(feature.get("geometry"), f"{url}: {code}")]
            names.setdefault(code, next((str(properties[key]) for key in _NAMES if properties.get(key)), code))
    if not rings:
        raise InputError(f"{url}: expected countries with one of {', '.join(_CODES)}, found none")
    return _borders(rings, names)


def _rings(geometry: Any, where: str) -> Iterator[F64]:
    """Yield the outlines and holes of a Polygon or MultiPolygon, each as [points, 2]; raises InputError."""
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if kind not in ("Polygon", "MultiPolygon"):
        raise InputError(f"{where}: expected a Polygon or MultiPolygon, found {kind}")
    polygons = geometry.get("coordinates") or []
    for polygon in polygons if kind == "MultiPolygon" else [polygons]:
        for ring in polygon:
            try:
                points = np.array([point[:2] for point in ring], np.float64)
            except (TypeError, ValueError) as error:
                raise InputError(f"{where}: expected rings of longitudes and latitudes: {error}") from error
            if points.ndim == 2 and len(points) > 2:
                yield np.vstack((points, points[:1]))  # closed, whether it was or not: a level edge of no length


def _borders(rings: list[tuple[str, F64]], names: Mapping[str, str]) -> Borders:
    codes = tuple(sorted({code for code, _ in rings}))
    places = {code: place for place, code in enumerate(codes)}
    edges = [np.c_[ring[:-1], ring[1:], np.full(len(ring) - 1, places[code])] for code, ring in rings]
    edges_E5 = np.concatenate(edges)
    firsts = _band(np.minimum(edges_E5[:, 1], edges_E5[:, 3]))
    lasts = _band(np.maximum(edges_E5[:, 1], edges_E5[:, 3]))
    repeats = lasts - firsts + 1
    numbers = np.repeat(np.arange(len(edges_E5)), repeats)
    bands = np.repeat(firsts, repeats) + np.arange(len(numbers)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    order = np.lexsort((edges_E5[numbers, 4], bands))
    starts = np.searchsorted(bands[order], np.arange(_NUM_BANDS + 1))
    return Borders(codes, tuple(names[code] for code in codes), edges_E5[numbers[order]], starts.astype(np.int64))
