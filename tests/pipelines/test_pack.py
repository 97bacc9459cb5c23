"""pack: the cap exactly, then shards whose bytes depend on the samples alone."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from pipelines.stages.pack import Pack
from pipelines.stages.slices import SliceTable
from pipelines.stages.verb import RunSettings
from pipelines.verification import verify
from tests.support import MemoryPart, run_map, run_sql
from wit.fingerprint import phash_stored, to_signed
from wit.image import Limits, prepare
from wit.keys import key_bucket, sample_key, uniform_rank
from wit.schema import FINGERPRINTS, IMAGES, MATCHED, MATCHES
from wit.shards import read_index, read_samples, write_manifest
from wit.stage import MapStage, SqlStage
from wit.storage import join, write_parquet

Tables = dict[str, pa.Table]


def make_run(folder: Path, num_buckets: int, count: int = 24) -> Tables:
    """A run up to overlap: `count` pairs; pair n matches query n % 5, and every third pair also query 9.

    Pair 0 is lost before overlap (its matches must not count), and the blobs lie in one tar a bucket.
    """
    rows: dict[str, list[dict[str, Any]]] = {"matched": [], "matches": [], "images": [], "fingerprints": []}
    blobs: dict[int, bytes] = {}
    for number in range(count):
        url, caption = f"http://example.org/{number}.png", f"picture {number}"
        key = sample_key(url, caption)
        bucket = key_bucket(key, num_buckets)
        common = {"key": key, "bucket": bucket, "rank": uniform_rank("wit", key)}
        queries = sorted({number % 5} | ({9} if number % 3 == 0 else set()))
        provenance = {"page_url": None, "archive": "a", "offset": number, "attribute": "img@alt", "num_occurrences": 1}
        rows["matched"].append({**common, "url": url, "caption": caption, **provenance, "query_ids": queries})
        for query in queries:
            match = {"query_id": query, "query_bucket": query % num_buckets, "position": 0}
            rows["matches"].append({**common, **match})
        stored = prepare(picture(number), Limits())
        offset = len(blobs.setdefault(bucket, b""))
        blobs[bucket] += stored.body
        facts = {name: getattr(stored, name) for name in IMAGES.names if hasattr(stored, name)}
        place = {"blob": f"fetch/blobs/part-{bucket:05d}.tar", "offset": offset, "length": len(stored.body)}
        rows["images"].append({**common, **facts, **place, "final_url": url})
        if number:
            phash = to_signed(phash_stored(stored.body))
            rows["fingerprints"].append({**common, "num_pixels": 64, "phash": phash})
    (folder / "fetch" / "blobs").mkdir(parents=True)
    for bucket, data in blobs.items():
        (folder / f"fetch/blobs/part-{bucket:05d}.tar").write_bytes(data)
    schemas = {"matched": MATCHED, "matches": MATCHES, "images": IMAGES, "fingerprints": FINGERPRINTS}
    return {name: pa.Table.from_pylist(rows[name], schema=schema) for name, schema in schemas.items()}


def picture(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def pack(folder: Path, stage: Pack, tables: Tables, num_buckets: int) -> Tables:
    """Run every step of the stage; return its tables by target."""
    written: Tables = {
        "match/matches": tables["matches"],
        "overlap/kept": tables["fingerprints"],
        "filter_image/kept": tables["images"],
        "balance/kept": tables["matched"],
    }
    for step in stage.steps(RunSettings(num_buckets=num_buckets)):
        if isinstance(step.stage, SqlStage):
            sources = {view: written[table] for view, table in step.sources.items()}
            written[step.target] = result = run_sql(step.stage, **sources)
            for bucket in range(num_buckets):
                mine = result.filter(
                    pa.array([each == bucket for each in result[step.stage.bucket].to_pylist()], pa.bool_())
                )
                write_parquet(join(str(folder), step.target, f"part-{bucket:05d}.parquet"), mine)
        elif isinstance(step.stage, SliceTable):
            tasks = list(step.stage(str(folder)))
        else:
            written |= write_shards(folder, step.stage, tasks)
    return written


def write_shards(folder: Path, stage: MapStage, tasks: list[pa.Table]) -> Tables:
    kept = [run_map(stage, task, MemoryPart(folder, index))["kept"] for index, task in enumerate(tasks)]
    write_manifest(str(folder / "shards"))
    return {"kept": pa.concat_tables(kept)}


def expected_keys(tables: Tables, cap: int) -> set[str]:
    """The cap by its definition: each query keeps its `cap` surviving pairs of lowest (rank, key)."""
    alive = set(tables["fingerprints"]["key"].to_pylist())
    matches = [row for row in tables["matches"].to_pylist() if row["key"] in alive]
    keys = set()
    for query in {row["query_id"] for row in matches}:
        mine = sorted((row["rank"], row["key"]) for row in matches if row["query_id"] == query)
        keys |= {key for _, key in mine[:cap]}
    return keys


@pytest.mark.parametrize("cap", [1, 2, 100])
def test_the_cap_is_exact_and_the_rest_is_rejected(tmp_path: Path, cap: int) -> None:
    """Packed are exactly the pairs that some query keeps among the survivors; the others are over_cap."""
    tables = make_run(tmp_path, 3)
    written = pack(tmp_path, Pack(cap=cap, shard_size=7), tables, 3)
    expected = expected_keys(tables, cap)
    assert set(written["kept"]["key"].to_pylist()) == expected
    rejects = written["rejects/pack"].to_pylist()
    assert {row["key"] for row in rejects} == set(tables["fingerprints"]["key"].to_pylist()) - expected
    assert {(row["stage"], row["reason"], row["detail"]) for row in rejects} <= {("pack", "over_cap", None)}


def test_shards_hold_the_samples_in_key_order(tmp_path: Path) -> None:
    """Shards of 7, 7, 7 and 2, sound in themselves, with every sample's own image, caption and facts."""
    tables = make_run(tmp_path, 4)
    written = pack(tmp_path, Pack(cap=20_000, shard_size=7), tables, 4)
    report = verify(str(tmp_path / "shards"), 1)
    assert (report.num_shards, report.num_samples, report.problems) == (4, 23, ())
    shards = [str(tmp_path / "shards" / f"0000{number}.tar") for number in range(4)]
    index = pa.concat_tables([read_index(shard) for shard in shards])
    assert index["key"].to_pylist() == sorted(tables["fingerprints"]["key"].to_pylist())
    assert [read_index(shard).num_rows for shard in shards] == [7, 7, 7, 2]
    assert written["kept"].to_pydict() == index.select(["key", "shard"]).to_pydict()
    captions = dict(zip(tables["matched"]["key"].to_pylist(), tables["matched"]["caption"].to_pylist(), strict=True))
    hashes = dict(zip(tables["images"]["key"].to_pylist(), tables["images"]["sha256"].to_pylist(), strict=True))
    for row in index.to_pylist():
        assert (row["caption"], row["sha256"]) == (captions[row["key"]], hashes[row["key"]])
    samples = [sample for shard in shards for sample in read_samples(shard)]
    assert [sample["txt"][1].decode() for sample in samples] == index["caption"].to_pylist()


def test_bytes_do_not_depend_on_the_buckets(tmp_path: Path) -> None:
    """One bucket or five: the same files, byte for byte."""
    for num_buckets in (1, 5):
        folder = tmp_path / str(num_buckets)
        pack(folder, Pack(cap=2, shard_size=4), make_run(folder, num_buckets), num_buckets)
    one, five = sorted((tmp_path / "1" / "shards").iterdir()), sorted((tmp_path / "5" / "shards").iterdir())
    assert [path.name for path in one] == [path.name for path in five]
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in five]
    assert len(one) > 3


def test_nothing_left_makes_no_shard(tmp_path: Path) -> None:
    """When no pair is left there is no shard, and a manifest that says so."""
    tables = make_run(tmp_path, 1)
    tables["fingerprints"] = tables["fingerprints"].slice(0, 0)
    (tmp_path / "shards").mkdir()
    for step in Pack().steps(RunSettings(num_buckets=1)):
        if isinstance(step.stage, SliceTable):
            assert list(step.stage(str(tmp_path))) == []
    assert write_manifest(str(tmp_path / "shards"))["shards"] == []
