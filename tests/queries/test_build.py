"""Building whole lists: the same bytes always, what is finished kept, what was lost told, folders that are not ours."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest

from queries.build import Inputs, Means, Settings, build
from queries.inputs import resolve_inputs
from tests.queries.dumps import page, write_all
from wit.errors import InputError, MismatchError, OutputError
from wit.locking import locked
from wit.sample.encyclopedia import MIN_BIGRAM_COUNT, MIN_PMI, MIN_VIEWS, MIN_WORD_COUNT, TRUTH, write_encyclopedia
from wit.schema import QUERIES

GIB = 1 << 30
ONE = Means(processes=1, memory_bytes=2 * GIB)
SAMPLE = Settings(
    min_word_count=MIN_WORD_COUNT, min_bigram_count=MIN_BIGRAM_COUNT, min_pmi=MIN_PMI, min_views=MIN_VIEWS
)
LIST = ("queries.parquet", "queries.txt", "unmatchable.parquet")
ALL = (*LIST, "manifest.json", "report.html")


@pytest.fixture(scope="module")
def encyclopedia(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The miniature encyclopedia, its page views, its WordNet and the list it must give."""
    folder = tmp_path_factory.mktemp("encyclopedia")
    write_encyclopedia(str(folder), seed=0)
    return folder


@pytest.fixture(scope="module")
def whole(encyclopedia: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a build that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "out"
    build(_inputs(encyclopedia), SAMPLE, str(out), ONE)
    return out


def _inputs(folder: Path) -> Inputs:
    return resolve_inputs([f"{folder}/wiki/*multistream.xml.bz2"], [f"{folder}/pageviews/*.gz"], [f"{folder}/wordnet"])


def _rows(out: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(out / "queries.parquet").to_pylist()
    return rows


def _bytes(out: Path, names: tuple[str, ...] = ALL) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in names}


def test_the_miniature_encyclopedia_gives_its_truth(encyclopedia: Path, whole: Path) -> None:
    """Every row of the list, with order, sources, counts, PMI, views and synsets, equals the planted truth."""
    expected = pq.read_table(encyclopedia / TRUTH)
    assert pq.read_schema(whole / "queries.parquet").equals(QUERIES)
    assert (whole / "queries.txt").read_text().split("\n")[:-1] == expected["term"].to_pylist()
    for ours, theirs in zip(_rows(whole), expected.to_pylist(), strict=True):
        assert ours | {"pmi": None, "npmi": None} == theirs | {"pmi": None, "npmi": None}
    manifest = json.loads((whole / "manifest.json").read_text())
    assert manifest["result"]["by_source"]["title"]["unmatchable"] == 1  # "!!!"
    assert len(manifest["made_from"]["inputs"]["wordnets"]) == 4
    assert sorted(name for name in os.listdir(whole) if name != ".lock") == sorted(ALL)


def test_the_bytes_do_not_depend_on_the_means(encyclopedia: Path, whole: Path, tmp_path: Path) -> None:
    """Three processes, less memory for each, a work folder with odd signs in its name: the same bytes."""
    build(_inputs(encyclopedia), SAMPLE, str(tmp_path / "three"), Means(3, 2 * GIB, work=str(tmp_path / "work [a]*?")))
    assert _bytes(tmp_path / "three") == _bytes(whole)


def test_one_dump_or_its_parts_in_any_form(tmp_path: Path) -> None:
    """A dump in each form it can have, and the same pages in two files, give the same list."""
    pages = [page(f"T{number}", "dog cat\n\ndog\n\n" * 30, page_id=number) for number in range(6)]
    files = [[file] for file in write_all(tmp_path, pages)]
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    files.append([write_all(tmp_path / "first", pages[:2])[0], write_all(tmp_path / "second", pages[2:])[1]])
    found = []
    for number, dumps in enumerate(files):
        out = tmp_path / f"out{number}"
        build(Inputs(dumps=tuple(map(str, dumps))), Settings(min_pmi=-9.0), str(out), ONE)
        found.append(_bytes(out, LIST))
    assert all(each == found[0] for each in found)
    assert [row["term"] for row in _rows(tmp_path / "out0")] == ["dog", "cat", "dog cat"]


def test_a_finished_folder_is_left_alone_and_a_damaged_one_rebuilt(encyclopedia: Path, tmp_path: Path) -> None:
    """The same call again only sweeps; after a file is lost or changed, it writes the same bytes anew."""
    out = tmp_path / "out"
    inputs = Inputs(wordnets=_inputs(encyclopedia).wordnets)
    assert build(inputs, SAMPLE, str(out), ONE) is not None
    before = _bytes(out)
    stamps = {name: (out / name).stat().st_mtime_ns for name in before}
    assert build(inputs, SAMPLE, str(out), Means(2, GIB)) is None
    assert {name: (out / name).stat().st_mtime_ns for name in before} == stamps
    (out / "queries.txt").unlink()
    (out / "queries.parquet").write_bytes(b"damaged")
    _leave(out)
    assert build(inputs, SAMPLE, str(out), ONE) is not None
    assert _bytes(out) == before
    _leave(out)
    assert build(inputs, SAMPLE, str(out), ONE) is None
    assert sorted(name for name in os.listdir(out) if name != ".lock") == sorted(ALL)


def _leave(out: Path) -> None:
    """Put what a killed build leaves into its folder."""
    (out / ".tmp-queries.parquet-1-0").write_text("half")
    (out / ".work").mkdir()
    (out / ".work" / "counts").write_text("whole")


def test_a_folder_of_something_else_is_refused(encyclopedia: Path, tmp_path: Path) -> None:
    """Other settings, other inputs, foreign files, a build at work: refused with what differs, nothing touched."""
    out = tmp_path / "out"
    inputs = Inputs(wordnets=_inputs(encyclopedia).wordnets)
    build(inputs, SAMPLE, str(out), ONE)
    with pytest.raises(MismatchError, match=r"settings\.limit: 500000 -> 7"):
        build(inputs, replace(SAMPLE, limit=7), str(out), ONE)
    with pytest.raises(MismatchError, match=r"inputs\.pageviews"):
        build(Inputs(wordnets=inputs.wordnets, pageviews=_inputs(encyclopedia).pageviews), SAMPLE, str(out), ONE)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "queries.parquet").write_text("mine")
    with pytest.raises(MismatchError, match=r"found 'queries\.parquet' and no manifest"):
        build(inputs, SAMPLE, str(foreign), ONE)
    assert (foreign / "queries.parquet").read_text() == "mine"
    (foreign / "manifest.json").write_text('{"kind": "run"}')
    with pytest.raises(MismatchError, match="of something else"):
        build(inputs, SAMPLE, str(foreign), ONE)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        build(inputs, SAMPLE, str(tmp_path / "file"), ONE)
    with pytest.raises(MismatchError, match="expected a work folder"):
        build(inputs, SAMPLE, str(tmp_path / "new"), replace(ONE, work=str(foreign)))
    with locked(str(tmp_path / "busy"), "wit queries build"), pytest.raises(OutputError, match="another wit queries"):
        build(inputs, SAMPLE, str(tmp_path / "busy"), ONE)


def test_wrong_inputs_are_named(encyclopedia: Path, tmp_path: Path) -> None:
    """A missing input, one named twice, and a dump in another language are errors before anything is counted."""
    with pytest.raises(InputError, match="expected a file here"):
        resolve_inputs([str(tmp_path / "none.xml")], [], [])
    with pytest.raises(InputError, match="found it named twice"):
        resolve_inputs([f"{encyclopedia}/wiki/*multistream.xml.bz2"] * 2, [], [])
    with pytest.raises(InputError, match="expected a dump in 'de', found one in 'en'"):
        build(_inputs(encyclopedia), Settings(language="de"), str(tmp_path / "out"), ONE)


def test_a_work_folder_counts_once_for_many_thresholds(encyclopedia: Path, whole: Path, tmp_path: Path) -> None:
    """With other thresholds and the same work folder no part is counted again, and the list is that of a new build."""
    work = tmp_path / "work"
    build(_inputs(encyclopedia), replace(SAMPLE, limit=9), str(tmp_path / "first"), replace(ONE, work=str(work)))
    stamps = {path: path.stat().st_mtime_ns for path in work.rglob("part-*/*")}
    assert stamps
    build(_inputs(encyclopedia), SAMPLE, str(tmp_path / "second"), replace(ONE, work=str(work)))
    assert {path: path.stat().st_mtime_ns for path in work.rglob("part-*/*")} == stamps
    assert _bytes(tmp_path / "second") == _bytes(whole)


def test_what_was_lost_is_told_and_must_be_allowed(tmp_path: Path) -> None:
    """A dump cut short gives no list but names what was lost; when allowed, the list of what could be read."""
    pages = [page(f"T{number}", "dog cat\n\n" * 100, page_id=number) for number in range(4)]
    file = write_all(tmp_path, pages)[0]
    cut = file.read_bytes()[: file.read_bytes().index(b"<title>T3") + 200]
    file.write_bytes(cut)
    inputs, settings = Inputs(dumps=(str(file),)), Settings(min_pmi=-9.0)
    out = tmp_path / "out"
    with pytest.raises(InputError, match=r"could not be read.*T3.*--allow-damage") as caught:
        build(inputs, settings, str(out), ONE)
    assert caught.value.exit_code != 0
    assert "queries.parquet" not in os.listdir(out)
    allowed = replace(ONE, allow_damage=True)
    result = build(inputs, settings, str(out), allowed)
    assert result is not None
    assert build(inputs, settings, str(out), allowed) is None
    with pytest.raises(InputError, match=r"found one built with --allow-damage: 1 place"):
        build(inputs, settings, str(out), ONE)
    assert result["pages"]["article"] == 3
    lost = [json.loads(line) for line in (out / "damage.jsonl").read_text().splitlines()]
    assert lost == result["damage"]
    assert (result["num_damaged"], result["num_lost_pages"]) == (len(lost), 1)
    assert "T3" in lost[0]["detail"]
    assert [(row["term"], row["word_count"]) for row in _rows(out)[:2]] == [("cat", 300), ("dog", 300)]


KILLED = """
import sys
from pathlib import Path
from queries.build import Means, build
from tests.queries.test_build import SAMPLE, _inputs
if __name__ == "__main__":
    print("ready", flush=True)
    build(_inputs(Path(sys.argv[1])), SAMPLE, sys.argv[2], Means(2, 2 << 30))
"""


def test_a_build_killed_anywhere_ends_the_same(encyclopedia: Path, whole: Path, tmp_path: Path) -> None:
    """Its parent or a worker killed at several moments and started again, a build ends with the same bytes."""
    out, script = tmp_path / "out", tmp_path / "script.py"
    script.write_text(KILLED)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    moment = random.Random(0)
    for victim in ("worker", "parent", "worker", "parent", "parent"):
        process = subprocess.Popen(
            [sys.executable, str(script), str(encyclopedia), str(out)], stdout=subprocess.PIPE, env=environment
        )
        with process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            time.sleep(moment.uniform(0.3, 2.0))
            _kill(process, victim)
        for name in LIST:  # a final name holds a whole file
            assert not (out / name).exists() or (out / name).read_bytes() == (whole / name).read_bytes()
    build(_inputs(encyclopedia), SAMPLE, str(out), ONE)
    assert _bytes(out) == _bytes(whole)


def _kill(process: subprocess.Popen[bytes], victim: str) -> None:
    """Kill the parent, or a worker of it and then wait for the parent, which goes on."""
    if process.poll() is not None:
        return
    children = psutil.Process(process.pid).children(recursive=True)
    if victim == "worker" and children:
        os.kill(children[-1].pid, signal.SIGKILL)
        process.wait(60)
        return
    process.kill()
    process.wait(60)
    assert not psutil.wait_procs(children, timeout=10)[1]  # no orphan


def test_nothing_to_build_from_is_an_empty_list(tmp_path: Path) -> None:
    """Settings that no term reaches give an empty table of the right schema, not an error."""
    file = write_all(tmp_path, [page("A", "dog")])[0]
    result = build(Inputs(dumps=(str(file),)), Settings(), str(tmp_path / "out"), ONE)
    assert result is not None
    assert result["num_terms"] == 0
    assert pq.read_schema(tmp_path / "out" / "queries.parquet").equals(QUERIES)
