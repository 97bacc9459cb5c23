"""Rows of rejects that stages with pairs write."""

from __future__ import annotations

import pyarrow as pa

from wit.schema import REJECTS


def reject_pairs(
    batch: pa.RecordBatch, stage: str, reasons: pa.Array | str, details: pa.Array | None = None
) -> pa.RecordBatch:
    """Return REJECTS of all rows of a batch that has key and bucket; without `details` they are null.

    URL and caption are null, too: they stand in the table of pairs, under the key.
    """
    nothing = pa.nulls(batch.num_rows, pa.string())
    if isinstance(reasons, str):
        reasons = pa.repeat(reasons, batch.num_rows)
    stages = pa.repeat(stage, batch.num_rows)
    columns = [stages, reasons, nothing if details is None else details, nothing, nothing]
    return pa.RecordBatch.from_arrays([batch.column("key"), batch.column("bucket"), *columns], schema=REJECTS)
