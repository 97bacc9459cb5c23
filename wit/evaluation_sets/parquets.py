"""Sets in Parquet files, as Hugging Face publishes them: a column of images, and one of classes or none.

An image is binary, or a struct of binary `bytes` and text `path`; its class a number, a text, or a list of such. What
columns are, the schema's "huggingface" metadata say (features of _type Image and ClassLabel, the latter with the names
of the classes), else their types and names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import pyarrow as pa

from wit.errors import InputError, one_line
from wit.evaluation_sets.labels import LABEL_FIELDS, label_text, name_class, read_classes
from wit.evaluation_sets.pieces import PIECE_ITEMS, Labelled, Listing, Piece, Wanted
from wit.evaluation_sets.sets import PARQUET, EvaluationSet
from wit.evaluation_sets.splits import File, Found, choose_split, split_of_words
from wit.foreign import MAX_IMAGE_BYTES
from wit.parquet import open_parquet
from wit.shards import folder_of

_IMAGE_NAMES = ("image", "img", "jpg", "jpeg", "png", "webp", "image_bytes", "bytes", "picture", "photo")
_BATCH_ROWS = 16  # held at once, images and all
_PATH_ROWS = 10_000
_MAX_ROWS = 100_000_000
_BROKEN = (pa.ArrowException, OSError, UnicodeDecodeError)  # what Arrow raises on a damaged file


@dataclass(frozen=True)
class _Columns:
    """What is read of a file."""

    image: str
    label: str | None
    classes: tuple[str, ...]
    has_paths: bool


def is_parquet_name(name: str) -> bool:
    """Return whether a file is named as Parquet."""
    return name.lower().endswith(".parquet")


def list_parquet(evaluation_set: EvaluationSet, found: Found) -> Listing:
    """Return the set that Parquet files are, in pieces of whole row groups.

    Raises InputError when there is none, one is broken, has no column of images or not the columns of the others.
    """
    files = found.named(is_parquet_name)
    if not files:
        raise InputError(f"{evaluation_set.path}: expected Parquet files, found none")
    split = choose_split(found, files, split_of_words, evaluation_set.split)
    columns = _columns_of_all(split.files)
    item_column = columns.image if columns.has_paths and _are_named(split.files, columns.image) else None
    pieces = tuple(
        Piece(
            PARQUET, file.url, item=file.name, start=start, stop=stop, classes=columns.classes,
            image_column=columns.image, label_column=columns.label, item_column=item_column,
        )
        for file in split.files
        for start, stop in _cut(file.url)
    )  # fmt: skip
    if not pieces:
        raise InputError(f"{evaluation_set.path}: expected rows in its Parquet files, found none")
    return Listing(evaluation_set, PARQUET, pieces, columns.classes, split.name, split.left_out)


def _columns_of_all(files: Sequence[File]) -> _Columns:
    columns: _Columns | None = None
    for file in files:
        with open_parquet(file.url) as opened:
            found = _find_columns(opened.schema_arrow, file.url)
        if columns is not None and found != columns:
            raise InputError(
                f"{file.url}: expected the columns of {files[0].url} (images in {columns.image!r}, classes in "
                f"{columns.label!r}), found others ({found.image!r}, {found.label!r}, or other classes); name one file"
            )
        columns = found
    assert columns is not None  # there is a file
    return columns


def _find_columns(schema: pa.Schema, url: str) -> _Columns:
    features = _features(schema)
    images = [field.name for field in schema if _is_image(field.type)]
    said = [name for name in images if features.get(name, {}).get("_type") == "Image"]
    image = next((name for name in (*said, *_IMAGE_NAMES, *images) if name in images), None)
    if image is None or schema.names.count(image) > 1:
        shown = ", ".join(f"{field.name!r} {field.type}"[:60] for field in list(schema)[:20]) or "none"
        raise InputError(f"{url}: expected a column of images (binary, or a struct of bytes and path), found {shown}")
    texts = [field.name for field in schema if _is_label(field.type) and schema.names.count(field.name) == 1]
    classed = [name for name in texts if features.get(name, {}).get("_type") == "ClassLabel"]
    usual = [name for name in LABEL_FIELDS if name in texts]
    label = next((name for name in (*[name for name in usual if name in classed], *classed, *usual)), None)
    names = features.get(label or "", {}).get("names")
    classes = tuple(map(str, names)) if isinstance(names, list) else read_classes(folder_of(url))
    return _Columns(image, label, classes, _has_path(schema.field(image).type))


def _features(schema: pa.Schema) -> dict[str, dict[str, Any]]:
    """Return what Hugging Face's metadata say of columns; empty where they say nothing."""
    try:
        found = orjson.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        return {name: feature for name, each in found.items() if isinstance(feature := _element(each), dict)}
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return {}


def _element(feature: Any) -> Any:
    """Return what a list holds, as the versions of Hugging Face's datasets write it; of anything else itself."""
    if isinstance(feature, list) and len(feature) == 1:
        return feature[0]
    is_list = isinstance(feature, dict) and feature.get("_type") in ("Sequence", "List", "LargeList")
    return feature.get("feature") if is_list else feature


def _is_image(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _is_image(kind.field("bytes").type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _has_path(kind: pa.DataType) -> bool:
    return bool(pa.types.is_struct(kind) and kind.get_field_index("path") >= 0 and _is_text(kind.field("path").type))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_label(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return _is_text(kind) or bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _are_named(files: Sequence[File], column: str) -> bool:
    """Return whether every image of a set has a path of its own."""
    seen: set[str] = set()
    for file in files:
        with open_parquet(file.url) as opened:
            for group, rows in _row_groups(opened):
                for path in _paths(opened, group, rows, file.url, column):
                    if not path or path in seen:
                        return False
                    seen.add(path)
    return True


def _cut(url: str) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of rows: whole row groups, of PIECE_ITEMS together where they are small."""
    with open_parquet(url) as file:
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    if min(sizes, default=0) < 0 or sum(sizes) > _MAX_ROWS:
        raise InputError(f"{url}: expected at most {_MAX_ROWS} rows, found a footer that states {sum(sizes)}")
    start = stop = 0
    for size in sizes:
        if stop > start and stop + size - start > PIECE_ITEMS:
            yield start, stop
            start = stop
        stop += size
    if stop > start:
        yield start, stop


def _row_groups(file: Any) -> Iterator[tuple[int, range]]:
    """Yield the numbers of the row groups, and of their rows in the file."""
    start = 0
    for group in range(file.num_row_groups):
        stop = start + file.metadata.row_group(group).num_rows
        yield group, range(start, stop)
        start = stop


def _batches(file: Any, group: int, rows: range, url: str, columns: list[str], size: int) -> Iterator[pa.RecordBatch]:
    """Yield a row group in batches of so many rows at most; raises InputError where it is broken."""
    num_rows = 0
    try:
        for batch in file.iter_batches(size, row_groups=[group], columns=columns, use_threads=False):
            num_rows += len(batch)
            yield batch
    except _BROKEN as error:
        raise InputError(f"{url}: cannot be read from row {rows.start + num_rows} on: {one_line(error)}") from error
    if num_rows != len(rows):  # Arrow passes over pages whose kind it does not know
        raise InputError(f"{url}: cannot be read from row {rows.start + num_rows} on: expected rows to {rows.stop}")


def _paths(file: Any, group: int, rows: range, url: str, column: str) -> Iterator[str | None]:
    """Yield what the images of a row group say of their paths; the images themselves are not read."""
    for batch in _batches(file, group, rows, url, [f"{column}.path"], _PATH_ROWS):
        yield from (row["path"] if row else None for row in batch.column(0).to_pylist())


def read_parquet_rows(piece: Piece, wanted: Wanted) -> Iterator[Labelled]:
    """Yield the images of a piece, 16 rows in memory, an image without bytes as an empty one.

    Row groups of which nothing is wanted are passed over. Raises InputError where the file is broken.
    """
    with open_parquet(piece.url) as file:
        for group, rows in _row_groups(file):
            if rows.start in range(piece.start or 0, piece.stop or 0):
                yield from _read_group(file, group, rows, piece, wanted)


def _read_group(file: Any, group: int, rows: range, piece: Piece, wanted: Wanted) -> Iterator[Labelled]:
    assert piece.image_column is not None  # a piece of a Parquet file
    name = _namer(file, group, rows, piece)
    if not any(wanted(name(row)) for row in rows):
        return
    columns = [piece.image_column] + ([] if piece.label_column is None else [piece.label_column])
    numbers = iter(rows)
    for batch in _batches(file, group, rows, piece.url, columns, _BATCH_ROWS):
        labels = [None] * len(batch) if piece.label_column is None else batch.column(piece.label_column).to_pylist()
        for image, said, row in zip(batch.column(piece.image_column), labels, numbers, strict=False):
            if wanted(name(row)):
                value = image.as_py()
                body = value.get("bytes") if isinstance(value, dict) else value
                label = name_class(label_text(said), piece.classes, f"{piece.url}, row {row}")
                yield Labelled(name(row), label, (body or b"")[:MAX_IMAGE_BYTES])


def _namer(file: Any, group: int, rows: range, piece: Piece) -> Callable[[int], str]:
    """Return what names the images of a row group by their rows."""
    if piece.item_column is None:
        return lambda row: f"{piece.item}/{row}"
    paths = [str(path) for path in _paths(file, group, rows, piece.url, piece.item_column)]
    return lambda row: paths[row - rows.start]
