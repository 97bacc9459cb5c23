"""Many small reads from few large files: the images of a run lie in tars, and are wanted in other orders.

Rows in key order jump between the tars, which are one for each part of the fetch. On a disk the tars used last stay
open. Under a URL a read is one request for exactly its bytes, and some requests are under way at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, Any

from wit.errors import InputError
from wit.storage import is_remote, join, open_input, read_range

MAX_OPEN = 64
"""Files of one reader that are open at a time; more are opened again and again."""
REQUESTS = 8
"""Reads under a URL that are under way at a time: with 50 ms an answer, 160 images a second."""

Row = Mapping[str, Any]
"""Has `blob` (relative to the root), `offset` and `length`, in bytes."""


class OpenFiles:
    """Files that are read in turns: the MAX_OPEN used last stay open."""

    def __init__(self) -> None:
        self._open: dict[str, IO[bytes]] = {}

    def get(self, url: str) -> IO[bytes]:
        """Return a file, open for reading, at whatever place it was left."""
        file = self._open.pop(url, None)
        if file is None:
            file = open_input(url)
        self._open[url] = file  # now the last in the order of use
        if len(self._open) > MAX_OPEN:
            self._open.pop(next(iter(self._open))).close()
        return file

    def close(self) -> None:
        """Close the files that are open."""
        for file in self._open.values():
            file.close()
        self._open.clear()


class BlobReader:
    """Reads ranges of files under a root; the MAX_OPEN files used last stay open."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._is_remote = is_remote(root)
        self._files = OpenFiles()

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Return `length` bytes of a file (relative to the root) from `offset`; InputError when it is shorter."""
        if self._is_remote:
            return read_range(join(self._root, name), offset, length)
        file = self._files.get(join(self._root, name))
        file.seek(offset)
        data = file.read(length)
        if len(data) != length:
            raise InputError(f"{join(self._root, name)}: expected {length} bytes at {offset}, found {len(data)}")
        return data

    def read_rows(self, rows: Iterable[Row]) -> Iterator[tuple[Row, bytes]]:
        """Yield each row with its bytes, in order. Memory: REQUESTS of them under a URL, else one."""
        if not self._is_remote:
            yield from ((row, self.read(row["blob"], row["offset"], row["length"])) for row in rows)
            return
        waiting: deque[tuple[Row, Future[bytes]]] = deque()
        with ThreadPoolExecutor(REQUESTS) as pool:
            for row in rows:
                waiting.append((row, pool.submit(self.read, row["blob"], row["offset"], row["length"])))
                if len(waiting) == REQUESTS:
                    first, data = waiting.popleft()
                    yield first, data.result()
            for last, data in waiting:
                yield last, data.result()

    def close(self) -> None:
        """Close the files that are open."""
        self._files.close()

    def __enter__(self) -> BlobReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
