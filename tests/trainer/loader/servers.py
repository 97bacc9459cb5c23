"""An HTTP server on this machine that serves a folder, and misbehaves as told."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from urllib.parse import unquote

Fault = Callable[["Answer"], None]


class Answer:
    """What a server is about to answer; a fault changes it."""

    def __init__(self, number: int, path: str, body: bytes, total: int, start: int) -> None:
        self.number, self.path, self.body = number, path, body
        """How many requests for ranges came before, of which file, and the bytes asked for."""
        self.status, self.headers = (
            206,
            {"ETag": '"1"', "Content-Range": f"bytes {start}-{start + len(body) - 1}/{total}"},
        )
        self.sent = len(body)
        """Bytes after which the connection is cut."""
        self.pause_s = 0.0
        """Between pieces of 1,000 bytes."""

    def refuse(self, status: int, **headers: str) -> None:
        """Answer with another status and no bytes."""
        self.status, self.headers, self.body, self.sent = status, headers, b"", 0


class Served:
    """The server's URL, and the ranges that were asked for: (path, first byte, behind the last)."""

    def __init__(self, folder: Path, fault: Fault) -> None:
        self.folder, self.fault = folder, fault
        self.url, self.ranges, self.lock = "", list[tuple[str, int, int]](), Lock()


@contextmanager
def serving(folder: Path, fault: Fault = lambda answer: None) -> Iterator[Served]:
    """Serve a folder for a while."""
    served = Served(folder, fault)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"served": served}))
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Served

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._begin()

    def do_GET(self) -> None:
        whole = self._begin(only_head=False)
        if whole is not None:
            self.wfile.write(whole)

    def _begin(self, only_head: bool = True) -> bytes | None:
        """Answer a request for a whole file but for its bytes; one for a range wholly."""
        path = self.served.folder / unquote(self.path).lstrip("/")
        if not path.is_file():
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        whole = path.read_bytes()
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if asked and not only_head:
            self._send_range(whole, int(asked[1]), int(asked[2]) + 1)
            return None
        self.send_response(200)
        self.send_header("Content-Length", str(len(whole)))
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        return whole

    def _send_range(self, whole: bytes, start: int, stop: int) -> None:
        with self.served.lock:
            number = len(self.served.ranges)
            self.served.ranges.append((self.path.lstrip("/"), start, stop))
        answer = Answer(number, self.path.lstrip("/"), whole[start:stop], len(whole), start)
        self.served.fault(answer)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        step = 1_000 if answer.pause_s else max(answer.sent, 1)
        for at in range(0, answer.sent, step):
            self.wfile.write(answer.body[at : min(at + step, answer.sent)])
            time.sleep(answer.pause_s)
        if answer.sent < len(answer.body):
            self.close_connection = True
