"""Connections that are counted, and whose bytes are counted before anything parses them.

aiohttp bounds lines and headers, but not how many interim answers (1xx) may come before the answer, nor what may stand
around the chunks of a body: a server that sends those for ever would have our processor for the whole deadline. Nor
does it bound the connections that it keeps for later, so a thousand hosts a second would use up the file handles.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

from pipelines.fetching.outcome import TOO_LARGE, Refused

_MAX_HEAD_BYTES = 1 << 20  # and of what comes with it: one read may bring the head and 256 KiB of the body
_CHUNKING_BYTES = 1 << 20
_HEAD_END = b"\r\n\r\n"


@dataclass
class Meter:
    """Counts what the connections of one client do."""

    hear: Callable[[], None]
    """Called when bytes of any host come."""
    max_bytes: int
    """Of a body."""
    max_kept: int
    """Open connections beyond which one closes when its answer has come, and is not kept for the next."""
    num_open: int = 0

    def attach(self, connector: aiohttp.TCPConnector) -> None:
        """Have a connector make connections that are counted; called within its event loop."""
        loop = asyncio.get_running_loop()

        def protocol() -> ResponseHandler:
            return MeteredProtocol(loop, self)

        connector._factory = partial(protocol)


class MeteredProtocol(ResponseHandler):
    """A connection that ends an answer with Refused(too_large) beyond what the largest body can need."""

    def __init__(self, loop: asyncio.AbstractEventLoop, meter: Meter) -> None:
        super().__init__(loop)
        self._meter = meter
        self._max_bytes = 2 * meter.max_bytes + _CHUNKING_BYTES
        self._num_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count one more."""
        self._meter.num_open += 1
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Count one less."""
        self._meter.num_open -= 1
        super().connection_lost(exc)

    def set_response_params(self, **params: Any) -> None:
        """Begin to count bytes: a request is about to be sent."""
        self._num_bytes = 0
        if self._meter.num_open > self._meter.max_kept:
            self.force_close()
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        """Count what has come and pass it on, up to the limit."""
        self._meter.hear()
        self._num_bytes += len(data)
        body = self._payload
        is_head = body is None or body.is_eof()
        limit = _MAX_HEAD_BYTES if is_head else self._max_bytes
        if self._num_bytes <= limit:
            self._feed(data, is_head)
            return
        refusal = Refused(TOO_LARGE, f"more than {limit} bytes sent")
        if body is not None and not body.is_eof():
            body.set_exception(refusal)
            self._payload = None  # or the end of the connection would be its error in place of this one
        self.set_exception(refusal)
        if self.transport is not None:
            self.transport.abort()

    def _feed(self, data: bytes, is_head: bool) -> None:
        """Have it parsed, the head by itself: what is wrong after it is wrong with the body, in one read or in two."""
        head, end, rest = data.partition(_HEAD_END) if is_head else (b"", b"", data)
        if head:
            super().data_received(head + end)
        if rest and self.exception() is None:
            super().data_received(rest)
        body = self._payload
        if self.exception() is not None and body is not None and not body.is_eof():
            body.set_exception(aiohttp.ClientPayloadError("malformed"))  # or one would wait for it until the deadline
            self._payload = None
