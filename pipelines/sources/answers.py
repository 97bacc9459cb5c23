"""HTTP answers as archives hold them: status, fields, body; how to undo the encodings of a body is in payload."""

from __future__ import annotations

import re
from typing import NamedTuple

_STATUS = re.compile(rb"\s{0,8}HTTP/\d(?:\.\d)?[ \t]+(\d{3})(?!\d)[^\n]*(?:\n|$)", re.IGNORECASE)
_BLANK_LINE = re.compile(rb"\r{0,2}\n\r{0,2}\n")
_LINE_END = re.compile(rb"\r{0,2}\n(?![ \t])")  # a line that begins with a blank goes on with the one before
_CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([^\s\"';,]{1,40})", re.IGNORECASE)
MAX_HEAD_BYTES = 1 << 16


class Answer(NamedTuple):
    """An HTTP answer."""

    status: int
    fields: tuple[tuple[str, str], ...]
    """(name, value) in order; bytes that are not ASCII are read as ISO 8859-1."""
    body: bytes

    def get(self, name: str) -> str:
        """Return the first field of a name, in any case; empty when there is none."""
        return next((value for field, value in self.fields if field.lower() == name), "")

    @property
    def media_type(self) -> str:
        """The type of the body in lower case, without parameters."""
        return self.get("content-type").partition(";")[0].strip().lower()

    @property
    def charset(self) -> str | None:
        """What the answer says that its text is encoded in."""
        found = _CHARSET.search(self.get("content-type"))
        return found.group(1) if found else None


def parse_answer(block: bytes) -> Answer | None:
    """Return the HTTP answer that the block of a record is; None when it begins with no HTTP status line."""
    status = _STATUS.match(block, 0, MAX_HEAD_BYTES)
    if status is None:
        return None
    start = block.rfind(b"\n", 0, status.end())  # the line end may be the first half of the blank line
    end = _BLANK_LINE.search(block, max(start - 2, 0), MAX_HEAD_BYTES)
    head = block[status.end() : end.start()] if end and end.start() > status.end() else b""
    if end is None:
        head = block[status.end() : MAX_HEAD_BYTES]
    return Answer(int(status.group(1)), _fields(head), block[end.end() :] if end else b"")


def _fields(head: bytes) -> tuple[tuple[str, str], ...]:
    lines = _LINE_END.split(head)
    pairs = (line.decode("iso-8859-1").partition(":") for line in lines)
    return tuple((name.strip(), " ".join(value.split())) for name, colon, value in pairs if colon)
