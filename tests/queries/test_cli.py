"""`wit queries`: what it prints, and one line for each mistake."""

from __future__ import annotations

import bz2
import os
from pathlib import Path

import pytest

from queries.cli import Bytes, summary
from tests.queries.dumps import page, write_all
from wit.cli import main


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(["queries", *arguments])
    out, err = capsys.readouterr()
    assert isinstance(caught.value.code, int)
    return caught.value.code, out, err


@pytest.fixture
def dump(tmp_path: Path) -> str:
    """A dump of 200 dogs and 100 hot dogs."""
    return str(write_all(tmp_path, [page("A", "hot dog\n\ndog\n\n" * 100)])[1])


def test_build_show_and_build_again(dump: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A build prints terms by source, a second one that there is nothing to do, and show what the sources say."""
    out = str(tmp_path / "out")
    code, printed, _ = _run(capsys, "build", "--dump", dump, "--min-pmi", "-3", "--processes", "1", "--out", out)
    assert code == 0
    assert [line.split() for line in printed.splitlines()][:-1] == [
        ["source", "terms", "of", "them", "new", "duplicate", "unmatchable"],
        ["word", "2", "2", "0", "0"],
        ["bigram", "1", "1", "0", "0"],
        ["title", "0", "0", "0", "0"],
        ["synset", "0", "0", "0", "0"],
        ["list", "3"],
    ]
    code, printed, _ = _run(capsys, "build", "--dump", dump, "--min-pmi", "-3", "--processes", "1", "--out", out)
    assert (code, printed) == (0, f"{out}: already built from these inputs and settings; nothing to do\n")
    for where in (out, f"{out}/queries.parquet"):
        code, printed, _ = _run(capsys, "show", "Hot Dog!", "--queries", where)
        assert code == 0
        shown = dict(line.split(maxsplit=1) for line in printed.splitlines())
        assert (shown["query_id"], shown["term"], shown["sources"], shown["bigram_count"], shown["title"]) == (
            "2",
            "hot dog",
            "bigram",
            "100",
            "-",
        )


MISTAKES = {
    "nothing to read": (["build", "--out", "{tmp}/out"], "expected --dump, --pageviews or --wordnet"),
    "no out": (["build", "--dump", "{dump}"], "Missing option '--out'"),
    "missing dump": (["build", "--dump", "{tmp}/none.bz2", "--out", "{tmp}/out"], "none.bz2: expected a file here"),
    "missing glob": (["build", "--dump", "{tmp}/*.zip", "--out", "{tmp}/out"], "expected a file here"),
    "not a dump": (["build", "--dump", "{tmp}/text", "--out", "{tmp}/out"], "text: expected a MediaWiki XML dump"),
    "not page views": (["build", "--pageviews", "{tmp}/text", "--out", "{tmp}/out"], "'en Title count bytes'"),
    "not WordNet": (["build", "--wordnet", "{tmp}", "--out", "{tmp}/out"], "expected a WordNet folder"),
    "foreign folder": (["build", "--dump", "{dump}", "--out", "{tmp}"], "expected an empty folder or a query list"),
    "foreign work": (["build", "--dump", "{dump}", "--work", "{tmp}", "--out", "{tmp}/out"], "expected a work folder"),
    "out is a file": (["build", "--dump", "{dump}", "--out", "{tmp}/text"], "cannot be written"),
    "bad number": (["build", "--dump", "{dump}", "--limit", "0", "--out", "{tmp}/out"], "Invalid value for '--limit'"),
    "no threshold": (["build", "--dump", "{dump}", "--min-pmi", "high", "--out", "{tmp}/out"], "a number or 'fit'"),
    "low threshold": (["build", "--dump", "{dump}", "--min-views", "-1", "--out", "{tmp}/out"], "expected 0 or more"),
    "no size": (["build", "--dump", "{dump}", "--memory", "much", "--out", "{tmp}/out"], "such as 4GB or 512MiB"),
    "little memory": (["build", "--dump", "{dump}", "--memory", "9MB", "--out", "{tmp}/out"], "expected at least"),
    "no memory": (["build", "--dump", "{dump}", "--memory", "0", "--out", "{tmp}/out"], "expected at least 576 MiB"),
    "no such memory": (["build", "--dump", "{dump}", "--memory", "9e9TB", "--out", "{tmp}/out"], "such as 4GB"),
    "more than there is": (["build", "--dump", "{dump}", "--memory", "9999TB", "--out", "{tmp}/out"], "at most the"),
    "endless list": (["build", "--dump", "{dump}", "--limit", "9" * 30, "--out", "{tmp}/out"], "for '--limit'"),
    "no NPMI": (["build", "--dump", "{dump}", "--min-npmi", "2", "--out", "{tmp}/out"], "not in the range -1<=x<=1"),
    "only an index": (["build", "--dump", "{tmp}/index.bz2", "--out", "{tmp}/out"], "found the index of one"),
    "one file twice": (["build", "--dump", "{dump}", "--dump", "{tmp}/link", "--out", "{tmp}/out"], "named twice"),
    "one dump twice": (
        ["build", "--dump", "{dump}", "--dump", "{tmp}/multi.xml.bz2", "--out", "{tmp}/out"],
        "multi.xml.bz2: expected dumps of different pages, found one that begins with 'A', as",
    ),
    "a pipe": (["build", "--dump", "{tmp}/pipe", "--out", "{tmp}/out"], "pipe: expected a file, found a pipe"),
    "work is out": (["build", "--dump", "{dump}", "--work", "{tmp}/out/", "--out", "{tmp}/out"], "its own for --work"),
    "views of others": (["build", "--pageviews", "{tmp}/views", "--out", "{tmp}/out"], "the wiki 'en', found 2"),
    "no list": (["show", "dog", "--queries", "{tmp}"], "queries.parquet: expected a file here"),
    "nothing to compare": (["diff", "{tmp}", "{tmp}"], "queries.parquet: expected a file here"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_each_mistake_is_one_line(name: str, dump: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A user's mistake ends with exit code 2 and one line that names what was found."""
    (tmp_path / "text").write_text("no dump at all\n")
    (tmp_path / "views").write_text("de Hund 7 0\nde Katze 8 0\n")
    (tmp_path / "index.bz2").write_bytes(bz2.compress(b"600:10:A\n600:12:B\n"))
    (tmp_path / "link").symlink_to(dump)
    os.mkfifo(tmp_path / "pipe")
    arguments, message = MISTAKES[name]
    code, _, err = _run(capsys, *(argument.format(tmp=tmp_path, dump=dump) for argument in arguments))
    assert code == 2
    assert message in err
    *before, last = err.splitlines()
    assert last.startswith("wit: error: ")
    assert all(line.endswith("/s") for line in before)  # progress, on a slow machine


def test_show_says_when_a_term_is_not_there(dump: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An absent term is named with its normal form; another Parquet file is not taken for a list."""
    out = str(tmp_path / "out")
    _run(capsys, "build", "--dump", dump, "--processes", "1", "--out", out)
    code, _, err = _run(capsys, "show", "St. Elwin", "--queries", out)
    assert code == 2
    assert "'St. Elwin' (normal form 'st elwin') among 2 terms" in err


def test_lists_that_differ_are_compared(dump: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two thresholds, two lists: what differs is printed and written, and fails only where that was asked for."""
    for name, pmi in (("all", "-3"), ("few", "9")):
        _run(capsys, "build", "--dump", dump, "--min-pmi", pmi, "--processes", "1", "--out", str(tmp_path / name))
    lists = (str(tmp_path / "all"), str(tmp_path / "few"))
    code, printed, _ = _run(capsys, "diff", *lists, "--out", str(tmp_path / "diff.parquet"))
    assert (code, printed.splitlines()[0]) == (0, "3 terms -> 2 terms; 2 keep their id")
    assert "settings.min_pmi: -3.0 -> 9.0" in printed
    assert (tmp_path / "diff.parquet").exists()
    assert _run(capsys, "diff", *lists, "--fail-on-change")[0] == 1
    assert _run(capsys, "diff", lists[0], lists[0], "--fail-on-change")[0] == 0


@pytest.mark.parametrize(("text", "size"), [("4GB", 4 * 10**9), ("512MiB", 512 << 20), ("1.5 g", 15 * 10**8), ("7", 7)])
def test_sizes_are_read_as_they_are_written(text: str, size: int) -> None:
    """Decimal and binary units, with or without a B."""
    assert Bytes().convert(text, None, None) == size


def test_summary_names_what_is_over_the_limit_and_what_was_fitted() -> None:
    """The last lines say how many terms the limit left out, and which thresholds were fitted."""
    thresholds = {"min_pmi": {"value": 7.25, "fitted": True}, "min_views": {"value": 70, "fitted": False}}
    result = {"by_source": {}, "thresholds": thresholds, "num_terms": 5, "num_over_limit": 1234}
    assert summary(result)[1:] == ["list             5, 1,234 more over the limit", "fitted: min_pmi 7.25"]
