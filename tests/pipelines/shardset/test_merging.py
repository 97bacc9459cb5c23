"""Merge: all samples once, in key order, the first set before the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.shardset.cutting import Limit
from pipelines.shardset.merging import merge
from pipelines.shardset.removing import remove_samples
from pipelines.shardset.rules import make_rules
from pipelines.shardset.verification import verify
from tests.pipelines.shardset.sets import contents_of, keys_of, sample_set, write_set
from tests.wit.test_shards import make_samples


def test_sets_become_one(tmp_path: Path) -> None:
    """Two sets that share samples give the bytes that all their samples packed at once give."""
    left, right = sample_set(tmp_path / "left", 20), sample_set(tmp_path / "right", 20, start=10, shard_size=3)
    counts, described = merge([str(left), str(right)], str(tmp_path / "out"), Limit(8), 2)
    assert (counts.kept, counts.duplicates, counts.conflicts, counts.removed) == (30, 10, 0, 0)
    assert described["num_samples"] == 30
    assert merge([str(left), str(right)], str(tmp_path / "out"), Limit(8), 1) == (counts, described)
    expected = sample_set(tmp_path / "expected", 30, shard_size=8)
    for path in expected.iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes(), path.name


def test_the_first_set_wins(tmp_path: Path) -> None:
    """Of one key with two images the first set's image stays, and the conflict is counted."""
    samples = make_samples(4)
    other = [(row | {"sha256": "0" * 64}, b"other" + image) for row, image in samples]
    left, right = write_set(tmp_path / "a", samples[:3], [3]), write_set(tmp_path / "b", other[1:], [3])
    counts, _ = merge([str(left), str(right)], str(tmp_path / "out"), Limit(10), 1)
    assert (counts.kept, counts.duplicates, counts.conflicts) == (4, 0, 2)
    found = contents_of(tmp_path / "out")
    assert [found[row["key"]][0] for row, _ in samples] == [*(image for _, image in samples[:3]), other[3][1]]


def test_what_was_removed_does_not_come_back(tmp_path: Path) -> None:
    """What one set's record names is left out of all sets, and the record goes on to the new set."""
    left, right = sample_set(tmp_path / "left", 10), sample_set(tmp_path / "right", 10)
    gone = keys_of(left)[4]
    remove_samples(str(left), make_rules([("key", gone)]), "asked", 1)
    counts, _ = merge([str(left), str(right)], str(tmp_path / "out"), Limit(100), 1)
    assert (counts.kept, counts.duplicates, counts.removed) == (9, 9, 1)
    assert keys_of(tmp_path / "out") == [key for key in keys_of(right) if key != gone]
    assert verify(str(tmp_path / "out"), 1).problems == ()
    assert (tmp_path / "out" / "removals.parquet").read_bytes() == (left / "removals.parquet").read_bytes()


ALL: list[tuple[dict[str, Any], bytes]] = make_samples(12)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.lists(st.lists(st.integers(0, 11), max_size=5, unique=True), max_size=3), min_size=1, max_size=3))
def test_any_sets_give_their_union(tmp_path_factory: Any, sets: list[list[list[int]]]) -> None:
    """Whatever samples lie in whatever shards, in key order or not, also twice: the union comes out, sorted."""
    folder = tmp_path_factory.mktemp("merge")
    for number, shards in enumerate(sets):
        samples = [[ALL[each] for each in sorted(shard)] for shard in shards] or [[]]
        flat = [sample for shard in samples for sample in shard]
        write_set(folder / str(number), flat, [len(shard) for shard in samples])
    patterns = [str(folder / str(number)) for number in range(len(sets))]
    counts, _ = merge(patterns, str(folder / "out"), Limit(4), 1)
    wanted = sorted({each for shards in sets for shard in shards for each in shard})
    assert keys_of(folder / "out") == [ALL[each][0]["key"] for each in wanted]
    assert counts.kept == len(wanted)
    assert counts.kept + counts.duplicates == sum(len(shard) for shards in sets for shard in shards)
