"""The paper's evaluation sets: what they are, the names of their classes, and the two that are built by recipe."""

from trainer.evaluation.suite.names import Names, align, read_names
from trainer.evaluation.suite.tasks import SUITES, TASKS, Task, find_folders, find_suite, find_task

__all__ = ["SUITES", "TASKS", "Names", "Task", "align", "find_folders", "find_suite", "find_task", "read_names"]
