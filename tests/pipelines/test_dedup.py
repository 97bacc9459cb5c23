"""Near-duplicates: found exactly, joined into clusters, one survivor each by the written rule."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.stages.dedup import Dedup, FindClusters
from pipelines.stages.slices import SliceTable
from pipelines.stages.verb import RunSettings
from tests.support import MemoryPart, prints_row, run_map, run_sql
from wit.keys import key_bucket, sample_key, uniform_rank
from wit.schema import FINGERPRINTS
from wit.stage import SqlStage
from wit.storage import join, write_parquet

NUM_BUCKETS = 4


def fingerprints(hashes: list[int], num_pixels: list[int] | None = None) -> pa.Table:
    """A table of images with these hashes, in key order."""
    rows = []
    for number, value in enumerate(hashes):
        key = sample_key(f"http://example.org/{number}", "a picture")
        size = num_pixels[number] if num_pixels else 100
        row = {"key": key, "bucket": key_bucket(key, NUM_BUCKETS), "rank": uniform_rank("wit", key)}
        rows.append({**row, "num_pixels": size, **prints_row(value)})
    return pa.Table.from_pylist(sorted(rows, key=lambda row: row["key"]), schema=FINGERPRINTS)


def write_table(folder: Path, table: pa.Table) -> None:
    for bucket in range(NUM_BUCKETS):
        rows = table.filter(pa.array([value == bucket for value in table["bucket"].to_pylist()], pa.bool_()))
        write_parquet(join(str(folder), "fingerprint/kept", f"part-{bucket:05d}.parquet"), rows)


def dedup(folder: Path, table: pa.Table, radius: int = 3) -> dict[str, pa.Table]:
    """Every table of the stage."""
    write_table(folder, table)
    gather, find, choose, keep, reject = Dedup(radius).steps(RunSettings(num_buckets=NUM_BUCKETS))
    assert isinstance(gather.stage, SliceTable)
    assert isinstance(find.stage, FindClusters)
    (slices,) = gather.stage(str(folder))
    found = run_map(find.stage, slices, MemoryPart(folder))
    for step in (choose, keep, reject):
        assert isinstance(step.stage, SqlStage)
    duplicates = run_sql(choose.stage, clusters=found["kept"])
    return {
        "clusters": found["kept"],
        "edges": found["edges"],
        "duplicates": duplicates,
        "kept": run_sql(keep.stage, fingerprints=table, duplicates=duplicates),
        "rejects": run_sql(reject.stage, duplicates=duplicates),
    }


def expected_clusters(table: pa.Table, radius: int) -> list[list[int]]:
    """Connected components of rows within `radius`, by comparing all with all."""
    values = [value & (2**64 - 1) for value in table["phash"].to_pylist()]
    unseen, clusters = set(range(len(values))), []
    while unseen:
        cluster, waiting = [], [min(unseen)]
        unseen -= set(waiting)
        while waiting:
            cluster.append(waiting.pop())
            near = [i for i in unseen if (values[i] ^ values[cluster[-1]]).bit_count() <= radius]
            unseen -= set(near)
            waiting += near
        clusters.append(sorted(cluster))
    return clusters


@st.composite
def chained_hashes(draw: st.DrawFn) -> list[int]:
    """Hashes of which many are repeats of earlier ones with up to four bits changed."""
    hashes: list[int] = []
    for _ in range(draw(st.integers(0, 25))):
        if hashes and draw(st.booleans()):
            flips = draw(st.sets(st.integers(0, 63), max_size=4))
            hashes.append(draw(st.sampled_from(hashes)) ^ sum(1 << bit for bit in flips))
        else:
            hashes.append(draw(st.integers(0, 2**64 - 1)))
    return hashes


@settings(max_examples=15, deadline=None)
@given(hashes=chained_hashes(), radius=st.integers(0, 4), data=st.data())
def test_survivors_are_those_of_the_rule(
    hashes: list[int], radius: int, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Of each connected component exactly one stays: most pixels, then lowest rank; the others name it."""
    sizes = data.draw(st.lists(st.sampled_from([1, 2]), min_size=len(hashes), max_size=len(hashes)))
    table = fingerprints(hashes, sizes)
    tables = dedup(tmp_path_factory.mktemp("run"), table, radius)
    rows = table.to_pylist()
    survivors, losers = set(), {}
    for cluster in expected_clusters(table, radius):
        best = min((rows[i] for i in cluster), key=lambda row: (-row["num_pixels"], row["rank"], row["key"]))
        survivors.add(best["key"])
        losers |= {rows[i]["key"]: best["key"] for i in cluster if rows[i]["key"] != best["key"]}
    assert set(tables["kept"]["key"].to_pylist()) == survivors
    assert (
        dict(zip(tables["rejects"]["key"].to_pylist(), tables["rejects"]["detail"].to_pylist(), strict=True)) == losers
    )
    assert set(tables["rejects"]["reason"].to_pylist()) <= {"near_duplicate"}


@settings(max_examples=15, deadline=None)
@given(hashes=chained_hashes(), radius=st.integers(0, 4))
def test_edges_are_true_and_span_their_clusters(
    hashes: list[int], radius: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Every edge has its true distance within the radius, key_a < key_b, and the edges join each cluster wholly."""
    table = fingerprints(hashes)
    tables = dedup(tmp_path_factory.mktemp("run"), table, radius)
    value_of = dict(zip(table["key"].to_pylist(), table["phash"].to_pylist(), strict=True))
    cluster_of = dict(
        zip(tables["clusters"]["key"].to_pylist(), tables["clusters"]["cluster"].to_pylist(), strict=True)
    )
    joined = {key: key for key in cluster_of}

    def root(key: str) -> str:
        return key if joined[key] == key else root(joined[key])

    for edge in tables["edges"].to_pylist():
        assert edge["key_a"] < edge["key_b"]
        distance = ((value_of[edge["key_a"]] ^ value_of[edge["key_b"]]) & (2**64 - 1)).bit_count()
        assert edge["distance"] == distance <= radius
        joined[root(edge["key_b"])] = root(edge["key_a"])
    members: dict[str, set[str]] = {}
    for key in cluster_of:
        members.setdefault(root(key), set()).add(key)
    assert {min(keys): keys for keys in members.values()} == {
        name: {key for key, cluster in cluster_of.items() if cluster == name} for name in set(cluster_of.values())
    }


def test_a_hot_hash_does_not_grow_edges_quadratically(tmp_path: Path) -> None:
    """3,000 copies of one placeholder give 2,999 edges and one survivor."""
    tables = dedup(tmp_path, fingerprints([7] * 3000))
    assert tables["edges"].num_rows == tables["rejects"].num_rows == 2999
    assert tables["kept"].num_rows == 1


def test_choosing_cut_by_bucket_gives_the_same(tmp_path: Path) -> None:
    """The relational steps give the same rows whole and bucket by bucket, as each executor may run them."""
    random = np.random.default_rng(3)
    centres = random.integers(0, 2**64, 20, dtype=np.uint64)
    hashes = centres[random.integers(0, 20, 300)] ^ (np.uint64(1) << random.integers(0, 64, 300).astype(np.uint64))
    table = fingerprints([int(value) for value in hashes])
    whole = dedup(tmp_path, table)
    _, _, choose, keep, _ = Dedup().steps(RunSettings(num_buckets=NUM_BUCKETS))
    assert isinstance(choose.stage, SqlStage)
    assert isinstance(keep.stage, SqlStage)

    def cut(rows: pa.Table, column: str, bucket: int) -> pa.Table:
        return rows.filter(pa.array([value == bucket for value in rows[column].to_pylist()], pa.bool_()))

    buckets = range(NUM_BUCKETS)
    chosen = [run_sql(choose.stage, clusters=cut(whole["clusters"], "cluster_bucket", bucket)) for bucket in buckets]
    assert pa.concat_tables(chosen) == whole["duplicates"]
    kept = [
        run_sql(
            keep.stage,
            fingerprints=cut(table, "bucket", bucket),
            duplicates=cut(whole["duplicates"], "bucket", bucket),
        )
        for bucket in buckets
    ]
    assert pa.concat_tables(kept) == whole["kept"]


@pytest.mark.parametrize("num_rows", [1, 3, 4, 7, 100])
def test_slices_cover_the_table_in_order(tmp_path: Path, num_rows: int) -> None:
    """Tasks of any size hold every row once, in order, all but the last of exactly that size."""
    table = fingerprints(list(range(23)))
    write_table(tmp_path, table)
    tasks = [task.to_pylist() for task in SliceTable("fingerprint/kept", num_rows)(str(tmp_path))]
    sizes = [sum(each["stop"] - each["start"] for each in task) for task in tasks]
    assert sum(sizes) == 23
    assert all(size == num_rows for size in sizes[:-1])
    assert 0 < sizes[-1] <= num_rows
    offsets: dict[str, int] = {}
    for each in (each for task in tasks for each in task):
        assert each["start"] == offsets.get(each["part"], 0)
        offsets[each["part"]] = each["stop"]
    assert list(offsets) == sorted(offsets)
