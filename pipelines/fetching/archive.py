"""Bodies out of archives: single records of WARC and ARC files, single members of tars, read by their offsets."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from time import sleep
from typing import IO, Any

import aiohttp
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.fetching.archive_index import MAX_REDIRECTS, TAR, answer_of, is_success, kind_of
from pipelines.fetching.optout import opted_out
from pipelines.fetching.outcome import (
    NOT_IN_ARCHIVE,
    TOO_LARGE,
    TOO_MANY_REDIRECTS,
    TRUNCATED_BODY,
    Body,
    Refused,
)
from pipelines.sources.answers import MAX_HEAD_BYTES, Answer
from pipelines.sources.archive import record_at
from pipelines.sources.payload import decode_payload
from wit import tar
from wit.errors import MAX_DETAIL_CHARACTERS, InputError
from wit.storage import input_error, is_remote, open_input
from wit.tar import unpacked

_BATCH_ROWS = 4096
_ATTEMPTS, _WAIT_S = 4, 2.0  # at a record of a remote archive


class ArchiveReader:
    """Reads bodies by place. The last archive stays open, so ask in the order of (archive, offset)."""

    def __init__(self, max_bytes: int, agent: str, opt_outs: Iterable[str]) -> None:
        """`agent` is our product token, `opt_outs` the keys of OPT_OUTS that count in the answers' headers."""
        self._max_bytes = max_bytes
        self._agent = agent
        self._opt_outs = frozenset(opt_outs)
        self._name = ""
        self._file: IO[bytes] | None = None
        self._tar: IO[bytes] | None = None

    def close(self) -> None:
        """Close the archive that is open."""
        if self._file is not None:
            self._file.close()
            self._file = self._tar = None

    def __enter__(self) -> ArchiveReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, archive: str, offset: int) -> bytes:
        """Return the body of the record at an offset, its transfer and content encodings undone.

        Raises Refused, and InputError when the archive is not there any more or cannot be read: no fault of this body.
        """
        attempts = _ATTEMPTS if is_remote(archive) else 1
        while True:
            attempts -= 1
            try:
                self._open(archive)
                return self._member(offset) if self._tar else self._record(offset)
            except (OSError, aiohttp.ClientError) as error:
                self.close()
                if not attempts:
                    trouble = error if isinstance(error, OSError) else OSError(str(error) or type(error).__name__)
                    raise input_error(archive, trouble) from error
                sleep(_WAIT_S)

    def _open(self, archive: str) -> None:
        if self._file is None or archive != self._name:
            self.close()
            kind = kind_of(archive)
            self._name, self._file = archive, open_input(archive)
            self._tar = unpacked(self._file) if kind == TAR else None

    def _member(self, offset: int) -> bytes:
        assert self._tar is not None
        try:
            member = tar.member_at(self._tar, offset, self._name)
            if member.length > self._max_bytes:
                raise Refused(TOO_LARGE, f"more than {self._max_bytes} bytes")
            return tar.read_member(self._tar, member, self._name)
        except (InputError, gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise Refused(TRUNCATED_BODY, "the tar is damaged in its member") from error

    def _record(self, offset: int) -> bytes:
        assert self._file is not None
        record = record_at(self._file, offset, self._max_bytes + MAX_HEAD_BYTES + 1)
        if record is None:
            raise Refused(TRUNCATED_BODY, "the archive is damaged in its record")
        answer = answer_of(record)
        if answer is None or not is_success(answer):
            raise Refused(NOT_IN_ARCHIVE, "no answer of success at its offset")
        return self._payload(answer)

    def _payload(self, answer: Answer) -> bytes:
        limit = self._max_bytes
        forbidden = opted_out(answer.fields, self._agent, self._opt_outs)
        if forbidden:
            raise Refused(*forbidden)
        encodings = answer.get("transfer-encoding"), answer.get("content-encoding")
        body = answer.body if len(answer.body) > limit else decode_payload(answer.body, *encodings, limit + 1)
        if len(body) > limit:
            raise Refused(TOO_LARGE, f"more than {limit} bytes")
        return body


def read_located(
    located: pa.Table,
    numbers: npt.NDArray[np.int32],
    done: npt.NDArray[np.bool_],
    reader: ArchiveReader,
    max_redirects: int,
) -> Iterator[tuple[int, Body | Refused]]:
    """Yield (number, outcome) of each URL that is not done: archive by archive, each from its start to its end.

    `located` has n rows of LOCATED, `numbers` (n) the number of each row's URL, `done` whether a number needs nothing
    more. A body that several URLs share is read once.
    """
    hops = min(max_redirects, MAX_REDIRECTS)
    wanted, first = np.unique(numbers, return_index=True)
    rows = pa.table({"number": wanted, "row": first, "archive": located["archive"].take(pa.array(first))})
    rows = rows.append_column("offset", located["record_offset"].take(pa.array(first))).filter(pa.array(~done[wanted]))
    rows = rows.sort_by([(name, "ascending") for name in ("archive", "offset", "number")])
    place: tuple[str, int] | None = None
    outcome: bytes | Refused = b""
    for batch in rows.select(["number", "row"]).to_batches(_BATCH_ROWS):
        for number, row in zip(batch["number"].to_pylist(), located.take(batch["row"]).to_pylist(), strict=True):
            refused = _refused(row, hops)
            if refused is None and place != (row["archive"], row["record_offset"]):
                place = row["archive"], row["record_offset"]
                outcome = _attempt(reader, *place)
            found = refused or outcome
            yield number, found if isinstance(found, Refused) else Body(found, row["final_url"] or row["url"])


def _attempt(reader: ArchiveReader, archive: str, offset: int) -> bytes | Refused:
    try:
        return reader.read(archive, offset)
    except Refused as refusal:
        return refusal


def _refused(row: dict[str, Any], hops: int) -> Refused | None:
    """Return why a row has no place; None: it has."""
    if row["num_redirects"] > hops:
        return Refused(TOO_MANY_REDIRECTS, f"more than {hops}")
    if row["archive"] is not None:
        return None
    if not row["num_redirects"]:
        return Refused(NOT_IN_ARCHIVE)
    return Refused(NOT_IN_ARCHIVE, f"redirects to {row['final_url']}"[:MAX_DETAIL_CHARACTERS])
