"""pack: the cap exactly, then shards whose bytes depend on the samples alone."""

from __future__ import annotations

import io
from collections import Counter
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from pipelines.stages.balance import Balance
from pipelines.stages.pack import Pack
from pipelines.stages.verb import RunSettings
from pipelines.shardset.verification import verify
from tests.support import read_parts, run_steps, write_part
from wit.balancing import CAP, PROBABILITY
from wit.fingerprint import phash_stored, to_signed
from wit.image import Limits, prepare
from wit.keys import key_bucket, sample_key, uniform_rank
from wit.schema import FINGERPRINTS, IMAGES, MATCHED, QUERY_COUNTS
from wit.shards import read_index, read_samples, write_manifest

Tables = dict[str, pa.Table]
SCHEMAS = {
    "balance/kept": MATCHED,
    "balance/counts": QUERY_COUNTS,
    "filter_image/kept": IMAGES,
    "overlap/kept": FINGERPRINTS,
}


NUM_TERMS = 11


def make_run(root: Path, num_buckets: int, count: int = 24, num_lost: int = 1) -> Tables:
    """A run up to overlap: `count` pairs; pair n matches query n % 5, and every third pair also query 9.

    The first pairs are lost before overlap (their matches must not count), and the blobs lie in one tar a bucket.
    Balance took every pair of a pool of its queries, but for query 9, of which it took one of two.
    """
    rows: dict[str, list[dict[str, Any]]] = {"balance/kept": [], "filter_image/kept": [], "overlap/kept": []}
    blobs: dict[int, bytes] = {}
    for number in range(count):
        url, caption = f"http://example.org/{number}.png", f"picture {number}"
        key = sample_key(url, caption)
        bucket = key_bucket(key, num_buckets)
        common = {"key": key, "bucket": bucket, "rank": uniform_rank("wit", key)}
        queries = sorted({number % 5} | ({9} if number % 3 == 0 else set()))
        provenance = {"page_url": None, "archive": "a", "offset": number, "attribute": "img@alt", "num_occurrences": 1}
        rows["balance/kept"].append({**common, "url": url, "caption": caption, **provenance, "query_ids": queries})
        stored = prepare(picture(number), Limits())
        offset = len(blobs.setdefault(bucket, b""))
        blobs[bucket] += stored.body
        facts = {name: getattr(stored, name) for name in IMAGES.names if hasattr(stored, name)}
        place = {"blob": f"fetch/blobs/part-{bucket:05d}.tar", "offset": offset, "length": len(stored.body)}
        rows["filter_image/kept"].append({**common, **facts, **place, "final_url": url})
        if number >= num_lost:
            phash = to_signed(phash_stored(stored.body))
            rows["overlap/kept"].append({**common, "num_pixels": 64, "phash": phash})
    (root / "fetch" / "blobs").mkdir(parents=True)
    for bucket, data in blobs.items():
        (root / f"fetch/blobs/part-{bucket:05d}.tar").write_bytes(data)
    counts = Counter(query for row in rows["balance/kept"] for query in row["query_ids"])
    rows["balance/counts"] = [query_count(query, counts[query], num_buckets) for query in range(NUM_TERMS)]
    return {name: write_table(root, name, rows[name], num_buckets) for name in SCHEMAS}


def query_count(query: int, num_after: int, num_buckets: int) -> dict[str, Any]:
    num_before = num_after * (2 if query == 9 else 1)
    count = {"term": f"term {query}", "num_before": num_before, "num_after": num_after}
    return {"query_id": query, "query_bucket": query % num_buckets, **count}


def write_table(root: Path, name: str, rows: list[dict[str, Any]], num_buckets: int) -> pa.Table:
    """Write rows as parts by bucket, sorted by their key."""
    column, order = ("query_bucket", "query_id") if name == "balance/counts" else ("bucket", "key")
    for bucket in range(num_buckets):
        mine = sorted((row for row in rows if row[column] == bucket), key=lambda row: row[order])
        write_part(root, name, bucket, pa.Table.from_pylist(mine, schema=SCHEMAS[name]))
    return pa.Table.from_pylist(rows, schema=SCHEMAS[name])


def picture(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def pack(root: Path, stage: Pack, num_buckets: int) -> Tables:
    """Run every step of the stage; return its tables."""
    run_steps(stage.after(Balance()).steps(RunSettings(num_buckets=num_buckets)), root, num_buckets)
    write_manifest(str(root / "shards"))
    tables = {"kept": "pack/kept", "rejects": "rejects/pack", "counts": "pack/counts"}
    return {name: read_parts(root, table) for name, table in tables.items()}


def alive(tables: Tables) -> list[dict[str, Any]]:
    """The pairs that overlap left."""
    keys = set(tables["overlap/kept"]["key"].to_pylist())
    return [row for row in tables["balance/kept"].to_pylist() if row["key"] in keys]


def expected_keys(tables: Tables, cap: int) -> set[str]:
    """The cap by its definition: each query keeps its `cap` surviving pairs of lowest (rank, key)."""
    rows = alive(tables)
    keys = set()
    for query in range(NUM_TERMS):
        keys |= set(sorted((row["rank"], row["key"]) for row in rows if query in row["query_ids"])[:cap])
    return {key for _, key in keys}


@pytest.mark.parametrize("cap", [1, 2, 100])
def test_the_cap_is_exact_and_the_rest_is_rejected(tmp_path: Path, cap: int) -> None:
    """Packed are exactly the pairs that some query keeps among the survivors; the others are over_cap."""
    tables = make_run(tmp_path, 3)
    written = pack(tmp_path, Pack(cap=cap, shard_size=7), 3)
    expected = expected_keys(tables, cap)
    assert set(written["kept"]["key"].to_pylist()) == expected
    rejects = written["rejects"].to_pylist()
    assert {row["key"] for row in rejects} == set(tables["overlap/kept"]["key"].to_pylist()) - expected
    assert {(row["stage"], row["reason"], row["detail"]) for row in rejects} <= {("pack", "over_cap", None)}
    counts = {row["query_id"]: (row["num_before"], row["num_after"]) for row in written["counts"].to_pylist()}
    own = {query: [row["key"] for row in alive(tables) if query in row["query_ids"]] for query in range(NUM_TERMS)}
    assert counts == {query: (len(keys), len(expected.intersection(keys))) for query, keys in own.items()}


def test_by_chance_the_pool_that_balance_drew_from_counts(tmp_path: Path) -> None:
    """A pair's rank decides against counts of the pool that the pairs left stand for: of query 9, twice as many."""
    tables = make_run(tmp_path, 2, count=60, num_lost=10)
    written = pack(tmp_path, Pack(cap=3, mode=PROBABILITY), 2)
    pool = Counter(query for row in alive(tables) for query in row["query_ids"])
    pool[9] *= 2
    stays = set()
    for row in alive(tables):
        keep = 1.0 - prod(1.0 - min(1.0, 3 / pool[query]) for query in row["query_ids"])
        if row["rank"] < int(keep * 2**63):
            stays.add(row["key"])
    assert set(written["kept"]["key"].to_pylist()) == stays
    assert {row["reason"] for row in written["rejects"].to_pylist()} == {"not_drawn"}


def test_shards_hold_the_samples_in_key_order(tmp_path: Path) -> None:
    """Shards of 7, 7, 7 and 2, sound in themselves, with every sample's own image, caption and facts."""
    tables = make_run(tmp_path, 4)
    written = pack(tmp_path, Pack(cap=20_000, shard_size=7), 4)
    report = verify(str(tmp_path / "shards"), 1)
    assert (report.num_shards, report.num_samples, report.problems) == (4, 23, ())
    shards = [str(tmp_path / "shards" / f"0000{number}.tar") for number in range(4)]
    index = pa.concat_tables([read_index(shard) for shard in shards])
    assert index["key"].to_pylist() == sorted(tables["overlap/kept"]["key"].to_pylist())
    assert [read_index(shard).num_rows for shard in shards] == [7, 7, 7, 2]
    assert written["kept"].to_pydict() == index.select(["key", "shard"]).to_pydict()
    captions = {row["key"]: row["caption"] for row in tables["balance/kept"].to_pylist()}
    hashes = {row["key"]: row["sha256"] for row in tables["filter_image/kept"].to_pylist()}
    for row in index.to_pylist():
        assert (row["caption"], row["sha256"]) == (captions[row["key"]], hashes[row["key"]])
    samples = [sample for shard in shards for sample in read_samples(shard)]
    assert [sample["txt"][1].decode() for sample in samples] == index["caption"].to_pylist()


def test_bytes_do_not_depend_on_the_buckets(tmp_path: Path) -> None:
    """One bucket or five: the same files, byte for byte."""
    for num_buckets in (1, 5):
        folder = tmp_path / str(num_buckets)
        make_run(folder, num_buckets)
        pack(folder, Pack(cap=2, shard_size=4), num_buckets)
    one, five = sorted((tmp_path / "1" / "shards").iterdir()), sorted((tmp_path / "5" / "shards").iterdir())
    assert [path.name for path in one] == [path.name for path in five]
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in five]
    assert len(one) > 3


def test_nothing_left_makes_no_shard(tmp_path: Path) -> None:
    """When no pair is left there is no shard, and a manifest that says so."""
    make_run(tmp_path, 1, count=3, num_lost=3)
    (tmp_path / "shards").mkdir()
    run_steps(Pack(cap=1, mode=CAP).steps(RunSettings(num_buckets=1)), tmp_path, 1)
    assert write_manifest(str(tmp_path / "shards"))["shards"] == []
