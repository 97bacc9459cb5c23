"""What is in the shards, and what is not."""

from __future__ import annotations

import pyarrow as pa

from wit.schema.columns import BUCKET, KEY, column
from wit.schema.images import IMAGES, PRINTS

REJECTS = pa.schema(
    [
        KEY,
        BUCKET,
        column("stage", pa.string(), "stage that rejected it"),
        column("reason", pa.string(), "one of the stage's documented reasons"),
        column("detail", pa.string(), "what was found: 'HTTP 404', the surviving key, ...", nullable=True),
        column("url", pa.string(), "image URL, where no earlier table holds it (extract only)", nullable=True),
        column("caption", pa.string(), "caption, likewise", nullable=True),
    ]
)
"""One row for each candidate that is not a sample, with one reason."""

SAMPLES = pa.schema(
    [
        *IMAGES,
        column("url", pa.string(), "image URL"),
        column("caption", pa.string(), "the caption"),
        column("page_url", pa.string(), "page that shows it; null when the source does not say", nullable=True),
        column("archive", pa.string(), "archive or table it came from"),
        column("record_offset", pa.int64(), "where in it"),
        column("attribute", pa.string(), "which text it was"),
        column("query_ids", pa.list_(pa.field("element", pa.int32(), nullable=False)), "queries it matches, ascending"),
        *PRINTS,
    ]
)
"""All that a shard says of a sample, and where the bytes of its image lie."""

PACKED = pa.schema([KEY, column("shard", pa.string(), "file name of the tar that holds the sample")])

SAMPLE_SIZES = pa.schema([column("num_bytes", pa.int64(), "what it takes in a tar, headers included", unit="bytes")])
"""Row by row as the samples, part by part."""

SHARD_FILES = pa.schema(
    [
        column("shard", pa.string(), "file name of the tar"),
        column("num_samples", pa.int64(), "samples in it"),
        column("shard_bytes", pa.int64(), "its size", unit="bytes"),
        column("shard_sha256", pa.string(), "its SHA-256, hex"),
        column("index", pa.string(), "file name of its index"),
        column("index_bytes", pa.int64(), "size of the index", unit="bytes"),
        column("index_sha256", pa.string(), "SHA-256 of the index, hex"),
    ]
)
"""The files that were written, of which the manifest is made."""

SHARD_INDEX = pa.schema(
    [
        KEY,
        column("shard", pa.string(), "file name of the tar"),
        column("image_member", pa.string(), "name of the image member"),
        column("image_offset", pa.int64(), "where the image's bytes begin in the tar", unit="bytes"),
        column("image_length", pa.int64(), "size of the image", unit="bytes"),
        column("text_offset", pa.int64(), "where the caption's bytes begin", unit="bytes"),
        column("text_length", pa.int64(), "size of the caption", unit="bytes"),
        column("json_offset", pa.int64(), "where the metadata's bytes begin", unit="bytes"),
        column("json_length", pa.int64(), "size of the metadata", unit="bytes"),
        column("sha256", pa.string(), "SHA-256 of the image, hex"),
        column("width", pa.int32(), "width of the image", unit="px"),
        column("height", pa.int32(), "height of the image", unit="px"),
        column("caption", pa.string(), "the caption"),
        column("query_ids", pa.list_(pa.field("element", pa.int32(), nullable=False)), "queries it matches, ascending"),
        column("url", pa.string(), "image URL"),
        column("page_url", pa.string(), "page that shows it; null when the source does not say", nullable=True),
        column("archive", pa.string(), "archive or table it came from"),
        column("record_offset", pa.int64(), "where in it"),
        column("attribute", pa.string(), "which text it was"),
        *(field.with_nullable(True) for field in PRINTS),
    ]
)
"""One row a sample, beside each shard, in the shard's order. The print is null in sets that were made without one."""

FOREIGN_INDEX = pa.schema(
    [
        *SHARD_INDEX,
        column("sample_offset", pa.int64(), "where the headers of the sample's first member begin", unit="bytes"),
        column("sample_length", pa.int64(), "up to the end of its last member, padding included", unit="bytes"),
    ]
)
"""The index of a tar that anyone made, in the tar's order. What the tar does not say is blank: texts empty, numbers 0;
`record_offset` and `archive` are then the tar's own. `key` is the members' stem, or what makes it unique in its set."""

REMOVALS = pa.schema(
    [
        KEY,
        column("shard", pa.string(), "file name of the tar that held the sample"),
        column("url", pa.string(), "its image's URL"),
        column("sha256", pa.string(), "SHA-256 of its image, hex"),
        column("rule", pa.string(), "what was asked for: key, url, sha256, domain"),
        column("value", pa.string(), "the key, URL, hash or domain that was asked for"),
        column("reason", pa.string(), "why, in the words of who asked"),
    ]
)
"""Samples taken out of shards, in the order in which that was done."""
