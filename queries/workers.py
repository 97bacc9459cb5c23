"""Work spread over processes, results in order.

Each worker has a pipe of its own and holds one item at a time, handed out in turn, so results come back in the order of
the items without sorting, and memory holds one item a worker. When the parent dies its workers read the end of
their pipe and leave; when a worker dies its item is done again by a new one.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar

from wit.errors import UserError, WorkerDied

Item = TypeVar("Item")
Result = TypeVar("Result")

TRIES = 3


def map_in_order(function: Callable[[Item], Result], items: Iterable[Item], processes: int) -> Iterator[Result]:
    """Yield `function(item)` for each item, in order; `function` and the items must pickle.

    One process works in the caller. Raises the function's own UserError, or WorkerDied when a worker died three
    times on one item.
    """
    if processes <= 1:
        yield from map(function, items)
        return
    workers: list[_Worker[Item, Result]] = []
    try:
        turn = 0
        for item in items:
            if len(workers) < processes:
                workers.append(_Worker(function))
            elif workers[turn].busy:
                yield workers[turn].result()
            workers[turn].give(item)
            turn = (turn + 1) % processes
        for worker in workers[turn:] + workers[:turn]:
            if worker.busy:
                yield worker.result()
    finally:
        for worker in workers:
            worker.stop()


class _Worker(Generic[Item, Result]):
    """A process that works on one item at a time."""

    def __init__(self, function: Callable[[Item], Result]) -> None:
        self._function = function
        self._item: Item
        self.busy = False
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")  # fork is unsafe beside Arrow's threads
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(self._function, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def give(self, item: Item) -> None:
        self._item, self.busy = item, True
        with suppress(OSError):  # it died while idle: result() sees that and starts another
            self._pipe.send(item)

    def result(self) -> Result:
        for _ in range(TRIES):
            try:
                outcome: Result | UserError = self._pipe.recv()
            except (EOFError, OSError):
                self.stop()
                self._start()
                self.give(self._item)
                continue
            self.busy = False
            if isinstance(outcome, UserError):
                raise outcome
            return outcome
        raise WorkerDied(f"a worker process died {TRIES} times on one block (out of memory?); try --processes 1")

    def stop(self) -> None:
        self._pipe.close()
        self._process.kill()
        self._process.join()


def _work(function: Callable[[Any], Any], pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    while True:
        try:
            item = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            outcome = function(item)
        except UserError as error:
            outcome = error
        try:
            pipe.send(outcome)
        except OSError:
            return
