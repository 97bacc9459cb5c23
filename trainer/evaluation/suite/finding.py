"""Which tasks are meant, and which of a folder's sets are theirs."""

from __future__ import annotations

import re
from collections.abc import Iterable

from trainer.evaluation.suite.tasks import SUITES, TASKS, Task, find_task
from wit.errors import UserError

_PACKED = re.compile(r"\.(tar|tar\.gz|tgz|parquet)$", re.IGNORECASE)


def find_suite(name: str) -> tuple[Task, ...]:
    """Return the tasks of a suite, or the one that a name means; raises UserError."""
    if name in SUITES:
        return tuple(TASKS[each] for each in SUITES[name])
    task = find_task(name)
    if task is None:
        raise UserError(
            f"--suite {name!r}: expected one of {', '.join(SUITES)}, or a task ({', '.join(TASKS)}), found neither"
        )
    return (task,)


def find_folders(tasks: Iterable[Task], names: Iterable[str]) -> dict[str, str]:
    """Return task to name for those of `names` (of folders, tars, Parquet files) that mean one of the tasks.

    Raises UserError for two that mean the same.
    """
    wanted, found = {task.name for task in tasks}, dict[str, str]()
    for name in sorted(names):
        task = find_task(_PACKED.sub("", name))
        if task is None or task.name not in wanted:
            continue
        if task.name in found:
            raise UserError(f"expected one set for {task.name}, found two: {found[task.name]!r} and {name!r}; move one")
        found[task.name] = name
    return found
