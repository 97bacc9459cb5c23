"""Where the samples of a block lie: some rows of a shard's index, as columns of numbers.

Memory a sample: 41 bytes where keys are 32 hexadecimal digits, else 25 and the longest key; 32 more of a remote shard,
whose images are checked.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from wit.errors import ContractError, InputError
from wit.schema import FOREIGN_INDEX, SHARD_INDEX, conform
from wit.shards import MAKE_INDEX, as_index
from wit.storage import base_name

_PLACES = ("image_offset", "image_length", "text_offset", "text_length")
_COLUMNS = ("key", "shard", *_PLACES, "json_offset", "json_length", "sha256")
_HEX_DIGITS = 32
_MAX_LENGTH = (1 << 31) - 1  # of an image or a text; those that wit stores have at most 2^28 bytes


@dataclass(frozen=True)
class Page:
    """Element i of each array is sample i of the block."""

    keys: NDArray[Any]
    """UTF-8, or the 16 bytes that 32 hexadecimal digits stand for."""
    image_offset: NDArray[np.int64]
    image_length: NDArray[np.int32]
    text_offset: NDArray[np.int64]
    text_length: NDArray[np.int32]
    text_in_json: NDArray[np.bool_]
    """The text is a JSON member that holds the caption: tars made elsewhere have such."""
    sha256: NDArray[Any] | None
    """Of each image, 32 bytes; not kept for shards on disks."""

    def __len__(self) -> int:
        return len(self.keys)

    def key(self, row: int) -> str:
        """Return the key of a sample."""
        found: bytes = self.keys.item(row)
        return found.hex() if self.keys.dtype.kind == "V" else found.decode()

    @cached_property
    def span(self) -> tuple[int, int]:
        """Bytes of the tar from the first of the samples to behind the last."""
        start = min(self.image_offset.min(), np.where(self.text_length > 0, self.text_offset, self.image_offset).min())
        stop = max((self.image_offset + self.image_length).max(), (self.text_offset + self.text_length).max())
        return int(start), int(stop)


class IndexFile:
    """The index of one shard, in Parquet, whoever made the tar."""

    def __init__(self, source: Any, url: str, shard: str) -> None:
        """`source` is a path or a file of Arrow's with what lies at `url`; raises InputError when it is no index."""
        self.url, self.shard = url, shard
        try:
            self._file = pq.ParquetFile(source)
        except FileNotFoundError as error:
            raise InputError(f"{url}: expected a file here, found nothing; {MAKE_INDEX}") from error
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{url}: not a readable Parquet file: {error}") from error
        found = _not_an_index(self._file.schema_arrow.serialize().to_pybytes())
        if found:
            raise self._other(found)

    def _other(self, found: object) -> InputError:
        return InputError(f"{self.url}: expected the index of a shard, found another table ({found}); {MAKE_INDEX}")

    @property
    def num_samples(self) -> int:
        """How many samples the shard has."""
        return int(self._file.metadata.num_rows)

    def read(self, start: int, stop: int, columns: tuple[str, ...] = _COLUMNS) -> pa.Table:
        """Return some columns of rows from `start` to `stop`; only the row groups that hold them are read."""
        sizes = [self._file.metadata.row_group(each).num_rows for each in range(self._file.num_row_groups)]
        ends = np.cumsum([0, *sizes])
        groups = [each for each in range(len(sizes)) if ends[each] < stop and ends[each + 1] > start]
        try:
            table = self._file.read_row_groups(groups, columns=list(columns), use_threads=False)
            schema = pa.schema([SHARD_INDEX.field(name) for name in columns])
            table.validate(full=True)  # keys in UTF-8
            return conform(table, schema).slice(start - int(ends[groups[0]]) if groups else 0, stop - start)
        except ContractError as error:
            raise self._other(error) from error
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{self.url}: not a readable Parquet file: {error}") from error

    def pages(self, edges: list[int], tar_bytes: int, *, with_sha256: bool) -> list[Page]:
        """Return the pages between rows; raises InputError when they are not of this shard, of `tar_bytes` bytes."""
        table = self.read(edges[0], edges[-1])
        names = table["shard"].unique().to_pylist()
        if names not in ([], [base_name(self.shard)]):
            raise InputError(f"{self.url}: expected the index of {base_name(self.shard)}, found that of {names[0]}")
        for part in ("image", "text"):
            offset, length = (table[f"{part}_{name}"].to_numpy() for name in ("offset", "length"))
            most = min(tar_bytes, _MAX_LENGTH)
            if not ((offset >= 0) & (length >= 0) & (length <= most) & (offset <= tar_bytes - length)).all():
                found = "places that none has" if tar_bytes == sys.maxsize else f"{tar_bytes} in all"
                raise InputError(
                    f"{self.shard}: expected the bytes that {self.url} names, found {found}; check the shards"
                )
        return [_page(table.slice(first - edges[0], last - first), with_sha256) for first, last in pairwise(edges)]


@lru_cache(maxsize=64)
def _not_an_index(schema: bytes) -> str:
    """Return what is wrong with the schema of an index; empty when nothing is. Most shards have the same."""
    table = pa.ipc.read_schema(pa.py_buffer(schema)).empty_table()
    try:
        as_index(table, FOREIGN_INDEX if "sample_offset" in table.column_names else SHARD_INDEX)
    except ContractError as error:
        return str(error)
    return ""


def _page(table: pa.Table, with_sha256: bool) -> Page:
    columns = {name: table[name].to_numpy() for name in (*_PLACES, "json_offset", "json_length")}
    return Page(
        keys=_octets(table["key"]),
        image_offset=columns["image_offset"].astype(np.int64),
        image_length=columns["image_length"].astype(np.int32),
        text_offset=columns["text_offset"].astype(np.int64),
        text_length=columns["text_length"].astype(np.int32),
        text_in_json=(columns["json_length"] > 0) & (columns["text_offset"] == columns["json_offset"]),
        sha256=_octets(table["sha256"]) if with_sha256 else None,
    )


def _octets(texts: pa.ChunkedArray) -> NDArray[Any]:
    """Return texts as bytes; 16, or 32, a text where all are so many pairs of hexadecimal digits."""
    each = [text.encode() for text in texts.to_pylist()]
    width = len(each[0]) if each else 0
    if width in (_HEX_DIGITS, 2 * _HEX_DIGITS) and {len(one) for one in each} == {width}:
        joined = b"".join(each)
        try:
            packed = bytes.fromhex(joined.decode("ascii"))
        except ValueError:
            packed = b""
        if packed.hex().encode() == joined:
            return np.frombuffer(packed, dtype=f"V{width // 2}")
    return np.array(each, dtype="S")


def opened_index(source: bytes | str, url: str, shard: str) -> IndexFile:
    """Return the index of a shard from its bytes, or from a path."""
    native: IO[bytes] | str = pa.BufferReader(source) if isinstance(source, bytes) else source
    return IndexFile(native, url, shard)
