"""Shards outside the run's folder: a place that is this run's alone, whatever was there before."""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import target
from pipelines.executors import Advance
from pipelines.recipes import Recipe
from pipelines.runner import Request, run
from pipelines.stages.extract import Extract
from pipelines.stages.match import Match
from pipelines.stages.pack import Pack
from wit.errors import InputError, OutputError
from wit.schema import QUERIES
from wit.shards import MADE_FROM
from wit.stage import Step
from wit.storage import exists, join, list_names, publish_text, read_bytes, remove

RUN = "runs/one"
COUNTER = itertools.count()
ONE, OTHER = ({"recipe": {"pack": {"cap": cap}}, "inputs": {}, "code": {"wit": "1"}} for cap in (1, 2))


@pytest.fixture(params=["folder", "URL"])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place where nothing is yet."""
    return str(tmp_path / "out") if request.param == "folder" else f"memory://test-target-{next(COUNTER)}/out"


def write(folder: str, *names: str) -> None:
    for name in names:
        publish_text(join(folder, name), name)


def test_a_claimed_place_is_its_run_s(out: str) -> None:
    """It is taken when new, found again by the same run whatever code goes on with it, and refused to others."""
    target.require_ours(out, RUN, [ONE])
    target.claim(out, ONE)
    write(out, "00000.tar")
    target.require_ours(out, RUN, [OTHER, ONE | {"code": {"wit": "2"}}])
    with pytest.raises(OutputError, match="new or empty folder for the shards, found the shards of another run"):
        target.require_ours(out, RUN, [OTHER])


def test_somebody_s_files_are_not_taken(out: str) -> None:
    """A place with other files is refused, by the name of one."""
    write(out, "thesis.tex")
    with pytest.raises(OutputError, match=r"found thesis.tex; choose another pack.out, or remove the folder"):
        target.require_ours(out, RUN, [ONE])
    target.release(out, [ONE])
    assert list_names(out) == ["thesis.tex"]


def test_what_is_released_is_what_was_written(out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards, indexes and manifest go, the manifest first and the claim last; what else lies there stays."""
    target.claim(out, ONE)
    write(out, "00000.tar", "00000.parquet", "100000.tar", "manifest.json", "notes.txt", "0.tar", "stats.parquet")
    removed: list[str] = []

    def noting(url: str) -> None:
        removed.append(url.rsplit("/", 1)[-1])
        remove(url)

    monkeypatch.setattr("pipelines.target.remove", noting)
    target.release(out, [OTHER])
    assert removed == []
    target.release(out, [OTHER, ONE])
    assert (removed[0], removed[-1]) == ("manifest.json", MADE_FROM)
    assert list_names(out) == ["0.tar", "notes.txt", "stats.parquet"]


def test_removed_samples_do_not_come_back_unsaid(out: str) -> None:
    """A record of removals forbids to make the shards anew."""
    target.refuse_removals(out)
    write(out, "removals.parquet")
    with pytest.raises(OutputError, match=r"removals.parquet\), and would be back .* move that file elsewhere"):
        target.refuse_removals(out)


class Stopped(Exception):
    """The executor's: a run got as far as its first step."""


class Stopping:
    """An executor that does nothing."""

    cores = 1

    def map(self, step: Step, advance: Advance) -> None:
        raise Stopped

    def sql(self, step: Step, advance: Advance) -> None:
        raise Stopped

    def close(self) -> None:
        pass


@pytest.fixture
def begin(tmp_path: Path) -> Callable[..., None]:
    """Begin, or go on with, the run in a folder; it ends with its plan of inputs, or an error before."""
    archive, queries = tmp_path / "a.warc.gz", tmp_path / "queries.parquet"
    archive.write_bytes(gzip.compress(b""))
    columns = pa.schema([QUERIES.field("query_id"), QUERIES.field("term")])
    pq.write_table(pa.table({"query_id": [0], "term": ["dog"]}, schema=columns), queries)
    recipe = Recipe(extract=Extract(warc=(str(archive),)), match=Match(queries=str(queries)))

    def begin(root: Path, out: str, *, first: str | None = None, **pack: Any) -> None:
        whole = replace(recipe, pack=Pack(out=out, **pack))
        request = Request(whole, str(root), first or "extract", redo=first is not None)
        with pytest.raises(Stopped):
            run(request, Stopping, print)

    return begin


def test_the_place_is_taken_before_the_first_step(tmp_path: Path, out: str, begin: Callable[..., None]) -> None:
    """Another run is refused it before it has done anything; the same run goes on."""
    begin(tmp_path / "one", out)
    assert list_names(out) == [MADE_FROM]
    with pytest.raises(OutputError, match="the shards of another run"):
        begin(tmp_path / "two", out, cap=7)
    assert not exists(join(str(tmp_path / "two"), "extract"))
    write(out, "00000.tar", ".tmp-00001.tar-1-a")
    begin(tmp_path / "one", out)
    assert list_names(out) == ["00000.tar", MADE_FROM]
    assert not exists(join(out, ".tmp-00001.tar-1-a"))


def test_what_is_made_anew_is_dropped_in_its_place(tmp_path: Path, out: str, begin: Callable[..., None]) -> None:
    """With --from and another cap: the run's own shards there go, and the claim is renewed."""
    begin(tmp_path / "run", out)
    before = read_bytes(join(out, MADE_FROM))
    write(out, "00000.tar", "manifest.json")
    begin(tmp_path / "run", out, first="pack", cap=7)
    assert list_names(out) == [MADE_FROM]
    assert read_bytes(join(out, MADE_FROM)) != before
    begin(tmp_path / "run", out, cap=7)


def test_a_refusal_drops_nothing(tmp_path: Path, begin: Callable[..., None]) -> None:
    """A place that is somebody else's, or a record of removals, is told before anything of the run goes."""
    root, taken = tmp_path / "run", tmp_path / "taken"
    begin(root, str(tmp_path / "mine"))
    before = sorted(root.rglob("*"))
    write(str(taken), "thesis.tex")
    with pytest.raises(OutputError, match=r"found thesis.tex"):
        begin(root, str(taken), first="extract")
    write(str(tmp_path / "mine"), "removals.parquet")
    with pytest.raises(OutputError, match=r"samples were removed"):
        begin(root, str(tmp_path / "mine"), first="extract")
    assert sorted(root.rglob("*")) == before


def test_a_finished_set_stays_where_the_next_goes_elsewhere(tmp_path: Path, begin: Callable[..., None]) -> None:
    """Of an earlier place a whole set stays; what was only begun goes."""
    root, one, two, three = tmp_path / "run", *(str(tmp_path / name) for name in ("one", "two", "three"))
    begin(root, one)
    write(one, "00000.tar", "manifest.json")
    begin(root, two, first="pack")
    assert list_names(one) == ["00000.tar", MADE_FROM, "manifest.json"]
    write(two, "00000.tar")
    begin(root, three, first="pack")
    assert list_names(two) == []


@pytest.mark.parametrize("inside", ["", "/", "/pack", "/../run/x"])
def test_the_run_s_own_folder_is_no_place(tmp_path: Path, begin: Callable[..., None], inside: str) -> None:
    """A run cannot have its shards among its tables, however that is written; beside it, it can."""
    with pytest.raises(OutputError, match="expected a place outside the run for the shards"):
        begin(tmp_path / "run", f"{tmp_path}/run{inside}")
    begin(tmp_path / "run", f"{tmp_path}/run-shards")


def test_no_such_store_is_told_at_once(tmp_path: Path, begin: Callable[..., None]) -> None:
    """A URL that nothing serves is a user's mistake, before the run begins."""
    with pytest.raises(InputError, match=r"nosuch://bucket.*: no file system for this URL"):
        begin(tmp_path / "run", "nosuch://bucket/x")


@pytest.fixture(autouse=True)
def forget() -> None:
    """Let every test find the store in memory empty."""
    fsspec.filesystem("memory").store.clear()
