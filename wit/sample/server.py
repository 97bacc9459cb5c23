"""The miniature web's server: every host of `DIR/web` on one loopback port, well behaved and not.

Reads `web/responses.parquet` (RESPONSES) and `web/bodies.bin`. A request is answered by its Host header and its path
with query; what is not listed is a 404. It speaks HTTP/1.1 with keep-alive straight over an asyncio protocol, because a
faulty answer (a short body, a reset) is what a web framework exists to prevent, and so that it is faster than its
clients.

What a row's `behaviour` does:

- normal, lying_type: the answer as it is listed;
- slow: the same after 30 s; drip: the same, one byte of the body a second;
- hang: takes the request and never answers; reset: breaks the connection (RST) instead of answering;
- truncated: states twice the length and a byte, or the Content-Length listed, sends the body and closes;
- endless: states no length and repeats the body until 100 MB are sent, then closes.
"""

from __future__ import annotations

import asyncio
import mmap
import multiprocessing
import multiprocessing.connection
import multiprocessing.process
import os
import signal
import socket
import struct
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any

from wit.errors import InputError, UserError
from wit.processes import end_with_parent
from wit.sample.web import RESPONSES, Answer
from wit.schema import conform
from wit.storage import join, local_path, open_input, output_error, read_parquet

HOST = "127.0.0.1"
SLOW_S = 30.0
DRIP_BYTE_S = 1.0
ENDLESS_BYTES = 100_000_000
MAX_HEAD_BYTES = 65_536
_AS_LISTED = ("normal", "lying_type")


def _head(answer: Answer, length: int | None, *, close: bool) -> bytes:
    """Return status line and headers, with the Content-Length listed, else `length`; None states none."""
    lines = [f"HTTP/1.1 {answer.status} {_reason(answer.status)}"]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    if length is not None and all(name.lower() != "content-length" for name, _ in answer.headers):
        lines.append(f"Content-Length: {length}")
    if close:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")


def _reason(status: int) -> str:
    return HTTPStatus(status).phrase if status in HTTPStatus.__members__.values() else "Unknown"


def _plain(status: int) -> Answer:
    return Answer("", status, (("Content-Type", "text/plain"),), "normal", f"{status} {_reason(status)}\n".encode())


class Web:
    """All answers by host and path; the bodies stay on disk, mapped into memory."""

    def __init__(self, folder: str) -> None:
        table = conform(read_parquet(join(folder, "web", "responses.parquet")), RESPONSES).combine_chunks()
        self._rows = {url.partition("://")[2]: row for row, url in enumerate(table["url"].to_pylist())}
        self._columns = {name: table[name].combine_chunks() for name in table.column_names}
        unknown = set(table["behaviour"].unique().to_pylist()) - {*_AS_LISTED, *_BEHAVIOURS}
        if unknown:
            raise InputError(f"{folder}: expected behaviours {[*_AS_LISTED, *_BEHAVIOURS]}, found {sorted(unknown)}")
        path = join(folder, "web", "bodies.bin")
        with open_input(path) as file:
            empty = os.path.getsize(local_path(path)) == 0
            self._bodies: mmap.mmap | bytes = b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        ends = table["offset"].to_numpy() + table["length"].to_numpy()
        if len(ends) and ends.max() > len(self._bodies):
            raise InputError(
                f"{path}: expected at least {ends.max()} bytes, found {len(self._bodies)}; write the sample again"
            )

    def answer(self, host_and_path: str) -> Answer:
        """Return the answer of `host/path?query`."""
        row = self._rows.get(host_and_path)
        if row is None:
            return _plain(404)
        value = {name: column[row].as_py() for name, column in self._columns.items()}
        return Answer(
            value["url"],
            value["status"],
            tuple((header["name"], header["value"]) for header in value["headers"]),
            value["behaviour"],
            self._bodies[value["offset"] : value["offset"] + value["length"]],
        )


@dataclass(frozen=True)
class _Request:
    method: str
    target: str
    """host/path?query."""
    close: bool
    body_bytes: int


def _parse(head: bytes) -> _Request | None:
    """Return the request that a head makes; None when it is not HTTP/1."""
    first, *lines = head.decode("latin-1").split("\r\n")
    match first.split(" "):
        case [method, target, ("HTTP/1.0" | "HTTP/1.1") as version]:
            pass
        case _:
            return None
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if not target.startswith("/"):  # as a proxy is asked: the whole URL
        target = target.partition("://")[2]
        host, slash, path = target.partition("/")
        target = f"{host.lower()}{slash or '/'}{path}"
    else:
        target = headers.get("host", "").lower() + target
    asked = headers.get("connection", "").lower()
    length = headers.get("content-length", "0")
    close = asked == "close" or (version == "HTTP/1.0" and asked != "keep-alive")
    return _Request(method, target.partition("#")[0], close, int(length) if length.isdecimal() else 0)


class _Connection(asyncio.Protocol):
    """One client: answers its requests one after the other."""

    def __init__(self, web: Web, connections: set[_Connection], log: IO[str] | None) -> None:
        self._web = web
        self._connections = connections
        self._log = log
        self._received = bytearray()
        self._skip_bytes = 0  # of a request's body that is still to come
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        if self._task:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def abort(self) -> None:
        """Break the connection off; the client sees a reset."""
        sock: socket.socket = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._go_on()

    def _go_on(self) -> None:
        """Answer what has been received whole, unless an answer is still under way."""
        while self._task is None and not self._transport.is_closing():
            skipped = min(self._skip_bytes, len(self._received))
            del self._received[:skipped]
            self._skip_bytes -= skipped
            end = self._received.find(b"\r\n\r\n")
            if self._skip_bytes or end < 0:
                if len(self._received) > MAX_HEAD_BYTES:
                    self._refuse()
                return
            request = _parse(bytes(self._received[:end]))
            del self._received[: end + 4]
            if request is None:
                self._refuse()
                return
            self._skip_bytes = request.body_bytes
            self._answer(request)

    def _refuse(self) -> None:
        self._finish(_plain(400), _Request("GET", "", True, 0))

    def _answer(self, request: _Request) -> None:
        if self._log:
            self._log.write(f"http://{request.target}\n")
        answer = self._web.answer(request.target) if request.method in ("GET", "HEAD") else _plain(405)
        behave = _BEHAVIOURS.get(answer.behaviour)
        if behave is None:
            self._finish(answer, request)
        else:
            self._task = asyncio.get_running_loop().create_task(behave(self, answer, request))
            self._task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled():
            task.result()
            self._go_on()

    def _finish(self, answer: Answer, request: _Request) -> None:
        """Send a whole answer as it is listed."""
        body = b"" if request.method == "HEAD" or answer.status in (204, 304) else answer.body
        self._transport.write(_head(answer, len(answer.body), close=request.close) + body)
        if request.close:
            self._transport.close()

    async def _slow(self, answer: Answer, request: _Request) -> None:
        await asyncio.sleep(SLOW_S)
        self._finish(answer, request)

    async def _drip(self, answer: Answer, request: _Request) -> None:
        self._transport.write(_head(answer, len(answer.body), close=True))
        for at in range(len(answer.body) if request.method == "GET" else 0):
            await asyncio.sleep(DRIP_BYTE_S)
            self._transport.write(answer.body[at : at + 1])
        self._transport.close()

    async def _hang(self, answer: Answer, request: _Request) -> None:
        await asyncio.Event().wait()  # cancelled when the client leaves

    async def _truncate(self, answer: Answer, request: _Request) -> None:
        body = b"" if request.method == "HEAD" else answer.body
        self._transport.write(_head(answer, 2 * len(answer.body) + 1, close=True) + body)
        self._transport.close()

    async def _endless(self, answer: Answer, request: _Request) -> None:
        self._transport.write(_head(answer, None, close=True))
        piece = answer.body * (65_536 // len(answer.body) + 1) if answer.body else bytes(65_536)
        sent = 0
        while sent < ENDLESS_BYTES and request.method == "GET":
            await self._writable.wait()
            self._transport.write(piece)
            sent += len(piece)
            await asyncio.sleep(0)
        self._transport.close()

    async def _reset(self, answer: Answer, request: _Request) -> None:
        self.abort()


_BEHAVIOURS: dict[str, Callable[[_Connection, Answer, _Request], Coroutine[Any, Any, None]]] = {
    "slow": _Connection._slow,
    "drip": _Connection._drip,
    "hang": _Connection._hang,
    "truncated": _Connection._truncate,
    "endless": _Connection._endless,
    "reset": _Connection._reset,
}
"""Behaviours that are more than one write."""


async def _run(
    web: Web,
    listener: socket.socket,
    log: IO[str] | None,
    ready: Callable[[str], None] | None,
    stop_at: Iterable[signal.Signals],
) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in stop_at:
        loop.add_signal_handler(number, stopped.set)
    connections: set[_Connection] = set()
    server = await loop.create_server(lambda: _Connection(web, connections, log), sock=listener)
    if ready:
        ready(f"{HOST}:{listener.getsockname()[1]}")
    await stopped.wait()
    server.close()
    for connection in list(connections):
        connection.abort()
    await server.wait_closed()


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port), backlog=1024)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UserError(
            f"port {port} of {HOST}: expected a free port, found {reason}; choose another, or 0 for any"
        ) from error


def serve(
    folder: str,
    port: int = 0,
    ready: Callable[[str], None] | None = None,
    log: str | None = None,
    stop_at: Iterable[signal.Signals] = (signal.SIGINT, signal.SIGTERM),
) -> None:
    """Serve the miniature web of `folder` on 127.0.0.1 until a signal of `stop_at`; call it in a process's main thread.

    `port` 0 takes a free one; `ready` is called with "127.0.0.1:PORT" once clients may connect; `log` names a file to
    which the URL of every request is appended, one a line. Raises InputError when `folder` holds no web, UserError when
    the port cannot be had.
    """
    web = Web(folder)
    with _listen(port) as listener, _open_log(log) as log_file:
        asyncio.run(_run(web, listener, log_file, ready, stop_at))


@contextmanager
def _open_log(path: str | None) -> Iterator[IO[str] | None]:
    if path is None:
        yield None
        return
    try:
        file = Path(path).open("a", encoding="utf-8", buffering=1)  # noqa: SIM115
    except OSError as error:
        raise output_error(path, error) from error
    with file:
        yield file


def _serve_in_child(folder: str, port: int, log: str | None, pipe: multiprocessing.connection.Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the clients must end first
    end_with_parent()
    try:
        serve(folder, port, pipe.send, log, stop_at=(signal.SIGTERM,))
    except UserError as error:
        pipe.send(error)


@contextmanager
def serving(folder: str, port: int = 0, log: str | None = None) -> Iterator[str]:
    """Serve the miniature web from a child process, which ends with the block or with this process.

    Gives "127.0.0.1:PORT"; raises what `serve` raises.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_serve_in_child, args=(folder, port, log, sender), name="wit sample serve")
    with ExitStack() as stack:
        stack.callback(receiver.close)
        process.start()
        stack.callback(_stop, process)
        sender.close()
        try:
            address = receiver.recv()
        except EOFError:
            raise InputError(f"{folder}: the server of the sample ended before it was ready") from None
        if isinstance(address, UserError):
            raise address
        yield address


def _stop(process: multiprocessing.process.BaseProcess) -> None:
    process.terminate()
    process.join()
    process.close()
