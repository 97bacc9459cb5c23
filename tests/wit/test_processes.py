"""Work in processes: every result once, errors passed on, dead workers replaced, no orphans."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.support import ROOT
from wit.errors import InputError, StageError, WorkerDied
from wit.processes import MAX_ATTEMPTS, WINDOW, Pool, map_in_order


@pytest.fixture
def pool() -> Iterator[Pool]:
    pool = Pool(2)
    yield pool
    pool.close()


def _square(number: int) -> int:
    return number * number


def _refuse(number: int) -> int:
    if number == 3:
        raise InputError(f"{number} is not wanted")
    return number


def _stumble(number: int) -> float:
    return 1 / (number - 3)


def _unpicklable(number: int) -> Callable[[], int]:
    return lambda: number


def _first_after_last(marker: str, last: int, number: int) -> int:
    """Item 0 ends only when item `last` has."""
    if number == last:
        Path(marker).touch()
    while number == 0 and not Path(marker).exists():
        time.sleep(0.05)
    return number


def _large(number: int) -> bytes:
    return bytes([number]) * 5_000_000  # far more than a pipe holds


def _die_once(marker: str, value: int) -> int:
    path = Path(marker)
    if not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return value


def _die_once_at_two(item: tuple[str, int]) -> int:
    mark, number = item
    return _die_once(mark, number) if number == 2 else number


def _die(value: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return value


def _interrupt(value: int) -> int:
    os.kill(os.getpid(), signal.SIGINT)
    return value


_others: set[psutil.Process] = set()
"""Processes that other tests' fixtures keep running, such as a sample's server."""


@pytest.fixture(autouse=True)
def _know_others() -> None:
    _others.clear()
    _others.update(_workers())


def _workers(pid: int | None = None) -> list[psutil.Process]:
    children = set(psutil.Process(pid).children()) - _others
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


# --- the pool ---


def test_a_killed_worker_s_task_is_done_by_another(tmp_path: Path, pool: Pool) -> None:
    """Every result arrives once, also those of tasks whose first worker was killed."""
    results: list[int] = []
    pool.run([partial(_die_once, str(tmp_path / str(value % 3)), value) for value in range(9)], results.append)
    assert sorted(results) == list(range(9))


def test_a_task_that_kills_each_worker_ends_the_run(pool: Pool) -> None:
    """After MAX_ATTEMPTS deaths the run ends with WorkerDied that names the signal, and no worker stays."""
    with pytest.raises(WorkerDied, match=rf"died {MAX_ATTEMPTS} times.*SIGKILL"):
        pool.run([partial(_die, 1)], lambda _: None)
    assert not _workers()


def test_workers_stay_for_the_next_run_and_one_killed_in_between_is_replaced(pool: Pool) -> None:
    """A second run has the same workers, but for the one that was killed while it was idle."""
    first: set[int] = set()
    second: set[int] = set()
    pool.run([os.getpid] * 4, first.add)
    psutil.Process(min(first)).kill()
    pool.run([os.getpid] * 4, second.add)
    assert min(first) not in second
    assert first - {min(first)} <= {worker.pid for worker in _workers()}


def test_an_error_ends_the_run_at_once(pool: Pool) -> None:
    """A task that raises stops the others, though they would go on for long, and no worker stays."""
    started = time.monotonic()
    with pytest.raises(InputError, match="3 is not wanted"):
        pool.run([partial(time.sleep, 600), partial(_refuse, 3)], lambda _: None)
    assert time.monotonic() - started < 60
    assert not _workers()


def test_a_worker_imports_no_more_than_its_task_needs(pool: Pool) -> None:
    """However much its parent holds, a worker that has no use for Arrow, numpy or click does not load them."""
    import numpy
    import pyarrow

    assert {numpy.__name__, pyarrow.__name__} <= set(sys.modules)
    modules: set[str] = set()
    pool.run([partial(eval, "set(__import__('sys').modules)")], modules.update)
    assert "wit.processes" in modules
    assert not modules & {"numpy", "pyarrow", "click", "duckdb", "wit.cli", "wit.storage"}


def test_ctrl_c_is_the_parent_s_to_handle(pool: Pool) -> None:
    """SIGINT, which a terminal sends to the whole group, does not end a worker."""
    results: list[int] = []
    pool.run([partial(_interrupt, value) for value in range(3)], results.append)
    assert sorted(results) == [0, 1, 2]


RUN = "Pool(2).run([partial(time.sleep, 600), partial(time.sleep, 600)], print)"
MAP = "list(map_in_order(time.sleep, [600, 600], 2))"


@pytest.mark.parametrize("work", [RUN, MAP])
def test_no_worker_outlives_a_killed_parent(tmp_path: Path, work: str) -> None:
    """SIGKILL to the parent ends its workers too, though they are in the middle of a task."""
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import time
            from functools import partial
            from wit.processes import Pool, map_in_order
            if __name__ == "__main__":
                {work}
            """
        )
    )
    parent = subprocess.Popen([sys.executable, script], env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        workers = _wait_for_workers(parent.pid, 2)
    finally:
        parent.kill()
        parent.wait()
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive


def _wait_for_workers(pid: int, count: int) -> list[psutil.Process]:
    for _ in range(200):
        workers = _workers(pid)
        if len(workers) == count:
            time.sleep(1.0)  # past the start-up, into the task
            return workers
        time.sleep(0.1)
    raise AssertionError("the workers did not start")


# --- the map in order ---


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_results_come_in_order(processes: int) -> None:
    """Any number of processes gives the results of the items in their order, also with fewer items than processes."""
    assert list(map_in_order(_square, range(8), processes)) == [number * number for number in range(8)]
    assert list(map_in_order(_square, [5], processes)) == [25]
    assert list(map_in_order(_square, [], processes)) == []


def test_items_are_taken_as_they_are_needed(tmp_path: Path) -> None:
    """While the first item is at work the others go on as far as the window reaches, and no further."""
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = map_in_order(partial(_first_after_last, str(tmp_path / "mark"), 2 * WINDOW - 1), items(), 2)
    for number in range(2):
        assert next(results) == number
        assert len(taken) <= number + 1 + 2 * WINDOW
    assert list(results) == list(range(2, 100))


@pytest.mark.parametrize("processes", [1, 2])
def test_a_user_error_reaches_the_caller(processes: int) -> None:
    """What a worker finds wrong with its input is raised where the results are read."""
    with pytest.raises(InputError, match="3 is not wanted"):
        list(map_in_order(_refuse, range(6), processes))


def test_any_other_exception_says_where_it_was_raised() -> None:
    """A defect in a task, or a result that cannot be sent, arrives as StageError with the worker's traceback."""
    with pytest.raises(StageError, match=r"ZeroDivisionError: (?s:.*)in _stumble"):
        list(map_in_order(_stumble, range(6), 2))
    with pytest.raises(StageError, match=r"pickle(?s:.*)Traceback"):
        list(map_in_order(_unpicklable, range(6), 2))


def test_a_killed_worker_is_replaced_and_its_item_redone(tmp_path: Path) -> None:
    """A worker killed at its work costs nothing but time: every result is there, once, in order."""
    items = [(str(tmp_path / "mark"), number) for number in range(6)]
    assert list(map_in_order(_die_once_at_two, items, 2)) == list(range(6))
    assert (tmp_path / "mark").exists()


def test_a_worker_killed_in_the_middle_of_its_answer_is_replaced() -> None:
    """Half a result is no result: the item is done again, and the answer is whole."""
    results = map_in_order(_large, range(4), 2)
    assert next(results) == _large(0)
    time.sleep(1.0)  # until the next answers fill their pipes
    for worker in _workers():
        worker.kill()
    assert list(results) == [_large(number) for number in range(1, 4)]


def test_an_item_that_kills_every_worker_is_given_up() -> None:
    """An item on which three workers died is an error, not a hang."""
    with pytest.raises(WorkerDied, match="died 3 times"):
        list(map_in_order(_die, [1], 2))


def test_a_map_that_is_left_early_ends_its_workers_at_once() -> None:
    """Closing the iterator stops the workers in the middle of an item."""
    results = map_in_order(time.sleep, [0, 600, 600], 2)
    assert next(results) is None
    started = time.monotonic()
    results.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started < 10
    assert not _workers()
