"""The pages hold what was measured beside what is published, hold hostile text as text, and stand alone."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binomtest

from tests.html import check_nesting, shown_text, tags
from tests.trainer.evaluation.report.world import (
    HOSTILE,
    picture,
    planted_rows,
    result,
    write,
    write_images,
    write_predictions,
)
from trainer.evaluation.report import report
from trainer.evaluation.report.figures import plain_name
from trainer.evaluation.report.grids import escape
from trainer.evaluation.report.results import Result, read_checkpoint
from trainer.evaluation.report.summary import Contest, averages, published_range, remark
from trainer.evaluation.suite.tasks import TASKS
from trainer.evaluation.terms import GENDERED, HARMFUL
from wit.errors import UserError
from wit.thumbnails import thumbnail

CURVE = [{"shots": shots, "value": 0.2 + 0.02 * shots} for shots in (1, 2, 4, 8, 16)]


def check_alone(page: Path) -> None:
    """A page nests, runs nothing and loads nothing; its links lead somewhere."""
    text = page.read_text()
    check_nesting(text)
    found = tags(text)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in found}
    assert not any(name.startswith("on") for _, attributes in found for name in attributes)
    ids = {attributes["id"] for _, attributes in found if "id" in attributes}
    for tag, attributes in found:
        if tag == "img":
            assert str(attributes["src"]).startswith("data:image/")
        if tag == "a":
            target, _, place = str(attributes["href"]).partition("#")
            assert (page.parent / target).exists() if target else place in ids


def full(folder: Path, images: Path, name: str = "tiny", value: float = 0.58) -> Path:
    """Write a checkpoint with every kind of result."""
    told = {HOSTILE: HOSTILE, "rows": [{HOSTILE: 1}]}
    results = [
        result("CIFAR10", value=value, details={"data": f"colours={images}", "confidence": 0.95}),
        result("CIFAR10", "linear_probe", value + 0.1),
        result("ImageNet", "zero_shot", 0.05, num_items=50_000),
        result("ImageNet", "linear_probe", 0.15, num_items=50_000),
        result("STL10", "zero_shot", 0.6, num_items=8_000),
        result("STL10", "linear_probe", 0.8, num_items=8_000),
        result("CIFAR10", "few_shot", 0.5, details={"curve": CURVE, "warning": HOSTILE}),
        result(HOSTILE, "zero_shot", 0.3, published={HOSTILE: 12.5}, details=told),
    ]
    write(folder, results, {"name": name, "training_flops": 1e15 * value, "note": HOSTILE})
    write_predictions(folder, "CIFAR10", planted_rows())
    return folder


def test_the_page_has_what_was_measured_and_what_is_published(tmp_path: Path) -> None:
    """A result, its interval, chance and the paper's numbers stand in one row; verified ones without a mark."""
    folder = full(tmp_path / "run", write_images(tmp_path / "images"))
    written = report([str(folder)])
    assert written == [str(folder / f"report.{suffix}") for suffix in ("html", "md", "json")]
    check_alone(folder / "report.html")
    rows = re.findall(r"<tr>(.*?)</tr>", (folder / "report.html").read_text())
    cells = [shown_text(re.sub("</t[hd]>", "\t", row)).rstrip("\t").split("\t") for row in rows]
    assert ["CIFAR-10", "accuracy", "58.0", "53.0 to 63.0", "10.0", "10,000", "95.7", "75.6 to 96.2 (9)", ""] in [
        [*row, ""] if len(row) == 8 else row for row in cells
    ]
    assert any(row[:4] == ["ImageNet", "accuracy", "15.0", "10.0 to 20.0"] and "≈ 85.4 (1)" in row for row in cells)
    heading, aligned = re.findall(r"\| task \| protocol .*\n.*", (folder / "report.md").read_text())[0].split("\n")
    words = [name for name, sign in zip(heading.split(" | "), aligned.split(" | "), strict=True) if ":" not in sign]
    assert words == ["| task", "protocol", "metric", "remarks |"], "numbers stand to the right, words to the left"
    facts = json.loads((folder / "report.json").read_text())
    (imagenet,) = [each for each in facts["results"] if (each["task"], each["protocol"]) == ("ImageNet", "zero_shot")]
    assert imagenet["value"] == 0.05
    assert imagenet["published"]["RN50"] == {"percent": 59.6, "status": "confirmed"}


def test_pictures_are_of_the_surest_mistakes_and_hits(tmp_path: Path) -> None:
    """Red, always wrong, is a worst class with its surest mistakes; grey, never wrong, a best with its surest hits."""
    folder = full(tmp_path / "run", write_images(tmp_path / "images"))
    report([str(folder)])
    text = (folder / "report.html").read_text()
    for number in (5, 4):
        assert text.count(thumbnail(picture(number, (220, 20, 20)))[0]) == 1
        assert text.count(thumbnail(picture(number, (120, 120, 120)))[0]) == 1
    assert thumbnail(picture(0, (220, 20, 20)))[0] not in text
    shutil.rmtree(tmp_path / "images")
    report([str(folder)])
    assert "Pictures are missing: " in shown_text((folder / "report.html").read_text())
    check_alone(folder / "report.html")


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    """HTML with its figures, Markdown and JSON, of one checkpoint and of two."""
    images = write_images(tmp_path / "images")
    folders = [str(full(tmp_path / name, images, name, value)) for name, value in (("a", 0.4), ("b", 0.6))]
    first = {path: Path(path).read_bytes() for path in report(folders, str(tmp_path / "out"))}
    assert {path: Path(path).read_bytes() for path in report(folders, str(tmp_path / "out"))} == first
    for path in first:
        if path.endswith(".html"):
            check_alone(Path(path))


def test_hostile_text_is_text(tmp_path: Path) -> None:
    """Names of tasks, models and checkpoints, details and warnings make no element, and break no Markdown table."""
    folder = full(tmp_path / "run", write_images(tmp_path / "images"), name=HOSTILE.replace("/", ""))
    other = full(tmp_path / "other", tmp_path / "images", name="b\u202ead\n| x")
    written = [Path(path) for path in report([str(folder), str(other)], str(tmp_path / "out"))]
    for path in written:
        if path.suffix == ".html":
            check_alone(path)
            assert HOSTILE in shown_text(path.read_text())
            assert path.name != "comparison.html" or HOSTILE.replace("/", "") in shown_text(path.read_text())
        if path.suffix == ".md":
            for block in path.read_text().split("\n\n"):
                lines = [line for line in block.splitlines() if line.startswith("|")]
                assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) <= 1
            assert "\u202e" not in path.read_text()
    assert escape("a|b*c\n") == "a\\|b\\*c�"
    assert plain_name("a\x00b" + "x" * 50) == "a?b" + "x" * 26 + "…"


@pytest.mark.slow
def test_a_browser_sees_what_was_meant(tmp_path: Path) -> None:
    """Chromium's own parser finds the hostile words as text, and no element that they name."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("no Chromium here")
    folder = full(tmp_path / "run", write_images(tmp_path / "images"), name=HOSTILE)
    (page, *_) = report([str(folder)])
    command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
    done = subprocess.run(
        [*command, "--dump-dom", Path(page).as_uri()], capture_output=True, text=True, timeout=60, check=True
    )
    found = tags(done.stdout)
    assert not {"script", "iframe", "object", "link"} & {tag for tag, _ in found}
    assert not any(name.startswith("on") for _, attributes in found for name in attributes)
    assert shown_text(done.stdout).count(HOSTILE) >= 5


def of(value: float, num_items: int = 1000, **more: Any) -> Result:
    return Result("CIFAR10", "zero_shot", more.pop("metric", "accuracy"), value, num_items, **more)


def test_ties_are_within_the_exact_interval_of_the_top_score() -> None:
    """The bound is scipy's 99.5 % Clopper-Pearson; one item below it is no tie; none of unequal numbers of items."""
    low = binomtest(900, 1000).proportion_ci(0.995, "exact").low
    inside, outside = -int(-low * 1000 // 1) / 1000, int(low * 1000) / 1000
    contest = Contest("CIFAR10", "zero_shot", "accuracy", (of(outside), of(0.9), None, of(inside)))
    assert contest.best() == {1, 3}
    assert Contest("CIFAR10", "zero_shot", "accuracy", (of(0.9), of(0.9, 999))).best() == frozenset()
    assert Contest("CIFAR10", "zero_shot", "accuracy", (of(0.9), None)).best() == frozenset()


def test_who_does_harm_most_often_is_not_the_best() -> None:
    """Shares of harmful labels, and of labels that differ between genders, have no winner; the same as accuracy has."""

    def found(metric: str) -> frozenset[int]:
        results = tuple(Result("faces", "harm", metric, value, 1000) for value in (0.1, 0.5))
        return Contest("faces", "harm", metric, results).best()

    assert found(HARMFUL) == found(GENDERED) == frozenset()
    assert found("accuracy") == {1}


def test_another_metric_has_no_published_numbers_beside_it() -> None:
    """Percentages in different metrics are not comparable, and the remark says so; so it does of another test set."""
    assert published_range(of(0.5, 10_000)) == "75.6 to 96.2 (9)"
    assert remark(of(0.5, 10_000)) == ""
    other = of(0.5, 10_000, metric="roc_auc")
    assert published_range(other) is None
    assert remark(other) == "the paper's metric is accuracy: its numbers are left out"
    assert remark(of(0.5, 500)) == "the paper's test set has 10,000"
    assert published_range(Result("mine", "text_retrieval", "recall@1", 0.5, 9, published={"x": 8.0})) == "† 8.0 x"


def test_means_are_over_what_was_evaluated_and_say_so(tmp_path: Path) -> None:
    """All 27 give a whole mean; three give the mean of three, and a task outside the paper's counts in neither."""
    tasks = list(TASKS)
    values = {task: (number + 1) / 28 for number, task in enumerate(tasks)}
    rows = [result(task, value=value) for task, value in values.items()]
    whole, kornblith = averages(read_checkpoint(str(write(tmp_path / "all", [*rows, result("other", value=0)]))))
    twelve = [values[task] for task in tasks if TASKS[task].kornblith]
    assert (whole.num_tasks, whole.is_whole, kornblith.num_tasks, kornblith.is_whole) == (27, True, 12, True)
    assert whole.value == pytest.approx(0.5)
    assert kornblith.value == pytest.approx(sum(twelve) / 12)
    some = averages(read_checkpoint(str(write(tmp_path / "some", rows[-3:]))))
    assert [(each.num_tasks, each.is_whole) for each in some] == [(3, False)]
    assert some[0].value == pytest.approx(sum(list(values.values())[-3:]) / 3)


def test_two_checkpoints_need_two_names_and_a_folder(tmp_path: Path) -> None:
    """Each mistake is one line that says what to do."""
    folders = [str(write(tmp_path / name, [result()], {"name": "same"})) for name in "ab"]
    with pytest.raises(UserError, match=r"two checkpoints are named 'same' .*; change name in a checkpoint\.json"):
        report(folders, str(tmp_path / "out"))
    with pytest.raises(UserError, match="expected a folder for the comparison of 2 checkpoints, found none"):
        report(folders)
    with pytest.raises(UserError, match="expected a folder of evaluations, found none"):
        report([])
