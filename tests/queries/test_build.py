"""The list: the paper's order, unique terms, a true stop, the same bytes always, folders that are not ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from queries.build import Inputs, QueryList, Settings, build, resolve_inputs
from queries.ngrams import Bigram
from queries.titles import Title
from queries.wikipedia import Dump
from queries.wordnet import Synset
from tests.queries.dumps import page, write_all
from wit.errors import InputError, MismatchError, OutputError, UserError
from wit.sample.encyclopedia import MIN_BIGRAM_COUNT, MIN_PMI, MIN_VIEWS, MIN_WORD_COUNT, TRUTH, write_encyclopedia
from wit.schema import QUERIES

BLOCKS = Dump.blocks
SAMPLE = Settings(
    min_word_count=MIN_WORD_COUNT, min_bigram_count=MIN_BIGRAM_COUNT, min_pmi=MIN_PMI, min_views=MIN_VIEWS
)


@pytest.fixture(scope="module")
def encyclopedia(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The miniature encyclopedia, its page views, its WordNet and the list it must give."""
    folder = tmp_path_factory.mktemp("encyclopedia")
    write_encyclopedia(str(folder), seed=0)
    return folder


def _inputs(folder: Path) -> Inputs:
    return resolve_inputs([f"{folder}/wiki/*multistream.xml.bz2"], [f"{folder}/pageviews/*.gz"], [f"{folder}/wordnet"])


def _rows(out: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(out / "queries.parquet").to_pylist()
    return rows


def test_the_miniature_encyclopedia_gives_its_truth(encyclopedia: Path, tmp_path: Path) -> None:
    """Every row of the list, with order, sources, counts, PMI, views and synsets, equals the planted truth."""
    result = build(_inputs(encyclopedia), SAMPLE, str(tmp_path / "out"), 1)
    expected = pq.read_table(encyclopedia / TRUTH)
    assert _rows(tmp_path / "out") == expected.to_pylist()
    assert pq.read_schema(tmp_path / "out" / "queries.parquet").equals(QUERIES)
    assert (tmp_path / "out" / "queries.txt").read_text().split("\n")[:-1] == expected["term"].to_pylist()
    assert result is not None
    assert result["num_terms"] == expected.num_rows == sum(result["by_first_source"].values())
    assert result["dropped"]["title"]["empty"] == 1  # "!!!"
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["result"] == result
    assert len(manifest["made_from"]["inputs"]["wordnets"]) == 4


def test_the_bytes_do_not_depend_on_processes_or_place(
    encyclopedia: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process and three, small blocks and large, two folders: the same three files, byte for byte."""
    build(_inputs(encyclopedia), SAMPLE, str(tmp_path / "one"), 1)
    monkeypatch.setattr(Dump, "blocks", lambda dump: BLOCKS(dump, block_bytes=100_000))
    build(_inputs(encyclopedia), SAMPLE, str(tmp_path / "three"), 3)
    for name in ("queries.parquet", "queries.txt", "manifest.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "three" / name).read_bytes()


def test_one_dump_or_its_parts_in_any_form(tmp_path: Path) -> None:
    """A dump in four forms, and the same pages in two files, give the same terms."""
    pages = [page(f"T{number}", "dog cat\n\ndog\n\n" * 30, page_id=number) for number in range(6)]
    files = [[file] for file in write_all(tmp_path, pages)]
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    files.append([write_all(tmp_path / "first", pages[:2])[0], write_all(tmp_path / "second", pages[2:])[1]])
    found = []
    for number, dumps in enumerate(files):
        out = tmp_path / f"out{number}"
        build(Inputs(dumps=tuple(map(str, dumps))), Settings(min_pmi=-9), str(out), 1)
        found.append((out / "queries.parquet").read_bytes())
    assert len(set(found)) == 1
    assert [row["term"] for row in _rows(tmp_path / "out0")] == ["dog", "cat", "dog cat"]


def test_a_term_stands_at_its_first_source_and_names_all() -> None:
    """Words, bigrams, titles, synsets in this order; a term that several hold has one row with what each says."""
    queries = QueryList()
    queries.add_words([("dog", 9), ("cat", 8)])
    queries.add_bigrams([Bigram("hot dog", 5, 7.5)])
    queries.add_titles(
        [Title("Dog (band)", 50), Title("Dog", 40), Title("!!!", 30), Title("Hot dog", 20), Title("Owl", 10)]
    )
    queries.add_synsets([Synset("n1", "dog"), Synset("n2", "hot dog"), Synset("n3", "eel"), Synset("v1", "dog")])
    rows = queries.table(limit=10).to_pylist()
    assert [(row["query_id"], row["term"], row["sources"]) for row in rows] == [
        (0, "dog", ["word", "title", "synset"]),
        (1, "cat", ["word"]),
        (2, "hot dog", ["bigram", "title", "synset"]),
        (3, "owl", ["title"]),
        (4, "eel", ["synset"]),
    ]
    assert (rows[0]["word_count"], rows[0]["title"], rows[0]["views"], rows[0]["synsets"]) == (
        9,
        "Dog (band)",
        50,
        ["n1", "v1"],
    )
    assert (rows[2]["bigram_count"], rows[2]["pmi"], rows[2]["word_count"]) == (5, 7.5, None)
    assert queries.dropped["title"] == {"empty": 1, "duplicate": 3}
    assert queries.dropped["synset"] == {"duplicate": 3}


def test_the_list_stops_at_its_limit() -> None:
    """A limit cuts the list there and nowhere else: what is before it keeps its ids and all its sources."""
    queries = QueryList()
    queries.add_words([(f"w{number}", 9) for number in range(5)])
    queries.add_synsets([Synset("n1", "w1"), Synset("n2", "x")])
    whole = queries.table(limit=99).to_pylist()
    assert queries.table(limit=3).to_pylist() == whole[:3]
    assert whole[1]["sources"] == ["word", "synset"]
    assert len(whole) == 6


def test_a_finished_folder_is_left_alone_and_a_damaged_one_rebuilt(encyclopedia: Path, tmp_path: Path) -> None:
    """The same call again does nothing; after a file is lost or changed, it writes the same bytes anew."""
    out = tmp_path / "out"
    assert build(_inputs(encyclopedia), SAMPLE, str(out), 1) is not None
    before = {name: (out / name).read_bytes() for name in os.listdir(out)}
    stamps = {name: (out / name).stat().st_mtime_ns for name in before}
    assert build(_inputs(encyclopedia), SAMPLE, str(out), 2) is None
    assert {name: (out / name).stat().st_mtime_ns for name in before} == stamps
    (out / "queries.txt").unlink()
    (out / "queries.parquet").write_bytes(b"damaged")
    assert build(_inputs(encyclopedia), SAMPLE, str(out), 1) is not None
    assert {name: (out / name).read_bytes() for name in os.listdir(out)} == before


def test_a_folder_of_something_else_is_refused(encyclopedia: Path, tmp_path: Path) -> None:
    """Other settings, other inputs, or foreign files: refused with what differs, and nothing is touched."""
    out = tmp_path / "out"
    inputs = Inputs(wordnets=_inputs(encyclopedia).wordnets)
    build(inputs, SAMPLE, str(out), 1)
    with pytest.raises(MismatchError, match=r"settings\.limit: 500000 -> 7"):
        build(inputs, Settings(**{**vars(SAMPLE), "limit": 7}), str(out), 1)
    with pytest.raises(MismatchError, match=r"inputs\.pageviews"):
        build(Inputs(wordnets=inputs.wordnets, pageviews=_inputs(encyclopedia).pageviews), SAMPLE, str(out), 1)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "queries.parquet").write_text("mine")
    with pytest.raises(MismatchError, match=r"found 'queries\.parquet' and no manifest"):
        build(inputs, SAMPLE, str(foreign), 1)
    assert (foreign / "queries.parquet").read_text() == "mine"
    (foreign / "manifest.json").write_text('{"kind": "run"}')
    with pytest.raises(MismatchError, match="of something else"):
        build(inputs, SAMPLE, str(foreign), 1)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        build(inputs, SAMPLE, str(tmp_path / "file"), 1)


def test_wrong_inputs_are_named(encyclopedia: Path, tmp_path: Path) -> None:
    """A missing input, one named twice, and a dump in another language are errors before anything is counted."""
    with pytest.raises(InputError, match="expected a file here"):
        resolve_inputs([str(tmp_path / "none.xml")], [], [])
    with pytest.raises(InputError, match="found it named twice"):
        resolve_inputs([f"{encyclopedia}/wiki/*multistream.xml.bz2"] * 2, [], [])
    with pytest.raises(InputError, match="expected a dump in 'de', found one in 'en'"):
        build(_inputs(encyclopedia), Settings(language="de"), str(tmp_path / "out"), 1)


def test_a_build_killed_anywhere_ends_the_same(encyclopedia: Path, tmp_path: Path) -> None:
    """Killed at several moments and started again, a build ends with the bytes of an undisturbed one."""
    whole, out = tmp_path / "whole", tmp_path / "out"
    build(_inputs(encyclopedia), SAMPLE, str(whole), 1)
    code = (
        "import sys; from tests.queries.test_build import _inputs, SAMPLE; from pathlib import Path;"
        "from queries.build import build; print('ready', flush=True);"
        "build(_inputs(Path(sys.argv[1])), SAMPLE, sys.argv[2], 1)"
    )
    for wait_s in (0.05, 0.2, 0.35):
        process = subprocess.Popen([sys.executable, "-c", code, str(encyclopedia), str(out)], stdout=subprocess.PIPE)
        with process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            try:
                process.wait(wait_s)
            except subprocess.TimeoutExpired:
                process.kill()
        if "queries.parquet" in os.listdir(out):  # a final name holds a whole file
            assert (out / "queries.parquet").read_bytes() == (whole / "queries.parquet").read_bytes()
    build(_inputs(encyclopedia), SAMPLE, str(out), 1)
    assert {name: (out / name).read_bytes() for name in os.listdir(out)} == {
        name: (whole / name).read_bytes() for name in os.listdir(whole)
    }


def test_nothing_to_build_from_is_an_empty_list(tmp_path: Path) -> None:
    """Settings that no term reaches give an empty table of the right schema, not an error."""
    file = write_all(tmp_path, [page("A", "dog")])[0]
    result = build(Inputs(dumps=(str(file),)), Settings(), str(tmp_path / "out"), 1)
    assert result is not None
    assert result["num_terms"] == 0
    assert pq.read_schema(tmp_path / "out" / "queries.parquet").equals(QUERIES)
    assert issubclass(MismatchError, UserError)
