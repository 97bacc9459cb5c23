"""Runs merged: exact sums in one order, whatever the memory, the number of processes and the fate of a worker."""

from __future__ import annotations

import math
import os
import random
import signal
from collections import Counter
from contextlib import closing
from dataclasses import replace
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queries import merging
from queries.association import normalised_pmi, pointwise_mutual_information
from queries.merging import BIGRAMS, WORDS, Batch, MergeFacts, MergeSettings, merge_runs
from queries.pairs import MAX_LISTED, UNLISTED, Layout, fold, listed, pack, split, totals
from queries.runs import I64, U8, find_runs, numbers_of, write_numbers, write_run
from tests.queries.naive_ngrams import DOCUMENTS, naive_counts, write_runs
from wit.errors import UserError, WorkerDied
from wit.processes import Pool

Documents = list[list[list[str]]]
MIB = 1 << 20
ALL = MergeSettings(min_bigram_count=1, min_pmi=None, memory_bytes=64 * MIB)
ONE = Pool(1)


def _zipf(num_lines: int, seed: int = 0) -> Documents:
    """Return documents whose commonest word is a tenth of all, so that its bigrams fill several ranges."""
    draw = random.Random(seed)
    words = [f"{'é' if number % 3 else 'w'}{number}" for number in range(400)]
    weights = [1 / (number + 2) for number in range(400)]
    lines = [draw.choices(words, weights, k=draw.randrange(20)) for _ in range(num_lines)]
    return [lines[start : start + 10] for start in range(0, num_lines, 10)]


def _naive(documents: Documents, chosen: MergeSettings) -> tuple[list[tuple[str, int]], list[tuple[Any, ...]]]:
    words, bigrams = naive_counts(documents)
    sums = words.total(), bigrams.total()
    rows = []
    for (first, second), count in bigrams.items():
        pmi = pointwise_mutual_information(count, words[first], words[second], *sums)
        if count >= chosen.min_bigram_count and (chosen.min_pmi is None or pmi >= chosen.min_pmi):
            rows.append((f"{first} {second}", count, pmi, normalised_pmi(pmi, count, sums[1])))
    return sorted(words.items(), key=lambda row: (-row[1], row[0])), sorted(rows, key=lambda row: (-row[2], row[0]))


def _read(folder: Path) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    tables = [pq.read_table(folder / name) for name in ("words.parquet", "bigrams.parquet")]
    assert [table.schema for table in tables] == [WORDS, BIGRAMS]
    words, bigrams = ([tuple(row.values()) for row in table.to_pylist()] for table in tables)
    return words, bigrams


def _bytes(folder: Path) -> list[bytes]:
    assert sorted(path.name for path in folder.iterdir()) == ["bigrams.parquet", "words.parquet"]
    return [path.read_bytes() for path in sorted(folder.iterdir())]


@settings(max_examples=25, deadline=None)
@given(
    documents=DOCUMENTS,
    memory_bytes=st.sampled_from([400, 2000, MIB]),
    min_count=st.integers(1, 3),
    min_pmi=st.sampled_from([None, 0.0, 2.0]),
)
def test_a_merge_equals_a_naive_count(
    tmp_path_factory: pytest.TempPathFactory,
    documents: Documents,
    memory_bytes: int,
    min_count: int,
    min_pmi: float | None,
) -> None:
    """Words and bigrams, their order and numbers are those of a plain count of all the text."""
    folder = tmp_path_factory.mktemp("merge")
    half = len(documents) // 2
    write_runs(folder / "a", documents[:half], memory_bytes)
    write_runs(folder / "b", documents[half:], memory_bytes)
    chosen = MergeSettings(min_count, min_pmi, memory_bytes)
    facts = merge_runs([str(folder / "a"), str(folder / "b")], str(folder / "out"), chosen, ONE)
    words, bigrams = _naive(documents, chosen)
    assert _read(folder / "out") == (words, bigrams)
    assert facts.num_words == sum(count for _, count in words)
    assert (facts.num_distinct_words, facts.num_bigrams) == (len(words), len(bigrams))


def test_bytes_depend_on_the_text_alone(tmp_path: Path) -> None:
    """One run or many, one batch or many, one process or two: the same files and facts."""
    documents = _zipf(200)
    outcomes: list[tuple[list[bytes], MergeFacts]] = []
    for index, (run_bytes, merge_bytes, processes) in enumerate([(MIB, 64 * MIB, 1), (4000, 1, 1), (20_000, 1, 2)]):
        runs, out = tmp_path / f"runs{index}", tmp_path / f"out{index}"
        write_runs(runs, documents, run_bytes)
        chosen = replace(ALL, min_bigram_count=2, memory_bytes=merge_bytes)
        with closing(Pool(processes)) as pool:
            facts = merge_runs([str(runs)], str(out), chosen, pool)
        outcomes.append((_bytes(out), facts))
    assert len(find_runs([str(tmp_path / "runs1")])) > 20
    assert outcomes[0] == outcomes[1] == outcomes[2]


def test_facts_add_up(tmp_path: Path) -> None:
    """Distinct bigrams by powers of two of their count are those of the text, kept or not."""
    documents = _zipf(300)
    write_runs(tmp_path / "runs", documents, 4000)
    facts = merge_runs([str(tmp_path / "runs")], str(tmp_path / "out"), replace(ALL, min_pmi=3.0, memory_bytes=1), ONE)
    words, bigrams = naive_counts(documents)
    powers = Counter(count.bit_length() - 1 for count in bigrams.values())
    assert facts.bigrams_by_count == tuple(powers[power] for power in range(max(powers) + 1))
    assert (facts.num_words, facts.num_pairs) == (words.total(), bigrams.total())
    assert (facts.num_distinct_words, facts.num_distinct_bigrams) == (len(words), len(bigrams))
    assert 0 < facts.num_bigrams < len(bigrams)


@pytest.mark.parametrize("documents", [[], [[["a"], ["b", "'s", "c"]]]])
def test_no_bigrams(tmp_path: Path, documents: Documents) -> None:
    """Without runs, or with words alone, both tables are there, and empty where nothing was."""
    write_runs(tmp_path / "runs", documents, MIB)
    facts = merge_runs([str(tmp_path / "runs")], str(tmp_path / "out"), ALL, ONE)
    words, bigrams = _read(tmp_path / "out")
    assert dict(words) == naive_counts(documents)[0]
    assert (bigrams, facts.num_bigrams, facts.bigrams_by_count) == ([], 0, ())


def test_no_word_is_seen_often_enough(tmp_path: Path) -> None:
    """A least count that no word reaches leaves no bigram, and all words."""
    write_runs(tmp_path / "runs", _zipf(50), MIB)
    merge_runs([str(tmp_path / "runs")], str(tmp_path / "out"), replace(ALL, min_bigram_count=10**6), ONE)
    words, bigrams = _read(tmp_path / "out")
    assert (len(words) > 100, bigrams) == (True, [])


def test_counts_beyond_32_bits(tmp_path: Path) -> None:
    """Runs whose counts sum to more than 2^32 give the exact sum."""
    most = 2**32 - 1
    words = pa.table({"word": pa.array(["a", "b"], pa.large_string()), "count": [most + 5, most]})
    for number in range(5):
        rows = np.array([1 << 32 | most, 1], np.uint64)
        path = str(tmp_path / f"run-{number:05d}")
        write_run(path, words, np.array([0, 1, 2]), rows, num_words=2 * most + 5, num_pairs=most + 1)
    facts = merge_runs([str(tmp_path)], str(tmp_path / "out"), ALL, ONE)
    found, bigrams = _read(tmp_path / "out")
    assert found == [("a", 5 * (most + 5)), ("b", 5 * most)]
    assert {(term, count) for term, count, *_ in bigrams} == {("a b", 5 * most), ("b a", 5)}
    assert facts.num_pairs == 5 * (most + 1)


@pytest.mark.parametrize("missing", ["run-00001.rows", "run-00001.starts", "run-00001.words.parquet"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    """A run of which a file is gone is refused, and nothing is left behind."""
    write_runs(tmp_path / "runs", _zipf(50), 4000)
    (tmp_path / "runs" / missing).unlink()
    with pytest.raises(UserError, match=missing):
        merge_runs([str(tmp_path / "runs")], str(tmp_path / "out"), ALL, ONE)
    assert not list((tmp_path / "out").glob(".tmp-*"))


def test_what_a_killed_merge_left_is_removed(tmp_path: Path) -> None:
    """Scratch of a merge that was killed does not disturb the next, and goes with it."""
    write_runs(tmp_path / "runs", _zipf(50), 4000)
    left = tmp_path / "out" / ".tmp-merge"
    left.mkdir(parents=True)
    (left / "batch-00000").write_bytes(b"half a numb")
    merge_runs([str(tmp_path / "runs")], str(tmp_path / "out"), replace(ALL, memory_bytes=1), ONE)
    merge_runs([str(tmp_path / "runs")], str(tmp_path / "again"), ALL, ONE)
    assert _bytes(tmp_path / "out") == _bytes(tmp_path / "again")


_fold_batch, _sum_range = merging._fold_batch, merging._sum_range


def _kill_once(scratch: str, task: str) -> None:
    mark = Path(scratch).parents[1] / task
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def _mortal_fold_batch(sums: merging.Sums, every: int, task: Any) -> Any:
    found = _fold_batch(sums, every, task)
    _kill_once(sums.scratch, "batch")
    return found


def _mortal_sum_range(sums: merging.Sums, numbers: Any) -> Any:
    found = _sum_range(sums, numbers)
    _kill_once(sums.scratch, "range")
    return found


def _doomed(sums: merging.Sums, numbers: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is killed with its batch or range just done has it done again by another: the same bytes."""
    write_runs(tmp_path / "runs", _zipf(200), 8000)
    chosen = replace(ALL, memory_bytes=1)
    merge_runs([str(tmp_path / "runs")], str(tmp_path / "undisturbed"), chosen, ONE)
    monkeypatch.setattr(merging, "_fold_batch", _mortal_fold_batch)
    monkeypatch.setattr(merging, "_sum_range", _mortal_sum_range)
    with closing(Pool(2)) as pool:
        merge_runs([str(tmp_path / "runs")], str(tmp_path / "out"), chosen, pool)
    assert (tmp_path / "batch").exists()
    assert (tmp_path / "range").exists()
    assert _bytes(tmp_path / "out") == _bytes(tmp_path / "undisturbed")


def test_a_task_that_always_kills_its_worker_ends_the_merge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up, without bigrams and without scratch."""
    write_runs(tmp_path / "runs", _zipf(20), MIB)
    monkeypatch.setattr(merging, "_sum_range", _doomed)
    with closing(Pool(2)) as pool, pytest.raises(WorkerDied, match="SIGKILL"):
        merge_runs([str(tmp_path / "runs")], str(tmp_path / "out"), ALL, pool)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["words.parquet"]


NUMBERS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 2000)), max_size=40)


@given(rows=NUMBERS, id_bits=st.sampled_from([4, 20, 28]), min_count=st.sampled_from([1, 500]), limit=st.integers(1, 5))
def test_packed_counts_are_exact_however_few_bits_they_have(
    rows: list[tuple[int, int, int]], id_bits: int, min_count: int, limit: int
) -> None:
    """Packing, folding and totals give each bigram's sum, also when it is many numbers of 8 bits each."""
    layout = Layout(id_bits)
    sums: Counter[tuple[int, int]] = Counter()
    packed, num_packed = np.empty(len(rows) * (1 + 2000 // layout.max_count), np.uint64), 0
    numbers = np.array([UNLISTED if place == 3 else 2**id_bits - 10 + place for place in range(10)], np.uint32)
    for first, second, count in rows:
        starts = np.array([0] * (first + 1) + [1] * (10 - first))
        row = np.array([second << 32 | count], np.uint64)
        num_packed = pack(row, 0, starts, numbers, layout, packed, num_packed)
        if 3 not in (first, second):
            sums[int(numbers[first]), int(numbers[second])] += count
    packed = np.sort(packed[:num_packed])
    folded = packed[: fold(packed, layout)].copy()
    assert np.all(folded[1:] > folded[:-1]) or layout.count_bits == 8
    assert len(folded) == sum(-(-count // layout.max_count) for count in sums.values())
    by_power, begin, found = np.zeros(64, np.int64), 0, {}
    while begin < len(folded):
        begin, keys, counts = totals(folded, begin, layout, min_count, by_power, limit)
        firsts, seconds = split(keys, layout)
        found.update(zip(zip(firsts.tolist(), seconds.tolist(), strict=True), counts.tolist(), strict=True))
    assert found == {pair: count for pair, count in sums.items() if count >= min_count}
    assert by_power.sum() == len(sums)


def _words(words: set[str]) -> tuple[U8, I64]:
    texts = sorted(word.encode() for word in words)
    return np.frombuffer(b"".join(texts), np.uint8), np.cumsum([0, *map(len, texts)]).astype(np.int64)


@given(
    some=st.sets(st.text("abé漢", min_size=1, max_size=5)), listing=st.sets(st.text("abé漢", min_size=1, max_size=5))
)
def test_words_are_found_in_a_list(some: set[str], listing: set[str]) -> None:
    """Each word has its place in the list, or is unlisted; either may be much the longer."""
    places = {word: place for place, word in enumerate(sorted(listing))}
    expected = [places.get(word, UNLISTED) for word in sorted(some)]
    assert listed(_words(some), _words(listing)).tolist() == expected


def test_the_longest_list_leaves_room_for_a_count() -> None:
    """As many words as may be listed leave 8 bits."""
    assert (Layout.of(MAX_LISTED).id_bits, Layout.of(MAX_LISTED).max_count) == (28, 255)
    assert Layout.of(1).count_bits == 62


@given(
    lists=st.lists(st.sets(st.integers(0, 3000), max_size=300), min_size=1, max_size=6),
    batch_rows=st.sampled_from([64, 100, 1000]),
)
@settings(max_examples=60, deadline=None)
def test_ranges_cover_all_and_fit(
    tmp_path_factory: pytest.TempPathFactory, lists: list[set[int]], batch_rows: int
) -> None:
    """Every number is in exactly one range, a bigram in no two, and what a range reads is at most its memory."""
    folder = tmp_path_factory.mktemp("ranges")
    every = max(batch_rows // (16 * len(lists)), 1)
    batches = []
    for index, numbers in enumerate(lists):
        ordered = np.array(sorted(numbers), np.uint64)
        with numbers_of(str(folder / str(index)), [""]) as (file,):
            write_numbers(file, ordered)
        batches.append(Batch(str(folder / str(index)), len(ordered), every, ordered[::every]))
    ranges = list(merging._ranges(batches, batch_rows, count_bits=2))
    read = [merging._read_range(one).tolist() for one in ranges]
    assert list(chain.from_iterable(read)) == sorted(chain.from_iterable(lists))
    for before, after in pairwise(read):
        assert not before or not after or before[-1] >> 2 < after[0] >> 2
    largest = max((sum(end - begin for _, begin, end in one.rows) for one in ranges), default=0)
    assert largest <= batch_rows * 7 / 8 + 4 * len(lists)


def test_npmi_is_the_measure_of_the_definition(tmp_path: Path) -> None:
    """Two words that are never apart have NPMI 1 at most, and lead the list with the highest PMI for their count."""
    write_runs(tmp_path / "runs", [[["new", "york"]] * 5 + [["a", "b", "a", "c"]] * 20], MIB)
    merge_runs([str(tmp_path / "runs")], str(tmp_path / "out"), ALL, ONE)
    term, count, pmi, npmi = _read(tmp_path / "out")[1][0]
    assert (term, count) == ("new york", 5)
    assert pmi == math.log2(5 * 90 * 90 / (5 * 5 * 65))
    assert npmi == min(pmi / -math.log2(5 / 65), 1.0) == 1.0
