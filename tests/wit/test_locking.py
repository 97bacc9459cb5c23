from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT
from wit.errors import OutputError
from wit.locking import locked

HOLD = """
import sys
from wit.locking import locked
with locked(sys.argv[1], "wit run"):
    print("held", flush=True)
    input()
"""


def test_a_folder_is_held_until_its_process_dies(tmp_path: Path) -> None:
    """Another process is refused while one holds the folder, and has it as soon as that one is killed."""
    folder = str(tmp_path / "new")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, folder], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with (
            pytest.raises(OutputError, match="new: another wit run is at work in this folder"),
            locked(folder, "wit run"),
        ):
            pass
        process.kill()
    with locked(folder, "wit run"), pytest.raises(OutputError), locked(folder, "wit run"):
        pass
    with locked(folder, "wit run"):
        pass


def test_what_cannot_be_locked(tmp_path: Path) -> None:
    """A URL needs no lock; a file in the folder's place is a user's mistake."""
    with locked("memory://bucket/run", "wit run"):
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="a file stands where a folder is needed"), locked(f"{tmp_path}/file", "wit"):
        pass
