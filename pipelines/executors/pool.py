"""A process pool that notices a dead worker and gives its task to another.

The standard library's pools either hang (`multiprocessing.Pool`) or break as a whole (`ProcessPoolExecutor`) when a
worker is killed. Here each worker has its own pipe; the parent waits on pipes and process sentinels together. A
worker that loses its parent ends itself, so nothing outlives a killed run.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from wit.errors import StageError, WitError, WorkerDied

MAX_ATTEMPTS = 3  # a part that kills its worker three times is at fault itself (memory, a crashing decoder)

Task = Callable[[], int]


@dataclass(frozen=True)
class _Failure:
    """What a worker reports when a task raised."""

    error: WitError


@dataclass
class _Worker:
    process: Any
    pipe: Connection
    task: int | None = None


class Pool:
    """Runs picklable tasks in `processes` fresh interpreters."""

    def __init__(self, processes: int) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []
        self._processes = processes

    def run(self, tasks: Sequence[Task], done: Callable[[int], None]) -> None:
        """Run every task, in any order; `done(result)` is called as each ends.

        Raises the task's own WitError, StageError for any other exception in it, and WorkerDied when its worker
        died `MAX_ATTEMPTS` times. The other running tasks are stopped then.
        """
        waiting = deque(range(len(tasks)))
        attempts = [0] * len(tasks)
        remaining = len(tasks)
        try:
            while remaining:
                self._hand_out(tasks, waiting, attempts)
                for worker in self._ready():
                    result = self._collect(worker, waiting, attempts)
                    if result is not None:
                        remaining -= 1
                        done(result)
        except BaseException:
            self.close()
            raise

    def _hand_out(self, tasks: Sequence[Task], waiting: deque[int], attempts: list[int]) -> None:
        idle = [worker for worker in self._workers if worker.task is None]
        while waiting and (idle or len(self._workers) < self._processes):
            worker = idle.pop() if idle else self._start()
            worker.task = waiting.popleft()
            attempts[worker.task] += 1
            with suppress(BrokenPipeError, ConnectionResetError):  # it died just now; its sentinel says so
                worker.pipe.send(tasks[worker.task])

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs,), daemon=True, name="wit-worker")
        process.start()
        theirs.close()
        worker = _Worker(process, ours)
        self._workers.append(worker)
        return worker

    def _ready(self) -> list[_Worker]:
        busy = [worker for worker in self._workers if worker.task is not None]
        signals = wait([worker.pipe for worker in busy] + [worker.process.sentinel for worker in busy])
        return [worker for worker in busy if worker.pipe in signals or worker.process.sentinel in signals]

    def _collect(self, worker: _Worker, waiting: deque[int], attempts: list[int]) -> int | None:
        """Return the result of a worker's task; None when the worker died and the task waits again."""
        assert worker.task is not None
        try:
            outcome = worker.pipe.recv()
        except (EOFError, ConnectionResetError):
            self._bury(worker, waiting, attempts)
            return None
        worker.task = None
        if isinstance(outcome, _Failure):
            raise outcome.error
        return int(outcome)

    def _bury(self, worker: _Worker, waiting: deque[int], attempts: list[int]) -> None:
        assert worker.task is not None
        worker.process.join()
        self._workers.remove(worker)
        worker.pipe.close()
        if attempts[worker.task] >= MAX_ATTEMPTS:
            raise WorkerDied(
                f"part {worker.task}: its worker died {MAX_ATTEMPTS} times, the last time with "
                f"{_cause(worker.process.exitcode)}; run again with fewer --processes if memory is short"
            )
        waiting.appendleft(worker.task)

    def close(self) -> None:
        """Stop the workers; those at work are terminated."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.pipe.close()
        self._workers.clear()


def _cause(exit_code: int) -> str:
    if exit_code < 0:
        return f"signal {signal.Signals(-exit_code).name}"
    return f"exit code {exit_code}"


def _work(pipe: Connection) -> None:
    """Run tasks until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    _die_with_parent()
    while True:
        try:
            task = pipe.recv()
        except (EOFError, OSError):
            return
        pipe.send(_outcome(task))


def _outcome(task: Task) -> int | _Failure:
    try:
        return task()
    except WitError as error:
        return _Failure(error)
    except Exception as error:  # noqa: BLE001 - whatever a stage raises must reach the parent, never hang it
        return _Failure(StageError(f"{type(error).__name__}: {error}\n{traceback.format_exc()}"))


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="wit-parent-watch").start()
