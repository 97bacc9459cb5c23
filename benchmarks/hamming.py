"""All pairs of hashes within a radius: wit.hamming beside FAISS and a block permutation in numpy; hot buckets.

    python -m benchmarks.hamming [--millions 0.1,1,10] [--limit 600] [--hot]

Random hashes with PLANTED pairs, whose distances go from 1 to the radius. Each measurement is a process of its own with
one thread: wall time of the search (FAISS: of building the index too), what memory it takes at its peak beyond the
hashes, and how many of the planted pairs it finds. FAISS's IndexBinaryMultiHash is set so that it is exact: of the
settings in FAISS, the one that is fastest on a few queries. A peer that would take longer than `--limit` seconds does
part of its work, which is made of equal parts (FAISS: queries against the whole index; numpy: tables), and its time is
scaled; it is marked by ~. numpy takes 20 tables of 6 blocks for 3 bits, else as many blocks as cost it least.

Hot buckets: hashes that agree in most of their bits, which sorting by some of the bits does not part.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from math import comb
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.block_permutation import choose_blocks, each_table

U64 = npt.NDArray[np.uint64]

PLANTED = 1_000
RADII = {1: (3, 6, 10), 4: (31,)}
"""By the words of a hash."""
FAISS = {
    (1, 3): ((4, 16, 0), (2, 32, 1)),
    (1, 6): ((7, 9, 0), (4, 16, 1), (3, 21, 2)),
    (1, 10): ((6, 10, 1), (4, 16, 2), (3, 21, 3)),
    (4, 31): ((32, 8, 0), (16, 16, 1), (11, 23, 2)),
}
"""(tables, bits of each, bits flipped), where tables x (flipped + 1) > radius, so that none is missed."""
TRIAL_QUERIES = 500
QUERIES = 10_000


def main() -> None:
    """Run all measurements and print them, or one of them in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", default="0.1,1,10", help="numbers of hashes, in millions")
    parser.add_argument("--limit", type=float, default=600, help="seconds that a peer may take")
    parser.add_argument("--hot", action="store_true", help="hot buckets alone")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(_measure(**json.loads(options.one))))
        return
    if not options.hot:
        _compare([int(float(each) * 1e6) for each in options.millions.split(",")], options.limit)
    _show_hot()


def _compare(sizes: list[int], limit_s: float) -> None:
    print("| hashes | bits | radius | search | seconds | peak MB | planted found | times ours |")
    print("|---:|---:|---:|---|---:|---:|---:|---:|")
    for num_words, radii in RADII.items():
        for radius in radii:
            for size in sizes:
                ours_s = 0.0
                for method in METHODS if num_words == 1 else ("wit", "faiss"):
                    found = _alone(method=method, size=size, num_words=num_words, radius=radius, limit_s=limit_s)
                    ours_s = ours_s or found["seconds"]
                    part = f" ({found['part']:.2%} done)" if found["part"] < 1 else ""
                    print(
                        f"| {size:,} | {64 * num_words} | {radius} | {found['what']}{part} "
                        f"| {'~' if part else ''}{found['seconds']:.3g} | {found['peak_mb']:,} "
                        f"| {found['planted']:,} of {found['of']:,} | {found['seconds'] / ours_s:.1f} |",
                        flush=True,
                    )


def _alone(**arguments: Any) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.hamming", "--one", json.dumps(arguments)]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env={**os.environ, **threads})
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _measure(method: str, size: int, num_words: int, radius: int, limit_s: float) -> dict[str, Any]:
    """Search once and tell what it took; runs in a process of its own."""
    hashes = planted_hashes(size, num_words, radius)
    METHODS[method](hashes[:1_000], radius, limit_s)  # imports and compiles
    before = _peak_mb()
    (i, j), seconds, part, what = METHODS[method](hashes, radius, limit_s)
    pairs = {(min(pair), max(pair)) for pair in zip(i.tolist(), j.tolist(), strict=True)}
    expected = [(row, size - PLANTED + row) for row in range(PLANTED)]
    if method == "faiss" and part < 1:  # whose queries were the first hashes
        expected = expected[: round(part * size)]
    num_found = sum(pair in pairs for pair in expected)
    return {
        "what": what,
        "seconds": seconds,
        "part": part,
        "peak_mb": _peak_mb() - before,
        "planted": num_found,
        "of": len(expected),
    }


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def planted_hashes(size: int, num_words: int, radius: int) -> U64:
    """Return random hashes [size, words], of which the last PLANTED are the first with 1 to `radius` bits flipped."""
    draw = np.random.default_rng(0)
    hashes = draw.integers(0, 2**64, (size, num_words), dtype=np.uint64)
    for row in range(min(PLANTED, size // 2)):
        hashes[row - PLANTED] = hashes[row]
        for bit in draw.choice(64 * num_words, 1 + row % radius, replace=False).tolist():
            hashes[row - PLANTED, bit // 64] ^= np.uint64(1 << bit % 64)
    return hashes


Found = tuple[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]], float, float, str]
"""The pairs, the seconds that all would take, the part that was done, and what was used."""


def _by_wit(hashes: U64, radius: int, _: float) -> Found:
    from wit.hamming import pairs_within

    started = time.perf_counter()
    i, j, _distances = pairs_within(hashes, radius)
    return (i, j), time.perf_counter() - started, 1.0, "wit.hamming"


def _by_numpy(hashes: U64, radius: int, limit_s: float) -> Found:
    num_blocks = 6 if radius == 3 else choose_blocks(len(hashes), radius)
    num_tables = comb(num_blocks, radius)
    started, found, num_done = time.perf_counter(), [], 0
    for pair in each_table(hashes[:, 0], radius, num_blocks):
        found.append(pair)
        num_done += 1
        if (time.perf_counter() - started) * num_tables / num_done > limit_s and num_done >= 3:
            break
    seconds = (time.perf_counter() - started) * num_tables / num_done
    order = np.argsort(hashes[:, 0])
    i, j = (order[np.searchsorted(hashes[order, 0], np.concatenate(side))] for side in zip(*found, strict=True))
    return (i, j), seconds, num_done / num_tables, f"numpy, {num_tables:,} tables"


def _by_faiss(hashes: U64, radius: int, limit_s: float) -> Found:
    import faiss

    faiss.omp_set_num_threads(1)
    codes = hashes.view(np.uint8)
    trials = {each: _faiss_times(codes, radius, each, TRIAL_QUERIES)[0] for each in FAISS[hashes.shape[1], radius]}
    setting = min(trials, key=trials.__getitem__)
    num_queries = len(codes)
    if trials[setting] > limit_s:
        num_queries = min(num_queries, max(TRIAL_QUERIES, round(num_queries * limit_s / trials[setting] / 10)))
    seconds, pairs = _faiss_times(codes, radius, setting, num_queries)
    tables, bits, flipped = setting
    what = f"FAISS IndexBinaryMultiHash, {tables} tables of {bits} bits, {flipped} flipped"
    return pairs, seconds, num_queries / len(codes), what


def _faiss_times(
    codes: npt.NDArray[np.uint8], radius: int, setting: tuple[int, int, int], num_queries: int
) -> tuple[float, tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Return the seconds of building an index and of all queries, scaled from the first ones, and their pairs."""
    import faiss

    num_tables, num_bits, num_flipped = setting
    started = time.perf_counter()
    index = faiss.IndexBinaryMultiHash(8 * codes.shape[1], num_tables, num_bits)
    index.nflip = num_flipped
    index.add(codes)
    built_s = time.perf_counter() - started
    found, num_queries = [], min(num_queries, len(codes))
    started = time.perf_counter()
    for start in range(0, num_queries, QUERIES):
        ends, _, others = index.range_search(codes[start : min(start + QUERIES, num_queries)], radius + 1)
        queries = np.repeat(np.arange(start, start + len(ends) - 1), np.diff(ends).astype(np.int64))
        found.append((queries[queries != others], others[queries != others]))
    searched_s = (time.perf_counter() - started) * len(codes) / num_queries
    i, j = (np.concatenate(side) for side in zip(*found, strict=True))
    return built_s + searched_s, (i, j)


METHODS: dict[str, Callable[[U64, int, float], Found]] = {"wit": _by_wit, "numpy": _by_numpy, "faiss": _by_faiss}


def _show_hot() -> None:
    from wit.hamming import each_pair_within

    print("\n| hashes | radius | pairs | seconds |\n|---|---:|---:|---:|")
    list(each_pair_within(planted_hashes(5_000, 1, 3), 3))  # compiles
    for name, hashes, radius in _hot_hashes():
        started = time.perf_counter()
        num_pairs = sum(len(i) for i, _, _ in each_pair_within(hashes, radius))
        print(f"| {name} | {radius} | {num_pairs:,} | {time.perf_counter() - started:.2f} |", flush=True)
    started = time.perf_counter()
    num_pairs = _num_near_copies(1_000_000)
    print(f"| 1 million equal prints, by wit.near | 31 | {num_pairs:,} | {time.perf_counter() - started:.2f} |")


def _hot_hashes() -> Iterator[tuple[str, U64, int]]:
    draw = np.random.default_rng(0)
    crowd = draw.choice(1 << 20, 1_000_000, replace=False).astype(np.uint64) << np.uint64(5)
    for radius in (1, 3):
        yield "1 million that agree in all but 20 neighbouring bits", crowd, radius
    mixed = np.concatenate([crowd, draw.integers(0, 2**64, 1_000_000, dtype=np.uint64)])
    yield "those among another million", mixed, 1
    words = draw.integers(0, 2**64, (1_000_000, 4), dtype=np.uint64)
    words[:, 0] = 7
    yield "1 million of 256 bits, the first 64 equal", words, 31
    words = words.copy()
    words[:, 1] = 7
    yield "1 million of 256 bits, the first 128 equal", words, 31


def _num_near_copies(size: int) -> int:
    from wit.fingerprint import Prints
    from wit.near import Rule, near_pairs

    ones = np.ones(size, np.uint64)
    prints = Prints(ones, np.ones((size, 4), np.uint64), np.full(size, 100, np.int32), np.arange(size))
    return len(near_pairs(prints, Rule()).i)


if __name__ == "__main__":
    main()
