"""Bytes of remote files over networks that fail: again and again, on from where they broke off, but not for ever.

HTTP is spoken here, as what goes wrong shows in its answers; other URLs (s3 and so on) go through fsspec.
"""

from __future__ import annotations

import http.client
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Event, Lock
from typing import NamedTuple

from wit.errors import InputError
from wit.storage import input_error, locate, network_trouble

_HTTP = ("http://", "https://")
_PIECE_BYTES = 1 << 18  # of an HTTP answer
_REQUEST_BYTES = 1 << 23  # of a request through fsspec, between two looks at the clock
_GONE, _REFUSED, _CHANGED = (404, 410), (401, 403, 407, 451), (412, 416)
_AGAIN = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Patience:
    """How long a range is tried for."""

    stall_s: float = 30.0
    """Without a byte, after which a connection is given up."""
    attempts: int = 10
    """In a row that bring no byte: with pauses of 0.5, 1, 2, ... 30 s about two minutes, and what they take."""
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
        deadline, failures, position = time.monotonic() + self.patience.deadline_s, 0, start
        while position < stop:
            try:
                for data in self._pieces(url, position, stop):
                    write(data)
                    position, failures = position + len(data), 0
                    if position < stop and (time.monotonic() > deadline or self._closed.is_set()):
                        raise _Broken(f"only {position - start} of {stop - start} bytes came")
            except _Broken as broken:
                failures += 1
                late = time.monotonic() > deadline or self._closed.is_set()
                if late or failures >= self.patience.attempts:
                    raise InputError(
                        f"{url}: expected bytes {start} to {stop}, found no way to them within {failures} attempts in "
                        f"a row and {self.patience.deadline_s:.0f} s ({broken}); go on when the server answers"
                    ) from broken
                pause = max(broken.pause_s, self.patience.pause_s * 2 ** (failures - 1))
                self._closed.wait(max(0.0, min(pause, self.patience.max_pause_s, deadline - time.monotonic())))

    def _pieces(self, url: str, position: int, stop: int) -> Iterator[bytes]:
        if not url.startswith(_HTTP):
            return _other_pieces(url, position, stop)
        return _http_pieces(url, position, stop, self.patience.stall_s, self._require_same)

    def _require_same(self, url: str, found: _Version) -> None:
        """Raise InputError when a file is not that of the first answer."""
        with self._lock:
            known = self._versions.setdefault(url, found)
        if found != known:
            raise InputError(
                f"{url}: expected the file of before ({known.num_bytes} bytes, {known.tag or 'no ETag'}), found "
                f"another ({found.num_bytes} bytes, {found.tag or 'no ETag'}); shards may not change in training"
            )


def _http_pieces(
    url: str, position: int, stop: int, stall_s: float, check: Callable[[str, _Version], None]
) -> Iterator[bytes]:
    request = urllib.request.Request(
        urllib.parse.quote(url, safe="%/:=&?~#+!$,;'@()*[]"),
        headers={"Range": f"bytes={position}-{stop - 1}", "Accept-Encoding": "identity", "User-Agent": "wit"},
    )
    try:
        with urllib.request.urlopen(request, timeout=stall_s) as answer:
            version = _version(url, position, answer)
            check(url, version)
            if 0 <= version.num_bytes < stop:
                raise _too_short(url, stop, version.num_bytes)
            while position < stop:
                data = answer.read1(min(_PIECE_BYTES, stop - position))
                if not data:
                    raise _Broken(f"the connection ended at byte {position}")
                position += len(data)
                yield data
    except urllib.error.HTTPError as error:
        raise _http_error(url, stop, error) from error
    except (OSError, http.client.HTTPException) as error:
        raise _Broken(str(error) or type(error).__name__) from error
    except ValueError as error:
        raise InputError(f"{url}: expected a URL, found something else: {error}") from error


def _http_error(url: str, stop: int, error: urllib.error.HTTPError) -> Exception:
    if error.code in _AGAIN:
        after = error.headers.get("Retry-After", "")
        return _Broken(f"HTTP {error.code}", float(after) if after.isdigit() else 0.0)
    if error.code in _GONE:
        return InputError(f"{url}: expected a file here, found nothing (HTTP {error.code})")
    if error.code in _REFUSED:
        return InputError(f"{url}: cannot be read: HTTP {error.code}, the server refuses; check the right to read it")
    if error.code in _CHANGED:
        return _too_short(url, stop, "fewer")
    return InputError(f"{url}: cannot be read: HTTP {error.code}")


def _too_short(url: str, stop: int, found: object) -> InputError:
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
    return _Version(int(total) if total.isdigit() else -1, "" if tag.startswith("W/") else tag)


def _other_pieces(url: str, position: int, stop: int) -> Iterator[bytes]:
    fs, path = locate(url)
    while position < stop:
        end = min(position + _REQUEST_BYTES, stop)
        try:
            data = bytes(fs.cat_file(path, start=position, end=end))
        except PermissionError as error:
            raise input_error(url, error) from error
        except FileNotFoundError as error:
            if network_trouble(error) is None:
                raise input_error(url, error) from error
            raise _Broken(str(error)) from error
        except OSError as error:
            raise _Broken(str(error) or type(error).__name__) from error
        if not data:
            raise _too_short(url, stop, position)
        position += len(data)
        yield data
