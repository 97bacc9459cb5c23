"""What a run does when the ground moves under it."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.executors import Advance
from pipelines.recipes import Recipe
from pipelines.runner import Request, run
from pipelines.stages.extract import Extract
from pipelines.stages.match import Match
from wit.errors import OutputError
from wit.schema import QUERIES
from wit.stage import Step


class Unmounting:
    """An executor under which the run's folder is taken away, and an empty one stands in its place."""

    cores = 1

    def __init__(self, root: Path) -> None:
        self._root = root

    def map(self, step: Step, advance: Advance) -> None:
        self._root.rename(self._root.with_name("elsewhere"))
        self._root.mkdir()

    def sql(self, step: Step, advance: Advance) -> None:
        raise AssertionError("a step after the folder was gone")

    def close(self) -> None:
        pass


def test_a_folder_that_is_taken_away_ends_the_run(tmp_path: Path) -> None:
    """No step goes on from what is left of a run, and no stage is called finished: one line says what to do."""
    archive, queries, root = tmp_path / "a.warc.gz", tmp_path / "queries.parquet", tmp_path / "run"
    archive.write_bytes(gzip.compress(b""))
    columns = pa.schema([QUERIES.field("query_id"), QUERIES.field("term")])
    pq.write_table(pa.table({"query_id": [0], "term": ["dog"]}, schema=columns), queries)
    recipe = Recipe(extract=Extract(warc=(str(archive),)), match=Match(queries=str(queries)))
    request = Request(recipe, str(root))
    with pytest.raises(
        OutputError, match=f"{re.escape(str(root))}: the run's folder went away .* run the same command again"
    ):
        run(request, lambda: Unmounting(root), print)
    assert not list(root.rglob("manifest.json"))
