"""What goes over the wire: a URL as it is asked for, a body as it is read, a failure as a reason."""

from __future__ import annotations

import errno
import os
import ssl
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import aiohttp
from yarl import URL

from pipelines.fetching.outcome import CONNECTION_ERROR, TOO_LARGE, TRUNCATED_BODY, UNSUPPORTED_URL, Refused
from wit.errors import UserError

_CHUNK_BYTES = 65_536
_SAFE = "/%:@!$&'()*+,;=~-._[]|"
_WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}  # zlib's wbits; 16 more than 15: with gzip's header
_TOO_MANY_FILES = (
    "fetch: no more files can be opened by this process; lower fetch.concurrency, or raise the limit (ulimit -n)"
)


@dataclass
class Progress:
    """How far one URL has come, by which a failure is judged."""

    expires: float
    """When its time is up, on the event loop's clock, in seconds."""
    has_answered: bool = False
    """Whether anything was heard, from the first host or from one it redirected to."""
    is_in_body: bool = False
    """Whether the request that runs has had its status and headers."""

    def hear(self) -> None:
        """Note that status and headers have come."""
        self.has_answered = self.is_in_body = True


def request_url(url: str) -> URL:
    """Return a URL as it goes on the wire: non-ASCII and spaces encoded, what is encoded already left alone.

    Raises Refused(unsupported_url) for other schemes than http and https, no host, a bad port, or credentials.
    """
    try:
        parts = urlsplit(url.strip())
        scheme, host, port = parts.scheme.lower(), parts.hostname, parts.port
        if scheme not in ("http", "https"):
            raise Refused(UNSUPPORTED_URL, f"scheme {scheme[:20]!r}")
        if not host or parts.username is not None:
            raise Refused(UNSUPPORTED_URL, "credentials in the URL" if host else "no host")
        name = host if host.isascii() else host.encode("idna").decode()
        netloc = (f"[{name}]" if ":" in name else name) + (f":{port}" if port else "")
        path = quote(parts.path or "/", safe=_SAFE)
        query = "?" + quote(parts.query, safe=_SAFE + "?") if parts.query else ""
        return URL(f"{scheme}://{netloc}{path}{query}", encoded=True)
    except ValueError as error:  # UnicodeError, which IDNA raises, is one
        raise Refused(UNSUPPORTED_URL, "not a valid URL") from error


async def read_body(response: aiohttp.ClientResponse, max_bytes: int, *, is_cut: bool = False) -> bytes:
    """Return a response's body, decompressed; beyond `max_bytes`, stated or received, it is cut or Refused(too_large).

    Compression was not asked for, but some servers send it; it is undone chunk by chunk, so that a bomb stops at the
    cap as well. An encoding other than gzip and deflate is left as it is.
    """
    if (response.content_length or 0) > max_bytes and not is_cut:
        raise Refused(TOO_LARGE, f"Content-Length {response.content_length}, limit {max_bytes}")
    window_bits = _WINDOW_BITS.get(response.headers.get("Content-Encoding", "").strip().lower())
    inflate = zlib.decompressobj(window_bits) if window_bits else None
    data = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        data += inflate.decompress(chunk, max_bytes + 1 - len(data)) if inflate else chunk
        if len(data) > max_bytes and is_cut:
            return bytes(data[:max_bytes])
        if len(data) > max_bytes:
            raise Refused(TOO_LARGE, f"more than {max_bytes} bytes")
    if inflate and not inflate.eof:
        raise Refused(TRUNCATED_BODY, "its compression breaks off", is_passing=True)
    return bytes(data)


@contextmanager
def refusals(progress: Progress) -> Iterator[None]:
    """Turn what the HTTP library raises into Refused; details name the kind of failure, never a port or a time."""
    progress.is_in_body = False
    try:
        yield
    except Refused as refusal:  # by the resolver: when a redirect leads to a dead host, the first is not dead
        refusal.is_unreached = refusal.is_unreached and not progress.has_answered
        raise
    except (aiohttp.ClientSSLError, ssl.SSLError) as error:
        detail = "TLS: certificate or handshake refused"
        raise Refused(CONNECTION_ERROR, detail, is_unreached=not progress.has_answered) from error
    except aiohttp.InvalidURL as error:
        raise Refused(UNSUPPORTED_URL, "not a valid URL") from error
    except zlib.error as error:
        raise Refused(TRUNCATED_BODY, "its compression is broken", is_passing=True) from error
    except (aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: a header that cannot be sent or parsed
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            raise UserError(_TOO_MANY_FILES) from error
        if progress.is_in_body:
            raise Refused(TRUNCATED_BODY, "the connection ended before the body", is_passing=True) from error
        is_unreached = not progress.has_answered
        raise Refused(CONNECTION_ERROR, _kind(error), is_passing=True, is_unreached=is_unreached) from error


def _kind(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return "closed without an answer" if isinstance(error, aiohttp.ServerDisconnectedError) else "not an HTTP response"
