"""What archives hold, and how the pairs come to the place of their bodies."""

from __future__ import annotations

import pyarrow as pa

from wit.schema.columns import BUCKET, KEY, RANK, column
from wit.schema.images import PLACE

URL = column("url", pa.string(), "URL that is sought, or that answered: absolute, without fragment")
URL_BUCKET = column("url_bucket", pa.int32(), "hash of the URL, modulo the number of buckets")
DIGEST = column("digest", pa.string(), "payload digest as the archive states it, in small letters")
DIGEST_BUCKET = column("digest_bucket", pa.int32(), "hash of the digest, modulo the number of buckets")
ARCHIVE = column("archive", pa.string(), "the archive that holds the record: path or URL")
RECORD_OFFSET = column("record_offset", pa.int64(), "where the record begins in the archive", unit="bytes")

SOUGHT = pa.schema([KEY, BUCKET, RANK, URL, URL_BUCKET])
"""Pairs whose bodies are sought in archives."""

BODIES = pa.schema(
    [
        URL,
        URL_BUCKET,
        ARCHIVE,
        PLACE,
        RECORD_OFFSET,
        column("target", pa.string(), "where the record redirects to: absolute; empty: it holds a body"),
        column("target_bucket", pa.int32(), "hash of the target, modulo the number of buckets; any without one"),
    ]
)
"""What archives hold: one row a record with a body, or with a redirect."""

ORIGINALS = pa.schema([DIGEST, DIGEST_BUCKET, ARCHIVE, PLACE, RECORD_OFFSET])
"""Bodies that revisits may mean: those with a digest."""

REVISITS = pa.schema([DIGEST, DIGEST_BUCKET, URL, URL_BUCKET])
"""Records that say only that a URL gave the body with a digest again."""

REVISITED = pa.schema([URL, URL_BUCKET, DIGEST_BUCKET, ARCHIVE, PLACE, RECORD_OFFSET])
"""Revisits with the place of the body they mean."""

TRAILS = pa.schema(
    [
        URL,
        URL_BUCKET,
        column("reached", pa.string(), "URL that the redirects have led to so far"),
        column("reached_bucket", pa.int32(), "hash of that URL, modulo the number of buckets"),
        column("part", pa.int32(), "part that holds the row: the bucket of the URL that was looked up last"),
        column("num_redirects", pa.int32(), "redirects from the one URL to the other", unit="redirects"),
        column("archive", pa.string(), "the archive that holds the body of the URL reached, if any", nullable=True),
        column("place", pa.int32(), "part of the fetch that the body belongs to", nullable=True),
        column("record_offset", pa.int64(), "where its record begins in the archive", nullable=True, unit="bytes"),
    ]
)
"""URLs that are sought and redirect, followed one redirect a step."""

LOCATED = pa.schema(
    [
        KEY,
        BUCKET,
        RANK,
        URL,
        URL_BUCKET,
        column("archive", pa.string(), "the archive that holds its body; null: none does", nullable=True),
        column("record_offset", pa.int64(), "where the record begins in it", nullable=True, unit="bytes"),
        PLACE,
        column("final_url", pa.string(), "URL at the end of its redirects; null: it does not redirect", nullable=True),
        column("num_redirects", pa.int32(), "redirects that led there", unit="redirects"),
    ]
)
"""Pairs with the place of their bodies."""
