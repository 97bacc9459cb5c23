"""What goes over the wire: a URL as it is asked for, a body as it is read, a failure as a reason."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import lru_cache
from urllib.parse import quote, urlsplit

import aiohttp
from yarl import URL

from pipelines.fetching.content import CODECS, BrokenContent, Decoder
from pipelines.fetching.outcome import (
    CONNECTION_ERROR,
    HTTP_STATUS,
    RATE_LIMITED,
    TIMEOUT,
    TOO_LARGE,
    TRUNCATED_BODY,
    UNSUPPORTED_URL,
    Refused,
)
from wit.errors import UserError

_SAFE = "/%:@!$&'()*+,;=~-._[]|"
# What needs no encoding: scheme, a name in lower case, a port that is not the scheme's own, path, query.
_PLAIN = re.compile(
    r"(https?://[a-z0-9][a-z0-9.-]*[a-z](?::(?!80/|443/)[1-9][0-9]{1,3})?/[A-Za-z0-9/%:@!$&'()*+,;=~._|-]*"
    r"(?:\?[A-Za-z0-9/%:@!$&'()*+,;=~._|?-]+)?)(?:#[!-~]*)?"
)
_HOST = re.compile(r"[!-~]+")
_MAX_HOST = 254  # RFC 1035: 253 characters and a dot; so that IDNA, which takes longer than linear time, is bounded
_DRAINED_BYTES, _DRAIN_S = 65_536, 1.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PASSING = frozenset({429, 502, 503, 504})
_BUSY = frozenset({429, 503})
_TOO_MANY_FILES = (
    "fetch: no more files can be opened by this process; lower fetch.concurrency, or raise the limit (ulimit -n)"
)


@dataclass
class Progress:
    """How far one request has come, by which a failure is judged."""

    has_answered: bool = False
    """Whether anything was heard, from the first host or from one it redirected to."""
    is_in_body: bool = False
    """Whether the request that runs has had its status and headers."""

    def hear(self) -> None:
        """Note that status and headers have come."""
        self.has_answered = self.is_in_body = True


@lru_cache(maxsize=1024)
def request_url(url: str) -> URL:
    """Return a URL as it goes on the wire: non-ASCII and spaces encoded, what is encoded already left alone.

    Raises Refused(unsupported_url) for other schemes than http and https, no host, a bad port, or credentials.
    """
    plain = _PLAIN.fullmatch(url)
    if plain:
        return URL(plain[1], encoded=True)
    try:
        parts = urlsplit(url.strip())
        scheme, host, port = parts.scheme.lower(), parts.hostname, parts.port
        if scheme not in ("http", "https"):
            raise Refused(UNSUPPORTED_URL, f"scheme {scheme[:20]!r}")
        if not host or parts.username is not None:
            raise Refused(UNSUPPORTED_URL, "credentials in the URL" if host else "no host")
        if len(host) > _MAX_HOST:
            raise Refused(UNSUPPORTED_URL, "not a valid URL")
        name = host if host.isascii() else URL.build(scheme=scheme, host=host).raw_host or ""
        if not _HOST.fullmatch(name):
            raise Refused(UNSUPPORTED_URL, "not a valid URL")
        is_usual = port is None or port == (443 if scheme == "https" else 80)
        netloc = (f"[{name}]" if ":" in name else name) + ("" if is_usual else f":{port}")
        path = quote(parts.path or "/", safe=_SAFE)
        query = "?" + quote(parts.query, safe=_SAFE + "?") if parts.query else ""
        return URL(f"{scheme}://{netloc}{path}{query}", encoded=True)
    except ValueError as error:  # UnicodeError, which IDNA raises, is one
        raise Refused(UNSUPPORTED_URL, "not a valid URL") from error


def moved_to(response: aiohttp.ClientResponse) -> str | None:
    """Return where a redirect leads, as its header has it; None for other answers, and for one that does not say."""
    return response.headers.get("Location") or None if response.status in _REDIRECTS else None


def require_success(response: aiohttp.ClientResponse) -> None:
    """Raise Refused(http_status, rate_limited) for a status other than 2xx, with the wait that it asks for.

    Of 429 and 503 the status itself asks for one, however long.
    """
    if 200 <= response.status < 300:
        return
    wait_s = retry_after_s(response.headers)
    raise Refused(
        RATE_LIMITED if response.status == 429 else HTTP_STATUS,
        f"HTTP {response.status}",
        is_passing=response.status in _PASSING,
        wait_s=0.0 if wait_s is None and response.status in _BUSY else wait_s,
    )


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return what Retry-After says, in seconds from now, or None (RFC 9110, 10.2.3).

    A date is compared with the answer's own Date, which may be as wrong; without one, with the clock.
    """
    value = headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value[:12])
    until = _timestamp(value)
    if until is None:
        return None
    now = _timestamp(headers.get("Date", ""))
    return max(until - (time.time() if now is None else now), 0.0)


def _timestamp(date: str) -> float | None:
    """Return the seconds since 1970 of an HTTP date, or None for what is none."""
    try:
        return parsedate_to_datetime(date).timestamp() if date else None
    except (ValueError, OverflowError):
        return None


async def read_body(response: aiohttp.ClientResponse, max_bytes: int, *, is_cut: bool = False) -> bytes:
    """Return a response's body, decompressed; beyond `max_bytes`, stated or received, it is cut or Refused(too_large).

    Compression was not asked for, but some servers send it; it is undone chunk by chunk, so that a bomb stops at the
    cap as well. An encoding that is not known is left as it is.
    """
    stated = response.content_length or 0
    if stated > max_bytes and not is_cut:
        raise Refused(TOO_LARGE, f"Content-Length {stated}, limit {max_bytes}")
    codec = CODECS.get(response.headers.get("Content-Encoding", "").strip().lower())
    decoder = Decoder(codec, max_bytes) if codec else None
    stream = response.content
    data = bytearray()
    num_received = 0
    while chunk := await stream.readany():
        num_received += len(chunk)
        if decoder is None and num_received == stated:
            return bytes(data + chunk) if data else chunk  # the usual body: whole, in one or a few pieces
        data += chunk if decoder is None else decoder.decode(chunk)
        if max(len(data), num_received) > max_bytes:
            if is_cut:
                return bytes(data[:max_bytes])
            raise Refused(TOO_LARGE, f"more than {max_bytes} bytes")
    if decoder and not decoder.is_whole:
        raise Refused(TRUNCATED_BODY, "its compression breaks off", is_passing=True)
    return bytes(data)


async def drain(response: aiohttp.ClientResponse) -> None:
    """Read a body that nobody wants, if it is small and quick, so that its connection can serve again."""
    if (response.content_length or 0) > _DRAINED_BYTES:
        return
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(_DRAIN_S):
            left = _DRAINED_BYTES
            while left > 0 and (chunk := await response.content.readany()):
                left -= len(chunk)


@contextmanager
def refusals(progress: Progress) -> Iterator[None]:
    """Turn what the HTTP library raises into Refused; details name the kind of failure, never a port or a time."""
    progress.is_in_body = False
    try:
        yield
    except Refused as refusal:  # by the resolver: when a redirect leads to a dead host, the first is not dead
        refusal.is_unreached = refusal.is_unreached and not progress.has_answered
        raise
    except BrokenContent as error:
        raise Refused(TRUNCATED_BODY, "its compression is broken", is_passing=True) from error
    except (aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: a header that cannot be sent or parsed
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            raise UserError(_TOO_MANY_FILES) from error
        raise _refusal(error, progress) from error


def _refusal(error: Exception, progress: Progress) -> Refused:
    """Return what a failure of the HTTP library is."""
    if isinstance(error, aiohttp.ClientResponseError) and not progress.is_in_body:
        progress.has_answered = True
        return Refused(CONNECTION_ERROR, "not an HTTP response")
    is_unreached = not progress.has_answered
    if isinstance(error, (aiohttp.ClientSSLError, ssl.SSLError)):
        return Refused(CONNECTION_ERROR, "TLS: certificate or handshake refused", is_unreached=is_unreached)
    if isinstance(error, aiohttp.InvalidURL):
        return Refused(UNSUPPORTED_URL, "not a valid URL")
    if progress.is_in_body:
        return Refused(TRUNCATED_BODY, "the connection ended before the body", is_passing=True)
    if isinstance(error, TimeoutError):
        return Refused(TIMEOUT, "no connection in half of the time", is_passing=True, is_unreached=is_unreached)
    return Refused(CONNECTION_ERROR, _kind(error), is_passing=True, is_unreached=is_unreached)


def _kind(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return "closed without an answer" if isinstance(error, aiohttp.ServerDisconnectedError) else "connection failed"
