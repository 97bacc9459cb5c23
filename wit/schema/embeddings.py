"""What `wit encode` writes: a row for each image and each caption, and for each image that could not be read."""

from __future__ import annotations

import pyarrow as pa

from wit.schema.columns import column

_KEY = column("key", pa.string(), "sample key; of an image file its path below its folder, of a line FILE:LINE")
_SOURCE = column("source", pa.string(), "the tar, or the image file: as it was named, or below what was named")

EMBEDDED_IMAGES = pa.schema(
    [
        _KEY,
        _SOURCE,
        column("offset", pa.int64(), "where the image's bytes begin in its source", unit="bytes"),
        column("length", pa.int64(), "how many they are", unit="bytes"),
        column("caption", pa.string(), "what it came with; null: nothing", nullable=True),
    ]
)
"""Images; in Parquet the column `embedding` comes last: D numbers, of unit length but for rounding."""

EMBEDDED_TEXTS = pa.schema([_KEY, column("text", pa.string(), "a caption, as it was before the tokenizer's cleaning")])
"""Captions; in Parquet the column `embedding` comes last."""

UNEMBEDDED = pa.schema(
    [
        _KEY,
        _SOURCE,
        column("reason", pa.string(), "not_image, corrupt_image, too_many_pixels, or wrong_checksum of a remote one"),
        column("detail", pa.string(), "what was found"),
    ]
)
"""Images that could not be read, and so have no embedding."""


def with_embedding(schema: pa.Schema, dim: int, numbers: pa.DataType) -> pa.Schema:
    """Return a schema with the column `embedding`: `dim` numbers of a type, none of them null."""
    element = pa.field("element", numbers, nullable=False)
    return schema.append(column("embedding", pa.list_(element, dim), "the embedding"))
