"""Training on remote shards: the batches of local ones, whatever the server does."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.trainer.conftest import NUM_SAMPLES, Sample, make_samples, micro_recipe, write_shards
from tests.trainer.loader.servers import Answer, Fault, serving
from tests.trainer.loader.test_loader import assert_same, take
from tests.trainer.running.test_loop import metrics
from trainer.loader.cache import RangeCache
from trainer.loader.index import read_index
from trainer.loader.loader import Loader, LoaderOptions
from trainer.loader.order import LoaderState
from trainer.parallel.ranks import ALONE, Ranks
from trainer.training import train
from wit.errors import InputError
from wit.shards import write_manifest

BATCH = 12
NUM_BATCHES = 12


def lengths(captions: Sequence[str]) -> NDArray[np.int64]:
    return np.array([[len(caption)] for caption in captions], np.int64)


def open_loader(pattern: str, cache: Path | None = None, ranks: Ranks = ALONE, room: int = 1 << 20) -> Loader:
    """Return a loader of blocks of 10 samples in windows of 20."""
    index = read_index(pattern, block_samples=10, cache=RangeCache(str(cache), room) if cache else None)
    options = LoaderOptions(32, 36, window_samples=20, num_threads=3)
    return Loader(index, lengths, LoaderState(0, 0, 5, BATCH, index.hash), options, ranks)


def urls(server: str) -> str:
    return f"{server}/{{00000..00002}}.tar"


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between attempts are short."""
    from trainer.loader import index, reading
    from trainer.loader.remote import Fetcher, Patience

    quick = Patience(stall_s=1, attempts=5, deadline_s=20, pause_s=0.01, max_pause_s=0.02)
    for module in (index, reading):
        monkeypatch.setattr(module, "Fetcher", lambda: Fetcher(quick))


def at_first(fault: Fault) -> Fault:
    """Return a fault of the first answer about each range."""
    seen: set[str] = set()

    def once(answer: Answer) -> None:
        name = f"{answer.path} {answer.headers['Content-Range']}"
        if name not in seen:
            seen.add(name)
            fault(answer)

    return once


def corrupt(answer: Answer) -> None:
    answer.body = answer.body[:-700] + bytes([answer.body[-700] ^ 1]) + answer.body[-699:]


def halve(answer: Answer) -> None:
    answer.sent = len(answer.body) // 2


FAULTS: dict[str, Fault] = {
    "none": lambda answer: None,
    "cut": at_first(halve),
    "busy": at_first(lambda answer: answer.refuse(503)),
    "slow": at_first(lambda answer: setattr(answer, "pause_s", 0.002)),
    "corrupt": at_first(corrupt),
}


@pytest.mark.parametrize("name", FAULTS)
def test_remote_batches_are_the_local_ones(shards: Path, tmp_path: Path, name: str) -> None:
    """Cut, refused, slow and corrupted answers change no batch; each block is fetched whole, once unless it was bad."""
    with serving(shards, FAULTS[name]) as served:
        found = take(open_loader(urls(served.url), tmp_path / "cache"), NUM_BATCHES)
    assert_same(found, take(open_loader(str(shards)), NUM_BATCHES))
    assert not any(batch.replaced for batch in found)
    if name == "none":
        assert max(Counter(served.ranges).values()) == 1
        assert len(served.ranges) <= 7  # blocks of 10 in shards of 25, 25 and 10


def test_the_cache_spares_a_second_run_the_network(shards: Path, tmp_path: Path) -> None:
    """What an earlier run left is used; nothing is asked for again."""
    with serving(shards) as served:
        for _ in range(2):
            take(open_loader(urls(served.url), tmp_path / "cache"), NUM_BATCHES)
        assert max(Counter(served.ranges).values()) == 1


def test_two_ranks_share_the_cache(shards: Path, tmp_path: Path) -> None:
    """Ranks of a machine fetch a block once, and make the batches of one process."""
    with serving(shards) as served:
        loaders = [open_loader(urls(served.url), tmp_path / "cache", Ranks(rank, 2)) for rank in range(2)]
        shares = [take(loader, NUM_BATCHES) for loader in loaders]
    assert max(Counter(served.ranges).values()) == 1
    for batch, *parts in zip(take(open_loader(str(shards)), NUM_BATCHES), *shares, strict=True):
        assert batch.keys == tuple(key for part in parts for key in part.keys)


@pytest.mark.parametrize("room", [25_000, 9_000, 100])
def test_a_small_cache_changes_nothing(shards: Path, tmp_path: Path, room: int) -> None:
    """Blocks come and go, or are never kept, but the batches are the same and the limit holds."""
    with serving(shards) as served:
        batches = iter(open_loader(urls(served.url), tmp_path / "cache", room=room))
        found = []
        for _ in range(NUM_BATCHES):
            found.append(next(batches))
            assert sum(each.stat().st_size for each in (tmp_path / "cache").glob("*.part")) <= room
        batches.close()
    assert_same(found, take(open_loader(str(shards)), NUM_BATCHES))


def test_without_a_folder_samples_are_fetched_one_by_one(shards: Path) -> None:
    """Two ranges a sample, and the same batches."""
    with serving(shards) as served:
        found = take(open_loader(urls(served.url)), 3)
    assert_same(found, take(open_loader(str(shards)), 3))


def test_an_image_that_is_always_wrong_is_replaced(samples: list[Sample], tmp_path: Path) -> None:
    """Its block is fetched three times; then its rows go to others, with the reason."""
    shards = write_shards(tmp_path / "shards", samples, 25)
    index = read_index(str(shards))
    place = index.locate(7)
    tar = shards / "00000.tar"
    data = bytearray(tar.read_bytes())
    data[place.image[0] + place.image[1] // 2] ^= 255
    tar.write_bytes(data)
    with serving(shards) as served:
        batches = take(open_loader(urls(served.url), tmp_path / "cache"), NUM_SAMPLES // BATCH * 2)
    replaced = [one for batch in batches for one in batch.replaced]
    assert {one.key for one in replaced} == {place.key}
    assert all(one.reason.startswith("wrong_checksum") for one in replaced)
    assert max(Counter(served.ranges).values()) == 3


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda answer: answer.refuse(404), "expected a file here, found nothing (HTTP 404)"),
        (lambda answer: setattr(answer, "status", 200), "the server sends no parts of files"),
        (lambda answer: answer.refuse(500), "found no way to them within 5 attempts"),
    ],
)
def test_a_server_that_will_not_is_one_line(shards: Path, tmp_path: Path, fault: Fault, message: str) -> None:
    """The loader ends with the reason, in bounded time, and leaves no thread."""
    with serving(shards, fault) as served, pytest.raises(InputError) as caught:
        take(open_loader(urls(served.url), tmp_path / "cache"), 1)
    assert message in str(caught.value)
    assert not [each for each in threading.enumerate() if each.name.startswith("wit-")]


def test_the_first_failure_ends_what_others_wait_for(shards: Path, tmp_path: Path) -> None:
    """One shard is refused while the others trickle for minutes: the loader ends soon, and with that reason."""

    def refuse_or_trickle(answer: Answer) -> None:
        if answer.path == "00001.tar":
            answer.refuse(403)
        else:
            answer.pause_s = 0.3  # a piece of 1,000 bytes

    started = time.monotonic()
    with serving(shards, refuse_or_trickle) as served, pytest.raises(InputError, match=r"00001\.tar: .*HTTP 403"):
        take(open_loader(urls(served.url), tmp_path / "cache"), 1)
    assert time.monotonic() - started < 8  # of 40 for a shard


def test_a_manifest_says_what_the_indexes_do(tmp_path: Path) -> None:
    """The hash is the same with a manifest as without one, on a disk and behind a URL."""
    shards = write_shards(tmp_path / "shards", make_samples(9), 3)
    before = read_index(str(shards))
    write_manifest(str(shards))
    with serving(shards) as served:
        index = read_index(f"{served.url}/{{00000..00002}}.tar")
        assert (index.hash, len(index)) == (before.hash, 9)
    (shards / "00001.parquet").write_bytes((shards / "00001.parquet").read_bytes() + b" ")  # not what it says
    with pytest.raises(InputError, match="not a readable Parquet"):
        read_index(str(shards))
    (shards / "00001.parquet").write_bytes((shards / "00001.parquet").read_bytes()[:-1])
    local = read_index(str(shards))
    assert (local.hash, len(local)) == (before.hash, len(before))


def test_a_run_on_remote_shards_is_the_run_on_local_ones(shards: Path, tmp_path: Path) -> None:
    """Through `train`, with a server that cuts: the same samples, the same losses; the cache lies in OUT."""
    out, local = tmp_path / "remote", tmp_path / "local"
    with serving(shards, at_first(halve)) as served:
        train(micro_recipe(epochs=1), urls(served.url), str(out), "cpu")
    train(micro_recipe(epochs=1), str(shards), str(local), "cpu")
    assert metrics(out) == metrics(local)
    assert list((out / "shards").glob("*.part"))
