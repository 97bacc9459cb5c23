"""Kills a command on its way, as a machine that stops would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.support import ROOT

_SCRIPT = "import sys; from wit.cli import main; main(sys.argv[1:])"


def kill_when(command: Sequence[str], out: Path, is_time: Callable[[], bool], timeout_s: float = 60) -> None:
    """Run a command of wit with `out` behind it, and kill -9 it when it is time; the command must not end before."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([sys.executable, "-c", _SCRIPT, *command, str(out)], env=environment) as process:
        deadline = time.monotonic() + timeout_s
        while not is_time():
            assert process.poll() is None, "it ended before it was killed"
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)


def read_all(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder, those left out that a kill left half written."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".tmp-"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
