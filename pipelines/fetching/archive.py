"""Bodies out of WARC archives: an index of what lies where, and single records read by their offsets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any, Literal
from urllib.parse import urldefrag

from fastwarc.warc import ArchiveIterator, WarcRecordType

from pipelines.fetching.optout import opted_out
from pipelines.fetching.outcome import NOT_IN_ARCHIVE, OPTED_OUT, TOO_LARGE, TRUNCATED_BODY, Body, Refused
from wit.errors import InputError
from wit.storage import open_input

Entry = tuple[str, int, str, int]
"""(url, offset of the record, payload digest, 1 for a revisit), as in wit.schema.BODIES."""

_ANSWERS = WarcRecordType.response | WarcRecordType.revisit


def _target(record: Any) -> str:
    """Return the URL of a record; wget writes it in angle brackets."""
    return urldefrag((record.headers.get("WARC-Target-URI") or "").strip("<>")).url


def _is_success(record: Any) -> bool:
    return record.is_http and record.http_headers is not None and 200 <= (record.http_headers.status_code or 0) < 300


def index(url: str) -> Iterator[Entry]:
    """Yield where an archive holds answers of success, in its order.

    An archive that breaks off is indexed up to there. Raises InputError for a file that is no WARC at all.
    """
    num_records = 0
    with open_input(url) as file:
        try:
            for record in ArchiveIterator(file, record_types=WarcRecordType.any_type, parse_http=False):
                num_records += 1
                if record.record_type & _ANSWERS:
                    record.parse_http()
                    if _is_success(record):
                        digest = record.headers.get("WARC-Payload-Digest") or ""
                        yield (
                            _target(record),
                            record.stream_pos,
                            digest,
                            int(record.record_type == WarcRecordType.revisit),
                        )
        except OSError as error:
            if not num_records:
                raise InputError(f"{url}: expected a WARC archive, found something else ({error})") from error


class ArchiveReader:
    """Reads bodies by place; keeps the last archive open, so ask in the order of (archive, offset)."""

    def __init__(self, max_bytes: int, agent: str, *, obey_headers: bool) -> None:
        self._max_bytes = max_bytes
        self._agent = agent
        self._obey_headers = obey_headers
        self._name = ""
        self._file: IO[bytes] | None = None

    def close(self) -> None:
        """Close the archive that is open."""
        if self._file is not None:
            self._file.close()

    def read(self, archive: str, offset: int) -> Body:
        """Return the body of the record at an offset, its transfer and content encodings undone; raises Refused."""
        if self._file is None or archive != self._name:
            self.close()
            self._name, self._file = archive, open_input(archive)
        try:
            return self._read_record(self._file, offset, "all")
        except OSError:
            pass  # some crawlers keep the encoding's header and undo the encoding; then the body is as it stands
        try:
            return self._read_record(self._file, offset, "none")
        except OSError as error:
            raise Refused(TRUNCATED_BODY, "the archive breaks off in its record") from error

    def _read_record(self, file: IO[bytes], offset: int, decode: Literal["all", "none"]) -> Body:
        file.seek(offset)
        record = next(iter(ArchiveIterator(file, parse_http=True, auto_decode=decode)), None)
        if record is None or not _is_success(record):
            raise Refused(NOT_IN_ARCHIVE, "no record at its offset: the archive is not compressed record by record")
        forbidden = opted_out(record.http_headers.astuples(), self._agent) if self._obey_headers else None
        if forbidden:
            raise Refused(OPTED_OUT, forbidden)
        data = record.reader.read(self._max_bytes + 1)
        if len(data) > self._max_bytes:
            raise Refused(TOO_LARGE, f"more than {self._max_bytes} bytes")
        return Body(bytes(data), _target(record))
