"""Runs of dedup over planted images, and what must come of them by comparing all with all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.stages.dedup import Dedup
from pipelines.stages.verb import RunSettings
from tests.support import read_parts, run_steps, to_signed, write_part
from wit.keys import key_bucket, sample_key, uniform_rank
from wit.schema import FINGERPRINTS, MATCHED, TURNED
from wit.text import normalise

NUM_BUCKETS = 4
TABLES = ("kept", "duplicates", "clusters/kept", "edges/kept", "copies")


@dataclass(frozen=True)
class Image:
    """What dedup knows of an image; `turned` are its prints (pHash, PDQ) by turn."""

    phash: int
    pdq: int = 0
    quality: int = 100
    content: int | None = None
    num_pixels: int = 100
    caption: str = "a picture"
    turned: tuple[tuple[int, int, int], ...] = ()


@dataclass(frozen=True)
class Row:
    """An image in a run."""

    key: str
    rank: int
    image: Image

    def facts(self, num_buckets: int) -> dict[str, object]:
        return {"key": self.key, "bucket": key_bucket(self.key, num_buckets), "rank": self.rank}

    def print(self, number: int) -> dict[str, object]:
        each = self.image
        content = 1000 + number if each.content is None else each.content
        return {**words(each.phash, each.pdq), "quality": each.quality, "content": content}


def words(phash: int, pdq: int) -> dict[str, int]:
    """The columns of two hashes."""
    parts = {f"pdq_{i}": to_signed(pdq >> (192 - 64 * i) & (2**64 - 1)) for i in range(4)}
    return {"phash": to_signed(phash), **parts}


def rows_of(images: list[Image], prefix: str = "") -> list[Row]:
    """Images under keys of their own, in key order."""
    keys = [sample_key(f"http://example.org/{prefix}{number}", "a picture") for number in range(len(images))]
    rows = [Row(key, uniform_rank("wit", key), image) for key, image in zip(keys, images, strict=True)]
    return sorted(rows, key=lambda row: row.key)


def write_run(root: Path, rows: list[Row], num_buckets: int = NUM_BUCKETS) -> None:
    """Write the tables that dedup reads."""
    pair = {"url": "u", "page_url": None, "archive": "a", "offset": 0, "attribute": "alt", "num_occurrences": 1}
    for bucket in range(num_buckets):
        mine = [(number, row) for number, row in enumerate(rows) if key_bucket(row.key, num_buckets) == bucket]
        images = [
            {**row.facts(num_buckets), "num_pixels": row.image.num_pixels, **row.print(number)} for number, row in mine
        ]
        turned = [
            {"key": row.key, "bucket": bucket, "turn": turn, **row.print(number), **words(phash, pdq)}
            for number, row in mine
            for turn, phash, pdq in row.image.turned
        ]
        pairs = [{**row.facts(num_buckets), **pair, "caption": row.image.caption, "query_ids": [1]} for _, row in mine]
        for table, found, schema in (
            ("fingerprint/kept", images, FINGERPRINTS),
            ("fingerprint/turned", turned, TURNED),
            ("balance/kept", pairs, MATCHED),
        ):
            write_part(root, table, bucket, pa.Table.from_pylist(found, schema=schema))


def dedup(root: Path, rows: list[Row], stage: Dedup, num_buckets: int = NUM_BUCKETS) -> dict[str, pa.Table]:
    """Every table of the stage."""
    write_run(root, rows, num_buckets)
    run_steps(stage.steps(RunSettings(num_buckets=num_buckets)), root, num_buckets)
    return {table: read_parts(root, f"dedup/{table}") for table in TABLES} | {
        "rejects": read_parts(root, "rejects/dedup")
    }


def distances(rows: list[Row], stage: Dedup) -> np.ndarray:
    """Bits between each two near-duplicates, -1 for the others: [n, n]."""
    found = np.full((len(rows), len(rows)), -1)
    prints = [((row.image.phash, row.image.pdq), *(each[1:] for each in row.image.turned)) for row in rows]
    for i, one in enumerate(rows):
        for j, other in enumerate(rows):
            if i == j:
                continue
            if one.image.content is not None and one.image.content == other.image.content:
                found[i, j] = 0
            elif min(one.image.quality, other.image.quality) >= stage.min_quality:
                found[i, j] = _nearest(prints[i], prints[j], stage)
    return found


def _nearest(one: tuple[tuple[int, int], ...], other: tuple[tuple[int, int], ...], stage: Dedup) -> int:
    """Bits between images, the first as it is or the second, or turned to the same."""
    pairs = [(one[0], each) for each in other] + [(each, other[0]) for each in one[1:]] if stage.turns else []
    pairs = pairs or [(one[0], other[0])]
    within = [found for a, b in pairs if (found := _distance(a, b, stage)) is not None]
    if stage.turns:
        within += [0 for a in one[1:] for b in other[1:] if _distance(a, b, replace(stage, **EXACT)) == 0]
    return min(within, default=-1)


EXACT = {"phash_radius": 0, "pdq_radius": 0}


def _distance(one: tuple[int, int], other: tuple[int, int], stage: Dedup) -> int | None:
    phash, pdq = ((a ^ b).bit_count() for a, b in zip(one, other, strict=True))
    if stage.hash == "phash":
        return phash if phash <= stage.phash_radius else None
    if stage.hash == "both" and phash > stage.phash_radius:
        return None
    return pdq if pdq <= stage.pdq_radius else None


def best_first(rows: list[Row], stage: Dedup) -> list[int]:
    """Positions of images by the rule of survivors."""
    facts = {
        "pixels": lambda row: -row.image.num_pixels,
        "caption": lambda row: -len(normalise(row.image.caption)),
        "rank": lambda row: row.rank,
    }
    return sorted(range(len(rows)), key=lambda i: (*(facts[name](rows[i]) for name in stage.survivor), rows[i].key))


class Fate(NamedTuple):
    """Of an image that goes."""

    cluster: int
    survivor: int
    distance: int


def expected(rows: list[Row], stage: Dedup) -> dict[int, Fate]:
    """What becomes of each image that goes, as the rule says it."""
    order = best_first(rows, stage)
    claimed = _stars(rows, stage, order) if stage.clusters == "star" else _chains(rows, stage, order)
    found: dict[int, Fate] = {}
    stays: dict[object, int] = {}
    for i in order:
        cluster, distance = claimed[i]
        group = (cluster, normalise(rows[i].image.caption)) if stage.keep_captions else cluster
        if stays.setdefault(group, i) != i:
            found[i] = Fate(cluster, stays[group], distance)
    return found


def _stars(rows: list[Row], stage: Dedup, order: list[int]) -> dict[int, tuple[int, int]]:
    """Cluster and distance of each image: the first survivor that it is near, or itself."""
    near = distances(rows, stage)
    survivors: list[int] = []
    found = {}
    for i in order:
        owner = next((s for s in survivors if near[s, i] >= 0), i)
        if owner == i:
            survivors.append(i)
        found[i] = owner, 0 if owner == i else int(near[owner, i])
    return found


def _chains(rows: list[Row], stage: Dedup, order: list[int]) -> dict[int, tuple[int, int]]:
    """The same, by chains of images that no better one has claimed."""
    near, left, found = distances(rows, stage), list(order), {}
    while left:
        best = left[0]
        reach = _reach(best, left, near, stage.max_distance or 10**9)
        found |= {i: (best, distance) for i, distance in reach.items()}
        left = [i for i in left if i not in reach]
    return found


def _reach(best: int, left: list[int], near: np.ndarray, limit: int) -> dict[int, int]:
    """Shortest chains from an image through those that are left, by relaxing until nothing changes."""
    reach = {best: 0}
    while True:
        before = dict(reach)
        for i in list(reach):
            for j in left:
                if near[i, j] >= 0 and reach[i] + near[i, j] <= limit:
                    reach[j] = min(reach.get(j, limit), int(reach[i] + near[i, j]))
        if reach == before:
            return reach
