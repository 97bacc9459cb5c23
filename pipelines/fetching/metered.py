"""Connections whose bytes are counted as they come, before anything parses them.

aiohttp bounds lines and headers, but not how many interim answers (1xx) may come before the answer, nor what may stand
around the chunks of a body: a server that sends those for ever would have our processor for the whole deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

from pipelines.fetching.outcome import TOO_LARGE, Refused

_MAX_HEAD_BYTES = 1 << 20  # and of what comes with it: one read may bring the head and 256 KiB of the body
_CHUNKING_BYTES = 1 << 20


class MeteredProtocol(ResponseHandler):
    """Ends an answer with Refused(too_large) beyond what a body of `max_bytes` can need; calls `hear` for any bytes."""

    def __init__(self, loop: asyncio.AbstractEventLoop, hear: Callable[[], None], max_bytes: int) -> None:
        super().__init__(loop)
        self._hear = hear
        self._max_bytes = 2 * max_bytes + _CHUNKING_BYTES
        self._num_bytes = 0

    def set_response_params(self, **params: Any) -> None:
        """Begin to count: a request is about to be sent."""
        self._num_bytes = 0
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        """Count what has come and pass it on, up to the limit."""
        self._hear()
        self._num_bytes += len(data)
        body = self._payload
        limit = _MAX_HEAD_BYTES if body is None or body.is_eof() else self._max_bytes
        if self._num_bytes <= limit:
            super().data_received(data)
            return
        refusal = Refused(TOO_LARGE, f"more than {limit} bytes sent")
        if body is not None and not body.is_eof():
            body.set_exception(refusal)
            self._payload = None  # or the end of the connection would be its error in place of this one
        self.set_exception(refusal)
        if self.transport is not None:
            self.transport.abort()


def meter(connector: aiohttp.TCPConnector, hear: Callable[[], None], max_bytes: int) -> None:
    """Have a connector, from within its event loop, make connections that are counted."""
    loop = asyncio.get_running_loop()

    def protocol() -> ResponseHandler:
        return MeteredProtocol(loop, hear, max_bytes)

    connector._factory = partial(protocol)
