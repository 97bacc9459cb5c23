"""Geolocation: a photo is taken to be where its nearest neighbour among photos of known places is.

The curve is the share of photos that are placed within 1, 25, 200, 750 and 2,500 km, by custom called street, city,
region, country and continent. None of the paper's own numbers is here: no second source for them was found.

Shapes: Q photos to place, N references, D embedding; coordinates are latitude and longitude in degrees.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.evaluation.protocols.findings import Finding, Floats, Ints, require_comparable, require_rows, share_of
from trainer.evaluation.tables import read_rows

LIMITS_KM = (1.0, 25.0, 200.0, 750.0, 2500.0)
EARTH_RADIUS_KM = 6371.0088
"""The mean radius (2 a + b) / 3 of the ellipsoid GRS 80 (Moritz, Journal of Geodesy 74, 2000)."""
BLOCK_SCORES = 1 << 24

Degrees = NDArray[np.float64]


@dataclass(frozen=True)
class Places:
    """Images by name, and where they were taken: (N, 2), latitude -90 to 90 and longitude -180 to 180."""

    images: tuple[str, ...]
    degrees_N2: Degrees

    def keep(self, kept: Sequence[int]) -> Places:
        """Return some of the places, by number."""
        return Places(tuple(self.images[place] for place in kept), self.degrees_N2[list(kept)])


def read_places(url: str) -> Places:
    """Return the rows of image, latitude and longitude of a file; raises InputError where one is out of range."""
    rows = read_rows(url, ("image", "latitude", "longitude"), once="image")
    degrees = [(row.number("latitude", -90, 90), row.number("longitude", -180, 180)) for row in rows]
    return Places(tuple(row.text("image") for row in rows), np.array(degrees))


def haversine_km(one_N2: Degrees, other_N2: Degrees) -> NDArray[np.float64]:
    """Return great-circle distances (N,) on a sphere of the earth's mean radius.

    hav(d / R) = hav(difference of latitudes) + cos cos hav(difference of longitudes); R. W. Sinnott, "Virtues of the
    Haversine", Sky and Telescope 68 (1984). At most 0.56 % from those on the ellipsoid.
    """
    latitude_1, longitude_1 = np.radians(one_N2).T
    latitude_2, longitude_2 = np.radians(other_N2).T
    half = np.sin((latitude_2 - latitude_1) / 2) ** 2
    half += np.cos(latitude_1) * np.cos(latitude_2) * np.sin((longitude_2 - longitude_1) / 2) ** 2
    distances: NDArray[np.float64] = 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(half, 0, 1)))
    return distances


def find_nearest(query_QD: Floats, reference_ND: Floats) -> Ints:
    """Return the row (Q,) of the reference with the largest product; of equal ones the first.

    Memory: BLOCK_SCORES products. Raises InputError as `require_comparable` does.
    """
    require_comparable(query_QD, reference_ND)
    parts = [(query_QD[rows] @ reference_ND.T).argmax(axis=1) for rows in _blocks(len(query_QD), len(reference_ND))]
    return np.concatenate(parts).astype(np.int64)


def _blocks(num_queries: int, num_references: int) -> Iterator[slice]:
    height = max(1, BLOCK_SCORES // max(1, num_references))
    return (slice(start, start + height) for start in range(0, num_queries, height))


def measure_geolocation(
    query_QD: Floats, queries: Places, reference_ND: Floats, references: Places, task: str
) -> Finding:
    """Return the share of photos placed within 25 km of where they were taken; the whole curve in the details.

    References of the same name as a photo, which would place it at 0 km, are counted there. Raises InputError when
    embeddings and places differ in number.
    """
    require_rows("photos to place", len(query_QD), len(queries.images))
    require_rows("references", len(reference_ND), len(references.images))
    nearest_Q = find_nearest(query_QD, reference_ND)
    distance_Q = haversine_km(queries.degrees_N2, references.degrees_N2[nearest_Q])
    curve = [share_of(distance_Q <= limit, f"{limit:g} km") for limit in LIMITS_KM]
    num_shared = len(set(queries.images) & set(references.images))
    note = {"note": f"{num_shared:,} photos have the name of a reference: one that is its own is placed at 0 km"}
    return Finding(
        task,
        "geolocation",
        "share within 25 km",
        curve[LIMITS_KM.index(25.0)],
        chance=expected_at_random(queries.degrees_N2, references.degrees_N2, 25.0),
        details={
            "curve": [share.to_json() for share in curve],
            "median_km": float(np.median(distance_Q)),
            "num_references": len(references.images),
            "num_shared_names": num_shared,
            **(note if num_shared else {}),
        },
    )


def expected_at_random(query_Q2: Degrees, reference_N2: Degrees, limit_km: float) -> float:
    """Return the share of photos within a distance when each is given a reference at random: its expectation.

    Two points are within it when the cosine of the angle between them, as seen from the earth's centre, is at least
    that of limit / radius.
    """
    query_Q3, reference_N3 = _directions(query_Q2), _directions(reference_N2)
    least = np.cos(limit_km / EARTH_RADIUS_KM)
    counts = [
        np.count_nonzero(query_Q3[rows] @ reference_N3.T >= least) for rows in _blocks(len(query_Q3), len(reference_N3))
    ]
    return sum(counts) / (len(query_Q3) * len(reference_N3))


def _directions(degrees_N2: Degrees) -> Degrees:
    """Return unit vectors (N, 3) from the earth's centre."""
    latitude_N, longitude_N = np.radians(degrees_N2).T
    flat_N = np.cos(latitude_N)
    return np.stack([flat_N * np.cos(longitude_N), flat_N * np.sin(longitude_N), np.sin(latitude_N)], axis=1)
