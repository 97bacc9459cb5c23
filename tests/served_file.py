"""A server on loopback with one file, that fails as it is told to."""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import ClassVar


class _Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    data: bytes
    ranges: bool
    sized: bool
    status: int
    failures: ClassVar[list[int]]

    def do_HEAD(self) -> None:
        self._send(body=False)

    def do_GET(self) -> None:
        self._send(body=True)

    def _send(self, body: bool) -> None:
        if body and self.failures and not self.failures.pop():
            self.close_connection = True
            return
        if self.status != 200:
            self.send_error(self.status)
            return
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        data = self.data
        if asked and self.ranges:
            data = data[int(asked[1]) : int(asked[2]) + 1 if asked[2] else len(data)]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {asked[1]}-{int(asked[1]) + len(data) - 1}/{len(self.data)}")
        else:
            self.send_response(200)
        if self.ranges:
            self.send_header("Accept-Ranges", "bytes")
        if self.sized:
            self.send_header("Content-Length", str(len(data)))
        else:
            self.close_connection = True
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(
    data: bytes, ranges: bool, sized: bool = True, failures: Iterable[int] = (), status: int = 200
) -> Iterator[str]:
    """Serve one file; `failures`: from the last to the first request for content, 0 for one that is not answered."""
    fields = {"data": data, "ranges": ranges, "sized": sized, "failures": list(failures), "status": status}
    handler = type("Handler", (_Handler,), fields)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/a.xml"
        finally:
            server.shutdown()
            thread.join()
