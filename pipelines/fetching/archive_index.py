"""What archives hold: bodies, revisits and redirects of WARC and ARC files, images of WebDataset tars."""

from __future__ import annotations

import io
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import IO, NamedTuple
from urllib.parse import quote

from pipelines.sources.answers import MAX_HEAD_BYTES, Answer, parse_answer
from pipelines.sources.archive import Record, begins_record, read_records
from pipelines.sources.links import MAX_URL_CHARACTERS, resolve
from pipelines.sources.shards import Shards, image_places
from pipelines.sources.source import Fault
from pipelines.sources.warc import Warc
from wit import tar
from wit.errors import InputError
from wit.patterns import expand_files
from wit.storage import base_name, is_remote, reading

MAX_REDIRECTS = 8
"""Most redirects that are followed through archives, each by a step of the run; fewer where the recipe says fewer."""

WARC, TAR = Warc.kind, Shards.kind
PACKED_TARS = (".tar.gz", ".tgz")

_ENDINGS = {
    ".warc": WARC,
    ".warc.gz": WARC,
    ".arc": WARC,
    ".arc.gz": WARC,
    ".tar": TAR,
    **dict.fromkeys(PACKED_TARS, TAR),
}
_KINDS = ("response", "revisit", "resource")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})  # RFC 9110, 15.4: those with a target that is to be asked instead
_NOT_MODIFIED = 304  # a revisit of the profile server-not-modified
_LOOK_BYTES = 1 << 16
_MAX_DIGEST_CHARACTERS = 200  # SHA-512 in hexadecimal, with its name, has 135
_GZIP = b"\x1f\x8b"
_PRINTABLE = bytes(range(0x21, 0x7F)).decode()


class Held(NamedTuple):
    """What an archive holds of a URL: a body, a redirect, or a revisit."""

    url: str
    """Absolute, without fragment, as `extract` writes the same address."""
    offset: int
    """Where the record begins, in bytes; of a tar, the header of the image's member, as unpacked."""
    target: str = ""
    """Where it redirects to; empty: it does not."""
    digest: str = ""
    """Of the payload, in small letters; empty: the archive states none."""
    is_revisit: bool = False
    """Whether the body is that of an earlier record with its digest."""


def archive_files(patterns: Iterable[str]) -> list[tuple[str, str]]:
    """Return (kind, file) of what patterns name, each file once.

    Raises InputError for what is not there, a folder, and a file that is no archive. A remote file is judged by the
    ending of its name where that says what it is: a look at each of a crawl's would take an hour.
    """
    files = dict.fromkeys(url for pattern in patterns for url in expand_files(pattern))
    return [(kind_of(url), url) for url in files]


def kind_of(url: str) -> str:
    """Return what kind of archive a file is, by a look at its beginning; raises InputError when it is none.

    Raises InputError, too, for a WARC compressed as a whole, whose records cannot be read one by one.
    """
    if is_remote(url):
        named = next((kind for ending, kind in _ENDINGS.items() if base_name(url).lower().endswith(ending)), None)
        if named:
            return named
    with reading(url) as file:
        packed = file.read(_LOOK_BYTES)
    head = _beginning(packed) if packed.startswith(_GZIP) else packed
    if not packed or begins_record(head):
        _require_by_records(packed, url)
        return WARC
    if _begins_tar(head):
        return TAR
    if any(isinstance(found, Record) for found in read_records(io.BytesIO(packed), (), 0)):
        return WARC  # its first record is damaged
    raise InputError(f"{url}: expected a WARC, an ARC or a WebDataset tar, found none of them; name archives only")


def _beginning(packed: bytes) -> bytes:
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(packed, _LOOK_BYTES)
    except zlib.error:
        return b""


def _begins_tar(head: bytes) -> bool:
    block = head[: tar.BLOCK]
    if not any(block):
        return len(block) == tar.BLOCK  # a tar without members
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _require_by_records(packed: bytes, url: str) -> None:
    found = islice(read_records(io.BytesIO(packed), (), 0), 2)
    offsets = [record.offset for record in found if isinstance(record, Record)]
    if len(offsets) > len(set(offsets)):
        raise _whole(url)


def _whole(url: str) -> InputError:
    return InputError(
        f"{url}: expected an archive compressed record by record, found one compressed as a whole; decompress "
        "it, or recompress it by records (warcio recompress)"
    )


def index(kind: str, path: str) -> Iterator[Held]:
    """Yield what an archive on this machine holds, in its order; what is damaged is left out.

    Raises InputError when the file cannot be read, or is a WARC compressed as a whole.
    """
    with reading(path) as file:
        yield from _index_tar(file, path) if kind == TAR else _index_records(file, path)


def _index_tar(file: IO[bytes], path: str) -> Iterator[Held]:
    places = ((_address(url, ""), offset) for url, offset in image_places(file, path))
    yield from (Held(url, offset) for url, offset in places if url)


def _address(url: str, base: str) -> str:
    """Return an address made absolute; empty when it is longer than one may be that is asked for."""
    resolved = resolve(url, base)
    return resolved if len(resolved) <= MAX_URL_CHARACTERS else ""


def _index_records(file: IO[bytes], path: str) -> Iterator[Held]:
    last = -1
    for record in read_records(file, _KINDS, MAX_HEAD_BYTES):
        if isinstance(record, Fault):  # extract has a reject for it; here its body is simply not there
            continue
        if record.offset <= last:
            raise _whole(path)
        last = record.offset
        held = _held(record) if record.kind in _KINDS else None
        if held:
            yield held


def _held(record: Record) -> Held | None:
    """Return what a record holds; None: nothing that could be the body of a pair."""
    url, answer = _address(record.url, ""), answer_of(record)
    target = _target(answer, url) if answer else ""
    if not url:
        return None
    if target:
        return Held(url, record.offset, target)
    digest = record.field("WARC-Payload-Digest").lower()
    digest = digest if len(digest) <= _MAX_DIGEST_CHARACTERS else ""
    if record.kind != "revisit":
        return Held(url, record.offset, digest=digest) if answer and is_success(answer) else None
    if answer and not is_success(answer) and answer.status != _NOT_MODIFIED:
        return None
    if digest:
        return Held(url, record.offset, digest=digest, is_revisit=True)
    target = _address(record.field("WARC-Refers-To-Target-URI").strip("<> "), url)
    return Held(url, record.offset, target) if target not in ("", url) else None


def answer_of(record: Record) -> Answer | None:
    """Return the answer that a record holds; a resource is the body of one without fields."""
    if record.kind != "resource":
        return parse_answer(record.body)
    return Answer(200, (), record.body) if record.url.startswith("http") else None


def is_success(answer: Answer) -> bool:
    """Return whether an answer is of the statuses 2xx."""
    return 200 <= answer.status < 300


def _target(answer: Answer, url: str) -> str:
    """Return where an answer redirects to, absolute and in ASCII, as a client asks for it; empty: nowhere."""
    location = answer.get("location") if answer.status in _REDIRECTS else ""
    return _address(quote(location.encode("iso-8859-1"), safe=_PRINTABLE), url) if location else ""
