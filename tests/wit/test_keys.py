"""Keys, ranks and buckets: pinned, uniform, monotone."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import keys
from wit.keys import key_bucket, sample_key, uniform_rank


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
