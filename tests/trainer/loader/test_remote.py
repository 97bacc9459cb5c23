"""Fetching ranges from a server that drops, slows, cuts, changes its mind and says no."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest

from tests.trainer.loader.servers import Answer, Fault, Served, serving
from trainer.loader.remote import Fetcher, Patience
from wit.errors import InputError

DATA = bytes(range(256)) * 400  # 102,400 bytes
QUICK = Patience(stall_s=0.3, attempts=4, deadline_s=5, pause_s=0.01, max_pause_s=0.05)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a b.tar").write_bytes(DATA)
    return tmp_path


def fetch(served: Served, start: int = 0, length: int = len(DATA), patience: Patience = QUICK) -> bytes:
    return Fetcher(patience).read(f"{served.url}/a b.tar", start, length)


def first(times: int, change: Callable[[Answer], object]) -> Fault:
    """Return a fault of the first answers."""

    def fault(answer: Answer) -> None:
        if answer.number < times:
            change(answer)

    return fault


def cut(after: int) -> Callable[[Answer], None]:
    def change(answer: Answer) -> None:
        answer.sent = min(after, len(answer.body))

    return change


def stall(answer: Answer) -> None:
    answer.sent, answer.pause_s = 2_000, 0.5


def test_a_range_is_what_was_asked_for(folder: Path) -> None:
    """Of the file no other byte is asked for; a name may hold blanks."""
    with serving(folder) as served:
        assert fetch(served, 1_000, 50) == DATA[1_000:1_050]
        assert [each[1:] for each in served.ranges] == [(1_000, 1_050)]


@pytest.mark.parametrize(
    "change",
    [cut(0), cut(1_234), stall, lambda answer: answer.refuse(429, Retry_After="0"), lambda answer: answer.refuse(503)],
)
def test_trouble_that_passes_is_waited_out(folder: Path, change: Callable[[Answer], object]) -> None:
    """Cut, stalled and refused for now: what is asked for again comes, each byte once."""
    with serving(folder, first(3, change)) as served:
        assert fetch(served, 5, 50_000) == DATA[5:50_005]


def test_a_range_goes_on_where_it_broke_off(folder: Path) -> None:
    """However often it is cut, no byte is asked for twice, and progress counts as no failure."""
    with serving(folder, cut(10_000)) as served:
        assert fetch(served) == DATA
    assert [start for _, start, _ in served.ranges] == list(range(0, len(DATA), 10_000))


def change_version(answer: Answer) -> None:
    answer.sent = 1_000
    if answer.number:
        answer.headers["ETag"] = '"2"'


def grow(answer: Answer) -> None:
    answer.sent = 1_000
    if answer.number:
        answer.headers["Content-Range"] = answer.headers["Content-Range"].replace("/102400", "/102401")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda answer: answer.refuse(404), "expected a file here, found nothing (HTTP 404)"),
        (lambda answer: answer.refuse(403), "HTTP 403, the server refuses; check the right to read it"),
        (lambda answer: answer.refuse(418), "cannot be read: HTTP 418"),
        (lambda answer: answer.refuse(416), "expected at least 102400 bytes, found fewer"),
        (lambda answer: setattr(answer, "status", 200), "the server sends no parts of files; fetch the shards"),
        (cut(0), "found no way to them within 4 attempts in a row"),
        (lambda answer: answer.refuse(500), "within 4 attempts in a row and 5 s (HTTP 500)"),
        (change_version, 'expected the file of before (102400 bytes, "1"), found another (102400 bytes, "2")'),
        (grow, "found another (102401 bytes"),
        (
            lambda answer: answer.headers.update({"Content-Range": "bytes 0-9/10"}),
            "expected at least 102400 bytes, found 10",
        ),
    ],
)
def test_trouble_that_stays_is_one_line(folder: Path, fault: Fault, message: str) -> None:
    """What cannot be mended by waiting is told at once, the rest in bounded time; never with what is not the file's."""
    started = time.monotonic()
    with serving(folder, fault) as served, pytest.raises(InputError) as caught:
        fetch(served)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - started < 5


def test_a_trickle_ends_at_the_deadline(folder: Path) -> None:
    """A server that never stops sending, a few bytes at a time, is given up."""
    fault = first(1_000, lambda answer: setattr(answer, "pause_s", 0.05))
    with serving(folder, fault) as served, pytest.raises(InputError, match="bytes came"):
        fetch(served, patience=Patience(deadline_s=0.3, pause_s=0.01))


def test_closing_gives_up(folder: Path) -> None:
    """A fetcher that is closed ends what it waits for."""
    fetcher = Fetcher(Patience(pause_s=60, max_pause_s=60))
    with serving(folder, lambda answer: answer.refuse(503)) as served:
        threading.Timer(0.2, fetcher.close).start()
        with pytest.raises(InputError, match="HTTP 503"):
            fetcher.read(f"{served.url}/a b.tar", 0, 10)


def test_nobody_there() -> None:
    """A host without a server, and a URL that is none, are told."""
    with pytest.raises(InputError, match="found no way to them"):
        Fetcher(QUICK).read("http://127.0.0.1:9/x.tar", 0, 1)
    with pytest.raises(InputError):
        Fetcher(QUICK).read("http://[/x.tar", 0, 1)


def test_a_server_that_never_answered_is_given_up_soon(folder: Path) -> None:
    """A name that is wrong from the start is told after some seconds; a server that answered before is waited for."""
    patience = Patience(attempts=9, first_attempts=2, pause_s=0.01, max_pause_s=0.01)
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}/x.tar"
    with pytest.raises(InputError, match="within 2 attempts"):
        Fetcher(patience).read(url, 0, 1)
    with serving(folder) as served:
        assert fetch(served, 0, 1) == DATA[:1]
    with pytest.raises(InputError, match="within 9 attempts"):
        fetch(served, 0, 1, patience)


@pytest.mark.parametrize(
    "change",
    [
        lambda answer: answer.refuse(503, Retry_After="\xb2"),
        lambda answer: answer.refuse(503, Retry_After="9" * 5_000),
        lambda answer: answer.headers.update({"Content-Range": "bytes \xb2-9/10"}),
    ],
)
def test_numbers_that_are_none_in_headers_do_not_matter(folder: Path, change: Callable[[Answer], object]) -> None:
    """Signs that only look like digits, and numbers of thousands of them."""
    with serving(folder, first(2, change)) as served:
        assert fetch(served, 5, 50) == DATA[5:55]


def test_blanks_in_a_servers_name_are_told_at_once() -> None:
    """There is nothing to wait for."""
    with pytest.raises(InputError, match="expected a URL"):
        Fetcher(Patience(pause_s=60)).read("http://a b:80/x.tar", 0, 1)


def test_errors_of_a_stores_own_kind_are_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The packages that speak to stores raise classes of their own; a file that is not there is told at once."""

    class Weather(Exception):
        pass

    Weather.__module__ = "somestore.errors"
    answers: list[Weather | bytes] = [Weather("a storm"), Weather("rain"), b"sunshine"]

    def cat_file(*_: object, **__: object) -> bytes:
        answer = answers.pop(0)
        if isinstance(answer, Weather):
            raise answer
        return answer

    monkeypatch.setattr(fsspec.get_filesystem_class("memory"), "cat_file", cat_file)
    assert Fetcher(QUICK).read("memory://remote/x.tar", 0, 8) == b"sunshine"


def test_other_file_systems_are_read_alike() -> None:
    """What fsspec knows is read by ranges; a missing or short file is told."""
    store = fsspec.filesystem("memory")
    store.pipe("/remote/x.tar", DATA)
    try:
        fetcher = Fetcher(QUICK)
        assert fetcher.read("memory://remote/x.tar", 7, 99) == DATA[7:106]
        with pytest.raises(InputError, match="expected at least 102410 bytes"):
            fetcher.read("memory://remote/x.tar", len(DATA), 10)
        with pytest.raises(InputError, match=r"y\.tar: expected a file here, found nothing"):
            fetcher.read("memory://remote/y.tar", 0, 10)
    finally:
        store.rm("/remote", recursive=True)
