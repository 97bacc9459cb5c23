"""The two panels show each set where its figures put it, name what finds room, and are valid SVG for any names."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.report.overlap import figure
from pipelines.report.overlap.figure import both_panels, panels
from pipelines.report.overlap.results import Accuracies, AuditResult
from tests.html import check_nesting, shown_text
from tests.pipelines.report.overlap_world import HOSTILE, result, set_result
from wit.page import ACCENT, svg_file

SVG = "{http://www.w3.org/2000/svg}"


def some(num_sets: int) -> AuditResult:
    """Sets with all sorts of shares and gains."""
    rng = np.random.default_rng(4)
    sets = []
    for number in range(num_sets):
        num_overlap = int(rng.integers(0, 400)) if number % 4 else 0
        right = rng.binomial(5000, 0.6), rng.binomial(num_overlap, rng.uniform(0.5, 0.75))
        found = Accuracies(5000, int(right[0]), num_overlap, int(right[1]))
        sets.append(set_result(f"Set {number}", 5000 + num_overlap, num_overlap, found))
    return result(*sets)


def test_points_stand_where_the_figures_put_them() -> None:
    """Left: Overlap - Clean with its interval; right: All - Clean; both in points, over the share in percent."""
    found = Accuracies(num_clean=900, correct_clean=450, num_overlap=100, correct_overlap=80)
    audit = result(set_result("a", 1000, 100, found), set_result("no predictions", 9, 1))
    (left,), (right,) = figure._left(audit), figure._right(audit)
    assert (left.x, left.y) == pytest.approx((10, 30))
    assert found.interval is not None
    assert (left.low, left.high) == pytest.approx(tuple(100 * (end - 0.5) for end in found.interval))
    assert (right.x, right.y) == pytest.approx((10, 3))
    assert left.kind == right.kind == "significant"
    assert "a: +30.00 points at 10.00 %" in panels(audit)[0]


def test_kinds_are_those_of_the_tests() -> None:
    """Significant among all, significant alone, worse by the interval, and nothing."""
    overlap = {"significant": 95, "alone": 79, "none": 71, "worse": 20}
    found = {kind: set_result(kind, 1100, 100, Accuracies(1000, 700, 100, right)) for kind, right in overlap.items()}
    audit = result(*found.values())
    assert {point.name: point.kind for point in figure._left(audit)} == {kind: kind for kind in overlap}


def test_a_file_is_valid_xml_by_itself() -> None:
    """The figure as a file parses, declares its namespaces, has colours and no variables of a page."""
    text = svg_file(both_panels(some(12)))
    root = ElementTree.fromstring(text)
    assert root.tag == f"{SVG}svg"
    assert "var(" not in text
    assert ACCENT in text
    names = {"".join(element.itertext()) for element in root.iter(f"{SVG}text")}
    assert {"Overlap − Clean, points of accuracy", "All − Clean, points of accuracy"} <= names


@settings(max_examples=12, deadline=None)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=3))
def test_any_names_make_a_valid_figure(names: list[str]) -> None:
    """Mathematics, controls, signs that no font has, other scripts: the figure nests, and parses as a file."""
    accuracies = Accuracies(1000, 700, 100, 95)
    audit = result(*(set_result(name, 1100, 100, accuracies) for name in [*names, HOSTILE, "$\\frac{$", "\x00\ud800"]))
    drawing = both_panels(audit)
    check_nesting(drawing)
    ElementTree.fromstring(svg_file(drawing))


def test_the_same_bytes_each_time() -> None:
    """Two drawings of the same audit are equal."""
    assert both_panels(some(9)) == both_panels(some(9))


def test_names_do_not_lie_over_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 35 sets every named one has a place of its own, inside the panel; the significant ones are named."""
    boxes: list[tuple[figure._Point, figure._Box]] = []
    placed = figure._labels

    def watch(axes: object, points: list[figure._Point]) -> object:
        found = list(placed(axes, points))
        boxes.append((points[0], (0, 0, 0, 0)))
        boxes.extend((point, box) for _, point, box in found)
        return iter(found)

    monkeypatch.setattr(figure, "_labels", watch)
    audit = some(35)
    left, _ = panels(audit)
    second = next(index for index, (_, box) in enumerate(boxes) if index and box == (0, 0, 0, 0))
    for panel in (boxes[1:second], boxes[second + 1 :]):
        assert len(panel) >= 8
        for index, (_, box) in enumerate(panel):
            assert not any(figure._overlap(box, other) for _, other in panel[:index])
    significant = [each.contamination.set for each in audit.sets if audit.is_significant(each)]
    assert significant
    assert set(significant) <= set(re.findall(r">(Set \d+)<", words_of(left)))


def words_of(drawing: str) -> str:
    """The names that stand in a figure as its text, each between angle brackets."""
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", drawing)
    assert texts
    return "".join(f">{text}<" for text in texts)


def test_without_overlap_there_is_nothing_to_name() -> None:
    """Sets without overlap are points at 0 of the right panel, without names; the left panel has none of them."""
    audit = result(*(set_result(f"Set {n}", 10, 0, Accuracies(10, 5, 0, 0)) for n in range(3)))
    left, right = panels(audit)
    assert "Set" not in shown_text(left)
    assert "Set" not in shown_text(right)
    assert len(figure._left(audit)) == 0
    assert [(point.x, point.y) for point in figure._right(audit)] == [(0, 0)] * 3


def test_the_report_holds_both_panels_and_the_file(tmp_path: Path) -> None:
    """figure.svg is what the report links to."""
    from pipelines.report.overlap.page import write_report
    from tests.pipelines.report.overlap_world import matches, no_thumbs

    write_report(str(tmp_path), some(5), matches([]), no_thumbs)
    assert (tmp_path / "report.html").read_text().count("<svg") == 2
    assert (tmp_path / "figure.svg").read_text() == svg_file(both_panels(some(5)))
