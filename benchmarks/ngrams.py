"""Counts and merges a made-up text of 100 million distinct bigrams: time, peak memory, disk; and the rate of each step.

    python -m benchmarks.ngrams [--distinct 100] [--memory 1000] [--processes 2] [--min-count 100] [--prose FILE]
        [--folder FOLDER]

The text: a vocabulary of 1 million words; two thirds of the tokens are drawn uniformly, so that nearly every bigram of
theirs is new, a third by Zipf's law. It goes through the same counter, runs and merge as a dump does. `--memory` is in
MB for all processes; what each has for its interpreter and libraries comes on top, and is measured first, in a worker
that has counted one line. Memory is the proportional set size of this process and its workers together, at its peak,
sampled four times a second: pages that processes share count once. `--prose` names a file of normalised lines, as
`wit.tokens.normal_lines` writes them, for the counter's rate on real text; else it is measured on Zipf's.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import psutil

from queries.merging import MergeSettings, merge_runs
from queries.runs import I64, U8
from wit.processes import Pool, map_in_order

VOCABULARY = 1_000_000
CALL_TOKENS = 300_000
LINE_TOKENS = 20
PART_TOKENS = 15_000_000  # about what a part of a dump has
MB = 1_000_000


def main() -> None:
    """Run both parts and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--distinct", type=int, default=100, help="millions of distinct bigrams, about")
    parser.add_argument("--memory", type=int, default=1000, help="MB for all processes together")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--min-count", type=int, default=100)
    parser.add_argument("--prose", type=Path, default=None)
    parser.add_argument("--folder", type=Path, default=None, help="for the runs; else the system's temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        show_rates(Path(scratch), options.prose)
        settings = MergeSettings(options.min_count, None, options.memory * MB)
        with closing(Pool(options.processes)) as pool:
            simulate(Path(scratch), options.distinct * 1_000_000 * 3 // 2, settings, pool)


def simulate(folder: Path, num_tokens: int, settings: MergeSettings, pool: Pool) -> None:
    """Count and merge a text of so many tokens, and print a row for each."""
    idle_mb = next(map_in_order(partial(_idle_mb, str(folder)), range(2), 2))
    num_parts = max(num_tokens // PART_TOKENS, 1)
    calls = num_tokens // num_parts // CALL_TOKENS
    count = partial(_count_part, str(folder), calls, settings.memory_bytes // pool.processes)
    print(f"\n{num_parts * calls * CALL_TOKENS:,} tokens in {num_parts} parts; {settings}; idle worker {idle_mb:,} MB")
    print(f"\n{'step':<8}{'wall s':>8}{'peak MB':>9}{'peak of disk MB':>17}")
    with _measured("count", folder):
        folders = list(pool.map_in_order(count, range(num_parts)))
    pool.close()  # as a build does
    with _measured("merge", folder):
        facts = merge_runs(folders, str(folder / "out"), settings, pool)
    print(f"\n{facts}")


def _idle_mb(folder: str, index: int) -> int:
    _count_part(f"{folder}/idle-{index}", 0, MB, index)
    return round(_proportional_bytes(psutil.Process()) / MB)


def _count_part(folder: str, calls: int, memory_bytes: int, index: int) -> str:
    from queries.ngrams import NgramCounter

    part = Path(folder, f"part-{index:05d}")
    part.mkdir(parents=True)
    counter = NgramCounter(str(part), memory_bytes)
    counter.add(*_text(np.arange(LINE_TOKENS)))
    draw = np.random.default_rng(index)
    for _ in range(calls):
        counter.add(*_text(_tokens(draw)))
    counter.close()
    return str(part)


def _tokens(draw: np.random.Generator) -> I64:
    """Return a call's tokens: blocks of lines drawn uniformly, then by Zipf's law."""
    uniform = draw.integers(0, VOCABULARY, CALL_TOKENS * 2 // 3)
    zipf = np.exp(draw.random(CALL_TOKENS // 3) * np.log(VOCABULARY)).astype(np.int64) - 1
    return np.concatenate([uniform, zipf])


@lru_cache(maxsize=1)
def _vocabulary() -> tuple[U8, I64, I64]:
    """Return words of 3 to 15 letters and a space each: their bytes, begins and lengths; commoner words are shorter."""
    draw = np.random.default_rng(0)
    lengths = np.minimum(3 + np.log2(np.arange(VOCABULARY) + 1) * 0.5 + draw.random(VOCABULARY) * 3, 15).astype(
        np.int64
    )
    begins = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths + 1)])
    letters = draw.integers(ord("a"), ord("z") + 1, begins[-1]).astype(np.uint8)
    letters[begins[1:] - 1] = ord(" ")
    return letters, begins[:-1], lengths + 1


def _text(tokens: I64) -> tuple[U8, I64]:
    """Return the tokens as one document of lines."""
    letters, begins, lengths = _vocabulary()
    ends = np.cumsum(lengths[tokens])
    text = letters[np.arange(ends[-1]) + np.repeat(begins[tokens] - ends + lengths[tokens], lengths[tokens])]
    text[ends[LINE_TOKENS - 1 :: LINE_TOKENS] - 1] = ord("\n")
    return text, np.array([0, len(text)])


@dataclass
class _Peak:
    memory_bytes: int = 0
    disk_bytes: int = 0


@contextmanager
def _measured(step: str, folder: Path) -> Iterator[None]:
    """Print wall time of what is done inside, and the peaks of memory and of the folder's size."""
    peak, stop = _Peak(), threading.Event()
    thread = threading.Thread(target=_watch, args=(peak, folder, stop))
    started = time.monotonic()
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    wall_s = time.monotonic() - started
    print(f"{step:<8}{wall_s:>8.1f}{peak.memory_bytes / MB:>9,.0f}{peak.disk_bytes / MB:>17,.0f}")


def _watch(peak: _Peak, folder: Path, stop: threading.Event) -> None:
    us = psutil.Process()
    while not stop.wait(0.25):
        found = sum(map(_proportional_bytes, [us, *us.children(recursive=True)]))
        peak.memory_bytes = max(peak.memory_bytes, found)
        peak.disk_bytes = max(peak.disk_bytes, _disk_bytes(folder))


def _proportional_bytes(process: psutil.Process) -> int:
    try:
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _disk_bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_blocks * 512
        except FileNotFoundError:  # renamed or removed since it was listed
            continue
    return total


def show_rates(folder: Path, prose: Path | None) -> None:
    """Print the rate of each step in one thread, the best of three."""
    print(f"{'step, one thread':<44}{'M/s':>8}  of")
    for name, rate, unit in [*_counter_rates(folder, prose), *_merge_rates(), *_association_rates()]:
        print(f"{name:<44}{rate / 1e6:>8.1f}  {unit}")


def _best_s(work: object, *arguments: object) -> float:
    assert callable(work)
    times = []
    for _ in range(3):
        started = time.process_time()
        work(*arguments)
        times.append(time.process_time() - started)
    return min(times)


def _counter_rates(folder: Path, prose: Path | None) -> Iterator[tuple[str, float, str]]:
    from queries.ngrams import NgramCounter

    if prose:
        text = np.frombuffer(prose.read_bytes(), np.uint8)
        offsets = np.array([0, len(text)])
    else:
        zipf = np.concatenate([_tokens(np.random.default_rng(seed))[CALL_TOKENS * 2 // 3 :] for seed in range(50)])
        text, offsets = _text(zipf)
    counter = NgramCounter(str(folder), 2_000 * MB)
    counter.add(text[:1000], np.array([0, 1000]))
    scan_s = _best_s(counter.add, text, offsets)
    started = time.process_time()
    num_words = counter.close().num_words
    close_s = time.process_time() - started
    yield "scan, hash and number the words", num_words / 3 / scan_s, "tokens"
    yield "", len(text) / scan_s, "bytes"
    yield "sort words, sort and count pairs, write a run", num_words / close_s, "tokens"
    keys = np.random.default_rng(0).integers(0, 2**40, 20_000_000).astype(np.uint64)
    yield "of it np.sort of 20 million pairs", 20e6 / _best_s(np.sort, keys), "pairs"


def _merge_rates() -> Iterator[tuple[str, float, str]]:
    from queries.pairs import Layout, fold, pack, totals

    num_rows, num_words = 5_000_000, 200_000
    draw = np.random.default_rng(0)
    starts = np.linspace(0, num_rows, num_words + 1).astype(np.int64)
    rows = draw.integers(0, num_words, num_rows).astype(np.uint64) << np.uint64(32) | np.uint64(3)
    numbers, layout = np.arange(num_words, dtype=np.uint32), Layout.of(num_words)
    packed, by_power = np.empty(num_rows, np.uint64), np.zeros(64, np.int64)
    yield "pack the rows of a run", num_rows / _best_s(pack, rows, 0, starts, numbers, layout, packed, 0), "rows"
    packed.sort()
    yield "fold sorted numbers", num_rows / _best_s(fold, packed, layout), "rows"
    found_s = _best_s(totals, packed[: fold(packed, layout)], 0, layout, 100, by_power, 65_536)
    yield "sum a range", num_rows / found_s, "rows"


def _association_rates() -> Iterator[tuple[str, float, str]]:
    from queries.association import associations

    draw, num_rows = np.random.default_rng(0), 1_000_000
    words = draw.integers(100, 10**7, (2, num_rows))
    pairs = np.minimum(words.min(axis=0), draw.integers(100, 10**5, num_rows))
    for name, floor in (("PMI and NPMI of all", None), ("PMI of 5 % above a floor", 8.0)):
        yield name, num_rows / _best_s(associations, pairs, *words, 5 * 10**9, 48 * 10**8, floor), "bigrams"


if __name__ == "__main__":
    main()
