"""Bodies out of WARC archives: an index of what lies where, and single records read by their offsets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any
from urllib.parse import urldefrag

from fastwarc.warc import ArchiveIterator, WarcRecordType

from pipelines.fetching.optout import opted_out
from pipelines.fetching.outcome import NOT_IN_ARCHIVE, OPTED_OUT, TOO_LARGE, TRUNCATED_BODY, Body, Refused
from pipelines.sources.archive import read_body, records
from pipelines.sources.payload import decode_payload
from pipelines.sources.source import Fault
from wit.errors import InputError
from wit.storage import open_input

Entry = tuple[str, int, str, int]
"""(url, offset of the record, payload digest, 1 for a revisit), as in wit.schema.BODIES."""

_ANSWERS = (WarcRecordType.response, WarcRecordType.revisit)


def _target(record: Any) -> str:
    """Return the URL of a record; wget writes it in angle brackets."""
    return urldefrag((record.headers.get("WARC-Target-URI") or "").strip("<> ")).url


def _is_success(record: Any) -> bool:
    """Return whether a record is an HTTP answer of success; parses its HTTP header."""
    if not record.is_http:
        return False
    try:
        record.parse_http()
    except OSError:
        return False
    return 200 <= (record.http_headers.status_code or 0) < 300


def index(url: str) -> Iterator[Entry]:
    """Yield where an archive holds answers of success, in its order; one that breaks off is indexed up to there.

    Raises InputError for an archive compressed as a whole, whose records cannot be read one by one.
    """
    last = -1
    for record in records(url):
        if isinstance(record, Fault):  # extract has a reject for it; here its body is simply not there
            continue
        if record.stream_pos <= last:
            raise InputError(
                f"{url}: expected a WARC compressed record by record, found one compressed as a whole; decompress it, "
                "or recompress it by records (warcio recompress)"
            )
        last = record.stream_pos
        if record.record_type in _ANSWERS and _is_success(record):
            is_revisit = record.record_type == WarcRecordType.revisit
            yield _target(record), record.stream_pos, record.headers.get("WARC-Payload-Digest") or "", int(is_revisit)


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
        self._file.seek(offset)
        try:
            record = next(iter(ArchiveIterator(self._file, parse_http=False)), None)
            if record is None or not _is_success(record):
                raise Refused(NOT_IN_ARCHIVE, "no answer of success at its offset")
            return Body(self._payload(record), _target(record))
        except OSError as error:
            raise Refused(TRUNCATED_BODY, "the archive is damaged in its record") from error

    def _payload(self, record: Any) -> bytes:
        http, limit = record.http_headers, self._max_bytes
        forbidden = opted_out(http.astuples(), self._agent) if self._obey_headers else None
        if forbidden:
            raise Refused(OPTED_OUT, forbidden)
        body = read_body(record, limit + 1)
        if body is None:
            raise Refused(TRUNCATED_BODY, "the archive ends in its record")
        if len(body) <= limit:
            body = decode_payload(body, http.get("Transfer-Encoding"), http.get("Content-Encoding"), limit + 1)
        if len(body) > limit:
            raise Refused(TOO_LARGE, f"more than {limit} bytes")
        return bytes(body)
