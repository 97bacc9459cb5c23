"""dedup: of each cluster of near-duplicate images one stays, the one with most pixels.

Near-duplicates are images whose 64-bit hashes differ in at most `radius` bits; clusters are the connected components.
The search is exact. It is one task over all hashes (`wit.hamming`), because neighbours within a radius respect no cut
of the key space: about 60 bytes an image in memory (hashes, their order, the search's tables), plus 200 bytes for each
image that has a near-duplicate. Measured on one core, 10 million images of which 1.9 million have near-duplicates
within 3 bits: 13 s and 0.9 GB. 400 million would need 24 GB, and more for their near-duplicates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipelines import sql
from pipelines.stages.slices import SliceTable, read_slice
from pipelines.stages.verb import RunSettings
from wit.hamming import Matches, pairs_within
from wit.keys import key_bucket
from wit.schema import CLUSTERS, DUPLICATES, EDGES, FINGERPRINTS, REJECTS, SLICES
from wit.stage import KEPT, Output, Part, SqlStage, Step, View

_BATCH_ROWS = 65_536
_COLUMNS = ["key", "bucket", "rank", "num_pixels", "phash"]


@dataclass(frozen=True)
class Dedup:
    """Keeps one image of each cluster of near-duplicates: most pixels, then lowest rank, then lowest key."""

    radius: int = field(
        default=3,
        metadata={"min": 0, "max": 10, "help": "bits by which two 64-bit hashes of near-duplicates may differ"},
    )

    name: ClassVar[str] = "dedup"
    reasons: ClassVar[dict[str, str]] = {"near_duplicate": "another image of its cluster stays; the detail is its key"}

    def steps(self, run: RunSettings) -> tuple[Step, ...]:
        """Gather the hashes, find clusters, choose who does not survive, and part the rows by it."""
        duplicates = View(DUPLICATES, "bucket")
        choose = SqlStage(
            name=self.name,
            sql=sql.read("dedup_duplicates"),
            reads={"clusters": View(CLUSTERS, "cluster_bucket")},
            writes=DUPLICATES,
            bucket="cluster_bucket",
            sort_by=("key",),
        )
        keep = SqlStage(
            name=self.name,
            sql=sql.read("dedup_kept"),
            reads={"fingerprints": View(FINGERPRINTS, "bucket"), "duplicates": duplicates},
            writes=FINGERPRINTS,
            bucket="bucket",
            sort_by=("key",),
        )
        reject = SqlStage(
            name=self.name,
            sql=sql.read("dedup_rejects"),
            reads={"duplicates": duplicates},
            writes=REJECTS,
            bucket="bucket",
            sort_by=("key",),
        )
        return (
            Step(SliceTable("fingerprint/kept", num_rows=None), {}, "dedup/inputs"),
            Step(FindClusters(self.radius, run.num_buckets), {"slices": "dedup/inputs"}, "dedup/found"),
            Step(choose, {"clusters": "dedup/found/kept"}, "dedup/duplicates"),
            Step(keep, {"fingerprints": "fingerprint/kept", "duplicates": "dedup/duplicates"}, "dedup/kept"),
            Step(reject, {"duplicates": "dedup/duplicates"}, "rejects/dedup"),
        )

    def inputs(self) -> tuple[str, ...]:
        """Nothing outside the run."""
        return ()


@dataclass(frozen=True)
class FindClusters:
    """Finds the near-duplicates among the images of all slices, and their clusters.

    Equal hashes count as one from the start, so that a placeholder seen a million times costs no more than two copies:
    each of its images has an edge of 0 bits to the lowest key, and edges between hashes join their lowest keys. The
    edges therefore span the clusters, and each one's distance is true; they are not all pairs.
    """

    radius: int
    num_buckets: int

    name: ClassVar[str] = "dedup"
    reads: ClassVar[pa.Schema] = SLICES
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: CLUSTERS, "edges": EDGES}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield clusters (one row an image that has a near-duplicate) sorted by key, and edges sorted by their keys."""
        slices = [row for batch in batches for row in batch.to_pylist()]
        hashes, counts = np.unique(_all_hashes(part.root, slices), return_counts=True)
        pairs = pairs_within(hashes, self.radius)
        is_member = counts > 1
        is_member[pairs[0]] = is_member[pairs[1]] = True
        members = _members(part.root, slices, hashes[is_member])
        hash_of = _positions(hashes, members["phash"].to_numpy().view(np.uint64))
        first_of = _first_members(hash_of, len(hashes))
        yield from _batched("edges", self._edges(members, hash_of, first_of, pairs))
        cluster_of = _components(len(hashes), pairs)[hash_of]
        yield from _batched(KEPT, self._clusters(members, cluster_of))

    def _edges(
        self, members: pa.Table, hash_of: npt.NDArray[np.int64], first_of: npt.NDArray[np.int64], pairs: Matches
    ) -> pa.Table:
        """Return EDGES: from each image to the first of its hash, and between the first images of near hashes."""
        index = np.arange(len(hash_of))
        repeats = index[first_of[hash_of] != index]
        ends = np.concatenate([first_of[pairs[0]], first_of[hash_of[repeats]]])
        others = np.concatenate([first_of[pairs[1]], repeats])
        distances = np.concatenate([pairs[2], np.zeros(len(repeats), dtype=np.int32)])
        low, high = np.minimum(ends, others), np.maximum(ends, others)  # members are in key order
        order = np.lexsort((high, low))
        keys = members["key"]
        columns = [keys.take(low[order]), keys.take(high[order]), pa.array(distances[order])]
        return pa.table(columns, schema=EDGES)

    def _clusters(self, members: pa.Table, cluster_of: npt.NDArray[np.int32]) -> pa.Table:
        """Return CLUSTERS; a cluster is named by its lowest key, that of its first member in key order."""
        _, first, inverse = np.unique(cluster_of, return_index=True, return_inverse=True)
        names = members["key"].take(first)
        buckets = pa.array([key_bucket(key, self.num_buckets) for key in names.to_pylist()], pa.int32())
        columns = {name: members[name] for name in ("key", "bucket", "rank", "num_pixels")}
        columns |= {"cluster": names.take(inverse), "cluster_bucket": buckets.take(pa.array(inverse))}
        return pa.table([columns[name] for name in CLUSTERS.names], schema=CLUSTERS)


def _all_hashes(root: str, slices: list[dict[str, Any]]) -> npt.NDArray[np.uint64]:
    hashes = np.empty(sum(each["stop"] - each["start"] for each in slices), dtype=np.uint64)
    position = 0
    for each in slices:
        for batch in read_slice(root, each["part"], each["start"], each["stop"], ["phash"]):
            hashes[position : position + batch.num_rows] = batch.column("phash").to_numpy().view(np.uint64)
            position += batch.num_rows
    return hashes


def _members(root: str, slices: list[dict[str, Any]], wanted: npt.NDArray[np.uint64]) -> pa.Table:
    """Return the rows of FINGERPRINTS whose hash is wanted, in key order (that of the parts)."""
    schema = pa.schema([FINGERPRINTS.field(name) for name in _COLUMNS])
    found = [
        batch.cast(schema).filter(pa.array(_is_among(batch.column("phash").to_numpy().view(np.uint64), wanted)))
        for each in slices
        for batch in read_slice(root, each["part"], each["start"], each["stop"], _COLUMNS)
    ]
    return pa.Table.from_batches(found, schema).combine_chunks()


def _is_among(hashes: npt.NDArray[np.uint64], wanted: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Return which hashes are among the sorted `wanted` ones."""
    if not len(wanted):
        return np.zeros(len(hashes), dtype=np.bool_)
    return np.equal(wanted[np.minimum(_positions(wanted, hashes), len(wanted) - 1)], hashes)


def _positions(ascending: npt.NDArray[np.uint64], values: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Return `np.searchsorted(ascending, values)`, looked up in order: 5 times faster where the cache is small."""
    order = np.argsort(values)
    positions = np.empty(len(values), dtype=np.int64)
    positions[order] = np.searchsorted(ascending, values[order])
    return positions


def _first_members(hash_of: npt.NDArray[np.int64], num_hashes: int) -> npt.NDArray[np.int64]:
    """Return for each hash the position of its first member; -1 for a hash without members."""
    first_of = np.full(num_hashes, -1, dtype=np.int64)
    hashes, positions = np.unique(hash_of, return_index=True)
    first_of[hashes] = positions
    return first_of


def _components(num_hashes: int, pairs: Matches) -> npt.NDArray[np.int32]:
    i, j, distances = pairs
    graph = coo_array((np.ones(len(distances), dtype=np.int8), (i, j)), shape=(num_hashes, num_hashes))
    labels: npt.NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return labels


def _batched(name: str, table: pa.Table) -> Iterator[Output]:
    for batch in table.to_batches(max_chunksize=_BATCH_ROWS):
        yield name, batch
