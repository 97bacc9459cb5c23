"""The layouts that shards are exported to: which files a piece becomes, and what is in them.

A piece's files are each published when they are whole, the last one last; that it is there says that the piece is done.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any, ClassVar, Protocol

import orjson
import pyarrow as pa

from pipelines.shardset.dataset_card import dataset_card
from pipelines.shardset.pieces import Batch, Cut, Piece, Plan, read_batches
from pipelines.sources.json_rows import parse_object
from pipelines.sources.links import valid_text
from wit import tar
from wit.manifest import dumps
from wit.schema import SHARD_INDEX
from wit.shards import index_name, shard_name
from wit.storage import join, publish, publish_bytes, publish_text, size, write_parquet

BATCH = Cut(max_samples=1_000, max_bytes=16 << 20)
"""Of a row group with images: a reader takes all of it at once, and while it is written it is in memory a dozen times,
as Python's bytes and Arrow's, before and after encoding."""
_INT32, _INT64 = pa.int32(), pa.int64()
_MADE_BY_FETCH = {
    "final_url": pa.string(), "original_width": _INT32, "original_height": _INT32, "original_sha256": pa.string(),
    "original_length": _INT64,
}  # fmt: skip
"""Facts that stand in a sample's metadata alone; null where it does not say."""


class Layout(Protocol):
    """A way to lay out samples as files."""

    cut: ClassVar[Cut]
    """Where its files end unless the user says otherwise."""

    def done(self, piece: Piece) -> str:
        """Return the name, in the export's folder, of the file of a piece that is published last."""

    def write(self, piece: Piece, out: str) -> None:
        """Write the files of a piece."""

    def finish(self, plan: Plan, out: str, source: str) -> None:
        """Write what describes the whole, when all pieces are there; `source` names the shards in a sentence."""


def _facts_in(metadata: bytes) -> dict[str, Any]:
    """Return what a sample's JSON member says; nothing when it is none, or no object."""
    try:
        return parse_object(metadata) if metadata else {}
    except (ValueError, TypeError):  # of a tar made by anyone; the sample has its image and caption all the same
        return {}


def _typed(value: object, kind: pa.DataType) -> str | int | None:
    """Return a value of somebody's JSON where it fits a column, else None."""
    if kind == pa.string():
        return valid_text(value) if isinstance(value, str) else None
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << (kind.bit_width - 1):
        return value
    return None


# ---- img2dataset ----

_IMG2DATASET = pa.schema(
    [
        ("url", pa.string()),
        ("caption", pa.string()),
        ("sample_key", pa.string()),
        ("page_url", pa.string()),
        ("query_ids", pa.list_(pa.int32())),
        ("archive", pa.string()),
        ("record_offset", _INT64),
        ("attribute", pa.string()),
        ("key", pa.string()),
        ("status", pa.string()),
        ("error_message", pa.string()),
        ("width", _INT32),
        ("height", _INT32),
        ("original_width", _INT32),
        ("original_height", _INT32),
        ("exif", pa.string()),
        ("sha256", pa.string()),
    ]
)
"""Columns of img2dataset 1.47 for an input with url, caption and further columns (ours: sample_key to attribute)."""


@dataclass(frozen=True)
class Img2dataset:
    """What img2dataset 1.47 writes: NNNNN.tar with KEY.jpg, KEY.json and KEY.txt, NNNNN.parquet, NNNNN_stats.json.

    KEY is its running number: that of the tar, then of the sample in it. Every image is called .jpg whatever it is,
    as it calls bodies that it stores as they came: readers of its layout ask for that suffix, and pass over a sample
    that has another without a word. `sha256` is that of the body as it was fetched, which is what its own is.
    """

    cut: ClassVar[Cut] = Cut(max_samples=10_000, max_bytes=0)

    def done(self, piece: Piece) -> str:
        """The statistics, by which its own runs, too, know a finished shard."""
        return f"{shard_stem(piece.number)}_stats.json"

    def write(self, piece: Piece, out: str) -> None:
        """Write a tar, its table and its statistics."""
        name = shard_name(piece.number)
        shard_digits, sample_digits = len(shard_stem(piece.of - 1)), max(4, len(str(piece.largest - 1)))
        rows: list[pa.RecordBatch] = []
        num_samples = 0
        with publish(join(out, name)) as file:
            for batch in read_batches(piece, BATCH):
                numbers = range(num_samples, num_samples + len(batch.images))
                keys = [f"{piece.number:0{shard_digits}d}{number:0{sample_digits}d}" for number in numbers]
                facts = _img2dataset_facts(batch, keys)
                for row, image in zip(facts, batch.images, strict=True):
                    _write_sample(file, row, image)
                rows.append(pa.RecordBatch.from_pylist(facts, schema=_IMG2DATASET))
                num_samples += len(facts)
            file.write(tar.END)
        write_parquet(join(out, index_name(name)), pa.Table.from_batches(rows, _IMG2DATASET))
        publish_bytes(join(out, self.done(piece)), dumps(_statistics(num_samples)))

    def finish(self, plan: Plan, out: str, source: str) -> None:
        """Nothing: its layout has no description of the whole."""


def shard_stem(number: int) -> str:
    """Return the digits in the name of a shard."""
    return shard_name(number).removesuffix(".tar")


def _img2dataset_facts(batch: Batch, keys: list[str]) -> list[dict[str, Any]]:
    found = []
    for key, row, metadata in zip(keys, batch.rows.to_pylist(), batch.metadata, strict=True):
        facts = _facts_in(metadata)
        known = row | {
            "sample_key": row["key"],
            "key": key,
            "status": "success",
            "sha256": _typed(facts.get("original_sha256"), pa.string()),
            "original_width": _typed(facts.get("original_width"), _INT32),
            "original_height": _typed(facts.get("original_height"), _INT32),
        }
        found.append({name: known.get(name) for name in _IMG2DATASET.names})
    return found


def _write_sample(file: IO[bytes], row: Mapping[str, Any], image: bytes) -> None:
    members = {
        f"{row['key']}.jpg": image,
        f"{row['key']}.json": orjson.dumps(row, option=orjson.OPT_INDENT_2),
        f"{row['key']}.txt": row["caption"].encode(),
    }
    for name, data in members.items():
        file.write(tar.header(name, len(data)))
        file.write(data)
        file.write(tar.padding(len(data)))


def _statistics(num_samples: int) -> dict[str, Any]:
    """Return what img2dataset says of a shard; nothing was fetched, so no time went by."""
    return {
        "count": num_samples,
        "successes": num_samples,
        "failed_to_download": 0,
        "failed_to_resize": 0,
        "duration": 0,
        "start_time": 0,
        "end_time": 0,
        "status_dict": {"success": num_samples},
    }


# ---- Parquet ----


@dataclass(frozen=True)
class Parquet:
    """The index of the shards with the images in it: every column of SHARD_INDEX, `image` and `metadata`."""

    cut: ClassVar[Cut] = Cut(max_samples=0, max_bytes=500_000_000)
    schema: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field("image", pa.binary(), nullable=False, metadata={"about": "the stored image"}),
            *SHARD_INDEX,
            pa.field("metadata", pa.string(), nullable=False, metadata={"about": "the JSON member as text"}),
        ]
    )

    def done(self, piece: Piece) -> str:
        """The file itself."""
        return index_name(shard_name(piece.number))

    def write(self, piece: Piece, out: str) -> None:
        """Write one file."""

        def columns(batch: Batch) -> dict[str, Any]:
            index = {name: batch.rows[name] for name in SHARD_INDEX.names}
            texts = [metadata.decode("utf-8", "replace") for metadata in batch.metadata]
            return {"image": batch.images, **index, "metadata": texts}

        _write_parquet(join(out, self.done(piece)), self.schema, piece, columns)

    def finish(self, plan: Plan, out: str, source: str) -> None:
        """Nothing: a folder of Parquet files is a table."""


def _write_parquet(url: str, schema: pa.Schema, piece: Piece, columns: Callable[[Batch], Mapping[str, Any]]) -> None:
    """Publish the samples of a piece as Parquet, a row group a batch; images are as small as they get already."""
    import pyarrow.parquet as pq

    leaves = list(_leaves(schema))
    texts = [leaf for leaf in leaves if not leaf.startswith("image.") and leaf not in ("image", "metadata")]
    options = {
        "compression": {leaf: "none" if leaf in ("image", "image.bytes") else "zstd" for leaf in leaves},
        "use_dictionary": texts,
        "write_statistics": texts,  # of an image they would hold its first bytes
    }
    with publish(url) as file, pq.ParquetWriter(file, schema, **options) as writer:
        for batch in read_batches(piece, BATCH):
            writer.write_table(pa.table(dict(columns(batch)), schema=schema))


def _leaves(schema: pa.Schema) -> Iterator[str]:
    """Yield the paths of a schema's columns as Parquet calls them."""
    for field in schema:
        if pa.types.is_struct(field.type):
            yield from (f"{field.name}.{inner.name}" for inner in field.type)
        elif pa.types.is_list(field.type):
            yield f"{field.name}.list.element"
        else:
            yield field.name


# ---- Hugging Face ----

_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_SHOWN = (
    "key", "caption", "url", "page_url", "query_ids", "width", "height", "sha256", "archive", "record_offset",
    "attribute",
)  # fmt: skip
_HUGGINGFACE: dict[str, pa.DataType] = {
    "image": _IMAGE,
    **{name: SHARD_INDEX.field(name).type for name in _SHOWN},
    **_MADE_BY_FETCH,
}


def features() -> dict[str, Any]:
    """Return the features of the Hugging Face layout as `datasets` writes them into Parquet."""
    return {name: _feature(kind) for name, kind in _HUGGINGFACE.items()}


def _feature(kind: pa.DataType) -> dict[str, Any]:
    if kind == _IMAGE:
        return {"_type": "Image"}
    if pa.types.is_list(kind):  # "Sequence" is read by every version; "List" by 4.0 and later
        return {"feature": _feature(kind.value_type), "_type": "Sequence"}
    return {"dtype": str(kind), "_type": "Value"}


@dataclass(frozen=True)
class HuggingFace:
    """A folder that `datasets.load_dataset` opens: data/train-NNNNN-of-NNNNN.parquet and the dataset card README.md.

    Its columns are those of a sample that say what it is; `image` decodes to a picture. 500 MB a file is what
    `Dataset.push_to_hub` writes.
    """

    cut: ClassVar[Cut] = Cut(max_samples=0, max_bytes=500_000_000)

    def done(self, piece: Piece) -> str:
        """The file itself."""
        return f"data/train-{piece.number:05d}-of-{piece.of:05d}.parquet"

    def write(self, piece: Piece, out: str) -> None:
        """Write one file."""
        described = json.dumps({"info": {"features": features()}})
        schema = pa.schema(list(_HUGGINGFACE.items()), {"huggingface": described})
        _write_parquet(join(out, self.done(piece)), schema, piece, _huggingface_columns)

    def finish(self, plan: Plan, out: str, source: str) -> None:
        """Write the dataset card, which makes the folder a dataset."""
        num_bytes = sum(size(join(out, self.done(piece))) for piece in plan.pieces)
        publish_text(join(out, "README.md"), dataset_card(plan, num_bytes, _HUGGINGFACE, source))


def _huggingface_columns(batch: Batch) -> dict[str, Any]:
    facts = [_facts_in(metadata) for metadata in batch.metadata]
    names = batch.rows["image_member"].to_pylist()
    images = [{"bytes": image, "path": name} for image, name in zip(batch.images, names, strict=True)]
    shown = {name: batch.rows[name] for name in _SHOWN}
    made = {name: [_typed(each.get(name), kind) for each in facts] for name, kind in _MADE_BY_FETCH.items()}
    return {"image": pa.array(images, _IMAGE), **shown, **made}


LAYOUTS: dict[str, Layout] = {"img2dataset": Img2dataset(), "parquet": Parquet(), "huggingface": HuggingFace()}
