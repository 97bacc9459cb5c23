"""Images as vectors, by a learned descriptor."""

from __future__ import annotations

import pyarrow as pa

from wit.schema.columns import KEY, column
from wit.schema.evaluation import LABEL

VECTOR = column("vector", pa.list_(pa.float16()), "by the descriptor, of unit length; all rows have as many numbers")

DESCRIBED_ITEMS = pa.schema(
    [
        column("set", pa.string(), "name of the evaluation set"),
        column("item", pa.string(), "name of the image in its set"),
        LABEL,
        column("turn", pa.int32(), "how the image was turned, 0: not at all (wit.fingerprint.TURNS)"),
        VECTOR,
    ]
)
"""Vectors of evaluation images, one row for each turn that is looked for."""

DESCRIBED_SAMPLES = pa.schema([KEY, column("shard", pa.string(), "file name of the tar that holds the sample"), VECTOR])
"""Vectors of training samples, in the order of their shards."""
