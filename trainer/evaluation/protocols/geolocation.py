"""Geolocation: a photo is taken to be where its nearest neighbour among photos of known places is.

The curve is the share of photos that are placed within 1, 25, 200, 750 and 2,500 km, by custom called street, city,
region, country and continent. None of the paper's own numbers is here: no second source for them was found.

Shapes: Q photos to place, N references, D embedding; coordinates are latitude and longitude in degrees.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.evaluation.protocols.outcome import Floats, Ints, Outcome, require_rows, share_of, similarities
from trainer.evaluation.protocols.rows import read_rows

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


def read_places(url: str) -> Places:
    """Return the rows of image, latitude and longitude of a file; raises InputError where one is out of range."""
    rows = read_rows(url, ("image", "latitude", "longitude"))
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

    Memory: BLOCK_SCORES products. Raises InputError as `similarities` does.
    """
    height = max(1, BLOCK_SCORES // max(1, len(reference_ND)))
    parts = [
        similarities(query_QD[start : start + height], reference_ND).argmax(axis=1)
        for start in range(0, len(query_QD), height)
    ]
    return np.concatenate(parts).astype(np.int64)


def measure_geolocation(
    query_QD: Floats, queries: Places, reference_ND: Floats, references: Places, task: str
) -> Outcome:
    """Return the share of photos placed within 25 km of where they were taken; the whole curve in the details.

    References of the same name as a photo, which would place it at 0 km, are counted there. Raises InputError when
    embeddings and places differ in number.
    """
    require_rows("photos to place", len(query_QD), len(queries.images))
    require_rows("references", len(reference_ND), len(references.images))
    nearest_Q = find_nearest(query_QD, reference_ND)
    distance_Q = haversine_km(queries.degrees_N2, references.degrees_N2[nearest_Q])
    curve = [share_of(distance_Q <= limit, f"{limit:g} km") for limit in LIMITS_KM]
    return Outcome(
        task,
        "geolocation",
        "share within 25 km",
        curve[LIMITS_KM.index(25.0)],
        chance=expected_at_random(queries.degrees_N2, references.degrees_N2, 25.0),
        details={
            "curve": [share.to_json() for share in curve],
            "median_km": float(np.median(distance_Q)),
            "num_references": len(references.images),
            "num_shared_names": len(set(queries.images) & set(references.images)),
        },
    )


def expected_at_random(query_Q2: Degrees, reference_N2: Degrees, limit_km: float) -> float:
    """Return the share of photos within a distance when each is given a reference at random: its expectation."""
    shares = [
        float((haversine_km(np.broadcast_to(one_2, reference_N2.shape), reference_N2) <= limit_km).mean())
        for one_2 in query_Q2
    ]
    return float(np.mean(shares))
