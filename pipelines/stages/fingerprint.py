"""fingerprint: a perceptual hash of each image that is left, by which dedup and overlap know near-copies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from pipelines import sql
from pipelines.stages.verb import RunSettings
from wit.blobs import BlobReader
from wit.fingerprint import fingerprint_all
from wit.schema import FINGERPRINTS, IMAGES
from wit.stage import KEPT, Output, Part, SqlStage, Step, View


@dataclass(frozen=True)
class Fingerprint:
    """Adds the 64-bit pHash of the stored image; rejects nothing."""

    name: ClassVar[str] = "fingerprint"
    reasons: ClassVar[dict[str, str]] = {}
    reads: ClassVar[pa.Schema] = IMAGES
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: FINGERPRINTS}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield one row of FINGERPRINTS for each image."""
        with BlobReader(part.root) as blobs:
            for batch in batches:
                prints = fingerprint_all(body for _, body in blobs.read_rows(batch.to_pylist()))
                columns = {name: batch.column(name) for name in ("key", "bucket", "rank")}
                num_pixels = pc.multiply(
                    *(batch.column(side).cast(pa.int64()) for side in ("original_width", "original_height"))
                )
                columns |= {"num_pixels": num_pixels} | prints.columns()
                yield KEPT, pa.RecordBatch.from_arrays(list(columns.values()), schema=FINGERPRINTS)

    def steps(self, run: RunSettings) -> tuple[Step, ...]:
        """Hash image by image, in the order in which their bytes lie; then bring each bucket's rows together."""
        regroup = SqlStage(
            name=self.name,
            sql=sql.read("fingerprint_kept"),
            reads={"fingerprints": View(FINGERPRINTS, "bucket")},
            writes=FINGERPRINTS,
            bucket="bucket",
            sort_by=("key",),
        )
        return (
            Step(self, {"images": "filter_image/kept"}, "fingerprint/found"),
            Step(regroup, {"fingerprints": "fingerprint/found/kept"}, "fingerprint/kept"),
        )

    def inputs(self) -> tuple[str, ...]:
        """Nothing outside the run."""
        return ()
