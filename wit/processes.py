"""Work in processes: a pool that outlives its workers, and a map in order on top of it.

The standard library's pools either hang (`multiprocessing.Pool`) or break as a whole (`ProcessPoolExecutor`) when a
worker is killed. Here each worker is a fresh interpreter with a pipe of its own; the parent waits on pipes and process
sentinels together, and gives a dead worker's task to another. A worker that loses its parent ends itself, so nothing
outlives a killed run.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, TypeVar

from wit.errors import StageError, WitError, WorkerDied

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_ATTEMPTS = 3  # a task that kills its worker three times is at fault itself (memory, a crashing decoder)
WINDOW = 2
"""Items a process that `map_in_order` has under way, or done before their turn."""

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass
class _Job:
    """A task on its way, and how many workers it was given to."""

    place: int
    task: Callable[[], Any]
    attempts: int = 0


@dataclass(frozen=True)
class _Failure:
    """What a worker reports when a task raised."""

    error: WitError


@dataclass
class _Worker:
    process: SpawnProcess
    pipe: Connection
    job: _Job | None = None


class Pool:
    """Runs picklable tasks in at most `processes` fresh interpreters, which stay for the next call until `close`."""

    def __init__(self, processes: int) -> None:
        self.processes = processes
        self._context = multiprocessing.get_context("spawn")  # a forked child of a process with threads may hang
        self._workers: list[_Worker] = []

    def run(self, tasks: Iterable[Callable[[], Result]], done: Callable[[Result], None]) -> None:
        """Run every task, in any order; `done(result)` is called as each ends.

        Raises the task's own WitError, StageError for any other exception in it, and WorkerDied when its worker
        died `MAX_ATTEMPTS` times. The other running tasks are stopped then.
        """
        jobs = map(_Job, count(), tasks)
        try:
            while self._hand_out(jobs, self.processes):
                for _, result in self._ended():
                    done(result)
        except BaseException:
            self.close()
            raise

    def map_in_order(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield `function(item)` for each item, in order; function, items and results must pickle.

        Items are taken as they are needed, so that memory holds `WINDOW` of them a process. One process is the caller's
        own. Raises what `run` raises.
        """
        if self.processes <= 1:
            yield from map(function, items)
            return
        try:
            yield from self._in_order(partial(function, item) for item in items)
        except BaseException:
            self.close()
            raise

    def _in_order(self, tasks: Iterable[Callable[[], Result]]) -> Iterator[Result]:
        jobs = map(_Job, count(), tasks)
        limit = WINDOW * self.processes
        early: dict[int, Result] = {}
        turn = 0
        while self._hand_out(jobs, limit - len(early)):
            early.update(self._ended())
            self._hand_out(jobs, limit - len(early))  # so that no worker waits while the caller works
            while turn in early:
                yield early.pop(turn)
                turn += 1

    def _hand_out(self, jobs: Iterator[_Job], most: int) -> bool:
        """Start jobs until `most` are under way, or every process has one; return whether any is under way."""
        num_busy = len(self._busy())
        for job in islice(jobs, max(min(most, self.processes) - num_busy, 0)):
            self._give(job)
            num_busy += 1
        return num_busy > 0

    def _busy(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.job]

    def _give(self, job: _Job) -> None:
        worker = next((worker for worker in self._workers if worker.job is None), None) or self._start()
        worker.job = job
        job.attempts += 1
        with suppress(BrokenPipeError, ConnectionResetError):  # it died just now; its sentinel says so
            worker.pipe.send(job.task)

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs,), daemon=True, name="wit-worker")
        process.start()
        theirs.close()
        self._workers.append(_Worker(process, ours))
        return self._workers[-1]

    def _ended(self) -> list[tuple[int, Any]]:
        """Wait for one job or more to end; return place and result of each. A dead worker's job begins anew."""
        ended: list[tuple[int, Any]] = []
        while not ended:
            busy = self._busy()
            signals = wait([worker.pipe for worker in busy] + [worker.process.sentinel for worker in busy])
            for worker in busy:
                if worker.pipe in signals or worker.process.sentinel in signals:
                    ended += self._collect(worker)
        return ended

    def _collect(self, worker: _Worker) -> list[tuple[int, Any]]:
        job = worker.job
        assert job is not None
        try:
            outcome = worker.pipe.recv()
        except (EOFError, OSError):  # killed before its answer, or in the middle of it
            self._bury(worker, job)
            self._give(job)
            return []
        worker.job = None
        if isinstance(outcome, _Failure):
            raise outcome.error
        return [(job.place, outcome)]

    def _bury(self, worker: _Worker, job: _Job) -> None:
        worker.process.join()
        self._workers.remove(worker)
        worker.pipe.close()
        if job.attempts >= MAX_ATTEMPTS:
            raise WorkerDied(
                f"task {job.place}: its worker died {MAX_ATTEMPTS} times, the last time with "
                f"{_cause(worker.process.exitcode or 0)}; run again with fewer --processes if memory is short"
            )

    def close(self) -> None:
        """Stop the workers; those at work are killed."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.pipe.close()
        self._workers.clear()


def map_in_order(function: Callable[[Item], Result], items: Iterable[Item], processes: int) -> Iterator[Result]:
    """Yield what `Pool.map_in_order` does, from a pool of its own."""
    with closing(Pool(processes)) as pool:
        yield from pool.map_in_order(function, items)


def _cause(exit_code: int) -> str:
    if exit_code < 0:
        return f"signal {signal.Signals(-exit_code).name}"
    return f"exit code {exit_code}"


def _work(pipe: Connection) -> None:
    """Run tasks until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    end_with_parent()
    while True:
        try:
            message = pipe.recv_bytes()
            pipe.send_bytes(_answer(message))
        except (EOFError, OSError):  # the parent is gone
            return


def _answer(message: bytes) -> bytes:
    """Run a pickled task; return its pickled result, or the _Failure in place of it."""
    try:
        return pickle.dumps(pickle.loads(message)())  # noqa: S301 - from our own parent
    except WitError as error:
        return pickle.dumps(_Failure(error))
    except Exception as error:  # noqa: BLE001 - whatever a task raises must reach the parent, never hang it
        return pickle.dumps(_Failure(StageError(f"{type(error).__name__}: {error}\n{traceback.format_exc()}")))


def end_with_parent() -> None:
    """Make this process, a child by `multiprocessing`, end at once when its parent does."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="wit-parent-watch").start()


def kill_with_parent() -> Callable[[], None] | None:
    """Return a `preexec_fn` for a foreign command, which is killed when this thread ends; None where only Linux can."""
    if sys.platform != "linux":
        return None
    import ctypes

    prctl, parent = ctypes.CDLL(None, use_errno=True).prctl, os.getpid()

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
        if os.getppid() != parent:  # it ended before the tie was made
            os._exit(1)

    return tie
