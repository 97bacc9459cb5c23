"""The images that stay, and a row for each that goes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.stages.dedup.describing import NUMBERS_TABLE
from pipelines.stages.rejects import reject_pairs
from pipelines.stages.tables import parts, read_small
from wit.schema import CLUSTERS, DUPLICATES, FINGERPRINTS, FIRST_NUMBERS, REJECTS
from wit.stage import KEPT, Output, Part
from wit.stage import REJECTS as REJECTS_TABLE
from wit.storage import open_input

CLUSTERS_TABLE = f"dedup/clusters/{KEPT}"
NEAR_DUPLICATE, ALREADY_PACKED = "near_duplicate", "already_packed"


@dataclass(frozen=True)
class PartImages:
    """Parts images by their clusters, of which each part reads its own. Memory: those of a part."""

    name: ClassVar[str] = "dedup"
    reads: ClassVar[pa.Schema] = FINGERPRINTS
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: FINGERPRINTS, REJECTS_TABLE: REJECTS, "duplicates": DUPLICATES}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield what stays, and rejects and DUPLICATES of what does not, in the order read."""
        firsts = read_small(part.root, NUMBERS_TABLE, FIRST_NUMBERS)["first"].to_pylist()
        number, stop = firsts[part.index], firsts[part.index + 1] if part.index + 1 < len(firsts) else None
        clusters = _read_clusters(part.root, number, stop)
        numbers = clusters["number"].to_numpy()
        for batch in batches:
            low, high = np.searchsorted(numbers, [number, number + batch.num_rows])
            mine = clusters.slice(low, high - low)
            rows = pa.array(mine["number"].to_numpy() - number)
            goes = pc.not_equal(batch.column("key").take(rows), mine["survivor"]).combine_chunks()
            fates, rows = mine.filter(goes).combine_chunks(), rows.filter(goes)
            stays = np.ones(batch.num_rows, np.bool_)
            stays[rows.to_numpy()] = False
            gone = batch.take(rows)
            yield KEPT, batch.filter(pa.array(stays))
            yield REJECTS_TABLE, _rejects(gone, fates)
            columns = [gone["key"], gone["bucket"], *(_whole(fates[name]) for name in DUPLICATES.names[2:])]
            yield "duplicates", pa.RecordBatch.from_arrays(columns, schema=DUPLICATES)
            number += batch.num_rows


def _rejects(gone: pa.RecordBatch, fates: pa.Table) -> pa.RecordBatch:
    reasons = pc.if_else(fates["is_packed"], ALREADY_PACKED, NEAR_DUPLICATE)
    details = pc.binary_join_element_wise(fates["survivor"], pc.cast(fates["distance"], pa.string()), ", ")
    details = pc.binary_join_element_wise(details, "bits", " ")
    return reject_pairs(gone, PartImages.name, _whole(reasons), _whole(details))


def _whole(column: pa.ChunkedArray) -> pa.Array:
    """Return a column of one chunk, or of none."""
    return pa.concat_arrays([pa.array([], column.type), *column.chunks])


def _read_clusters(root: str, first: int, stop: int | None) -> pa.Table:
    """Return the rows of CLUSTERS of images numbered `first` to `stop`; only the row groups that hold any are read."""
    (url,) = parts(root, CLUSTERS_TABLE)
    with open_input(url) as file:
        parquet = pq.ParquetFile(file)
        groups = []
        for group in range(parquet.num_row_groups):
            numbers = parquet.metadata.row_group(group).column(0).statistics
            if numbers.max >= first and (stop is None or numbers.min < stop):
                groups.append(group)
        return parquet.read_row_groups(groups, CLUSTERS.names)
