"""Lists of photos with positions: YFCC100M's own file, or a Parquet file with the same facts."""

from __future__ import annotations

import bz2
import gzip
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import IO, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from wit.errors import InputError
from wit.patterns import expand_files
from wit.storage import reading

CHUNK_PHOTOS = 1 << 16

_PACKED: dict[bytes, Callable[[IO[bytes]], object]] = {b"BZh": bz2.open, b"\x1f\x8b\x08": gzip.open}
_COLUMNS = 23  # of YFCC100M's lines; later releases have the number of the line in front
_KEY, _LONGITUDE, _LATITUDE, _URL, _KIND = 0, 10, 11, 14, 22
_VIDEO = "1"
_CODE = re.compile(r"[A-Z]{2}")


@dataclass(frozen=True)
class Photos:
    """P photos, in the order of their file."""

    keys: list[str]
    urls: list[str]
    longitudes_P: NDArray[np.float64]
    """Degrees; not a number for none."""
    latitudes_P: NDArray[np.float64]
    countries: list[str] | None
    """Where the list says them: ISO codes; blank for none, and for what is no code of two letters."""


def read_photos(pattern: str) -> Iterator[Photos]:
    """Yield the photos of files in parts of at most CHUNK_PHOTOS; videos are left out; raises InputError.

    A file is YFCC100M's (tab-separated, 23 or 24 columns; packed with bzip2, gzip or not), or Parquet with the columns
    `key`, and `longitude` and `latitude` in degrees or `country`, and `url` or not.
    """
    for url in expand_files(pattern):
        with reading(url) as file:
            head = file.read(4)
            file.seek(0)
            yield from _read_parquet(file, url) if head == b"PAR1" else _read_lines(file, head, url)


def _read_lines(file: IO[bytes], head: bytes, url: str) -> Iterator[Photos]:
    packed = _PACKED.get(head[:3])
    lines = cast(IO[bytes], packed(file)) if packed else file
    number = 0
    try:
        while batch := list(islice(lines, CHUNK_PHOTOS)):
            rows = [_row(line, number + place, url) for place, line in enumerate(batch, 1)]
            number += len(batch)
            yield _photos([row for row in rows if row[_KIND] != _VIDEO])
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{url}: the file breaks off behind line {number}; fetch it again") from error


def _row(line: bytes, number: int, url: str) -> list[str]:
    parts = line.decode("utf-8", "replace").rstrip("\r\n").split("\t")
    surplus = len(parts) - _COLUMNS
    if surplus not in (0, 1):
        raise InputError(
            f"{url}, line {number}: expected YFCC100M's {_COLUMNS} or {_COLUMNS + 1} columns, found {len(parts)}"
        )
    return parts[surplus:]


def _photos(rows: list[list[str]]) -> Photos:
    return Photos(
        [row[_KEY] for row in rows],
        [row[_URL] for row in rows],
        np.array([_degrees(row[_LONGITUDE]) for row in rows], np.float64),
        np.array([_degrees(row[_LATITUDE]) for row in rows], np.float64),
        None,
    )


def _code(text: str) -> str:
    return text if _CODE.fullmatch(text) else ""  # it becomes the name of a folder


def _degrees(text: str) -> float:
    try:
        return float(text)
    except ValueError:  # most photos have no position
        return float("nan")


def _read_parquet(file: IO[bytes], url: str) -> Iterator[Photos]:
    try:
        table = pq.ParquetFile(file)
        names = set(table.schema_arrow.names)
        if "key" not in names or not ({"longitude", "latitude"} <= names or "country" in names):
            raise InputError(
                f"{url}: expected columns key, and longitude and latitude or country, found {sorted(names)}"
            )
        columns = [name for name in ("key", "url", "longitude", "latitude", "country") if name in names]
        for batch in table.iter_batches(CHUNK_PHOTOS, columns=columns):
            yield _from_columns(batch.to_pydict())
    except pa.ArrowException as error:
        raise InputError(f"{url}: expected a Parquet file of photos, found another: {error}") from error


def _from_columns(columns: dict[str, list[Any]]) -> Photos:
    keys = [str(key) for key in columns["key"]]
    missing = [float("nan")] * len(keys)
    countries = columns.get("country")
    return Photos(
        keys,
        [str(url or "") for url in columns.get("url", [""] * len(keys))],
        np.array(columns.get("longitude", missing), np.float64),
        np.array(columns.get("latitude", missing), np.float64),
        None if countries is None else [_code(str(country)) for country in countries],
    )
