"""The log of a run: one JSON object a line, cut back to the checkpoint when a run goes on from it."""

from __future__ import annotations

import json
from typing import Any

from wit.storage import exists, local_path, output_error, publish_bytes, read_bytes


class Log:
    """Appends to OUT/log.jsonl; each line has the step it belongs to."""

    def __init__(self, path: str, step: int) -> None:
        """Open a log for a run that stands at `step`: what an interrupted run wrote beyond it is dropped."""
        if exists(path):
            lines = read_bytes(path).splitlines(keepends=True)
            publish_bytes(path, b"".join(line for line in lines if _step_of(line) <= step))
        self._path = path
        try:
            self._file = open(local_path(path), "ab", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise output_error(path, error) from error

    def write(self, step: int, **facts: Any) -> None:
        """Append one line, and hand it to the operating system at once; raises OutputError."""
        line = json.dumps({"step": step, **facts}, ensure_ascii=False) + "\n"
        try:
            self._file.write(line.encode())
        except OSError as error:
            raise output_error(self._path, error) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _step_of(line: bytes) -> float:
    """Return the step of a line; a line cut off by a kill, or not of this log, belongs to no checkpoint."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, TypeError, LookupError):
        return float("inf")
