"""Learned boilerplate: what a short caption must be to be rejected, against counting by hand."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.stages import phrases
from pipelines.stages.filter_text import LEARNED, FilterText
from pipelines.stages.phrases import FREQUENT_TABLE, LEARNED_TABLE, MIN_PAIRS, PAIRS_TABLE, learn_phrases
from pipelines.stages.verb import RunSettings
from tests.support import read_parts, run_steps, write_part
from wit.hosts import host_of
from wit.keys import key_bucket, sample_key
from wit.schema import PAIRS
from wit.text import normalise

Row = tuple[str, str, str | None]  # caption, URL of the image, URL of the page


def write_pairs(root: Path, rows: list[Row], num_buckets: int) -> None:
    """Write distinct pairs as extract leaves them."""
    pairs: dict[str, dict[str, Any]] = {}
    for number, (caption, url, page_url) in enumerate(rows):
        key = sample_key(f"{url}?{number}", caption)
        pairs[key] = {
            "key": key, "bucket": key_bucket(key, num_buckets), "rank": 0, "url": f"{url}?{number}", "caption": caption,
            "page_url": page_url, "archive": "a", "offset": number, "attribute": "img@alt", "num_occurrences": 1,
        }  # fmt: skip
    for bucket in range(num_buckets):
        mine = [pairs[key] for key in sorted(pairs) if pairs[key]["bucket"] == bucket]
        write_part(root, PAIRS_TABLE, bucket, pa.Table.from_pylist(mine, schema=PAIRS))


def naive(rows: list[Row], max_words: int, min_hosts: int, min_pairs: int, min_share: float) -> list[dict[str, Any]]:
    """The table of learned phrases, by its definition."""
    counts: Counter[str] = Counter()
    hosts: dict[str, set[str]] = {}
    for caption, url, page_url in rows:
        phrase = normalise(caption)
        if phrase and len(phrase.split()) <= max_words and len(phrase.encode()) <= phrases.MAX_PHRASE_BYTES:
            counts[phrase] += 1
            hosts.setdefault(phrase, set()).add(host_of(url if page_url is None else page_url))
    learned = [
        {"phrase": phrase, "num_pairs": count, "num_hosts": len(hosts[phrase])}
        for phrase, count in counts.items()
        if len(hosts[phrase]) >= min_hosts and count >= min_pairs and count >= min_share * len(rows)
    ]
    return sorted(learned, key=lambda row: (-row["num_pairs"], row["phrase"]))


_hosts = st.sampled_from(["a.example", "b.example", "A.example", "c.example"])
_rows = st.tuples(
    st.sampled_from(["Read more", "read MORE!", "a dog", "two red dogs run", "one two three four five", "…", "é" * 60]),
    _hosts.map("http://{}/1.jpg".format),
    st.none() | _hosts.map("http://{}/page".format),
)


@settings(max_examples=6, deadline=None)
@given(st.lists(_rows, max_size=40), st.integers(1, 3), st.integers(1, 4), st.sampled_from([0.0, 0.2]))
def test_learned_phrases_are_those_counted_by_hand(
    rows: list[Row], min_hosts: int, max_words: int, min_share: float
) -> None:
    """The same phrases, pairs and hosts, in any number of parts and held rows, the commonest first."""
    tables = []
    for num_buckets, held in ((1, 1_000_000), (3, 2)):
        with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            patch.setattr(phrases, "MIN_PAIRS", 3)
            patch.setattr(phrases, "_ROWS_AT_ONCE", held)
            write_pairs(Path(folder), rows, num_buckets)
            run_steps(learn_phrases(max_words, min_hosts, min_share, num_buckets), Path(folder), num_buckets)
            tables.append(read_parts(Path(folder), LEARNED_TABLE).to_pylist())
    assert tables == [naive(rows, max_words, min_hosts, 3, min_share)] * 2


def planted(num_hosts: int, num_pairs: int, phrase: str = "Shop the look") -> list[Row]:
    """So many pairs of a phrase, on so many hosts."""
    return [(phrase, "http://img.example/1.jpg", f"http://site-{i % num_hosts}.example/") for i in range(num_pairs)]


def run_filter(root: Path, stage: FilterText) -> tuple[int, list[tuple[str, str]]]:
    run_steps(stage.steps(RunSettings(num_buckets=2)), root, 2)
    rejects = [(row["reason"], row["detail"]) for row in read_parts(root, "rejects/filter_text").to_pylist()]
    return read_parts(root, "filter_text/kept").num_rows, rejects


@pytest.mark.parametrize(
    ("stage", "is_learned"),
    [
        (FilterText(), True),
        (FilterText(learned_min_hosts=0), False),
        (FilterText(skip=(LEARNED,)), False),
        (FilterText(learned_min_hosts=102), False),
        (FilterText(learned_max_words=2), False),
        (FilterText(learned_min_share=0.6), False),
        (FilterText(learned_keep=("Shop the LOOK!",)), False),
    ],
)
def test_a_planted_phrase_is_learned_and_rejected(tmp_path: Path, stage: FilterText, is_learned: bool) -> None:
    """On 100 hosts it goes, in any spelling; a longer caption with it stays, and so does one of too few pairs."""
    rows = planted(100, MIN_PAIRS) + planted(99, MIN_PAIRS, "Made by hand") + planted(99, 99, "Photo by me")
    rows += [
        ("shop the look!", "http://a.example/2.jpg", None),
        ("Shop the look of Anna", "http://a.example/3.jpg", None),
    ]
    write_pairs(tmp_path, rows, 2)
    num_kept, rejects = run_filter(tmp_path, stage)
    assert rejects == ([(LEARNED, "shop the look")] * 101 if is_learned else [])
    assert num_kept + len(rejects) == len(rows)


def test_nothing_is_learned_of_nothing(tmp_path: Path) -> None:
    """A run without pairs has tables without rows."""
    write_pairs(tmp_path, [], 2)
    assert run_filter(tmp_path, FilterText()) == (0, [])


def test_parts_of_frequent_phrases_are_small(tmp_path: Path) -> None:
    """What a cluster sums is cut by the phrase: no part of it holds what another does, however often it stands."""
    write_pairs(tmp_path, planted(150, 400) + planted(150, 300, "a dog") + planted(150, 200, "two dogs"), 4)
    run_steps(learn_phrases(4, 100, 1e-5, 4), tmp_path, 4)
    found = [pq.read_table(path).column("phrase").to_pylist() for path in sorted((tmp_path / FREQUENT_TABLE).iterdir())]
    assert sorted(phrase for part in found for phrase in part) == ["a dog", "shop the look", "two dogs"]
    counted = read_parts(tmp_path, f"{phrases.PHRASES_TABLE}/kept")
    assert set(counted.column("phrase_bucket").to_pylist()) <= set(range(4))
