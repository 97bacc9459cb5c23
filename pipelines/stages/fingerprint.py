"""fingerprint: the print of each image that is left, by which dedup and overlap know near-copies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import sql
from pipelines.stages.verb import RunSettings
from wit.blobs import BlobReader
from wit.fingerprint import TURN_OPTIONS, Prints, fingerprint_all
from wit.image import Limits
from wit.schema import FINGERPRINTS, IMAGES, TURNED
from wit.stage import KEPT, Output, Part, SqlStage, Step, View

TURNED_TABLE = "turned"
_STORED = Limits(max_pixels=1 << 62)  # fetch has judged the size of what is stored


@dataclass(frozen=True)
class Fingerprint:
    """Adds the print of the stored image: pHash, PDQ and its quality, a digest of the content; rejects nothing."""

    exact: bool = field(
        default=False,
        metadata={"help": "hashes exactly as imagehash and PDQ define them: 4 times the time, 0 to 2 bits' difference"},
    )
    content: str = field(
        default="bytes",
        metadata={
            "choices": ("bytes", "pixels"),
            "help": "what is equal in equal images: the stored bytes, or size and pixels (decodes once more)",
        },
    )
    turns: str = field(
        default="none",
        metadata={
            "choices": tuple(TURN_OPTIONS),
            "help": "also hash each image mirrored, or in all of its eight turns",
        },
    )

    name: ClassVar[str] = "fingerprint"
    reasons: ClassVar[dict[str, str]] = {}
    reads: ClassVar[pa.Schema] = IMAGES
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: FINGERPRINTS}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield one row of FINGERPRINTS for each image."""
        for batch, prints in self._prints(batches, part):
            yield KEPT, _fingerprints(batch, prints)

    def _prints(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[tuple[pa.RecordBatch, Prints]]:
        """Yield each batch with the prints of its images, one row for each turn."""
        turns, pixels = TURN_OPTIONS[self.turns], self.content == "pixels"
        with BlobReader(part.root) as blobs:
            for batch in batches:
                bodies = (body for _, body in blobs.read_rows(batch.to_pylist()))
                yield batch, fingerprint_all(bodies, _STORED, exact=self.exact, turns=turns, pixels=pixels)

    def steps(self, run: RunSettings) -> tuple[Step, ...]:
        """Hash image by image, in the order in which their bytes lie; then bring each bucket's rows together."""
        found = f"{self.name}/found"
        keep = Step(
            _regroup("fingerprints", FINGERPRINTS, "kept", "key"),
            {"fingerprints": f"{found}/kept"},
            f"{self.name}/kept",
        )
        if self.turns == "none":
            return Step(self, {"images": "filter_image/kept"}, found), keep
        hash_turns = FingerprintTurns(*(getattr(self, each.name) for each in fields(self)))
        turn = Step(
            _regroup("turned", TURNED, "turned", "key", "turn"), {"turned": f"{found}/turned"}, f"{self.name}/turned"
        )
        return Step(hash_turns, {"images": "filter_image/kept"}, found), turn, keep

    def inputs(self) -> tuple[str, ...]:
        """Nothing outside the run."""
        return ()


@dataclass(frozen=True)
class FingerprintTurns(Fingerprint):
    """Fingerprint that writes the prints of turned images as well."""

    writes: ClassVar[Mapping[str, pa.Schema]] = {TURNED_TABLE: TURNED, KEPT: FINGERPRINTS}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield one row of FINGERPRINTS for each image, one of TURNED for each of its other turns."""
        turns = np.array(TURN_OPTIONS[self.turns])
        for batch, prints in self._prints(batches, part):
            of_row = np.tile(turns, batch.num_rows)
            (upright,), (turned,) = np.nonzero(of_row == 0), np.nonzero(of_row)
            yield KEPT, _fingerprints(batch, prints.take(upright))
            yield TURNED_TABLE, _turned(batch.take(pa.array(turned // len(turns))), of_row[turned], prints.take(turned))


def _fingerprints(batch: pa.RecordBatch, prints: Prints) -> pa.RecordBatch:
    sides = (batch.column(name).cast(pa.int64()) for name in ("original_width", "original_height"))
    columns = [*(batch.column(name) for name in ("key", "bucket", "rank")), pc.multiply(*sides)]
    return pa.RecordBatch.from_arrays([*columns, *prints.columns().values()], schema=FINGERPRINTS)


def _turned(batch: pa.RecordBatch, turns: npt.NDArray[np.int64], prints: Prints) -> pa.RecordBatch:
    columns = [batch.column("key"), batch.column("bucket"), pa.array(turns, pa.int32())]
    return pa.RecordBatch.from_arrays([*columns, *prints.columns().values()], schema=TURNED)


def _regroup(view: str, schema: pa.Schema, table: str, *sort_by: str) -> SqlStage:
    """Return the stage that brings each bucket's rows of a table together."""
    return SqlStage(
        name=Fingerprint.name,
        sql=sql.read(f"fingerprint_{table}"),
        reads={view: View(schema, "bucket")},
        writes=schema,
        bucket="bucket",
        sort_by=sort_by,
    )
