"""Counts of words and bigrams in runs: exact, whatever the memory and wherever a run ends."""

from __future__ import annotations

import errno
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queries import ngrams, runs
from queries.ngrams import BATCH_WORDS, NgramCounter, RunFacts
from queries.runs import I64, U8, find_runs
from tests.queries.naive_ngrams import DOCUMENTS, naive_counts, ragged, runs_counts, write_runs
from wit.errors import InputError, OutputError

Documents = list[list[list[str]]]
KIB, MIB = 1 << 10, 1 << 20


@settings(max_examples=150, deadline=None)
@given(documents=DOCUMENTS, memory_bytes=st.sampled_from([0, 400, 1000, 4000, MIB]))
def test_runs_sum_to_a_naive_count(
    tmp_path_factory: pytest.TempPathFactory, documents: Documents, memory_bytes: int
) -> None:
    """Words and bigrams of all runs equal a plain count, however little memory cuts the text into runs."""
    folder = tmp_path_factory.mktemp("runs")
    facts = write_runs(folder, documents, memory_bytes)
    words, bigrams = naive_counts(documents)
    assert runs_counts(folder) == (words, bigrams)
    assert (facts.num_words, facts.num_pairs) == (words.total(), bigrams.total())
    assert facts.num_runs == len(find_runs([str(folder)])) == len(list(folder.glob("*.json")))


@pytest.mark.parametrize(
    ("text", "bigrams"),
    [
        ("a b", {("a", "b"): 1}),
        ("a\nb", {}),
        ("a 's b", {}),
        ("'s a b 's", {("a", "b"): 1}),
        ("a 's 's\n\n 's b c", {("b", "c"): 1}),
        ("a a a", {("a", "a"): 2}),
        ("'s", {}),
        ("", {}),
    ],
)
def test_what_parts_two_words(tmp_path: Path, text: str, bigrams: dict[tuple[str, str], int]) -> None:
    """A possessive and the end of a line part their neighbours, any number of them once; nothing else does."""
    counter = NgramCounter(str(tmp_path), MIB)
    counter.add(np.frombuffer(text.encode(), np.uint8), np.array([0, len(text)]))
    counter.close()
    assert runs_counts(tmp_path)[1] == bigrams


def test_documents_and_calls_part_words(tmp_path: Path) -> None:
    """The last word of a document and the first of the next are no bigram, within a call and between calls."""
    counter = NgramCounter(str(tmp_path), MIB)
    counter.add(np.frombuffer(b"xxa bc d", np.uint8), np.array([2, 5, 8]))  # offsets need not begin at 0
    counter.add(*ragged([[["e", "f"]]]))
    counter.close()
    words, bigrams = runs_counts(tmp_path)
    assert words == {"a": 1, "b": 1, "c": 1, "d": 1, "e": 1, "f": 1}
    assert bigrams == {("a", "b"): 1, ("c", "d"): 1, ("e", "f"): 1}


def test_no_run_without_words(tmp_path: Path) -> None:
    """Text without words gives no run."""
    assert write_runs(tmp_path, [[["'s"], []], []], MIB).num_runs == 0
    assert not list(tmp_path.iterdir())


def test_texts_longer_than_a_batch(tmp_path: Path) -> None:
    """Batches of words end in the middle of lines, on breaks and on documents' ends without a trace."""
    line = [f"w{number * number % 97}" for number in range(BATCH_WORDS - 2)]
    documents = [[line, line[:1], line[:2]], [line], [line * 2], [["z"]]]
    write_runs(tmp_path, documents, MIB)
    assert runs_counts(tmp_path) == naive_counts(documents)


def test_a_word_longer_than_the_memory(tmp_path: Path) -> None:
    """Words of 10 MB are counted as any other, also beside each other and first of a run."""
    huge, other = "a" * 10_000_000, "a" * 9_999_999 + "b"
    documents = [[["x", huge, huge, other, "y"]], [[other]]]
    write_runs(tmp_path, documents, 64 * KIB)
    assert runs_counts(tmp_path) == naive_counts(documents)


def test_words_with_one_hash_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long words are equal when their bytes are: a hash that is the same for all of one call changes no count."""
    find_words = ngrams._find_words

    def colliding(*arguments: Any) -> int:
        num_found = int(find_words(*arguments))
        keys = arguments[4][:num_found]
        keys[keys >= ngrams._LONG_MARK] = ngrams._LONG_MARK
        return num_found

    monkeypatch.setattr(ngrams, "_find_words", colliding)
    documents = [[["longlonglong" + "ab"[number % 2] * (number % 5) for number in range(50)]]]
    write_runs(tmp_path, documents, MIB)
    assert runs_counts(tmp_path) == naive_counts(documents)


def _count(folder: Path, texts: list[tuple[U8, I64]], memory_bytes: int) -> RunFacts:
    counter = NgramCounter(str(folder), memory_bytes)
    for text in texts:
        counter.add(*text)
    return counter.close()


def test_memory_is_bounded_where_every_word_is_new(tmp_path: Path) -> None:
    """A text of distinct words alone, many times larger than the memory, never holds more than the memory."""
    memory_bytes = 8 * MIB
    texts = [ragged([[[f"{call * 20_000 + word:09d}" for word in range(20_000)]]]) for call in range(20)]
    _count(tmp_path, texts, memory_bytes)  # compiles; a compiler's memory is no matter of the text
    tracemalloc.start()
    facts = _count(tmp_path, texts, memory_bytes)
    assert tracemalloc.get_traced_memory()[1] < memory_bytes
    tracemalloc.stop()
    assert (facts.num_words, facts.num_pairs) == (400_000, 400_000 - len(texts))
    assert facts.num_runs > 3


def test_a_full_disk_is_a_mistake_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that cannot be written raises OutputError, which names it."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(runs, "write_numbers", full)
    with pytest.raises(OutputError, match="run-00000: cannot be written: no space left"):
        write_runs(tmp_path, [[["a", "b"]]], MIB)


def test_a_run_cut_short_is_an_input_error(tmp_path: Path) -> None:
    """Rows that are missing are noticed, with the file named."""
    write_runs(tmp_path, [[["a", "b", "c"]]], MIB)
    (run,) = find_runs([str(tmp_path)])
    Path(run.path + ".rows").write_bytes(b"12345678")
    with pytest.raises(InputError, match="expected 2 rows, found 1"):
        run.rows(0, 2)
