"""The folder of parts of remote files: bounded, shared by processes, unharmed by kills."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support import ROOT
from trainer.loader.cache import Part, RangeCache
from wit.errors import InputError, OutputError


def part(number: int, length: int = 100) -> Part:
    return Part("http://shards.example/0.tar", number * 1_000, number * 1_000 + length, "v1")


def filler(number: int, length: int = 100, times: list[int] | None = None) -> Callable[[int], None]:
    def fill(descriptor: int) -> None:
        os.pwrite(descriptor, bytes([number]) * length, 0)
        if times is not None:
            times.append(number)

    return fill


def put(cache: RangeCache, number: int, length: int = 100) -> int | None:
    return cache.store(part(number, length), filler(number, length))


def used(folder: str | Path) -> int:
    total = 0
    for each in os.scandir(folder):
        with suppress(FileNotFoundError):
            total += each.stat().st_size
    return total


def test_parts_are_what_was_put_there(tmp_path: Path) -> None:
    """A part is filled once and read from then on; another version of the file is another part."""
    cache, times = RangeCache(str(tmp_path), 1_000), list[int]()
    assert cache.open(part(1)) is None
    for _ in range(3):
        descriptor = cache.store(part(1), filler(1, times=times))
        assert descriptor is not None
        assert os.pread(descriptor, 200, 0) == b"\x01" * 100
        os.close(descriptor)
    assert times == [1]
    assert cache.open(part(1)._replace(version="v2")) is None


def test_what_was_used_longest_ago_goes(tmp_path: Path) -> None:
    """The limit holds; a part that was read lately outlives older ones, and a held one all."""
    cache = RangeCache(str(tmp_path), 350)
    held = put(cache, 0)
    for number in range(1, 8):
        descriptor = put(cache, number)
        assert descriptor is not None
        os.close(descriptor)
        assert used(tmp_path) <= 350
        again = cache.open(part(1))
        assert again is not None
        os.close(again)
    assert [cache.open(part(number)) is not None for number in range(8)] == [True, True, *[False] * 5, True]
    assert held is not None
    assert os.pread(held, 200, 0) == bytes(100)


def test_without_room_nothing_is_kept(tmp_path: Path) -> None:
    """A part larger than the limit, or beside held ones, is not stored, and nothing is removed in vain."""
    cache = RangeCache(str(tmp_path), 250)
    assert put(cache, 0, 300) is None
    first, second = put(cache, 1), put(cache, 2)
    assert put(cache, 3) is None
    assert None not in (first, second)
    assert used(tmp_path) == 200


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    """What could not be fetched whole is not there, and its room is free."""
    cache = RangeCache(str(tmp_path), 150)

    def fail(descriptor: int) -> None:
        os.pwrite(descriptor, b"half", 0)
        raise InputError("gone")

    with pytest.raises(InputError, match="gone"):
        cache.store(part(1), fail)
    assert used(tmp_path) == 0
    assert put(cache, 2) is not None


def test_threads_fetch_a_part_once(tmp_path: Path) -> None:
    """However many want it at the same time."""
    cache, times = RangeCache(str(tmp_path), 10_000), list[int]()

    def fill(descriptor: int) -> None:
        time.sleep(0.02)
        filler(5, times=times)(descriptor)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: cache.store(part(5), fill), range(16)))
    assert len(times) == 1
    assert None not in found


def test_a_part_cut_short_is_fetched_again(tmp_path: Path) -> None:
    """As a machine leaves it that loses power."""
    cache = RangeCache(str(tmp_path), 1_000)
    put(cache, 1)
    (tmp_path / part(1).name).write_bytes(b"\x01" * 40)
    assert cache.open(part(1)) is None
    descriptor = put(cache, 1)
    assert descriptor is not None
    assert os.fstat(descriptor).st_size == 100


WORKER = """
import os, sys, time
from trainer.loader.cache import RangeCache
from tests.trainer.loader.test_cache import filler, part, used

cache = RangeCache(sys.argv[1], 1_000)
mode = sys.argv[2]
if mode == "hold":
    held = cache.store(part(1), filler(1))
    print("held", flush=True)
    time.sleep(60)
elif mode == "die":
    def fill(descriptor):
        print("filling", flush=True)
        time.sleep(60)
    cache.store(part(1), fill)
else:
    for round in range(5):
        for number in range(30):
            descriptor = cache.store(part(number), filler(number))
            if descriptor is not None:
                assert os.pread(descriptor, 200, 0) == bytes([number]) * 100
                os.close(descriptor)
            assert used(sys.argv[1]) <= 1_000
    print("done", flush=True)
"""


def start(folder: Path, mode: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORKER, str(folder), mode]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )


def test_processes_share_the_folder(tmp_path: Path) -> None:
    """Three processes that fill and empty it at once see whole parts alone, and never more than the limit."""
    workers = [start(tmp_path, "share") for _ in range(3)]
    assert [worker.communicate(timeout=60)[0] for worker in workers] == ["done\n"] * 3


def test_a_killed_process_lets_go(tmp_path: Path) -> None:
    """What another process holds stays while it lives; of a killed one neither holds nor half-made parts are left."""
    cache = RangeCache(str(tmp_path), 150)
    holder = start(tmp_path, "hold")
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    assert put(cache, 2) is None
    holder.send_signal(signal.SIGKILL)
    holder.communicate(timeout=10)
    assert put(cache, 2) is not None
    cache.close()
    for each in tmp_path.glob("*.part"):
        each.unlink()

    filling = start(tmp_path, "die")
    assert filling.stdout is not None
    assert filling.stdout.readline() == "filling\n"
    cache = RangeCache(str(tmp_path), 150)
    assert put(cache, 2) is None  # its room is taken
    filling.send_signal(signal.SIGKILL)
    filling.communicate(timeout=10)
    assert put(cache, 1) is not None
    assert not list(tmp_path.glob(".tmp-*"))


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """One line that names it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        put(RangeCache(str(tmp_path / "file" / "cache"), 100), 1)
