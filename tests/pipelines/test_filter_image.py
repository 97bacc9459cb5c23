"""filter_image: judged by facts, in a fixed order."""

from __future__ import annotations

import pytest

from pipelines.stages.filter_image import FilterImage
from tests.support import run_map
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
    }
    return plain | sizes | {"offset": 0, "num_frames": 1, "entropy": 7.0} | facts


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
    written = run_map(FilterImage(), [image(**facts)])
    assert written["rejects"]["reason"].to_pylist() == ([reason] if reason else [])
    assert written["kept"].num_rows == (0 if reason else 1)
    assert reason is None or reason in FilterImage.reasons


def test_every_image_is_kept_or_rejected_in_order() -> None:
    """Rows are passed through unchanged and in order; kept and rejected add up; animations pass when allowed."""
    rows = sorted(
        (image(entropy=value / 10, num_frames=1 + value % 2) for value in range(40)), key=lambda row: str(row["key"])
    )
    written = run_map(FilterImage(allow_animated=True), rows, batch_rows=7)
    kept, rejected = written["kept"].to_pylist(), written["rejects"].to_pylist()
    assert kept == [row for row in rows if row["entropy"] >= 1.0]  # type: ignore[operator]
    assert [row["key"] for row in rejected] == [row["key"] for row in rows if row["entropy"] < 1.0]  # type: ignore[operator]
