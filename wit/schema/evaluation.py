"""Evaluation sets: their images, what of them is in the shards, what a checkpoint says of them."""

from __future__ import annotations

import pyarrow as pa

from wit.schema.columns import KEY, column
from wit.schema.images import PRINTS

LABEL = column("label", pa.string(), "its class, or of several a line each; null: the set does not say", nullable=True)

EVALUATION_INPUTS = pa.schema(
    [
        column("set", pa.string(), "name of the evaluation set"),
        column("kind", pa.string(), "format: folder, webdataset, parquet, cifar10, cifar100, mnist or stl10"),
        column("url", pa.string(), "the file; of image files the folder in which the members lie"),
        column("item", pa.string(), "what stands before the names of its images; blank of a folder"),
        column("start", pa.int64(), "first image of the file that is read; null: from its beginning", nullable=True),
        column("stop", pa.int64(), "image before which reading ends; null: to the end of the file", nullable=True),
        column(
            "members", pa.list_(pa.string()), "of a folder, the image files; of a packed CIFAR, the file in the tar"
        ),
        column(
            "labels", pa.list_(pa.string()), "classes of the members, of several a line each; null where one has none"
        ),
        column("classes", pa.list_(pa.string()), "names of the classes by number; empty: numbers are names"),
        column("label_url", pa.string(), "file of the labels; null: they are with the images, or none", nullable=True),
        column("image_column", pa.string(), "of a Parquet file, the column of images; null elsewhere", nullable=True),
        column("label_column", pa.string(), "column of classes; null elsewhere, and where none is", nullable=True),
        column("item_column", pa.string(), "column of the images' names; null: they are numbered", nullable=True),
    ]
)
"""What one task reads of an evaluation set: some of its image files, a tar, some rows of a file."""

REFERENCES = pa.schema(
    [
        column("set", pa.string(), "name of the evaluation set"),
        column("item", pa.string(), "name of the image in its set"),
        LABEL,
        column("turn", pa.int32(), "how the image was turned, 0: not at all (wit.fingerprint.TURNS)"),
        *PRINTS,
    ]
)
"""Prints of evaluation images, one row for each turn that is looked for."""

UNREADABLE = pa.schema(
    [
        column("set", pa.string(), "name of the evaluation set; null: a training sample", nullable=True),
        column("item", pa.string(), "name of the image in its set; of a training sample SHARD/KEY"),
        column("detail", pa.string(), "why it could not be decoded"),
        LABEL,
    ]
)
"""Images that could not be compared."""

TRAINING_INPUTS = pa.schema(
    [
        column("shard", pa.string(), "name by which it is told: its file name, where that is its alone"),
        column("url", pa.string(), "where it lies"),
        column("is_trusted", pa.bool_(), "shard and index have the sizes that the manifest states: prints are read"),
    ]
)
"""Shards that an audit compares with evaluation sets."""

TRAINING_READ = pa.schema(
    [
        column("shard", pa.string(), "the shard"),
        column("num_samples", pa.int64(), "samples whose prints are known"),
        column("num_from_index", pa.int64(), "those of them whose prints are those of its index, not of the pixels"),
    ]
)
"""How the prints of each shard were had."""

SEARCH_INPUTS = pa.schema([column("part", pa.string(), "a part of TRAINING_PRINTS, relative to the audit's work")])
"""What one task searches."""

TRAINING_PRINTS = pa.schema([KEY, column("shard", pa.string(), "file name of the tar that holds the sample"), *PRINTS])
"""Prints of training samples, in the order of their shards."""

_DISTANCE = column(
    "distance", pa.float64(), "how far apart they are: differing bits of the hash, or 1 - cosine of descriptors"
)

FOUND = pa.schema(
    [
        column("set", pa.string(), "name of the evaluation set"),
        column("item", pa.string(), "name of the image in its set"),
        column("turn", pa.string(), "how the evaluation image was turned to match: none, mirror, rotate_90, ..."),
        _DISTANCE,
        KEY,
        column("shard", pa.string(), "file name of the tar that holds the sample"),
    ]
)
"""Pairs of an evaluation image and a training sample that show the same picture, while they are looked for."""

OVERLAPS = pa.schema(
    [
        *FOUND,
        LABEL,
        column("caption", pa.string(), "the sample's caption; null when it has none", nullable=True),
        column("url", pa.string(), "the sample's image URL; null when it has none", nullable=True),
    ]
)
"""The nearest training samples of each evaluation image, at most ten, with what the shard says of them."""

OVERLAPPING = pa.schema(
    [
        KEY,
        column("shard", pa.string(), "file name of the tar that holds the sample"),
        _DISTANCE,
        column("set", pa.string(), "evaluation set of the nearest image"),
        column("item", pa.string(), "name of the nearest image in its set"),
    ]
)
"""All training samples that show an evaluation image, with the nearest; `wit shards remove --list` takes the keys."""

ITEMS = pa.schema(
    [
        column("set", pa.string(), "name of the evaluation set"),
        column("item", pa.string(), "name of the image in its set"),
        LABEL,
        column("split", pa.string(), "overlap, clean or unreadable"),
        column("is_blank", pa.bool_(), "too little detail for a hash: found only by equal content"),
        column("distance", pa.float64(), "that of the nearest sample; null when none is near", nullable=True),
        column("key", pa.string(), "key of the nearest sample; null when none is near", nullable=True),
        column("shard", pa.string(), "tar that holds it; null when none is near", nullable=True),
    ]
)
"""Every image of the evaluation sets, and the split it is in."""

CONTAMINATIONS = pa.schema(
    [
        column("set", pa.string(), "name of the evaluation set"),
        column("threshold", pa.float64(), "greatest distance of a copy"),
        column("num_items", pa.int64(), "images that could be read: All"),
        column("num_overlap", pa.int64(), "those of them that a training sample shows: Overlap"),
        column("num_clean", pa.int64(), "the others: Clean"),
        column("num_unreadable", pa.int64(), "images that could not be read"),
        column("num_blank", pa.int64(), "readable images with too little detail for a hash"),
        column("contamination", pa.float64(), "Overlap / All", unit="share"),
        column("contamination_low", pa.float64(), "low end of its 99.5 % Clopper-Pearson interval", unit="share"),
        column("contamination_high", pa.float64(), "high end of it", unit="share"),
        *(
            column(f"accuracy_{split}", pa.float64(), f"on {split}; null without predictions of it", nullable=True)
            for split in ("all", "clean", "overlap")
        ),
        column("difference", pa.float64(), "accuracy on All - accuracy on Clean; null without both", nullable=True),
        column("overlap_low", pa.float64(), "low end of Overlap's 99.5 % Clopper-Pearson interval", nullable=True),
        column("overlap_high", pa.float64(), "high end of it; null without predictions", nullable=True),
        column("p_value", pa.float64(), "one-tailed binomial, Overlap against Clean's; null likewise", nullable=True),
        column("is_significant", pa.bool_(), "p <= 0.05 / sets with predictions; null likewise", nullable=True),
        column("num_missing", pa.int64(), "readable images without a prediction"),
        column("num_unknown", pa.int64(), "predictions of images that the set does not have"),
    ]
)
"""What an audit found, a row an evaluation set."""

TWINS = pa.schema(
    [
        column("shard_a", pa.string(), "file name of the tar that holds the first sample"),
        column("key_a", pa.string(), "its key"),
        column("shard_b", pa.string(), "file name of the tar that holds the other sample"),
        column("key_b", pa.string(), "its key"),
        _DISTANCE,
    ]
)
"""Pairs of training samples that show the same picture: of two sets, or within one."""

CHUNK_PAIRS = pa.schema(
    [
        column("parts", pa.list_(pa.string()), "parts of TRAINING_PRINTS, relative to the work, that make up a chunk"),
        column("first_row", pa.int64(), "number of their first sample among all that are compared"),
        column("other_parts", pa.list_(pa.string()), "parts of the other chunk; empty: compared with itself"),
        column("other_first_row", pa.int64(), "number of their first sample"),
        column("is_same_set", pa.bool_(), "both chunks are of one set, each of which is compared with itself, too"),
    ]
)
"""What one task of a comparison of training sets compares."""

TWIN_ROWS = pa.schema(
    [
        column("i", pa.int64(), "number of a sample among all that are compared"),
        column("j", pa.int64(), "number of the other, higher"),
        _DISTANCE,
    ]
)
"""Pairs of training samples while they are looked for."""

PICTURES = pa.schema(
    [
        column("id", pa.string(), "SET/ITEM of an evaluation image, SHARD/KEY of a training sample"),
        column("offset", pa.int64(), "where its thumbnail begins in the blob", unit="bytes"),
        column("length", pa.int64(), "size of the thumbnail", unit="bytes"),
        column("blob", pa.string(), "file of thumbnails, relative to the audit's work"),
        column("caption", pa.string(), "caption of a training sample; null when it has none", nullable=True),
        column("url", pa.string(), "its image URL; null when it has none", nullable=True),
    ]
)
"""Thumbnails of matched images, for the pages of an audit."""

PREDICTIONS = pa.schema(
    [
        column("path", pa.string(), "image file, relative to the evaluation set"),
        column("label", pa.string(), "its class; of several the one that the model finds likeliest"),
        column("prediction", pa.string(), "the class that the model finds likeliest"),
        column("probability", pa.float64(), "the model's probability of that class"),
        column("label_probability", pa.float64(), "the model's probability of the image's own class"),
        column("label_rank", pa.int32(), "place of the image's own class, the likeliest first; from 1"),
    ]
)
"""What a checkpoint says of each image of an evaluation set, in the set's order."""
