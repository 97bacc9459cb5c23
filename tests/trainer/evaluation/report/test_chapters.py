"""Prompts, few shots, robustness and comparisons: what stands on the pages is what was planted, in Markdown too."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import linregress

from tests.html import shown_text
from tests.trainer.evaluation.report.test_report import check_alone, full
from tests.trainer.evaluation.report.world import result, shift, shifts, write, write_images
from trainer.evaluation.report import across, report
from trainer.evaluation.report.chapters import prompts_chapter, shots_chapter
from trainer.evaluation.report.grids import Chapter, Drawing, Grid
from trainer.evaluation.report.results import Checkpoint, read_checkpoint
from trainer.evaluation.scaling import RESNET_GMACS
from trainer.models.config import CONFIGS
from trainer.models.flops import dense_macs
from wit.errors import InputError

PROMPTS = [
    {"prompts": "class name", "num_templates": 1, "value": 0.4},
    {"prompts": "default prompt", "num_templates": 1, "value": 0.45},
    {"prompts": "mean of single templates", "num_templates": 1, "value": 0.44},
    {"prompts": "best single template: a nice {label}.", "num_templates": 1, "value": 0.48},
    {"prompts": "ensemble of templates", "num_templates": 18, "value": 0.47},
]
CURVE = [{"shots": shots, "value": 0.3 + 0.05 * place, "deviation": 0.01} for place, shots in enumerate((1, 2, 4))]


def read(folder: Path, results: list[dict[str, Any]], facts: dict[str, Any] | None = None) -> Checkpoint:
    return read_checkpoint(str(write(folder, results, facts)))


def grids(chapter: Chapter | None) -> list[Grid]:
    assert chapter is not None
    flat = [each for part in chapter.parts for each in (part if isinstance(part, tuple) else (part,))]
    return [each for each in flat if isinstance(each, Grid)]


def pictures(chapter: Chapter | None) -> str:
    assert chapter is not None
    flat = [each for part in chapter.parts for each in (part if isinstance(part, tuple) else (part,))]
    return "".join(each.draw() for each in flat if isinstance(each, Drawing))


def test_markdown_has_every_cell_of_the_page(tmp_path: Path) -> None:
    """Each cell of each table of the HTML, pictures aside, stands in the Markdown, and warnings above all."""
    folder = full(tmp_path / "run", write_images(tmp_path / "images"))
    (folder / "results" / "robustness.json").write_text(json.dumps(shifts()))
    report([str(folder)])
    plain = re.sub(r"\\(.)", r"\1", (folder / "report.md").read_text())
    page = (folder / "report.html").read_text()
    cells = {shown_text(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", page, re.DOTALL)}
    assert len(cells) > 100
    assert {cell for cell in cells if cell and not cell.startswith("ViT-L/14@336px") and cell not in plain} <= {
        "95 % interval", "published",
    }  # fmt: skip
    assert plain.index("> <script>") < plain.index("| task")


def test_what_prompts_are_worth(tmp_path: Path) -> None:
    """Gains are points over the name alone, the mean over tasks first; the paper's 1.3 and 4.8 stand in the figure."""
    rows = [result(task, details={"prompts": PROMPTS}) for task in ("CIFAR10", "STL10")]
    chapter = prompts_chapter(read(tmp_path / "run", rows).results)
    (grid,) = grids(chapter)
    assert grid.rows[0] == ("mean of 2 tasks", "40.0", "45.0", "44.0", "48.0", "47.0", "+5.0", "+7.0")
    assert [row[0] for row in grid.rows[1:]] == ["CIFAR-10", "STL-10"]
    assert "ImageNet, in the paper: default +1.3, ensemble +4.8" in pictures(chapter)


def test_few_shots_stand_beside_zero_shot(tmp_path: Path) -> None:
    """A row has zero-shot, labels to match, each number of shots with its deviation or interval, and the probe."""
    with_interval = [row | {"interval": [0.2, 0.6]} for row in CURVE]
    rows = [
        result("CIFAR10", value=0.35),
        result("CIFAR10", "linear_probe", 0.8),
        result("CIFAR10", "few_shot", 0.4, details={"curve": CURVE, "labels_to_match_zero_shot": "2.0"}),
        result("STL10", "few_shot", 0.4, details={"rows": with_interval[::-1], "labels_to_match_zero_shot": "<1"}),
    ]
    checkpoint = read(tmp_path / "run", rows)
    chapter = shots_chapter(checkpoint, checkpoint.results)
    (grid,) = grids(chapter)
    assert list(grid.columns)[:3] == ["task", "zero-shot", "labels to match"]
    assert grid.rows[0] == ("CIFAR-10", "35.0", "2.0", "30.0 ± 1.0", "35.0 ± 1.0", "40.0 ± 1.0", "80.0")
    assert grid.rows[1][:4] == ("STL-10", None, "<1", "30.0 (20.0 to 60.0)")
    assert "CIFAR-10: 2.0; STL-10: &lt;1" in pictures(chapter)
    with pytest.raises(InputError, match="labels_to_match_zero_shot: expected a number, or a bound such as <1"):
        read(tmp_path / "bad", [result(details={"curve": CURVE, "labels_to_match_zero_shot": "many"})])


def test_groups_are_percentages_beside_the_papers(tmp_path: Path) -> None:
    """Counts, share and interval of a group are one row, the paper's number beside it, a zero too; once a task."""
    group = {"group": "recall@1", "num_items": 8, "num_hits": 2, "value": 0.25, "interval": [0.1, 0.5]}
    zero = group | {"group": "none", "paper_percent": 0.0}
    details = {"recalls": [group, zero], "published_recalls": {"recall@1": 88.0}}
    rows = [result("mine", protocol, details=details) for protocol in ("text_retrieval", "image_retrieval")]
    folder = write(tmp_path / "run", rows)
    report([str(folder)])
    text = (folder / "report.md").read_text()
    assert text.count("| recall@1 | 25.0 | 10.0 to 50.0 | 2 | 8 | 88.0 |") == 1
    assert "| none | 25.0 | 10.0 to 50.0 | 2 | 8 | 0.0 |" in text


def test_robustness_is_as_the_file_has_it(tmp_path: Path) -> None:
    """Accuracy, effective robustness, the gap closed; the paper's number stands beside the set's own names if any."""
    folder = write(tmp_path / "run", [result()])
    (folder / "results" / "robustness.json").write_text(json.dumps(shifts()))
    report([str(folder)])
    check_alone(folder / "report.html")
    text = (folder / "report.md").read_text().replace("\\", "")
    assert "| ImageNetV2 | zero-shot | 60.0 | 58.0 to 62.0 | 72.0 | +5.0 | +3.0 to +7.0 | 30 | – | 70.1 |" in text
    assert "| ObjectNet | zero-shot | 60.0 | 58.0 to 62.0 | 72.0 | +5.0 | +3.0 to +7.0 | 30 | – | – |" in text
    assert "| ObjectNet | own names | 64.0 | 58.0 to 62.0 | 72.0 | +5.0 | +3.0 to +7.0 | 30 | +4.0 | 72.3 |" in text
    assert "a line to be shown" in text
    assert json.loads((folder / "report.json").read_text())["robustness"] == shifts()


def test_without_standard_models_nothing_is_said_of_effective_robustness(tmp_path: Path) -> None:
    """Its columns are gone; a folder with nothing but robustness has a page too."""
    alone = shifts() | {"standard": None}
    folder = tmp_path / "run"
    (folder / "results").mkdir(parents=True)
    (folder / "results" / "robustness.json").write_text(json.dumps(alone))
    report([str(folder)])
    check_alone(folder / "report.html")
    assert "effective" not in (folder / "report.md").read_text()


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"shifts": [shift("A") | {"name": 3}]}, "shifts, row 1: name: expected a word, found '3'; evaluate again"),
        ({"confidence": 2}, "confidence: expected a share from 0 to 1, found '2'; evaluate again"),
        ({"mean": {"over": 3}}, "mean: over: expected a list of words, found '3'; evaluate again"),
    ],
)
def test_a_broken_file_of_robustness_is_one_line(tmp_path: Path, changed: dict[str, Any], expected: str) -> None:
    """It names the file and the place in it."""
    folder = write(tmp_path / "run", [result()])
    (folder / "results" / "robustness.json").write_text(json.dumps(shifts() | changed))
    with pytest.raises(InputError) as caught:
        read_checkpoint(str(folder))
    assert str(caught.value) == f"{folder}/results/robustness.json: {expected}"


def checkpoints(folder: Path, num: int = 3) -> list[Checkpoint]:
    """Return checkpoints whose error is 0.8 x compute ^ -0.1 on two tasks, with probes 0.1 above."""
    found = []
    for place in range(num):
        compute = 4.0 * 5**place
        values = {"CIFAR10": 1 - 0.8 * compute**-0.1, "ImageNet": 1 - 0.8 * compute**-0.1, "mine": 0.3 + 0.1 * place}
        rows = [result(task, value=value) for task, value in values.items()]
        rows += [result(task, "linear_probe", value + 0.1) for task, value in values.items()]
        found.append(read(folder / str(place), rows, {"name": f"c{place}", "gflops_per_image": compute}))
    return found


def test_the_papers_resnets_stand_beside_on_the_tasks_that_they_have_numbers_of(tmp_path: Path) -> None:
    """On all tasks the checkpoints stand alone; on CIFAR-10 and ImageNet beside the five, with the planted exponent."""
    whole, shared = across.scalings(checkpoints(tmp_path))
    assert (whole.tasks, whole.papers) == (("CIFAR10", "ImageNet", "mine"), ())
    assert shared.tasks == ("CIFAR10", "ImageNet")
    assert shared.law is not None
    assert shared.law.exponent == pytest.approx(-0.1)
    expected = {"RN50": (75.6, 59.6), "RN50x64": (86.8, 73.6)}  # the paper's Table 11
    errors = {one.name: one.error for one in shared.papers}
    for name, scores in expected.items():
        assert errors[name] == pytest.approx(1 - sum(scores) / 200)
    slope = linregress([math.log(RESNET_GMACS[name]) for name in errors], [math.log(errors[name]) for name in errors])
    assert shared.papers_law is not None
    assert shared.papers_law.exponent == pytest.approx(slope.slope)


def test_the_compute_of_the_papers_resnets_is_that_of_our_models() -> None:
    """Multiply-adds of the image towers, to the digits that stand in the code."""
    for name, compute in RESNET_GMACS.items():
        assert compute == pytest.approx(dense_macs(CONFIGS[name]).image / 1e9, abs=0.005)


def test_relations_are_scipys(tmp_path: Path) -> None:
    """The slope and correlation of zero-shot over probe are scipy's of the checkpoint's tasks; few have no interval."""
    (one,) = checkpoints(tmp_path, 1)
    pairs = [(one.of("linear_probe")[task].value, each.value) for task, each in one.of("zero_shot").items()]
    line = linregress(*zip(*pairs, strict=True))
    found = across.relations([one])["c0"].line
    assert (found.slope, found.correlation) == pytest.approx((line.slope, line.rvalue))
    (grid,) = grids(across.relation_chapter([one]))
    assert grid.rows[0][4] is None


def test_robustness_over_checkpoints(tmp_path: Path) -> None:
    """Accuracies and effective robustness stand a column a checkpoint, in HTML, Markdown and a figure."""
    folders = []
    for name in ("a", "b"):
        folder = write(tmp_path / name, [result()], {"name": name})
        (folder / "results" / "robustness.json").write_text(json.dumps(shifts()))
        folders.append(str(folder))
    report(folders, str(tmp_path / "out"))
    check_alone(tmp_path / "out" / "comparison.html")
    text = (tmp_path / "out" / "comparison.md").read_text().replace("\\", "")
    assert "| ImageNet | 70.0 | 70.0 |" in text
    assert "| of the mean | +5.0 | +5.0 |" in text
