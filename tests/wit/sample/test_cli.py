"""`wit sample` at the command line, and the comparison of a run with the truth."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support import ROOT
from wit.cli import main

from .conftest import NUM_PAIRS, SEED


def _wit(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["sample", *arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture
def perfect_run(miniature_web: Path, tmp_path: Path) -> Path:
    """A run whose rejects and shards are what the truth says."""
    rows = [row for row in pq.read_table(miniature_web / "truth.parquet").to_pylist() if row["source"] == "warc"]
    for stage in sorted({row["stage"] for row in rows} - {"pack"}):
        folder = tmp_path / "run" / "rejects" / stage
        folder.mkdir(parents=True)
        table = pa.Table.from_pylist([row for row in rows if row["stage"] == stage])
        pq.write_table(table.select(["key", "stage", "reason"]), folder / "part-00000.parquet")
    (tmp_path / "run" / "shards").mkdir()
    packed = pa.table({"key": [row["key"] for row in rows if row["stage"] == "pack"]})
    pq.write_table(packed, tmp_path / "run" / "shards" / "00000.parquet")
    return tmp_path / "run"


def test_a_true_run_passes(miniature_web: Path, perfect_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 0 and a verdict when all candidates became what they must."""
    assert _wit("check", str(miniature_web), str(perfect_run)) == 0
    assert "became what they must" in capsys.readouterr().out


def test_a_lost_sample_is_told_of(miniature_web: Path, perfect_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One candidate that ends nowhere and one that ends twice: exit 1, and both are named."""
    path = perfect_run / "shards" / "00000.parquet"
    keys = pq.read_table(path)["key"].to_pylist()
    pq.write_table(pa.table({"key": [keys[1], *keys[1:]]}), path)
    assert _wit("check", str(miniature_web), str(perfect_run)) == 1
    out = capsys.readouterr().out
    assert f"{keys[0]}: expected a sample in a shard, found nowhere" in out
    assert f"{keys[1]}: twice in the run" in out
    assert "2 differences" in out


def test_another_source_differs(miniature_web: Path, perfect_run: Path) -> None:
    """A run over the WARC does not pass for one over the WAT."""
    assert _wit("check", str(miniature_web), str(perfect_run), "--source", "wat") == 1


def test_mistakes_are_one_line(miniature_web: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No run, no sample, a foreign folder, no folder: exit 2 and one line each."""
    (tmp_path / "note").write_text("mine")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "sample.json").write_text("{}")
    for arguments in (
        ("check", str(tmp_path / "foreign"), str(tmp_path)),
        ("check", str(miniature_web), str(tmp_path)),
        ("check", str(tmp_path), str(tmp_path)),
        ("serve", str(tmp_path)),
        (str(tmp_path),),
        (),
        (str(tmp_path / "new"), "--pairs", "many"),
        ("serve", str(miniature_web), "--", "no-such-command"),
    ):
        assert _wit(*arguments) == 2, arguments
        assert capsys.readouterr().err.count("\n") == 1


def test_a_folder_is_written_by_default(miniature_web: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`wit sample DIR` writes; a second time it says that the sample is there."""
    assert _wit(str(miniature_web), "--pairs", str(NUM_PAIRS), "--seed", str(SEED)) == 0
    assert "already holds" in capsys.readouterr().out


@pytest.mark.parametrize("command", [[], ["serve"], ["check"]])
def test_help_shows_an_example(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Each --help ends with an example, and the group's names its options."""
    assert _wit(*command, "--help") == 0
    out = capsys.readouterr().out
    assert "Example: wit sample" in out
    assert command or "--pairs" in out


def test_serve_runs_a_command_and_passes_its_status_on(miniature_web: Path) -> None:
    """The command is told the address, reaches the web there, and its status is serve's."""
    script = (
        "import http.client,sys; c=http.client.HTTPConnection(sys.argv[1]);"
        "c.request('GET','/robots.txt',headers={'Host':'www.orrin.test'}); sys.exit(c.getresponse().status - 193)"
    )
    assert _wit("serve", str(miniature_web), "--", sys.executable, "-c", script, "{address}") == 7


COMMAND = """
import time
from functools import partial
from wit.processes import Pool
if __name__ == "__main__":
    Pool(2).run([partial(time.sleep, 600), partial(time.sleep, 600)], print)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a command with its parent")
def test_a_killed_server_takes_its_command_along(miniature_web: Path, tmp_path: Path) -> None:
    """After SIGKILL to `wit sample serve` neither server, nor command, nor the command's workers stay."""
    script = tmp_path / "command.py"
    script.write_text(COMMAND)
    serve = [sys.executable, "-m", "wit", "sample", "serve", str(miniature_web), "--", sys.executable, str(script)]
    with subprocess.Popen(serve, env={**os.environ, "PYTHONPATH": str(ROOT)}) as process:
        family: list[psutil.Process] = []
        for _ in range(300):
            family = psutil.Process(process.pid).children(recursive=True)
            if len(family) == 6:  # the server, the command, its two workers; two of Python's resource trackers
                break
            time.sleep(0.1)
        process.kill()
    _, alive = psutil.wait_procs(family, timeout=10)
    for each in alive:
        each.kill()
    assert len(family) == 6
    assert not alive
