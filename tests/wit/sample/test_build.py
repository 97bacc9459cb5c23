"""Writing the miniature web."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import time
from pathlib import Path

import imagehash
import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
from PIL import Image

from wit.errors import MismatchError, OutputError
from wit.sample.build import write_sample
from wit.sample.encoding import EDIT_BITS, perceptual_hash
from wit.sample.scenes import HELD_OUT

from .conftest import NUM_PAIRS, SEED


def _digest(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_same_seed_same_bytes_in_any_number_of_processes(miniature_web: Path, tmp_path: Path) -> None:
    """Two processes write what one writes."""
    assert write_sample(str(tmp_path / "two"), NUM_PAIRS, SEED, num_processes=2)
    assert _digest(tmp_path / "two") == _digest(miniature_web)


def test_another_seed_makes_another_web(miniature_web: Path, tmp_path: Path) -> None:
    """No picture and no page is the same."""
    assert write_sample(str(tmp_path), 20, SEED + 1, num_processes=1)
    bodies, others = _bodies(miniature_web), _bodies(tmp_path)
    common = {hashlib.sha256(body).digest() for body in bodies.values() if len(body) > 1000}
    assert not common & {hashlib.sha256(body).digest() for body in others.values() if len(body) > 1000}
    held_out, other_held_out = (_digest(folder / "eval" / "heldout") for folder in (miniature_web, tmp_path))
    assert set(held_out) == set(other_held_out)
    assert not set(held_out.values()) & set(other_held_out.values())


def test_writing_again_changes_nothing(miniature_web: Path) -> None:
    """The same sample is not written twice; another into the same folder is refused."""
    before = {path: path.stat().st_mtime_ns for path in miniature_web.rglob("*")}
    assert not write_sample(str(miniature_web), NUM_PAIRS, SEED, 1)
    assert {path: path.stat().st_mtime_ns for path in miniature_web.rglob("*")} == before
    with pytest.raises(MismatchError, match=r'expected the sample of "seed": 9'):
        write_sample(str(miniature_web), NUM_PAIRS, 9, 1)


def test_a_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    """A folder with anything else in it is refused and not touched."""
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"thesis\.txt"):
        write_sample(str(tmp_path), 10, 0, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_interrupted_sample_is_written_anew(tmp_path: Path) -> None:
    """What a killed writer left does not stop the next, nor stay."""
    (tmp_path / "sample.unfinished.json").write_text("{}")
    (tmp_path / "archives").mkdir()
    (tmp_path / "archives" / "sample-00099.warc.gz").write_text("half")
    assert write_sample(str(tmp_path), 30, 0, num_processes=1)
    assert not (tmp_path / "archives" / "sample-00099.warc.gz").exists()
    assert not (tmp_path / "sample.unfinished.json").exists()
    assert (tmp_path / "sample.json").exists()


def test_the_web_answers_every_url_once(miniature_web: Path) -> None:
    """URLs are distinct, and bodies lie one after the other in bodies.bin to its end."""
    table = pq.read_table(miniature_web / "web" / "responses.parquet")
    urls = table["url"].to_pylist()
    assert len(set(urls)) == len(urls)
    ends = np.cumsum(table["length"].to_numpy())
    assert (table["offset"].to_numpy() == ends - table["length"].to_numpy()).all()
    assert ends[-1] == (miniature_web / "web" / "bodies.bin").stat().st_size
    assert set(table["behaviour"].to_pylist()) == {
        "normal",
        "slow",
        "drip",
        "hang",
        "truncated",
        "lying_type",
        "endless",
        "reset",
    }


def _bodies(folder: Path) -> dict[str, bytes]:
    bodies = (folder / "web" / "bodies.bin").read_bytes()
    rows = pq.read_table(folder / "web" / "responses.parquet").to_pylist()
    return {row["url"]: bodies[row["offset"] : row["offset"] + row["length"]] for row in rows}


def _hash(body: bytes) -> int:
    with Image.open(io.BytesIO(body)) as image:
        if image.mode != "I;16":
            return perceptual_hash(body)
        grey = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))  # Pillow itself would clip it to white
    return int(str(imagehash.phash(grey)), 16)


def test_overlaps_and_duplicates_are_as_the_truth_says(miniature_web: Path) -> None:
    """By actual hashes: a rejected picture is near an evaluation picture, or near another; a packed one to none."""
    bodies = _bodies(miniature_web)
    rows = pq.read_table(miniature_web / "truth.parquet").to_pylist()
    late = [
        row
        for row in rows
        if row["source"] == "warc" and row["stage"] in ("dedup", "overlap", "pack") and row["url"] in bodies
    ]
    late = [row for row in late if bodies[row["url"]][:1] != b"<"]  # not the body of a redirect
    hashes = np.array([_hash(bodies[row["url"]]) for row in late], np.uint64)
    sets = [path for path in (miniature_web / "eval").rglob("*.*") if path.is_file()]
    tests = np.array([perceptual_hash(path.read_bytes()) for path in sets], np.uint64)
    packed = np.array([row["stage"] == "pack" for row in late])
    for row, fingerprint in zip(late, hashes, strict=True):
        near_test = int(np.bitwise_count(tests ^ fingerprint).min()) <= EDIT_BITS
        assert near_test == (row["stage"] == "overlap")
        near_packed = int((np.bitwise_count(hashes[packed] ^ fingerprint) <= 6).sum())
        assert near_packed == (row["stage"] != "overlap")


def test_held_out_classes_have_pictures(miniature_web: Path) -> None:
    """eval/heldout has at least ten pictures of each held-out class, and of no other."""
    folders = {path.name: len(list(path.glob("*.png"))) for path in (miniature_web / "eval" / "heldout").iterdir()}
    assert set(folders) == {f"{colour} {shape}" for colour, shape in HELD_OUT}
    assert min(folders.values()) >= 10


def test_the_url_table_holds_the_same_pairs(miniature_web: Path) -> None:
    """Its distinct rows are the WARC's candidates."""
    table = pq.read_table(miniature_web / "tables" / "urls.parquet").to_pylist()
    truth = pq.read_table(miniature_web / "truth.parquet").to_pylist()
    assert {(row["URL"], row["TEXT"]) for row in table} == {
        (row["url"], row["caption"]) for row in truth if row["source"] == "table"
    }


def test_the_settings_say_what_the_truth_assumes(miniature_web: Path) -> None:
    """sample.json names the seed, the pairs, the cap and the thresholds."""
    settings = json.loads((miniature_web / "sample.json").read_text())
    assert (settings["seed"], settings["pairs"], settings["cap"]) == (SEED, NUM_PAIRS, 50)
    assert (settings["min_side_px"], settings["radius_bits"], settings["languages"]) == (32, 3, ["en"])


@pytest.mark.slow
def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    """When the writer is killed outright, none of its processes stays, and the sample can then be written."""
    command = [
        sys.executable,
        "-c",
        "from wit.cli import main; main()",
        "sample",
        str(tmp_path / "web"),
        "--pairs",
        "1500",
    ]
    with subprocess.Popen([*command, "--processes", "2"], stderr=subprocess.DEVNULL) as writer:
        children: list[psutil.Process] = []
        while len(children) < 3:  # two workers, and Python's resource tracker
            time.sleep(0.05)
            children = psutil.Process(writer.pid).children()
        writer.kill()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
    assert not (tmp_path / "web" / "sample.json").exists()
    assert write_sample(str(tmp_path / "web"), 20, 0, num_processes=1)
