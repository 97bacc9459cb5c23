"""Parquet files, opened so that their rows can be streamed in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from wit.errors import InputError, one_line
from wit.storage import open_input

BROKEN = (pa.ArrowException, OSError, UnicodeDecodeError)
"""What Arrow raises on a damaged file."""
_READ_BYTES = 1 << 20


@contextmanager
def open_parquet(url: str, dictionaries: Sequence[str] = ()) -> Iterator[Any]:
    """Open a Parquet file; raises InputError when it is not one."""
    with open_input(url) as file:
        try:
            opened = pq.ParquetFile(  # read as it goes, by this thread alone: a row group may be as large as the file
                file,
                read_dictionary=dictionaries,
                pre_buffer=False,
                buffer_size=_READ_BYTES,
                page_checksum_verification=True,
            )
            opened.schema_arrow.names  # noqa: B018  names that are no UTF-8 show themselves here
        except BROKEN as error:
            raise InputError(f"{url}: not a readable Parquet file: {one_line(error)}") from error
        yield opened
