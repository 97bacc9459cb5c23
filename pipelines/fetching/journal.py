"""What became of each URL of a part: written as it comes, so that a killed part goes on where it stopped.

Bodies arrive in any order, and the part's tar must not depend on it. A file on the run's own disk takes outcomes in the
meantime; the tar and the rows are copied from it in key order at the end. Memory holds 21 bytes a URL.

The file: `MAGIC`, 32 bytes of identity, then records. A record is a CRC-32 of what follows it, the URL's number, the
lengths of facts and image, the kind, the facts as a JSON list, and the stored image. Each is handed to the operating
system before `add` or `reject` returns, so a killed process loses nothing that it had noted. It is synced to the disk
with the next image after 30 s or 256 MiB: a machine that crashes loses what came since. Where a record is not whole
(torn, or a hole after a crash) the file is cut when it is opened again, and what stood there is asked for again.
Opening reads all of it.
"""

from __future__ import annotations

import fcntl
import os
import struct
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from operator import attrgetter
from types import TracebackType
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from wit import tar
from wit.errors import InputError
from wit.image import Prepared
from wit.schema import IMAGES, REJECTS
from wit.shards import SUFFIXES
from wit.stage import KEPT, Output
from wit.stage import REJECTS as REJECTS_TABLE
from wit.storage import input_error, output_error

MAGIC = b"wit journal 1\n"
IDENTITY_BYTES = 32

_HEAD = struct.Struct("<IIIIB")  # CRC-32 of the rest of the record, number, length of facts, length of image, kind
_CRC_BYTES = 4
_NONE, _STORED, _REJECTED = 0, 1, 2  # kinds of outcome; 0: none yet
_SYNC_S = 30.0
_SYNC_BYTES = 256 << 20
_CHUNK_ROWS = 4096
_AHEAD_BYTES = 4 << 20  # of records that the disk is asked for before they are read
_FACTS = (
    "format", "width", "height", "sha256", "entropy", "num_frames",
    "original_format", "original_sha256", "original_length", "original_width", "original_height",
)  # fmt: skip
_facts_of = attrgetter(*_FACTS)


class Journal:
    """What became of each URL of a part, by the URL's number; a context manager.

    `path` is where it lies, None for an unnamed temporary file; so is it while another process writes the one at
    `path`. What that file holds already is taken over if its `identity` (32 bytes that stand for the part's URLs and
    settings) is the same; else it is begun anew. Safe in threads. Raises OutputError when it cannot be written (no
    space, read-only, ...), whereupon it stays valid up to the last whole record.
    """

    def __init__(self, path: str | None, identity: bytes, num_urls: int) -> None:
        assert len(identity) == IDENTITY_BYTES, len(identity)
        self._kinds = np.zeros(num_urls, np.uint8)
        self._offsets = np.zeros(num_urls, np.int64)
        self._lengths = np.zeros(num_urls, np.uint32)
        self._lock = threading.Lock()
        self._url = path or tempfile.gettempdir()
        self._end = 0
        try:
            self._file = _open(path)
        except OSError as error:
            raise output_error(self._url, error) from error
        try:
            self._restore(MAGIC + identity)
        except BaseException:
            self._file.close()
            raise
        self._synced_end, self._synced_s = self._end, time.monotonic()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def done(self) -> npt.NDArray[np.bool_]:
        """Whether the outcome of each URL is known; a copy."""
        return np.not_equal(self._kinds, _NONE)

    def add(self, number: int, prepared: Prepared, final_url: str) -> None:
        """Keep the stored image of a URL; may wait for the disk, so it belongs in a thread. Raises OutputError."""
        facts = (*_facts_of(prepared), _utf8(final_url))
        self._append(number, _STORED, orjson.dumps(facts), prepared.body)
        self._sync_now_and_then()

    def reject(self, number: int, reason: str, detail: str | None) -> None:
        """Note why a URL gives no image; raises OutputError."""
        self._append(number, _REJECTED, orjson.dumps((reason, detail and _utf8(detail))), b"")

    def outputs(self, rows: pa.Table, blob: IO[bytes], blob_name: str, stage: str) -> Iterator[Output]:
        """Write the tar and yield the rows of both tables, in the order of `rows` (key, bucket, rank, number).

        Every number must be done. Rows that share a number share its member, which bears the key of the first of them.
        Raises OutputError when the tar cannot be written, InputError when the journal cannot be read again.
        """
        members = _Members(blob, blob_name, len(self._kinds))
        for batch in rows.to_batches(max_chunksize=_CHUNK_ROWS):
            kinds = self._kinds[batch["number"].to_numpy()]
            assert (kinds != _NONE).all(), "a URL without an outcome"
            if (stored := batch.filter(pa.array(kinds == _STORED))).num_rows:
                yield KEPT, self._stored_rows(stored, members)
            if (rejected := batch.filter(pa.array(kinds == _REJECTED))).num_rows:
                yield REJECTS_TABLE, self._rejected_rows(rejected, stage)
        members.write(tar.END)

    def _stored_rows(self, rows: pa.RecordBatch, members: _Members) -> pa.RecordBatch:
        facts, offsets, lengths = [], [], []
        numbers = rows["number"].to_numpy()
        for key, number, record in zip(rows["key"].to_pylist(), numbers, self._records(numbers), strict=True):
            some, image = _contents(record)
            facts.append(orjson.loads(some))
            offsets.append(members.place(number, f"{key}.{SUFFIXES[facts[-1][0]]}", image))
            lengths.append(len(image))
        columns: dict[str, Any] = {name: rows[name] for name in ("key", "bucket", "rank")}
        columns |= zip((*_FACTS, "final_url"), zip(*facts, strict=True), strict=True)
        columns |= {"blob": pa.repeat(members.blob_name, rows.num_rows), "offset": offsets, "length": lengths}
        return _batch(columns, IMAGES)

    def _rejected_rows(self, rows: pa.RecordBatch, stage: str) -> pa.RecordBatch:
        facts = [orjson.loads(_contents(record)[0]) for record in self._records(rows["number"].to_numpy())]
        columns: dict[str, Any] = {name: rows[name] for name in ("key", "bucket")}
        columns |= zip(("reason", "detail"), zip(*facts, strict=True), strict=True)
        columns |= {"stage": pa.repeat(stage, rows.num_rows)}
        columns |= dict.fromkeys(("url", "caption"), pa.nulls(rows.num_rows, pa.string()))
        return _batch(columns, REJECTS)

    def _records(self, numbers: npt.NDArray[np.integer[Any]]) -> Iterator[bytes]:
        """Yield the record of each number; the disk is asked for them some way ahead."""
        offsets, lengths = self._offsets[numbers].tolist(), self._lengths[numbers].tolist()
        descriptor, ahead, num_bytes = self._file.fileno(), 0, 0
        try:
            for offset, length in zip(offsets, lengths, strict=True):
                while ahead < len(offsets) and num_bytes < _AHEAD_BYTES:
                    os.posix_fadvise(descriptor, offsets[ahead], lengths[ahead], os.POSIX_FADV_WILLNEED)
                    num_bytes += lengths[ahead]
                    ahead += 1
                num_bytes -= length
                record = os.pread(descriptor, length, offset)
                if not _is_whole(record, length):
                    raise InputError(
                        f"{self._url}: the record at byte {offset} is damaged; run the same command again, which asks "
                        "again for what is lost"
                    )
                yield record
        except OSError as error:
            raise input_error(self._url, error) from error

    def _append(self, number: int, kind: int, facts: bytes, image: bytes) -> None:
        head = _HEAD.pack(0, number, len(facts), len(image), kind)[_CRC_BYTES:]
        crc = zlib.crc32(image, zlib.crc32(facts, zlib.crc32(head)))
        with self._lock:
            assert self._kinds[number] == _NONE, f"URL {number} is done already"
            self._write(crc.to_bytes(_CRC_BYTES, "little") + head + facts, image)
            self._note(number, kind, _HEAD.size + len(facts) + len(image))

    def _note(self, number: int, kind: int, length: int) -> None:
        """Take a record that stands at the end of the file into the index."""
        self._kinds[number], self._offsets[number], self._lengths[number] = kind, self._end, length
        self._end += length

    def _write(self, *pieces: bytes) -> None:
        """Write at the end of what is valid; nothing of it stays when that fails."""
        num_bytes = sum(map(len, pieces))
        try:
            written = os.pwritev(self._file.fileno(), pieces, self._end)
            while written < num_bytes:  # a disk that is nearly full takes a part, then says so
                written += os.pwrite(self._file.fileno(), b"".join(pieces)[written:], self._end + written)
        except OSError as error:
            with suppress(OSError):  # a read-only or broken disk: what is torn is cut when it is opened again
                os.ftruncate(self._file.fileno(), self._end)
            raise output_error(self._url, error) from error

    def _sync_now_and_then(self) -> None:
        with self._lock:
            end, now = self._end, time.monotonic()
            if end - self._synced_end < _SYNC_BYTES and now - self._synced_s < _SYNC_S:
                return
            self._synced_end, self._synced_s = end, now
        try:
            os.fdatasync(self._file.fileno())
        except OSError as error:
            raise output_error(self._url, error) from error

    def _restore(self, begin: bytes) -> None:
        """Take over the records that are whole and cut off the rest; begin anew where the file is another's."""
        descriptor = self._file.fileno()
        try:
            size = os.fstat(descriptor).st_size
            if os.pread(descriptor, len(begin), 0) == begin:
                self._end = len(begin)
                while record := _record_at(descriptor, self._end, size):
                    _, number, _, _, kind = _HEAD.unpack_from(record)
                    self._note(number, kind, len(record))
        except OSError as error:
            raise input_error(self._url, error) from error
        try:
            os.ftruncate(descriptor, self._end)
        except OSError as error:
            raise output_error(self._url, error) from error
        if not self._end:
            self._write(begin)
            self._end = len(begin)


class _Members:
    """The part's tar, to which a member is written when the first row needs it."""

    def __init__(self, blob: IO[bytes], blob_name: str, num_urls: int) -> None:
        self.blob_name = blob_name
        self._blob = blob
        self._url = os.path.join(os.path.dirname(blob.name), os.path.basename(blob_name))  # its final name
        self._end = blob.tell()
        self._places = np.full(num_urls, -1, np.int64)

    def place(self, number: int, name: str, image: memoryview) -> int:
        """Return where the image of a URL begins, written under `name` if it is not there yet."""
        if self._places[number] < 0:
            self._places[number] = self._end + tar.BLOCK
            self.write(tar.header(name, len(image)), image, tar.padding(len(image)))
        return int(self._places[number])

    def write(self, *pieces: bytes | memoryview) -> None:
        """Write at the end of the tar; raises OutputError."""
        try:
            for piece in pieces:
                self._end += self._blob.write(piece)
        except OSError as error:
            raise output_error(self._url, error) from error


def _open(path: str | None) -> IO[bytes]:
    """Open the journal, locked; an unnamed file in its place where it has no path or is not to be had alone."""
    if path is None:
        return tempfile.TemporaryFile(buffering=0)
    file = open(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)  # noqa: SIM115
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # another attempt at the part is at work; or a file system without locks
        file.close()
        return tempfile.TemporaryFile(buffering=0, dir=os.path.dirname(path) or ".")
    return file


def _record_at(descriptor: int, offset: int, size: int) -> bytes | None:
    """Return the record at an offset of a file of `size` bytes; None when none is whole there."""
    head = os.pread(descriptor, _HEAD.size, offset)
    if len(head) < _HEAD.size:
        return None
    _, _, facts_bytes, image_bytes, _ = _HEAD.unpack(head)
    length = _HEAD.size + facts_bytes + image_bytes
    if offset + length > size:
        return None
    record = os.pread(descriptor, length, offset)
    return record if _is_whole(record, length) else None


def _is_whole(record: bytes, length: int) -> bool:
    stated = int.from_bytes(record[:_CRC_BYTES], "little")
    return len(record) == length and zlib.crc32(memoryview(record)[_CRC_BYTES:]) == stated


def _contents(record: bytes) -> tuple[memoryview, memoryview]:
    """Return the facts and the image of a record."""
    _, _, facts_bytes, _, _ = _HEAD.unpack_from(record)
    rest = memoryview(record)[_HEAD.size :]
    return rest[:facts_bytes], rest[facts_bytes:]


def _batch(columns: dict[str, Any], schema: pa.Schema) -> pa.RecordBatch:
    """Return the columns as a schema has them; Arrow's own ones as they are, others by the field's type."""
    arrays = [
        columns[field.name] if isinstance(columns[field.name], pa.Array) else pa.array(columns[field.name], field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _utf8(text: str) -> str:
    """Return a text that tables can hold: half surrogate pairs, as hostile headers make them, are spelled out."""
    return text.encode(errors="backslashreplace").decode()
