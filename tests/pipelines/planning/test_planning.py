"""What a run will cost."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from pipelines.planning.assumptions import Assumptions, Matches, rows
from pipelines.planning.model import crawls_for, kept_share, plan
from pipelines.planning.text import format_assumptions, format_plan
from pipelines.recipes import Recipe, recipe_path
from wit.cli import wit
from wit.errors import RecipeError
from wit.recipe import load

RECIPE = load(recipe_path("wit400m"), Recipe)


def test_the_published_pool_balances_to_the_published_size() -> None:
    """1.6 billion matched pairs at a cap of 20,000 give 400 million, and the head is as large as MetaCLIP says."""
    assert kept_share(1.6e9, 20_000, Matches()) * 1.6e9 == pytest.approx(4e8, rel=0.01)
    ranks = [(rank + 1000.0) ** -2 for rank in range(1, 386_001)]
    assert sum(ranks[:16_000]) / sum(ranks) == pytest.approx(0.945, abs=0.002)
    assert ranks[15_999] / sum(ranks) * 5.6e9 == pytest.approx(20_000, rel=0.06)


@given(st.floats(1, 1e11), st.floats(1.0, 10.0), st.integers(1, 10**6))
def test_kept_share_falls_with_the_pool_and_rises_with_the_cap(pairs: float, factor: float, cap: int) -> None:
    """A larger pool has no smaller number of pairs left, and no larger share; a larger cap keeps no less."""
    share, of_more = kept_share(pairs, cap, Matches()), kept_share(pairs * factor, cap, Matches())
    assert 0.0 < share <= 1.0
    assert of_more <= share * (1 + 1e-9)
    assert of_more * pairs * factor >= share * pairs * (1 - 1e-9)
    assert kept_share(pairs, cap * 2, Matches()) >= share


def test_costs_follow_the_assumptions_by_hand() -> None:
    """Rows are products of shares; core-hours, bytes, requests and money are what a pocket calculator says."""
    given = Assumptions()
    found = plan(RECIPE, given, 1.0)
    by_stage = {cost.stage: cost for cost in found.costs}
    candidates = 2.64e9 * 5.2
    assert by_stage["extract"].num_in == candidates
    assert by_stage["match"].num_in == pytest.approx(candidates * given.shares.extract * given.shares.filter_text)
    wat = 2.64e9 * 6_600
    assert by_stage["extract"].read_bytes == pytest.approx(wat)
    assert by_stage["extract"].core_hours == pytest.approx(wat / 1e9 * given.rates.extract_s_a_gb / 3600)
    assert by_stage["fetch"].core_hours == pytest.approx(by_stage["fetch"].num_in * given.rates.fetch_s / 1e6 / 3600)
    assert found.num_requests == pytest.approx(by_stage["fetch"].num_in + 47.5e6)
    assert found.days_busiest_host == pytest.approx(by_stage["fetch"].num_in * 0.01 * 0.5 / 4 / 86_400)
    core_hours = sum(cost.core_hours for cost in found.costs)
    assert found.dollars["cores"] == pytest.approx(core_hours * 0.04)
    assert [cost.num_in for cost in found.costs[1:]] == [cost.num_out for cost in found.costs[:-1]]


@pytest.mark.parametrize("pairs", [1e6, 4e8, 2e9])
def test_the_crawls_for_a_number_of_pairs_give_them(pairs: float) -> None:
    """As many crawls as asked for give the pairs, a hundredth less does not."""
    crawls = crawls_for(RECIPE, Assumptions(), pairs)
    assert crawls is not None
    assert plan(RECIPE, Assumptions(), crawls).num_packed >= pairs
    assert plan(RECIPE, Assumptions(), crawls * 0.99).num_packed < pairs


def test_impossible_numbers_are_told() -> None:
    """Where nothing matches no number of crawls is enough."""
    nothing = replace(Assumptions(), shares=replace(Assumptions().shares, match=0.0))
    assert crawls_for(RECIPE, nothing, 4e8) is None


def test_every_assumption_has_a_source_and_a_changed_one_says_so() -> None:
    """Nothing is assumed without saying by whom."""
    given = load(None, Assumptions, ["machine.cores=256"], "--assume")
    by_name = {name: (value, source) for name, value, _, _, source in rows(given)}
    assert by_name["machine.cores"] == (256.0, "given")
    assert all(source for _, source in by_name.values())
    assert len(by_name) == sum(len(fields(getattr(given, each.name))) for each in fields(given))
    text = format_assumptions(given, frozenset({"rates.match_s"}), "runs/mine")
    assert "measured in runs/mine" in text
    assert all(name in text for name in by_name)


def test_a_wrong_assumption_is_one_line() -> None:
    """A name that is not there is an error that names the option and the nearest one."""
    with pytest.raises(
        RecipeError, match=r"--assume machine\.core=1: unknown key 'machine\.core'; did you mean 'cores'"
    ):
        load(None, Assumptions, ["machine.core=1"], "--assume")


@pytest.mark.parametrize(
    "given",
    ["crawl.pages=inf", "crawl.pages=1e300", "shares.match=1.01", "matches.num_queries=1e9", "machine.cores=-1"],
)
def test_an_assumption_beyond_reason_is_refused(given: str) -> None:
    """No share over 1, and no number with which the arithmetic would overflow or fill the memory."""
    with pytest.raises(RecipeError, match=f"--assume {given}: .*: expected at (most|least) "):
        load(None, Assumptions, [given], "--assume")


@pytest.mark.parametrize("end", ["min", "max"])
def test_the_ends_of_every_assumption_give_numbers(end: str) -> None:
    """Whatever is assumed, a plan holds no nan and no infinity."""
    sections = {
        each.name: type(each.default_factory())(  # type: ignore[misc]
            **{value.name: value.metadata[end] for value in fields(each.default_factory())}  # type: ignore[misc]
        )
        for each in fields(Assumptions)
    }
    for crawls in (1e-9, 1e6):
        values = json.dumps(plan(RECIPE, Assumptions(**sections), crawls).as_json(), allow_nan=False)
        assert json.loads(values)["crawls"] == crawls


def test_the_command_prints_both_plans_and_json() -> None:
    """One crawl and 400 million pairs, with the sums; the same as JSON."""
    text = CliRunner().invoke(wit, ["plan", "wit400m"]).output
    assert "1 crawl:" in text
    assert "400,000,000 pairs: 400," in text
    assert "crawl.pages" in text
    values = json.loads(CliRunner().invoke(wit, ["plan", "wit400m", "--json"]).output)
    one = values["plans"]["1 crawl"]
    assert one["num_packed"] == plan(RECIPE, Assumptions(), 1.0).num_packed
    assert format_plan("1 crawl", plan(RECIPE, Assumptions(), 1.0)) in text


def test_a_run_replaces_what_is_assumed(tmp_path: Path) -> None:
    """Shares, sizes and rates come from a run's ledger and log; what the user gave stays, small stages give no rate."""
    from pipelines.planning.measured import with_measured

    root = tmp_path / "run"
    recipe = {"extract": {"warc": [], "tables": [], "shards": []}}
    files = {"a.wat.gz": "2000000000:abc"}
    _write(root / "run.json", {"recipe": recipe, "inputs": {"extract": files}, "code": {}})
    ledgers = {"extract": (100_000, 60_000), "filter_text": (60_000, 30_000), "match": (9_000, 3_000)}
    lines = []
    for stage, (num_in, num_out) in ledgers.items():
        ledger = {"num_in": num_in, "num_merged": 0, "num_out": num_out, "rejects": {}}
        tables = {f"{stage}/kept": {"num_parts": 1, "num_rows": num_out, "num_bytes": num_in * 50}}
        _write(root / stage / "manifest.json", {"stage": stage, "tables": tables, "ledger": ledger})
        lines.append({"stage": stage, "seconds": 30.0, "cores": 2, "resumed": stage == "filter_text"})
    whole = "".join(json.dumps(line) + "\n" for line in lines)
    (root / "log.jsonl").write_bytes(b"[]\n\xff\n" + whole.encode() + whole[: len(whole) // 5].encode())
    given = load(None, Assumptions, ["shares.filter_text=0.25"], "--assume")
    found, names = with_measured(given, str(root))
    assert found.rates.extract_s_a_gb == 30.0
    assert found.shares.extract == 0.6
    assert found.shares.filter_text == 0.25
    assert found.shares.match == pytest.approx(1 / 3)
    assert found.sizes.match == 50.0
    assert found.rates.match_s == given.rates.match_s
    assert found.rates.filter_text_s == given.rates.filter_text_s
    assert {"rates.extract_s_a_gb", "shares.match", "sizes.extract"} <= names
    assert "shares.filter_text" not in names


def _write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
