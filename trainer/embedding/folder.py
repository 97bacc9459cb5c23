"""The folder of embeddings that `wit encode` writes and `wit search` reads.

DIR/made_from.json              what is embedded and how; written first
    images/part-00000.parquet   EMBEDDED_IMAGES and the column `embedding`; as npy, without it, and
    images/part-00000.npy       the embeddings, a row for a row
    texts/part-00000.parquet    EMBEDDED_TEXTS, likewise
    rejects/part-00000.parquet  UNEMBEDDED, of parts that have such
    parts/part-00000.json       written last of a part: how many rows each of its tables has
    manifest.json               written when every part is there: what it is made from, and the counts

A table of a part that would be empty is not written.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from trainer.models.inputs import PRECISIONS
from wit import manifest
from wit.errors import ContractError, InputError
from wit.schema import EMBEDDED_IMAGES, EMBEDDED_TEXTS, UNEMBEDDED, conform
from wit.schema.embeddings import with_embedding
from wit.storage import (
    exists,
    input_error,
    is_remote,
    join,
    local_path,
    publish,
    read_bytes,
    read_parquet,
    write_table,
)

MADE_FROM, MANIFEST = "made_from.json", "manifest.json"
IMAGES, TEXTS, REJECTS, PARTS = "images", "texts", "rejects", "parts"
SCHEMAS = {IMAGES: EMBEDDED_IMAGES, TEXTS: EMBEDDED_TEXTS}
EMBEDDING = "embedding"
FORMATS = ("parquet", "npy")
NUMBERS: Mapping[str, tuple[type[np.floating[Any]], pa.DataType]] = {
    "fp16": (np.float16, pa.float16()),
    "fp32": (np.float32, pa.float32()),
}
"""Numbers that embeddings are kept in."""

_LEAF = f"{EMBEDDING}.list.element"  # the column's name in the file; its bits are noise, to compress them is in vain

Vectors = NDArray[np.floating[Any]]


def part_url(folder: str, table: str, number: int, suffix: str) -> str:
    """Return the name of a file of a part."""
    return join(folder, table, f"part-{number:05d}.{suffix}")


def write_embedded(folder: str, table: str, number: int, rows: pa.Table, vectors: Vectors, kind: str) -> None:
    """Publish a part of a table, in a format of FORMATS."""
    if kind == "npy":
        with publish(part_url(folder, table, number, "npy")) as file:
            np.save(file, vectors)
    else:
        flat = pa.array(vectors.reshape(-1))
        schema = with_embedding(SCHEMAS[table], vectors.shape[1], flat.type)
        column = pa.FixedSizeListArray.from_arrays(flat, type=schema.field(EMBEDDING).type)
        rows = rows.append_column(schema.field(EMBEDDING), column).cast(schema)
    with publish(part_url(folder, table, number, "parquet")) as file:
        names = SCHEMAS[table].names
        pq.write_table(
            rows,
            file,
            compression={**dict.fromkeys(names, "zstd"), **({_LEAF: "none"} if kind == "parquet" else {})},
            use_dictionary=names,
        )


def write_rejects(folder: str, number: int, rows: list[dict[str, str]]) -> None:
    """Publish a part of the images that could not be read."""
    with publish(part_url(folder, REJECTS, number, "parquet")) as file:
        write_table(file, pa.Table.from_pylist(rows, schema=UNEMBEDDED))


@dataclass(frozen=True)
class Opened:
    """How a model was opened, so that it can be again: as `trainer.embedding.encoder.open_encoder` takes it."""

    checkpoint: str
    merges: str
    activation: str


@dataclass(frozen=True)
class EmbeddingFolder:
    """A finished folder of embeddings."""

    url: str
    facts: Mapping[str, Any]
    """Its manifest."""

    @property
    def dim(self) -> int:
        """Dimensions of an embedding."""
        return int(self.facts["model"]["embed_dim"])

    @property
    def opened(self) -> Opened:
        """The model that it was made with."""
        return Opened(**self.facts["opened"])

    def num_rows(self, table: str) -> int:
        """Return how many images or texts are embedded."""
        return sum(int(part[table]) for part in self.facts[PARTS])

    def numbers(self, table: str) -> list[int]:
        """Return the numbers of the parts that have rows of a table."""
        return [number for number, part in enumerate(self.facts[PARTS]) if part[table]]

    def vectors(self, table: str) -> Iterator[tuple[int, Vectors]]:
        """Yield (number, embeddings (N, D)) of each part of a table; one part is in memory at a time.

        Raises InputError for a part that is not what the manifest says.
        """
        for number in self.numbers(table):
            yield number, self._read_vectors(table, number)

    def _read_vectors(self, table: str, number: int) -> Vectors:
        kind = self.facts["format"]
        url = part_url(self.url, table, number, kind)
        vectors = _read_npy(url) if kind == "npy" else _read_column(url)
        expected = (self.facts[PARTS][number][table], self.dim)
        if vectors.shape != expected or vectors.dtype != NUMBERS[self.facts["numbers"]][0]:
            raise InputError(
                f"{url}: expected {expected[0]} embeddings of {expected[1]} {self.facts['numbers']} numbers, found "
                f"{vectors.dtype} {vectors.shape}; encode into another folder"
            )
        return vectors

    def rows(self, table: str, number: int, places: NDArray[np.int64]) -> list[dict[str, Any]]:
        """Return what a part's table says of some of its rows, without the embeddings; raises InputError."""
        url = part_url(self.url, table, number, "parquet")
        try:
            found = conform(read_parquet(url, SCHEMAS[table].names), SCHEMAS[table])
            found.validate(full=True)  # texts in UTF-8
        except (ContractError, pa.ArrowInvalid) as error:
            raise InputError(f"{url}: expected a table of {table}, found another: {error}") from error
        expected = self.facts[PARTS][number][table]
        if len(found) != expected:
            raise InputError(f"{url}: expected {expected} rows, found {len(found)}; encode into another folder")
        rows: list[dict[str, Any]] = found.take(pa.array(places)).to_pylist()
        return rows


def open_folder(url: str) -> EmbeddingFolder:
    """Return a folder of embeddings; raises InputError when it is none, or not finished."""
    if not exists(join(url, MANIFEST)):
        if exists(join(url, MADE_FROM)):
            raise InputError(f"{url}: expected all embeddings, found some; run the same wit encode again")
        raise InputError(f"{url}: expected a folder that wit encode wrote, found none")
    facts = manifest.read(join(url, MANIFEST), "model", "numbers", "precision", "format", "opened", PARTS)
    try:
        is_ours = _is_ours(facts)
    except (LookupError, TypeError, ValueError):
        is_ours = False
    if not is_ours:
        raise InputError(f"{join(url, MANIFEST)}: expected the manifest of embeddings, found something else")
    return EmbeddingFolder(url, facts)


def _is_ours(facts: Mapping[str, Any]) -> bool:
    """Return whether a manifest is one of embeddings; raises LookupError, TypeError, ValueError when it is far off."""
    model, texts = facts["model"], astuple(Opened(**facts["opened"]))
    return (
        facts["format"] in FORMATS
        and facts["numbers"] in NUMBERS
        and facts["precision"] in PRECISIONS
        and int(model["embed_dim"]) > 0
        and all(isinstance(text, str) for text in (model["fingerprint"], *texts))
        and all(int(part[table]) >= 0 for part in facts[PARTS] for table in SCHEMAS)
    )


def _read_npy(url: str) -> Vectors:
    """Return the array of a file: of a local one mapped, so that no more of it is in memory than is looked at."""
    try:
        if is_remote(url):
            vectors: Vectors = np.lib.format.read_array(io.BytesIO(read_bytes(url)), allow_pickle=False)
        else:
            vectors = np.lib.format.open_memmap(local_path(url), mode="r")
    except OSError as error:
        raise input_error(url, error) from error
    except (ValueError, EOFError) as error:
        raise InputError(f"{url}: expected an array of numpy, found something else: {error}") from error
    return vectors


def _read_column(url: str) -> Vectors:
    table = read_parquet(url, [EMBEDDING])
    if EMBEDDING not in table.column_names or not pa.types.is_fixed_size_list(table[EMBEDDING].type):
        raise InputError(f"{url}: expected a column {EMBEDDING} of lists of one length, found none")
    column = table[EMBEDDING].combine_chunks()
    if column.null_count:
        raise InputError(f"{url}: expected an embedding in every row, found none in {column.null_count}")
    vectors: Vectors = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), column.type.list_size)
    return vectors
