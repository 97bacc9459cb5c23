"""filter_image: judged by facts, in a fixed order; placeholders known by how many URLs gave the same bytes."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.stages.filter_image import FilterImage
from pipelines.stages.verb import RunSettings
from tests.support import read_parts, run_map, run_steps, write_part
from wit.errors import InputError, RecipeError
from wit.keys import key_bucket, sample_key, uniform_rank
from wit.schema import IMAGES


def image(**facts: object) -> dict[str, object]:
    """A row of IMAGES that passes, with some facts changed."""
    key = sample_key(repr(sorted(facts.items())), "")
    plain = dict.fromkeys(IMAGES.names, "") | {"key": key, "bucket": key_bucket(key, 4), "rank": uniform_rank("", key)}
    sizes = {
        "width": 512,
        "height": 384,
        "original_width": 800,
        "original_height": 600,
        "length": 1,
        "original_length": 1,
        "original_sha256": digest(key),
    }
    return plain | sizes | {"offset": 0, "num_frames": 1, "entropy": 7.0} | facts


def digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()


BY_FACTS = FilterImage(max_urls=0)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({}, None),
        ({"original_height": 63, "original_width": 64}, "too_small"),
        ({"original_height": 64, "original_width": 64}, None),
        ({"original_height": 200, "original_width": 600}, None),
        ({"original_height": 200, "original_width": 601}, "extreme_aspect"),
        ({"original_height": 601, "original_width": 200}, "extreme_aspect"),
        ({"entropy": 0.999}, "low_entropy"),
        ({"entropy": 1.0}, None),
        ({"num_frames": 2}, "animated"),
        ({"original_height": 1, "original_width": 600, "entropy": 0.0, "num_frames": 9}, "too_small"),
        ({"original_height": 100, "original_width": 600, "entropy": 0.0, "num_frames": 9}, "extreme_aspect"),
        ({"entropy": 0.0, "num_frames": 9}, "low_entropy"),
    ],
)
def test_the_first_rule_that_fails_is_the_reason(facts: dict[str, object], reason: str | None) -> None:
    """Each rule at its border, and the order of judgement where several fail."""
    written = run_map(BY_FACTS, [image(**facts)])
    assert written["rejects"]["reason"].to_pylist() == ([reason] if reason else [])
    assert written["kept"].num_rows == (0 if reason else 1)
    assert reason is None or reason in FilterImage.reasons


@pytest.mark.parametrize(
    ("width", "height", "reason", "detail"),
    [
        (100, 100, None, None),
        (99, 100, "small_area", "99 x 100 px"),
        (400, 200, None, None),
        (200, 401, "too_large", "200 x 401 px"),
        (400, 201, "large_area", "400 x 201 px"),
        (2**31 - 1, 2**31 - 1, "too_large", "2147483647 x 2147483647 px"),
    ],
)
def test_upper_limits_and_areas(width: int, height: int, reason: str | None, detail: str | None) -> None:
    """Longest side and both areas at their borders; the detail is the size; a product of 62 bits does not overflow."""
    stage = FilterImage(max_side_px=400, min_area_px=10_000, max_area_px=80_000, max_urls=0)
    rejects = run_map(stage, [image(original_width=width, original_height=height)])["rejects"].to_pylist()
    assert [(row["reason"], row["detail"]) for row in rejects] == ([(reason, detail)] if reason else [])


def test_details_say_what_was_found() -> None:
    """Entropy under its limit is never shown as the limit; frames are counted."""
    rows = [image(entropy=0.9999), image(entropy=0.5), image(num_frames=7)]
    found = {row["detail"] for row in run_map(BY_FACTS, rows)["rejects"].to_pylist()}
    assert found == {"0.99 bits", "0.5 bits", "7 frames"}


def test_limits_that_leave_nothing_are_refused() -> None:
    """A most under its least is a mistake of the recipe."""
    with pytest.raises(RecipeError, match="max_side_px: expected at least min_side_px, 64, found 63"):
        FilterImage(max_side_px=63)
    with pytest.raises(RecipeError, match="max_area_px: expected at least min_area_px, 10, found 9"):
        FilterImage(min_area_px=10, max_area_px=9)


def test_every_image_is_kept_or_rejected_in_order() -> None:
    """Rows are passed through unchanged and in order; kept and rejected add up; animations pass when allowed."""
    rows = sorted(
        (image(entropy=value / 10, num_frames=1 + value % 2) for value in range(40)), key=lambda row: str(row["key"])
    )
    written = run_map(FilterImage(allow_animated=True, max_urls=0), rows, batch_rows=7)
    kept, rejected = written["kept"].to_pylist(), written["rejects"].to_pylist()
    assert kept == [row for row in rows if row["entropy"] >= 1.0]  # type: ignore[operator]
    assert [row["key"] for row in rejected] == [row["key"] for row in rows if row["entropy"] < 1.0]  # type: ignore[operator]


Row = tuple[int, int, int]
"""Body, part and place in the part's tar, which stands for the URL."""


def run_on(root: Path, rows: list[Row], stage: FilterImage, num_parts: int, num_buckets: int) -> dict[str, pa.Table]:
    """Run every step over images of such bodies."""
    for index in range(num_parts):
        mine = [
            image(original_sha256=digest(f"body {body}"), offset=offset, attempt=number, blob=str(part))
            for number, (body, part, offset) in enumerate(rows)
            if part == index
        ]
        named = [{name: row[name] for name in IMAGES.names} for row in mine]
        write_part(root, "fetch/kept", index, pa.Table.from_pylist(named, schema=IMAGES))
    run_steps(stage.steps(RunSettings(num_buckets)), root, num_buckets)
    return {"kept": read_parts(root, "filter_image/kept"), "rejects": read_parts(root, "rejects/filter_image")}


@settings(max_examples=15, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 4)), max_size=40),
    max_urls=st.integers(0, 4),
    num_buckets=st.integers(1, 3),
)
def test_placeholders_are_bodies_of_many_urls(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row], max_urls: int, num_buckets: int
) -> None:
    """By definition: distinct URLs of a body, over all parts; pairs that share a URL count once; 0 switches it off."""
    body_of = {(part, offset): body for body, part, offset in rows}  # a URL has one body
    rows = [(body_of[part, offset], part, offset) for _, part, offset in rows]
    root = tmp_path_factory.mktemp("run")
    written = run_on(root, rows, FilterImage(max_urls=max_urls), 3, num_buckets)
    urls = defaultdict(set)
    for body, part, offset in rows:
        urls[digest(f"body {body}")].add((part, offset))
    many = {name: len(places) for name, places in urls.items() if max_urls and len(places) > max_urls}
    kept = Counter(written["kept"]["original_sha256"].to_pylist())
    assert kept == Counter(digest(f"body {body}") for body, *_ in rows if digest(f"body {body}") not in many)
    details = Counter(written["rejects"]["detail"].to_pylist())
    pairs = Counter(digest(f"body {body}") for body, *_ in rows)
    expected: Counter[str] = Counter()
    for name, num_urls in many.items():
        expected[f"{num_urls} URLs"] += pairs[name]
    assert details == expected
    assert set(written["rejects"]["reason"].to_pylist()) <= {"placeholder"}


def test_known_placeholders_are_listed(tmp_path: Path) -> None:
    """A body on the user's list goes, as sha256sum writes it or in capitals; facts are judged first."""
    known = tmp_path / "known.txt"
    known.write_text(f"# not available\n{digest('one')}  one.png\n\n{digest('two').upper()}\n")
    stage = FilterImage(max_urls=0, placeholders=(str(known),))
    bodies = ("one", "two", "three")
    rows = [image(original_sha256=digest(body)) for body in bodies]
    written = run_map(stage, [*rows, image(original_sha256=digest("one"), original_width=9)])
    assert written["kept"]["original_sha256"].to_pylist() == [digest("three")]
    found = [(row["reason"], row["detail"]) for row in written["rejects"].to_pylist()]
    assert found == [("placeholder", "listed")] * 2 + [("too_small", "9 x 600 px")]
    assert stage.inputs() == (str(known),)


def test_a_list_with_something_else_is_refused(tmp_path: Path) -> None:
    """A line that is no digest is named before anything is run."""
    known = tmp_path / "known.txt"
    known.write_text(f"{digest('one')}\nplaceholder.png\n")
    with pytest.raises(InputError, match=r"known.txt:2: expected a SHA-256 \(64 hex digits\), found 'placeholder.png'"):
        FilterImage(placeholders=(str(known),)).inputs()
