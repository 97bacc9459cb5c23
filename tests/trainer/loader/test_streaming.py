"""Training on tars without an index, from the first batch on: in their order, then shuffled; exact after a stop."""

from __future__ import annotations

import io
import tarfile
import threading
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.trainer.conftest import Sample, make_samples
from tests.trainer.loader.servers import serving
from tests.trainer.loader.test_loader import take
from trainer.loader.loader import Loader, LoaderOptions
from trainer.loader.order import LoaderState
from trainer.loader.streaming import open_index
from trainer.parallel.ranks import ALONE, Ranks
from trainer.recipe import Data
from wit.errors import InputError, MismatchError

BATCH, SHARDS, EACH = 8, 4, 11
TOTAL = SHARDS * EACH
PER_EPOCH = TOTAL // BATCH

Members = list[tuple[str, bytes]]


def lengths(captions: Sequence[str]) -> NDArray[np.int64]:
    return np.array([[len(caption)] for caption in captions], np.int64)


def write_tar(path: Path, members: Members) -> None:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def members_of(samples: Sequence[Sample], first: int = 0, caption: str = "txt") -> Members:
    """Return a picture and a caption for each sample; stems begin anew in each tar, as others' do."""
    found: Members = []
    for number, (row, body) in enumerate(samples, first):
        found += [(f"{number:04d}.jpg", body), (f"{number:04d}.{caption}", str(row["caption"]).encode())]
    return found


@pytest.fixture(scope="module")
def pictures() -> list[Sample]:
    return make_samples(TOTAL, "streamed")


@pytest.fixture
def tars(pictures: list[Sample], tmp_path: Path) -> Path:
    """Four tars of eleven samples, which know nothing of each other: the same stems in each."""
    for number in range(SHARDS):
        write_tar(tmp_path / "tars" / f"{number}.tar", members_of(pictures[number * EACH : (number + 1) * EACH]))
    return tmp_path / "tars"


def open_loader(
    pattern: str | Path, folder: Path, state: LoaderState | None = None, ranks: Ranks = ALONE, num_samples: int = TOTAL
) -> Loader:
    data = Data(num_samples=num_samples, block_samples=5, shard_cache_gb=0.1)
    index = open_index([str(pattern)], data, str(folder))
    state = state or LoaderState(0, 0, 3, BATCH, index.hash)
    return Loader(index, lengths, state, LoaderOptions(32, 36, window_samples=20, prefetch_batches=1), ranks)


def test_the_first_epoch_is_in_order_and_the_next_is_shuffled(
    tars: Path, pictures: list[Sample], tmp_path: Path
) -> None:
    """Equal stems in several tars are several samples, each once an epoch; the second epoch has another order."""
    batches = take(open_loader(tars, tmp_path / "cache"), 2 * PER_EPOCH)
    wanted = [len(str(row["caption"])) for row, _ in pictures]
    first = [int(one) for batch in batches[:PER_EPOCH] for one in batch.tokens[:, 0]]
    assert first == wanted[: PER_EPOCH * BATCH]
    images = [image.tobytes() for batch in batches[:PER_EPOCH] for image in batch.images]
    assert len(set(images)) == PER_EPOCH * BATCH
    assert [(batch.state.epoch, batch.state.batch) for batch in batches] == [
        divmod(number, PER_EPOCH) for number in range(1, 2 * PER_EPOCH + 1)
    ]
    later = [int(one) for batch in batches[PER_EPOCH:] for one in batch.tokens[:, 0]]
    assert later != first
    assert not any(batch.replaced for batch in batches)


@pytest.mark.parametrize("done", [1, 3, PER_EPOCH, PER_EPOCH + 2])
@pytest.mark.parametrize("size", [1, 4])
def test_it_goes_on_from_any_batch_with_any_ranks(tars: Path, tmp_path: Path, done: int, size: int) -> None:
    """By the byte cursor, with other ranks, with or without what was walked: the tail is the same."""
    whole = take(open_loader(tars, tmp_path / "cache"), 2 * PER_EPOCH)
    state = LoaderState(**whole[done - 1].state.to_json())
    for folder in (tmp_path / "cache", tmp_path / "empty"):
        parts = [
            take(open_loader(tars, folder, state, Ranks(rank, size)), 2 * PER_EPOCH - done) for rank in range(size)
        ]
        for batch, *shares in zip(whole[done:], *parts, strict=True):
            assert {share.state for share in shares} == {batch.state}
            assert np.array_equal(batch.images, np.concatenate([share.images for share in shares]))


def test_remote_tars_are_streamed_alike(tars: Path, tmp_path: Path) -> None:
    """Behind a URL the batches are the same, and no byte is asked for twice."""
    with serving(tars) as served:
        loader = open_loader(f"{served.url}/{{0..3}}.tar", tmp_path / "remote")
        found = take(loader, 2 * PER_EPOCH)
    local = take(open_loader(tars, tmp_path / "local"), 2 * PER_EPOCH)
    assert [batch.keys for batch in found] == [batch.keys for batch in local]
    assert all(np.array_equal(one.images, other.images) for one, other in zip(found, local, strict=True))
    assert len(set(served.ranges)) == len(served.ranges) == SHARDS


def test_the_first_batch_does_not_wait_for_the_last_tar(tars: Path, tmp_path: Path) -> None:
    """A tar that is not there yet is missed when its turn comes, not before."""
    (tars / "late").write_bytes((tars / "3.tar").read_bytes())
    loader = open_loader(f"{tars}/{{0..3}}.tar", tmp_path / "cache")
    (tars / "3.tar").unlink()
    batches = iter(loader)
    assert len(list(islice(batches, 1))) == 1
    with pytest.raises(InputError, match=r"3\.tar"):
        list(islice(batches, PER_EPOCH))
    batches.close()


def test_other_shards_are_refused(tars: Path, tmp_path: Path, pictures: list[Sample]) -> None:
    """A state whose byte cursor does not lie where its sample begins is of other tars."""
    state = take(open_loader(tars, tmp_path / "cache"), 2)[1].state
    write_tar(tars / "0.tar", [("first.txt", b"one more"), *members_of(pictures[:EACH])])
    write_tar(tars / "1.tar", members_of(pictures[: EACH + 3]))
    write_tar(tars / "0.tar", members_of(pictures[: EACH - 2]))
    with pytest.raises(MismatchError, match="expected sample 16 in shard 1 at byte"):
        take(open_loader(tars, tmp_path / "cache", state), 1)


# --- what is broken ---


@pytest.mark.parametrize("size", [1, 2])
def test_a_tar_cut_short_gives_what_is_whole(tars: Path, tmp_path: Path, size: int) -> None:
    """Samples before the cut are trained on; the tar and the reason are told once, by one rank, at its end."""
    data = (tars / "1.tar").read_bytes()
    (tars / "1.tar").write_bytes(data[: len(data) // 2])
    loaders = [open_loader(tars, tmp_path / "cache", ranks=Ranks(rank, size)) for rank in range(size)]
    told = [one for loader in loaders for batch in take(loader, 4) for one in batch.replaced]
    assert [one.key for one in told] == [str(tars / "1.tar")]
    assert told[0].reason.startswith("broken_tar")
    assert "breaks off at byte" in told[0].reason


def test_noise_in_the_middle_of_a_tar_ends_it(tars: Path, tmp_path: Path) -> None:
    """What follows a header that is none cannot be found; the next tar goes on."""
    data = bytearray((tars / "2.tar").read_bytes())
    data[len(data) // 2 :] = bytes(range(1, 256)) * (len(data) // 255)
    (tars / "2.tar").write_bytes(data)
    told = [one for batch in take(open_loader(tars, tmp_path / "cache"), 4) for one in batch.replaced]
    assert len(told) >= 1
    assert all("2.tar" in one.key or one.reason.startswith(("corrupt", "not_image")) for one in told)


def test_samples_without_an_image_are_told(pictures: list[Sample], tmp_path: Path) -> None:
    """They are in no batch, and counted."""
    members = members_of(pictures[:20])
    write_tar(tmp_path / "tars" / "0.tar", [*members, ("90.txt", b"alone"), ("91.txt", b"alone")])
    loader = open_loader(tmp_path / "tars", tmp_path / "cache", num_samples=20)
    told = [one for batch in take(loader, 4) for one in batch.replaced]
    assert ("no_image: 2 samples", "") in [(one.reason, one.by) for one in told]


def test_captions_under_another_name_are_an_error(pictures: list[Sample], tmp_path: Path) -> None:
    """Pairs whose captions are where none looks end in one line that says so; they are not trained on blank."""
    write_tar(tmp_path / "tars" / "0.tar", members_of(pictures[:20], caption="words"))
    with pytest.raises(InputError, match=r"bad samples in a row, the first .*no_caption"):
        take(open_loader(tmp_path / "tars", tmp_path / "cache", num_samples=20), 1)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], "expected samples, found 1 shards that hold none"),
        ([("a.txt", b"text")], r"expected samples, found 1 shards that hold none \(no_image: 1 samples\)"),
        ([("a.jpg", b"x"), ("a.txt", b"text")], "expected at least one batch of 8 samples, found 1"),
        ([("a" * 70_000 + ".jpg", b"x")], "that hold none .broken_tar: .*0.tar: an extended tar header is larger"),
    ],
)
def test_nothing_to_train_on_is_an_error(tmp_path: Path, members: Members, message: str) -> None:
    """Tars without samples, or with too few, end in one line."""
    write_tar(tmp_path / "tars" / "0.tar", members)
    with pytest.raises(InputError, match=message):
        take(open_loader(tmp_path / "tars", tmp_path / "cache"), 1)


def test_without_a_number_of_samples_an_index_is_asked_for(tars: Path, tmp_path: Path) -> None:
    """The way out is named: to index the tars, or to say how many samples they hold."""
    with pytest.raises(InputError, match=r"0\.parquet: expected a file here.*wit shards index.*data\.num_samples"):
        open_index([str(tars)], Data(), str(tmp_path / "cache"))
    with pytest.raises(InputError, match="expected no weights"):
        open_index([f"2={tars}"], Data(num_samples=9), str(tmp_path / "cache"))


def test_no_thread_is_left(tars: Path, tmp_path: Path) -> None:
    """A loader that is abandoned walks no further."""
    take(open_loader(tars, tmp_path / "cache"), 1)
    for thread in threading.enumerate():
        if thread.name.startswith("wit-"):
            thread.join(5)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("wit-")]


def test_a_store_that_cannot_be_spoken_to_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that fetches ahead meets it too, and says nothing."""
    told: list[object] = []
    monkeypatch.setattr(threading, "excepthook", told.append)
    loader = open_loader("nostore://bucket/{0..2}.tar", tmp_path / "kept")
    with pytest.raises(InputError, match="no file system for this URL"):
        next(iter(loader))
    assert not told
