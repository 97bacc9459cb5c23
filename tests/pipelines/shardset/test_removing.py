"""Removal: exactly what was asked for goes, on record; killed anywhere, the same command finishes it."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.shardset import removing
from pipelines.shardset.cutting import Limit
from pipelines.shardset.indexing import index_tars
from pipelines.shardset.removing import remove_samples
from pipelines.shardset.rules import make_rules, read_list
from pipelines.shardset.splitting import resplit
from pipelines.shardset.verification import verify
from tests.pipelines.shardset.sets import contents_of, keys_of, rows_of, sample_set, write_set
from tests.pipelines.shardset.test_indexing import img2dataset_like
from tests.wit.test_shards import make_samples
from wit.errors import InputError, WitError
from wit.locking import LOCK
from wit.storage import read_parquet


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return sample_set(tmp_path / "set", 25)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != LOCK}


def test_what_goes_and_what_stays(folder: Path) -> None:
    """Each kind of rule takes its samples, the others stay byte for byte, and shards without one are not touched."""
    rows, before, files = rows_of(folder), contents_of(folder), files_of(folder)
    pairs = [
        ("key", rows[0]["key"]), ("url", rows[1]["url"]), ("sha256", rows[20]["sha256"].upper()),
        ("key", "unknown"), ("domain", "example.com"),
    ]  # fmt: skip
    removed = remove_samples(str(folder), make_rules(pairs), "asked for", 2)
    gone = [rows[0], rows[1], rows[20]]
    rules = [("key", rows[0]["key"]), ("url", rows[1]["url"]), ("sha256", rows[20]["sha256"])]
    assert removed.rows.to_pylist() == [
        {name: row[name] for name in ("key", "shard", "url", "sha256")}
        | {"rule": rule, "value": value, "reason": "asked for"}
        for row, (rule, value) in zip(gone, rules, strict=True)
    ]
    assert removed.num_shards == 2
    assert removed.unmatched == ("unknown", "example.com")
    assert read_parquet(str(folder / "removals.parquet")).equals(removed.rows)
    assert contents_of(folder) == {key: each for key, each in before.items() if key not in {row["key"] for row in gone}}
    after = files_of(folder)
    assert {name for name in after if files.get(name) != after[name]} == {
        "00000.tar", "00000.parquet", "00002.tar", "00002.parquet", "manifest.json", "removals.parquet",
    }  # fmt: skip
    assert verify(str(folder), 1).problems == ()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["num_samples"], manifest["removals"]["num_samples"]) == (22, 3)


def test_a_shard_is_what_write_shard_would_have_made(folder: Path, tmp_path: Path) -> None:
    """After a removal tar and index are byte for byte those of the samples that stay."""
    keys = keys_of(folder)
    remove_samples(str(folder), make_rules([("key", keys[8]), ("key", keys[13])]), "asked", 1)
    stay = [sample for number, sample in enumerate(make_samples(25)) if number not in (8, 13)]
    expected = files_of(write_set(tmp_path / "expected", stay, [7, 5, 7, 4]))
    found = files_of(folder)
    assert all(found[name] == data for name, data in expected.items() if name != "manifest.json")


@pytest.mark.parametrize("domain", ["Bad.Example", ".bad.example", "bad.example."])
def test_domains_cover_their_subdomains(tmp_path: Path, domain: str) -> None:
    """A domain takes its own images and those of what lies below it, not those of names that only end like it."""
    hosts = ["bad.example", "cdn.bad.example:8080", "notbad.example", "BAD.example", "bad.example.org"]
    samples = [
        (row | {"url": f"http://{host}/x.jpg"}, image)
        for host, (row, image) in zip(hosts, make_samples(5), strict=True)
    ]
    folder = write_set(tmp_path / "set", samples, [5])
    removed = remove_samples(str(folder), make_rules([("domain", domain)]), "asked", 1)
    assert {row["url"] for row in removed.rows.to_pylist()} == {f"http://{hosts[n]}/x.jpg" for n in (0, 1, 3)}


def test_a_dry_run_changes_nothing(folder: Path) -> None:
    """It says what would go, and no file differs."""
    before = files_of(folder)
    removed = remove_samples(str(folder), make_rules([("domain", "example.org")]), "asked", 1, dry_run=True)
    assert (len(removed.rows), removed.num_shards) == (25, 4)
    assert files_of(folder) == before


def test_all_may_go(folder: Path) -> None:
    """A set of which nothing is left is a sound set of empty shards, with the record."""
    remove_samples(str(folder), make_rules([("domain", "example.org")]), "asked", 1)
    assert keys_of(folder) == []
    assert verify(str(folder), 1).problems == ()


def test_records_add_up(folder: Path, tmp_path: Path) -> None:
    """A second removal adds to the record, goes along into other sets, and can be done to them as a list."""
    other = Path(shutil.copytree(folder, tmp_path / "copy"))
    keys = keys_of(folder)
    remove_samples(str(folder), make_rules([("key", keys[3])]), "first", 1)
    remove_samples(str(folder), make_rules([("url", rows_of(folder)[10]["url"])]), "second", 1)
    record = read_parquet(str(folder / "removals.parquet"))
    assert record["reason"].to_pylist() == ["first", "second"]
    again = remove_samples(str(folder), make_rules([("key", keys[3])]), "first", 1)
    assert (len(again.rows), again.unmatched) == (0, ())
    removed = remove_samples(str(other), make_rules(read_list(str(folder / "removals.parquet"))), "as there", 1)
    assert removed.rows["key"].to_pylist() == record["key"].to_pylist()
    assert keys_of(other) == keys_of(folder)
    resplit(str(folder), str(tmp_path / "split"), Limit(100), 1)
    assert read_parquet(str(tmp_path / "split" / "removals.parquet")).equals(record)
    assert verify(str(tmp_path / "split"), 1).problems == ()


def test_lists(tmp_path: Path) -> None:
    """Lines are URLs, hashes or keys as they look; of tables the first of key, url, sha256 counts."""
    (tmp_path / "list.txt").write_text(f"# all\n\nhttp://x.org/a b\n{'Ab' * 32}\r\n  k1  \n", newline="")
    assert read_list(str(tmp_path / "list.txt")) == [("url", "http://x.org/a b"), ("sha256", "Ab" * 32), ("key", "k1")]
    pq.write_table(pa.table({"key": ["a", "b", "a"], "item": ["x", "y", "z"]}), tmp_path / "matches.parquet")
    assert read_list(str(tmp_path / "matches.parquet")) == [("key", "a"), ("key", "b")]
    for kind in (pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())):
        pq.write_table(pa.table({"url": pa.array(["u", None, ""]).cast(kind)}), tmp_path / "urls.parquet")
        assert read_list(str(tmp_path / "urls.parquet")) == [("url", "u")]
    pq.write_table(pa.table({"key": [1]}), tmp_path / "numbers.parquet")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe")
    for name in ("numbers.parquet", "bytes.txt", "missing.txt"):
        with pytest.raises(InputError, match="expected"):
            read_list(str(tmp_path / name))


@pytest.mark.parametrize(
    "pair",
    [("domain", "a b"), ("domain", ""), ("domain", "."), ("domain", "http://x.org"), ("sha256", "abc"), ("url", "")],
)
def test_rules_that_are_none(pair: tuple[str, str]) -> None:
    """A domain with a path or a blank, a hash of another length, an empty URL: refused before anything is done."""
    with pytest.raises(InputError, match="expected"):
        make_rules([pair])


def test_a_pattern_is_refused(folder: Path) -> None:
    """A removal renews the manifest of a folder, so it wants the folder."""
    with pytest.raises(InputError, match="expected a folder of shards"):
        remove_samples(str(folder / "*.tar"), make_rules([("key", "a")]), "asked", 1)


def test_a_manifest_that_cannot_be_renewed_is_told_first(folder: Path) -> None:
    """Of a shard without its number of samples no sum can be made; found out after the tars it would be too late."""
    path = folder / "manifest.json"
    described = json.loads(path.read_text())
    del described["shards"][-1]["num_samples"]
    path.write_text(json.dumps(described))
    before = contents_of(folder)
    with pytest.raises(InputError, match="expected a manifest of shards"):
        remove_samples(str(folder), make_rules([("key", next(iter(before)))]), "asked", 1)
    assert contents_of(folder) == before


STEPS = ("write_parquet", "move", "remove", "publish_manifest", "write_tar")


@pytest.mark.parametrize("is_foreign", [False, True])
def test_killed_at_any_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_foreign: bool) -> None:
    """Stopped before or after each of its writes, a removal is told by verify, and finished by the same command."""
    source = tmp_path / "source"
    if is_foreign:
        for number in range(3):
            img2dataset_like(source, number)
        index_tars(str(source), None, 1)
    else:
        sample_set(source, 12, shard_size=4)
    keys = keys_of(source)
    rules = make_rules([("key", keys[1]), ("key", keys[9]), ("key", keys[10])])
    whole = Path(shutil.copytree(source, tmp_path / "whole"))
    remove_samples(str(whole), rules, "asked", 1)
    assert verify(str(whole), 1).problems == ()
    stop_at = 0
    while True:
        folder = Path(shutil.copytree(source, tmp_path / f"stop-{stop_at}"))
        with monkeypatch.context() as patch:
            countdown = _die_after(patch, stop_at)
            with suppress(WitError):
                remove_samples(str(folder), rules, "asked", 1)
            if countdown[0] > 0:
                break
        problems = verify(str(folder), 1).problems
        assert files_of(folder) in (files_of(source), files_of(whole)) or any("under way" in each for each in problems)
        remove_samples(str(folder), rules, "asked", 1)
        assert files_of(folder) == files_of(whole), stop_at
        stop_at += 1
    assert stop_at > 20


def _die_after(patch: pytest.MonkeyPatch, num_steps: int) -> list[int]:
    """Raise before or after the `num_steps`-th write; return how many are left."""
    left = [num_steps]

    def wrap(name: str) -> Any:
        real = getattr(removing, name)

        def step(*arguments: Any, **options: Any) -> Any:
            for act in (lambda: None, lambda: real(*arguments, **options)):
                result = act()
                left[0] -= 1
                if left[0] == -1:
                    raise WitError("killed")
            return result

        return step

    for name in STEPS:
        patch.setattr(removing, name, wrap(name))
    return left
