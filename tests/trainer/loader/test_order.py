"""The order of training: what it promises, whatever the sizes."""

from __future__ import annotations

from itertools import islice

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainer.loader.order import MAX_SUBSTITUTES, Ints, LoaderState, Order, block_edges, crop_places, shuffled

counts_of_shards = st.lists(st.integers(0, 40), min_size=1, max_size=8).filter(lambda counts: sum(counts) > 0)


def one_set(counts: list[int], batch_size: int, seed: int = 0, block: int = 7, window: int = 30) -> Order:
    return Order([block_edges(counts, block)], [1.0], window, seed, batch_size)


def epoch_of(order: Order, epoch: int) -> list[int]:
    return [int(one) for number in range(order.batches_per_epoch) for one in order.batch(epoch, number).samples]


# --- the pieces ---


@given(st.integers(0, 300), st.integers(0, 2**40), st.integers(-1, 1000))
def test_a_shuffle_is_a_permutation(num_samples: int, seed: int, number: int) -> None:
    """Every sample comes exactly once, in an order that the numbers alone decide."""
    order = shuffled(num_samples, seed, number)
    assert sorted(order.tolist()) == list(range(num_samples))
    assert np.array_equal(order, shuffled(num_samples, seed, number))


def test_orders_are_pinned() -> None:
    """The order and the crops are the same on every machine and with every version of the libraries."""
    assert shuffled(10, 0, 0).tolist() == PINNED_ORDER
    assert crop_places(np.arange(2), 0, np.zeros(2, np.int64)).round(6).tolist() == PINNED_PLACES
    assert epoch_of(one_set([9, 10, 11], 5, block=4, window=12), 3) == PINNED_EPOCH


def test_epochs_and_seeds_are_shuffled_apart() -> None:
    """Two epochs, two seeds, agree on no more places than chance: about 1 in 1,000."""
    first, later, other = shuffled(1_000, 0, 0), shuffled(1_000, 0, 1), shuffled(1_000, 1, 0)
    assert max(int((first == later).sum()), int((first == other).sum()), int((first == np.arange(1_000)).sum())) < 8


def test_crops_are_uniform_and_apart() -> None:
    """Crop places fill the square evenly; another round of the set crops elsewhere; the batch does not count."""
    samples, zero = np.arange(20_000), np.zeros(20_000, np.int64)
    places = crop_places(samples, 1, zero + 2)
    assert places.min() >= 0
    assert places.max() < 1
    counts, _, _ = np.histogram2d(places[:, 0], places[:, 1], bins=4, range=[[0, 1], [0, 1]])
    assert abs(counts / 20_000 - 1 / 16).max() < 0.006  # three deviations of 0.0017, and some
    assert not np.array_equal(places, crop_places(samples, 1, zero + 3))
    mixed = crop_places(samples[::-1], 1, samples[::-1] % 2 + 2)[::-1]
    assert np.array_equal(mixed[::2], places[::2])


@given(counts_of_shards, st.integers(1, 50), st.integers(0, 1000))
def test_blocks_cut_shards(counts: list[int], block: int, first: int) -> None:
    """Blocks cover the samples without gap, hold at most so many, and never reach from one shard into the next."""
    edges = block_edges(counts, block, first)
    assert (edges[0], edges[-1]) == (first, first + sum(counts))
    sizes = edges[1:] - edges[:-1]
    assert sizes.min() >= 1
    assert sizes.max() <= block
    assert set(first + np.cumsum(counts)) <= set(edges)


# --- one set ---


@given(counts_of_shards, st.integers(1, 9), st.integers(1, 60), st.integers(1, 12), st.integers(0, 2**63 - 1))
def test_an_epoch_sees_each_sample_once(counts: list[int], batch: int, window: int, block: int, seed: int) -> None:
    """No sample comes twice in an epoch, and all but those of the last, incomplete batch come."""
    order = one_set(counts, batch, seed, block, window)
    for epoch in (0, 5):
        found = epoch_of(order, epoch)
        assert len(set(found)) == len(found) == sum(counts) // batch * batch
        assert set(found) <= set(range(sum(counts)))


@given(counts_of_shards, st.integers(1, 60), st.integers(1, 12), st.integers(0, 2**40))
def test_a_batch_is_the_same_wherever_one_begins(counts: list[int], window: int, block: int, seed: int) -> None:
    """Asked for in any order, or from any state on, a batch holds the same rows."""
    order, other = one_set(counts, 1, seed, block, window), one_set(counts, 1, seed, block, window)
    wanted = [order.batch(epoch, number).samples.tolist() for epoch in range(2) for number in range(sum(counts))]
    found = {
        (epoch, number): other.batch(epoch, number).samples.tolist()
        for epoch in (1, 0)
        for number in reversed(range(sum(counts)))
    }
    assert [found[key] for key in sorted(found)] == wanted
    state = LoaderState(0, sum(counts) // 2, seed, 1, "")
    plans = list(islice(other.plans(state), sum(counts)))
    assert [rows.samples.tolist() for _, rows in plans] == wanted[state.batch :][: len(plans)]
    assert plans[-1][0] == LoaderState(1, state.batch, seed, 1, "")


@given(counts_of_shards, st.sampled_from([1, 2, 3, 4, 6, 12]), st.integers(0, 2**40))
def test_ranks_change_nothing(counts: list[int], size: int, seed: int) -> None:
    """The rows of all ranks together are those of the batch, and each row's substitutes are the same."""
    order = one_set(counts, 12, seed)
    for number in range(order.batches_per_epoch):
        whole = order.batch(1, number)
        share = 12 // size
        parts = [order.batch(1, number, range(rank * share, (rank + 1) * share)) for rank in range(size)]
        assert np.array_equal(np.concatenate([part.samples for part in parts]), whole.samples)
        found = [list(part[row : row + 1].candidates(0)) for part in parts for row in range(len(part))]
        assert found == [list(whole.candidates(row)) for row in range(12)]


@given(st.integers(2, 40), st.integers(1, 200), st.integers(0, 2**40))
def test_windows_are_bounded(num_shards: int, window: int, seed: int) -> None:
    """No window holds more than half as much again as asked, and a block at its end; blocks stay whole."""
    edges = block_edges([25] * num_shards, 10)
    chain = Order([edges], [1.0], window, seed, 1).sets[0]
    place = 0
    while place < chain.num_samples:
        found = chain.window_at(3, place)
        assert found.start == place
        assert len(found.samples) <= max(1.5 * window, 2) + 10
        blocks, sizes = np.unique(np.searchsorted(edges, found.samples, side="right") - 1, return_counts=True)
        assert np.array_equal(sizes, (edges[1:] - edges[:-1])[blocks])
        place += len(found.samples)


def test_a_rank_reads_few_blocks() -> None:
    """With 64 ranks and 64 blocks in a window, the rows of a rank come from two or three blocks, not from 30."""
    order = one_set([1_000] * 256, 2_048, block=1_000, window=64_000)
    for number in range(0, order.batches_per_epoch, 7):
        rows = order.batch(0, number, range(32 * 5, 32 * 6)).samples
        assert len(np.unique(rows // 1_000)) <= 4  # one more where a batch reaches from one window into the next


def test_a_set_smaller_than_a_window_is_shuffled_wholly() -> None:
    """Then neither shards nor blocks leave a trace in the order: it is that of `shuffled`."""
    order = one_set([13, 20, 7], 1, seed=9, block=3, window=40)
    assert epoch_of(order, 4) == shuffled(40, 9, 4).tolist()


def test_neighbours_are_torn_apart() -> None:
    """In a large set, samples of a block come in batches all over the window, and blocks move between epochs."""
    order = one_set([1_000] * 100, 500, block=100, window=10_000)
    batches = np.array([order.batch(0, number).samples for number in range(200)])
    places = {int(sample): number for number, batch in enumerate(batches) for sample in batch}
    spread = [np.std([places[sample] for sample in range(start, start + 100)]) for start in range(0, 100_000, 5_000)]
    assert 4.5 < np.mean(spread) < 7  # 20 batches a window: a uniform one's deviation is 20 / sqrt(12) = 5.8
    later = np.array([order.batch(1, number).samples for number in range(200)])
    assert np.mean([len(np.intersect1d(one, other)) for one, other in zip(batches, later, strict=True)]) < 30


def test_candidates_come_from_the_window() -> None:
    """A row's first candidate is its sample; the others lie a batch further in its window, and are not the same."""
    order = one_set([10] * 9, 4, window=30, block=5)
    for number in range(order.batches_per_epoch):
        rows = order.batch(2, number)
        for row in range(4):
            found = list(rows.candidates(row))
            window = rows.windows[rows.window[row]].tolist()
            assert found[0] == rows.samples[row]
            assert len(found) == MAX_SUBSTITUTES + 1
            at = window.index(found[0])
            assert found[1] == (window[at + 4] if at + 4 < len(window) else window[at + 4 - len(window) + 1])
            assert set(found) == set(window)


# --- several sets ---


@given(
    st.lists(st.tuples(counts_of_shards, st.sampled_from([0.25, 0.5, 1.0, 1.3, 2.0, 3.0])), min_size=1, max_size=4),
    st.integers(0, 2**40),
)
def test_weights_are_kept(sets: list[tuple[list[int], float]], seed: int) -> None:
    """Over the places of an epoch each set has its share, and over its chain no sample is ever two times ahead."""
    edges, first = list[Ints](), 0
    for counts, _ in sets:
        edges.append(block_edges(counts, 6, first))
        first += sum(counts)
    order = Order(edges, [weight for _, weight in sets], 25, seed, 1)
    seen = np.zeros(first, int)
    for epoch in range(4):
        for number in range(order.num_places):
            seen[order.batch(epoch, number).samples] += 1
        for each, share in zip(order.sets, order.shares, strict=True):
            mine = seen[each.edges[0] : each.edges[-1]]
            assert mine.sum() == share * (epoch + 1)
            assert mine.max() - mine.min() <= 1
    assert order.batches_per_epoch == sum(order.shares)


@given(st.lists(st.integers(1, 300), min_size=2, max_size=5), st.integers(0, 400))
def test_sets_are_mixed_evenly(sizes: list[int], places: int) -> None:
    """Of any first places of an epoch each set has its part, to within as many samples as there are sets."""
    firsts = np.concatenate([[0], np.cumsum(sizes)])
    order = Order(
        [block_edges([n], 50, int(at)) for n, at in zip(sizes, firsts, strict=False)], [1.0] * len(sizes), 80, 0, 8
    )
    places = min(places, sum(sizes))
    counts, more = order._counts(places), order._counts(places + 1)
    assert sum(counts) == places
    if places < sum(sizes):
        assert sum(more) - sum(counts) == 1
        assert min(b - a for a, b in zip(counts, more, strict=True)) == 0
    for count, size in zip(counts, sizes, strict=True):
        assert abs(count - places * size / sum(sizes)) <= len(sizes)


PINNED_ORDER = [7, 9, 2, 6, 3, 0, 1, 8, 4, 5]
PINNED_PLACES = [[0.505155, 0.093818], [0.552147, 0.487051]]
PINNED_EPOCH = [
    0,
    2,
    10,
    11,
    8,
    12,
    19,
    20,
    21,
    9,
    13,
    14,
    1,
    6,
    7,
    27,
    29,
    17,
    22,
    24,
    28,
    3,
    4,
    16,
    18,
    26,
    5,
    15,
    23,
    25,
]
