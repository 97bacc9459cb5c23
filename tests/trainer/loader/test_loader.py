from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.trainer.conftest import NUM_SAMPLES, Sample, make_sample, make_samples, write_shards
from trainer.loader import reading
from trainer.loader.decode import decode_crops
from trainer.loader.index import read_index
from trainer.loader.loader import Batch, Loader, LoaderOptions
from trainer.loader.order import LoaderState
from trainer.parallel.ranks import ALONE, Ranks
from wit.errors import InputError, MismatchError, UserError

BATCH_SIZE = 16
BATCHES_PER_EPOCH = NUM_SAMPLES // BATCH_SIZE


def lengths(captions: Sequence[str]) -> NDArray[np.int64]:
    """A tokenizer that counts letters."""
    return np.array([[len(caption)] for caption in captions], np.int64)


def open_loader(shards: Path, state: LoaderState | None = None, ranks: Ranks = ALONE, **options: Any) -> Loader:
    index = read_index(str(shards))
    state = state or LoaderState(0, 0, seed=5, batch_size=BATCH_SIZE, index_hash=index.hash)
    return Loader(index, lengths, state, LoaderOptions(image_px=32, resize_px=36, **options), ranks)


def take(loader: Loader, count: int) -> list[Batch]:
    batches = iter(loader)
    try:
        return list(islice(batches, count))
    finally:
        batches.close()


def assert_same(left: list[Batch], right: list[Batch]) -> None:
    assert [batch.keys for batch in left] == [batch.keys for batch in right]
    assert [batch.state for batch in left] == [batch.state for batch in right]
    for one, other in zip(left, right, strict=True):
        assert np.array_equal(one.images, other.images)
        assert np.array_equal(one.tokens, other.tokens)


# --- batches ---


def test_batches_hold_the_samples_of_the_order(shards: Path, samples: list[Sample]) -> None:
    """Keys, captions and pictures belong together, and follow the epoch's order; the last partial batch is left out."""
    index = read_index(str(shards))
    captions = {str(row["key"]): str(row["caption"]) for row, _ in samples}
    loader = open_loader(shards)
    batches = take(loader, 2 * BATCHES_PER_EPOCH)
    for epoch in (0, 1):
        for number, batch in enumerate(batches[epoch * BATCHES_PER_EPOCH : (epoch + 1) * BATCHES_PER_EPOCH]):
            assert list(batch.keys) == [index.key(sample) for sample in loader.order.batch(epoch, number).samples]
    for batch in batches:
        assert batch.images.shape == (BATCH_SIZE, 3, 32, 32)
        assert batch.tokens[:, 0].tolist() == [len(captions[key]) for key in batch.keys]


@pytest.mark.parametrize("done", [1, BATCHES_PER_EPOCH - 1, BATCHES_PER_EPOCH, BATCHES_PER_EPOCH + 2])
def test_any_batch_can_be_gone_on_from(shards: Path, done: int) -> None:
    """The state beside a batch gives exactly the batches that would have followed, pixels included."""
    batches = take(open_loader(shards), 2 * BATCHES_PER_EPOCH + 1)
    state = batches[done - 1].state
    assert (state.epoch, state.batch) == divmod(done, BATCHES_PER_EPOCH)
    assert LoaderState(**state.to_json()) == state
    assert_same(take(open_loader(shards, state), len(batches) - done), batches[done:])


@pytest.mark.parametrize(
    "options",
    [{"num_threads": 1}, {"num_threads": 7, "prefetch_batches": 9}, {"prefetch_batches": 1}, {"cache_bytes": 100_000}],
)
def test_threads_and_memory_change_nothing(shards: Path, options: dict[str, Any]) -> None:
    """However many threads, batches ahead, or bytes of cache: the batches are the same."""
    assert_same(take(open_loader(shards, **options), 7), take(open_loader(shards), 7))


def test_large_samples_are_read_one_by_one(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are the same batches; the memory that a thread keeps holds none of them."""
    wanted = take(open_loader(shards), 3)
    monkeypatch.setattr(reading, "_LARGE_BYTES", 4_000)
    loader = open_loader(shards)
    assert_same(take(loader, 3), wanted)
    read = loader.reader.read_all(np.arange(30))
    assert 0 < read.captions.count(None) < 30
    assert len(read.data) < 30 * 4_000


def test_the_cache_is_bounded_and_spares_decoding(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for all, later epochs decode nothing; with none, everything again."""
    import trainer.loader.loader

    decoded: list[int] = []

    def counting(original: Callable[..., Any]) -> Callable[..., Any]:
        def count(*arguments: object) -> Any:
            found = original(*arguments)
            decoded.extend([1] * (int(found.sum()) if original is decode_crops else 1))
            return found

        return count

    for name in ("decode_short_side", "decode_crop", "decode_crops"):
        monkeypatch.setattr(trainer.loader.loader, name, counting(getattr(trainer.loader.loader, name)))
    for cache_bytes, most in ((1 << 24, NUM_SAMPLES), (0, 10**6)):
        decoded.clear()
        take(open_loader(shards, cache_bytes=cache_bytes, num_threads=1), 6 * BATCHES_PER_EPOCH)
        assert NUM_SAMPLES * 0.7 < len(decoded) <= most
    assert len(decoded) >= 6 * BATCHES_PER_EPOCH * BATCH_SIZE


@pytest.mark.parametrize("size", [2, 4])
def test_ranks_share_the_batches(shards: Path, size: int) -> None:
    """The rows of all ranks, one rank after the other, are the batches of one process, pixels and states included."""
    whole = take(open_loader(shards), 7)
    parts = [take(open_loader(shards, ranks=Ranks(rank, size)), 7) for rank in range(size)]
    for batch, *shares in zip(whole, *parts, strict=True):
        assert {share.state for share in shares} == {batch.state}
        assert batch.keys == tuple(key for share in shares for key in share.keys)
        assert np.array_equal(batch.images, np.concatenate([share.images for share in shares]))
        assert np.array_equal(batch.tokens, np.concatenate([share.tokens for share in shares]))


def test_ranks_must_divide_the_batch(shards: Path) -> None:
    """A batch that cannot be shared out evenly is refused in one line."""
    with pytest.raises(UserError, match=r"expected a multiple of 3, .* found 16"):
        open_loader(shards, ranks=Ranks(0, 3))


# --- what cannot be used ---


def test_a_bad_sample_is_replaced_by_the_rule(samples: list[Sample], tmp_path: Path) -> None:
    """A sample that cannot be decoded gives its row to its next candidate; nothing else moves."""
    broken = make_sample("http://pictures.example/broken", "a broken picture", b"\xff\xd8\xffbroken")
    shards = write_shards(tmp_path, sorted([*samples, broken], key=lambda one: str(one[0]["key"])), 25)
    index = read_index(str(shards))
    state = LoaderState(0, 0, seed=1, batch_size=BATCH_SIZE, index_hash=index.hash)
    times = 0
    for epoch in range(12):
        loader = open_loader(shards, replace(state, epoch=epoch))
        for number, batch in enumerate(take(loader, BATCHES_PER_EPOCH)):
            rows = loader.order.batch(epoch, number)
            wanted = [index.key(sample) for sample in rows.samples]
            if broken[0]["key"] in wanted:
                row = wanted.index(str(broken[0]["key"]))
                wanted[row] = index.key(list(rows.candidates(row))[1])
                assert [(one.key, one.by) for one in batch.replaced] == [(broken[0]["key"], wanted[row])]
                assert batch.replaced[0].reason.startswith("corrupt_image")
                times += 1
            assert list(batch.keys) == wanted
            assert batch.images.shape[0] == BATCH_SIZE
    assert times


def test_nothing_but_bad_samples_is_an_error(tmp_path: Path) -> None:
    """Shards in which nothing can be decoded end in one clear line, not in an endless search."""
    bad = [make_sample(f"http://pictures.example/{n}", "text", b"no picture") for n in range(20)]
    shards = write_shards(tmp_path, sorted(bad, key=lambda one: str(one[0]["key"])), 25)
    with pytest.raises(InputError, match=r"found 65 bad samples in a row, the first .*not_image"):
        take(open_loader(shards), 1)


def test_a_state_of_other_shards_is_refused(shards: Path, tmp_path: Path) -> None:
    """A state belongs to its shards; with fewer samples than a batch there is nothing to train on."""
    state = LoaderState(0, 3, seed=5, batch_size=BATCH_SIZE, index_hash="0" * 64)
    with pytest.raises(MismatchError, match="000000"):
        open_loader(shards, state)
    with pytest.raises(InputError, match="at least one batch of 16 samples, found 5"):
        open_loader(write_shards(tmp_path, make_samples(5), 25))


def test_a_shard_that_vanishes_stops_the_loader(samples: list[Sample], tmp_path: Path) -> None:
    """Bytes that cannot be read are no bad sample: the error names the tar."""
    shards = write_shards(tmp_path, samples, 25)
    loader = open_loader(shards)
    (shards / "00001.tar").unlink()
    with pytest.raises(InputError, match=r"00001\.tar: cannot be read"):
        take(loader, 3)


def test_an_abandoned_loader_leaves_no_thread(shards: Path) -> None:
    """Closing the iterator ends its threads, however much was under way."""
    import threading

    take(open_loader(shards, num_threads=4, prefetch_batches=8), 1)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("wit-loader")]
