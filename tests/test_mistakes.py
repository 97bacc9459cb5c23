"""Every mistake at the command line: one clear line on stderr, exit code 2, and nothing of the run is harmed."""

from __future__ import annotations

import bz2
import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.cli import _answer
from tests.queries.dumps import page, write_all
from wit import manifest
from wit.cli import main

RUN = ["run", "tiny", "--out", "{tmp}/run", "--processes", "1", "--set", "match.queries={tmp}/queries.parquet"]
TABLE = ["--set", "extract.warc=[]", "--set", "extract.tables={tmp}/pairs.csv", "--set", "overlap.sets=[]"]
QUERIES = ["queries", "build", "--out", "{tmp}/list", "--processes", "1", "--dump"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one of every broken thing."""
    tmp = tmp_path_factory.mktemp("mistakes")
    dump = write_all(tmp, [page("A", "hot dog\n\n" * 200)])[0].read_bytes()
    packed = bz2.compress(dump)
    files = {
        "text": b"hello\n",
        "empty": b"",
        "cut.xml.bz2": packed[: len(packed) // 2],
        "noise.bz2": b"BZh9" + b"\x5a\xa5" * 500,
        "cut.xml.gz": gzip.compress(dump)[:-9],
        "page.xml": b"<html><body/></html>",
        "noToml.toml": b"this is not TOML",
        "latin.toml": "# é\n".encode("latin-1"),
        "key.toml": b"[match]\nqueris = 'x'\n",
        "section.toml": b"[mach]\n",
        "type.toml": b"[run]\nnum_buckets = 'four'\n",
        "not.parquet": b"hello",
        "pairs.csv": b"url,caption\nhttp://a.example/b.jpg,a red dog\n",
        "strange.csv": b"a,b\n1,2\n",
        "bad.tar": b"\x5a" * 2000,
    }
    for name, content in files.items():
        (tmp / name).write_bytes(content)
    for name in ("folder", "images", "shards", "list1", "list2", "broken", "broken/match"):
        (tmp / name).mkdir()
    (tmp / "images" / "readme.txt").write_text("no image")
    (tmp / "list1" / "manifest.json").write_text("[]")
    (tmp / "list2" / "manifest.json").write_text('{"kind": "queries"}')
    (tmp / "broken" / "run.json").write_text("[]")
    (tmp / "broken" / "match" / "manifest.json").write_text("{}")
    terms = {"query_id": pa.array([0, 1], pa.int32()), "term": ["red", "dog"]}
    tables = {
        "queries": terms,
        "other": {"a": [1]},
        "none": {name: pa.array(column)[:0] for name, column in terms.items()},
        "null": {**terms, "term": ["red", None]},
        "typed": {**terms, "query_id": ["a", "b"]},
    }
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), tmp / f"{name}.parquet")
    return tmp


MISTAKES = {
    "dump missing": ([*QUERIES, "{tmp}/none"], "none: expected a file here, found nothing"),
    "dump a folder": ([*QUERIES, "{tmp}/folder"], "folder: expected a file, found a folder"),
    "dump empty": ([*QUERIES, "{tmp}/empty"], "found an empty file"),
    "dump cut": ([*QUERIES, "{tmp}/cut.xml.bz2"], "its head is damaged"),
    "dump cut gzip": ([*QUERIES, "{tmp}/cut.xml.gz"], "could not be read"),
    "dump noise": ([*QUERIES, "{tmp}/noise.bz2"], "its head is damaged"),
    "dump another XML": ([*QUERIES, "{tmp}/page.xml"], "found no <mediawiki>"),
    "dump of no protocol": ([*QUERIES, "nope://dump"], "no file system for this URL"),
    "PMI not a number": ([*QUERIES, "{tmp}/text", "--min-pmi", "nan"], "'--min-pmi': expected a number, found nan"),
    "list over a file": (["queries", "build", "--dump", "{tmp}/text", "--out", "{tmp}/text"], "a file stands where"),
    "list in another's": (["queries", "build", "--wordnet", "{tmp}/x", "--out", "{tmp}/list1"], "x: expected a file"),
    "show of no list": (["queries", "show", "dog", "--queries", "{tmp}/other.parquet"], "found a table without"),
    "show of no Parquet": (["queries", "show", "dog", "--queries", "{tmp}/not.parquet"], "not a readable Parquet"),
    "recipe missing": (["run", "{tmp}/none.toml", "--out", "{tmp}/run"], "none.toml: expected a file here"),
    "recipe a folder": (["run", "{tmp}/folder", "--out", "{tmp}/run"], "expected a file, found a folder"),
    "recipe not TOML": (["run", "{tmp}/noToml.toml", "--out", "{tmp}/run"], "not TOML"),
    "recipe not UTF-8": (["run", "{tmp}/latin.toml", "--out", "{tmp}/run"], "expected UTF-8"),
    "recipe key": (["run", "{tmp}/key.toml", "--out", "{tmp}/run"], "key.toml:2: unknown key 'match.queris'; did you"),
    "recipe section": (["run", "{tmp}/section.toml", "--out", "{tmp}/run"], "section.toml:1: unknown key 'mach'"),
    "recipe type": (["run", "{tmp}/type.toml", "--out", "{tmp}/run"], "type.toml:2: run.num_buckets: expected an int"),
    "--set without value": ([*RUN, "--set", "match.queries"], "expected section.key=value"),
    "--set of no section": ([*RUN, "--set", "mach.mode=1"], "--set mach.mode=1: unknown key 'mach'"),
    "--set of two values": ([*RUN, "--set", "run.num_buckets=4\nsalt=3"], "expected an integer"),
    "recipe without name": (["run", "", "--out", "{tmp}/run"], "expected a file here, found nothing"),
    "stage without name": ([*RUN, *TABLE, "--until", ""], "expected a stage (extract, "),
    "plan of no run": (["plan", "tiny", "--run", ""], "expected a run directory"),
    "unknown stage": ([*RUN, "--from", "nowhere"], "expected a stage (extract, "),
    "stages reversed": ([*RUN, "--from", "pack", "--until", "match"], "--until at or after --from pack"),
    "out a file": ([*RUN[:3], "{tmp}/text", *RUN[4:], *TABLE], "cannot be written: a file stands where a folder"),
    "out in a file": ([*RUN[:3], "{tmp}/text/x", *RUN[4:], *TABLE], "a part of this path is a file"),
    "out foreign": ([*RUN[:3], "{tmp}", *RUN[4:], *TABLE], "expected a new folder or a wit run, found other files"),
    "out without name": ([*RUN[:3], "", *RUN[4:], *TABLE], "expected the name of a folder"),
    "out not UTF-8": ([*RUN[:3], "{tmp}/\udcff", *RUN[4:], *TABLE], "in UTF-8"),
    "out a broken run": ([*RUN[:3], "{tmp}/broken", *RUN[4:], *TABLE], "expected a manifest with recipe"),
    "queries missing": ([*RUN, *TABLE, "--set", "match.queries={tmp}/folder"], "queries.parquet: expected a file here"),
    "queries not Parquet": ([*RUN, *TABLE, "--set", "match.queries={tmp}/not.parquet"], "not a readable Parquet"),
    "queries another table": ([*RUN, *TABLE, "--set", "match.queries={tmp}/other.parquet"], "no column 'query_id'"),
    "queries empty": ([*RUN, *TABLE, "--set", "match.queries={tmp}/none.parquet"], "found an empty list"),
    "queries null": ([*RUN, *TABLE, "--set", "match.queries={tmp}/null.parquet"], "'term' has 1 nulls"),
    "queries typed": ([*RUN, *TABLE, "--set", "match.queries={tmp}/typed.parquet"], "expected a table of queries"),
    "WARC missing": ([*RUN, "--set", "extract.warc={tmp}/*.warc"], "*.warc: expected a file here, found nothing"),
    "WARC a folder": ([*RUN, "--set", "extract.warc={tmp}/folder"], "expected a file, found a folder"),
    "no input": ([*RUN, "--set", "extract.warc=[]", "--set", "overlap.sets=[]"], "no input: set extract.wat"),
    "table columns": (
        [*RUN, *TABLE, "--set", "extract.tables={tmp}/strange.csv"],
        "found a, b; set extract.url_column",
    ),
    "table format": ([*RUN, *TABLE, "--set", "extract.tables={tmp}/text"], "expected a table (.parquet"),
    "port too high": ([*RUN, *TABLE, "--set", "fetch.connect_to=127.0.0.1:99999"], "expected HOST:PORT, found"),
    "set missing": ([*RUN, *TABLE, "--set", "overlap.sets=s={tmp}/none"], "none: expected a file here"),
    "set without images": ([*RUN, *TABLE, "--set", "overlap.sets=s={tmp}/images"], "expected an evaluation set ("),
    "set without name": ([*RUN, *TABLE, "--set", "overlap.sets={tmp}/images"], "expected an evaluation set as NAME="),
    "plan of nan crawls": (["plan", "tiny", "--crawls", "nan"], "'--crawls': expected a number, found nan"),
    "plan of endless pairs": (["plan", "tiny", "--pairs", "inf"], "Invalid value for '--pairs'"),
    "cap over 64 bits": ([*RUN, *TABLE, "--set", f"balance.cap={2**63}"], "balance.cap: expected a number below 2^63"),
    "status of no run": (["status", "{tmp}/folder"], "expected a run directory"),
    "status of a broken run": (["status", "{tmp}/broken"], "expected a manifest with ledger, found something else"),
    "sql of no run": (["sql", "{tmp}/text", "select 1"], "expected a run directory"),
    "shards missing": (["shards", "verify", "{tmp}/none"], "expected a file here, found nothing"),
    "shards none": (["shards", "verify", "{tmp}/shards"], "expected shards (.tar), found none"),
    "shards a text": (["shards", "verify", "{tmp}/text"], "expected shards (.tar), found"),
    "audit of no tar": (
        ["overlap", "{tmp}/bad.tar", "--against", "s={tmp}/none", "--out", "{tmp}/audit"],
        "none: expected a file here",
    ),
    "sample over files": (["sample", "{tmp}", "--pairs", "10"], "expected an empty folder"),
    "sample of nothing": (["sample", "{tmp}/new", "--pairs", "0"], "Invalid value for '--pairs'"),
    "serve of no sample": (["sample", "serve", "{tmp}/folder"], "responses.parquet: expected a file here"),
    "check of no sample": (["sample", "check", "{tmp}/folder", "{tmp}/folder"], "sample.json: expected a file here"),
    "no command": (["nope"], "expected a command (sample, queries, run"),
    "no option": (["status", "--nope"], "No such option"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line(name: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, nothing on stdout, one line that says what was expected or found."""
    arguments, words = MISTAKES[name]
    with pytest.raises(SystemExit) as caught:
        main([argument.format(tmp=place) for argument in arguments])
    out, err = capsys.readouterr()
    assert (caught.value.code, out) == (2, ""), err
    lines = [line for line in err.splitlines() if not line.startswith("preparing: ")]  # compiling, once a machine
    assert words in lines[0]
    assert lines[0].startswith("wit: error: ")
    assert len(lines) == 1
    assert not any(path.name.startswith(".tmp-") for path in place.rglob("*"))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of which no stage is finished, with one table."""
    folder = tmp_path / "it's a [run] {0..1}"
    (folder / "match" / "kept").mkdir(parents=True)
    manifest.write(str(folder / "run.json"), {"recipe": {}, "inputs": {}, "code": {}})
    pq.write_table(pa.table({"caption": ["café —"]}), folder / "match" / "kept" / "part-00000.parquet")
    return folder


@pytest.mark.parametrize("command", [["status"], ["report"], ["plan", "tiny", "--run"], ["sql"]])
@pytest.mark.parametrize(
    "ledger",
    [[], {}, {"num_in": "x", "rejects": {}}, {"num_in": 1, "num_merged": 0, "num_out": 0, "rejects": {"a": "b"}}],
)
def test_a_manifest_without_a_ledger_is_one_line(
    command: list[str], ledger: object, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever stands in a stage's manifest, the commands that read it say where."""
    manifest.write(str(run / "match" / "manifest.json"), {"ledger": ledger, "tables": {}})
    with pytest.raises(SystemExit, match="2"):
        main([*command, str(run), *(["from match_kept"] if command == ["sql"] else [])])
    err = capsys.readouterr().err
    assert "match/manifest.json: expected a ledger" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("content", [b"", b"PAR1 cut"])
@pytest.mark.parametrize("command", [["report"], ["sql"]])
def test_a_damaged_table_is_one_line(
    command: list[str], content: bytes, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A part that is no Parquet is named, with the table it belongs to."""
    ledger = {"num_in": 1, "num_merged": 0, "num_out": 1, "rejects": {}}
    manifest.write(str(run / "match" / "manifest.json"), {"ledger": ledger, "tables": {}})
    (run / "match" / "kept" / "part-00000.parquet").write_bytes(content)
    with pytest.raises(SystemExit, match="2"):
        main([*command, str(run), *(["from match_kept"] if command == ["sql"] else [])])
    err = capsys.readouterr().err
    assert "the table match_kept cannot be read" in err
    assert err.count("\n") == 1


def test_a_part_that_a_disk_lost_is_named(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run goes on over a part without a footer with one line that names it, and how to make it anew."""
    arguments = [each.format(tmp=place) for each in [*RUN, *TABLE]]
    arguments[3] = str(tmp_path / "run")
    with pytest.raises(SystemExit, match="0"):
        main([*arguments, "--until", "filter_text"])
    part = next((tmp_path / "run" / "filter_text" / "kept").glob("*.parquet"))
    part.write_bytes(b"PAR1")
    (tmp_path / "run" / "filter_text" / "manifest.json").unlink()
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        main([*arguments, "--until", "filter_text"])
    err = capsys.readouterr().err
    assert "not a readable Parquet part" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("recipe", [[], {"balance": 3}])
def test_a_run_without_a_recipe_is_one_line(recipe: object, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run whose identity was changed by hand has no report, and says why."""
    manifest.write(str(run / "run.json"), {"recipe": recipe, "inputs": {}, "code": {}})
    ledger = {"num_in": 1, "num_merged": 0, "num_out": 1, "rejects": {}}
    manifest.write(str(run / "match" / "manifest.json"), {"ledger": ledger, "tables": {}})
    for command in (["report"], ["plan", "tiny", "--run"]):
        with pytest.raises(SystemExit, match="2"):
            main([*command, str(run)])
        assert "run.json: expected the sections of a recipe" in capsys.readouterr().err


def test_tables_of_another_version_are_told(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A report over tables that lack a column is one line."""
    (run / "extract" / "pairs").mkdir(parents=True)
    pq.write_table(pa.table({"a": [1]}), run / "extract" / "pairs" / "part-00000.parquet")
    ledger = {"num_in": 1, "num_merged": 0, "num_out": 1, "rejects": {}}
    manifest.write(str(run / "extract" / "manifest.json"), {"ledger": ledger, "tables": {}})
    with pytest.raises(SystemExit, match="2"):
        main(["report", str(run)])
    assert "damaged, or of another version of wit" in capsys.readouterr().err


@pytest.mark.parametrize(
    "query",
    [
        "copy (select 1) to '{run}/run.json'",
        "explain analyze copy (select 1) to '{run}/run.json'",
        "export database '{run}'",
        "attach '{run}/x.db'",
        "drop view match_kept",
        "select 1; select 2",
        "selec 1",
        "select * from nowhere",
        "",
    ],
)
def test_sql_only_reads(query: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is not one SELECT is refused before it runs, and no file of the run changes."""
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(SystemExit, match="2"):
        main(["sql", str(run), query.format(run=str(run).replace("'", "''"))])
    assert capsys.readouterr().err.count("\n") == 1
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_csv_is_utf8_wherever_it_goes(run: Path) -> None:
    """A terminal that knows ASCII only gets the same CSV, not a traceback."""
    command = [sys.executable, "-m", "wit", "sql", str(run), "from match_kept", "--csv"]
    done = subprocess.run(command, env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, check=True)
    assert done.stdout.decode().split() == ["caption", "café", "—"]


@pytest.fixture
def asking(run: Path) -> Iterator[subprocess.Popen[str]]:
    """`wit sql` at work on a question that takes days."""
    query = "select count(*) from range(1000000000000) a(x) where hash(x) % 7 = 2"
    command = [sys.executable, "-m", "wit", "sql", str(run), query]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate()


def test_ctrl_c_ends_a_long_question(asking: subprocess.Popen[str]) -> None:
    """SIGINT ends DuckDB's work at once, with one line and exit code 130."""
    time.sleep(2.0)
    asking.send_signal(signal.SIGINT)
    _, err = asking.communicate(timeout=10)
    assert asking.returncode == 130
    assert err.strip().count("\n") == 0
    assert "interrupted" in err


def test_ctrl_c_is_repeated_until_the_question_ends() -> None:
    """DuckDB forgets an interrupt that comes before its work: a question that heeds only the second ends, too."""
    heard: list[float] = []

    class Deaf:
        def interrupt(self) -> None:
            heard.append(time.monotonic())

    def ask() -> None:
        time.sleep(0.3)  # the main thread waits by then
        os.kill(os.getpid(), signal.SIGINT)
        end = time.monotonic() + 5
        while len(heard) < 2 and time.monotonic() < end:
            time.sleep(0.01)

    with pytest.raises(KeyboardInterrupt):
        _answer(Deaf(), ask)
    assert len(heard) >= 2


def test_a_taken_port_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A port in use is one line that says which."""
    from wit.sample.build import write_sample

    write_sample(str(tmp_path / "sample"), 10, 0, 1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit, match="2"):
            main(["sample", "serve", str(tmp_path / "sample"), "--port", str(port)])
    err = capsys.readouterr().err
    assert f"port {port} of 127.0.0.1: expected a free port" in err
    assert err.count("\n") == 1


def test_names_with_signs_mean_themselves(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder named like a pattern is the folder, for a run and for the tables of queries in it."""
    with pytest.raises(SystemExit, match="0"):
        main(["status", str(run)])
    assert "nothing finished yet" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="0"):
        main(["sql", str(run), "from match_kept"])
    assert "café" in capsys.readouterr().out
    pairs = run / "pairs.csv"
    pairs.write_text("url,caption\n")
    assert list(manifest.fingerprint_inputs([str(pairs)])) == [str(pairs)]
    assert json.loads((run / "run.json").read_text()) == {"recipe": {}, "inputs": {}, "code": {}}
