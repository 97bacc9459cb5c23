"""What is asked for, images, their fingerprints and their near-duplicates."""

from __future__ import annotations

import pyarrow as pa

from wit.schema.columns import BUCKET, KEY, RANK, column

PLACE = column("place", pa.int32(), "part of the fetch that the pair belongs to")

ASKED = pa.schema([KEY, BUCKET, RANK, column("url", pa.string(), "image URL"), PLACE])
"""Pairs whose images are asked of the web; `place` is a hash of the URL's host, so a host's URLs are in one part."""

IMAGES = pa.schema(
    [
        KEY,
        BUCKET,
        RANK,
        column("blob", pa.string(), "tar that holds the stored image, relative to the run"),
        column("offset", pa.int64(), "where its bytes begin in the blob", unit="bytes"),
        column("length", pa.int64(), "size of the stored image", unit="bytes"),
        column("format", pa.string(), "format of the stored image: jpeg, png, webp, gif"),
        column("sha256", pa.string(), "SHA-256 of the stored image, hex"),
        column("width", pa.int32(), "width as stored, orientation applied", unit="px"),
        column("height", pa.int32(), "height as stored, orientation applied", unit="px"),
        column("original_format", pa.string(), "format of the body, judged by its content"),
        column("original_sha256", pa.string(), "SHA-256 of the body, hex"),
        column("original_length", pa.int64(), "size of the body", unit="bytes"),
        column("original_width", pa.int32(), "width before resizing, orientation applied", unit="px"),
        column("original_height", pa.int32(), "height before resizing, orientation applied", unit="px"),
        column("num_frames", pa.int32(), "frames of the body; more than 1: animated", unit="frames"),
        column("entropy", pa.float64(), "Shannon entropy of the stored image's 256-level grey histogram", unit="bits"),
        column("final_url", pa.string(), "URL that answered, after redirects"),
    ]
)
"""Fetched images: facts here, bytes in the blob."""

_BODY_SHA256 = (
    column("original_sha256", pa.string(), "SHA-256 of the body, hex"),
    column("body_bucket", pa.int32(), "range of these hashes that it lies in"),
)

SIGHTINGS = pa.schema(
    [
        *_BODY_SHA256,
        column("place", pa.int32(), "part of the fetch that stored the image"),
        column("blob_offset", pa.int64(), "where in that part's tar; pairs with one URL share it", unit="bytes"),
    ]
)
"""Which bodies came, and how often: place and offset stand for the URL that was asked."""

REPEATED = pa.schema([*_BODY_SHA256, column("num_urls", pa.int64(), "URLs that it is the body of")])
"""Bodies of so many URLs that they are taken for placeholders."""

PRINTS = (
    column("phash", pa.int64(), "64-bit pHash, imagehash's, as a signed integer"),
    *(
        column(f"pdq_{i}", pa.int64(), f"bits {64 * i} to {64 * i + 63} of PDQ's 256 as its hex has them")
        for i in range(4)
    ),
    column("quality", pa.int32(), "PDQ's quality, 0 to 100: how much detail there is"),
    column("content", pa.int64(), "first 64 bits of a SHA-256: of the image's bytes, or of its size and pixels"),
)
"""The print of an image: what near-duplicates are known by (wit.fingerprint)."""

FINGERPRINTS = pa.schema(
    [KEY, BUCKET, RANK, column("num_pixels", pa.int64(), "width x height of the original", unit="px"), *PRINTS]
)
"""Images and their prints."""

TURNED = pa.schema(
    [KEY, BUCKET, column("turn", pa.int32(), "how the image was turned, from 1 on: wit.fingerprint.TURNS"), *PRINTS]
)
"""Prints of images turned: mirrored, or in all of the other seven ways."""

EDGES = pa.schema(
    [
        column("key_a", pa.string(), "the lower key of two near-duplicates"),
        column("key_b", pa.string(), "the higher key"),
        column("distance", pa.int32(), "Hamming distance of their hashes", unit="bits"),
    ]
)

CLUSTERS = pa.schema(
    [
        KEY,
        BUCKET,
        column("cluster", pa.string(), "lowest key of the cluster"),
        column("cluster_bucket", pa.int32(), "bucket of that key"),
        RANK,
        column("num_pixels", pa.int64(), "width x height of the original", unit="px"),
    ]
)
"""Members of the clusters of near-duplicates; an image without near-duplicates has no row."""

DUPLICATES = pa.schema(
    [
        KEY,
        BUCKET,
        column("cluster_bucket", pa.int32(), "bucket of the cluster's lowest key"),
        column("survivor", pa.string(), "key of the image that stays for the cluster"),
    ]
)
"""Members of clusters that do not survive."""

SLICES = pa.schema(
    [
        column("part", pa.string(), "a Parquet part, relative to the run"),
        column("start", pa.int64(), "first row of the slice", unit="rows"),
        column("stop", pa.int64(), "end of the slice", unit="rows"),
    ]
)
"""Rows of other tables that one task works through, in order."""
