"""Exports hold every sample byte for byte, in layouts that their own readers open, whatever stopped them on the way."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.shardset import layouts
from pipelines.shardset.export import RECORD, Export, prepare_export, run_export
from pipelines.shardset.indexing import index_tars
from pipelines.shardset.layouts import LAYOUTS
from pipelines.shardset.pieces import Cut, plan
from pipelines.sources.shards import Shards
from pipelines.sources.source import Links, Slice
from tests.support import real_data
from tests.wit.test_shards import make_samples, write_two_shards
from wit.cli import main
from wit.errors import InputError, MismatchError, OutputError
from wit.locking import locked
from wit.schema import SHARD_INDEX
from wit.shards import read_index, write_manifest, write_shard
from wit.storage import list_names, read_bytes, write_parquet

IMG2DATASET_COLUMNS = {
    "url", "caption", "key", "status", "error_message", "width", "height", "original_width", "original_height", "exif",
    "sha256",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards of five samples each."""
    return write_two_shards(tmp_path_factory.mktemp("set") / "shards")


def export(shards: Path | str, layout: str, out: Path | str, processes: int = 1, **limits: int) -> int:
    """Export as the command does; return the number of pieces."""
    asked = Export(str(shards), layout, str(out), **limits)
    planned = prepare_export(asked)
    done: list[int] = []
    run_export(asked, planned, processes, done.append)
    assert sum(done) == planned.num_samples
    return len(planned.pieces)


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [row for shard in sorted(folder.glob("*.tar")) for row in read_index(str(shard)).to_pylist()]


def image_of(folder: Path, row: dict[str, Any]) -> bytes:
    data = (folder / row["shard"]).read_bytes()
    return data[row["image_offset"] : row["image_offset"] + row["image_length"]]


# ---- the layouts ----


def test_img2dataset_layout(folder: Path, tmp_path: Path) -> None:
    """Names, keys, members, columns and statistics are those of img2dataset 1.47; every sample is there, unchanged."""
    assert export(folder, "img2dataset", tmp_path, max_samples=4) == 3
    names = [f"0000{number}{suffix}" for number in range(3) for suffix in (".parquet", ".tar", "_stats.json")]
    assert list_names(str(tmp_path)) == [".lock", *names, RECORD]
    found = iter(rows_of(folder))
    for number, count in enumerate((4, 4, 2)):
        stem = tmp_path / f"{number:05d}"
        table = pq.read_table(f"{stem}.parquet")
        assert set(table.column_names) >= IMG2DATASET_COLUMNS
        statistics = json.loads(Path(f"{stem}_stats.json").read_text())
        assert (statistics["count"], statistics["successes"]) == (count, count)
        assert statistics["status_dict"] == {"success": count}
        with tarfile.open(f"{stem}.tar") as archive:
            members = {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
        keys = [f"{number:05d}{each:04d}" for each in range(count)]
        assert list(members) == [f"{key}.{suffix}" for key in keys for suffix in ("jpg", "json", "txt")]
        for key, stated in zip(keys, table.to_pylist(), strict=True):
            row = next(found)
            assert members[f"{key}.jpg"] == image_of(folder, row)
            assert members[f"{key}.txt"].decode() == row["caption"] == stated["caption"]
            assert json.loads(members[f"{key}.json"]) == stated
            assert (stated["key"], stated["sample_key"], stated["status"]) == (key, row["key"], "success")
            assert stated["original_width"] == 10
    assert next(found, None) is None


def test_the_shards_source_reads_the_img2dataset_layout(folder: Path, tmp_path: Path) -> None:
    """What is exported is found again as pairs, from the tar and from the table."""
    export(folder, "img2dataset", tmp_path)
    expected = [(row["url"], row["caption"]) for row in rows_of(folder)]
    for name in ("00000.tar", "00000.parquet"):
        found = list(Shards().findings(Slice(str(tmp_path / name))))
        pairs = [
            pair
            for links in found
            if isinstance(links, Links)
            for pair in zip(links.url.to_pylist(), links.text.to_pylist(), strict=True)
        ]
        assert pairs == expected


READ_WITH_WEBDATASET = """
import json, sys, webdataset
for sample in webdataset.WebDataset(sys.argv[1], shardshuffle=False).decode("pil"):
    print(json.dumps([sample["jpg"].size, sample["txt"]]))
"""


def test_webdataset_reads_the_img2dataset_layout(folder: Path, tmp_path: Path) -> None:
    """webdataset decodes every picture, PNGs too, under the suffix that readers of this layout ask for."""
    export(folder, "img2dataset", tmp_path)
    command = [sys.executable, "-c", READ_WITH_WEBDATASET, str(tmp_path / "00000.tar")]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    expected = [[[row["width"], row["height"]], row["caption"]] for row in rows_of(folder)]
    assert [json.loads(line) for line in lines] == expected


def test_parquet_layout(folder: Path, tmp_path: Path) -> None:
    """The index, row for row and column for column, with each image and its metadata."""
    assert export(folder, "parquet", tmp_path, max_samples=7) == 2
    table = pa.concat_tables(pq.read_table(tmp_path / f"0000{number}.parquet") for number in range(2))
    expected = rows_of(folder)
    assert table.select(SHARD_INDEX.names).to_pylist() == expected
    assert table["image"].to_pylist() == [image_of(folder, row) for row in expected]
    metadata = [orjson.loads(text) for text in table["metadata"].to_pylist()]
    assert [facts["final_url"] for facts in metadata] == [row["url"] + "?final" for row in expected]


def test_row_groups_are_bounded(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row group ends before the sample that would pass the bound, and has one at least; images are not packed."""
    sizes = [row["image_length"] + row["text_length"] + row["json_length"] for row in rows_of(folder)]
    for max_bytes, most in ((2 * max(sizes), 3), (1, 1)):
        monkeypatch.setattr(layouts, "BATCH", Cut(1_000, max_bytes))
        out = tmp_path / str(max_bytes)
        export(folder, "parquet", out)
        metadata = pq.read_metadata(out / "00000.parquet")
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        assert sum(group.num_rows for group in groups) == 10
        assert all(1 <= group.num_rows <= most for group in groups)
        assert groups[0].column(0).compression == "UNCOMPRESSED"
        assert not groups[0].column(0).is_stats_set


def test_huggingface_layout(folder: Path, tmp_path: Path) -> None:
    """Files are numbered of how many; features stand in each and in the card, whose YAML says the same."""
    yaml = pytest.importorskip("yaml")
    assert export(folder, "huggingface", tmp_path, max_samples=4) == 3
    files = sorted(path.name for path in (tmp_path / "data").iterdir())
    assert files == [f"train-{number:05d}-of-00003.parquet" for number in range(3)]
    table = pa.concat_tables(pq.read_table(tmp_path / "data" / name) for name in files)
    expected = rows_of(folder)
    pictures = table["image"].to_pylist()
    assert [each["bytes"] for each in pictures] == [image_of(folder, row) for row in expected]
    assert [each["path"] for each in pictures] == [row["image_member"] for row in expected]
    assert table["final_url"].to_pylist() == [row["url"] + "?final" for row in expected]
    assert table["original_length"].to_pylist() == [99] * 10
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert list(features) == table.column_names
    head = yaml.safe_load((tmp_path / "README.md").read_text().split("---\n")[1])
    assert [each["name"] for each in head["dataset_info"]["features"]] == table.column_names
    (split,) = head["dataset_info"]["splits"]
    assert split == {"name": "train", "num_examples": 10, "num_bytes": sum(row["image_length"] for row in expected)}
    assert head["size_categories"] == ["n<1K"]


READ_WITH_DATASETS = """
import json, sys, datasets
for options in ({"cache_dir": sys.argv[2]}, {"streaming": True}):
    loaded = datasets.load_dataset(sys.argv[1], split="train", **options)
    assert isinstance(loaded.features["image"], datasets.Image)
    for each in loaded:
        print(json.dumps([each["image"].size, each["caption"], each["query_ids"]]))
"""


@pytest.mark.skipif(find_spec("datasets") is None, reason="datasets is not installed")
def test_datasets_opens_the_huggingface_layout(folder: Path, tmp_path: Path) -> None:
    """The real library loads the folder, whole and as a stream, with an Image feature that decodes."""
    export(folder, "huggingface", tmp_path / "pairs", max_samples=4)
    command = [sys.executable, "-c", READ_WITH_DATASETS, str(tmp_path / "pairs"), str(tmp_path / "cache")]
    offline = os.environ | {"HF_HUB_OFFLINE": "1"}
    lines = subprocess.run(command, check=True, capture_output=True, text=True, env=offline).stdout.splitlines()
    expected = [[[row["width"], row["height"]], row["caption"], row["query_ids"]] for row in rows_of(folder)]
    assert [json.loads(line) for line in lines] == 2 * expected


# ---- what goes where ----


@given(
    st.lists(st.lists(st.integers(0, 50), max_size=12), min_size=1, max_size=5),
    st.integers(0, 6),
    st.integers(0, 120),
)
def test_pieces_hold_every_sample_once_within_the_limits(sizes: list[list[int]], most: int, max_bytes: int) -> None:
    """In order, none empty; a file passes the bytes with one sample only, and the next would not have fitted."""
    indexes = {f"{number}.tar": _index_of_lengths(each) for number, each in enumerate(sizes)}
    flat = [(shard, row) for shard, table in indexes.items() for row in range(len(table))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.shardset.pieces.index_of", indexes.__getitem__)
        if not flat:
            with pytest.raises(InputError, match="hold none"):
                plan(list(indexes), Cut(most, max_bytes))
            return
        planned = plan(list(indexes), Cut(most, max_bytes))
    pieces = [
        [(stretch.shard, row) for stretch in piece.stretches for row in range(stretch.start, stretch.stop)]
        for piece in planned.pieces
    ]
    assert [sample for piece in pieces for sample in piece] == flat
    assert [piece.number for piece in planned.pieces] == list(range(len(pieces)))
    assert {(piece.of, piece.largest) for piece in planned.pieces} == {(len(pieces), max(map(len, pieces)))}

    def num_bytes(samples: list[tuple[str, int]]) -> int:
        return sum(indexes[shard]["image_length"][row].as_py() for shard, row in samples)

    for piece, following in zip(pieces, [*pieces[1:], []], strict=True):
        assert piece
        assert not most or len(piece) <= most
        assert not max_bytes or len(piece) == 1 or num_bytes(piece) <= max_bytes
        fits = not most or len(piece) < most
        assert not following or not fits or (max_bytes and num_bytes(piece) + num_bytes(following[:1]) > max_bytes)


def _index_of_lengths(lengths: list[int]) -> pa.Table:
    blank = dict.fromkeys(SHARD_INDEX.names, 0) | {"key": "", "image_member": "a.jpg"}
    names = ("image_length", "text_length", "json_length", "image_member")
    schema = pa.schema([SHARD_INDEX.field(name) for name in names])
    rows = [{name: blank[name] for name in names} | {"image_length": length} for length in lengths]
    return pa.Table.from_pylist(rows, schema=schema)


# ---- the same bytes, whatever happens ----


@pytest.mark.parametrize("layout", LAYOUTS)
def test_processes_do_not_change_the_bytes(layout: str, folder: Path, tmp_path: Path) -> None:
    """Two processes write what one does; doing it again changes nothing."""
    export(folder, layout, tmp_path / "one", 1, max_samples=3)
    once = contents(tmp_path / "one")
    export(folder, layout, tmp_path / "two", 2, max_samples=3)
    assert contents(tmp_path / "two") == once
    export(folder, layout, tmp_path / "one", 1, max_samples=3)
    assert contents(tmp_path / "one") == once


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_was_stopped_is_finished(
    layout: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped at its second file, with a half file of a killed process about: the same command ends as if undisturbed.

    What was finished is not written again.
    """
    export(folder, layout, tmp_path / "undisturbed", max_samples=3)
    write = type(LAYOUTS[layout]).write

    def stop(self: object, piece: Any, out: str) -> None:
        if piece.number == 1:
            raise KeyboardInterrupt
        write(self, piece, out)  # type: ignore[arg-type]

    out = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        patch.setattr(type(LAYOUTS[layout]), "write", stop)
        with pytest.raises(KeyboardInterrupt):
            export(folder, layout, out, max_samples=3)
    finished = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    (out / ".tmp-00001.tar-1-abc").write_bytes(b"half")
    export(folder, layout, out, max_samples=3)
    assert contents(out) == contents(tmp_path / "undisturbed")
    assert all(path.stat().st_mtime_ns == time for path, time in finished.items())


def test_a_remote_folder_is_written(folder: Path, tmp_path: Path) -> None:
    """Any fsspec URL will do; the files are those of a local folder."""
    import fsspec

    memory = fsspec.filesystem("memory")
    try:
        export(folder, "huggingface", "memory://exported")
        export(folder, "huggingface", tmp_path)
        for name, data in contents(tmp_path).items():
            if name != ".lock":
                assert read_bytes(f"memory://exported/{name}") == data
    finally:
        memory.rm("/exported", recursive=True)


# ---- mistakes, and shards that are broken ----


def test_a_folder_that_is_not_its_own_is_left_alone(folder: Path, tmp_path: Path) -> None:
    """Other files, another export in the folder or another process at work there: an error, and nothing is written."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"expected an empty folder, found thesis\.txt"):
        export(folder, "parquet", tmp_path / "full")
    assert list(contents(tmp_path / "full")) == ["thesis.txt"]
    with pytest.raises(OutputError, match="expected an empty folder"):
        export(folder, "parquet", folder)
    export(folder, "parquet", tmp_path / "out")
    before = contents(tmp_path / "out")
    with pytest.raises(MismatchError, match='layout: "parquet" -> "huggingface"'):
        export(folder, "huggingface", tmp_path / "out")
    other = tmp_path / "other"
    write_shard(str(other), 0, make_samples(3))
    with pytest.raises(MismatchError, match=r"shards\.00000:00000\.tar\.bytes"):
        export(other, "parquet", tmp_path / "out")
    with locked(str(tmp_path / "out"), "x"), pytest.raises(OutputError, match="another wit shards export is at work"):
        export(folder, "parquet", tmp_path / "out")
    assert contents(tmp_path / "out") == before


def copy_of(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def test_broken_shards_are_told(folder: Path, tmp_path: Path) -> None:
    """A changed image, a tar that is cut, an index beyond it or before it, no index: which shard, and no traceback."""
    row = rows_of(folder)[0]
    broken = copy_of(folder, tmp_path)
    tar = broken / row["shard"]
    whole = tar.read_bytes()
    cases = []
    position = row["image_offset"] + 10
    cases.append((whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :], "is not the one"))
    cases.append((whole[:2_000], "expected the bytes that .* names, found 2000"))
    for number, (data, message) in enumerate(cases):
        tar.write_bytes(data)
        with pytest.raises(InputError, match=message):
            export(broken, "parquet", tmp_path / f"out{number}")
        assert not list((tmp_path / f"out{number}").glob("*.parquet"))
    tar.write_bytes(whole)
    index = read_index(str(tar))
    place = index.column_names.index("json_offset")
    for number, offset in enumerate((-1, 1 << 60)):
        offsets = pa.array([offset] * len(index), pa.int64())
        write_parquet(str(broken / "00000.parquet"), index.set_column(place, index.schema.field(place), offsets))
        with pytest.raises(InputError, match="expected the bytes"):
            export(broken, "img2dataset", tmp_path / f"place{number}")
    (broken / "00000.parquet").unlink()
    with pytest.raises(InputError, match=r"00000\.parquet"):
        export(broken, "parquet", tmp_path / "none")


def test_hostile_metadata_costs_its_facts_alone(folder: Path, tmp_path: Path) -> None:
    """JSON that is none, or whose values fit no column: the sample is exported with what the index says of it."""
    hostile: list[bytes] = [
        b"{", b"[1]", b'{"original_width": 99999999999999999999999, "original_sha256": 5, "final_url": "\\ud800"}',
        b'{"original_width": true, "original_height": -1, "original_length": 1e300}', b"\xff\xfe", b"[" * 100_000,
        b'{"original_height": 2147483648, "final_url": null, "weight": NaN}', b"", b'{"original_width": 7}',
    ]  # fmt: skip
    buffer, rows = io.BytesIO(), []
    for number, metadata in enumerate(hostile):
        image = f"image {number}".encode()
        place = {"image_offset": buffer.tell(), "image_length": len(image)}
        buffer.write(image)
        place |= {"json_offset": buffer.tell(), "json_length": len(metadata)}
        buffer.write(metadata)
        rows.append(
            {field.name: None if field.nullable else "" for field in SHARD_INDEX}
            | {"key": f"a/{number}", "shard": "f.tar", "query_ids": []}
            | {"image_member": f"a/{number}.JPG" if number > 1 else f"{number}.jpg\n# evil"}
            | {"width": 1, "height": 1, "record_offset": 0, "text_offset": 0, "text_length": 0, "page_url": None}
            | {"sha256": hashlib.sha256(image).hexdigest(), **place}
        )
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "f.tar").write_bytes(buffer.getvalue())
    write_parquet(str(foreign / "f.parquet"), pa.Table.from_pylist(rows, schema=SHARD_INDEX))
    for layout in LAYOUTS:
        export(foreign, layout, tmp_path / layout)
    table = pq.read_table(tmp_path / "huggingface" / "data")
    card = (tmp_path / "huggingface" / "README.md").read_text()
    assert "(7 .jpg, 2 of other names)" in card
    assert "evil" not in card
    assert table["original_width"].to_pylist() == [None] * 8 + [7]
    assert table["original_height"].null_count == table["original_length"].null_count == 9
    assert table["final_url"].to_pylist() == [None, None, "?", *[None] * 6]
    with tarfile.open(tmp_path / "img2dataset" / "00000.tar") as archive:
        assert len(archive.getnames()) == 3 * len(hostile)
    assert pc.all(pc.equal(table["key"], pa.array([f"a/{number}" for number in range(9)]))).as_py()


def test_tars_of_others_are_exported_once_they_are_indexed(tmp_path: Path) -> None:
    """Test tars of clip-retrieval: every image byte for byte, with the caption of its text member where it has one."""
    foreign = Path(shutil.copytree(real_data("peers", "clip-retrieval", "test_tars"), tmp_path / "foreign"))
    expected = []
    for path in sorted(foreign.glob("*.tar")):
        with tarfile.open(path) as archive:
            members = {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}  # type: ignore[union-attr]
        images = {name: data for name, data in members.items() if name.endswith(".jpg")}
        expected += [(data, members.get(name.replace(".jpg", ".txt"), b"").decode()) for name, data in images.items()]
    assert expected
    index_tars(str(foreign), None, 1)
    for layout in LAYOUTS:
        export(foreign, layout, tmp_path / layout)
    table = pq.read_table(tmp_path / "parquet" / "00000.parquet")
    assert list(zip(table["image"].to_pylist(), table["caption"].to_pylist(), strict=True)) == expected
    with tarfile.open(tmp_path / "img2dataset" / "00000.tar") as archive:
        assert len(archive.getnames()) == 3 * len(expected)


def test_the_command(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`wit shards export` says what it wrote; a mistake is one line and exit code 2."""
    arguments = ["shards", "export", str(folder), "--out", str(tmp_path / "out"), "--processes", "1", "--size", "4"]
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--to", "parquet"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out'}: 10 samples in 3 files\n"
    for extra, message in ((["--to", "huggingface"], "was made from something else"), (["--to", "tfrecord"], "--to")):
        with pytest.raises(SystemExit) as end:
            main([*arguments, *extra])
        assert end.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line


def test_large_shards_get_longer_keys(tmp_path: Path) -> None:
    """A tar of more than 10,000 samples numbers them with as many digits as it takes, as img2dataset does."""
    samples = make_samples(1)
    write_shard(str(tmp_path / "set"), 0, [samples[0]] * 10_001)
    write_manifest(str(tmp_path / "set"))
    export(tmp_path / "set", "img2dataset", tmp_path / "out", max_samples=0)
    keys = pq.read_table(tmp_path / "out" / "00000.parquet")["key"].to_pylist()
    assert (keys[0], keys[-1]) == ("0000000000", "0000010000")
