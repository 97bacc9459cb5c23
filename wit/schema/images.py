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

FIRST_NUMBERS = pa.schema(
    [
        column("part", pa.int32(), "a part of the images, from 0"),
        column("first", pa.int64(), "number of its first image: images are numbered in the order of their keys"),
        column("place_bits", pa.int32(), "the same in all rows: prints are cut into 2^place_bits places"),
    ]
)
"""How many images stand before each part."""

_ENTRY = "an image and one of its prints: 16 x the image's number, + the turn of a print, or + 8 for its content"

ENTRIES = pa.schema(
    [
        column("entry", pa.int64(), _ENTRY),
        column("key", pa.string(), "key of the image; of a packed one SHARDS/SHARD/KEY"),
        column("side", pa.int32(), "0: print of the image as it is; 1: turned; 2: its content"),
        column("place", pa.int32(), "low bits of the hash or content: what is equal lies in one place"),
        column("value", pa.int64(), "pHash, or 0 where the rule heeds none; the content's digest"),
        *(column(f"pdq_{i}", pa.int64(), "as in fingerprints, or 0 where the rule heeds none") for i in range(4)),
    ]
)
"""Prints by which images may be near-duplicates: those of enough quality, and contents."""

COPIES = pa.schema(
    [
        column("entry", pa.int64(), "an entry that is not the first of its kind"),
        column("place", pa.int32(), "its place"),
        column("first", pa.int64(), "the first entry with the same print or content"),
        column("key", pa.string(), "key of the image"),
        column("first_key", pa.string(), "key of the first's image"),
    ]
)
"""Images with a print or content that an image before them has: near-duplicates at no distance."""

CAPTION_FACTS = pa.schema(
    [
        column("num_chars", pa.int64(), "length of the caption in normal form", unit="characters"),
        column("caption", pa.int64(), "first 64 bits of the SHA-256 of the caption in normal form"),
    ]
)
"""Captions of the images, row by row."""

PLACE_PAIRS = pa.schema(
    [
        column("place_a", pa.int32(), "a place of prints"),
        column("place_b", pa.int32(), "another, not below it, or the same"),
    ]
)
"""Places whose prints can be near each other."""

_BITS = "bits by which their {} differ; null where the rule heeds none"

EDGES = pa.schema(
    [
        column("key_a", pa.string(), "key of an image"),
        column("key_b", pa.string(), "key of its near-duplicate; where both are as they are, the higher key"),
        column("turn", pa.int32(), "how the second is turned to be near: wit.fingerprint.TURNS"),
        column("distance", pa.int32(), "in the rule's own hash: pHash where it heeds no other, else PDQ", unit="bits"),
        column("phash_distance", pa.int32(), _BITS.format("pHashes"), nullable=True, unit="bits"),
        column("pdq_distance", pa.int32(), _BITS.format("PDQ hashes"), nullable=True, unit="bits"),
        column("entry_a", pa.int64(), "entry of the first's print"),
        column("entry_b", pa.int64(), "entry of the second's"),
    ]
)
"""Near-duplicates: all pairs of distinct prints, each told by the first image that has it; the others are COPIES."""

PACKED_MATCHES = pa.schema(
    [
        column("entry", pa.int64(), "a print or content that a packed image has, or nearly"),
        column("packed", pa.string(), "the nearest such image: SHARDS/SHARD/KEY"),
        column("distance", pa.int32(), "from it", unit="bits"),
    ]
)
"""Prints of new images that are near those of images in shards; a print has a row for each place that has any."""

PACKED_SHARDS = pa.schema(
    [
        column("shards", pa.string(), "a set of shards, as the recipe has it"),
        column("url", pa.string(), "one of its tars"),
        column("num_samples", pa.int64(), "samples in it, or about as many"),
    ]
)
"""Tars whose images are there already."""

CLUSTERS = pa.schema(
    [
        column("number", pa.int64(), "number of the image in the order of keys"),
        column("cluster", pa.string(), "key of the cluster's best image; of a packed image SHARDS/SHARD/KEY"),
        column("survivor", pa.string(), "key of the image that stays for it, its own if it stays"),
        column("distance", pa.int32(), "bits from the best image; in components along the shortest chain", unit="bits"),
        column("is_packed", pa.bool_(), "whether the cluster is that of a packed image, with which all others go"),
    ]
)
"""Members of the clusters of near-duplicates by number; an image without near-duplicates has no row."""

DUPLICATES = pa.schema(
    [
        KEY,
        BUCKET,
        column("cluster", pa.string(), "key of the cluster's best image; of a packed image SHARDS/SHARD/KEY"),
        column("survivor", pa.string(), "key of the image that stays for it"),
        column("distance", pa.int32(), "bits from the best image; in components along the shortest chain", unit="bits"),
    ]
)
"""Images that go, as others stay for them."""

SLICES = pa.schema(
    [
        column("part", pa.string(), "a Parquet part, relative to the run"),
        column("start", pa.int64(), "first row of the slice", unit="rows"),
        column("stop", pa.int64(), "end of the slice", unit="rows"),
    ]
)
"""Rows of other tables that one task works through, in order."""
