"""The journal loses nothing that it had noted, and what is made of it depends on the outcomes alone."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.fetching.journal import MAGIC, Journal
from wit import tar
from wit.errors import InputError, OutputError
from wit.image import Prepared
from wit.schema import IMAGES, REJECTS, conform

IDENTITY = bytes(range(32))
Outcome = Prepared | tuple[str, str | None]

images = st.builds(
    lambda body, format, num_frames, entropy: prepared(body, format, num_frames=num_frames, entropy=entropy),
    st.binary(min_size=1, max_size=2000),
    st.sampled_from(["jpeg", "png", "webp"]),
    st.integers(1, 9),
    st.floats(0, 8),
)
refusals = st.tuples(st.sampled_from(["timeout", "http_status"]), st.none() | st.text(max_size=20))
outcomes = st.lists(images | refusals, min_size=1, max_size=12)


def prepared(body: bytes, format: str = "jpeg", **facts: Any) -> Prepared:
    """An image of these stored bytes; facts that are not said follow from them."""
    named: dict[str, Any] = {
        "width": len(body), "height": 7, "sha256": hashlib.sha256(body).hexdigest(), "entropy": 1.5, "num_frames": 1,
        "original_format": "gif", "original_sha256": hashlib.sha256(body * 2).hexdigest(),
        "original_length": 2 * len(body), "original_width": 3 * len(body), "original_height": 21,
    }  # fmt: skip
    return Prepared(body=body, format=format, **named | facts)


def final_url(number: int) -> str:
    return f"https://example.com/{number}.jpg"


def note(journal: Journal, number: int, outcome: Outcome) -> None:
    if isinstance(outcome, Prepared):
        journal.add(number, outcome, final_url(number))
    else:
        journal.reject(number, *outcome)


def rows(numbers: list[int]) -> pa.Table:
    """A row for each number, their keys in order."""
    count = len(numbers)
    return pa.table(
        {
            "key": [f"{row:032x}" for row in range(count)],
            "bucket": pa.array([row % 3 for row in range(count)], pa.int32()),
            "rank": pa.array([row << 40 for row in range(count)], pa.int64()),
            "number": pa.array(numbers, pa.int32()),
        }
    )


def outputs(journal: Journal, asked: pa.Table) -> tuple[bytes, list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the tar and the rows of both tables."""
    tables: dict[str, list[dict[str, Any]]] = {"kept": [], "rejects": []}
    with tempfile.NamedTemporaryFile() as blob:
        for name, batch in journal.outputs(asked, blob, "fetch/blobs/part-00000.tar", "fetch"):
            conform(pa.Table.from_batches([batch]), IMAGES if name == "kept" else REJECTS)
            tables[name] += batch.to_pylist()
        blob.seek(0)
        return blob.read(), tables["kept"], tables["rejects"]


def noted(path: Path, which: list[Outcome], num_urls: int | None = None) -> None:
    """Write a journal that ends without outputs, as a killed attempt's."""
    with Journal(str(path), IDENTITY, num_urls or len(which)) as journal:
        for number, outcome in enumerate(which):
            note(journal, number, outcome)


@given(outcomes, st.data())
@settings(max_examples=50, deadline=None)
def test_outputs_are_the_outcomes_in_the_order_of_the_rows(found: list[Outcome], data: st.DataObject) -> None:
    """Every fact comes back under its row, the tar holds each URL's image once at the place said, in key order."""
    numbers = data.draw(st.lists(st.integers(0, len(found) - 1), min_size=1, max_size=20))
    with Journal(None, IDENTITY, len(found)) as journal:
        for number in data.draw(st.permutations(range(len(found)))):
            note(journal, number, found[number])
        blob, kept, rejected = outputs(journal, rows(numbers))
    for row in kept:
        outcome = found[numbers[int(row["key"], 16)]]
        assert isinstance(outcome, Prepared)
        place = row.pop("offset")
        assert blob[place : place + row["length"]] == outcome.body
        assert row["final_url"] == final_url(numbers[int(row["key"], 16)])
        assert row["blob"] == "fetch/blobs/part-00000.tar"
        assert {name: value for name, value in row.items() if name in vars(outcome)} == {
            name: value for name, value in vars(outcome).items() if name != "body"
        }
    assert [(row["reason"], row["detail"]) for row in rejected] == [
        found[number] for number in numbers if not isinstance(found[number], Prepared)
    ]
    assert [row["key"] for row in kept] == sorted(row["key"] for row in kept)
    assert len(kept) + len(rejected) == len(numbers)
    first = {numbers[int(row["key"], 16)]: f"{row['key']}.{row['format'].replace('jpeg', 'jpg')}" for row in kept[::-1]}
    with tarfile.open(fileobj=io.BytesIO(blob)) as opened:
        assert opened.getnames() == sorted(first.values())
    assert blob.endswith(tar.END)


@given(outcomes, st.data())
@settings(max_examples=50, deadline=None)
def test_bytes_depend_on_the_outcomes_alone(
    tmp_path_factory: pytest.TempPathFactory, found: list[Outcome], data: st.DataObject
) -> None:
    """Whatever the order of completion, and wherever the file was torn in between, tar and rows are the same."""
    path = tmp_path_factory.mktemp("journal") / "part.journal"
    asked = rows(data.draw(st.lists(st.integers(0, len(found) - 1), min_size=1, max_size=20)))
    with Journal(None, IDENTITY, len(found)) as undisturbed:
        for number, outcome in enumerate(found):
            note(undisturbed, number, outcome)
        expected = outputs(undisturbed, asked)
    noted(path, found[: data.draw(st.integers(0, len(found)))], len(found))
    os.truncate(path, data.draw(st.integers(0, path.stat().st_size)))
    with Journal(str(path), IDENTITY, len(found)) as journal:
        for number in data.draw(st.permutations(np.flatnonzero(~journal.done).tolist())):
            note(journal, number, found[number])
        assert outputs(journal, asked) == expected


def test_golden_tar_and_rows() -> None:
    """The tar and the tables of three planted outcomes, byte for byte."""
    with Journal(None, IDENTITY, 3) as journal:
        note(journal, 2, prepared(b"second" * 100, "png"))
        note(journal, 1, ("http_status", "HTTP 404"))
        note(journal, 0, prepared(b"first"))
        blob, kept, rejected = outputs(journal, rows([0, 1, 2, 0]))
    assert hashlib.sha256(blob).hexdigest() == "f3e74f3b458a2cb4406df54969b3047acefd748455122b5c5555b4643061e003"
    assert [(row["key"][-1], row["offset"], row["length"]) for row in kept] == [
        ("0", 512, 5),
        ("2", 1536, 600),
        ("3", 512, 5),
    ]
    assert rejected == [
        {
            "key": f"{1:032x}", "bucket": 1, "stage": "fetch", "reason": "http_status", "detail": "HTTP 404",
            "url": None, "caption": None,
        }
    ]  # fmt: skip


def test_a_torn_file_keeps_what_is_whole(tmp_path: Path) -> None:
    """Cut at any byte, it has exactly the outcomes whose records end before, and goes on behind them."""
    found: list[Outcome] = [prepared(b"one"), ("timeout", None), prepared(b"three" * 50, "png")]
    whole, ends = tmp_path / "whole", []
    with Journal(str(whole), IDENTITY, 3) as journal:
        for number, outcome in enumerate(found):
            note(journal, number, outcome)
            ends.append(whole.stat().st_size)
    content = whole.read_bytes()
    for length in range(len(content) + 1):
        torn = tmp_path / "torn"
        torn.write_bytes(content[:length])
        with Journal(str(torn), IDENTITY, 3) as journal:
            num_done = sum(end <= length for end in ends)
            assert journal.done.tolist() == [number < num_done for number in range(3)]
            for number in range(num_done, 3):
                note(journal, number, found[number])
        assert torn.read_bytes() == content


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_damaged_record_is_never_taken_over(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """With any byte changed, or a stretch of zeros as a crash leaves it, only records before the damage are kept."""
    path = tmp_path_factory.mktemp("journal") / "part.journal"
    ends = []
    with Journal(str(path), IDENTITY, 4) as journal:
        for number, size in enumerate((10, 700, 1, 300)):
            note(journal, number, prepared(b"x" * size))
            ends.append(path.stat().st_size)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(len(MAGIC) + len(IDENTITY), len(content) - 1))
    stop = data.draw(st.integers(place + 1, len(content)))
    damage = data.draw(
        st.sampled_from([bytes(stop - place), bytes([content[place] ^ 1 << data.draw(st.integers(0, 7))])])
    )
    content[place : place + len(damage)] = damage
    path.write_bytes(content)
    with Journal(str(path), IDENTITY, 4) as journal:
        num_whole = sum(end <= place for end in ends)
        num_done = int(journal.done.sum())
        assert num_done == num_whole or content == path.read_bytes()  # the damage may be no change: zeros for zeros
        assert journal.done.tolist() == [number < num_done for number in range(4)]


@pytest.mark.parametrize("before", [b"", b"wit", b"something else" * 10, MAGIC + bytes(32) + b"x" * 100])
def test_a_file_of_others_is_begun_anew(tmp_path: Path, before: bytes) -> None:
    """Other URLs or settings, another layout, an empty file: nothing of it is taken over, and it is written anew."""
    path = tmp_path / "part.journal"
    path.write_bytes(before)
    with Journal(str(path), IDENTITY, 2) as journal:
        assert not journal.done.any()
        journal.reject(1, "timeout", None)
    with Journal(str(path), IDENTITY, 2) as journal:
        assert journal.done.tolist() == [False, True]


def test_two_attempts_at_once_do_not_meet(tmp_path: Path) -> None:
    """A second attempt while the first writes has a file of its own, without a name; both end with the same bytes."""
    path, asked = tmp_path / "part.journal", rows([0, 1])
    with Journal(str(path), IDENTITY, 2) as first:
        note(first, 0, prepared(b"zero"))
        with Journal(str(path), IDENTITY, 2) as second:
            assert not second.done.any()
            for number, body in ((1, b"one"), (0, b"zero")):
                note(second, number, prepared(body))
            theirs = outputs(second, asked)
        assert [each.name for each in tmp_path.iterdir()] == ["part.journal"]
        note(first, 1, prepared(b"one"))
        assert outputs(first, asked) == theirs
    with Journal(str(path), IDENTITY, 2) as third:
        assert third.done.all()


def test_without_a_path_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal without a path has no name in the temporary folder, at any time."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Journal(None, IDENTITY, 1) as journal:
        note(journal, 0, prepared(b"body"))
        assert not list(tmp_path.iterdir())
        assert outputs(journal, rows([0]))[1][0]["length"] == 4


_CHILD = """
import sys
from pipelines.fetching.journal import Journal
from tests.pipelines.fetching.test_journal import IDENTITY, prepared
journal = Journal(sys.argv[1], IDENTITY, 1_000_000)
for number in range(1_000_000):
    if number % 3:
        journal.add(number, prepared(bytes([number % 251]) * 5000), "https://example.com/")
    else:
        journal.reject(number, "timeout", None)
    print(number, flush=True)
"""


def test_sigkill_costs_nothing_that_was_noted(tmp_path: Path) -> None:
    """A process killed while it writes: all that `add` and `reject` returned for is there, in order."""
    path = tmp_path / "part.journal"
    with subprocess.Popen([sys.executable, "-c", _CHILD, str(path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        last = next(int(line) for line in child.stdout if int(line) >= 500)
        child.send_signal(signal.SIGKILL)
        last = max([last, *(int(line) for line in child.stdout if line.endswith("\n"))])
    with Journal(str(path), IDENTITY, 1_000_000) as journal:
        assert journal.done[: last + 1].all()
        assert journal.done.sum() <= last + 2


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (errno.ENOSPC, "no space left on the device; free some and run"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "error"),
    ],
)
def test_a_disk_that_fails_ends_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, message: str
) -> None:
    """A record that fits by half is an OutputError that says what to do; whole records stay, and more may follow."""
    path = tmp_path / "part.journal"
    fill = _failing_after(100, code)
    with Journal(str(path), IDENTITY, 3) as journal:
        note(journal, 0, prepared(b"fits"))
        length = path.stat().st_size
        with monkeypatch.context() as patch:
            patch.setattr("os.pwritev", fill)
            patch.setattr("os.pwrite", fill)
            with pytest.raises(OutputError, match=f"part.journal: cannot be written: .*{message}"):
                note(journal, 1, prepared(b"x" * 5000))
        assert path.stat().st_size == length
        note(journal, 2, ("timeout", None))
    with Journal(str(path), IDENTITY, 3) as journal:
        assert journal.done.tolist() == [True, False, True]


def _failing_after(num_bytes: int, code: int) -> Any:
    """A write that takes a hundred bytes the first time, and nothing after."""
    left, real = [num_bytes], os.pwrite

    def write(descriptor: int, data: Any, offset: int) -> int:
        if not left:
            raise OSError(code, os.strerror(code))
        return real(descriptor, (data if isinstance(data, bytes) else b"".join(data))[: left.pop()], offset)

    return write


def test_a_disk_that_fails_to_sync_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that the disk reports only when it is synced is no less an error."""

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("pipelines.fetching.journal._SYNC_S", 0.0)
    monkeypatch.setattr("os.fdatasync", fail)
    with Journal(str(tmp_path / "j"), IDENTITY, 1) as journal, pytest.raises(OutputError, match="error"):
        note(journal, 0, prepared(b"body"))


def test_a_full_disk_at_the_tar_is_said(tmp_path: Path) -> None:
    """The tar's disk is full: an OutputError that names the tar."""
    with Journal(None, IDENTITY, 1) as journal, open("/dev/full", "wb", buffering=0) as blob:
        note(journal, 0, prepared(b"body"))
        with pytest.raises(OutputError, match=r"/dev/x.tar: cannot be written: no space left"):
            list(journal.outputs(rows([0]), blob, "fetch/x.tar", "fetch"))


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.parent.rmdir()])
def test_a_place_that_cannot_be_written_is_said(tmp_path: Path, make: Any) -> None:
    """A folder where the file should be, or no folder to put it in: one line, no traceback."""
    path = tmp_path / "scratch" / "part.journal"
    path.parent.mkdir()
    make(path)
    with pytest.raises(OutputError, match=r"part.journal: cannot be written"):
        Journal(str(path), IDENTITY, 1)


def test_a_record_that_rots_is_not_stored(tmp_path: Path) -> None:
    """Bytes that changed since they were written are an error; the next attempt asks for them again."""
    path = tmp_path / "part.journal"
    with Journal(str(path), IDENTITY, 2) as journal:
        note(journal, 0, prepared(b"fine"))
        start = path.stat().st_size
        note(journal, 1, prepared(b"rotten"))
        with path.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"N")
        with pytest.raises(InputError, match=f"the record at byte {start} is damaged; run the same command again"):
            outputs(journal, rows([0, 1]))
    with Journal(str(path), IDENTITY, 2) as journal:
        assert journal.done.tolist() == [True, False]


def test_half_surrogates_of_hostile_headers_become_text() -> None:
    """Text that UTF-8 has no bytes for is spelled out, in URLs and in details."""
    with Journal(None, IDENTITY, 2) as journal:
        journal.add(0, prepared(b"body"), "https://example.com/\udcff")
        journal.reject(1, "unsupported_url", "\ud800 é")
        _, kept, rejected = outputs(journal, rows([0, 1]))
    assert kept[0]["final_url"] == "https://example.com/\\udcff"
    assert rejected[0]["detail"] == "\\ud800 é"


def test_threads_may_note_at_once(tmp_path: Path) -> None:
    """Outcomes noted by eight threads are all there, each with its own bytes."""
    path, bodies = tmp_path / "part.journal", [bytes([number % 256]) * (number + 1) for number in range(1000)]
    with Journal(str(path), IDENTITY, 1000) as journal, ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: note(journal, number, prepared(bodies[number])), range(1000)))
    with Journal(str(path), IDENTITY, 1000) as journal:
        blob, kept, _ = outputs(journal, rows(list(range(1000))))
    assert [blob[row["offset"] : row["offset"] + row["length"]] for row in kept] == bodies


def test_memory_is_21_bytes_a_url(tmp_path: Path) -> None:
    """Of 50,000 URLs with outcomes, no more than 21 bytes each stay in memory, and a chunk of rows beside."""
    count = 50_000
    path = tmp_path / "part.journal"
    tracemalloc.start()
    try:
        with Journal(str(path), IDENTITY, count) as journal:
            for number in range(count):
                journal.reject(number, "http_status", "HTTP 404")
            assert tracemalloc.get_traced_memory()[0] < 13 * count + 100_000
            asked = rows(list(range(count)))
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            with (tmp_path / "x.tar").open("wb") as blob:
                for _ in journal.outputs(asked, blob, "x.tar", "fetch"):
                    pass
            assert tracemalloc.get_traced_memory()[1] - before < 8 * count + 6_000_000
    finally:
        tracemalloc.stop()


def test_empty_parts_have_an_empty_tar() -> None:
    """No rows, no URLs: a tar that ends at once."""
    with Journal(None, IDENTITY, 0) as journal:
        assert outputs(journal, rows([])) == (tar.END, [], [])
