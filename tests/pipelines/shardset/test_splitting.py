"""Split, sample: every sample once, byte for byte, the same whatever the processes; killed and gone on with."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import fsspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.shardset import copying, export, making
from pipelines.shardset.cutting import Cutter, Limit, Picked
from pipelines.shardset.removing import remove_samples
from pipelines.shardset.rules import make_rules
from pipelines.shardset.splitting import draw, parse_shares, part_numbers, ranks, resplit, split_into
from pipelines.shardset.verification import Report, verify
from tests.pipelines.shardset.sets import contents_of, keys_of, sample_set, write_set
from tests.wit.test_shards import make_samples
from wit.errors import InputError, MismatchError, OutputError, UserError, WitError
from wit.keys import uniform_rank
from wit.processes import map_in_order
from wit.shards import MANIFEST, write_manifest, write_shard
from wit.storage import TEMPORARY_PREFIX


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return sample_set(tmp_path / "set", 25)


def assert_sound(folder: Path) -> None:
    assert verify(str(folder), 1).problems == ()


@pytest.mark.parametrize("size", [1, 4, 7, 25, 100])
def test_resplit_is_what_write_shard_would_have_made(folder: Path, tmp_path: Path, size: int) -> None:
    """Shards of another size are byte for byte those that pack writes of the same samples at that size."""
    resplit(str(folder), str(tmp_path / "out"), Limit(size), 1)
    expected = sample_set(tmp_path / "expected", 25, shard_size=size)
    names = sorted(path.name for path in expected.iterdir())
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted([".lock", "made_from.json", *names])
    for name in names:
        assert (tmp_path / "out" / name).read_bytes() == (expected / name).read_bytes(), name


def test_resplit_by_bytes(folder: Path, tmp_path: Path) -> None:
    """No tar is larger than --bytes, none could hold the next sample, and one sample always fits."""
    out = tmp_path / "out"
    sizes = [path.stat().st_size for path in sorted(folder.glob("*.tar"))]
    resplit(str(folder), str(out), Limit(1000, 20_000), 1)
    assert max(path.stat().st_size for path in out.glob("*.tar")) <= 20_000 < max(sizes)
    assert keys_of(out) == keys_of(folder)
    assert_sound(out)
    resplit(str(folder), str(tmp_path / "one"), Limit(1000, 1), 1)
    assert len(list((tmp_path / "one").glob("*.tar"))) == 25


@given(
    st.lists(st.integers(1, 50).map(lambda blocks: blocks * 512), max_size=60),
    st.integers(1, 7),
    st.integers(0, 20_000),
    st.lists(st.integers(0, 60), max_size=5),
)
def test_cutting_is_greedy_however_the_samples_come(
    sizes: list[int], samples: int, num_bytes: int, borders: list[int]
) -> None:
    """A shard ends exactly where the next sample would pass a limit, whatever pieces the samples come in."""
    import numpy as np

    expected: list[list[int]] = [[]]
    for row, size in enumerate(sizes):
        held = sum(sizes[each] for each in expected[-1])
        is_full = len(expected[-1]) == samples or (num_bytes and held + size + 1024 > num_bytes)
        if expected[-1] and is_full:
            expected.append([])
        expected[-1].append(row)
    cutter = Cutter("out", Limit(samples, num_bytes))
    found = []
    cuts = sorted({0, len(sizes), *(border for border in borders if border <= len(sizes))})
    for first, last in pairwise(cuts):
        rows = np.arange(first, last, dtype=np.int32)
        picked = Picked(("a",), np.zeros(len(rows), np.int32), rows, np.array(sizes[first:last], np.int64))
        found += list(cutter.add(picked))
    found += list(cutter.flush())
    assert [new.plan.rows.tolist() for new in found] == expected
    assert [new.number for new in found] == list(range(len(expected)))


@given(st.lists(st.text(max_size=40), max_size=20), st.text(max_size=5))
def test_ranks_are_those_of_keys(keys: list[str], salt: str) -> None:
    """In columns as `uniform_rank` one by one, for keys of any kind."""
    assert ranks(salt, pa.array(keys, pa.string())).tolist() == [uniform_rank(salt, key) for key in keys]


def test_split_into_parts(folder: Path, tmp_path: Path) -> None:
    """Each sample is in one part, in order; what other samples there are does not move it."""
    shares = parse_shares(("train=0.7", "val=0.3"))
    split_into(str(folder), str(tmp_path / "small"), shares, Limit(5), 0, 1)
    sample_set(tmp_path / "grown", 60)
    split_into(str(tmp_path / "grown"), str(tmp_path / "large"), shares, Limit(5), 0, 2)
    small, large = ({name: keys_of(tmp_path / size / name) for name in shares} for size in ("small", "large"))
    assert sorted(small["train"] + small["val"]) == keys_of(folder)
    assert set(small["train"]) <= set(large["train"])
    assert set(small["val"]) <= set(large["val"])
    assert 0.5 < len(large["train"]) / 60 < 0.9
    assert_sound(tmp_path / "large" / "train")
    assert_sound(tmp_path / "small" / "val")


def test_shares_are_met() -> None:
    """Of 20,000 keys each part has its share within 3 standard deviations, 1.1 %."""
    keys = pa.array([str(number) for number in range(20_000)])
    parts = part_numbers({"a": 0.25, "b": 0.25, "c": 0.5}, keys, 1)
    assert all(abs((parts == part).mean() - share) < 0.011 for part, share in enumerate((0.25, 0.25, 0.5)))


@pytest.mark.parametrize("into", [("a",), ("a=x",), ("a=0.5",), ("a=0.5", "a=0.5"), ("../a=1",), ("a=nan",), ("a=2",)])
def test_shares_that_are_none(into: tuple[str, ...]) -> None:
    """A part without a share, a name twice or with a path, a sum that is not 1: each is refused."""
    with pytest.raises(UserError, match="--into"):
        parse_shares(into)


def test_samples_are_drawn_by_their_keys(folder: Path, tmp_path: Path) -> None:
    """The same samples whatever the shards; a smaller draw is a part of a larger one; another seed differs."""
    resplit(str(folder), str(tmp_path / "other"), Limit(3), 1)
    draw(str(folder), str(tmp_path / "ten"), 10, 1, Limit(4), 1)
    draw(str(tmp_path / "other"), str(tmp_path / "again"), 10, 1, Limit(4), 2)
    draw(str(folder), str(tmp_path / "five"), 5, 1, Limit(4), 1)
    draw(str(folder), str(tmp_path / "seed"), 10, 2, Limit(4), 1)
    ten = keys_of(tmp_path / "ten")
    assert len(ten) == 10
    assert ten == keys_of(tmp_path / "again") != keys_of(tmp_path / "seed")
    assert set(keys_of(tmp_path / "five")) < set(ten)
    originals = contents_of(folder)
    assert contents_of(tmp_path / "ten") == {key: originals[key] for key in ten}
    assert_sound(tmp_path / "ten")
    with pytest.raises(UserError, match="25 samples that there are"):
        draw(str(folder), str(tmp_path / "many"), 26, 1, Limit(4), 1)


def test_what_was_killed_goes_on(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that dies between shards leaves no manifest; the same command makes only the rest, the same bytes."""
    out, made, write_tar = tmp_path / "out", list[str](), copying.write_tar

    def dying(file: object, name: str, *more: object, **options: object) -> object:
        made.append(name)
        if len(made) == 3:
            raise WitError("killed")
        return write_tar(file, name, *more, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(copying, "write_tar", dying)
    with pytest.raises(WitError, match="killed"):
        resplit(str(folder), str(out), Limit(5), 1)
    assert not (out / "manifest.json").exists()
    with pytest.raises(MismatchError, match="samples: 5 -> 6"):
        resplit(str(folder), str(out), Limit(6), 1)
    resplit(str(folder), str(out), Limit(5), 1)
    assert made == [f"{number:05d}.tar" for number in (0, 1, 2, 2, 3, 4)]
    assert_sound(out)
    assert keys_of(out) == keys_of(folder)
    with pytest.raises(OutputError, match="new or empty folder"):
        resplit(str(out), str(folder), Limit(5), 1)


def test_shards_that_change_while_they_are_read(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A removal that begins while another command reads: that command fails, and leaves no set nor export."""
    rules = [make_rules([("key", key)]) for key in keys_of(folder)[:2]]

    def changing(*arguments: Any) -> Iterator[Any]:
        yield from map_in_order(*arguments)
        remove_samples(str(folder), rules.pop(), "asked", 1)

    for module in (making, export):
        monkeypatch.setattr(module, "map_in_order", changing)
    with pytest.raises(InputError, match="the shards were changed while they were read"):
        resplit(str(folder), str(tmp_path / "split"), Limit(3), 1)
    asked = export.Export(str(folder), "huggingface", str(tmp_path / "exported"))
    with pytest.raises(MismatchError, match="was made from something else"):
        export.run_export(asked, export.prepare_export(asked), 1)
    assert not (tmp_path / "split" / MANIFEST).exists()
    assert not (tmp_path / "exported" / "README.md").exists()


def test_what_fails_leaves_no_temporary_file(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of one worker ends the others at their work; on a full disk what they leave would keep it full."""
    left = tmp_path / "out" / f"{TEMPORARY_PREFIX}left"

    def failing(*_: object) -> NoReturn:
        left.write_bytes(b"of a worker that was killed")
        raise OutputError("no space left")

    monkeypatch.setattr(making, "map_in_order", failing)
    with pytest.raises(OutputError, match="no space left"):
        resplit(str(folder), str(tmp_path / "out"), Limit(3), 1)
    assert not left.exists()


def test_a_finished_set_is_left_as_it_is(folder: Path, tmp_path: Path) -> None:
    """The same command again says the same and changes nothing; where a part's manifest was not reached, it is made."""
    shares = parse_shares(("a=0.5", "b=0.5"))
    made = split_into(str(folder), str(tmp_path / "out"), shares, Limit(5), 0, 1)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "out").rglob("*.*")}
    assert split_into(str(folder), str(tmp_path / "out"), shares, Limit(5), 0, 1) == made
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before} == before
    (tmp_path / "out" / "b" / "manifest.json").unlink()
    assert split_into(str(folder), str(tmp_path / "out"), shares, Limit(5), 0, 1) == made
    assert {path: path.read_bytes() for path in before} == {path: data for path, (data, _) in before.items()}


def test_remote_sets() -> None:
    """From one URL to another, and a removal there: as on a disk."""
    fs = fsspec.filesystem("memory")
    write_shard("memory://from", 0, make_samples(6))
    write_manifest("memory://from")
    resplit("memory://from", "memory://to", Limit(4), 1)
    remove_samples("memory://to", make_rules([("key", make_samples(6)[5][0]["key"])]), "asked", 1)
    assert verify("memory://to", 1) == Report(2, 5, ())
    names = [f"0000{number}.{suffix}" for number in range(2) for suffix in ("parquet", "tar")]
    expected = [f"/to/{name}" for name in (*names, "made_from.json", "manifest.json", "removals.parquet")]
    assert sorted(fs.ls("/to", detail=False)) == expected
    for name in ("/from", "/to"):
        fs.rm(name, recursive=True)


def test_an_index_of_another_tar_is_refused(folder: Path, tmp_path: Path) -> None:
    """A tar that is shorter than its index says ends the command with a word on it, and no shard is left of it."""
    with (folder / "00002.tar").open("r+b") as file:
        file.truncate(3000)
    with pytest.raises(UserError, match=r"00002\.tar: expected 21,504 bytes, found 3,000"):
        resplit(str(folder), str(tmp_path / "out"), Limit(100), 1)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".lock", "made_from.json"]


def test_an_empty_set(tmp_path: Path) -> None:
    """A set without samples gives a set without samples."""
    write_set(tmp_path / "none", make_samples(0), [0])
    resplit(str(tmp_path / "none"), str(tmp_path / "out"), Limit(5), 1)
    assert keys_of(tmp_path / "out") == []
    assert_sound(tmp_path / "out")
