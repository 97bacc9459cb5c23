from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from trainer.embedding import search as module
from trainer.embedding.folder import IMAGES, MANIFEST, NUMBERS, PARTS, TEXTS, open_folder, part_url, write_embedded
from trainer.embedding.search import rough_error, search
from wit import manifest
from wit.errors import InputError
from wit.schema import EMBEDDED_TEXTS
from wit.storage import join

Floats = NDArray[np.float32]
MODEL: dict[str, object] = {"embed_dim": 8, "fingerprint": ""}
OPENED: dict[str, object] = {"checkpoint": "", "merges": "", "activation": ""}


def unit(values: Floats) -> Floats:
    return (values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6)).astype(np.float32)


def random_units(count: int, dim: int, seed: int) -> Floats:
    return unit(np.random.default_rng(seed).standard_normal((count, dim), dtype=np.float32))


def write_folder(url: Path, vectors: Floats, part_rows: int, numbers: str = "fp16", kind: str = "parquet") -> None:
    """Write embeddings of texts that are named by their numbers."""
    parts = []
    for number, start in enumerate(range(0, len(vectors), part_rows)):
        part = vectors[start : start + part_rows].astype(NUMBERS[numbers][0])
        names = [str(start + row) for row in range(len(part))]
        table = pa.table({"key": names, "text": names}, schema=EMBEDDED_TEXTS)
        write_embedded(str(url), TEXTS, number, table, part, kind)
        parts.append({IMAGES: 0, TEXTS: len(part), "rejects": 0})
    facts = {"model": {"embed_dim": vectors.shape[1], "fingerprint": ""}, "numbers": numbers, "format": kind}
    facts |= {PARTS: parts, "precision": "fp32", "opened": OPENED}
    manifest.write(join(str(url), MANIFEST), facts)


def found_keys(url: Path, queries: Floats, k: int) -> list[list[int]]:
    return [[int(hit.row["key"]) for hit in hits] for hits in search(open_folder(str(url)), TEXTS, queries, k)]


@settings(deadline=None, max_examples=30)
@given(
    count=st.integers(1, 60),
    part_rows=st.integers(1, 40),
    block_rows=st.integers(1, 30),
    k=st.integers(1, 12),
    numbers=st.sampled_from(sorted(NUMBERS)),
    kind=st.sampled_from(["parquet", "npy"]),
    seed=st.integers(0, 1 << 30),
)
def test_hits_are_those_of_sorting(
    tmp_path_factory: pytest.TempPathFactory,
    count: int,
    part_rows: int,
    block_rows: int,
    k: int,
    numbers: str,
    kind: str,
    seed: int,
) -> None:
    """Whatever the parts and blocks, hits are the first k of all rows sorted by (cosine, number); rows repeat."""
    rng = np.random.default_rng(seed)
    vectors = random_units(12, 6, seed)[rng.integers(0, 12, count)]
    queries = random_units(3, 6, seed + 1)
    folder = tmp_path_factory.mktemp("embeddings")
    write_folder(folder, vectors, part_rows, numbers, kind)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_ROWS", block_rows)
        found = found_keys(folder, queries, k)
    kept = vectors.astype(NUMBERS[numbers][0]).astype(np.float64)
    for query, keys in zip(queries.astype(np.float64), found, strict=True):
        score = [round(float(np.dot(row, query)), 6) for row in kept]
        assert keys == sorted(range(count), key=lambda row: (-score[row], row))[:k]


@pytest.mark.parametrize("numbers", sorted(NUMBERS))
def test_scores_are_the_same_bit_for_bit(tmp_path: Path, numbers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of another size, blocks of another height and other queries beside it give the same score to the bit."""
    vectors, queries = random_units(500, 96, 0), random_units(7, 96, 1)
    seen = []
    for part_rows, block_rows, beside in ((500, 500, 7), (77, 33, 1), (40, 7, 3)):
        url = tmp_path / f"{part_rows}"
        write_folder(url, vectors, part_rows, numbers)
        monkeypatch.setattr(module, "BLOCK_ROWS", block_rows)
        hits = search(open_folder(str(url)), TEXTS, queries[:beside], 20)[0]
        seen.append([(hit.row["key"], hit.score) for hit in hits])
    assert seen[0] == seen[1] == seen[2]


@given(st.integers(1, 1_500), st.integers(0, 1 << 30))
@settings(deadline=None, max_examples=30)
def test_the_first_look_is_as_near_as_it_says(dim: int, seed: int) -> None:
    """An fp32 product of unit vectors is within `rough_error` of the exact one, for like and unlike vectors."""
    one, other = torch.from_numpy(random_units(40, dim, seed)), torch.from_numpy(random_units(40, dim, seed + 1))
    for left, right in ((one, other), (one, one), (one.half(), other.half())):
        rough = left.float() @ right.float().T
        exact = module._on_grid(left) @ module._on_grid(right).T
        assert float((rough.double() - exact).abs().max()) <= rough_error(dim)


def test_more_hits_than_rows_and_none(tmp_path: Path) -> None:
    """A search for more than there is finds all, in order."""
    vectors = random_units(5, 8, 0)
    write_folder(tmp_path, vectors, 2)
    (keys,) = found_keys(tmp_path, vectors[3:4], 50)
    assert keys[0] == 3
    assert sorted(keys) == [0, 1, 2, 3, 4]


def test_what_is_no_folder_of_embeddings_is_refused(tmp_path: Path) -> None:
    """Nothing, other JSON, a torn or missing part, numbers that are none: each is one line that names the file."""
    with pytest.raises(InputError, match="expected a folder that wit encode wrote, found none"):
        open_folder(str(tmp_path))
    for facts in ({}, {"model": {}, "numbers": "", "precision": "", "opened": {}, "format": "npy", "parts": [{}]}):
        manifest.write(str(tmp_path / MANIFEST), facts)
        with pytest.raises(InputError, match=r"manifest\.json"):
            open_folder(str(tmp_path))
    for kind in ("parquet", "npy"):
        url = tmp_path / kind
        vectors = random_units(9, 8, 0)
        write_folder(url, vectors, 5, kind=kind)
        part = Path(part_url(str(url), TEXTS, 1, kind))
        whole = part.read_bytes()
        for broken in (b"", whole[: len(whole) // 2], b"no embeddings"):
            part.write_bytes(broken)
            with pytest.raises(InputError, match="part-00001"):
                found_keys(url, vectors[:1], 3)
        part.unlink()
        with pytest.raises(InputError, match="part-00001"):
            found_keys(url, vectors[:1], 3)
        write_folder(url, vectors[:, :4], 5, kind=kind)
        manifest.write(str(url / MANIFEST), manifest.read(str(url / MANIFEST)) | {"model": MODEL})
        with pytest.raises(InputError, match="expected 5 embeddings of 8 fp16 numbers, found float16 \\(5, 4\\)"):
            found_keys(url, vectors[:1], 3)
        write_folder(url, np.full((9, 8), np.nan, np.float32), 5, kind=kind)
        with pytest.raises(InputError, match="part 0: expected embeddings of finite numbers"):
            found_keys(url, vectors[:1], 3)


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"embed_dim": 8}},
        {"model": MODEL | {"fingerprint": 3}},
        {"opened": OPENED | {"checkpoint": 5}},
        {"precision": "int4"},
        {"precision": []},
    ],
)
def test_a_manifest_of_something_else_is_refused(change: dict[str, object], tmp_path: Path) -> None:
    """What a search would stumble over later is seen when the folder is opened."""
    write_folder(tmp_path, random_units(5, 8, 0), 2)
    manifest.write(str(tmp_path / MANIFEST), manifest.read(str(tmp_path / MANIFEST)) | change)
    with pytest.raises(InputError, match=r"manifest\.json: expected the manifest of embeddings"):
        open_folder(str(tmp_path))


NO_TEXTS = pa.array([b"\xff"] * 5).cast(pa.string(), safe=False)


def without_first(column: pa.ChunkedArray) -> pa.Array:
    return pa.array([None, *column.to_pylist()[1:]], column.type)


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("npy", lambda table: table.slice(0, 1), "expected 5 rows, found 1"),
        ("npy", lambda table: table.drop_columns(["text"]), "part-00000.parquet"),
        (
            "npy",
            lambda table: table.set_column(1, "text", pa.array([b"\xff"] * 5).cast(pa.string(), False)),
            "expected a",
        ),
        (
            "parquet",
            lambda table: table.set_column(2, "embedding", without_first(table["embedding"])),
            "found none in 1",
        ),
    ],
    ids=["rows", "column", "bytes", "null"],
)
def test_tables_that_are_not_the_embeddings_are_refused(
    kind: str, change: Callable[[pa.Table], pa.Table], message: str, tmp_path: Path
) -> None:
    """Rows that are gone, columns of another kind, texts that are none, rows without embedding: one line each."""
    vectors = random_units(5, 8, 0)
    write_folder(tmp_path, vectors, 5, kind=kind)
    part = part_url(str(tmp_path), TEXTS, 0, "parquet")
    pq.write_table(change(pq.read_table(part)), part)
    with pytest.raises(InputError, match=message):
        found_keys(tmp_path, vectors[:1], 3)
