"""Runs a command; when standard input ends, its owner is gone: then the command is killed with all it has started.

Usage: python -P leash.py COMMAND... The owner starts it as leader of a session of its own and holds its standard input
open. A command that starts processes of its own, and leaves them behind when it is killed, needs more than a kill.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading


def _end_group() -> None:
    os.killpg(0, signal.SIGKILL)


def _watch() -> None:
    os.read(0, 1)
    _end_group()


def main() -> None:
    """Run the command; a failure is noted on standard output, and takes what it left behind with it."""
    threading.Thread(target=_watch, daemon=True).start()
    status = subprocess.call(sys.argv[1:], stdin=subprocess.DEVNULL)
    if status:
        print(f"ended with {f'exit code {status}' if status > 0 else signal.Signals(-status).name}", flush=True)
        _end_group()


if __name__ == "__main__":
    main()
