"""pack: the cap exactly, then shards whose bytes depend on the samples alone."""

from __future__ import annotations

import io
import json
from collections import Counter
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipelines.recipes import Recipe
from pipelines.shardset.copying import extents
from pipelines.shardset.cutting import Limit
from pipelines.shardset.merging import merge
from pipelines.shardset.verification import verify
from pipelines.stages.balance import Balance
from pipelines.stages.pack import Pack
from pipelines.stages.slices import SliceBySize, read_slices
from pipelines.stages.verb import RunSettings
from tests.support import read_parts, run_steps, write_part
from wit.balancing import CAP, PROBABILITY
from wit.errors import OutputError, RecipeError
from wit.fingerprint import fingerprint
from wit.image import Limits, prepare
from wit.keys import key_bucket, sample_key, uniform_rank
from wit.recipe import load
from wit.schema import FINGERPRINTS, IMAGES, MATCHED, QUERY_COUNTS, SAMPLE_SIZES
from wit.shards import read_index, read_samples, write_manifest
from wit.storage import join, list_names, read_bytes, remove

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
            prints = {name: values[0].as_py() for name, values in fingerprint(stored.body).columns().items()}
            rows["overlap/kept"].append({**common, "num_pixels": 64, **prints})
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
    stage.publish_manifest(str(root))
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


@pytest.mark.parametrize("shard_bytes", [0, 30_000])
def test_nothing_left_makes_no_shard(tmp_path: Path, shard_bytes: int) -> None:
    """When no pair is left there is no shard, and a manifest that says so."""
    make_run(tmp_path, 1, count=3, num_lost=3)
    stage = Pack(cap=1, mode=CAP, shard_bytes=shard_bytes)
    run_steps(stage.steps(RunSettings(num_buckets=1)), tmp_path, 1)
    stage.publish_manifest(str(tmp_path))
    made = json.loads((tmp_path / "shards" / "manifest.json").read_bytes())
    assert (made["shards"], made["num_samples"], made["num_bytes"]) == ([], 0, 0)


def test_the_manifest_is_that_of_the_files(tmp_path: Path) -> None:
    """What the stage notes as it writes is what hashing the finished files gives."""
    make_run(tmp_path, 2)
    pack(tmp_path, Pack(cap=100, shard_size=7), 2)
    noted = (tmp_path / "shards" / "manifest.json").read_bytes()
    made = write_manifest(str(tmp_path / "shards"))
    assert (tmp_path / "shards" / "manifest.json").read_bytes() == noted
    assert made["num_bytes"] == sum(path.stat().st_size for path in (tmp_path / "shards").glob("*.tar"))


@settings(max_examples=40, deadline=None)
@given(
    parts=st.lists(st.lists(st.integers(1, 12), max_size=9), min_size=1, max_size=4),
    num_rows=st.integers(1, 6),
    num_bytes=st.integers(-3, 30),
)
def test_tasks_by_size_are_those_of_the_definition(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[int]], num_rows: int, num_bytes: int
) -> None:
    """A task ends before the row that would pass a limit; it has at least one row; all rows are in one, in order."""
    root = tmp_path_factory.mktemp("run")
    for index, sizes in enumerate(parts):
        write_part(root, "t", index, pa.table({"n": pa.array(sizes, pa.int64())}))
        write_part(root, "sizes", index, pa.table([pa.array(sizes, pa.int64())], schema=SAMPLE_SIZES))
    expected: list[list[int]] = []
    for size in (size for sizes in parts for size in sizes):
        if not expected or len(expected[-1]) == num_rows or sum(expected[-1]) + size > num_bytes:
            expected.append([])
        expected[-1].append(size)
    plan = SliceBySize("t", "sizes", num_rows, num_bytes)
    tasks = [pa.Table.from_batches(read_slices(str(root), iter(task.to_batches()), ["n"])) for task in plan(str(root))]
    assert [task["n"].to_pylist() for task in tasks] == expected


@pytest.mark.parametrize("shard_bytes", [1, 8_000, 20_000])
def test_no_tar_is_larger_than_asked(tmp_path: Path, shard_bytes: int) -> None:
    """Each tar is within the limit, and would not be with its successor's first sample; one sample may be over it."""
    tables = make_run(tmp_path, 3)
    stage = Pack(cap=100, shard_bytes=shard_bytes, metadata=("url", "caption"))
    pack(tmp_path, stage, 3)
    assert verify(str(tmp_path / "shards"), 1).problems == ()
    shards = [str(path) for path in sorted((tmp_path / "shards").glob("*.tar"))]
    indexes = [read_index(shard) for shard in shards]
    assert sum(map(len, indexes)) == len(tables["overlap/kept"])
    for shard, index, following in zip(shards, indexes, [*indexes[1:], None], strict=True):
        num_bytes = Path(shard).stat().st_size
        assert num_bytes <= shard_bytes or len(index) == 1
        if following is not None:
            begin, stop = extents(following)
            assert num_bytes + stop[0] - begin[0] > shard_bytes


def test_metadata_is_what_the_recipe_names(tmp_path: Path) -> None:
    """JSON members hold those fields alone, the manifest says which, the index stays whole, and verify agrees."""
    make_run(tmp_path, 2)
    pack(tmp_path, Pack(cap=100, metadata=("url", "width")), 2)
    (shard,) = (tmp_path / "shards").glob("*.tar")
    rows = read_index(str(shard)).to_pylist()
    found = [json.loads(sample["json"][1]) for sample in read_samples(str(shard))]
    assert found == [{"url": row["url"], "width": row["width"]} for row in rows]
    assert json.loads((tmp_path / "shards" / "manifest.json").read_bytes())["metadata"] == ["url", "width"]
    assert verify(str(tmp_path / "shards"), 1).problems == ()
    path = tmp_path / "shards" / "manifest.json"
    path.write_text(path.read_text().replace('"width"', '"height"'))
    assert any("does not have the fields height" in problem for problem in verify(str(tmp_path / "shards"), 1).problems)


def test_sets_of_different_metadata_become_one(tmp_path: Path) -> None:
    """The manifest of merged sets states what every sample has, and the merged set passes."""
    for number, fields in enumerate((("url", "width"), ("caption", "url"))):
        make_run(tmp_path / str(number), 1, num_lost=number * 12)
        pack(tmp_path / str(number), Pack(cap=100, metadata=fields), 1)
    folders = [str(tmp_path / name / "shards") for name in "01"]
    _, made = merge(folders, str(tmp_path / "both"), Limit(100), 1)
    assert made["metadata"] == ["url"]
    assert verify(str(tmp_path / "both"), 1).problems == ()


def test_an_unknown_field_is_refused() -> None:
    """A field that no sample has is a mistake of the recipe, told with those that there are."""
    with pytest.raises(RecipeError, match=r"pack.metadata: expected one of key, url, .*, found 'colour'"):
        load(None, Recipe, ["pack.metadata=['url', 'colour']"])


def test_shards_elsewhere_are_the_same(tmp_path: Path) -> None:
    """Under another folder or a URL: the same files; no temporary is left, here or there."""
    make_run(tmp_path, 2)
    stage = Pack(cap=100, shard_size=7)
    pack(tmp_path, stage, 2)
    expected = {path.name: path.read_bytes() for path in (tmp_path / "shards").iterdir()}
    fs = fsspec.filesystem("memory")
    for out in (str(tmp_path / "elsewhere"), "memory://test-pack/shards"):
        remove(str(tmp_path / "pack"))
        pack(tmp_path, replace(stage, out=out), 2)
        assert {name: read_bytes(join(out, name)) for name in list_names(out)} == expected
        assert verify(out, 1).problems == ()
    assert not [path for path in (*tmp_path.rglob("*"), *fs.find("/test-pack")) if ".tmp-" in str(path)]
    fs.rm("/test-pack", recursive=True)


def test_no_manifest_names_a_shard_that_is_gone(tmp_path: Path) -> None:
    """A shard that went after it was written ends the stage with what to do, before there is a manifest."""
    make_run(tmp_path, 1)
    stage = Pack(cap=100, mode=CAP)
    run_steps(stage.steps(RunSettings(num_buckets=1)), tmp_path, 1)
    (tmp_path / "shards" / "00000.tar").unlink()
    with pytest.raises(OutputError, match=r"shards: expected 00000.tar, found no such file; .*--from pack"):
        stage.publish_manifest(str(tmp_path))
    assert not (tmp_path / "shards" / "manifest.json").exists()
