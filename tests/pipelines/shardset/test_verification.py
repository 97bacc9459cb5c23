"""Every kind of damage to shards is told, and sound shards pass."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines.shardset.verification import verify
from tests.wit.test_shards import make_samples, write_two_shards
from wit import tar
from wit.errors import InputError
from wit.schema import SHARD_INDEX
from wit.shards import read_index, write_manifest, write_shard
from wit.storage import write_parquet


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_two_shards(tmp_path)


def test_sound_shards_have_no_problems(folder: Path) -> None:
    """What write_shard and write_manifest made passes, as a folder and as a pattern, in one process or in two."""
    for pattern, processes in ((str(folder), 1), (str(folder / "{00000..00001}.tar"), 2)):
        report = verify(pattern, processes)
        assert (report.num_shards, report.num_samples, report.problems) == (2, 10, ())


def test_an_empty_shard_is_sound(tmp_path: Path) -> None:
    """A shard without samples is a tar that ends at once, and an empty index."""
    write_shard(str(tmp_path), 0, [])
    write_manifest(str(tmp_path))
    assert verify(str(tmp_path), 1).problems == ()


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x01
    path.write_bytes(data)


def rewrite_index(folder: Path, **changes: Callable[[Any], Any]) -> None:
    """Change columns of the first row of the first index."""
    rows = read_index(str(folder / "00000.tar")).to_pylist()
    rows[0] |= {name: change(rows[0][name]) for name, change in changes.items()}
    write_parquet(str(folder / "00000.parquet"), pa.Table.from_pylist(rows, schema=SHARD_INDEX))


def index_row(folder: Path) -> dict[str, Any]:
    row: dict[str, Any] = read_index(str(folder / "00000.tar")).to_pylist()[0]
    return row


def owned_header(folder: Path) -> None:
    """Rewrite the first header as another user's tar would have it."""
    path = folder / "00000.tar"
    data = bytearray(path.read_bytes())
    member = tarfile.TarInfo.frombuf(bytes(data[:512]), "ascii", "strict")
    member.mtime = 1_700_000_000
    data[:512] = member.tobuf(tarfile.USTAR_FORMAT)
    path.write_bytes(data)


def hidden_member(folder: Path) -> None:
    """Put a folder entry, which readers pass over, before the first sample."""
    path = folder / "00000.tar"
    entry = tarfile.TarInfo("hidden")
    entry.type = tarfile.DIRTYPE
    path.write_bytes(entry.tobuf(tarfile.USTAR_FORMAT) + path.read_bytes())
    rows = read_index(str(path)).to_pylist()
    for row in rows:
        row.update({name: value + 512 for name, value in row.items() if name in ("image_offset", "text_offset")})
        row["json_offset"] += 512
    write_parquet(str(folder / "00000.parquet"), pa.Table.from_pylist(rows, schema=SHARD_INDEX))


def swapped_rows(folder: Path) -> None:
    index = read_index(str(folder / "00000.tar"))
    write_parquet(str(folder / "00000.parquet"), index.take([1, 0, 2, 3, 4]))


def other_json(folder: Path) -> None:
    path, row = folder / "00000.tar", index_row(folder)
    data = path.read_bytes()
    start, stop = row["json_offset"], row["json_offset"] + row["json_length"]
    path.write_bytes(data[:start] + b"[" + b" " * (stop - start - 2) + b"]" + data[stop:])


def appended_member(folder: Path) -> None:
    path = folder / "00000.tar"
    path.write_bytes(path.read_bytes()[: -len(tar.END)] + tar.header("zzz.jpg", 0) + tar.END)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "image byte": (lambda f: flip(f / "00000.tar", index_row(f)["image_offset"] + 30), "not those that the index"),
    "image header": (lambda f: flip(f / "00000.tar", index_row(f)["image_offset"]), "cannot be read: not_image"),
    "caption byte": (lambda f: flip(f / "00000.tar", index_row(f)["text_offset"]), "caption is not that"),
    "metadata": (other_json, "does not have the fields"),
    "metadata byte": (lambda f: flip(f / "00000.tar", index_row(f)["json_offset"]), "not JSON"),
    "header byte": (lambda f: flip(f / "00000.tar", 3), "checksum"),
    "owner and time": (owned_header, "not plain"),
    "hidden member": (hidden_member, "something stands before"),
    "cut tar": (lambda f: (f / "00000.tar").write_bytes((f / "00000.tar").read_bytes()[:-3000]), "breaks off"),
    "lost last sample": (lambda f: _lose_last(f), "found the end of the tar"),
    "trailing bytes": (lambda f: (f / "00000.tar").write_bytes((f / "00000.tar").read_bytes() + b"x"), "bytes, found"),
    "appended member": (appended_member, "'zzz.jpg' is not in the index"),
    "no index": (lambda f: (f / "00000.parquet").unlink(), "found nothing"),
    "index is no Parquet": (lambda f: (f / "00000.parquet").write_text("x"), "not a readable Parquet"),
    "index of another schema": (
        lambda f: write_parquet(str(f / "00000.parquet"), pa.table({"key": ["a"]})),
        "expected columns",
    ),
    "index order": (swapped_rows, "not in ascending order"),
    "index offset": (lambda f: rewrite_index(f, text_offset=lambda value: value + 1), "the index says"),
    "index width": (lambda f: rewrite_index(f, width=lambda value: value + 1), "px, the index says"),
    "index url": (lambda f: rewrite_index(f, url=lambda value: value + "x"), "differs from the index in url"),
    "index shard": (lambda f: rewrite_index(f, shard=lambda value: "7.tar"), "names another shard"),
    "missing shard": (
        lambda f: [(f / name).unlink() for name in ("00001.tar", "00001.parquet")],
        "00001.tar is in manifest.json, but not in the folder",
    ),
    "extra shard": (lambda f: write_shard(str(f), 2, make_samples(1, 50)), "00002.tar is not in manifest.json"),
    "no manifest": (lambda f: (f / "manifest.json").unlink(), "manifest.json: expected a file here"),
    "foreign manifest": (lambda f: (f / "manifest.json").write_text('{"a": 1}'), "not a manifest of shards"),
    "manifest of numbers": (lambda f: _rename_in_manifest(f, 5), "not a manifest of shards"),
    "manifest too deep": (lambda f: (f / "manifest.json").write_text("[" * 100_000), "expected a manifest in JSON"),
    "later manifest": (lambda f: _set_version(f), "schema version 9"),
    "extra index": (lambda f: (f / "9.parquet").write_text(""), "9.parquet is not in manifest.json"),
    "index key": (lambda f: rewrite_index(f, key=lambda value: "é/" * 90), "expected 32 hex digits"),
    "index member": (lambda f: rewrite_index(f, image_member=lambda value: "../" + value), "named after them"),
    "same keys twice": (lambda f: write_shard(str(f), 2, make_samples(2)), "stands in"),
}


def _lose_last(folder: Path) -> None:
    write_shard(str(folder), 7, make_samples(10)[:4])
    (folder / "00007.tar").replace(folder / "00000.tar")
    (folder / "00007.parquet").unlink()


def _set_version(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 9}))


def _rename_in_manifest(folder: Path, name: object) -> None:
    path = folder / "manifest.json"
    described = json.loads(path.read_text())
    described["indexes"][0]["name"] = name
    path.write_text(json.dumps(described))


@pytest.mark.parametrize("kind", DAMAGE)
def test_every_kind_of_damage_is_told(folder: Path, kind: str) -> None:
    """Each damage gives a problem that says what it is, and never a traceback."""
    damage, message = DAMAGE[kind]
    damage(folder)
    problems = verify(str(folder), 1).problems
    assert any(message in problem for problem in problems), problems


def test_damage_that_only_the_manifest_can_see(folder: Path) -> None:
    """A shard that was replaced whole, with its index, is sound in itself but not what the manifest says."""
    write_shard(str(folder), 1, make_samples(5, 300))
    problems = verify(str(folder), 1).problems
    assert [problem.split(" is not")[0] for problem in problems if "hash" in problem] == ["00001.parquet", "00001.tar"]


def test_folders_of_one_pattern(tmp_path: Path) -> None:
    """Shards of the same name in two folders are told apart when they have a key in common."""
    for name in "ab":
        write_shard(str(tmp_path / name), 0, make_samples(1))
        write_manifest(str(tmp_path / name))
    (problem,) = verify(f"{tmp_path}/*/*.tar", 1).problems
    assert problem.endswith(f"stands in {tmp_path}/a/00000.tar and in {tmp_path}/b/00000.tar")


def test_a_broken_shard_is_not_told_ten_thousand_times(tmp_path: Path) -> None:
    """Of a shard that is wrong in every sample the first twenty problems are told."""
    samples = [(row | {"width": 9999}, image) for row, image in make_samples(30)]
    write_shard(str(tmp_path), 0, samples)
    write_manifest(str(tmp_path))
    assert len(verify(str(tmp_path), 1).problems) == 21


@pytest.mark.parametrize("pattern", ["missing", "", "README.md"])
def test_no_shards_is_a_user_error(tmp_path: Path, pattern: str) -> None:
    """A path that is not there, a folder without shards and a file that is no tar are refused."""
    (tmp_path / "README.md").write_text("")
    with pytest.raises(InputError):
        verify(str(tmp_path / pattern), 1)
