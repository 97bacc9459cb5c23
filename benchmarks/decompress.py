"""Decompress a .bz2 file with several processes or threads and throw the result away; print how many bytes it was.

    python -m benchmarks.decompress {indexed_bzip2,streams} FILE.bz2 PROCESSES

`indexed_bzip2` finds the blocks itself. `streams` gives each stream of a multistream dump to a process with the
standard library's bz2; it needs the dump's index beside it.
"""

from __future__ import annotations

import bz2
import sys
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

READ_BYTES = 4 << 20


def indexed_bzip2(path: str, processes: int) -> int:
    """Return the size of a file's content, read with indexed_bzip2's threads."""
    import indexed_bzip2 as library

    size = 0
    with library.open(path, parallelization=processes) as file:
        while chunk := file.read(READ_BYTES):
            size += len(chunk)
    return size


def streams(path: str, processes: int) -> int:
    """Return the size of a multistream dump's content, its streams decompressed in a pool of processes."""
    index = bz2.decompress(Path(path.replace(".xml.bz2", "-index.txt.bz2")).read_bytes())
    starts = sorted({int(line.partition(b":")[0]) for line in index.splitlines()})
    edges = [0, *starts, Path(path).stat().st_size]
    with get_context("spawn").Pool(processes) as pool:
        return sum(pool.imap_unordered(partial(_stream_size, path), pairwise(edges), chunksize=16))


def _stream_size(path: str, edges: tuple[int, int]) -> int:
    start, end = edges
    with open(path, "rb") as file:
        file.seek(start)
        return len(bz2.decompress(file.read(end - start)))


TOOLS = {"indexed_bzip2": indexed_bzip2, "streams": streams}


if __name__ == "__main__":
    tool, path, processes = sys.argv[1:]
    print(TOOLS[tool](path, int(processes)))
