"""The paper's evaluation sets: what they are, the names of their classes, and the two that are built by recipe."""

from trainer.evaluation.suite.finding import find_folders, find_suite
from trainer.evaluation.suite.names import Names, align, class_places, read_names
from trainer.evaluation.suite.tasks import SUITES, TASKS, Task, find_task, fold

__all__ = [
    "SUITES",
    "TASKS",
    "Names",
    "Task",
    "align",
    "class_places",
    "find_folders",
    "find_suite",
    "find_task",
    "fold",
    "read_names",
]
