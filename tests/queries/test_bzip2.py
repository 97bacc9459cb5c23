"""bzip2 by blocks: wherever a file is cut, and whatever is damaged in it."""

from __future__ import annotations

import bz2
import random
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queries import bzip2
from queries.bzip2 import BLOCK_MAGIC, FOOTER_MAGIC, find_magics, read_blocks, shifted
from queries.seams import Event, Gap, Piece


def _noise(num_bytes: int, seed: int = 0) -> bytes:
    """Return text that compresses badly, so that blocks are full."""
    return random.Random(seed).randbytes(num_bytes).hex().encode()[:num_bytes]


def _events(data: bytes, *cuts: int) -> list[Event]:
    """Read a file in the stretches between cuts."""
    borders = [0, *cuts, len(data)]
    return [
        event
        for start, end in pairwise(borders)
        for event in read_blocks(lambda first, last: data[first:last], start, end, len(data))
    ]


def _content(events: list[Event]) -> bytes:
    assert all(isinstance(event, Piece) for event in events), events
    return b"".join(event.xml for event in events if isinstance(event, Piece))


def _found_bit_by_bit(data: bytes) -> tuple[list[int], list[bool]]:
    """Return the magics, looked for bit by bit."""
    whole = int.from_bytes(data)
    bits = 8 * len(data)
    values = [(place, whole >> (bits - 48 - place) & (1 << 48) - 1) for place in range(bits - 47)]
    found = [(place, value == BLOCK_MAGIC) for place, value in values if value in (BLOCK_MAGIC, FOOTER_MAGIC)]
    return [place for place, _ in found], [is_block for _, is_block in found]


@given(st.lists(st.tuples(st.sampled_from([BLOCK_MAGIC, FOOTER_MAGIC]), st.integers(0, 70)), max_size=6), st.binary())
@settings(max_examples=300, deadline=None)
def test_magics_are_found_at_any_bit(planted: list[tuple[int, int]], tail: bytes) -> None:
    """The search finds what a look at every single bit finds, also at the first and the last bits."""
    value, bits = 1, 1
    for magic, gap in planted:
        value, bits = (value << 48 | magic) << gap, bits + 48 + gap
    data = (value << (-bits % 8)).to_bytes((bits + 7) // 8) + tail
    for each in (data, data[1:]):
        places, is_block = find_magics(each)
        assert (places.tolist(), is_block.tolist()) == _found_bit_by_bit(each)


@given(st.binary(min_size=1, max_size=40), st.data())
@settings(max_examples=200, deadline=None)
def test_shifting_is_what_it_is_on_numbers(data: bytes, draw: st.DataObject) -> None:
    """Bits [begin, end) come as bytes that begin with the first of them, zeros after the last."""
    begin = draw.draw(st.integers(0, 8 * len(data) - 1))
    end = draw.draw(st.integers(begin + 1, 8 * len(data)))
    value = int.from_bytes(data) >> (8 * len(data) - end) & ((1 << (end - begin)) - 1)
    num_bytes = (end - begin + 7) // 8
    assert shifted(data, begin, end).tobytes() == (value << (-(end - begin) % 8)).to_bytes(num_bytes)


@pytest.mark.parametrize("level", range(1, 10))
def test_a_single_stream_of_any_level_is_read_in_stretches(level: int) -> None:
    """A stream of several blocks gives its content, read at once or in stretches cut anywhere."""
    content = _noise(260_000 * min(level, 4), level)
    data = bz2.compress(content, level)
    assert _content(_events(data)) == content
    cuts = sorted(random.Random(level).sample(range(len(data)), 7))
    assert _content(_events(data, *cuts)) == content


SMALL = [_noise(size, size) for size in (3, 40, 0, 1, 60, 0, 30)]
STREAMS = [bz2.compress(content, 1 + number) for number, content in enumerate(SMALL)]


def test_many_streams_are_read_cut_at_every_byte() -> None:
    """Streams one after the other, empty ones among them, give their content wherever the file is cut."""
    data, content = b"".join(STREAMS), b"".join(SMALL)
    for cut in range(1, len(data)):
        assert _content(_events(data, cut)) == content
    for step in (1, 3, 50):
        assert _content(_events(data, *range(step, len(data), step))) == content


def _blocks(data: bytes) -> list[tuple[int, int]]:
    """Return the blocks of a file as (first bit, bit after the last)."""
    places, is_block = find_magics(data)
    bounds = [*places.tolist(), 8 * len(data)]
    return [(bounds[index], bounds[index + 1]) for index in range(len(places)) if is_block[index]]


def test_a_flipped_bit_costs_the_block_it_lies_in() -> None:
    """A bit flipped in a block, its magic and checksum included, loses exactly that block; one outside loses none."""
    contents = [_noise(size, size) for size in (150_000, 30, 250_000, 20_000)]
    data = b"".join(bz2.compress(content, 1) for content in contents)
    blocks = _blocks(data)
    whole = [event.xml for event in _events_of_single_blocks(data, blocks)]
    assert b"".join(whole) == b"".join(contents)
    rng = random.Random(5)
    in_blocks = [rng.randrange(first, last) for first, last in blocks for _ in range(3)]
    in_magics = [first + rng.randrange(80) for first, _ in blocks]
    anywhere_else = [20, *(last + rng.randrange(80) for _, last in blocks)]
    for bit in (*in_blocks, *in_magics, *anywhere_else):
        broken = bytearray(data)
        broken[bit // 8] ^= 0x80 >> bit % 8
        hit = [index for index, (first, last) in enumerate(blocks) if first <= bit < last]
        events = _events(bytes(broken))
        lost = [event for event in events if isinstance(event, Gap)]
        kept = b"".join(event.xml for event in events if isinstance(event, Piece))
        assert kept == b"".join(content for index, content in enumerate(whole) if index not in hit), bit
        assert [event.reason for event in lost] == ["corrupt_block"] * len(hit), bit
        assert all(
            event.offset in (blocks[index][0] // 8, blocks[index][0] // 8 - 4) for event in lost for index in hit
        )


def _events_of_single_blocks(data: bytes, blocks: list[tuple[int, int]]) -> list[Piece]:
    cuts = [first // 8 for first, _ in blocks[1:]]
    events = _events(data, *cuts)
    assert len(events) == len(blocks)
    return [event for event in events if isinstance(event, Piece)]


def test_what_is_cut_off_is_a_gap_or_nothing() -> None:
    """A file cut at any byte gives the blocks that are whole, and says when it ends inside one."""
    data, content = b"".join(STREAMS), b"".join(SMALL)
    blocks = _blocks(data)
    whole = [event.xml for event in _events_of_single_blocks(data, blocks)]
    for size in range(4, len(data)):
        events = _events(data[:size])
        num_whole = sum(last <= 8 * size for _, last in blocks)
        kept = b"".join(event.xml for event in events if isinstance(event, Piece))
        assert kept == b"".join(whole[:num_whole]), size
        inside = any(first + 48 <= 8 * size < last for first, last in blocks)
        gaps = [event.reason for event in events if isinstance(event, Gap) and not event.padding]
        assert gaps == ["cut_short"] * inside, size
    assert content == b"".join(whole)


def test_garbage_before_between_and_after_is_told() -> None:
    """Bytes that belong to no stream are a gap, and cost nothing of the streams."""
    junk = _noise(5_000)
    first, second = STREAMS[4], STREAMS[6]
    for data, padding in (
        (junk + first + second, False),
        (first + junk + second, True),
        (first + second + junk, True),
        (first + second + bytes(1000), True),
    ):
        events = _events(data)
        assert b"".join(event.xml for event in events if isinstance(event, Piece)) == SMALL[4] + SMALL[6]
        assert [event.padding for event in events if isinstance(event, Gap)] == [padding]


def test_a_hole_larger_than_what_is_read_ahead_is_one_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no magic follows within the bytes that are read past a stretch, the hole is told once, by that stretch."""
    monkeypatch.setattr(bzip2, "OVERLAP_BYTES", 40_000)
    monkeypatch.setattr(bzip2, "NEAR_BYTES", 10_000)
    content = _noise(60_000)
    stream = bz2.compress(content)
    data = stream + bytes(100_000) + stream
    for cuts in ((), (10_000,), (len(stream) + 50_000,), tuple(range(20_000, len(data), 20_000))):
        events = _events(data, *cuts)
        assert b"".join(event.xml for event in events if isinstance(event, Piece)) == content * 2
        assert sum(isinstance(event, Gap) for event in events) == 1, cuts


def test_a_magic_that_occurs_by_chance_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bits that look like a block's or a footer's magic inside a block do not change what is read."""
    content = _noise(350_000)
    data = bz2.compress(content, 1)
    true_places, true_kinds = find_magics(data)
    rng = random.Random(2)
    for is_block in (True, False):
        false = np.array(sorted(rng.sample(range(400, 8 * len(data) - 400), 5)))
        places = np.concatenate([true_places, false])
        kinds = np.concatenate([true_kinds, np.full(len(false), is_block)])
        order = np.argsort(places)
        monkeypatch.setattr(bzip2, "find_magics", lambda _, found=(places[order], kinds[order]): found)
        assert _content(_events(data)) == content


def test_blocks_that_hold_much_are_read_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks that decompress to more than a group may hold are read all the same."""
    monkeypatch.setattr(bzip2, "MAX_GROUP_BYTES", 100_000)
    content = b"a" * 3_000_000 + _noise(50_000)
    assert _content(_events(bz2.compress(content, 1))) == content


def test_a_file_of_magics_ends_soon() -> None:
    """Ten thousand magics without blocks, and as many blocks cut short, are gaps; the good block after them is read."""
    head = bz2.compress(_noise(3_000))[4:400]
    good = bz2.compress(b"good")
    for hostile in (BLOCK_MAGIC.to_bytes(6) * 10_000, head * 500):
        events = _events(b"BZh9" + hostile + good)
        assert all(isinstance(event, Gap) for event in events[:-1])
        assert events[-1] == Piece(4 + len(hostile) + 4, b"good")


@given(st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_no_bytes_raise(junk: bytes) -> None:
    """Whatever follows a magic, reading it gives events."""
    data = b"BZh9" + BLOCK_MAGIC.to_bytes(6) + junk
    assert len(_events(data)) >= 1


def test_decompressed_streams_are_let_go() -> None:
    """Memory does not grow with the streams that were decompressed, whole or damaged."""
    streams = [bz2.compress(_noise(100_000, number)) for number in range(20)]
    tracemalloc.start()
    try:
        for number, stream in enumerate(streams):
            copy = bytes(bytearray(stream))
            assert bzip2.decompress(copy if number % 2 else copy[:-20]) == (
                _noise(100_000, number) if number % 2 else None
            )
        del copy
        assert tracemalloc.get_traced_memory()[0] < 2 * len(streams[0])
    finally:
        tracemalloc.stop()
