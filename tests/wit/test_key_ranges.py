"""Shards grouped by the ranges of their keys."""

from __future__ import annotations

from itertools import pairwise

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from wit.key_ranges import touching


@given(st.dictionaries(st.text("ab", min_size=1), st.lists(st.text("xyz", min_size=1))))
def test_groups_share_no_key_and_are_as_small_as_can_be(keys: dict[str, list[str]]) -> None:
    """Every shard with keys is in one group; groups lie apart, in order; each shard touches its group's others."""
    groups = list(touching(keys, lambda shard: pa.chunked_array([keys[shard]], pa.string())))
    assert sorted(shard for group in groups for shard in group) == sorted(shard for shard in keys if keys[shard])
    ends = [(min(min(keys[shard]) for shard in group), max(max(keys[shard]) for shard in group)) for group in groups]
    assert all(high < low for (_, high), (low, _) in pairwise(ends))
    for group in groups:
        reached = max(keys[group[0]])
        for shard in group[1:]:
            assert min(keys[shard]) <= reached
            reached = max(reached, *keys[shard])
