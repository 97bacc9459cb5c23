"""Files that may be packed by gzip."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from wit.errors import InputError
from wit.storage import reading
from wit.tar import unpacked


@contextmanager
def open_unpacked(url: str) -> Iterator[tuple[IO[bytes], bool]]:
    """Open a file as it is or as what a gzip file holds, which is read forward only; say whether it is packed.

    Raises InputError where it cannot be read, or the gzip file is damaged or cut off.
    """
    with reading(url) as raw:
        file = unpacked(raw)
        try:
            yield file, file is not raw
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise InputError(f"{url}: expected a whole gzip file, found a damaged one ({error})") from error
