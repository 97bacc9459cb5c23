"""Two training sets, or one with itself: every sample that has a near-duplicate is in a pair, and groups are whole."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.audit.asking import Audit
from pipelines.audit.comparison import Twins, format_comparison, num_components, run_comparison
from pipelines.audit.engine import run_audit
from pipelines.audit.twins import CHUNK_ROWS, Chunk, between, chunks, pairs_of_chunks
from pipelines.stages.references import Matches, concat_matches
from tests.pipelines.audited import encoded, make_world, picture, write_tar
from tests.pipelines.test_references import GOOD, distance_of, prints_of, small
from wit.cli import main
from wit.errors import InputError
from wit.near import Rule, each_pair
from wit.storage import read_parquet

Rows = list[tuple[int, int, int, int]]


@st.composite
def sets_of_rows(draw: st.DrawFn) -> tuple[Rows, Rows]:
    """Draw the prints of two sets: near or equal more often than not, and of equal content only where all is equal."""
    pictures = draw(st.lists(small, min_size=1, max_size=6))
    of_picture = st.integers(0, len(pictures) - 1).map(lambda number: (*pictures[number][:3], number))
    return draw(st.lists(of_picture, min_size=1, max_size=8)), draw(st.lists(of_picture, min_size=1, max_size=8))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See make_world."""
    return make_world(tmp_path_factory.mktemp("world"))


def components(pairs: set[tuple[int, int]], members: int) -> list[int]:
    """Return the lowest member of the group of each, by joining pairs one after the other."""
    group = list(range(members))
    for i, j in pairs:
        low, high = sorted((group[i], group[j]))
        group = [low if each == high else each for each in group]
    return group


@settings(max_examples=150, deadline=None)
@given(sets=sets_of_rows(), hash_name=st.sampled_from(["phash", "pdq", "both"]))
def test_pairs_between_sets_span_all_that_is_near(sets: tuple[Rows, Rows], hash_name: str) -> None:
    """Every pair is one that comparing all with all finds, at its distance; no sample and no group is missing."""
    ours, theirs = sets
    rule = Rule(hash_name, 1, 1)  # type: ignore[arg-type]
    expected = {
        (i, j): distance
        for i, left in enumerate(ours)
        for j, right in enumerate(theirs)
        if (distance := distance_of(left, right, rule)) is not None
    }
    found = between(prints_of(ours), prints_of(theirs), rule, firsts=False)
    pairs = list(zip(found.sample.tolist(), found.reference.tolist(), strict=True))
    assert dict(zip(pairs, found.distance.tolist(), strict=True)).items() <= expected.items()
    assert {i for i, _ in pairs} == {i for i, _ in expected}
    assert {j for _, j in pairs} == {j for _, j in expected}
    shifted = ({(i, len(ours) + j) for i, j in each} for each in (pairs, expected))
    assert len({tuple(components(each, len(ours) + len(theirs))) for each in shifted}) == 1


@settings(max_examples=100, deadline=None)
@given(sets=sets_of_rows(), hash_name=st.sampled_from(["phash", "pdq", "both"]))
def test_chunks_of_one_set_join_what_is_near(sets: tuple[Rows, Rows], hash_name: str) -> None:
    """A set cut into two chunks has the groups that it has at once."""
    rows, cut = [*sets[0], *sets[1]], len(sets[0])
    rule = Rule(hash_name, 1, 1)  # type: ignore[arg-type]
    left, right = prints_of(rows[:cut]), prints_of(rows[cut:])
    inside = concat_matches([Matches(each.i, each.j, each.distance) for each in each_pair(left, rule)])
    behind = concat_matches([Matches(each.i + cut, each.j + cut, each.distance) for each in each_pair(right, rule)])
    across = between(left, right, rule, firsts=True)
    found = {
        *zip(inside.sample.tolist(), inside.reference.tolist(), strict=True),
        *zip(behind.sample.tolist(), behind.reference.tolist(), strict=True),
        *zip(across.sample.tolist(), (across.reference + cut).tolist(), strict=True),
    }
    expected = {(i, j) for j in range(len(rows)) for i in range(j) if distance_of(rows[i], rows[j], rule) is not None}
    assert found <= expected
    assert components(found, len(rows)) == components(expected, len(rows))


def test_copies_between_sets_make_no_quadratic_work() -> None:
    """A hundred thousand copies on either side are as many pairs, not their product."""
    many = [(5, 5, GOOD, 1)] * 100_000
    found = between(prints_of(many), prints_of(many), Rule(), firsts=False)
    assert len(found.sample) == 2 * 100_000 - 1


def test_chunks_hold_whole_parts() -> None:
    """Chunks are cut between parts, and none is larger than asked unless a part is."""
    parts = [("a", 3), ("b", 3), ("c", 10), ("d", 1)]
    assert chunks(parts, 5, most=6) == [Chunk(("a", "b"), 5), Chunk(("c",), 11), Chunk(("d",), 21)]
    assert chunks([], 0) == []
    assert CHUNK_ROWS > 1_000_000
    ours = chunks(parts, 0, most=6)
    tasks = [
        (row["first_row"], row["other_first_row"], bool(row["other_parts"])) for row in pairs_of_chunks(ours, None)
    ]
    assert tasks == [(0, 0, False), (0, 6, True), (0, 16, True), (6, 6, False), (6, 16, True), (16, 16, False)]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12))
def test_components_are_counted(pairs: list[tuple[int, int]]) -> None:
    """As by joining pair after pair."""
    i, j = (np.array([pair[side] for pair in pairs], np.int64) for side in (0, 1))
    group = components(set(pairs), 10)
    assert num_components(i, j) == len({group[each] for pair in pairs for each in pair})


def test_a_set_with_itself(world: Path, tmp_path: Path) -> None:
    """Twelve copies are one group of eleven pairs; the pages show them; the bytes do not depend on processes."""
    found = run_comparison(Twins(str(world / "shards")), str(tmp_path / "a"), 1)
    assert (found.num_samples, found.num_matched, found.num_pairs, found.num_clusters) == (24, 12, 11, 1)
    matches = read_parquet(str(tmp_path / "a" / "matches.parquet")).to_pylist()
    assert {row["key_a"] for row in matches} == {"0000"}
    assert {row["key_b"] for row in matches} == {f"{number:04d}" for number in range(1, 12)}
    assert "12 samples (50.00%) in 11 pairs and 1 cluster" in format_comparison(found)
    run_comparison(Twins(str(world / "shards")), str(tmp_path / "b"), 2)
    left, right = ({path.name: path.read_bytes() for path in (tmp_path / side).rglob("*.*")} for side in "ab")
    assert left == right
    assert "data:image/jpeg" in (tmp_path / "a" / "report.html").read_text()


def test_two_sets(world: Path, tmp_path: Path) -> None:
    """Each matching sample of the first with the nearest of the other, as wit shards remove takes them."""
    other = {
        "x.png": encoded(picture(100), "PNG"),
        "y.png": encoded(picture(101), "PNG"),
        "z.png": encoded(picture(400), "PNG"),
    }
    write_tar(tmp_path / "other" / "00000.tar", other)
    found = run_comparison(Twins(str(world / "shards"), str(tmp_path / "other")), str(tmp_path / "out"), 1)
    assert (found.num_other, found.num_matched, found.num_pairs, found.num_clusters) == (3, 13, 13, 2)
    samples = read_parquet(str(tmp_path / "out" / "samples.parquet")).to_pylist()
    assert [row["key"] for row in samples] == [*(f"{number:04d}" for number in range(12)), "0100"]
    assert samples[-1]["item"] == "00000.tar/y"
    made = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert (made["other"]["num_samples"], made["num_clusters"]) == (3, 2)


def test_a_folder_holds_the_tables_of_one_command(world: Path, tmp_path: Path) -> None:
    """What an audit left in the folder, tables, figure and pages, goes when a comparison is written there."""
    shards, pets = str(world / "shards"), world / "pets"
    run_audit(Audit(shards, (f"pets={pets}",)), str(tmp_path / "both"), 1)
    (tmp_path / "both" / "figure.svg").write_text("of a model's predictions")
    for out in ("both", "alone"):
        run_comparison(Twins(shards), str(tmp_path / out), 1)
    files = [
        {str(path.relative_to(tmp_path / out)): path.read_bytes() for path in (tmp_path / out).rglob("*.*")}
        for out in ("both", "alone")
    ]
    assert files[0] == files[1]


def test_sets_without_matches_and_without_images(world: Path, tmp_path: Path) -> None:
    """Nothing found is a page that says so; shards without an image are an error."""
    write_tar(tmp_path / "other.tar", {"z.png": encoded(picture(400), "PNG")})
    found = run_comparison(Twins(str(world / "shards"), str(tmp_path / "other.tar")), str(tmp_path / "out"), 1)
    assert (found.num_pairs, found.num_clusters) == (0, 0)
    write_tar(tmp_path / "empty.tar", {"z.txt": b"words"})
    with pytest.raises(InputError, match="expected shards with images, found none"):
        run_comparison(Twins(str(tmp_path / "empty.tar")), str(tmp_path / "out"), 1)


def test_the_command(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """wit overlap --itself and --with print what was found and where the report is."""
    shutil.copytree(world / "shards", tmp_path / "copy")
    for words in (["--itself"], ["--with", str(tmp_path / "copy")]):
        with pytest.raises(SystemExit) as ended:
            main(["overlap", str(world / "shards"), *words, "--out", str(tmp_path / "out"), "--processes", "1"])
        assert ended.value.code == 0
        assert capsys.readouterr().out.splitlines()[-1] == f"{tmp_path / 'out'}/report.html"
