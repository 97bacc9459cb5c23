"""The figure of objectives: planted laws give back how many times fewer images each needs."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path

import pytest

from benchmarks.objectives_figure import compare, draw_curves, read_curves, table, target_of
from wit.errors import InputError
from wit.page import svg_file

TIMES = {"captions": 1, "words": 3, "pairs": 12}


def write(path: Path, times: Mapping[str, int], seeds: int = 3) -> Path:
    """Write curves that grow by 0.05 a doubling of images, each seed a little above the last."""
    rows = [
        {"objective": name, "seed": seed, "images_seen": 1000 * 2**place, "accuracy": 0.05 * place + gain + seed / 1000}
        for name, gain in ((name, 0.05 * math.log2(factor)) for name, factor in times.items())
        for seed in range(seeds)
        for place in range(8)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_planted_ratios_are_found(tmp_path: Path) -> None:
    """Curves that are ahead by 3 and 12 times the images, as the paper's Figure 2 has them, give 3 and 12 of each seed.

    The target is what the worst seed of the first objective attains.
    """
    curves = read_curves(write(tmp_path / "curves.jsonl", TIMES))
    target = target_of(curves)
    assert target == pytest.approx(0.35)
    for each in compare(curves, target):
        assert each.times == pytest.approx([TIMES[each.objective]] * 3)
    rows = list(table(curves, target))
    assert rows[-1].endswith("| 12.0 (12.0 to 12.0) |")
    assert "≤" not in "".join(rows)


def test_an_objective_that_is_there_at_once_has_a_bound(tmp_path: Path) -> None:
    """Ahead by more than the first checkpoint tells, its images are at most those, the ratio at least that."""
    curves = read_curves(write(tmp_path / "curves.jsonl", {"captions": 1, "pairs": 1 << 12}, seeds=1))
    assert "≤ 1,000 | ≥ 128.0 |" in list(table(curves, target_of(curves)))[-1]


def test_an_objective_that_does_not_get_there_says_so(tmp_path: Path) -> None:
    """Behind by more than its curve is long, an objective has no number of images and no ratio."""
    curves = read_curves(write(tmp_path / "curves.jsonl", {"pairs": 12, "captions": 1}))
    assert "| not reached | not reached |" in list(table(curves, target_of(curves)))[-1]


def test_the_figure_is_whole_svg_with_every_name(tmp_path: Path) -> None:
    """The file is XML and names each objective; the same curves give the same bytes."""
    curves = read_curves(write(tmp_path / "curves.jsonl", TIMES))
    drawn = svg_file(draw_curves(curves, 0.35, 0.1))
    words = "".join(ET.fromstring(drawn).itertext())
    assert all(name in words for name in TIMES)
    assert drawn == svg_file(draw_curves(curves, 0.35, 0.1))


def test_lines_that_are_no_points(tmp_path: Path) -> None:
    """A broken line, no line and seeds with unequal checkpoints are one error each, with its place."""
    path = tmp_path / "curves.jsonl"
    path.write_text('{"objective": "a"}\n')
    with pytest.raises(InputError, match="line 1: expected objective, seed, images_seen and accuracy"):
        read_curves(path)
    path.write_text("")
    with pytest.raises(InputError, match="found none"):
        read_curves(path)
    rows = [{"objective": "a", "seed": seed, "images_seen": 1000 + seed, "accuracy": 0.1} for seed in (0, 1)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match="of a found others"):
        read_curves(path)
