"""One small sample and its query list for all tests of the whole chain, served for as long as they run."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.kill_soak import WIT, prepare, run_command
from wit.sample.server import serving

PAIRS = 1000


@dataclass(frozen=True)
class Chain:
    """A sample, served; `wit` runs a command, `run` the tiny recipe."""

    folder: Path
    sample: Path
    command: list[str]

    def wit(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*WIT, *arguments], capture_output=True, text=True, check=False, timeout=600)

    def run(self, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
        command = [*self.command, "--out", str(out), *more]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    folder = tmp_path_factory.mktemp("chain")
    sample, queries = prepare(folder, PAIRS)
    with serving(str(sample)) as address:
        yield Chain(folder, sample, run_command(sample, queries, address))


@pytest.fixture(scope="session")
def finished(chain: Chain) -> Path:
    """A run of the tiny recipe that nothing disturbed."""
    out = chain.folder / "finished"
    result = chain.run(out)
    assert result.returncode == 0, result.stderr
    return out
