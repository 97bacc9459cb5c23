"""Bytes of remote files over networks that fail: again and again, on from where they broke off, but not for ever.

HTTP is spoken here, as what goes wrong shows in its answers; other URLs (s3 and so on) go through fsspec.
"""

from __future__ import annotations

import http.client
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Event, Lock
from typing import NamedTuple

from wit.errors import InputError
from wit.storage import input_error, is_of_a_store, locate

_PIECE_BYTES = 1 << 18  # of an HTTP answer
_REQUEST_BYTES = 1 << 23  # of a request through fsspec, between two looks at the clock
_GONE, _REFUSED, _CHANGED = (404, 410), (401, 403, 407, 451), (412, 416)
_AGAIN = (408, 425, 429, 500, 502, 503, 504)
_NUMBER = re.compile(r"[0-9]{1,18}$")


@dataclass(frozen=True)
class Patience:
    """How long a range is tried for."""

    stall_s: float = 30.0
    """Without a byte, after which a connection is given up."""
    attempts: int = 10
    """In a row that bring no byte: with pauses of 0.5, 1, 2, ... 30 s about two minutes, and what they take."""
    first_attempts: int = 4
    """Of these, at a server that has never answered: it may be a wrong name, which is told after some seconds."""
    deadline_s: float = 900.0
    """For a whole range: 40 MB at 45 kB/s."""
    pause_s: float = 0.5
    max_pause_s: float = 30.0


PATIENCE = Patience()


class _Broken(Exception):
    """The connection broke, or the server asked to wait: worth another attempt."""

    def __init__(self, why: str, pause_s: float = 0.0) -> None:
        super().__init__(why)
        self.pause_s = pause_s


_answered = set[str]()
"""Servers, as URLs begin with them, that answered this process."""


def _server(url: str) -> str:
    return "/".join(url.split("/", 3)[:3])


class _Version(NamedTuple):
    num_bytes: int
    tag: str


class Fetcher:
    """Fetches ranges of remote files. Safe in threads."""

    def __init__(self, patience: Patience = PATIENCE) -> None:
        self.patience = patience
        self._versions: dict[str, _Version] = {}
        self._lock = Lock()
        self._closed = Event()

    def close(self) -> None:
        """Give up what is under way: it raises InputError at its next byte, or when its connection has stalled."""
        self._closed.set()

    def read(self, url: str, offset: int, length: int) -> bytes:
        """Return `length` bytes of a remote file from `offset`; raises as `copy`."""
        found = bytearray()
        self._fetch(url, offset, offset + length, found.extend)
        return bytes(found)

    def read_whole(self, url: str) -> bytes:
        """Return a remote file; raises as `copy`. Of one that broke off no part is kept: it is small."""
        found = list[bytes]()

        def pieces() -> Iterator[bytes]:
            found.clear()
            return _http_pieces(_Request(url), self.patience.stall_s) if _is_http(url) else _other_file(url)

        self._try(url, "a file", pieces, found.append)
        return b"".join(found)

    def copy(self, url: str, start: int, stop: int, descriptor: int) -> None:
        """Write bytes `start` to `stop` of a remote file to the beginning of a local one.

        A connection that breaks or stalls is made anew, from the byte that is missing; answers that ask for patience
        (429, 5xx) are waited out. Raises InputError when the file is not there, not to be read, shorter or of another
        version than before, when the server sends no parts of files, and when the patience ends.
        """
        at = 0

        def write(data: bytes) -> None:
            nonlocal at
            while data:
                written = os.pwrite(descriptor, data, at)
                at, data = at + written, data[written:]

        self._fetch(url, start, stop, write)

    def _fetch(self, url: str, start: int, stop: int, write: Callable[[bytes], object]) -> None:
        position = start

        def pieces() -> Iterator[bytes]:
            if not _is_http(url):
                return _other_pieces(url, position, stop)
            return _http_pieces(_Request(url, position, stop, self._require_same), self.patience.stall_s)

        def advance(data: bytes) -> None:
            nonlocal position
            write(data)
            position += len(data)

        if start < stop:
            self._try(url, f"bytes {start} to {stop}", pieces, advance)

    def _try(self, url: str, wanted: str, pieces: Callable[[], Iterator[bytes]], take: Callable[[bytes], None]) -> None:
        """Take pieces until they end by themselves; begin anew when they break off, with patience."""
        deadline, failures, num_bytes = time.monotonic() + self.patience.deadline_s, 0, 0
        while True:
            try:
                for data in pieces():
                    take(data)
                    num_bytes, failures = num_bytes + len(data), 0
                    if time.monotonic() > deadline or self._closed.is_set():
                        raise _Broken(f"only {num_bytes} bytes came")
                return
            except _Broken as broken:
                failures += 1
                late = time.monotonic() > deadline or self._closed.is_set()
                most = self.patience.attempts if _server(url) in _answered else self.patience.first_attempts
                if late or failures >= most:
                    raise InputError(
                        f"{url}: expected {wanted}, found no way to them within {failures} attempts in a row and "
                        f"{self.patience.deadline_s:.0f} s ({broken}); go on when the server answers"
                    ) from broken
                pause = max(broken.pause_s, self.patience.pause_s * 2 ** (failures - 1))
                self._closed.wait(max(0.0, min(pause, self.patience.max_pause_s, deadline - time.monotonic())))

    def _require_same(self, url: str, found: _Version) -> None:
        """Raise InputError when a file is not that of the first answer."""
        with self._lock:
            known = self._versions.setdefault(url, found)
        if found != known:
            raise InputError(
                f"{url}: expected the file of before ({known.num_bytes} bytes, {known.tag or 'no ETag'}), found "
                f"another ({found.num_bytes} bytes, {found.tag or 'no ETag'}); shards may not change in training"
            )


def _is_http(url: str) -> bool:
    return url.startswith(("http://", "https://"))


def _any_version(url: str, found: _Version) -> None:
    """Take a file as it comes."""


class _Request(NamedTuple):
    """A range of a file, or (without `stop`) the whole of it."""

    url: str
    position: int = 0
    stop: int | None = None
    check: Callable[[str, _Version], None] = _any_version

    def headers(self) -> dict[str, str]:
        ranges = {} if self.stop is None else {"Range": f"bytes={self.position}-{self.stop - 1}"}
        return {**ranges, "Accept-Encoding": "identity", "User-Agent": "wit"}

    def num_bytes(self, answer: http.client.HTTPResponse) -> int | None:
        """Return how many bytes will come; None: those that come are all."""
        if self.stop is None:
            return answer.length
        version = _version(self.url, self.position, answer)
        self.check(self.url, version)
        if 0 <= version.num_bytes < self.stop:
            raise _too_short(self.url, self.stop, version.num_bytes)
        return self.stop - self.position


def _http_pieces(request: _Request, stall_s: float) -> Iterator[bytes]:
    url = request.url
    try:
        quoted = urllib.parse.quote(url, safe="%/:=&?~#+!$,;'@()*[]")
        with urllib.request.urlopen(
            urllib.request.Request(quoted, headers=request.headers()), timeout=stall_s
        ) as answer:
            _answered.add(_server(url))
            left = request.num_bytes(answer)
            while left is None or left > 0:
                data = answer.read1(_PIECE_BYTES if left is None else min(_PIECE_BYTES, left))
                if not data and left is not None:
                    raise _Broken(f"the connection ended {left} bytes too early")
                if not data:
                    return
                left = None if left is None else left - len(data)
                yield data
    except urllib.error.HTTPError as error:
        _answered.add(_server(url))
        with error:  # it holds the connection
            raise _http_error(url, request.stop, error) from error
    except (http.client.InvalidURL, ValueError) as error:
        raise InputError(f"{url}: expected a URL, found something else: {error}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _Broken(str(error) or type(error).__name__) from error


def _http_error(url: str, stop: int | None, error: urllib.error.HTTPError) -> Exception:
    if error.code in _AGAIN:
        after = error.headers.get("Retry-After", "")
        return _Broken(f"HTTP {error.code}", float(after) if _NUMBER.match(after) else 0.0)
    if error.code in _GONE:
        return InputError(f"{url}: expected a file here, found nothing (HTTP {error.code})")
    if error.code in _REFUSED:
        return InputError(f"{url}: cannot be read: HTTP {error.code}, the server refuses; check the right to read it")
    if error.code in _CHANGED:
        return _too_short(url, stop, "fewer")
    return InputError(f"{url}: cannot be read: HTTP {error.code}")


def _too_short(url: str, stop: int | None, found: object) -> InputError:
    return InputError(f"{url}: expected at least {stop} bytes, found {found}; check that the file is whole")


def _version(url: str, position: int, answer: http.client.HTTPResponse) -> _Version:
    """Return of which file an answer brings bytes; raises InputError when it does not bring a part of it."""
    if answer.status != 206:
        raise InputError(f"{url}: the server sends no parts of files; fetch the shards and name the copies")
    unit, _, rest = answer.headers.get("Content-Range", "").partition(" ")
    span, _, total = rest.partition("/")
    if unit != "bytes" or span.partition("-")[0] != str(position):
        raise _Broken(f"bytes from {position} were asked for, {rest or 'others'} came")
    tag = answer.headers.get("ETag", "")
    return _Version(int(total) if _NUMBER.match(total) else -1, "" if tag.startswith("W/") else tag)


def _other_pieces(url: str, position: int, stop: int) -> Iterator[bytes]:
    while position < stop:
        data = _from_store(url, start=position, end=min(position + _REQUEST_BYTES, stop))
        if not data:
            raise _too_short(url, stop, position)
        position += len(data)
        yield data


def _other_file(url: str) -> Iterator[bytes]:
    yield _from_store(url)


def _from_store(url: str, **span: int) -> bytes:
    fs, path = locate(url)
    try:
        data = bytes(fs.cat_file(path, **span))
    except (FileNotFoundError, PermissionError) as error:
        raise input_error(url, error) from error
    except Exception as error:
        if not isinstance(error, OSError) and not is_of_a_store(error):
            raise
        raise _Broken(str(error) or type(error).__name__) from error
    _answered.add(_server(url))
    return data
