from __future__ import annotations

import json

import pytest

from tests.support import real_data
from trainer.evaluation.metrics import METRICS
from trainer.evaluation.suite import SUITES, TASKS, find_folders, find_suite, find_task, read_names
from wit.errors import UserError

# Table 9 of the paper, as printed: classes, images to train and to test, metric.
TABLE_9 = """
Food101 102 75750 25250 accuracy
CIFAR10 10 50000 10000 accuracy
CIFAR100 100 50000 10000 accuracy
Birdsnap 500 42283 2149 accuracy
SUN397 397 19850 19850 accuracy
StanfordCars 196 8144 8041 accuracy
FGVCAircraft 100 6667 3333 mean_per_class
PascalVOC2007 20 5011 4952 map_11_point
DescribableTextures 47 3760 1880 accuracy
OxfordPets 37 3680 3669 mean_per_class
Caltech101 102 3060 6085 mean_per_class
Flowers102 102 2040 6149 mean_per_class
MNIST 10 60000 10000 accuracy
FacialEmotionRecognition2013 8 32140 3574 accuracy
STL10 10 1000 8000 accuracy
EuroSAT 10 10000 5000 accuracy
RESISC45 45 3150 25200 accuracy
GTSRB 43 26640 12630 accuracy
KITTI 4 6770 711 accuracy
Country211 211 43200 21100 accuracy
PatchCamelyon 2 294912 32768 accuracy
UCF101 101 9537 1794 accuracy
Kinetics700 700 494801 31669 mean_top1_top5
CLEVRCounts 8 2000 500 accuracy
HatefulMemes 2 8500 500 roc_auc
SST2 2 7792 1821 accuracy
ImageNet 1000 1281167 50000 accuracy
"""
# Templates of each set, as CLIP's file of prompts and notebook have them; 1 for those that are not here.
NUM_TEMPLATES = {"ImageNet": 80, "UCF101": 48, "Caltech101": 34, "Kinetics700": 28, "CIFAR10": 18, "CIFAR100": 18}
NUM_TEMPLATES |= {"RESISC45": 18, "StanfordCars": 8, "DescribableTextures": 8, "FacialEmotionRecognition2013": 6}
NUM_TEMPLATES |= {"Country211": 5, "EuroSAT": 3, "GTSRB": 3, "FGVCAircraft": 2, "STL10": 2, "SUN397": 2}


def test_the_tasks_are_table_9() -> None:
    """All 27 are there in its order, with its sizes and metrics; where it misprints, both numbers are kept."""
    rows = [row.split() for row in TABLE_9.split("\n") if row]
    assert [row[0] for row in rows] == list(TASKS)
    for name, classes, train, test, metric in rows:
        task = TASKS[name]
        assert (task.printed_classes or task.num_classes) == int(classes)
        assert (task.num_train, task.num_test, task.metric) == (int(train), int(test), metric)
    assert {task.name for task in TASKS.values() if task.printed_classes} == {"Food101", "FacialEmotionRecognition2013"}
    assert all(task.note for task in TASKS.values() if task.printed_classes)


def test_the_facts_agree() -> None:
    """The numbers above are those of the table that was collected from other sources."""
    table = json.loads(real_data("..", "facts", "paper_tables.json").read_text())["table9"]
    rows = [row.split() for row in TABLE_9.split("\n") if row]
    assert [[row[0], *map(int, row[1:4])] for row in rows] == [
        [name, facts["classes"], facts["train"], facts["test"]] for name, facts in table.items()
    ]


def test_every_metric_is_one_that_is_computed() -> None:
    """A task names a metric of the table of metrics."""
    assert {task.metric for task in TASKS.values()} <= set(METRICS)


def test_the_twelve_of_kornblith_are_the_first_twelve() -> None:
    """Table 9 begins with them."""
    assert list(SUITES["kornblith"]) == list(TASKS)[:12]
    assert [task.name for task in TASKS.values() if task.video] == ["UCF101", "Kinetics700"]
    assert {task.name: task.num_folds for task in TASKS.values() if task.num_folds > 1} == {"STL10": 10, "UCF101": 3}


def test_prompts_fit_every_task() -> None:
    """The published prompts have as many classes and templates as is said for all 27, and come as they are written."""
    path = real_data("..", "facts", "prompts.json")
    prompts = json.loads(path.read_text())
    for name, task in TASKS.items():
        names = read_names(str(path), name)
        assert len(names.classes) == task.num_classes
        assert [list(each) for each in names.classes] == [
            each if isinstance(each, list) else [each] for each in prompts[name]["classes"]
        ]
        assert [each.replace("{label}", "{}") for each in names.templates] == prompts[name]["templates"]
        assert len(names.templates) == NUM_TEMPLATES.get(name, 1)


def test_a_task_is_found_by_any_of_its_names() -> None:
    """Others' names, titles, case and signs do not matter; no name means two tasks."""
    for name, task in TASKS.items():
        assert find_task(name) is find_task(task.title) is find_task(name.lower()) is task
        assert all(find_task(alias) is task for alias in task.aliases)
    assert find_task("wds_vtab/pcam") is TASKS["PatchCamelyon"]
    assert find_task("fgvc-aircraft") is TASKS["FGVCAircraft"]
    assert find_task("cifar") is None


def test_a_suite_is_found_among_folders() -> None:
    """Folders are taken for tasks of the suite by name; others are passed over; two for one task are a mistake."""
    folders = ["cifar10", "FGVC-Aircraft", "notes", "mnist"]
    assert find_folders(find_suite("kornblith"), folders) == {"CIFAR10": "cifar10", "FGVCAircraft": "FGVC-Aircraft"}
    assert find_folders(find_suite("mnist"), folders) == {"MNIST": "mnist"}
    assert find_folders(find_suite("paper"), ["mnist.tar.gz", "dtd.parquet", "sun397.txt"]) == {
        "MNIST": "mnist.tar.gz", "DescribableTextures": "dtd.parquet",
    }  # fmt: skip
    for two in (["cifar10", "CIFAR-10"], ["cifar10.tar", "CIFAR-10"]):
        with pytest.raises(UserError, match="one set for CIFAR10, found two: 'CIFAR-10' and 'cifar10"):
            find_folders(find_suite("paper"), two)
    with pytest.raises(UserError, match="expected one of paper, kornblith, or a task"):
        find_suite("everything")
