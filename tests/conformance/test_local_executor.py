"""The local executor conforms, and survives the death of its workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from pipelines.executors.local import LocalExecutor
from pipelines.executors.pool import MAX_ATTEMPTS, Pool
from tests.conformance.executors import NUM_BUCKETS, ExecutorSuite
from wit.errors import WorkerDied


class TestLocalExecutor(ExecutorSuite):
    @pytest.fixture
    def executor(self, root: Path) -> Iterator[LocalExecutor]:
        executor = LocalExecutor(str(root), NUM_BUCKETS, processes=2, memory_mb=1024)
        yield executor
        executor.close()


def _die_once(marker: str, value: int) -> int:
    path = Path(marker)
    if not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return value


def _die(value: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return value


def test_a_killed_worker_s_task_is_done_by_another(tmp_path: Path) -> None:
    """Every result arrives once, also those of tasks whose first worker was killed."""
    pool = Pool(2)
    results: list[int] = []
    pool.run([partial(_die_once, str(tmp_path / str(value % 3)), value) for value in range(9)], results.append)
    pool.close()
    assert sorted(results) == list(range(9))


def test_a_task_that_kills_each_worker_ends_the_run() -> None:
    """After MAX_ATTEMPTS deaths the run ends with WorkerDied that names the signal, and no worker stays."""
    pool = Pool(2)
    with pytest.raises(WorkerDied, match=rf"died {MAX_ATTEMPTS} times.*SIGKILL"):
        pool.run([partial(_die, 1)], lambda _: None)
    assert not [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]


def test_no_worker_outlives_a_killed_parent(tmp_path: Path) -> None:
    """SIGKILL to the parent ends its workers too, though they are in the middle of a task."""
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent(
            """
            import time
            from functools import partial
            from pipelines.executors.pool import Pool
            if __name__ == "__main__":
                print("up", flush=True)
                Pool(2).run([partial(time.sleep, 600), partial(time.sleep, 600)], print)
            """
        )
    )
    root = Path(__file__).resolve().parents[2]
    parent = subprocess.Popen([sys.executable, script], env={**os.environ, "PYTHONPATH": str(root)})
    try:
        workers = _wait_for_workers(parent.pid, 2)
    finally:
        parent.kill()
        parent.wait()
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive


def _wait_for_workers(pid: int, count: int) -> list[psutil.Process]:
    for _ in range(200):
        children = psutil.Process(pid).children()
        workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
        if len(workers) == count:
            time.sleep(1.0)  # past the start-up, into the task
            return workers
        time.sleep(0.1)
    raise AssertionError("the workers did not start")
