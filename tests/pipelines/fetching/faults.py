"""A loopback server whose every answer is a script: what to send, when, and how to end."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

Script = Callable[[asyncio.StreamWriter], Awaitable[None]]


def answer(body: bytes = b"", status: int = 200, **headers: str) -> Script:
    """An ordinary answer; header names are written with underscores."""

    async def send(writer: asyncio.StreamWriter) -> None:
        fields = {"Content-Length": str(len(body))} | {name.replace("_", "-"): value for name, value in headers.items()}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        writer.write(f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + body)
        await writer.drain()

    return send


def raw(data: bytes, *, reset: bool = False) -> Script:
    """These bytes, then the end of the connection: in order, or by a reset."""

    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        if reset:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()

    return send


async def hang(writer: asyncio.StreamWriter) -> None:
    """No answer."""
    await asyncio.sleep(60)


def drip(begin: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n") -> Script:
    """A byte every 20 ms, for ever, after others to begin with: a body that drips."""
    return flood(b"x", begin, pause_s=0.02)


def flood(piece: bytes, begin: bytes = b"", pause_s: float = 0.0) -> Script:
    """The same bytes again and again, for ever, after others to begin with."""

    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(begin)
        while not writer.is_closing():
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause_s)  # 0, too: a client that reads fast must not keep the server from its others

    return send


@dataclass
class FaultServer:
    """Answers by URL (host and path as asked); a list of scripts answers in turn, the last for ever."""

    scripts: Mapping[str, Script | list[Script]]
    port: int = 0
    asked: Counter[str] = field(default_factory=Counter)
    open_now: Counter[str] = field(default_factory=Counter)
    most_open: Counter[str] = field(default_factory=Counter)
    agents: set[str] = field(default_factory=set)
    num_connections: int = 0
    num_open: int = 0
    most_connections: int = 0

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.num_connections += 1
        self.num_open += 1
        self.most_connections = max(self.most_connections, self.num_open)
        try:
            while not writer.is_closing():
                first = await reader.readexactly(1)
                if first == b"\x16":  # a TLS handshake
                    return writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                head = (first + await reader.readuntil(b"\r\n\r\n")).decode()
                path = head.split(" ", 2)[1]
                fields = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:] if line)
                self.agents.add(fields["user-agent"])
                await self._answer(fields["host"], path, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.num_open -= 1
            writer.close()

    async def _answer(self, host: str, path: str, writer: asyncio.StreamWriter) -> None:
        scheme = "https" if writer.get_extra_info("sslcontext") else "http"
        url = f"{scheme}://{host}{path}"
        script = self.scripts.get(url, answer(b"no such page", 404))
        if isinstance(script, list):
            script = script[min(self.asked[url], len(script) - 1)]
        self.asked[url] += 1
        self.open_now[host] += 1
        self.most_open[host] = max(self.most_open[host], self.open_now[host])
        try:
            await script(writer)
        finally:
            self.open_now[host] -= 1


_connected_to: list[set[str]] = []


def _note_connection(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.connect" and _connected_to:
        address = arguments[1]
        _connected_to[-1].add(str(address[0] if isinstance(address, tuple) else address))


sys.addaudithook(_note_connection)  # of the interpreter: below whatever library connects


@contextmanager
def connections() -> Iterator[set[str]]:
    """Give the addresses that this process connects to while the block runs."""
    _connected_to.append(set())
    try:
        yield _connected_to[-1]
    finally:
        _connected_to.pop()


@contextmanager
def serving(scripts: Mapping[str, Script | list[Script]], tls: ssl.SSLContext | None = None) -> Iterator[FaultServer]:
    """Serve scripts in a thread of this process while the block runs, over TLS if there is a context for it."""
    server = FaultServer(scripts)
    ready, stopped = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def listen() -> None:
        listener = await asyncio.start_server(server._serve, "127.0.0.1", 0, ssl=tls)
        server.port = listener.sockets[0].getsockname()[1]
        loops.append(asyncio.get_running_loop())
        ready.set()
        await stopped.wait()
        listener.close()

    thread = threading.Thread(target=lambda: asyncio.run(listen()))
    thread.start()
    ready.wait()
    try:
        yield server
    finally:
        loops[0].call_soon_threadsafe(stopped.set)
        thread.join()
