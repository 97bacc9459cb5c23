"""Bodies out of web archives, WARC or ARC: an index of what lies where, and single records read by their offsets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO
from urllib.parse import urldefrag

from pipelines.fetching.optout import opted_out
from pipelines.fetching.outcome import NOT_IN_ARCHIVE, OPTED_OUT, TOO_LARGE, TRUNCATED_BODY, Body, Refused
from pipelines.sources.answers import MAX_HEAD_BYTES, Answer, parse_answer
from pipelines.sources.archive import Record, record_at, records
from pipelines.sources.payload import decode_payload
from pipelines.sources.source import Fault
from wit.errors import InputError
from wit.storage import open_input

Entry = tuple[str, int, str, int]
"""(url, offset of the record, payload digest, 1 for a revisit), as in wit.schema.BODIES."""

_ANSWERS = ("response", "revisit")


def _answer(record: Record) -> Answer | None:
    """Return the answer of success that a record holds."""
    answer = parse_answer(record.body) if record.kind in _ANSWERS else None
    return answer if answer and 200 <= answer.status < 300 else None


def index(url: str) -> Iterator[Entry]:
    """Yield where an archive holds answers of success, in its order; what is damaged is left out.

    Raises InputError for an archive compressed as a whole, whose records cannot be read one by one.
    """
    last = -1
    for record in records(url, _ANSWERS, MAX_HEAD_BYTES):
        if isinstance(record, Fault):  # extract has a reject for it; here its body is simply not there
            continue
        if record.offset <= last:
            raise InputError(
                f"{url}: expected an archive compressed record by record, found one compressed as a whole; decompress "
                "it, or recompress it by records (warcio recompress)"
            )
        last = record.offset
        if _answer(record):
            digest = record.field("WARC-Payload-Digest")
            yield urldefrag(record.url).url, record.offset, digest, int(record.kind == "revisit")


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
            record = record_at(self._file, offset, self._max_bytes + MAX_HEAD_BYTES + 1)
        except OSError as error:
            raise Refused(TRUNCATED_BODY, "the archive cannot be read at its record") from error
        if record is None:
            raise Refused(TRUNCATED_BODY, "the archive is damaged in its record")
        answer = _answer(record)
        if answer is None:
            raise Refused(NOT_IN_ARCHIVE, "no answer of success at its offset")
        return Body(self._payload(answer), urldefrag(record.url).url)

    def _payload(self, answer: Answer) -> bytes:
        limit = self._max_bytes
        forbidden = opted_out(answer.fields, self._agent) if self._obey_headers else None
        if forbidden:
            raise Refused(OPTED_OUT, forbidden)
        encodings = answer.get("transfer-encoding"), answer.get("content-encoding")
        body = answer.body if len(answer.body) > limit else decode_payload(answer.body, *encodings, limit + 1)
        if len(body) > limit:
            raise Refused(TOO_LARGE, f"more than {limit} bytes")
        return body
