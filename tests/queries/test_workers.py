"""Work over processes: results in order, errors passed on, dead workers replaced."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from queries.workers import map_in_order
from wit.errors import InputError, WorkerDied


def _square(number: int) -> int:
    return number * number


def _refuse(number: int) -> int:
    if number == 3:
        raise InputError(f"{number} is not wanted")
    return number


def _die_once(item: tuple[str, int]) -> int:
    mark, number = item
    if number == 2 and not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def _die(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_results_come_in_order(processes: int) -> None:
    """Any number of processes gives the results of the items in their order, also with fewer items than processes."""
    assert list(map_in_order(_square, range(8), processes)) == [number * number for number in range(8)]
    assert list(map_in_order(_square, [5], processes)) == [25]
    assert list(map_in_order(_square, [], processes)) == []


@pytest.mark.parametrize("processes", [1, 2])
def test_a_user_error_reaches_the_caller(processes: int) -> None:
    """What a worker finds wrong with its input is raised where the results are read."""
    with pytest.raises(InputError, match="3 is not wanted"):
        list(map_in_order(_refuse, range(6), processes))


def test_a_killed_worker_is_replaced_and_its_item_redone(tmp_path: Path) -> None:
    """A worker killed at its work costs nothing but time: every result is there, once, in order."""
    items = [(str(tmp_path / "mark"), number) for number in range(6)]
    assert list(map_in_order(_die_once, items, 2)) == list(range(6))
    assert (tmp_path / "mark").exists()


def test_an_item_that_kills_every_worker_is_given_up() -> None:
    """An item on which three workers died is an error, not a hang."""
    with pytest.raises(WorkerDied, match="died 3 times"):
        list(map_in_order(_die, [1], 2))
