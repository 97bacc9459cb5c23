"""The report on a run: says what the tables say, shows examples of each reason, escapes what came from the web."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.ledger import open_tables
from pipelines.report.run_figures import count_by_rank, pairs_by_matches
from pipelines.report.run_report import render
from pipelines.runner import read_ledger
from tests.pipelines.conftest import Chain
from wit.schema import MATCH_HISTOGRAM


def test_the_page_says_what_the_ledger_and_the_counts_say(chain: Chain, finished: Path) -> None:
    """Every stage and reason with its number, the balance beside MetaCLIP's, examples, and the same bytes twice."""
    assert chain.wit("report", str(finished)).stdout.strip() == str(finished / "report" / "index.html")
    page = (finished / "report" / "index.html").read_text()
    for entry in read_ledger(str(finished)):
        assert f"{entry.stage}: {entry.num_out:,}" in page
        for reason in entry.rejects:
            assert f"{entry.stage}: {reason}" in page
    counts = pq.read_table(finished / "balance" / "counts")
    assert f">{sum(n == 0 for n in counts['num_before'].to_pylist()):,}<" in page
    assert page.count("<svg") == 2
    chain.wit("report", str(finished), "--out", str(finished.parent / "again.html"))
    assert (finished.parent / "again.html").read_text() == page
    shutil.rmtree(finished / "report")


def test_a_run_that_has_just_begun_has_a_page(chain: Chain, tmp_path: Path) -> None:
    """Sections whose tables are not there yet are left out; a run without a finished stage is told of."""
    assert chain.run(tmp_path / "run", "--until", "extract").returncode == 0
    page = render("run", read_ledger(str(tmp_path / "run")), {}, open_tables(str(tmp_path / "run")))
    assert "Where they come from" in page
    assert "Balance" not in page
    (tmp_path / "run" / "extract" / "manifest.json").unlink()
    told = chain.wit("report", str(tmp_path / "run"))
    assert (told.returncode, told.stderr.count("\n")) == (2, 1)
    assert "at least one finished stage" in told.stderr


def test_what_came_from_the_web_is_escaped(chain: Chain, finished: Path, tmp_path: Path) -> None:
    """A caption of markup, of control characters and of another direction does nothing to the page."""
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    hostile = "<script>alert(1)</script>\u202e\x07" + "x" * 5000
    for part in sorted((run / "balance" / "kept").iterdir()):
        table = pq.read_table(part)
        column = pa.array([hostile] * table.num_rows, pa.string())
        place = table.schema.get_field_index("caption")
        pq.write_table(table.set_column(place, table.schema.field(place), column), part)
    recipe = {"balance": {"cap": 5, "mode": "cap", "oversample": 1.0}}
    page = render("<b>run", read_ledger(str(run)), recipe, open_tables(str(run)))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "U+202E" in page
    assert "\u202e" not in page
    assert "x" * 1000 not in page
    assert "<b>run" not in page


def test_figures_stand_on_nothing_and_on_one() -> None:
    """No match at all, one term, more than 30 matches of a pair: a picture each."""
    none = np.zeros(3, np.int64)
    assert "<svg" in count_by_rank(none, none, 20_000)
    assert "7 at most before" in count_by_rank(np.array([7], np.int64), np.array([3], np.int64), 5)
    empty = MATCH_HISTOGRAM.empty_table()
    assert "<svg" in pairs_by_matches(empty)
    rows = [{"num_queries": number, "num_before": 2, "num_after": 1} for number in (1, 30, 31, 500)]
    assert "30 +" in pairs_by_matches(pa.Table.from_pylist(rows, schema=MATCH_HISTOGRAM))
