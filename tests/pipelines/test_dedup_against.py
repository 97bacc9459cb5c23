"""Dedup against shards that are there already: what they hold goes, whether it comes now or came with them."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image as Pillow

from pipelines.shardset.indexing import index_tar
from pipelines.stages.dedup import Dedup, entries, packed
from pipelines.stages.dedup.packed import DescribePacked, ListPacked
from pipelines.stages.fingerprint import Fingerprint
from tests.pipelines.dedup_runs import Image, Row, dedup, rows_of, words
from tests.pipelines.shardset.foreign import write_tar
from tests.pipelines.shardset.sets import write_set
from tests.pipelines.test_dedup import BOTH, planted
from tests.support import MemoryPart, run_map, to_signed
from tests.wit.test_shards import make_samples
from wit.errors import InputError
from wit.fingerprint import fingerprint
from wit.schema import FIRST_NUMBERS
from wit.shards import MANIFEST
from wit.storage import write_parquet


def pack(folder: Path, images: list[Image]) -> dict[str, Image]:
    """Write a set whose index has the prints of images; return them by the name that dedup gives them."""
    samples = []
    for number, ((row, body), image) in enumerate(zip(make_samples(len(images)), images, strict=True)):
        content = 5000 + number if image.content is None else image.content
        prints = {**words(image.phash, image.pdq), "quality": image.quality, "content": content}
        by_bytes = {"sha256": f"{content % 2**64:016x}" + 48 * "0"}
        samples.append((row | prints | by_bytes, body))
    size = -(-len(samples) // 2)
    write_set(folder, samples, [size, len(samples) - size])
    names = (f"{folder}/{number // size:05d}.tar/{row['key']}" for number, (row, _) in enumerate(samples))
    return dict(zip(names, images, strict=True))


def distance(one: Image, other: Image, rule: Dedup) -> int | None:
    """Bits between an image as it is, or turned, and a packed one; None when they are no near-duplicates."""
    if one.content is not None and one.content == other.content:
        return 0
    if min(one.quality, other.quality) < rule.min_quality:
        return None
    mine = [(one.phash, one.pdq), *(each[1:] for each in one.turned if rule.turns)]
    found = []
    for phash, pdq in mine:
        bits = (phash ^ other.phash).bit_count(), (pdq ^ other.pdq).bit_count()
        if bits[0] <= rule.phash_radius and bits[1] <= rule.pdq_radius:
            found.append(bits[1])
    return min(found, default=None)


@pytest.mark.parametrize(("turns", "place_rows"), [(False, 1 << 22), (True, 10)])
def test_what_is_packed_goes_and_the_rest_is_as_without_it(
    turns: bool, place_rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images near a packed one go for the nearest, by all with all; the others fare as if those had never come."""
    monkeypatch.setattr(entries, "PLACE_ROWS", place_rows)
    old, new = planted(3)[:20], planted(3)[12:]
    there = pack(tmp_path / "old", old)
    stage = replace(BOTH, against=(str(tmp_path / "old"),), turns=turns)
    rows = rows_of(new)
    tables = dedup(tmp_path / "run", rows, stage)
    nearest = {}
    for row in rows:
        found = [
            (bits, name) for name, image in there.items() if (bits := distance(row.image, image, stage)) is not None
        ]
        if found:
            nearest[row.key] = min(found)
    rejects = tables["rejects"].to_pylist()
    already = {row["key"]: row["detail"] for row in rejects if row["reason"] == "already_packed"}
    assert already == {key: f"{name}, {bits} bits" for key, (bits, name) in nearest.items()}
    assert len(rows) > len(already) > 0
    rest = [row if row.image.content else replace_content(row, number) for number, row in enumerate(rows)]
    alone = dedup(tmp_path / "alone", [row for row in rest if row.key not in nearest], replace(stage, against=()))
    assert tables["kept"]["key"].to_pylist() == alone["kept"]["key"].to_pylist()
    others = tables["duplicates"].to_pylist()
    assert [row for row in others if row["key"] not in nearest] == alone["duplicates"].to_pylist()


def replace_content(row: Row, number: int) -> Row:
    """The row with the content that its place among all gave it."""
    return replace(row, image=replace(row.image, content=1000 + number))


def test_one_set_after_the_other_is_as_both_at_once(tmp_path: Path) -> None:
    """Images against the packed survivors of better ones: the same stay as when all come at once."""
    images = [image for image in planted(4) if image.quality >= BOTH.min_quality]
    images = [replace(image, turned=(), content=None, num_pixels=100 - number) for number, image in enumerate(images)]
    first, second = images[:25], images[25:]
    kept_first = kept(dedup(tmp_path / "first", rows_of(first), BOTH), rows_of(first))
    pack(tmp_path / "old", kept_first)
    rows = rows_of(second, "second")
    kept_second = kept(dedup(tmp_path / "second", rows, replace(BOTH, against=(str(tmp_path / "old"),))), rows)
    everything = rows_of(images)
    assert as_prints(kept_first + kept_second) == as_prints(kept(dedup(tmp_path / "all", everything, BOTH), everything))


def kept(tables: dict[str, pa.Table], rows: list[Row]) -> list[Image]:
    """The images that stay."""
    keys = set(tables["kept"]["key"].to_pylist())
    return [row.image for row in rows if row.key in keys]


def as_prints(images: list[Image]) -> list[tuple[int, int]]:
    return sorted((image.phash, image.pdq) for image in images)


def photograph(seed: int) -> bytes:
    """A JPEG with detail."""
    tiles = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Pillow.fromarray(tiles).resize((200, 160), Pillow.Resampling.BICUBIC).save(buffer, "JPEG")
    return buffer.getvalue()


def described(
    root: Path, shards: Path, side: int = entries.AS_IT_IS, content: str = "bytes"
) -> tuple[dict[str, int], list[str]]:
    """What is listed of the images in shards: pHash (or what a side has) by key, and what cannot be read."""
    numbers = pa.Table.from_pylist([{"part": 0, "first": 0, "place_bits": 0}], schema=FIRST_NUMBERS)
    write_parquet(str(root / "dedup/numbers/part-00000.parquet"), numbers)
    (task,) = ListPacked((str(shards),))(str(root))
    found = run_map(DescribePacked(BOTH.rule, Fingerprint(content=content)), task, MemoryPart(root))
    rows = found["kept"].to_pylist()
    assert len({row["entry"] for row in rows}) == len(rows)
    upright = {row["key"]: row["value"] for row in rows if row["side"] == side}
    return upright, found["unreadable"]["item"].to_pylist()


def test_shards_without_prints_are_hashed(tmp_path: Path) -> None:
    """Without an index, with one that has no prints, with prints: the same each time, and a torn image is told."""
    bodies = {f"{number:03d}": photograph(number) for number in range(4)}
    members = [(f"{key}.jpg", body) for key, body in bodies.items()]
    tar = write_tar(tmp_path / "tars/a.tar", [*members, ("9.jpg", b"\xff\xd8 no more")])
    expected = {f"{tar}/{key}": to_signed(int(fingerprint(body).phash[0])) for key, body in bodies.items()}
    assert described(tmp_path, tar.parent) == (expected, ["a.tar/9"])
    for with_prints in (False, True):
        index_tar(str(tar), with_prints=with_prints)
        assert described(tmp_path, tar.parent)[0] == expected


def test_a_manifest_of_somebody_else_says_nothing(tmp_path: Path) -> None:
    """A file of that name that tells of no shards is passed over: the tars are read all the same."""
    tar = write_tar(tmp_path / "tars/a.tar", [("0.jpg", photograph(0))])
    (tar.parent / MANIFEST).write_text('{"made": "elsewhere"}')
    assert list(described(tmp_path, tar.parent)[0]) == [f"{tar}/0"]


def test_a_set_without_shards_is_refused(tmp_path: Path) -> None:
    """A folder without tars is one line before the run begins."""
    with pytest.raises(InputError, match=r"^dedup\.against: .*expected shards \(\.tar\)"):
        Dedup(against=(str(tmp_path),)).inputs()


@pytest.mark.parametrize("packed_with", ["bytes", "pixels"])
@pytest.mark.parametrize("content", ["bytes", "pixels"])
def test_contents_are_of_the_kind_that_the_run_has(packed_with: str, content: str, tmp_path: Path) -> None:
    """Whatever fingerprint.content was when shards were packed: a blank image is known by its content alone."""
    bodies = [photograph(number) for number in range(3)]
    samples = []
    for (row, _), body in zip(make_samples(3), bodies, strict=True):
        prints = fingerprint(body, pixels=packed_with == "pixels")
        facts = {name: column[0].as_py() for name, column in prints.columns().items()}
        samples.append((row | facts | {"sha256": hashlib.sha256(body).hexdigest()}, body))
    write_set(tmp_path / "old", samples, [3])
    expected = [int(fingerprint(body, pixels=content == "pixels").content[0]) for body in bodies]
    contents, unreadable = described(tmp_path, tmp_path / "old", entries.CONTENT_SIDE, content)
    assert (list(contents.values()), unreadable) == (expected, [])


def test_an_image_too_large_to_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member of a tar may state any length: it is not read into memory."""
    body = photograph(0)
    tar = write_tar(tmp_path / "tars/a.tar", [("0.jpg", body), ("1.jpg", body + bytes(9))])
    monkeypatch.setattr(packed, "MAX_IMAGE_BYTES", len(body))
    upright, unreadable = described(tmp_path, tar.parent)
    assert (list(upright), unreadable) == ([f"{tar}/0"], ["a.tar/1"])
