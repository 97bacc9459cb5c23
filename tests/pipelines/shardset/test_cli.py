"""The commands of `wit shards` as a user gives them: what they say, how they end, and killed at random."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.shardset.verification import verify
from tests.pipelines.shardset.sets import keys_of, sample_set
from tests.pipelines.shardset.test_indexing import img2dataset_like
from tests.pipelines.shardset.test_removing import files_of
from tests.trainer.conftest import micro_recipe
from wit.cli import main
from wit.recipe import dumps


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["shards", *arguments])
    captured = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, captured.out, captured.err


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(sample_set(tmp_path / "set", 25))


def test_each_command_says_what_it_did(folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Split, merge, sample and remove, in a row, end with 0 and a line with their counts."""
    parts, one = str(tmp_path / "parts"), ("--processes", "1")
    code, said, _ = run(capsys, "split", folder, "--into", "a=0.5", "--into", "b=0.5", "--out", parts, *one)
    counts = [len(keys_of(Path(parts, name))) for name in "ab"]
    assert (code, said) == (
        0,
        "".join(f"{parts}/{name}: {count} samples in 1 shards\n" for name, count in zip("ab", counts, strict=True)),
    )
    both = str(tmp_path / "both")
    code, said, _ = run(capsys, "merge", folder, f"{parts}/a", "--out", both, "--size", "10", *one)
    assert (code, said) == (
        0,
        f"{both}: 25 samples in 3 shards\nleft out: {counts[0]} that an earlier set has, 0 whose key an earlier set "
        "has with another image, 0 that were removed before\n",
    )
    few = str(tmp_path / "few")
    assert run(capsys, "sample", both, "--num", "5", "--out", few, *one)[:2] == (0, f"{few}: 5 samples in 1 shards\n")
    key = keys_of(Path(few))[0]
    code, said, _ = run(capsys, "remove", few, "--key", key, "--key", "x", "--reason", "asked", "--dry-run", *one)
    assert (code, said) == (0, "not in the shards: 'x'\nwould remove 1 samples from 1 shards\n")
    code, said, _ = run(capsys, "remove", few, "--key", key, "--reason", "asked", *one)
    assert (code, said) == (0, "removed 1 samples from 1 shards\n")
    assert run(capsys, "verify", few, *one)[:2] == (0, "1 shards, 4 samples, 0 problems\n")


def test_foreign_tars_are_indexed_and_trained_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From what img2dataset wrote to a checkpoint: index, then train, with nothing between."""
    for number in range(2):
        img2dataset_like(tmp_path / "tars", number, rows=12)
    code, said, _ = run(capsys, "index", str(tmp_path / "tars"), "--out", str(tmp_path / "set"), "--processes", "1")
    assert (code, said) == (
        0,
        "2 tars, 24 samples; left out: 0 without an image (or one of over 256 MiB); 0 images cannot be read\n"
        "keys: the stems\n",
    )
    recipe = tmp_path / "micro.toml"
    recipe.write_text(dumps(micro_recipe()))
    command = [
        "train",
        str(recipe),
        "--shards",
        str(tmp_path / "set"),
        "--out",
        str(tmp_path / "model"),
        "--device",
        "cpu",
    ]
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 0
    assert "checkpoints/step-" in capsys.readouterr().out


MISTAKES = {
    "no folder": (["split", "{tmp}/none", "--size", "5", "--out", "{tmp}/out"], "expected a file here"),
    "no size": (["split", "{set}", "--out", "{tmp}/out"], "expected --size, --bytes or --into"),
    "shares": (["split", "{set}", "--into", "a=0.5", "--out", "{tmp}/out"], "sum to 1, found 0.5"),
    "too many": (["sample", "{set}", "--num", "26", "--out", "{tmp}/out"], "at most the 25 samples"),
    "full folder": (["sample", "{set}", "--num", "2", "--out", "{set}"], "expected a new or empty folder"),
    "no rule": (["remove", "{set}", "--reason", "x"], "expected --key, --url"),
    "no reason": (["remove", "{set}", "--key", "x"], "Missing option '--reason'"),
    "blank reason": (["remove", "{set}", "--key", "x", "--reason", " "], "expected why the samples go"),
    "blank URL": (["remove", "{set}", "--url", "", "--reason", "x"], "expected a url, found ''"),
    "no list": (["remove", "{set}", "--list", "{tmp}/none.txt", "--reason", "x"], "none.txt: expected a file here"),
    "bad domain": (["remove", "{set}", "--domain", "a/b", "--reason", "x"], "expected a domain"),
    "bad hash": (["remove", "{set}", "--sha256", "ab", "--reason", "x"], "64 hex digits"),
    "manifest": (["remove", "{tmp}/odd", "--key", "x", "--reason", "x"], "expected a manifest"),
    "nothing to index": (["index", "{tmp}"], "expected shards (.tar), found none"),
    "no index": (["split", "{tmp}/bare", "--size", "5", "--out", "{tmp}/out"], "wit shards index makes indexes"),
    "under way": (["merge", "{tmp}/busy", "--out", "{tmp}/out"], "a removal is under way"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], mistake: str) -> None:
    """Each mistake is one line on stderr, with exit code 2, and the shards stay as they are."""
    for name in ("odd", "busy"):
        shutil.copytree(folder, tmp_path / name)
    (tmp_path / "odd" / "manifest.json").write_text(json.dumps({"shards": [1], "indexes": 7}))
    (tmp_path / "busy" / "removing.parquet").write_bytes(b"")
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "a.tar").write_bytes(bytes(1024))
    before = files_of(Path(folder))
    arguments, message = MISTAKES[mistake]
    code, said, told = run(capsys, *(each.format(tmp=tmp_path, set=folder) for each in arguments))
    assert (code, said) == (2, "")
    assert message in told
    assert told.count("\n") == 1
    assert files_of(Path(folder)) == before


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path: Path) -> None:
    """Parent and workers killed while they remove, then the same command: the bytes of an undisturbed removal."""
    source = sample_set(tmp_path / "source", 120, shard_size=2)
    command = [sys.executable, "-m", "wit", "shards", "remove", "--domain", "example.org", "--reason", "asked"]
    chance = random.Random(7)
    whole = Path(shutil.copytree(source, tmp_path / "whole"))
    begun = time.monotonic()
    subprocess.run([*command, str(whole), "--processes", "2"], check=True, capture_output=True)
    seconds = time.monotonic() - begun
    for attempt in range(3):
        folder = Path(shutil.copytree(source, tmp_path / f"killed-{attempt}"))
        process = subprocess.Popen([*command, str(folder), "--processes", "2"], stdout=subprocess.DEVNULL)
        time.sleep(seconds * (0.4 + 0.6 * chance.random()))
        process.send_signal(signal.SIGKILL)
        process.wait()
        time.sleep(0.2)  # workers end with their parent
        subprocess.run([*command, str(folder), "--processes", "2"], check=True, capture_output=True)
        assert files_of(folder) == files_of(whole)
        assert verify(str(folder), 1).problems == ()
