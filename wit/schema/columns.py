"""Columns that several tables have."""

from __future__ import annotations

import pyarrow as pa


def column(name: str, kind: pa.DataType, about: str, *, nullable: bool = False, unit: str = "") -> pa.Field:
    """Return a field that says what it holds and, of numbers, in which unit."""
    metadata = {"about": about} | ({"unit": unit} if unit else {})
    return pa.field(name, kind, nullable=nullable, metadata=metadata)


KEY = column("key", pa.string(), "sample key: 128 bits of SHA-256 over URL, NUL, caption, as 32 hex digits")
BUCKET = column("bucket", pa.int32(), "range of the key space; the part that holds the row")
RANK = column("rank", pa.int64(), "salted uniform rank of the key, in [0, 2^63)")
QUERY_ID = column("query_id", pa.int32(), "the query")
QUERY_BUCKET = column("query_bucket", pa.int32(), "query_id modulo the number of buckets")
