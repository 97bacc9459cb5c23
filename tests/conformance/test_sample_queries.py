"""Two readings of the same rules: the miniature encyclopedia's answer, and what `wit queries build` makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from queries.build import TABLE, Means, Settings, build
from queries.inputs import resolve_inputs
from wit.sample.encyclopedia import (
    MIN_BIGRAM_COUNT,
    MIN_PMI,
    MIN_VIEWS,
    MIN_WORD_COUNT,
    TRUTH,
    count_words,
    write_encyclopedia,
)
from wit.sample.prose import write_prose
from wit.storage import read_parquet


@pytest.mark.parametrize("seed", [0, 7])
def test_the_list_of_the_sample_is_its_truth(tmp_path: Path, seed: int) -> None:
    """Terms, order, sources and every count equal the naive answer, and not one word of prose is lost or gained."""
    write_encyclopedia(str(tmp_path), seed)
    inputs = resolve_inputs(
        [f"{tmp_path}/wiki/*multistream.xml.bz2"], [f"{tmp_path}/pageviews/*.gz"], [f"{tmp_path}/wordnet/dict"]
    )
    settings = Settings(
        min_word_count=MIN_WORD_COUNT, min_bigram_count=MIN_BIGRAM_COUNT, min_pmi=MIN_PMI, min_views=MIN_VIEWS
    )
    result = build(inputs, settings, str(tmp_path / "out"), Means(processes=1, memory_bytes=1 << 30))
    assert result is not None
    words, bigrams = count_words(write_prose(seed))
    assert (result["num_words"], result["num_pairs"]) == (words.total(), bigrams.total())
    found, truth = read_parquet(str(tmp_path / "out" / TABLE)), read_parquet(str(tmp_path / TRUTH))
    rounded = ["pmi", "npmi"]
    assert found.drop_columns(rounded).to_pylist() == truth.drop_columns(rounded).to_pylist()
    for name in rounded:
        for ours, theirs in zip(found[name].to_pylist(), truth[name].to_pylist(), strict=True):
            assert (ours is None and theirs is None) or ours == pytest.approx(theirs, rel=1e-12)
