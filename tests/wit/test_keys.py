"""Keys, ranks and buckets: pinned, uniform, monotone."""

from __future__ import annotations

import hashlib

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import keys
from wit.keys import key_bucket, key_buckets, key_words, sample_key, sample_keys, uniform_rank, uniform_ranks


def test_key_is_the_first_half_of_sha256() -> None:
    """A key can be recomputed with any SHA-256: it is part of the published format."""
    assert sample_key("http://a/b.jpg", "a dög") == hashlib.sha256("http://a/b.jpg\0a dög".encode()).hexdigest()[:32]


def test_a_lone_surrogate_has_a_key() -> None:
    """Hostile text that UTF-8 cannot hold does not stop a run."""
    assert len(sample_key("http://a/", "\ud800")) == 32


def test_ranks_are_pinned_and_uniform() -> None:
    """Ranks never change between versions, and their mean over many keys is that of a uniform draw."""
    assert uniform_rank("wit", "0" * 32) == 8652774414576081306
    ranks = [uniform_rank("wit", f"{number:032x}") / 2**63 for number in range(4000)]
    assert all(0 <= rank < 1 for rank in ranks)
    assert abs(sum(ranks) / len(ranks) - 0.5) < 4 * (1 / 12 / len(ranks)) ** 0.5


@given(st.lists(keys, min_size=2, max_size=20), st.integers(1, 5000))
def test_buckets_keep_the_order_of_keys(some: list[str], num_buckets: int) -> None:
    """Buckets are ranges: read one after the other they are sorted, and none is out of range."""
    buckets = [key_bucket(key, num_buckets) for key in sorted(some)]
    assert buckets == sorted(buckets)
    assert 0 <= buckets[0] <= buckets[-1] < num_buckets


_texts = st.text(st.characters(codec="utf-8"), max_size=40)


@given(st.lists(st.tuples(_texts, _texts), max_size=20), st.integers(1, 5000), st.booleans())
def test_columns_have_the_keys_of_their_rows(pairs: list[tuple[str, str]], num_buckets: int, wide: bool) -> None:
    """Keys, ranks, buckets and words of columns are those of one row after the other, of slices and of either type."""
    kind = pa.large_string() if wide else pa.string()
    padded = [("a", "b"), *pairs]
    urls, texts = (pa.array(column, kind).slice(1) for column in zip(*padded, strict=True))
    found = sample_keys(urls, texts)
    expected = [sample_key(url, text) for url, text in pairs]
    assert found.type == pa.string()
    assert found.to_pylist() == expected
    column = pa.array(["", *expected], kind).slice(1)
    assert uniform_ranks("wit", column).tolist() == [uniform_rank("wit", key) for key in expected]
    assert key_buckets(column, num_buckets).tolist() == [key_bucket(key, num_buckets) for key in expected]
    assert key_words(column).tolist() == [[int(key[:16], 16), int(key[16:], 16)] for key in expected]


@given(st.text(st.characters(codec="utf-8"), max_size=100), keys)
def test_a_salt_may_be_any_text(salt: str, key: str) -> None:
    """Long salts and those beyond ASCII give a column the ranks of its rows."""
    assert uniform_ranks(salt, pa.array([key])).tolist() == [uniform_rank(salt, key)]
