"""Evaluation sets: their images, what of them is in the shards, what a checkpoint says of them."""

from __future__ import annotations

import pyarrow as pa

from wit.schema.columns import KEY, column

EVALUATION_INPUTS = pa.schema(
    [
        column("set", pa.string(), "name of the evaluation set"),
        column("kind", pa.string(), "image: one file; tar: a WebDataset tar"),
        column("item", pa.string(), "name of the image in its set; for a tar, what stands before its members' names"),
        column("url", pa.string(), "where it lies"),
    ]
)

REFERENCES = pa.schema(
    [
        column("set", pa.string(), "name of the evaluation set"),
        column("item", pa.string(), "name of the image in its set"),
        column("phash", pa.int64(), "64-bit perceptual hash, as a signed integer"),
    ]
)
"""Fingerprints of evaluation images."""

UNREADABLE = pa.schema(
    [
        column("set", pa.string(), "name of the evaluation set"),
        column("item", pa.string(), "name of the image in its set"),
        column("detail", pa.string(), "why it could not be decoded"),
    ]
)
"""Evaluation images that could not be compared."""

OVERLAPS = pa.schema(
    [
        column("set", pa.string(), "name of the evaluation set"),
        column("item", pa.string(), "name of the image in its set"),
        KEY,
        column("shard", pa.string(), "file name of the tar that holds the sample"),
        column("distance", pa.int32(), "Hamming distance of their hashes", unit="bits"),
    ]
)
"""Pairs of an evaluation image and a training sample that show the same picture."""

PREDICTIONS = pa.schema(
    [
        column("path", pa.string(), "image file, relative to the evaluation set"),
        column("label", pa.string(), "its class"),
        column("prediction", pa.string(), "the class that the model finds likeliest"),
        column("probability", pa.float64(), "the model's probability of that class"),
        column("label_probability", pa.float64(), "the model's probability of the image's own class"),
        column("label_rank", pa.int32(), "place of the image's own class, the likeliest first; from 1"),
    ]
)
"""What a checkpoint says of each image of an evaluation set, in the set's order."""
