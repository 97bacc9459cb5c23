"""The whole chain on the miniature web: true to the last candidate, the same bytes however it is run."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from benchmarks.kill_soak import hash_files, soak_over
from tests.pipelines.conftest import Chain
from wit.shards import MADE_FROM

pytestmark = pytest.mark.slow


def test_every_candidate_ends_where_the_truth_says(chain: Chain, finished: Path) -> None:
    """Each (URL, caption) is packed, or rejected by the stage and for the reason that were planted for it."""
    result = chain.wit("sample", "check", str(chain.sample), str(finished))
    assert result.returncode == 0, result.stdout + result.stderr


def test_no_candidate_has_two_ends(finished: Path) -> None:
    """A key is in the shards once, or in the rejects of one stage once; extract's rejects are occurrences."""
    packed = pq.read_table(finished / "pack" / "kept").column("key").to_pylist()
    folders = [folder for folder in (finished / "rejects").iterdir() if folder.name != "extract"]
    rejected = [key for folder in folders for key in pq.read_table(folder, columns=["key"]).column("key").to_pylist()]
    candidates = pq.read_table(finished / "extract" / "pairs", columns=["key"]).column("key").to_pylist()
    assert sorted(packed + rejected) == sorted(candidates)
    assert len(set(candidates)) == len(candidates)


def test_each_stage_s_manifest_says_what_it_was_made_from_and_wrote(finished: Path) -> None:
    """Recipe, inputs and code; parts, rows and bytes of every table as they lie there; a ledger that adds up."""
    for path in finished.glob("*/manifest.json"):
        if path.parent.name == "shards":
            continue
        made = json.loads(path.read_text())
        assert made["code"] == json.loads((finished / "run.json").read_text())["code"]
        assert set(made["recipe"]) == {"run", path.parent.name}
        ledger = made["ledger"]
        assert ledger["num_in"] == ledger["num_out"] + ledger["num_merged"] + sum(ledger["rejects"].values())
        for folder, facts in made["tables"].items():
            parts = list((finished / folder).glob("part-*.parquet"))
            assert facts["num_parts"] == len(parts)
            assert facts["num_bytes"] == sum(part.stat().st_size for part in parts)
            assert facts["num_rows"] == sum(pq.ParquetFile(part).metadata.num_rows for part in parts)
    assert json.loads((finished / "extract" / "manifest.json").read_text())["inputs"]


def test_a_second_run_gives_the_same_bytes(chain: Chain, finished: Path, tmp_path: Path) -> None:
    """Another directory, one process instead of two: every file is equal, the log apart."""
    result = chain.run(tmp_path / "again", "--processes", "1")
    assert result.returncode == 0, result.stderr
    assert hash_files(tmp_path / "again") == hash_files(finished)


@pytest.mark.skipif(shutil.which("java") is None, reason="needs Java 17 on the PATH")
def test_spark_gives_the_same_bytes(chain: Chain, finished: Path, tmp_path: Path) -> None:
    """Every table, blob and shard that Spark writes is the local executor's, byte for byte."""
    pytest.importorskip("pyspark", reason="needs the extra wit[spark]")
    result = chain.run(tmp_path / "spark", "--executor", "spark")
    assert result.returncode == 0, result.stderr
    assert hash_files(tmp_path / "spark") == hash_files(finished)


def test_kills_at_random_moments_change_no_byte(chain: Chain, finished: Path, tmp_path: Path) -> None:
    """SIGKILL to the parent or a worker, three times: no orphan, no half file, the same bytes at the end."""
    kills = soak_over(chain.command, finished, tmp_path / "killed", num_kills=3, length_s=8.0, seed=1)
    assert sum(kills.values()) == 3


def test_a_finished_run_does_nothing(chain: Chain, finished: Path) -> None:
    """The same command on a finished run changes no file and shows the same funnel."""
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*.parquet")}
    result = chain.run(finished)
    assert result.returncode == 0
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*.parquet")} == before
    assert result.stdout == chain.wit("status", str(finished)).stdout


def test_a_changed_recipe_is_refused_by_name(chain: Chain, finished: Path) -> None:
    """Another cap under the same --out: one line, exit code 2, the value before and now, and how to go on."""
    result = chain.run(finished, "--set", "balance.cap=7")
    assert result.returncode == 2
    assert "recipe.balance.cap: 50 -> 7" in result.stderr
    assert "--from" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_changed_input_is_refused_by_name(chain: Chain, finished: Path, tmp_path: Path) -> None:
    """An archive that has changed since the run began is named."""
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    archive = sorted((chain.sample / "archives").glob("*.warc.gz"))[-1]
    content = archive.read_bytes()
    try:
        archive.write_bytes(content + b"\0")
        result = chain.run(copy)
    finally:
        archive.write_bytes(content)
    assert result.returncode == 2
    assert archive.name in result.stderr


def test_other_code_is_refused_until_it_is_accepted(chain: Chain, finished: Path, tmp_path: Path) -> None:
    """A run that another version began goes on only when told to, keeps what is finished, and names both versions."""
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    before = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps(before | {"code": {"wit and pipelines": "0" * 64}}))
    shutil.rmtree(copy / "pack")
    refused = chain.run(copy)
    assert refused.returncode == 2
    assert "--accept-code" in refused.stderr
    fetched = (copy / "fetch" / "manifest.json").stat().st_mtime_ns
    for more in (["--accept-code"], []):
        result = chain.run(copy, *more)
        assert result.returncode == 0, result.stderr
        assert json.loads((copy / "run.json").read_text())["code"] == before["code"] | {"earlier": ["0" * 64]}
    assert (copy / "fetch" / "manifest.json").stat().st_mtime_ns == fetched
    assert hash_files(copy / "shards") == hash_files(finished / "shards")


def test_a_foreign_folder_is_refused(chain: Chain, tmp_path: Path) -> None:
    """A folder with someone's files in it is not written to."""
    (tmp_path / "thesis.tex").write_text("x")
    result = chain.run(tmp_path)
    assert result.returncode == 2
    assert "choose another --out" in result.stderr
    assert [path.name for path in tmp_path.iterdir() if path.name != ".lock"] == ["thesis.tex"]


def test_from_makes_a_stage_and_the_later_ones_anew(chain: Chain, finished: Path, tmp_path: Path) -> None:
    """With --from a changed value is accepted; the earlier stages' files are left as they are."""
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    result = chain.run(copy, "--from", "pack", "--set", "pack.shard_size=100")
    assert result.returncode == 0, result.stderr
    before, after = hash_files(finished), hash_files(copy)
    assert len(list((copy / "shards").glob("*.tar"))) > len(list((finished / "shards").glob("*.tar")))
    unchanged = ("extract/", "match/", "fetch/", "fingerprint/", "dedup/", "overlap/", "rejects/")
    assert all(after[name] == digest for name, digest in before.items() if name.startswith(unchanged))


def test_shards_elsewhere_are_the_same(chain: Chain, finished: Path, tmp_path: Path) -> None:
    """Packed into another folder: the same files, found by every command; a killed run goes on; others are refused."""
    copy, out = tmp_path / "copy", tmp_path / "out"
    shutil.copytree(finished, copy)
    elsewhere = ("--set", f"pack.out={out}")
    assert chain.run(copy, "--from", "pack", *elsewhere).returncode == 0
    expected = hash_files(finished / "shards")
    assert {name: digest for name, digest in hash_files(out).items() if name != MADE_FROM} == expected
    assert not (copy / "shards").exists()
    assert chain.wit("shards", "verify", str(out)).returncode == 0
    assert chain.wit("sample", "check", str(chain.sample), str(copy)).returncode == 0
    for lost in (copy / "pack/manifest.json", copy / "pack/kept/part-00000.parquet", out / "00000.tar"):
        lost.unlink()
    result = chain.run(copy, *elsewhere)
    assert result.returncode == 0, result.stderr
    assert hash_files(out).items() >= expected.items()
    other = chain.run(tmp_path / "other", "--set", "pack.shard_size=7", *elsewhere)
    assert other.returncode == 2
    assert "found the shards of another run" in other.stderr


def test_two_runs_in_one_folder_are_refused(chain: Chain, finished: Path) -> None:
    """While one run holds the folder, another says so and leaves it alone."""
    import fcntl

    with (finished / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = chain.run(finished)
    assert result.returncode == 2
    assert "another wit run is at work" in result.stderr


def test_sql_sees_every_table(chain: Chain, finished: Path) -> None:
    """A question over rejects and shards is answered; a wrong one is one line and exit code 2."""
    result = chain.wit("sql", str(finished), "select count(*) from shards", "--csv")
    assert int(result.stdout.splitlines()[1]) == pq.read_table(finished / "pack" / "kept").num_rows
    wrong = chain.wit("sql", str(finished), "select nothing from nowhere")
    assert wrong.returncode == 2
    assert "nowhere" in wrong.stderr


@pytest.mark.filterwarnings("default")  # webdataset's own
def test_shards_open_in_webdataset_and_tar(finished: Path) -> None:
    """Plain readers see what the index says: the same keys, captions and images."""
    import webdataset

    for shard in sorted((finished / "shards").glob("*.tar")):
        index = pq.read_table(shard.with_suffix(".parquet")).to_pylist()
        samples = list(webdataset.WebDataset(str(shard), shardshuffle=False))
        assert [sample["__key__"] for sample in samples] == [row["key"] for row in index]
        assert [sample["txt"].decode() for sample in samples] == [row["caption"] for row in index]
        listed = subprocess.run(["tar", "-tf", shard], capture_output=True, text=True, check=True).stdout.split()
        assert len(listed) == 3 * len(index)
        assert listed == sorted(listed)
