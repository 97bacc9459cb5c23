"""Stored images on their way to the part's tar: written as they come, copied in key order at the end.

Bodies arrive in any order, and the tar must not depend on it. A scratch file on the run's own disk holds the bytes in
the meantime (it has no name, so it vanishes with the process); memory holds facts, about 1 kB an image.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import IO, Any

import pyarrow as pa

from wit import tar
from wit.image import Prepared
from wit.schema import IMAGES, REJECTS
from wit.shards import SUFFIXES
from wit.stage import KEPT, Output
from wit.stage import REJECTS as REJECTS_TABLE

_BATCH_ROWS = 4096
_FACTS = (
    "format", "width", "height", "sha256", "entropy", "num_frames",
    "original_format", "original_sha256", "original_length", "original_width", "original_height",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A pair that waits for its image."""

    key: str
    bucket: int
    rank: int
    url: str


@dataclass
class _Stored:
    facts: Prepared
    """Without its bytes."""
    final_url: str
    offset: int
    length: int
    place: int | None = None
    """Where its bytes begin in the tar, once they are there."""


@dataclass(frozen=True)
class _Rejection:
    reason: str
    detail: str | None


class Spool:
    """What became of each URL of a part; a context manager."""

    def __init__(self, blob: IO[bytes]) -> None:
        self._blob = blob
        self._scratch: IO[bytes] = tempfile.TemporaryFile(dir=os.path.dirname(blob.name) or ".")  # noqa: SIM115
        self._outcomes: dict[str, _Stored | _Rejection] = {}

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scratch.close()

    def add(self, url: str, prepared: Prepared, final_url: str) -> None:
        """Keep the stored image of a URL."""
        offset = self._scratch.tell()
        self._scratch.write(prepared.body)
        facts = dataclasses.replace(prepared, body=b"")
        self._outcomes[url] = _Stored(facts, final_url, offset, len(prepared.body))

    def reject(self, url: str, reason: str, detail: str | None) -> None:
        """Note why a URL gives no image."""
        self._outcomes[url] = _Rejection(reason, detail)

    def outputs(self, rows: Sequence[Row], blob_name: str, stage: str) -> Iterator[Output]:
        """Write the tar and yield the rows of both tables, in the rows' order.

        Rows that share a URL share its member, which bears the key of the first of them.
        """
        waiting = iter(rows)
        while some := list(islice(waiting, _BATCH_ROWS)):
            kept, rejected = [], []
            for row in some:
                outcome = self._outcomes[row.url]
                if isinstance(outcome, _Rejection):
                    rejected.append(_reject_row(row, outcome, stage))
                else:
                    kept.append(self._kept_row(row, outcome, blob_name))
            if kept:
                yield KEPT, pa.RecordBatch.from_pylist(kept, schema=IMAGES)
            if rejected:
                yield REJECTS_TABLE, pa.RecordBatch.from_pylist(rejected, schema=REJECTS)
        self._blob.write(tar.END)

    def _kept_row(self, row: Row, stored: _Stored, blob_name: str) -> dict[str, Any]:
        if stored.place is None:
            self._scratch.seek(stored.offset)
            self._blob.write(tar.header(f"{row.key}.{SUFFIXES[stored.facts.format]}", stored.length))
            stored.place = self._blob.tell()
            self._blob.write(self._scratch.read(stored.length))
            self._blob.write(tar.padding(stored.length))
        facts = {name: getattr(stored.facts, name) for name in _FACTS}
        place = {"blob": blob_name, "offset": stored.place, "length": stored.length, "final_url": stored.final_url}
        return {"key": row.key, "bucket": row.bucket, "rank": row.rank} | facts | place


def _reject_row(row: Row, rejection: _Rejection, stage: str) -> dict[str, Any]:
    return {
        "key": row.key, "bucket": row.bucket, "stage": stage, "reason": rejection.reason, "detail": rejection.detail,
        "url": None, "caption": None,
    }  # fmt: skip
