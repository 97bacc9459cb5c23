"""The sample's server: every behaviour really happens."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection, IncompleteRead, RemoteDisconnected
from pathlib import Path
from typing import Any

import psutil
import pytest

from wit.errors import InputError, UserError
from wit.sample.server import Web, serving
from wit.sample.web import Answer, WebWriter

BODY = b"0123456789" * 20

ROWS: list[tuple[str, int, list[tuple[str, str]], str, bytes]] = [
    ("http://a.test/", 200, [("Content-Type", "text/html")], "normal", b"<p>a"),
    ("http://b.test/", 200, [], "normal", b"<p>b"),
    ("http://a.test/p.png?x=1&y=2", 200, [("X-Robots-Tag", "noai"), ("X-Robots-Tag", "noindex")], "normal", BODY),
    ("http://a.test/moved", 302, [("Location", "http://b.test/")], "normal", b""),
    ("http://a.test/busy", 429, [("Retry-After", "1")], "normal", b"later"),
    ("http://a.test/lie.png", 200, [("Content-Type", "image/png")], "lying_type", b"<html>"),
    ("http://a.test/slow", 200, [], "slow", BODY),
    ("http://a.test/drip", 200, [], "drip", BODY),
    ("http://a.test/hang", 200, [], "hang", BODY),
    ("http://a.test/truncated", 200, [], "truncated", BODY),
    ("http://a.test/stated", 200, [("Content-Length", "777")], "truncated", BODY),
    ("http://a.test/endless", 200, [], "endless", BODY),
    ("http://a.test/reset", 200, [], "reset", BODY),
]


def write_web(folder: Path, rows: list[tuple[str, int, list[tuple[str, str]], str, bytes]]) -> None:
    with WebWriter(str(folder / "web")) as writer:
        writer.add(Answer(url, status, tuple(headers), how, body) for url, status, headers, how, body in rows)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    write_web(folder, ROWS)
    return folder


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with serving(str(folder), log=str(folder / "requests.log")) as address:
        yield address


@pytest.fixture
def client(address: str) -> Iterator[HTTPConnection]:
    connection = HTTPConnection(address, timeout=1.5)
    yield connection
    connection.close()


def get(client: HTTPConnection, path: str, host: str = "a.test", method: str = "GET") -> tuple[Any, bytes]:
    client.request(method, path, headers={"Host": host})
    response = client.getresponse()
    return response, response.read()


def test_answers_by_host_and_path_over_one_connection(client: HTTPConnection) -> None:
    """Host and path with query name the answer, and one connection carries many requests."""
    client.connect()
    first = client.sock
    assert get(client, "/")[1] == b"<p>a"
    assert get(client, "/", host="B.test")[1] == b"<p>b"
    response, body = get(client, "/p.png?x=1&y=2")
    assert (response.status, body) == (200, BODY)
    assert response.headers.get_all("X-Robots-Tag") == ["noai", "noindex"]
    assert get(client, "/p.png")[0].status == 404
    assert get(client, "/", host="unknown.test")[0].status == 404
    assert client.sock is first


def test_statuses_redirects_and_lies_are_served_as_listed(client: HTTPConnection) -> None:
    """A redirect, a 429 and a wrong content type come as the table has them."""
    moved, _ = get(client, "/moved")
    assert (moved.status, moved.headers["Location"]) == (302, "http://b.test/")
    busy, _ = get(client, "/busy")
    assert (busy.status, busy.headers["Retry-After"]) == (429, "1")
    lie, body = get(client, "/lie.png")
    assert (lie.headers["Content-Type"], body) == ("image/png", b"<html>")


def test_head_has_the_length_and_no_body(client: HTTPConnection) -> None:
    """HEAD states what GET would send, and the connection stays usable."""
    response, body = get(client, "/p.png?x=1&y=2", method="HEAD")
    assert (response.headers["Content-Length"], body) == (str(len(BODY)), b"")
    assert get(client, "/")[1] == b"<p>a"


def test_other_methods_and_bodies_are_refused(client: HTTPConnection) -> None:
    """A POST is a 405, and its body is not taken for the next request."""
    client.request("POST", "/", body=b"GET / HTTP/1.1\r\nHost: b.test\r\n\r\n", headers={"Host": "a.test"})
    response = client.getresponse()
    assert (response.status, response.read()) == (405, b"405 Method Not Allowed\n")
    assert get(client, "/")[1] == b"<p>a"


@pytest.mark.parametrize("path", ["/slow", "/hang"])
def test_slow_and_hang_send_nothing(client: HTTPConnection, path: str) -> None:
    """Not a byte comes within the client's patience."""
    client.timeout = 0.3
    with pytest.raises(TimeoutError):
        get(client, path)


def test_drip_sends_a_byte_a_second(client: HTTPConnection) -> None:
    """The head comes, then the first byte after a second, alone."""
    start = time.monotonic()
    client.request("GET", "/drip", headers={"Host": "a.test"})
    response = client.getresponse()
    assert response.headers["Content-Length"] == str(len(BODY))
    assert response.read1(100) == BODY[:1]
    assert time.monotonic() - start >= 0.95


@pytest.mark.parametrize(("path", "stated"), [("/truncated", 2 * len(BODY) + 1), ("/stated", 777)])
def test_truncated_sends_less_than_it_states(client: HTTPConnection, path: str, stated: int) -> None:
    """The body ends before its Content-Length."""
    with pytest.raises(IncompleteRead) as caught:
        get(client, path)
    assert caught.value.partial == BODY
    assert len(caught.value.partial) + (caught.value.expected or 0) == stated


def test_endless_goes_on_without_a_length(client: HTTPConnection) -> None:
    """No Content-Length, and far more than the body listed; a client may leave in the middle."""
    client.request("GET", "/endless", headers={"Host": "a.test"})
    response = client.getresponse()
    assert response.headers["Content-Length"] is None
    assert response.read(5_000_000) == BODY * 25_000


def test_reset_breaks_the_connection(client: HTTPConnection) -> None:
    """The connection ends without an answer."""
    with pytest.raises((ConnectionResetError, RemoteDisconnected)):
        get(client, "/reset")


@pytest.mark.parametrize("junk", [b"nonsense\r\n\r\n", b"GET / HTTP/2.0\r\n\r\n", b"x" * 100_000])
def test_junk_is_a_400(address: str, junk: bytes) -> None:
    """What is no HTTP/1 request is refused, and so is a head without end."""
    host, _, port = address.partition(":")
    with socket.create_connection((host, int(port)), timeout=2) as raw:
        raw.sendall(junk)
        assert raw.recv(100).startswith(b"HTTP/1.1 400 ")


def test_pipelined_and_proxy_requests_are_answered_in_order(address: str) -> None:
    """Requests sent at once, also with the whole URL as a proxy gets it, are answered in their order."""
    host, _, port = address.partition(":")
    with socket.create_connection((host, int(port)), timeout=2) as raw:
        raw.sendall(
            b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\nGET http://b.test/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        received = b""
        while data := raw.recv(65_536):
            received += data
    assert received.index(b"<p>a") < received.index(b"<p>b")


def test_requests_are_logged(client: HTTPConnection, folder: Path) -> None:
    """Every URL asked for is a line of the log."""
    before = (folder / "requests.log").read_text().splitlines()
    get(client, "/")
    get(client, "/not-there?x", host="b.test")
    after = (folder / "requests.log").read_text().splitlines()
    assert after[len(before) :] == ["http://a.test/", "http://b.test/not-there?x"]


def test_a_taken_port_is_a_users_mistake(folder: Path, address: str) -> None:
    """The error names the port and what to do."""
    port = int(address.partition(":")[2])
    with pytest.raises(UserError, match=f"port {port}.*in use.*choose another"), serving(str(folder), port):
        pass


def test_a_folder_without_a_web_is_a_users_mistake(tmp_path: Path) -> None:
    """No responses, a body that is not there, an unknown behaviour: InputError, from the child too."""
    with pytest.raises(InputError, match=r"responses\.parquet"), serving(str(tmp_path)):
        pass
    write_web(tmp_path / "short", ROWS)
    (tmp_path / "short" / "web" / "bodies.bin").write_bytes(b"")
    with pytest.raises(InputError, match="expected at least"):
        Web(str(tmp_path / "short"))
    write_web(tmp_path / "odd", [("http://a.test/", 200, [], "dance", b"")])
    with pytest.raises(InputError, match="dance"):
        Web(str(tmp_path / "odd"))


SCRIPT = """
import sys, time
from wit.sample.server import serving
if __name__ == "__main__":
    with serving(sys.argv[1]) as address:
        print(address, flush=True)
        time.sleep(60)
"""


def test_the_server_dies_with_its_parent(folder: Path, tmp_path: Path) -> None:
    """A parent killed without warning leaves no server behind."""
    script = tmp_path / "main.py"
    script.write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(
        [sys.executable, str(script), str(folder)], stdout=subprocess.PIPE, env=environment
    ) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        children = psutil.Process(parent.pid).children(recursive=True)
        assert children
        os.kill(parent.pid, signal.SIGKILL)
        assert psutil.wait_procs(children, timeout=5)[1] == []


def test_ctrl_c_leaves_the_server_to_its_parent(folder: Path) -> None:
    """SIGINT, which a terminal sends to all, does not take the server from clients that are still at work."""
    with serving(str(folder)) as address:
        (server,) = [each for each in psutil.Process().children() if address in _listening(each)]
        server.send_signal(signal.SIGINT)
        time.sleep(0.3)
        connection = HTTPConnection(address, timeout=1.5)
        assert get(connection, "/")[1] == b"<p>a"
        connection.close()


def _listening(process: psutil.Process) -> list[str]:
    return [f"{each.laddr.ip}:{each.laddr.port}" for each in process.net_connections() if each.status == "LISTEN"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_at_once_and_quietly(folder: Path, number: signal.Signals) -> None:
    """With a client still hanging the server ends, without a traceback, with status 0."""
    code = "import sys; from wit.sample.server import serve; serve(sys.argv[1], 0, lambda a: print(a, flush=True))"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as server:
        assert server.stdout is not None
        host, _, port = server.stdout.readline().decode().strip().partition(":")
        with socket.create_connection((host, int(port))) as raw:
            raw.sendall(b"GET /hang HTTP/1.1\r\nHost: a.test\r\n\r\n")
            raw.settimeout(0.2)
            with pytest.raises(TimeoutError):
                raw.recv(1)
            server.send_signal(number)
            _, errors = server.communicate(timeout=5)
    assert (server.returncode, errors) == (0, b"")
